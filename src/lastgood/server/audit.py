"""Routes of the audit log: its rows, its signed head, its proofs and tiles, and what checks it."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from lastgood.access.log import checking, lines, merkle, notes, rows, tree
from lastgood.access.log.merkle import HASH, WIDTH
from lastgood.access.log.rows import Filter
from lastgood.db import audit
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import InvalidRequest, UnknownTile
from lastgood.server.context import Context, Served, may, record_read
from lastgood.server.documents import Limit
from lastgood.server.state import moment

router = APIRouter(prefix="/v1/audit")

_LOG, _ON = "audit/log", "audit:log"
_JSON, _LINES, _CSV = "application/json", "application/x-ndjson", "text/csv"
_FOLLOW_SECONDS = 0.5
_TILE = re.compile(r"((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
Reader = Annotated[Principal, Depends(may("audit:read", on=_ON))]
Exporter = Annotated[Principal, Depends(may("audit:export", on=_ON))]
Place = Annotated[int, Query(ge=0, lt=2**62)]
Size = Annotated[
    int | None, Query(ge=0, lt=2**62, description="rows of the tree; of the newest checkpoint if left out")
]


def _filter(
    since: Annotated[str | None, Query(description="an age such as 24h, or a time")] = None,
    until: Annotated[str | None, Query(description="an age or a time")] = None,
    actor: Annotated[str | None, Query(max_length=255, description="a name, or a subject such as token:ci")] = None,
    action: Annotated[
        str | None, Query(max_length=255, description="such as workflow:publish, or workflow:*")
    ] = None,
    result: Literal["allowed", "denied", "failed"] | None = None,
    resource: Annotated[
        str | None, Query(max_length=255, description="one, with what is under it, or prefix*")
    ] = None,
) -> Filter:
    return Filter(moment(since) if since else None, moment(until) if until else None, actor, action, result, resource)


Wanted = Annotated[Filter, Depends(_filter)]


@router.get(
    "",
    summary="The rows of the audit log, newest first; as lines or CSV in the order of their places",
    responses={200: {"content": {_JSON: {}, _LINES: {}, _CSV: {}}}},
)
def read_log(
    request: Request,
    served: Served,
    who: Reader,
    wanted: Wanted,
    limit: Limit = 200,
    before: Annotated[int | None, Query(ge=1, lt=2**63, description="as `next` of the page before says")] = None,
    after: Annotated[int | None, Query(ge=0, lt=2**62, description="lines and CSV: rows from this place on")] = None,
    follow: Annotated[bool, Query(description="lines: stay, and send rows as they come")] = False,
    format: Literal["json", "lines", "csv"] | None = None,
    accept: Annotated[str, Header()] = "",
) -> Response:
    """Reading is itself a row of the log, which is written before it is answered. The form goes by `format`, else by
    `Accept`: `application/json`, `application/x-ndjson` or `text/csv`."""
    form = format or ("lines" if _LINES in accept or follow else "csv" if _CSV in accept else "json")
    if follow and form != "lines":
        raise InvalidRequest(where="follow", reason="only lines (application/x-ndjson) can be followed")
    asked = {**wanted.as_facts(), "form": form}
    served.store.write(lambda tx: audit.append(tx, who, "audit:read", _LOG, asked=asked))
    tree.sequence_all(served.store)
    if form == "json":
        with served.store.read() as tx:
            items, more = rows.page(tx, wanted, limit=limit, before=before)
        return Response(orjson.dumps({"items": items, "next": more}), media_type=_JSON)
    begin = after or 0
    if form == "csv":
        text = (lines.csv_line(facts).encode() for facts in _all(served, wanted, begin))
        headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
        return StreamingResponse(_with_head(text), media_type=f"{_CSV}; charset=utf-8", headers=headers)
    if follow:
        return StreamingResponse(_followed(request, served, wanted, begin), media_type=_LINES)
    return StreamingResponse(
        (orjson.dumps(facts) + b"\n" for facts in _all(served, wanted, begin)), media_type=_LINES
    )


def _with_head(text: Iterator[bytes]) -> Iterator[bytes]:
    yield lines.csv_head().encode()
    yield from text


def _all(served: Context, wanted: Filter, place: int) -> Iterator[dict[str, Any]]:
    with served.store.read() as tx:
        end = tree.size(tx)
    while place < end:
        with served.store.read() as tx:
            found, place = rows.after(tx, wanted, place, end)
        yield from found


async def _followed(request: Request, served: Context, wanted: Filter, place: int) -> AsyncIterator[bytes]:
    """Rows as they are given their places, until the reader or the server goes."""

    def more() -> tuple[list[dict[str, Any]], int]:
        tree.sequence_all(served.store)
        with served.store.read() as tx:
            return rows.after(tx, wanted, place, tree.size(tx))

    stopping = served.operators.means.stopping
    while not stopping.is_set() and not await request.is_disconnected():
        found, following = await run_in_threadpool(more)
        if found:
            yield b"".join(orjson.dumps(facts) + b"\n" for facts in found)
        if following == place:
            await asyncio.sleep(_FOLLOW_SECONDS)
        place = following


@router.get("/rows", summary="The sealed bytes of rows, a line each, as their hashes are made of them")
def read_rows(
    served: Served,
    who: Exporter,
    begin: Annotated[int, Query(ge=0, lt=2**62)],
    end: Annotated[int, Query(ge=0, lt=2**62)],
) -> Response:
    record_span(served, who, begin, end)
    return StreamingResponse(rows.stream(served.store, begin, end), media_type=_LINES)


def record_span(served: Context, who: Principal, begin: int, end: int) -> None:
    """Keep in the log that rows are taken out of it."""
    served.store.write(lambda tx: audit.append(tx, who, "audit:export", _LOG, first=begin, end=end))


@router.get("/span", summary="Which rows are here, and which of them are older than a time")
def read_span(
    served: Served, who: Reader, before: Annotated[str | None, Query(description="an age or a time")] = None
) -> dict[str, Any]:
    time = moment(before) if before else None
    tree.sequence_all(served.store)
    with served.store.read() as tx:
        size, first = tree.size(tx), rows.first(tx)
        return {
            "first": size if first is None else first,
            "end": size if time is None else rows.end_before(tx, time, size),
            "size": size,
        }


@router.get("/checkpoint", summary="The signed head of the log (C2SP tlog-checkpoint)", response_class=Response)
def read_checkpoint(
    served: Served,
    who: Reader,
    fresh: Annotated[bool, Query(description="sign one now if rows came since the newest")] = False,
    old: Annotated[
        int | None, Query(ge=0, lt=2**62, description="put the proof before it that it extends this size")
    ] = None,
) -> Response:
    with served.store.read() as tx:
        head = tree.newest(tx)
    if fresh or head is None:
        head = tree.sign_now(served.store)
    with served.store.read() as tx:
        text = tree.proven(tx, head, old).text
    return Response(text, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})


@router.get("/key", summary="The public keys of the log, newest first, as Go's sumdb and C2SP write them")
def read_key(served: Served, who: Reader) -> Response:
    name = tree.origin(served.store.settings, served.store.ring)
    text = "".join(f"{key.text}\n" for key in tree.verifiers(served.store.ring, name))
    return Response(text, media_type="text/plain; charset=utf-8")


@router.get("/proof/inclusion", summary="That a row is in the log (RFC 6962 2.1.1)")
def read_inclusion(served: Served, who: Reader, place: Place, size: Size = None) -> dict[str, Any]:
    with served.store.read() as tx:
        count, leaf, path = tree.prove_place(tx, place, size)
        root = merkle.root(count, tree.Tiles(tx))
    return {
        "place": place, "size": count, "leaf": leaf.hex(), "root": root.hex(), "hashes": [one.hex() for one in path]
    }  # fmt: skip


@router.get("/proof/consistency", summary="That the log of one size begins with that of another (RFC 6962 2.1.2)")
def read_consistency(
    served: Served,
    who: Reader,
    begin: Annotated[int, Query(alias="from", ge=0, lt=2**62)],
    to: Annotated[int | None, Query(ge=0, lt=2**62)] = None,
) -> dict[str, Any]:
    with served.store.read() as tx:
        count, path = tree.prove_extends(tx, begin, to)
        roots = [merkle.root(size, tree.Tiles(tx)).hex() for size in (begin, count)]
    return {"from": begin, "to": count, "roots": roots, "hashes": [one.hex() for one in path]}


@router.get("/tile/{level}/{path:path}", summary="A tile of hashes (C2SP tlog-tiles)", response_class=Response)
def read_tile(level: int, path: str, served: Served, who: Reader) -> Response:
    found = _TILE.fullmatch(path)
    if not found or not 0 <= level < 64 or int(found[2] or 1) >= WIDTH or len(path) > 64:
        raise UnknownTile(tile=f"{level}/{path[:80]}")
    number, width = int(found[1].replace("x", "").replace("/", "")), int(found[2] or WIDTH)
    with served.store.read() as tx:
        hashes = b"" if number >= 2**62 else tree.Tiles(tx)(level, number)[: width * HASH]
    if len(hashes) != width * HASH or merkle.tile_path(level, number, width) != f"{level}/{path}":
        raise UnknownTile(tile=f"{level}/{path[:80]}")
    return Response(hashes, media_type="application/octet-stream")


@router.get("/verification", summary="Whether anything was changed, and which row")
def read_verification(served: Served, who: Reader) -> dict[str, Any]:
    """Every row, column, tile and stored checkpoint is held to each other."""
    record_read(served, who, "audit:read", _LOG)
    return checking.verify(served.store).as_data()


class Kept(BaseModel):
    """What was kept elsewhere: checkpoints, each as text, and public keys to trust beside the log's own."""

    model_config = ConfigDict(extra="forbid")
    checkpoints: list[str] = Field(default=[], max_length=100_000)
    keys: list[str] = Field(default=[], max_length=20)


