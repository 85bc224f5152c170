"""`lastgood audit`: who did what, and the proof that nobody changed the record of it."""

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lastgood.access.log import lines
from lastgood.cli import output
from lastgood.cli.client import Client, Given, connect, is_served
from lastgood.cli.commands import add, group, keep_server, keep_token
from lastgood.cli.parameters import Json, Limit, given
from lastgood.errors import InvalidExport, ServerUnreachable, Unavailable

if TYPE_CHECKING:
    from lastgood.access.log.exports import Written
    from lastgood.access.log.notes import Proven, Verifier

audit = group()
_PART = 4096  # rows in one request of an export
_TOLD = 20
_NUMBERED = re.compile(r"\(checkpoint [0-9]+\)")
_AGAIN_SECONDS = 1.0

Since = Annotated[str, typer.Option("--since", help="An age (90s, 30m, 24h, 365d) or an ISO 8601 time.")]
Until = Annotated[str | None, typer.Option("--until", help="Likewise.")]
Actor = Annotated[str | None, typer.Option("--actor", help="A name, or a subject such as token:ci.")]
Action = Annotated[str | None, typer.Option("--action", help="Such as workflow:publish, or workflow:*.")]
Result = Annotated[Literal["allowed", "denied", "failed"] | None, typer.Option("--result", help="How it went.")]
Resource = Annotated[str | None, typer.Option("--resource", help="On what: workflow/wf-…, or workflow/*.")]
Checkpoints = Annotated[
    list[Path] | None,
    typer.Option("--checkpoint", metavar="FILE", help="Checkpoints that were kept elsewhere; repeatable."),
]
Keys = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="The public key that was kept elsewhere, a line each.")
]


@audit.callback(invoke_without_command=True)
def show(
    ctx: typer.Context,
    since: Since = "24h",
    until: Until = None,
    actor: Actor = None,
    action: Action = None,
    result: Result = None,
    resource: Resource = None,
    limit: Limit = 1000,
    wide: Annotated[bool, typer.Option("--wide", help="Add the code, the place in the log, and the reason.")] = False,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")] = False,
    server: Annotated[str | None, typer.Option(callback=keep_server, expose_value=True, hidden=True)] = None,
    token: Annotated[str | None, typer.Option(callback=keep_token, expose_value=True, hidden=True)] = None,
) -> None:
    """Say who did what: a line for each thing that was allowed, denied or failed, the newest last.

    The fields are the time (UTC), who, what, on what, and how it went. What is READ for whatever only reads, else the
    action's own word: PUBLISH, ROLLBACK, GRANT. Looking is itself a line.

    \b
    Examples:
      lastgood audit --since 1h
      lastgood audit --actor u1002 --result denied --wide
      lastgood audit --action 'workflow:*' --json | jq -r .code
      lastgood audit --since 365d --csv > audit.csv
    """
    if ctx.invoked_subcommand is not None:
        return
    query = {
        "since": since, "until": until, "actor": actor, "action": action, "result": result, "resource": resource
    }  # fmt: skip
    with connect(given(ctx)) as api:
        if as_csv:
            output.write_bytes(api.file("audit", format="csv", **query))
            return
        found = api.items("audit", limit=limit, **query)
    for one in reversed(found):
        output.write(json.dumps(one) if as_json else lines.line(one, wide=wide))
    if not found:
        output.warn(f"Nothing of that kind is in the audit log since {since}.")


def follow(
    ctx: typer.Context,
    actor: Actor = None,
    action: Action = None,
    result: Result = None,
    resource: Resource = None,
    after: Annotated[
        int | None, typer.Option("--after", metavar="PLACE", help="From this place in the log on.")
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="Add the code, the place in the log, and the reason.")] = False,
    as_json: Json = False,
) -> None:
    """Print lines as they come, until Ctrl-C. It needs a server that runs; where that is started again, it goes on
    with the next line.

    \b
    Examples:
      lastgood audit follow --result denied
      lastgood audit follow --json --after 1200 >> audit.jsonl
    """
    query = {"actor": actor, "action": action, "result": result, "resource": resource}
    for one in _followed(given(ctx), after, query):
        output.write(json.dumps(one) if as_json else lines.line(one, wide=wide))
        sys.stdout.flush()


