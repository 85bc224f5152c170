"""Commands for Dify servers: connect, capture, watch, and which app runs which channel."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from lastgood.cli import output
from lastgood.cli.client import Client, connect
from lastgood.cli.parameters import Channel, Json, Wide, Workflow, given

_SECRET = "LASTGOOD_DIFY_SECRET"  # noqa: S105 - the name of a variable
_POLL_SECONDS = 0.3
_ABILITIES = {
    "restore": "restore a version by itself",
    "hash_covers": "what a draft's hash guards",
    "masks_kept": "keeps a secret that is sent as asterisks",
    "draft_parts": "write parts of a draft",
    "editors": "tell who is editing",
    "publish_name": "characters of a version's name",
    "publish_comment": "characters of its comment",
    "publish_hash": "refuses to publish a draft that changed",
    "openapi": "routes for tools (/openapi/v1)",
    "node_types": "tell which node types it knows",
    "export_secrets": "export secrets",
}
Server = Annotated[str, typer.Argument(metavar="SERVER", help="Name of the connected Dify server.")]


def connect_server(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where its console is, such as https://dify.example.")],
    name: Annotated[str, typer.Option("--name", help="What to call it.")],
    email: Annotated[str, typer.Option("--email", help="Sign in with this account; the password is asked for.")] = "",
    admin_key: Annotated[
        bool, typer.Option("--admin-key", help="By ADMIN_API_KEY of a self-hosted server; the key is asked for.")
    ] = False,
    workspace_id: Annotated[str, typer.Option("--workspace-id", help="The workspace, for --admin-key.")] = "",
    bearer: Annotated[
        bool, typer.Option("--bearer", help="By a token of /openapi/v1, which shows no versions; it is asked for.")
    ] = False,
    service_url: Annotated[
        str, typer.Option("--service-url", metavar="URL", help="Where its Service API is, if somewhere else.")
    ] = "",
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", metavar="FILE", help="Certificates (PEM) to trust.", dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Connect a Dify server: try the way in, keep it sealed, and say what the server can do.

    The password, key or token is asked for without showing it, taken from the variable LASTGOOD_DIFY_SECRET, or read
    as one line from standard input. It is never an option, where other users of this machine would see it.

    \b
    Examples:
      lastgood connect https://dify.example --name prod --email ops@example.com
      lastgood connect https://dify.example --name prod --admin-key --workspace-id 4f0c… < key.txt
    """
    if (admin_key and bearer) or (email and (admin_key or bearer)):
        raise typer.BadParameter("choose one of --email, --admin-key and --bearer")
    if admin_key and not workspace_id:
        raise typer.BadParameter("--admin-key needs --workspace-id")
    if not (email or admin_key or bearer):
        email = typer.prompt("Email of the account", err=True)
    kind, asked = (
        ("admin-key", "Admin key") if admin_key else ("bearer", "Token") if bearer else ("password", "Password")
    )
    way = {"kind": kind, "email": email, "workspace_id": workspace_id, "secret": _hidden(asked)}
    body = {
        "name": name,
        "url": url,
        "way": way,
        "service_url": service_url,
        "ca_file": str(ca_file.absolute()) if ca_file else "",
    }
    with connect(given(ctx)) as api, output.progress(f"asking {url}"):
        made = api.post("servers", body=body)
    if as_json:
        output.print_json(made)
        return
    version = f"Dify {made['version']}" if made.get("version") else "a Dify that does not name its version"
    output.write(f"{made['name']} is connected: {version} at {made['url']}")
    output.facts(
        {
            "workspace": f"{made.get('workspace', '')} ({made.get('workspace_id', '')})",
            "account": " ".join(part for part in (made.get("account", ""), made.get("role", "")) if part),
            "Service API": made["service_url"],
        }
    )
    rows = [
        (_ABILITIES.get(ability, ability), _told(one["value"]), one["how"], one["because"])
        for ability, one in made.get("abilities", {}).items()
        if ability != "version"
    ]
    if rows:
        output.write("")
        output.table(("it can", "", "known by", "detail"), rows)
    stated = str(made.get("api_url") or "").rstrip("/").removesuffix("/v1")
    if stated and stated != made["service_url"]:
        output.warn(
            f"lastgood: apps there say that their Service API is at {stated}; if the gateway is to use that, "
            f"connect again with --service-url {stated}."
        )
    output.warn(f"lastgood: `lastgood capture {made['name']}` brings its apps and versions into history.")


def servers(ctx: typer.Context, wide: Wide = False, as_json: Json = False) -> None:
    """List the connected Dify servers, and how the watch of each stands.

    \b
    Examples:
      lastgood servers
      lastgood servers --json
    """
    with connect(given(ctx)) as api:
        found = api.items("servers")
    if output.items(found, as_json, "No Dify server is connected; `lastgood connect URL --name …` does it."):
        return
    rows = [
        (
            one["name"],
            one["url"],
            str(one.get("version") or "-"),
            str(one.get("workspace") or "-"),
            str(one.get("way") or "-"),
            str(one["apps"]),
            *_watch_of(one.get("watch"), wide),
        )
        for one in found
    ]
    output.table(("server", "url", "version", "workspace", "way in", "apps", "watch", "detail"), rows)