@router.post("/verification", summary="The same, held to checkpoints from elsewhere too")
def verify(body: Kept, served: Served, who: Exporter) -> dict[str, Any]:
    """A checkpoint whose signature is not good is refused; one that does not hold is a finding."""
    record_read(served, who, "audit:read", _LOG)
    given = [(f"checkpoint {at}", one) for at, text in enumerate(body.checkpoints, 1) for one in notes.read_all(text)]
    return checking.verify(served.store, given, [notes.Verifier.parse(text) for text in body.keys]).as_data()


class Pruning(BaseModel):
    """Rows that may go: those before the place `end`, which an export holds that was verified; `checkpoint` is the
    one in it."""

    model_config = ConfigDict(extra="forbid")
    end: int = Field(ge=0, lt=2**62)
    checkpoint: str = Field(max_length=2**16)


@router.post("/prune", summary="Drop old rows that were exported; their hashes stay")
def prune(
    body: Pruning, served: Served, who: Annotated[Principal, Depends(may("audit:prune", on=_ON))]
) -> dict[str, Any]:
    """The row that tells of it is written in the same transaction. Proofs of what is gone still work, and the export
    verifies against every later checkpoint."""
    work = _pruning(body, who)
    first, dropped = served.store.write(work)
    tree.sequence_all(served.store)
    return {"first": first, "dropped": dropped}


def _pruning(body: Pruning, who: Principal) -> Callable[[Tx], tuple[int, int]]:
    def work(tx: Tx) -> tuple[int, int]:
        said = tree.opened(tx.ring, body.checkpoint)
        if body.end > said.size or merkle.root(said.size, tree.Tiles(tx)) != said.root:
            raise InvalidRequest(where="checkpoint", reason="it does not cover these rows as they are")
        first = max(body.end, rows.kept_from(tx))
        dropped = rows.drop(tx, body.end)
        audit.append(tx, who, "audit:prune", _LOG, first=first, dropped=dropped, size=said.size, root=said.root.hex())
        return first, dropped

    return work
