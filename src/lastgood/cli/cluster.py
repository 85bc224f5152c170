"""`lastgood cluster`: Lastgood's own processes."""

from typing import Any

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.parameters import Json, given

_COLOURS = {"live": "green", "late": "yellow", "gone": "red"}


def cluster(ctx: typer.Context, as_json: Json = False) -> None:
    """List Lastgood's own processes: release, what each can read, heartbeat.

    live: its lease runs. late: it ended within the last minute. gone: before that; forgotten after an hour.

    \b
    Examples:
      lastgood cluster
      lastgood cluster --json | jq '.items[] | select(.state != "live")'
    """
    with connect(given(ctx)) as api:
        found = api.get("cluster")
    if as_json:
        output.print_json(found)
        return
    if not found["items"]:
        output.warn("No process of Lastgood is running here; `lastgood serve` starts them.")
        return
    if found["mixed"]:
        output.warn(
            f"Releases are mixed ({', '.join(found['versions'])}): messages are sent in forms that all of them read."
        )
    output.table(
        ("state", "role", "process", "version", "address", "since", "heartbeat", "capabilities"),
        [_row(one) for one in found["items"]],
    )


def _row(one: dict[str, Any]) -> list[str | output.Cell]:
    # A server of another release may leave members out, or add some.
    state, age = str(one.get("state") or ("live" if one.get("live") else "gone")), one.get("heartbeat_age_ms")
    return [
        output.Cell(state, _COLOURS.get(state, "")),
        str(one["role"]),
        str(one["id"]),
        str(one.get("version") or "-"),
        str(one.get("address") or "-"),
        output.age(one.get("started_at")),
        "-" if age is None else f"{age / 1000:.1f} s",
        ", ".join(map(str, one.get("capabilities") or ())) or "-",
    ]