def bind(
    ctx: typer.Context,
    workflow: Workflow,
    on: Annotated[str, typer.Option("--on", metavar="SERVER", help="The connected Dify server.")] = "",
    app: Annotated[str, typer.Option("--app", help="Id or name of the app there.")] = "",
    channel: Channel = "live",
    way: Annotated[
        str | None, typer.Option("--way", metavar="route|publish|restore|database", help="How its pointer is moved.")
    ] = None,
    move: Annotated[
        bool, typer.Option("--move", help="Take the app, with its history, from the channel that it runs now.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let a channel of a workflow be what a Dify app runs, or change the way in which it is moved.

    Best before the server is captured: capture gives each app that runs no channel a workflow of its own. An app that
    has one already comes with --move: its versions (with secrets and states), Dify's rows and runs, draft states and
    Dify's keys go along. The workflow that it leaves keeps what it has, and runs nowhere.

    \b
    Examples:
      lastgood bind prod-invoice --on staging --app "Invoice (staging)" --channel staging
      lastgood bind prod-invoice --on staging --app "Invoice (staging)" --channel staging --move
      lastgood bind prod-invoice --way route
    """
    body = {"server": on, "app": app, "channel": channel, "way": way, "move": move}
    with connect(given(ctx)) as api:
        bound = api.post("workflows", workflow, "apps", body=body)
    if as_json:
        output.print_json(bound)
        return
    output.write(
        output.flat(
            f"{bound['channel']} of {bound['workflow']} is what {bound['name']!r} on {bound['server']} runs; "
            f"it is moved by {bound['way']}"
        )
    )
    moved = bound.get("moved")
    if moved is not None:
        left = moved["smoke_requests_left"]
        also = f"; {left} smoke request{'s' if left > 1 else ''} stay there" if left else ""
        told = f"it came from {moved['from']} with {moved['versions']} versions ({moved['new']} new here){also}"
        output.write(output.flat(told))


def capture(
    ctx: typer.Context,
    dify: Server,
    app: Annotated[str | None, typer.Option("--app", help="One app only, by its id or name.")] = None,
    every: Annotated[bool, typer.Option("--all", "-a", help="Read everything again, whatever is known.")] = False,
    as_json: Json = False,
) -> None:
    """Bring every app of a Dify server into history: all published versions, the draft, and what is around it.

    A later capture reads what changed since. One that was broken off goes on where it stopped.

    \b
    Examples:
      lastgood capture prod
      lastgood capture prod --app "Invoice intake"
      lastgood capture prod --all
    """
    with connect(given(ctx)) as api:
        begun = api.post("servers", dify, "capture", body={"app": app, "all": every})
        found = _follow(api, dify, begun)
    if as_json:
        output.print_json(found)
    else:
        _tell(found)
    if found["state"] != "done":
        raise typer.Exit(1)


def watch(
    ctx: typer.Context,
    dify: Server,
    once: Annotated[bool, typer.Option("--once", help="Look once, at everything, and end.")] = False,
    every: Annotated[float, typer.Option("--every", min=1, help="Seconds between two looks.")] = 20.0,
    as_json: Json = False,
) -> None:
    """Notice what happens on a Dify server: publishes, changed drafts, deleted versions, what is around the apps.

    `lastgood serve` does this by itself (watch_seconds); this is for where none runs, until Ctrl-C.

    \b
    Examples:
      lastgood watch prod --once
      lastgood watch prod --every 60
    """
    with connect(given(ctx)) as api:
        while True:
            found = api.post("servers", dify, "look")
            if as_json:
                output.print_json(found)
            else:
                output.write(output.flat(found["sentence"]))
                for problem in found["problems"]:
                    output.warn(f"lastgood: {output.flat(problem)}")
            if once:
                return
            sys.stdout.flush()
            time.sleep(every)


def _hidden(what: str) -> str:
    """A secret: from the environment, from a pipe, or asked for without showing it."""
    value = os.environ.get(_SECRET)
    if value:
        return value
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt(what, hide_input=True, err=True))


def _told(value: Any) -> output.Cell:
    if isinstance(value, bool):
        return output.Cell("yes", "green") if value else output.Cell("no", "yellow")
    return output.Cell(str(value))


def _watch_of(watch: dict[str, Any] | None, wide: bool) -> tuple[output.Cell, str]:
    if watch is None:
        return output.Cell("off", "yellow"), "no server watches it"
    if watch["failing_since"]:
        return output.Cell("fails", "red"), f"since {output.moment(watch['failing_since'], wide)}: {watch['problem']}"
    return output.Cell("on", "green"), f"{output.moment(watch['looked_at'], wide)} ago: {watch['found']}"


def _follow(api: Client, server: str, found: dict[str, Any]) -> dict[str, Any]:
    """Wait until a capture is over, with a bar in a terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        while found["state"] == "running":
            time.sleep(_POLL_SECONDS)
            found = api.get("servers", server, "capture")
        return found
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("apps, {task.fields[versions]} versions"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"capturing {server}", total=None, versions=0)
        while found["state"] == "running":
            time.sleep(_POLL_SECONDS)
            found = api.get("servers", server, "capture")
            bar.update(task, total=found["apps"] or None, completed=found["done"], versions=found["versions"])
    return found


def _tell(found: dict[str, Any]) -> None:
    count = output.count
    told = [count(found["done"], "app"), f"{count(found['versions'], 'version')} new"]
    if found["again"]:
        told.append(f"{found['again']} published again with content that is kept")
    if found["drafts"]:
        told.append(f"{count(found['drafts'], 'draft state')} kept")
    if found["unchanged"]:
        told.append(f"{count(found['unchanged'], 'app')} unchanged")
    verdict = {"done": "captured", "failed": "not wholly captured", "stopped": "stopped"}[found["state"]]
    output.write(f"{found['server']} is {verdict}: {', '.join(told)}")
    for line in found["secrets_missing"]:
        output.warn(f"lastgood: no value is known of the secret variables of {output.flat(line)}")
    for line in found["problems"]:
        output.warn(f"lastgood: {output.flat(line)}")
    if found["state"] != "done":
        output.warn(f"lastgood: `lastgood capture {found['server']}` goes on where this stopped.")
