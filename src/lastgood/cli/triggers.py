"""`lastgood triggers`: what starts a workflow by itself."""

from typing import Any

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.parameters import Json, Wide, Workflow, given

_COLOURS = {"bound": "green", "unbound": "yellow", "broken": "red"}


def triggers(ctx: typer.Context, workflow: Workflow, wide: Wide = False, as_json: Json = False) -> None:
    """List the webhooks and schedules of a workflow: what they start, and when.

    bound: it starts the version shown. unbound: the version in service has no such trigger; a webhook keeps its
    address. broken: the schedule names no time. off: its channel is not among the setting trigger_channels.

    \b
    Examples:
      lastgood triggers prod-invoice
      lastgood triggers prod-invoice --json | jq -r '.[].url'
    """
    with connect(given(ctx)) as api:
        found = api.items("workflows", workflow, "triggers")
    if output.items(found, as_json, f"{workflow} has no triggers on the embedded engine: no move has bound any."):
        return
    rows = [_row(one, wide) for one in found]
    output.table(("kind", "node", "channel", "state", "version", "gen", "when or where", "next", "last"), rows)


def _row(one: dict[str, Any], wide: bool) -> list[str | output.Cell]:
    last = one.get("last") or {}
    when = one.get("problem") or one.get("url") or " ".join(filter(None, (one.get("cron"), one.get("timezone"))))
    state = one["state"] if one.get("enabled", True) or one["state"] != "bound" else "off"
    told = f"{last['state']} {output.moment(last['slot'], wide)}" if last else "-"
    return [
        one["kind"],
        one["node"],
        one["channel"],
        output.Cell(state, _COLOURS.get(state, "yellow")),
        one["version"] or "-",
        str(one["generation"]),
        when or "-",
        (one.get("next") or "-")[:16].replace("T", " "),
        told,
    ]
