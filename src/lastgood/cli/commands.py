"""The frame that every command stands in: groups with sections, options for the server, late loading."""

from collections.abc import Callable, Mapping
from functools import cache, partial
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
    """A command that is made of its function when it is used: to make all of them at each start takes longer than
    many commands run. Instead of a `function`, the name of a module that has one and takes long to import."""

    def __init__(self, function: Callable[..., None] | str, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.function = function

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the real command."""
        function = self.function
        kind: type[TyperCommand] = Command
        if isinstance(function, str):  # what runs here asks no server
            function, kind = getattr(import_module(function), str(self.name)), TyperCommand
        carrier = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=_SETTINGS)
        carrier.command(self.name, cls=kind)(function)
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


def add(app: typer.Typer, functions: Mapping[str, Callable[..., None]], panel: str) -> None:
    """Add the commands `functions` (by name) to `app`, in the section `panel`."""
    for name, function in functions.items():
        _add(app, name, function, function.__doc__, panel)


def add_late(app: typer.Typer, modules: Mapping[str, str], panel: str) -> None:
    """Add commands by name and summary, each of which is in a module of its own that is called so."""
    for name, summary in modules.items():
        _add(app, name, f"lastgood.cli.{name}", summary, panel)


def _add(app: typer.Typer, name: str, function: Callable[..., None] | str, help: str | None, panel: str) -> None:
    def nothing() -> None:
        """In the place of the function, whose parameters take time to look at."""

    late: Any = partial(Late, function)
    app.command(name, cls=late, help=help, rich_help_panel=panel)(nothing)
