"""Commands for plans and operations: what a rollback would do, doing it, watching it, undoing it, rehearsing it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lastgood.cli import output
from lastgood.cli.client import Client, connect
from lastgood.cli.parameters import (
    Approval,
    BreakGlass,
    Channel,
    Force,
    Json,
    Limit,
    NoVerify,
    Reason,
    Wide,
    Workflow,
    complete_version,
    complete_workflow,
    given,
)
from lastgood.errors import InvalidRequest, NotFound, ServerUnreachable, Unavailable

LIVE = "live"
UNVERIFIED = 3  # the exit code of an operation that moved, and whose verification did not end well
_WAIT_SECONDS = 20
_COLOURS = {"refuse": "red", "warn": "yellow", "failed": "red", "done": "green"}
_OVER = ("succeeded", "kept", "undone", "failed", "asking")

Workflows = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="WORKFLOW[@VERSION]…", help="Workflows, each to its last good version or to the one named.",
        autocompletion=complete_workflow,
    ),
]  # fmt: skip
To = Annotated[
    str | None,
    typer.Option("--to", metavar="VERSION", help="Else the last good version.", autocompletion=complete_version),
]
Id = Annotated[str, typer.Argument(metavar="OPERATION", help="Id of the operation (op-…).")]


def plan(
    ctx: typer.Context,
    workflow: Workflows = None,
    to: To = None,
    channel: Channel = LIVE,
    reason: Reason = "",
    out: Annotated[Path | None, typer.Option("--output", "-o", help="Write the plan to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Say what a rollback would do: which version and why, what stands against it, who is affected. Changes nothing.

    The file that -o writes can be edited and reviewed; `lastgood rollback --plan FILE` checks it again and does it.
    Exit code 1: the plan is refused.

    \b
    Examples:
      lastgood plan prod-invoice
      lastgood plan prod-invoice --to v-20261123-01 -o plan.yaml
      lastgood plan prod-invoice wf-billing@v-20261123-04 -o plan.yaml
    """
    with connect(given(ctx)) as api:
        shown = api.post("plans", body={"moves": _parts(workflow or [], to, channel), "reason": reason})
    if out is not None:
        out.write_text(shown["file"], encoding="utf-8")
        output.warn(f"lastgood: {out} written; do it with: lastgood rollback --plan {out}")
    if as_json:
        output.print_json(shown)
    elif out is None or sys.stdout.isatty():
        _show(shown, output.write)
    raise typer.Exit(1 if shown["verdict"] == "refuse" else 0)


