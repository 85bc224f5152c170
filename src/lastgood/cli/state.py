"""Commands that tell how things stand: status, changes, doctor."""

from typing import Annotated, Any

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.parameters import Json, Limit, Wide, given


def status(ctx: typer.Context, wide: Wide = False, as_json: Json = False) -> None:
    """Say what is live, and whether it is well.

    \b
    Examples:
      lastgood status
      lastgood status --json | jq '.workflows[] | {slug, version, proven}'
    """
    with connect(given(ctx)) as api:
        found = api.get("status")
    if as_json:
        output.print_json(found)
        return
    verdict, colour = is_it_well(found)
    output.write(output.paint(output.flat(verdict), colour))
    if found["workflows"]:
        output.write("")
        more = ("semver", "generation", "by", "newest") if wide else ()
        headers = ("workflow", "channel", "version", "proven", "since", "last good", "newer", *more)
        output.table(headers, [_row(one, wide) for one in found["workflows"]])
    if found["processes"] and wide:
        output.write("")
        output.table(
            ("process", "role", "version", "address", "state"),
            [
                (
                    str(one["id"]),
                    one["role"],
                    str(one.get("version") or "-"),
                    str(one.get("address") or "-"),
                    output.Cell("live", "green") if one["live"] else output.Cell("silent", "red"),
                )
                for one in found["processes"]
            ],
        )


def changes(
    ctx: typer.Context,
    since: Annotated[str, typer.Option("--since", help="An age (90s, 30m, 1h, 2d) or an ISO 8601 time.")] = "24h",
    limit: Limit = 200,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """List what changed lately in all workflows, newest first.

    \b
    Examples:
      lastgood changes --since 1h
      lastgood changes --since 2026-11-23 --json
    """
    with connect(given(ctx)) as api:
        found = api.items("changes", limit=limit, since=since)
    if output.items(found, as_json, f"Nothing changed since {since}."):
        return
    rows = [
        (output.moment(one["at"], wide), one["workflow"], one["kind"], one["what"], one["actor"], one["reason"])
        for one in found
    ]
    output.table(("age", "workflow", "change", "what", "by", "reason"), rows)


def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Say what is wrong with this installation, and what to do.

    Exit code 1 when something is.

    \b
    Examples:
      lastgood doctor
      lastgood doctor --json
    """
    with connect(given(ctx)) as api, output.progress("looking"):
        found = api.get("doctor")
    if as_json:
        output.print_json(found["findings"])
    else:
        rows = [(output.state(one["verdict"]), one["check"], one["detail"], one["todo"]) for one in found["findings"]]
        output.table(("verdict", "check", "detail", "todo"), rows)
    if not found["ok"]:
        raise typer.Exit(1)


def is_it_well(found: dict[str, Any]) -> tuple[str, str]:
    """One sentence on the API's `status` answer, the worst first, and its colour."""
    rows = [one for one in found["workflows"] if one["version"]]
    # One that is gone did not come back within a minute and serves nobody, unless it goes on without the store.
    silent = [
        one
        for one in found["processes"]
        if not one["live"] and (one.get("state") != "gone" or one.get("on_store_loss") == "serve")
    ]
    for one in rows:
        name = f"{one['channel']} of {one['slug']}"
        if one["proven"] == "failed":
            channel = "" if one["channel"] == "live" else f" --channel {one['channel']}"
            return (
                f"Not well: {name} serves {one['version']}, which failed; "
                f"`lastgood rollback {one['slug']}{channel}`.",
                "red",
            )
        if one["applying"]:
            return f"Under way: {name} is being moved by {one['applying']}.", "yellow"
    if silent:
        return f"Not well: {silent[0]['role']} {silent[0]['id']} is not heard of; `lastgood doctor`.", "red"
    unproven = [one for one in rows if one["proven"] != "stable"]
    if unproven:
        one = unproven[0]
        others = f" (and {len(unproven) - 1} more)" if len(unproven) > 1 else ""
        return (
            f"Not proven: {one['channel']} of {one['slug']} serves {one['version']}{others}, which nothing "
            "has verified.",
            "yellow",
        )
    if not rows:
        return "Nothing is live yet; `lastgood publish WORKFLOW VERSION` makes it so.", "yellow"
    return f"All is well: {output.count(len(rows), 'channel')}, each on a proven version.", "green"


def _row(one: dict[str, Any], wide: bool) -> list[str | output.Cell]:
    more = [one["semver"] or "-", str(one["generation"]), one["by"] or "-", one["newest"] or "-"] if wide else []
    return [
        one["slug"],
        one["channel"],
        one["version"] or "-",
        output.state(one["proven"]),
        output.moment(one["since"], wide),
        one["last_good"] or "-",
        f"+{one['newest_is_ahead']}" if one["newest_is_ahead"] else "-",
        *more,
    ]
