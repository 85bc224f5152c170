"""Commands that move a channel, and the log of moves."""

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
    OnFailure,
    Reason,
    Version,
    Wide,
    Workflow,
    given,
)
from lastgood.errors import ServerRefused

LIVE = "live"
UNVERIFIED = 3  # the exit code of a move that was made, whose version then failed verification


def publish(
    ctx: typer.Context,
    workflow: Workflow,
    version: Version,
    channel: Channel = LIVE,
    reason: Reason = "",
    semver: Annotated[str | None, typer.Option("--semver", help="The SemVer of the version, such as 1.4.0.")] = None,
    force: Force = False,
    on_failure: OnFailure = "keep",
    no_verify: NoVerify = False,
    approval: Approval = None,
    break_glass: BreakGlass = False,
    as_json: Json = False,
) -> None:
    """Point a channel to a version, then verify it: smoke requests, health and what else is declared.

    Somebody else's move in between is not overwritten: the command says who moved it, and changes nothing.
    A protected channel asks for an approval first: when it was given, the same command does it.
    Exit codes: 3 the channel moved, but the version failed verification; it stays live unless --on-failure undo;
    4 it waits for an approval.

    \b
    Examples:
      lastgood publish prod-invoice v-20261123-01
      lastgood publish prod-invoice v-20261123-02 --on-failure undo
      lastgood publish prod-invoice v-20261123-02 --semver 1.1.0 -m "two decimals"
      lastgood publish prod-invoice v-20261123-02 --channel staging
      lastgood publish prod-invoice v-20261123-02 --break-glass --reason "orders are lost"
    """
    with connect(given(ctx)) as api:
        before = find_channel(api, workflow, channel)
        body = {"version": version, "reason": reason, "semver": semver, "force": force, "verify": not no_verify}
        body |= {"on_verification_failure": on_failure, "approval": approval, "break_glass": break_glass}
        with output.progress("publishing and verifying"):
            moved = api.post(
                "workflows", workflow, "channels", channel, "publish", body=body, expected=before["generation"]
            )
    raise typer.Exit(tell_move(moved, as_json))


def log(ctx: typer.Context, workflow: Workflow, limit: Limit = 50, wide: Wide = False, as_json: Json = False) -> None:
    """List every move of every channel of a workflow, newest first.

    \b
    Examples:
      lastgood log prod-invoice
      lastgood log prod-invoice --wide -n 500
    """
    with connect(given(ctx)) as api:
        found = api.items("workflows", workflow, "moves", limit=limit)
    if output.items(found, as_json, f"No channel of {workflow} has moved yet."):
        return
    rows = [
        (
            output.moment(one["at"], wide),
            one["channel"],
            one["kind"],
            one["from"] or "-",
            one["to"],
            str(one["generation"]),
            one["actor"],
            one["reason"],
        )
        for one in found
    ]
    output.table(("age", "channel", "move", "from", "to", "generation", "by", "reason"), rows)


def find_channel(api: Client, workflow: str, channel: str) -> dict[str, Any]:
    """The channel as it stands; one that is not there yet points to nothing, at generation 0."""
    try:
        found: dict[str, Any] = api.get("workflows", workflow, "channels", channel)
    except ServerRefused as refused:
        if refused.data["problem"] != "unknown-channel":
            raise
        return {"name": channel, "version": None, "generation": 0, "last_good": None}
    return found


def send_rollback(api: Client, workflow: str, before: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """Roll the channel back from the state `before` that was read."""
    answer: dict[str, Any] = api.post(
        "workflows", workflow, "channels", before["name"], "rollback", body=body, expected=before["generation"]
    )
    return answer


def warn_of(moved: dict[str, Any]) -> int:
    """Say on standard error what is not well after a move, and give the exit code."""
    move, report = moved["move"], moved["verification"] or {"verdict": "none", "items": []}
    if moved["unconfirmed"]:
        workers = ", ".join(moved["unconfirmed"])
        output.warn(f"lastgood: not confirmed by {workers}, which may still serve the old version for a moment.")
    found = {one["verdict"]: one for one in reversed(report["items"])}
    if report["verdict"] == "inconclusive":
        output.warn(f"lastgood: {move['to']} could not be verified: {_item(found['unknown'])}")
    if moved["state"] == "succeeded":
        return 0
    said = _item(found["fail"]) if "fail" in found else output.flat(moved["summary"])
    channel = "" if move["channel"] == LIVE else f" --channel {move['channel']}"
    if moved["state"] == "undone":
        output.warn(f"lastgood: VERIFICATION FAILED, so it was UNDONE. {output.flat(moved['summary'])}")
        return UNVERIFIED
    back = f"lastgood rollback {move['workflow']}{channel}"
    if move["kind"] == "rollback":
        back = f"lastgood operation {moved['operation']} --undo"
    where = f"{move['channel']} of {move['workflow']}"
    output.warn(
        f"lastgood: VERIFICATION FAILED. {where} now serves {move['to']}, and {said}\nlastgood: go back with: {back}"
    )
    return UNVERIFIED


def _item(item: dict[str, Any]) -> str:
    """What an item of the checklist says: ``smoke smoke-k3x9a2: got 50.4, want outputs.total == `42```."""
    subject = f" {item['subject']}" if item["subject"] else ""
    return f"{item['check']}{subject} got {output.flat(item['found'])}, want {output.flat(item['expected'])}"


def tell_move(moved: dict[str, Any], as_json: bool) -> int:
    """Print what a move did, and give the exit code."""
    move = moved["move"]
    if as_json:
        output.print_json(moved)
        return warn_of(moved)
    path = f"{move['from'] or 'nothing'} → {output.paint(move['to'], 'bold')}"
    proof = _proof(moved["verification"], move["workflow"])
    output.write(
        f"{move['channel']} of {move['workflow']}: {path} (generation {move['generation']}), "
        f"{moved['took_ms']:.1f} ms; {proof}"
    )
    number = moved["semver"]
    if number is not None and number["kind"] != "none":
        output.write(f"SemVer {number['version']} ({number['kind']}): {output.flat(number['because'][0])}")
    return warn_of(moved)


def _proof(report: dict[str, Any] | None, workflow: str) -> str:
    """What verification made of a moved version, in a few words."""
    if report is None:
        return "not verified"
    if not report["checks"]:
        return f"not proven: it has no smoke requests (`lastgood smoke add {workflow} …`)"
    number = output.count(len(report["checks"]), "smoke request")
    passed = sum(1 for one in report["checks"] if one["passed"])
    return {
        "passed": f"verified by {number}",
        "failed": output.paint(f"{passed} of {len(report['checks'])} smoke requests passed", "red"),
        "inconclusive": "not verified",
    }[report["verdict"]]
