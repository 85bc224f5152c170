"""Arguments and options that many commands share, and how they complete in the shell."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any

import typer

from lastgood.cli.client import Client, Given, connect
from lastgood.ids import is_version

_COMPLETION_SECONDS = 5.0
_COMPLETED = 200


def given(ctx: typer.Context) -> Given:
    """What the flags before and after the command say of the server."""
    if isinstance(ctx.obj, Given):
        return ctx.obj
    root = ctx.find_root().params  # completing: nothing was run that fills `obj`
    return Given(root.get("server"), root.get("token"))


def _candidates(ctx: typer.Context, incomplete: str, ask: Callable[[Client], list[Any]]) -> list[Any]:
    """What `ask` finds that begins with `incomplete`; nothing when that fails or takes long: a shell that completes
    wants no messages."""
    try:
        with _at_most(_COMPLETION_SECONDS), connect(given(ctx), answer_seconds=_COMPLETION_SECONDS) as api:
            return [one for one in ask(api) if one[0].startswith(incomplete)]
    except Exception:
        return []


def complete_workflow(ctx: typer.Context, incomplete: str) -> list[Any]:
    """Slugs, and ids once one is begun, with the names of the workflows."""

    def ask(api: Client) -> list[Any]:
        found = api.items("workflows", limit=_COMPLETED)
        named = [(one["slug"], one["name"]) for one in found]
        return named + [(one["id"], one["slug"]) for one in found if incomplete.startswith("wf-")]

    return _candidates(ctx, incomplete, ask)


def complete_version(ctx: typer.Context, incomplete: str) -> list[Any]:
    """Version ids, newest first: of the workflow named on the line, else of all."""

    def ask(api: Client) -> list[Any]:
        named = _named(ctx)
        workflows = [named] if named else [one["id"] for one in api.items("workflows", limit=_COMPLETED)]
        found = [one for workflow in workflows for one in api.items("workflows", workflow, "versions", limit=50)]
        return [(one["id"], f"{one['state']} {one['note']}"[:60]) for one in found]

    return _candidates(ctx, incomplete, ask)


def complete_channel(ctx: typer.Context, incomplete: str) -> list[Any]:
    """The channels of the workflow named on the line."""

    def ask(api: Client) -> list[Any]:
        found = api.items("workflows", _named(ctx) or "", "channels")
        return [(one["name"], one["version"] or "points to nothing") for one in found]

    return _candidates(ctx, incomplete, ask)


def _named(ctx: typer.Context) -> str | None:
    """The workflow named on the line. Where an option still waits for its value, no argument was assigned yet."""
    named = ctx.params.get("workflow") or next((one for one in ctx.args if not is_version(one)), None)
    return str(named) if named else None


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


Workflow = Annotated[
    str,
    typer.Argument(metavar="WORKFLOW", help="Id (wf-…) or name of the workflow.", autocompletion=complete_workflow),
]
Version = Annotated[
    str, typer.Argument(metavar="VERSION", help="Id of the version (v-…).", autocompletion=complete_version)
]
Channel = Annotated[str, typer.Option("--channel", help="The channel.", autocompletion=complete_channel)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Wide = Annotated[bool, typer.Option("--wide", help="Whole digests, times instead of ages, more columns.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", metavar="NAME=VALUE", help="An input; repeatable. @FILE.json gives all at once."),
]
Query = Annotated[str, typer.Option("--query", "-q", help="The message, for a chatflow.")]
Note = Annotated[str, typer.Option("--note", "-m", help="What it is, for people.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why, for the log.")]
Force = Annotated[bool, typer.Option("--force", help="Also to a version marked failed; needs a --reason.")]
NoVerify = Annotated[bool, typer.Option("--no-verify", help="Do not run the smoke requests afterwards.")]
Approval = Annotated[
    str | None,
    typer.Option("--approval", metavar="ap-…", help="The approval to pass by; else the newest that fits."),
]
BreakGlass = Annotated[
    bool,
    typer.Option(
        "--break-glass", help="Pass approval and freezes of a protected channel; needs a --reason, and pages."
    ),
]
OnFailure = Annotated[
    str,
    typer.Option("--on-failure", metavar="undo|keep|ask", help="What to do when verification fails afterwards."),
]
