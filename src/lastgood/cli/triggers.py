"""`lastgood triggers`: what starts a workflow by itself."""

from typing import Any

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.parameters import Json, Wide, Workflow, given

_COLOURS = {"bound": "green", "enabled": "green", "unbound": "yellow", "broken": "red", "gone": "red"}


def triggers(ctx: typer.Context, workflow: Workflow, wide: Wide = False, as_json: Json = False) -> None:
    """List the webhooks, schedules and plugin triggers of a workflow: what they start, where and when.

    bound: it starts the version shown. unbound: the version in service has no such trigger; a webhook keeps its
    address. broken: the schedule names no time. off: its channel is not among the setting trigger_channels.

    On a Dify app the state is Dify's own (enabled, disabled), as it was last seen, or gone. A webhook's address that
    changed is told with the one before, so that its callers can be given the new one.

    \b
    Examples:
      lastgood triggers prod-invoice
      lastgood triggers prod-invoice --json | jq -r '.[].url'
    """
    with connect(given(ctx)) as api:
        found = api.items("workflows", workflow, "triggers")
    if output.items(found, as_json, f"{workflow} has no triggers: no move has bound any, and none was seen on Dify."):
        return
    rows = [_row(one, wide) for one in found]
    output.table(("kind", "node", "channel", "state", "version", "gen", "when or where", "next", "last"), rows)
    for one in found:
        if one.get("before"):
            output.write(_moved(one))


def _moved(one: dict[str, Any]) -> str:
    """The address that a webhook had, and what became of it."""
    until = one["before"]["until"][:16].replace("T", " ")
    now = f"It is {one['url']} now: give it to its callers." if one["url"] else "It has none now."
    return f"The webhook {one['node']} of {one['app']} was {one['before']['url']} until {until} UTC. {now}"


def _row(one: dict[str, Any], wide: bool) -> list[str | output.Cell]:
    last = one.get("last") or {}
    when = one.get("problem") or one.get("url") or " ".join(filter(None, (one.get("cron"), one.get("timezone"))))
    state = one["state"] if one.get("enabled", True) or one["state"] != "bound" else "off"
    generation = one.get("generation")
    told = f"{last['state']} {output.moment(last['slot'], wide)}" if last else "-"
    return [
        one["kind"],
        one["node"],
        one["channel"],
        output.Cell(state, _COLOURS.get(state, "yellow")),
        one["version"] or "-",
        "-" if generation is None else str(generation),
        when or "-",
        (one.get("next") or "-")[:16].replace("T", " "),
        told,
    ]