def checkpoint(
    ctx: typer.Context,
    old: Annotated[
        int | None,
        typer.Option("--old", metavar="SIZE", help="Put the proof before it that it extends the log of SIZE rows."),
    ] = None,
    key: Annotated[bool, typer.Option("--key", help="Print the public key instead, to be kept elsewhere.")] = False,
) -> None:
    """Print the signed head of the log as it is now (C2SP tlog-checkpoint). Keep it where nobody who runs this can
    change it.

    \b
    Examples:
      lastgood audit checkpoint > checkpoint.txt
      lastgood audit checkpoint --old 1200 > newer.txt
      lastgood audit checkpoint --key > key.txt
    """
    with connect(given(ctx)) as api:
        found = api.file("audit", "key") if key else api.file("audit", "checkpoint", fresh=True, old=old)
    output.write_bytes(found)


def verify(
    ctx: typer.Context,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="DIR", help="Look at an export, without any server.")
    ] = None,
    checkpoint: Checkpoints = None,
    key: Keys = None,
    as_json: Json = False,
) -> None:
    """Prove that nothing was changed, dropped, put in or moved since a checkpoint, or say which row was.

    With --export it works offline, with nothing but the public key. Exit code 1 when something was changed.

    \b
    Examples:
      lastgood audit verify
      lastgood audit verify --checkpoint checkpoint.txt
      lastgood audit verify --export audit-2026 --key key.txt --checkpoint newer.txt
    """
    kept = [(path.name, one) for path in checkpoint or () for one in _checkpoints(path)]
    keys = None if key is None else _keys(key)
    if export is None:
        with connect(given(ctx)) as api, output.progress("looking at every row"):
            body = {"checkpoints": [one.text for _, one in kept], "keys": [one.text for one in keys or ()]}
            path = ("audit", "verification")
            found = api.post(*path, body=body) if any(body.values()) else api.get(*path)
        names = {f"(checkpoint {at})": f"({name})" for at, (name, _) in enumerate(kept, 1)}
        for finding in found["findings"]:  # the server does not know what the files are called
            finding["detail"] = _NUMBERED.sub(lambda one: names.get(one[0], one[0]), finding["detail"])
    else:
        from lastgood.access.log import exports

        report, own = exports.verify(export, kept, keys)
        found = report.as_data()
        if own:
            output.warn("lastgood: the key is the one in the export itself; --key takes one that was kept elsewhere.")
    if as_json:
        output.print_json(found)
    else:
        _tell(found)
    if not found["good"]:
        raise typer.Exit(1)


def export(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty directory.")],
) -> None:
    """Write the log into a directory: rows as JSON lines, hashes, the signed head and the public key.

    What was written is verified before this ends. `lastgood audit verify --export DIR` does it again, anywhere.

    \b
    Examples:
      lastgood audit export /mnt/archive/audit-2026-11-30
    """
    with connect(given(ctx)) as api:
        written = _export(api, folder, None)
    output.write(f"{folder} holds the rows {written.first} to {written.end - 1} of the audit log, and they verify")


def prune(
    ctx: typer.Context,
    before: Annotated[str, typer.Option("--before", help="An age (365d) or a time: older rows go.")],
    folder: Annotated[Path, typer.Option("--export", metavar="DIR", help="A new or empty directory for them.")],
) -> None:
    """Export old rows, verify the export, and drop them here. Their hashes stay, so every proof still works.

    \b
    Examples:
      lastgood audit prune --before 365d --export /mnt/archive/audit-2025
    """
    with connect(given(ctx)) as api:
        written = _export(api, folder, before)
        if written.first >= written.end:
            output.warn(f"No row is older than {before}; nothing was dropped.")
            return
        note = (folder / "checkpoint").read_text(encoding="utf-8")
        done = api.post("audit", "prune", body={"end": written.end, "checkpoint": note})
    output.write(f"{output.count(done['dropped'], 'row')} before {done['first']} are in {folder} and no longer here")


