"""Commands for approvals of plans for protected channels."""

from typing import Annotated, Any

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.commands import add, group
from lastgood.cli.meaning import show_lines
from lastgood.cli.parameters import Json, Limit, Reason, Wide, given

_COLOURS = {"refuse": "red", "warn": "yellow"}
_STATES = {"waiting": "yellow", "approved": "green", "rejected": "red"}
Id = Annotated[str, typer.Argument(metavar="APPROVAL", help="Id of the request (ap-…).")]

approvals = group(help="Plans for protected channels that wait for another identity.", invoke_without_command=True)


@approvals.callback()
def listing(
    ctx: typer.Context,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that still wait.")] = False,
    limit: Limit = 50,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """List requests for approval, newest first; `approvals show ap-…` tells of one.

    \b
    Examples:
      lastgood approvals
      lastgood approvals --waiting
      lastgood approvals show ap-k3x9a2b7c1
    """
    if ctx.invoked_subcommand is not None:
        return
    with connect(given(ctx)) as api:
        found = api.items("approvals", limit=limit, waiting=waiting or None)
    if output.items(found, as_json, "No approval is waited for." if waiting else "No approval was ever asked for."):
        return
    rows = [
        (
            output.moment(one["asked_at"], wide),
            one["id"],
            output.Cell(one["state"], _STATES.get(one["state"], "")),
            one["asked_by"],
            f"{one['kind']} {_moves(one)}",
            ", ".join(answer["subject"] for answer in one["answers"]),
            one["reason"],
        )
        for one in found
    ]
    output.table(("age", "approval", "state", "asked by", "for", "answered by", "reason"), rows)


def show(ctx: typer.Context, id: Id, as_json: Json = False) -> None:
    """Tell what a request is for: what would move, what was found, and what the new version has different.

    \b
    Examples:
      lastgood approvals show ap-k3x9a2b7c1
    """
    with connect(given(ctx)) as api:
        found = api.get("approvals", id)
    if as_json:
        output.print_json(found)
        return
    answers = (f"{one['said']} by {one['subject']} {one['reason']}".strip() for one in found["answers"])
    output.facts(
        {
            "approval": found["id"],
            "state": output.Cell(found["state"], _STATES.get(found["state"], "")),
            "asked by": f"{found['asked_by']}, {output.age(found['asked_at'])} ago",
            "reason": found["reason"],
            "needs": output.count(found["needed"], "approval"),
            "answers": "; ".join(answers),
            "until": f"{found['expires_at'][:16].replace('T', ' ')} UTC",
            "used by": found["operation"] or "",
        }
    )
    output.write("")
    for sentence in found["sentences"]:
        output.write(f"- {output.flat(sentence)}")
    for one in found["findings"]:
        if one["verdict"] != "pass":
            mark = output.paint(f"{one['verdict']:<7}", _COLOURS[one["verdict"]])
            output.write(f"  {mark} {output.flat(one['sentence'])}")
    for one in found["differences"]:
        output.write("")
        output.write(output.paint(f"{one['channel']} of {one['workflow']}: {output.flat(one['summary'])}", "bold"))
        show_lines(one["lines"])


def approve(ctx: typer.Context, id: Id, reason: Reason = "", as_json: Json = False) -> None:
    """Agree to a plan that somebody else asked for. It counts for some hours, and once.

    \b
    Examples:
      lastgood approve ap-k3x9a2b7c1
      lastgood approve ap-k3x9a2b7c1 -m "looked at the difference"
    """
    _answer(ctx, id, "approve", reason, as_json)


def reject(
    ctx: typer.Context,
    id: Id,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why, for who asked.")],
    as_json: Json = False,
) -> None:
    """Do not agree to a plan that was asked for, which ends the request.

    \b
    Examples:
      lastgood reject ap-k3x9a2b7c1 -m "the prompt is not reviewed"
    """
    _answer(ctx, id, "reject", reason, as_json)


def _answer(ctx: typer.Context, id: str, what: str, reason: str, as_json: bool) -> None:
    with connect(given(ctx)) as api:
        done = api.post("approvals", id, what, body={"reason": reason})
    if as_json:
        output.print_json(done)
        return
    until = f"{done['expires_at'][:16].replace('T', ' ')} UTC"
    left = done["needed"] - len(done["answers"])
    said = {
        "approved": f"approved until {until}; {done['asked_by']} may now run the command again",
        "waiting": f"approved by {len(done['answers'])} of {done['needed']}; it waits for {left} more",
    }.get(done["state"], done["state"])
    output.write(f"{id}: {done['kind']} {_moves(done)} is {said}.")


def _moves(one: dict[str, Any]) -> str:
    return "; ".join(f"{move['channel']} of {move['workflow']} to {move['to']}" for move in one["moves"])


add(approvals, {"show": show}, "Commands")
