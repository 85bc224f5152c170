"""The frame that every command stands in: groups with sections, options for the server, late loading."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from lastgood.cli.client import Given

_LONGEST_SUMMARY = 120
_SETTINGS = {"help_option_names": ["-h", "--help"]}


def keep_server(ctx: typer.Context, value: str | None) -> str | None:
    """Take over ``--server``."""
    return _keep(ctx, "server", value)


def keep_token(ctx: typer.Context, value: str | None) -> str | None:
    """Take over ``--token``."""
    return _keep(ctx, "token", value)


def _keep(ctx: typer.Context, name: str, value: str | None) -> str | None:
    if ctx.obj is None:
        ctx.obj = Given()
    if value is not None:
        setattr(ctx.obj, name, value)
    return value


def _connection(
    server: Annotated[str | None, typer.Option(callback=keep_server, expose_value=False, hidden=True)] = None,
    token: Annotated[str | None, typer.Option(callback=keep_token, expose_value=False, hidden=True)] = None,
) -> None:
    """Where to find the server: also understood after the command."""


@cache
def _options() -> list[Any]:
    """`_connection`'s parameters, as Typer makes them."""
    carrier = typer.Typer(add_completion=False)
    carrier.command()(_connection)
    return [one for one in get_command(carrier).params if one.name in ("server", "token")]


class Command(TyperCommand):
    """A command that understands ``--server`` and ``--token`` too."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params += _options()

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The pieces of the usage line: FILE, where Typer writes {FILE}."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


class Late(TyperCommand):
    """A command in a module that is imported when it is used, because importing it takes long."""

    def __init__(self, name: str, module: str, summary: str, panel: str) -> None:
        super().__init__(name, help=summary, rich_help_panel=panel, rich_markup_mode=None)
        self._module = module

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the real command."""
        carrier = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=_SETTINGS)
        carrier.command(self.name)(getattr(import_module(self._module), str(self.name)))
        return get_command(carrier).make_context(info_name, args, parent, **extra)


class Group(TyperGroup):
    """A group whose help lists the commands by section."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section of the help for each panel."""
        sections: dict[str, list[tuple[str, str]]] = {}
        widest = max(map(len, self.commands), default=0)
        for name, command in self.commands.items():
            if not command.hidden:
                panel = getattr(command, "rich_help_panel", None)
                summary = command.get_short_help_str(_LONGEST_SUMMARY)
                title = panel if isinstance(panel, str) else "Commands"
                sections.setdefault(title, []).append((name.ljust(widest), summary))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def group(**more: Any) -> typer.Typer:
    """An application or a group of commands (`more`: what Typer takes)."""
    plain = {"add_completion": False, "rich_markup_mode": None, "context_settings": _SETTINGS}
    return typer.Typer(cls=Group, **{**plain, **more})


def add(app: typer.Typer, functions: Mapping[str, Any], panel: str) -> None:
    """Add the commands `functions` (by name) to `app`, in the section `panel`."""
    for name, function in functions.items():
        app.command(name, cls=Command, rich_help_panel=panel)(function)
