"""`lastgood acl`: permissions kept in step with where people's roles really live."""

from typing import Annotated, Any

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.commands import add, group
from lastgood.cli.parameters import Json, Limit, Wide, given

acl = group(help="Permissions kept in step with where people's roles really live.", no_args_is_help=True)
dead = group(help="Events that could not be taken in.", no_args_is_help=True)

Source = Annotated[str, typer.Argument(metavar="SOURCE", help="Its name: that of [grants.NAME] in lastgood.toml.")]
Of = Annotated[str | None, typer.Option("--source", metavar="SOURCE", help="Only this source.")]
Ids = Annotated[list[int] | None, typer.Argument(metavar="ID", help="Their ids; several may be given.")]


def status(ctx: typer.Context, wide: Wide = False, as_json: Json = False) -> None:
    """Say how each source and each feed stands: what waits, what the last check found, what is wrong.

    Exit code 1 when a source cannot be read, or differs.

    \b
    Examples:
      lastgood acl status
      lastgood acl status --json | jq '.items[] | {name, lag, in_step}'
    """
    with connect(given(ctx)) as api:
        found = api.get("access", "sources")
    if as_json:
        output.print_json(found)
    else:
        _tell(found, wide)
    if any(one["problem"] or one["in_step"] is False for one in found["items"]):
        raise typer.Exit(1)


