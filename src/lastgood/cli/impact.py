"""`lastgood impact`: who and what a move affects."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.parameters import Channel, Json, Wide, Workflow, complete_version, given

LIVE = "live"
_COLOURS = {"critical": "red", "high": "red", "medium": "yellow", "low": "green"}
_HOWS = {"changed": "changed", "fed": "fed by a changed node", "any": "not known"}


def impact(
    ctx: typer.Context,
    workflow: Workflow,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="VERSION", help="Else the last good version.", autocompletion=complete_version),
    ] = None,
    channel: Channel = LIVE,
    wide: Wide = False,
    as_json: Json = False,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print YAML.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Say who and what a move of a channel affects, and how much is at risk. Changes nothing.

    Callers are those that the gateway saw; services and the people who answer for them stand in lastgood.toml. What
    is not declared there is told all the same, by its own name.

    \b
    Examples:
      lastgood impact prod-invoice
      lastgood impact prod-invoice --to v-20261123-01 --channel staging
      lastgood impact prod-invoice --json | jq -r '.services[] | select(.risk == "critical").responsible'
      lastgood impact prod-invoice --markdown > impact.md
    """
    if as_json + as_yaml + as_markdown > 1:
        raise typer.BadParameter("choose one of --json, --yaml and --markdown", param_hint="--yaml")
    where = ("workflows", workflow, "impact")
    with connect(given(ctx)) as api, output.progress("looking"):
        if as_yaml or as_markdown:
            text = api.file(*where, channel=channel, to=to, format="yaml" if as_yaml else "markdown")
        else:
            found = api.get(*where, channel=channel, to=to)
    if as_yaml or as_markdown:
        output.write_bytes(text)
    elif as_json:
        output.print_json(found)
    else:
        _tell(found, wide)


def _tell(found: dict[str, Any], wide: bool) -> None:
    for move in found["moves"]:
        path = f"{move['from'] or 'nothing'} → {move['to'] or 'any other version'}"
        output.write(output.paint(f"{move['channel']} of {move['workflow']}: {path}", "bold"))
        output.write(output.flat(move["sentence"]))
    if not found["services"]:
        output.write("No service is known to be affected.")
    else:
        _section(
            "",
            ("module", "affected services", "risk", "responsible"),
            [
                (one["module"], ", ".join(one["services"]), _risk(one["risk"]), ", ".join(one["responsible"]))
                for one in found["modules"]
            ],
        )
        _section(
            "Why",
            ("service", "risk", "reason", "responsible"),
            [(one["name"], _risk(one["risk"]), one["reason"], one["responsible"]) for one in found["services"]],
        )
    for move in found["moves"]:
        _around(move, wide)


def _around(move: dict[str, Any], wide: bool) -> None:
    """Who calls, who uses it as a tool, and what the changed nodes touch."""
    _section(
        "Who calls",
        ("key", "client", "workflow", "24 h", "7 d", "last", "part of"),
        [
            (
                one["name"] + " (revoked)" * one["revoked"],
                one["user_agent"] or "-",
                one["workflow"],
                _number(one["requests_24h"]),
                _number(one["requests_7d"]),
                output.moment(one["last_at"], wide),
                ", ".join(one["services"]) or "-",
            )
            for one in move["callers"]
        ],
    )
    _section(
        "Workflows that use it as a tool",
        ("workflow", "steps", "over"),
        [(one["workflow"], str(one["steps"]), " → ".join(reversed(one["through"]))) for one in move["dependants"]],
    )
    _section(
        "What its nodes touch",
        ("kind", "what", "nodes", "how", "in version", "part of"),
        [
            (
                one["kind"],
                one["name"],
                ", ".join(one["nodes"]) or "-",
                _HOWS.get(one["how"], one["how"]),
                one["side"],
                ", ".join(one["services"]) or "-",
            )
            for one in move["touches"]
        ],
    )
    pins = {one["name"]: one["pinned"] for one in move["callers"] if one["pinned"]}
    notes = [f"{name} asks for {', '.join(some)} itself; no move reaches that." for name, some in pins.items()]
    told = [*notes, *move["notes"]]
    if told:
        output.write("")
    for note in told:
        output.write(output.flat(note))


def _section(title: str, headers: Sequence[str], rows: Sequence[Sequence[str | output.Cell]]) -> None:
    if rows:
        output.write("")
        if title:
            output.write(output.paint(title, "bold"))
        output.table(headers, rows)


def _risk(risk: str) -> output.Cell:
    return output.Cell(risk, _COLOURS.get(risk, ""))


def _number(requests: int | None) -> str:
    return "not counted" if requests is None else str(requests)
