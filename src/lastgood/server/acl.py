"""Routes of permissions kept in step: sources and their checks, pushed events, dead events, and the feed of
changes."""

import time
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from lastgood.access import decisions
from lastgood.access.sync import dead, feed, overview, push
from lastgood.access.sync.consistency import Kind
from lastgood.access.sync.dead import Dead
from lastgood.access.sync.kafka import rules_of
from lastgood.access.sync.sources import hold
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import BodyTooLarge, InvalidRequest, UnknownSource
from lastgood.server.context import Context, Served, context_of, may, record_read
from lastgood.server.identity import asker_of
from lastgood.server.problems import Refused
from lastgood.server.syncing import principal_of

router = APIRouter(prefix="/v1/access")

PUSH = "access:push"
_PUSHED_TO = f"{router.prefix}/events"
_LINES = "application/x-ndjson"
_SEQUENCE = "Lastgood-Sequence"
_MOST_DEAD = 500


class Check(BaseModel):
    """How to compare."""

    kind: Kind = Field("full", description="full: everything; incremental: by digests, where the source has them")


class Chosen(BaseModel):
    """Dead events: by their ids, or all of a source."""

    ids: list[Annotated[int, Field(ge=1, le=2**63 - 1)]] | None = Field(None, max_length=_MOST_DEAD)
    source: str | None = Field(None, max_length=63)


def is_push(request: Request) -> bool:
    """Whether a request goes where a declared source pushes to: nowhere else may a stranger send a large body."""
    if request.scope["path"] != _PUSHED_TO:
        return False
    setting = context_of(request).store.settings.grants.get(request.query_params.get("source", ""))
    return setting is not None and setting.kind == "push"


async def body_of(request: Request) -> bytes:
    """The body as it was sent, because that is what is signed. Raises `BodyTooLarge`, and ends the connection."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > push.MOST_BYTES:
            raise Refused(BodyTooLarge(megabytes=push.MOST_BYTES // 2**20))
    return bytes(body)


def signed(request: Request, source: str, body: Annotated[bytes, Depends(body_of)]) -> tuple[Principal, str]:
    """Who sent a signed message of `source`, and the message's id. Raises `Unauthenticated`, `UnknownSource`,
    `Denied`."""
    context = context_of(request)
    setting = context.syncing.setting(source)
    if setting.kind != "push":
        raise InvalidRequest(where="source", reason=f"{source} is of the kind {setting.kind}, which takes no pushes")
    with context.store.read() as tx:
        key = push.secret_of(tx, source, setting)
    message = push.verify(key, request.headers, body, time.time())
    sender = principal_of(source)
    who = replace(asker_of(request), name=sender.name, kind=sender.kind)
    decisions.require(context.store, who, PUSH, f"access:{source}")
    return who, message


signed.action = PUSH  # type: ignore[attr-defined]  # read by the test that every route asks


@router.post("/events", summary="Take in signed events of a source's roles (Standard Webhooks)")
def push_events(
    request: Request,
    source: str,
    served: Served,
    body: Annotated[bytes, Depends(body_of)],
    sent: Annotated[tuple[Principal, str], Depends(signed)],
) -> dict[str, Any]:
    """One event, a JSON list of up to 1,000, `{"events": […]}`, or CloudEvents in any of their forms. Answered when
    all of it is in force: `results` says of each event whether it was `applied`, was the `same`, came too `late`, or
    is `malformed` (kept as a dead event). A message that comes again under its `webhook-id` gets the first answer."""
    who, message = sent
    setting = served.syncing.setting(source)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return served.store.write(lambda tx: push.take_in(tx, who, source, setting, message, headers, body))


@router.get("/sources", summary="Where permissions come from and go to, and how each stands")
def list_sources(served: Served, who: Annotated[Principal, Depends(may("access:read"))]) -> dict[str, Any]:
    with served.store.read() as tx:
        items = [one.public() for one in overview.standings(tx, served.store.settings)]
        feeds = overview.feeds(tx, served.store.settings)
        sequence = feed.head(tx)
    return {"items": items, "next": None, "feeds": feeds, "sequence": sequence}


@router.post("/sources/{source}/check", summary="Compare our grants with what a source says")
def check_source(
    source: str, body: Check, served: Served, who: Annotated[Principal, Depends(may("access:admin"))]
) -> dict[str, Any]:
    """What differs, with why; repaired only where the source's policy says so."""
    return served.syncing.check(source, who, body.kind).public()


