"""Commands for channels that Dify apps run: drift, adopt, heal, and restoring a draft."""

import sys
from typing import Annotated, Any

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.meaning import show_lines
from lastgood.cli.moves import LIVE, tell_move
from lastgood.cli.parameters import Approval, BreakGlass, Channel, Json, NoVerify, Reason, Workflow, given

OUT_OF_STEP = 1  # the exit code of drift that nobody expects
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def drift(ctx: typer.Context, workflow: Workflow, channel: Channel = LIVE, as_json: Json = False) -> None:
    """Ask Dify what it serves, and show what differs from what the channel says, value by value.

    Exit code 1: it serves something else, and nothing of ours is under way that would explain it.

    \b
    Examples:
      lastgood drift prod-invoice
      lastgood drift prod-invoice --channel staging --json
    """
    with connect(given(ctx)) as api:
        found = api.get("workflows", workflow, "channels", channel, "drift")
    if as_json:
        output.print_json(found)
    else:
        _show(found, workflow, channel)
    raise typer.Exit(OUT_OF_STEP if _is_drift(found) or found["problem"] else 0)


def adopt(
    ctx: typer.Context,
    workflow: Workflow,
    channel: Channel = LIVE,
    reason: Reason = "",
    yes: Yes = False,
    approval: Approval = None,
    break_glass: BreakGlass = False,
    as_json: Json = False,
) -> None:
    """Take what Dify serves as what should be live: the channel moves there, and nothing is written in Dify.

    \b
    Examples:
      lastgood adopt prod-invoice -m "the new prompt was agreed"
    """
    with connect(given(ctx)) as api:
        found = api.get("workflows", workflow, "channels", channel, "drift")
        if not as_json:
            _show(found, workflow, channel, output.warn)
        body = {"reason": reason, "approval": approval, "break_glass": break_glass}
        _ask(f"Let {channel} point to {found['live'] or 'it'}?", yes)
        done = api.post("workflows", workflow, "channels", channel, "adopt", body=body, expected=found["generation"])
    if as_json:
        output.print_json(done)
        return
    move = done["move"]
    output.write(f"{channel} of {move['workflow']}: {move['from'] or 'nothing'} → {move['to']} (as Dify serves it)")


def heal(
    ctx: typer.Context,
    workflow: Workflow,
    channel: Channel = LIVE,
    reason: Reason = "",
    yes: Yes = False,
    no_verify: NoVerify = False,
    approval: Approval = None,
    break_glass: BreakGlass = False,
    as_json: Json = False,
) -> None:
    """Give Dify what the channel says again: ours is published there, as an operation that can be undone.

    Exit code 3: it was done, but verification failed.

    \b
    Examples:
      lastgood heal prod-invoice -m "published by mistake"
    """
    with connect(given(ctx)) as api:
        found = api.get("workflows", workflow, "channels", channel, "drift")
        if not as_json:
            _show(found, workflow, channel, output.warn)
        _ask(f"Give {found['name']} {found['should_be']} again?", yes)
        body = {"reason": reason, "verify": not no_verify, "approval": approval, "break_glass": break_glass}
        with output.progress("putting ours back and verifying"):
            done = api.post(
                "workflows", workflow, "channels", channel, "heal",
                body=body, expected=found["generation"],
            )  # fmt: skip
    raise typer.Exit(tell_move(done, as_json))


def restore(
    ctx: typer.Context,
    workflow: Workflow,
    what: Annotated[str, typer.Argument(metavar="ID", help="A draft state (dr-…), or a version (v-…).")],
    channel: Channel = LIVE,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Put a kept draft state, or a version, into the draft in Dify. What is there now is kept first.

    Nothing is published. Whoever has the editor open must load the page again.

    \b
    Examples:
      lastgood draft restore prod-invoice dr-k3x9q2ab
      lastgood draft restore prod-invoice v-20261123-01
    """
    with connect(given(ctx)) as api:
        _ask(f"Overwrite the draft of {workflow} in Dify with {what}?", yes)
        done = api.post("workflows", workflow, "draft", body={"what": what, "channel": channel})
    if as_json:
        output.print_json(done)
        return
    output.write(f"The draft of {done['name']} on {done['server']} is {done['restored']} again.")
    if done["kept"]:
        output.write(f"What was there is kept: lastgood draft restore {workflow} {done['kept']}")


def _is_drift(found: dict[str, Any]) -> bool:
    return found["state"] not in ("in step", "converging", "applying")


def _show(found: dict[str, Any], workflow: str, channel: str, write: Any = output.write) -> None:
    if found["problem"]:
        write(output.paint(f"Dify could not be asked: {output.flat(found['problem'])}", "red"))
    colour = {"in step": "green", "converging": "yellow", "applying": "yellow"}.get(found["state"], "red")
    write(f"{output.paint(found['state'], colour)}: {output.flat(found['sentence'])}")
    if found["summary"]:
        write(output.paint(f"{found['should_be']} → {found['live']}: {output.flat(found['summary'])}", "bold"))
        if write is output.write:
            show_lines(found["lines"])
    if _is_drift(found):
        where = workflow if channel == LIVE else f"{workflow} --channel {channel}"
        write(f"Take it as it is: lastgood adopt {where}; put ours back: lastgood heal {where}")


def _ask(question: str, yes: bool) -> None:
    if not yes and sys.stdin.isatty() and sys.stderr.isatty():
        typer.confirm(question, abort=True, err=True)
