"""Commands for what proves a version: smoke requests and marks."""

from typing import Annotated, Any, Literal

import typer

from lastgood.cli import output
from lastgood.cli.client import Client, connect
from lastgood.cli.commands import add, group
from lastgood.cli.parameters import Inputs, Json, Query, Version, Workflow, given
from lastgood.cli.values import read_inputs

smoke = group(help="The smoke requests that prove a version.", no_args_is_help=True)

Expectations = Annotated[
    list[str] | None,
    typer.Option(
        "--expect", "-e", metavar="JMESPATH", help="What must be true of outputs, status, answer, elapsed_ms."
    ),
]


def add_smoke(
    ctx: typer.Context,
    workflow: Workflow,
    input: Inputs = None,
    query: Query = "",
    expect: Expectations = None,
    max_ms: Annotated[int | None, typer.Option("--max-ms", min=1, help="Slower is a failure.")] = None,
    from_run: Annotated[
        str | None,
        typer.Option("--from-run", metavar="RUN", help="Send what this run was sent; its sender should agree."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Keep a smoke request with a workflow.

    It is sent after each publish, and a version that passes becomes stable.

    \b
    Examples:
      lastgood smoke add prod-invoice --input text="2 x Cup @ 21.00" --expect 'outputs.total == `42`'
      lastgood smoke add prod-invoice --input @sample.json --expect 'outputs.status == `"ok"`' --max-ms 2000
      lastgood smoke add support-chat --query "When do you open?" --expect 'contains(answer, `"nine"`)'
      lastgood smoke add prod-invoice --from-run 6f1c2b1e-8a53-4c21-9d0e-2b7f4f1c9a10 --expect 'outputs.total > `0`'
    """
    with connect(given(ctx)) as api:
        body = {
            "inputs": read_inputs(input or [], lambda: _form(api, workflow)),
            "query": query,
            "expect": expect or [],
            "max_ms": max_ms,
            "from_run": from_run,
        }
        kept = api.post("workflows", workflow, "smokes", body=body)
    if as_json:
        output.print_json(kept)
        return
    output.write(f"{kept['id']}  {workflow}  {output.count(len(kept['expect']), 'expectation')}")


def list_smokes(ctx: typer.Context, workflow: Workflow, as_json: Json = False) -> None:
    """List the smoke requests of a workflow.

    \b
    Examples:
      lastgood smoke list prod-invoice
    """
    with connect(given(ctx)) as api:
        found = api.items("workflows", workflow, "smokes")
    if output.items(found, as_json, f"{workflow} has no smoke requests, so nothing proves its versions."):
        return
    rows = [
        (
            one["id"],
            " and ".join(one["expect"]),
            f"{one['max_ms']} ms" if one["max_ms"] else "-",
            one["created_by"],
            output.age(one["created_at"]),
            " ".join([*(f"{k}={v}" for k, v in one["inputs"].items()), *([one["query"]] if one["query"] else [])]),
        )
        for one in found
    ]
    output.table(("smoke", "expect", "within", "by", "age", "inputs"), rows)


def remove_smoke(
    ctx: typer.Context,
    workflow: Workflow,
    smoke: Annotated[str, typer.Argument(metavar="SMOKE", help="Its id (smoke-…).")],
) -> None:
    """Forget a smoke request.

    \b
    Examples:
      lastgood smoke remove prod-invoice smoke-x7k2p9
    """
    with connect(given(ctx)) as api:
        api.delete("workflows", workflow, "smokes", smoke)
    output.write(f"{smoke} of {workflow} is forgotten")


def run_smokes(ctx: typer.Context, version: Version, as_json: Json = False) -> None:
    """Send the smoke requests of its workflow to a version now.

    All passed: the version is stable. One failed: it is failed, and the exit code 1.

    \b
    Examples:
      lastgood smoke run v-20261123-02
    """
    with connect(given(ctx)) as api, output.progress("sending smoke requests"):
        report = api.post("versions", version, "smoke")
    if as_json:
        output.print_json(report)
    elif report is not None and report["checks"]:
        verdicts = {
            True: output.Cell("passed", "green"),
            False: output.Cell("failed", "red"),
            None: output.Cell("unknown"),
        }
        rows = [
            (one["smoke"], verdicts[one["passed"]], f"{one['elapsed_ms']:.0f} ms", one["detail"])
            for one in report["checks"]
        ]
        output.table(("smoke", "verdict", "took", "detail"), rows)
    output.warn(_outcome(version, report))
    if report is None or report["verdict"] != "passed":
        raise typer.Exit(1)


def mark(
    ctx: typer.Context,
    version: Version,
    state: Annotated[
        Literal["stable", "failed", "candidate"], typer.Argument(metavar="STATE", help="stable, failed or candidate.")
    ],
    reason: Annotated[str, typer.Option("--reason", "-m", help="How you know.")],
    as_json: Json = False,
) -> None:
    """Say of a version that it is stable or failed.

    `candidate` takes that back: nothing is known of it.

    \b
    Examples:
      lastgood mark v-20261123-01 stable --reason "checked by hand"
      lastgood mark v-20261123-02 failed --reason "wrong totals"
    """
    with connect(given(ctx)) as api:
        found = api.post("versions", version, "mark", body={"state": state, "reason": reason})
    if as_json:
        output.print_json(found)
        return
    live = f"; {', '.join(found['channels'])} of {found['workflow']} points to it" if found["channels"] else ""
    output.write(f"{found['id']} is {output.paint(*output.state(found['proven']))}{live}")


add(smoke, {"add": add_smoke, "list": list_smokes, "remove": remove_smoke, "run": run_smokes}, "Commands")


def _outcome(version: str, report: dict[str, Any] | None) -> str:
    if report is None:
        return f"lastgood: {version} does not run on the embedded engine, so its smoke requests were not sent."
    if report["verdict"] == "none":
        return f"lastgood: the workflow of {version} has no smoke requests; add one with `lastgood smoke add`."
    return f"lastgood: {report['verdict']}; {version} is {report['state']}."


def _form(api: Client, workflow: str) -> list[dict[str, Any]]:
    """The input form of the live version, else the newest."""
    from lastgood import dsl

    form: list[dict[str, Any]] = dsl.parameters(dsl.Document(api.get("workflows", workflow)["document"]))[
        "user_input_form"
    ]
    return form
