"""Commands that tell how things stand: status, changes, doctor."""

from typing import Annotated, Any

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.parameters import Json, Limit, Wide, given


def status(
    ctx: typer.Context,
    ask: Annotated[bool, typer.Option("--ask", help="Ask each Dify server now what it serves.")] = False,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Say what is live, and whether it is well; of Dify apps also whether they serve what their channel says.

    in step: it does. drifted: it serves something else. ahead: somebody published after that. converging: a move by
    `route` is still to reach the app itself.

    \b
    Examples:
      lastgood status
      lastgood status --json | jq '.workflows[] | {slug, version, proven}'
    """
    with connect(given(ctx)) as api:
        found = api.get("status", ask=ask)
    if as_json:
        output.print_json(found)
        return
    verdict, colour = is_it_well(found)
    output.write(output.paint(output.flat(verdict), colour))
    if found["workflows"]:
        output.write("")
        more = ("semver", "generation", "by", "newest") if wide else ()
        on_dify = ("on Dify",) if any(one.get("app") for one in found["workflows"]) else ()
        headers = ("workflow", "channel", "version", "proven", "since", "last good", "newer", *on_dify, *more)
        output.table(headers, [_row(one, wide, bool(on_dify)) for one in found["workflows"]])
        for one in found["workflows"]:
            if one.get("app") and one["app"]["state"] != "in step":
                output.write(f"{one['channel']} of {one['slug']}: {output.flat(one['app']['sentence'])}")
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
    if (said := _out_of_step(rows)) is not None:
        return said
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
    well = (f"All is well: {output.count(len(rows), 'channel')}, each on a proven version.", "green")
    return well if rows else ("Nothing is live yet; `lastgood publish WORKFLOW VERSION` makes it so.", "yellow")


def _row(one: dict[str, Any], wide: bool, on_dify: bool) -> list[str | output.Cell]:
    more = [one["semver"] or "-", str(one["generation"]), one["by"] or "-", one["newest"] or "-"] if wide else []
    return [
        one["slug"],
        one["channel"],
        one["version"] or "-",
        output.state(one["proven"]),
        output.moment(one["since"], wide),
        one["last_good"] or "-",
        f"+{one['newest_is_ahead']}" if one["newest_is_ahead"] else "-",
        *([_stands(one)] if on_dify else []),
        *more,
    ]


def _out_of_step(rows: list[dict[str, Any]]) -> tuple[str, str] | None:
    """What is said where a Dify app serves something else than its channel says."""
    out = [one for one in rows if (one.get("app") or {}).get("state") in ("drifted", "ahead", "unknown", "gone")]
    if not out:
        return None
    one = out[0]
    channel = "" if one["channel"] == "live" else f" --channel {one['channel']}"
    return f"Out of step: {one['app']['sentence']} `lastgood drift {one['slug']}{channel}`.", "red"


def _stands(one: dict[str, Any]) -> str | output.Cell:
    """How the Dify app of a channel stands to it."""
    if not one.get("app"):
        return "-"
    state = one["app"]["state"]
    colour = {"in step": "green", "converging": "yellow", "applying": "yellow"}.get(state, "red")
    return output.Cell(state, colour)
