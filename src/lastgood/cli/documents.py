"""Commands for what is kept: push, versions, show, export, snapshots, restore, workflows."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lastgood.cli import output
from lastgood.cli.client import connect
from lastgood.cli.parameters import (
    Json,
    Limit,
    Note,
    Version,
    Wide,
    Workflow,
    complete_version,
    complete_workflow,
    given,
)
from lastgood.errors import InvalidRequest, NotADocument
from lastgood.ids import is_snapshot

_STDIN = "-"


def push(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A Dify export, or JSON of an API; - is standard input.")
    ],
    workflow: Annotated[
        str | None,
        typer.Option(
            "--workflow", "-w", help="Whose version it is; else what FILE names.", autocompletion=complete_workflow
        ),
    ] = None,
    note: Note = "",
    author: Annotated[str, typer.Option("--author", help="Who made it, if not you.")] = "",
    authored_at: Annotated[str | None, typer.Option("--authored-at", help="When it was made (ISO 8601).")] = None,
    id: Annotated[str | None, typer.Option("--id", help="Workflow id from elsewhere (wf-…).")] = None,
    version_id: Annotated[str | None, typer.Option("--version-id", help="Version id from elsewhere (v-…).")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Where a new workflow runs (engine).")] = None,
    as_json: Json = False,
) -> None:
    """Keep a document as the newest version of its workflow.

    The workflow is made when there is none. A document that equals the newest version's is not saved twice.

    \b
    Examples:
      lastgood push invoice-intake.yml --workflow prod-invoice -m "first version"
      lastgood push backup_prod_invoice.json
      curl -s https://example.com/app.yml | lastgood push - -w prod-invoice
      lastgood push old.yml --id wf-abc123 --version-id v-20240401-01 --authored-at 2024-04-01
    """
    body = {
        "document": _text_of(file),
        "source": "standard input" if str(file) == _STDIN else file.name,
        "note": note,
        "author": author,
        "authored_at": authored_at,
        "id": version_id,
        "workflow_id": id,
        "target": target,
    }
    # An id from elsewhere names the workflow as well as a slug does.
    owner = workflow or id
    with connect(given(ctx)) as api:
        pushed = api.post("workflows", owner, "versions", body=body) if owner else api.post("push", body=body)
    if as_json:
        output.print_json(pushed)
        return
    version = pushed["version"]
    if not pushed["created"]:
        output.write(f"{version['workflow']} already has this as {version['id']}; nothing was saved")
    else:
        state = output.state(version["state"])
        digest = f"sha256:{output.digest(version['digest'])}…"
        output.write(f"{version['id']}  {output.paint(*state)}  {version['workflow']}  {digest}")
    if pushed["secrets_missing"]:
        names = ", ".join(pushed["secrets_missing"])
        output.warn(f"lastgood: no value is known for the secret variables {names}; push the document with them.")
    if pushed["archived"]:
        output.warn(f"lastgood: archived, as older than the newest ones: {', '.join(pushed['archived'])}")


def versions(
    ctx: typer.Context, workflow: Workflow, limit: Limit = 50, wide: Wide = False, as_json: Json = False
) -> None:
    """List the versions of a workflow, newest first.

    \b
    Examples:
      lastgood versions prod-invoice
      lastgood versions prod-invoice --wide --limit 500
      lastgood versions prod-invoice --json | jq -r '.[] | select(.state == "stable") | .id'
    """
    with connect(given(ctx)) as api:
        found = api.items("workflows", workflow, "versions", limit=limit)
    if output.items(found, as_json, f"{workflow} has no versions yet."):
        return
    more = ("proven", "channels", "authored", "origin", "parent", "snapshot") if wide else ()
    rows = [_version_row(one, wide) for one in found]
    output.table(("version", "semver", "state", "digest", "author", "age", *more, "note"), rows)


def show(
    ctx: typer.Context,
    version: Annotated[
        str,
        typer.Argument(
            metavar="VERSION", help="Id of a version (v-…) or snapshot (snap_…).", autocompletion=complete_version
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show a version with the evidence on it, or a snapshot.

    \b
    Examples:
      lastgood show v-20261123-01
      lastgood show snap_20261123_v1 --json
    """
    kind = "snapshots" if is_snapshot(version) else "versions"
    with connect(given(ctx)) as api:
        found = api.get(kind, version)
    if as_json:
        output.print_json(found)
    elif kind == "snapshots":
        _show_snapshot(found)
    else:
        _show_version(found)