@router.post("/sources/{source}/repair", summary="Make our grants of a source what it says")
def repair_source(
    source: str, served: Served, who: Annotated[Principal, Depends(may("access:admin"))]
) -> dict[str, Any]:
    """However many grants that takes away: who asks has looked at the check."""
    return served.syncing.check(source, who, "full", repair=True, sure=True).public()


@router.post("/sources/{source}/secret", status_code=201, summary="Make the secret that a source signs with")
def make_secret(
    source: str, served: Served, who: Annotated[Principal, Depends(may("access:admin"))]
) -> dict[str, Any]:
    """In place of the one before. It is shown this once."""
    setting = served.syncing.setting(source)
    if setting.kind != "push" or setting.secret:
        reason = "it is no push source" if setting.kind != "push" else f"grants.{source}.secret names a variable"
        raise InvalidRequest(where="source", reason=reason)
    secret = served.store.write(lambda tx: push.new_secret(tx, who, source))
    return {"source": source, "secret": secret, "path": f"/v1/access/events?source={source}"}


@router.get("/dead", summary="Events that could not be taken in, the newest first")
def list_dead(
    served: Served,
    who: Annotated[Principal, Depends(may("access:read"))],
    source: str | None = None,
    limit: Annotated[int, Query(ge=1, le=_MOST_DEAD)] = 100,
) -> dict[str, Any]:
    with served.store.read() as tx:
        items = [one.public() for one in dead.listing(tx, source, limit=limit)]
        counts = dead.counts(tx)
    return {"items": items, "next": None, "counts": counts}


@router.post("/dead/retry", summary="Try dead events again")
def retry_dead(
    body: Chosen, served: Served, who: Annotated[Principal, Depends(may("access:admin"))]
) -> dict[str, Any]:
    """Each counts from its own time, as if it had never waited. `results`: by id an outcome, or why it stays."""

    def work(tx: Tx) -> dict[str, Any]:
        results: dict[str, Any] = {}
        chosen = _chosen(tx, body)
        for source in sorted({one.source for one in chosen}):
            setting = _setting(served, source)
            if setting is None:
                results |= {
                    str(one.pk): "its source is not declared any more" for one in chosen if one.source == source
                }
                continue
            hold(tx, source)
            some = [one for one in chosen if one.source == source]
            results |= {str(pk): told for pk, told in dead.retry(tx, who, some, rules_of(setting)).items()}
        return {"results": results}

    return served.store.write(work)


@router.post("/dead/drop", summary="Forget dead events")
def drop_dead(
    body: Chosen, served: Served, who: Annotated[Principal, Depends(may("access:admin"))]
) -> dict[str, Any]:
    return {"dropped": served.store.write(lambda tx: dead.drop(tx, who, _chosen(tx, body)))}


@router.get("/feed", summary="Changes of grants after a number, as JSON lines", response_class=Response)
def read_feed(
    served: Served,
    who: Annotated[Principal, Depends(may("access:read"))],
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Response:
    """Each line is a grant as it stands now; `present` false: it was taken away. The header `Lastgood-Sequence` is
    what to ask `after` next. From 0 on it is everything that there ever was; the snapshot is shorter."""
    with served.store.read() as tx:
        head = feed.head(tx)
        found = feed.changes(tx, after, limit)
    if after > head:
        reason = f"the feed ends at {head}: this is another store, or an older state of it; take the snapshot"
        raise InvalidRequest(where="after", reason=reason)
    sequence = found[-1].sequence if len(found) == limit else head
    return Response(feed.lines(found), media_type=_LINES, headers={_SEQUENCE: str(sequence)})


@router.get("/snapshot", summary="Every grant, as JSON lines", response_class=Response)
def read_snapshot(served: Served, who: Annotated[Principal, Depends(may("access:read"))]) -> Response:
    """The header `Lastgood-Sequence` is what to ask the feed for `after`: nothing is missing between, and nothing
    comes twice."""
    record_read(served, who, "access:read", "access/snapshot")
    with served.store.read() as tx:
        head = feed.head(tx)
        found = list(feed.snapshot(tx))
    return Response(feed.lines(found), media_type=_LINES, headers={_SEQUENCE: str(head)})


def _chosen(tx: Tx, body: Chosen) -> list[Dead]:
    if body.ids is None and body.source is None:
        raise InvalidRequest(where="ids", reason="name dead events by their ids, or a source")
    # The oldest first, as they came.
    return dead.listing(tx, body.source, limit=_MOST_DEAD, ids=body.ids)[::-1]


def _setting(served: Context, source: str) -> Any:
    try:
        return served.syncing.setting(source)
    except UnknownSource:
        return None