def check(
    ctx: typer.Context,
    source: Of = None,
    full: Annotated[bool, typer.Option("--full", help="Compare everything (the default).")] = False,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Compare digests, and then only what differs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare our grants with what their sources say. Nothing is changed, unless the source's policy is source-wins.

    Exit code 1 when something differs.

    \b
    Examples:
      lastgood acl check
      lastgood acl check --incremental --source hr
    """
    if full and incremental:
        raise typer.BadParameter("choose one of --full and --incremental")
    body = {"kind": "incremental" if incremental else "full"}
    with connect(given(ctx)) as api, output.progress("comparing"):
        names = [source] if source else _comparable(api.get("access", "sources"))
        reports = [api.post("access", "sources", name, "check", body=body) for name in names]
    _report(reports, as_json)


def repair(ctx: typer.Context, source: Of = None, as_json: Json = False) -> None:
    """Make our grants what their sources say, however many that takes away. Look at `lastgood acl check` first.

    \b
    Examples:
      lastgood acl repair --source hr
    """
    with connect(given(ctx)) as api, output.progress("comparing"):
        names = [source] if source else _comparable(api.get("access", "sources"))
        reports = [api.post("access", "sources", name, "repair") for name in names]
    _report(reports, as_json)


def secret(ctx: typer.Context, source: Source, as_json: Json = False) -> None:
    """Make the secret that a push source signs with, in place of the old one. It is shown this once.

    \b
    Examples:
      lastgood acl secret hr
    """
    with connect(given(ctx)) as api:
        made = api.post("access", "sources", source, "secret")
    if as_json:
        output.print_json(made)
        return
    output.write(made["secret"])
    output.warn(f"lastgood: {source} signs what it sends to {made['path']} with it. It is not shown again.")


def list_dead(
    ctx: typer.Context, source: Of = None, limit: Limit = 50, wide: Wide = False, as_json: Json = False
) -> None:
    """List events that could not be taken in, with the reason.

    \b
    Examples:
      lastgood acl dead list
      lastgood acl dead list --source hr --json
    """
    with connect(given(ctx)) as api:
        found = api.get("access", "dead", source=source, limit=min(limit, 500))["items"]
    if output.items(found, as_json, "No event is dead."):
        return
    rows = [
        (
            str(one["id"]),
            one["source"],
            one["place"],
            output.moment(one["at"], wide),
            one["reason"],
            one["body"] or one["key"] or "-",
        )
        for one in found
    ]
    output.table(("id", "source", "place", "age", "reason", "event"), rows)


def retry(ctx: typer.Context, ids: Ids = None, source: Of = None, as_json: Json = False) -> None:
    """Try dead events again, such as after their role was allowed. Each counts from its own time.

    \b
    Examples:
      lastgood acl dead retry 12 13
      lastgood acl dead retry --source hr
    """
    with connect(given(ctx)) as api:
        found = api.post("access", "dead", "retry", body=_chosen(ids, source))["results"]
    if as_json:
        output.print_json(found)
        return
    for number, told in found.items():
        output.write(f"{number}: {output.flat(told)}")
    if not found:
        output.write("There is no such dead event.")


def drop(ctx: typer.Context, ids: Ids = None, source: Of = None) -> None:
    """Forget dead events.

    \b
    Examples:
      lastgood acl dead drop 12
      lastgood acl dead drop --source hr
    """
    with connect(given(ctx)) as api:
        done = api.post("access", "dead", "drop", body=_chosen(ids, source))
    output.write(f"{output.count(done['dropped'], 'event')} dropped")


add(acl, {"status": status, "check": check, "repair": repair, "secret": secret}, "Commands")
add(dead, {"list": list_dead, "retry": retry, "drop": drop}, "Commands")
acl.add_typer(dead, name="dead")


def _chosen(ids: list[int] | None, source: str | None) -> dict[str, Any]:
    if not ids and not source:
        raise typer.BadParameter("name dead events by their ids, or a --source")
    return {"ids": ids or None, "source": source}


def _comparable(found: dict[str, Any]) -> list[str]:
    """The sources that there is a list of."""
    names = [one["name"] for one in found["items"] if one["comparable"]]
    if not names:
        raise typer.BadParameter("no source has a list to compare with; see docs/permissions-sync.md")
    return names


def _report(reports: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        output.print_json(reports)
    else:
        for one in reports:
            output.write(output.flat(_sentence(one)))
            differing = [
                (each["kind"], each["user"], each["role"], each["resource"], each["why"])
                for each in one["differences"]
            ]
            if differing:
                output.table(("what", "user", "role", "on", "why"), differing)
            for problem in one["problems"]:
                output.warn(f"lastgood: {one['source']}: {output.flat(problem)}")
    if not all(one["in_step"] for one in reports):
        raise typer.Exit(1)


def _sentence(one: dict[str, Any]) -> str:
    number = one["missing"] + one["extra"]
    what = f"{output.count(one['compared'], 'grant')} compared, {one['received']} bytes received"
    if not number:
        return f"{one['source']} is in step: {what}"
    told = f"{one['missing']} missing here, {one['extra']} too many"
    if one["repaired"]:
        return f"{one['source']} is repaired: {output.count(one['repaired'], 'grant')} changed ({told}; {what})"
    return f"{one['source']} differs: {told} ({what})"


def _tell(found: dict[str, Any], wide: bool) -> None:
    if not found["items"] and not found["feeds"]:
        output.write("No source of permissions is declared; [grants.NAME] in lastgood.toml does it.")
        return
    if found["items"]:
        headers = ("source", "kind", "state", "grants", "waiting", "dead", "read", "full check", "digests", "detail")
        output.table(headers, [_row(one, wide) for one in found["items"]])
    if found["feeds"]:
        rows = [
            (
                one["name"],
                one["topic"],
                output.Cell("fails", "red") if one["problem"] else output.Cell("on", "green"),
                f"{one['sequence']} of {found['sequence']}",
                str(one["waiting"]),
                one["problem"] or "-",
            )
            for one in found["feeds"]
        ]
        output.table(("feed", "topic", "state", "written to", "waiting", "detail"), rows)


def _row(one: dict[str, Any], wide: bool) -> tuple[str | output.Cell, ...]:
    state = output.Cell("unchecked", "yellow")
    if one["problem"]:
        state = output.Cell("fails", "red")
    elif one["in_step"] is not None:
        state = output.Cell("in step", "green") if one["in_step"] else output.Cell("differs", "red")
    unknown = f"unknown roles: {', '.join(one['unknown_roles'])}" if one["unknown_roles"] else "-"
    return (
        one["name"],
        one["kind"],
        state,
        str(one["grants"]),
        "-" if one["lag"] is None else str(one["lag"]),
        str(one["dead"]),
        output.moment(one["read_at"], wide),
        output.moment(one["full_at"], wide),
        output.moment(one["incremental_at"], wide),
        one["problem"] or unknown,
    )