def export(
    ctx: typer.Context,
    workflow: Workflow,
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="VERSION",
            help="The live version, else the newest, when left out.",
            autocompletion=complete_version,
        ),
    ] = None,
    format: Annotated[Literal["yaml", "json"], typer.Option("--format", help="yaml is what Dify imports.")] = "yaml",
    file: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Else standard output.")] = None,
) -> None:
    """Write a version's document as a file that Dify imports. Secret values are not in it.

    \b
    Examples:
      lastgood export prod-invoice v-20261123-01 > out.yml
      lastgood export prod-invoice --format json -o live.json
    """
    with connect(given(ctx)) as api:
        owner = api.get("versions", version) if version else api.get("workflows", workflow)
        if version and workflow not in (owner["workflow"], owner["workflow_id"]):
            reason = f"{version} is a version of {owner['workflow']}, not of {workflow}"
            raise InvalidRequest(where="VERSION", reason=reason)
        document = api.file("versions", version or owner["version"]["id"], "document", format=format)
    if file is None:
        output.write_bytes(document)
        return
    try:
        file.write_bytes(document)
    except OSError as error:
        raise InvalidRequest(where="--output", reason=f"{file} cannot be written ({error.strerror})") from None


def snapshot(
    ctx: typer.Context,
    workflow: Workflow,
    version: Annotated[
        str | None,
        typer.Option("--version", help="Else the live version, else the newest.", autocompletion=complete_version),
    ] = None,
    note: Note = "",
    as_json: Json = False,
) -> None:
    """Keep a state by hand, under a snapshot id of its own.

    \b
    Examples:
      lastgood snapshot prod-invoice -m "before the migration"
    """
    with connect(given(ctx)) as api:
        kept = api.post("workflows", workflow, "snapshots", body={"note": note, "version": version})
    if as_json:
        output.print_json(kept)
        return
    output.write(f"{kept['snapshot_id']}  of {', '.join(kept['versions'])}  sha256:{output.digest(kept['digest'])}…")


def snapshots(
    ctx: typer.Context, workflow: Workflow, limit: Limit = 50, wide: Wide = False, as_json: Json = False
) -> None:
    """List the snapshots of a workflow, newest first.

    \b
    Examples:
      lastgood snapshots prod-invoice
    """
    with connect(given(ctx)) as api:
        found = api.items("workflows", workflow, "snapshots", limit=limit)
    if output.items(found, as_json, f"{workflow} has no snapshots yet."):
        return
    rows = [
        (
            one["snapshot_id"],
            one["version"],
            output.digest(one["digest"], wide),
            "by hand" if one["kept_by_hand"] else "by itself",
            "archived" if one["archived"] else "at hand",
            one["created_by"],
            output.moment(one["created_at"], wide),
            one["note"],
        )
        for one in found
    ]
    output.table(("snapshot", "version", "digest", "kept", "where", "author", "age", "note"), rows)


def restore(ctx: typer.Context, version: Version, as_json: Json = False) -> None:
    """Bring an archived version back to hand.

    \b
    Examples:
      lastgood restore v-20261123-01
    """
    with connect(given(ctx)) as api:
        found = api.post("versions", version, "restore")
    if as_json:
        output.print_json(found)
    else:
        output.write(f"{found['id']} of {found['workflow']} is at hand")


