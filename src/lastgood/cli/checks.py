"""`lastgood verify`: the checklist against what is live now."""

from typing import Annotated, Any

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.parameters import Channel, Json, Workflow, given
from lastgood.errors import InvalidRequest

LIVE = "live"
_CODES = {"passed": 0, "failed": 3}  # else 1: what is not known is no pass
_COLOURS = {"pass": "green", "fail": "red", "unknown": "yellow"}
_HEADLINES = {"passed": ("WELL", "green"), "failed": ("NOT WELL", "red"), "inconclusive": ("NOT KNOWN", "yellow")}


def verify(
    ctx: typer.Context,
    workflow: Workflow,
    channel: Channel = LIVE,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the report as Markdown.")] = False,
    as_json: Json = False,
) -> None:
    """Hold the checklist against what is live now: pointer, routes, workers, health, smoke requests and the rest.

    Smoke requests that all pass make the version stable; nothing is condemned.
    Exit code 0: every check passed. 3: one failed. 1: one could not be answered.

    \b
    Examples:
      lastgood verify prod-invoice
      lastgood verify prod-invoice --channel staging --json
      lastgood verify prod-invoice --markdown > report.md
    """
    if markdown and as_json:
        raise InvalidRequest(where="--markdown", reason="choose it or --json, not both")
    with connect(given(ctx)) as api, output.progress("checking"):
        report = api.post("workflows", workflow, "verify", params={"channel": channel})
    if as_json:
        output.print_json(report)
    elif markdown:
        output.write(report["markdown"], end="")
    else:
        _show(report)
    raise typer.Exit(_CODES.get(report["verdict"], 1))


def _show(report: dict[str, Any]) -> None:
    word, colour = _HEADLINES.get(report["verdict"], ("NOTHING CHECKED", ""))
    output.write(
        f"{output.paint(word, colour)}: {report['channel']} of {report['workflow']} serves {report['version']} "
        f"(generation {report['generation']}, {report['state']}); {output.flat(report['sentence'])}"
    )
    rows = [
        (
            f"{one['check']} {one['subject']}".strip(),
            output.Cell(one["verdict"] if one["required"] else f"{one['verdict']}, told only", _colour(one)),
            f"{one['elapsed_ms']:.0f} ms" if one["elapsed_ms"] else "-",
            one["found"],
        )
        for one in report["checks"]
    ]
    output.table(("check", "verdict", "took", "detail"), rows)
    for one in report["checks"]:
        if one["verdict"] in ("fail", "unknown") and one["required"]:
            name = f"{one['check']} {one['subject']}".strip()
            wanted = output.flat(one["expected"]).removeprefix("want ")
            output.warn(f"lastgood: {name}: {output.flat(one['found'])}; want {wanted}")
    if report["verdict"] == "failed":
        chosen = "" if report["channel"] == LIVE else f" --channel {report['channel']}"
        output.warn(f"lastgood: go back with: lastgood rollback {report['workflow']}{chosen}")


def _colour(one: dict[str, Any]) -> str:
    return _COLOURS.get(one["verdict"], "") if one["required"] else ""