def rollback(
    ctx: typer.Context,
    workflow: Workflows = None,
    to: To = None,
    reason: Reason = "",
    force: Force = False,
    channel: Channel = LIVE,
    file: Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="Do what this plan file says.")] = None,
    together: Annotated[
        bool, typer.Option("--together", help="Several workflows in one transaction: all move or none.")
    ] = False,
    on_failure: Annotated[
        str | None,
        typer.Option("--on-failure", metavar="undo|keep|ask", help="What to do when verification fails afterwards."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    no_verify: NoVerify = False,
    approval: Approval = None,
    break_glass: BreakGlass = False,
    as_json: Json = False,
) -> None:
    """Point a channel back: to the last good version, or to one you name. Plans, shows, asks, does it and verifies.

    What was shown is what is done: if the channel moves or a new finding comes in between, nothing is changed. In a
    terminal it asks first, unless --yes is given; without a terminal it never asks.
    On a protected channel a plain rollback waits for nobody, unless its owner says so; by force it needs an approval.
    Exit codes: 1 nothing was moved, 3 moved, but verification failed (the report says what to do), 4 it waits for an
    approval.

    \b
    Examples:
      lastgood rollback prod-invoice
      lastgood rollback prod-invoice --to v-20261123-01 --reason "wrong totals" --yes
      lastgood rollback --plan plan.yaml --yes
      lastgood rollback prod-invoice wf-billing@v-20261123-04 --together
      lastgood rollback prod-invoice --to v-20261123-03 --force --reason "the check was wrong"
    """
    body: dict[str, Any] = {"force": force or None, "verify": False if no_verify else None}
    body |= {"reason": reason or None, "on_verification_failure": on_failure, "break_glass": break_glass or None}
    names = workflow or []
    if len(names) > 1 and not together:
        raise InvalidRequest(
            where="WORKFLOW", reason="several workflows are rolled back with --together, or one by one"
        )
    if file is not None:
        body["file"] = _read(file)
    if names or file is None:
        body["moves"] = _parts(names, to, channel)
    with connect(given(ctx)) as api:
        shown = api.post("plans", body=body)
        if shown["differences"]:
            _void(shown["differences"])
        _show(shown, output.warn)
        if not yes and sys.stdin.isatty() and sys.stderr.isatty():
            typer.confirm("Roll back?", abort=True, err=True)
        with output.progress("rolling back and verifying"):
            accepted = {"plan": shown["plan"], "confirmation": shown["confirmation"], "approval": approval}
            done = _follow(api, api.post("operations", body=accepted))
        if done["state"] == "asking" and not yes and sys.stdin.isatty() and sys.stderr.isatty():
            output.warn(_failure(done))
            undo = typer.confirm("Move it back to where it was?", err=True)
            with output.progress("undoing" if undo else "closing"):
                done = _follow(api, api.post("operations", done["id"], "undo" if undo else "resume"))
    raise typer.Exit(tell(done, as_json))


def operations(
    ctx: typer.Context,
    workflow: Annotated[str | None, typer.Argument(metavar="WORKFLOW", autocompletion=complete_workflow)] = None,
    limit: Limit = 50,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """List publishes, rollbacks and rehearsals, newest first: what they did, and those that wait for somebody.

    \b
    Examples:
      lastgood operations
      lastgood operations prod-invoice --wide
    """
    with connect(given(ctx)) as api:
        found = api.items("operations", limit=limit, workflow=workflow)
    if output.items(found, as_json, "No operation was ever begun."):
        return
    rows = [
        (output.moment(one["created_at"], wide), one["id"], one["kind"], one["state"], one["actor"],
         one["summary"] or "; ".join(f"{m['channel']} of {m['workflow']} to {m['to']}" for m in one["moves"]))
        for one in found
    ]  # fmt: skip
    output.table(("age", "operation", "kind", "state", "by", "summary"), rows)


def operation(
    ctx: typer.Context,
    id: Id,
    watch: Annotated[bool, typer.Option("--watch", help="Print each step as it ends, until the end.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with one that stopped; keep one that waits for a decision.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Move its channels back to where they were.")] = False,
    as_json: Json = False,
) -> None:
    """Show an operation and its report; watch it, go on with it, or take it back.

    Exit codes: 1 nothing was moved, 3 its verification did not end well. With --undo that is the one after it was
    taken back; 3 too where it was not.

    \b
    Examples:
      lastgood operation op-k3x9a2b7c1
      lastgood operation op-k3x9a2b7c1 --watch
      lastgood operation op-k3x9a2b7c1 --undo
    """
    if resume and undo:
        raise InvalidRequest(where="--resume", reason="an operation is gone on with or taken back, not both")
    with connect(given(ctx)) as api:
        if resume or undo:
            found = api.post("operations", id, "undo" if undo else "resume")
            found = _watch(api, found) if watch else _follow(api, found)
        else:
            found = api.get("operations", id)
            found = _watch(api, found) if watch else found
    if as_json:
        output.print_json(found)
    else:
        output.write(output.printable(found["report"] or _steps(found)).rstrip())
    raise typer.Exit(_undo_code(found) if undo else _code(found))


def rehearse(ctx: typer.Context, workflow: Workflow, channel: Channel = LIVE, as_json: Json = False) -> None:
    """Rehearse a rollback: a shadow channel goes back to the last good version and forward again.

    Nobody is served by it. Hooks and listeners are left out. Says how long each step took; `rollback.rehearse_hours`
    in lastgood.toml does it by itself. Exit code 3: something failed.

    \b
    Examples:
      lastgood rehearse prod-invoice
      lastgood rehearse prod-invoice --json
    """
    with connect(given(ctx)) as api:
        with output.progress("rehearsing"):
            done = api.post("workflows", workflow, "rehearse", params={"channel": channel})
        record = api.items("workflows", workflow, "rehearsals")[0]
    failed = record["failed"] or done["state"] != "undone"
    if as_json:
        output.print_json({**done, "rehearsal": record})
    else:
        rows = [(one["name"], output.state(one["state"]), _took(one)) for one in done["steps"]]
        output.table(("step", "outcome", "took"), rows)
        output.write(f"Back on {record['to']}, verified, after {record['seconds']:.2f} s; forward again.")
        if failed:
            output.warn(f"lastgood: the rehearsal FAILED at {record['failed'] or done['state']}: {_failure(done)}")
    raise typer.Exit(UNVERIFIED if failed else 0)


def tell(done: dict[str, Any], as_json: bool = False) -> int:
    """Print what an operation did, and give the exit code."""
    if as_json:
        output.print_json(done)
        return _code(done)
    steps = {one["name"]: one for one in done["steps"]}
    detail = steps.get("move", {}).get("detail", {})
    told = steps.get("listeners", {}).get("detail", {})
    took = (steps.get("move", {}).get("elapsed_ms") or 0) + told.get("waited_ms", 0)
    for one in detail.get("moves", []):
        path = f"{one['from'] or 'nothing'} → {output.paint(one['to'], 'bold')}"
        output.write(f"{one['channel']} of {one['workflow']}: {path} (generation {one['generation']}), {took:.1f} ms")
    if told.get("unconfirmed"):
        workers = ", ".join(told["unconfirmed"])
        output.warn(f"lastgood: not confirmed by {workers}, which may still serve the old version for a moment.")
    if done["state"] == "succeeded":
        proof = output.flat(done["summary"]).rpartition("). ")[2]
        output.write(f"{proof} Report: lastgood operation {done['id']}")
    else:
        output.warn(_failure(done))
    return _code(done)


def _failure(done: dict[str, Any]) -> str:
    """What is not well after an operation, and what to do."""
    id, state = done["id"], done["state"]
    headline = {
        "failed": "NOTHING WAS MOVED.",
        "kept": "VERIFICATION FAILED, and the move was kept.",
        "undone": "UNDONE.",
        "asking": "VERIFICATION FAILED, and the plan asks what to do.",
    }.get(state, f"{id} is {state}.")
    said = output.flat(done["summary"]).removeprefix("Nothing was moved: ")
    lines = [f"lastgood: {headline} {said}"]
    for step in done["steps"]:
        for item in step["detail"].get("items", []):
            if item["verdict"] == "fail":
                subject = f" {item['subject']}" if item["subject"] else ""
                found = f"got {output.flat(item['found'])}, want {output.flat(item['expected'])}"
                lines.append(f"lastgood:   {item['check']}{subject}: {found}")
    hints = {
        "kept": f"take it back with: lastgood operation {id} --undo",
        "asking": f"take it back with: lastgood operation {id} --undo\nlastgood: keep it with: … {id} --resume",
        "failed": "mend that and begin again",
        "undone": f"what happened: lastgood operation {id}",
    }
    lines.append(f"lastgood: {hints.get(state, f'watch it with: lastgood operation {id} --watch')}")
    return "\n".join(lines)


def _code(done: dict[str, Any]) -> int:
    return {"succeeded": 0, "failed": 1, "kept": UNVERIFIED, "undone": UNVERIFIED, "asking": UNVERIFIED}.get(
        done["state"], 0
    )


def _undo_code(done: dict[str, Any]) -> int:
    """The exit code for whoever asked for the undo, to whom an operation that is undone is no failure."""
    verified = all(one["state"] != "failed" for one in done["steps"] if one["name"] == "undo-verification")
    if done["state"] == "undone":
        return 0 if verified else UNVERIFIED
    return _code(done) or UNVERIFIED


def _parts(names: Sequence[str], to: str | None, channel: str) -> list[dict[str, Any]]:
    """What is named on the line: workflows, each with its own version after an @."""
    if not names:
        raise InvalidRequest(where="WORKFLOW", reason="name a workflow, or a plan file with --plan")
    if to is not None and len(names) > 1:
        raise InvalidRequest(where="--to", reason="with several workflows write each version as WORKFLOW@VERSION")
    parts = []
    for name in names:
        ref, _, version = name.partition("@")
        parts.append({"workflow": ref, "channel": channel, "to": version or to})
    return parts


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise NotFound(
            detail=f"{file} cannot be read ({reason}). Write a plan with `lastgood plan … -o {file}`."
        ) from None


def _void(differences: Sequence[str]) -> None:
    said = "; ".join(output.flat(one).rstrip(".") for one in differences)
    raise Unavailable(
        detail=f"The plan no longer holds: {said}. Nothing was changed; make it anew with `lastgood plan … -o FILE`."
    )


def _show(shown: dict[str, Any], write: Any) -> None:
    """Say what a plan would do."""
    plan = shown["plan"]
    for one in plan["moves"]:
        where = f"{one['channel']} of {one['workflow']}"
        write(f"{where}: {one['from_version']} → {one['to_version']} (generation {one['expected_generation']})")
        write(f"  {one['to_version']}: {output.flat(one['why'])}")
    for one in shown["findings"]:
        if one["verdict"] != "pass":
            write(f"  {output.paint(one['verdict'], _COLOURS[one['verdict']])}: {output.flat(one['sentence'])}")
    for sentence in shown.get("protection", ()):  # an older server tells none
        write(f"  {output.paint('protected', 'yellow')}: {output.flat(sentence)}")
    for one in plan["services"]:
        said = f"{one['name']} ({one['module']})" if one["module"] else one["name"]
        write(
            f"  affects {said}, risk {one['risk']}: {output.flat(one['reason']).rstrip('.')}; "
            f"{output.flat(one['responsible'])}"
        )
    for name, what in (("pre_rollback_hook", "before"), ("post_rollback_hook", "after")):
        if plan[name]:
            write(f"  {what} it runs {plan[name]}")
    write(f"  not rolled back: {', '.join(plan['not_rolled_back'])}")
    write(f"  if verification fails: {plan['on_verification_failure']}")


def _follow(api: Client, found: dict[str, Any]) -> dict[str, Any]:
    """Wait for the end of an operation, or for its question. Raises `Unavailable` where the server goes away: that
    ends the waiting, not the operation."""
    while found["state"] not in _OVER:
        try:
            found = api.get("operations", found["id"], wait=_WAIT_SECONDS)
        except ServerUnreachable as error:
            id = found["id"]
            raise Unavailable(
                detail=f"The server went away while {id} was under way. A server that runs on this data goes on with "
                f"it by itself: start it with `lastgood serve`, then look at `lastgood operation {id} --watch`."
            ) from error
    return found


def _watch(api: Client, found: dict[str, Any]) -> dict[str, Any]:
    """Print the steps of an operation as they end."""
    shown: set[str] = set()
    while True:
        for one in found["steps"]:
            if one["state"] != "begun" and one["name"] not in shown:
                shown.add(one["name"])
                state = output.paint(one["state"], _COLOURS.get(one["state"], ""))
                output.warn(f"{one['name']}: {state} {_took(one)}")
        if found["state"] in _OVER:
            return found
        found = api.get("operations", found["id"], wait=1)


def _steps(found: dict[str, Any]) -> str:
    lines = [f"{found['id']}: {found['kind']}, {found['state']}"]
    lines += [f"  {one['name']}: {one['state']} {_took(one)}" for one in found["steps"]]
    return "\n".join(lines)


def _took(step: dict[str, Any]) -> str:
    return "" if step["elapsed_ms"] is None or step["state"] == "skipped" else f"{step['elapsed_ms']:,.1f} ms"