def workflows(ctx: typer.Context, wide: Wide = False, as_json: Json = False) -> None:
    """List the workflows.

    \b
    Examples:
      lastgood workflows
      lastgood workflows --json
    """
    with connect(given(ctx)) as api:
        found = api.items("workflows")
    if output.items(found, as_json, "There are no workflows yet; `lastgood push FILE --workflow NAME` makes one."):
        return
    rows = [
        (
            one["slug"],
            one["id"],
            one["mode"],
            one["target"],
            ", ".join(f"{channel['name']} {channel['version'] or '-'}" for channel in one["channels"]),
            one["newest"] or "-",
            output.moment(one["created_at"], wide),
        )
        for one in found
    ]
    output.table(("workflow", "id", "mode", "target", "channels", "newest", "age"), rows)


def _text_of(file: Path) -> str:
    name = str(file)
    try:
        data = sys.stdin.buffer.read() if name == _STDIN else file.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise InvalidRequest(where="FILE", reason=f"{name} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8 text (byte {error.start})"
        raise NotADocument(source="standard input" if name == _STDIN else file.name, reason=reason) from None


def _version_row(one: dict[str, Any], wide: bool) -> list[str | output.Cell]:
    more = (
        [
            output.state(one["proven"]),
            ", ".join(one["channels"]),
            output.moment(one["authored_at"], wide),
            one["origin"],
            one["parent"] or "-",
            one["snapshot_id"],
        ]
        if wide
        else []
    )
    archived = output.Cell("archived", "dim") if one["archived"] else output.state(one["state"])
    return [
        one["id"],
        one["semver"] or "-",
        archived,
        output.digest(one["digest"], wide),
        one["author"],
        output.moment(one["recorded_at"], wide),
        *more,
        one["note"],
    ]


def _show_version(found: dict[str, Any]) -> None:
    graph = found["workflow_config"]
    output.facts(
        {
            "version": found["id"],
            "workflow": f"{found['workflow']} ({found['workflow_id']})",
            "state": output.state(found["state"]),
            "proven": output.state(found["proven"]),
            "channels": ", ".join(found["channels"]),
            "semver": found["semver"] or "",
            "digest": f"sha256:{found['digest']}",
            "snapshot": found["snapshot_id"] + (" (archived)" if found["archived"] else ""),
            "origin": found["origin"],
            "parent": found["parent"] or "",
            "author": found["author"],
            "authored": output.moment(found["authored_at"], wide=True),
            "recorded": output.moment(found["recorded_at"], wide=True),
            "note": found["note"],
            "graph": f"{output.count(len(graph['nodes']), 'node')}, {output.count(len(graph['edges']), 'edge')}",
            "secrets": ", ".join(found["secrets"]),
            **_promoted(found["promoted_from"]),
        }
    )
    if found["evidence"]:
        output.write("")
        rows = [
            (
                piece["kind"],
                output.state(piece["verdict"]),
                piece["actor"],
                output.age(piece["at"]),
                str(piece["detail"].get("reason", "")),
            )
            for piece in found["evidence"]
        ]
        output.table(("evidence", "verdict", "by", "age", "reason"), rows)


def _promoted(origin: dict[str, Any] | None) -> dict[str, str]:
    """Where a version was promoted from, and whether it is what was tested there."""
    if origin is None:
        return {}
    where = f"{origin['version']} in {origin['channel']} ({origin['server']}), sha256:{origin['digest']}"
    return {"promoted from": where, "tested": origin["proof"], "mapping": f"sha256:{origin['mapping_digest']}"}


def _show_snapshot(found: dict[str, Any]) -> None:
    graph = found["workflow_config"]
    output.facts(
        {
            "snapshot": found["snapshot_id"] + (" (archived)" if found["archived"] else ""),
            "versions": ", ".join(found["versions"]),
            "digest": f"sha256:{found['digest']}",
            "created": output.moment(found["created_at"], wide=True),
            "by": found["created_by"],
            "note": found["note"],
            "graph": f"{output.count(len(graph['nodes']), 'node')}, {output.count(len(graph['edges']), 'edge')}",
        }
    )