add(
    audit,
    {"verify": verify, "checkpoint": checkpoint, "follow": follow, "export": export, "prune": prune},
    "Commands",
)


def _followed(asked: Given, place: int | None, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows from `place` on (None: from now on) as they come, from one start of the server to the next."""
    begun = gone = False
    while True:
        try:
            with connect(asked) if is_served(asked) else nullcontext() as api:
                if api is None or not api.url:
                    detail = "Without a server nobody else writes to this log; start `lastgood serve` first."
                    raise Unavailable(detail=detail)
                size = api.get("audit", "span")["size"]
                place = size if place is None else place
                begun, gone = True, False
                for row in api.lines("audit", follow=True, format="lines", after=place, **query):
                    one = json.loads(row)
                    place = one["place"] + 1
                    yield one
        except (ServerUnreachable, Unavailable):
            if not begun:
                raise
        if not gone:
            output.warn("The server went. Lines go on when it is back.")
            gone = True
        time.sleep(_AGAIN_SECONDS)


def _export(api: Client, folder: Path, before: str | None) -> "Written":
    """Export the rows (those older than `before`) and verify what was written."""
    from lastgood.access.log import exports, merkle
    from lastgood.access.log.notes import Checkpoint

    note = api.file("audit", "checkpoint", fresh=True).decode()
    span = api.get("audit", "span", before=before)
    size = Checkpoint.peek(note).size
    end = min(size, span["end"]) if before else size

    def read_tile(level: int, number: int, width: int) -> bytes:
        return api.file("audit", "tile", *merkle.tile_path(level, number, width).split("/"))

    def read_rows(begin: int, end: int) -> Iterator[bytes]:
        for part in range(begin, end, _PART):
            yield api.file("audit", "rows", begin=part, end=min(end, part + _PART))

    keys = exports.read_keys(api.file("audit", "key").decode(), folder)
    with output.progress("exporting"):
        written = exports.write(folder, note, keys, read_tile, read_rows, min(span["first"], end), end)
        report, _ = exports.verify(folder, (), keys)
    if not report.good:
        _tell(report.as_data())
        raise InvalidExport(path=str(folder), reason="what was written does not verify, so nothing was dropped")
    return written


def _tell(found: dict[str, Any]) -> None:
    """Print what a verification found."""
    findings = found["findings"]
    for one in findings[:_TOLD]:
        output.write(f"{output.paint(one['kind'], 'red')}: {output.flat(one['detail'])}")
    left = len(findings) - _TOLD + found["more"]
    if left > 0:
        output.write(f"and {left} more; --json lists them")
    if found["rows"]:
        here = f"rows {found['first']} to {found['first'] + found['rows'] - 1} of {found['size']}"
    else:
        here = f"no rows of {found['size']}"
    if not found["good"]:
        output.write(output.paint(f"The audit log was changed ({here} looked at).", "red"))
        return
    heads = output.count(found["heads"], "signed checkpoint")
    output.write(output.paint(f"Nothing was changed: {here}, under {heads}.", "green"))
    if found["proven"] < found["size"]:
        count = found["size"] - found["proven"]
        output.write(f"The last {output.count(count, 'row')} came after the newest checkpoint.")
    if found["first"]:
        output.write(
            f"The rows before {found['first']} were exported and pruned; `lastgood audit verify --export DIR`."
        )


def _checkpoints(path: Path) -> "list[Proven]":
    """The checkpoints in a file, without those that are only there twice."""
    from lastgood.access.log import notes

    return list(dict.fromkeys(notes.read_all(_text(path))))


def _keys(path: Path) -> "list[Verifier]":
    from lastgood.access.log import exports

    return exports.read_keys(_text(path), path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InvalidExport(path=str(path), reason=reason) from None
