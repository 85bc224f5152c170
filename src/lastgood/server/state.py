"""Routes that tell how things stand: status, changes, doctor, health."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy import bindparam, func, select

from lastgood.access import decisions
from lastgood.db import process
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx, parse_time, utc_text
from lastgood.errors import InvalidRequest, LastgoodError
from lastgood.history import channels, versions, workflows
from lastgood.history.workflows import Workflow
from lastgood.release.placing import looking, standing
from lastgood.server import changed
from lastgood.server.context import Served, may
from lastgood.server.doctor import examine
from lastgood.server.documents import Limit

router = APIRouter()

# Reads change nothing, and the beginning of an operation is told by its move.
_BESIDES = (
    *("workflow:read", "workflow:export", "workflow:plan"),
    *("operation:publish", "operation:rollback", "operation:rehearsal"),
)
_CHANGES = (
    select(
        *(t.audit.c[name] for name in ("pk", "at", "actor", "action", "resource", "reason", "canonical")),
    )
    .where(
        t.audit.c.at >= bindparam("since"),
        t.audit.c.pk < bindparam("before"),
        t.audit.c.result == "allowed",
        t.audit.c.action.not_in(_BESIDES),
    )
    .order_by(t.audit.c.pk.desc())
    .limit(bindparam("limit"))
)
_NEWEST = 2**63 - 1
_FOR_ALL = ("version", "gateway", "started_at")  # facts of the server that every caller sees
_AHEAD = select(func.count()).where(
    t.version.c.workflow_pk == bindparam("workflow"), t.version.c.pk > bindparam("version")
)
_AGE = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@router.get("/v1/status", summary="What is live, and is it well")
def status(
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:read"))],
    ask: Annotated[bool, Query(description="ask every Dify server now what it serves")] = False,
) -> dict[str, Any]:
    """The workflows that the caller may read; the server's own processes and addresses for who may read those."""
    shown = decisions.visible(served.store, who, "workflow:read")
    whole = decisions.check_permission(served.store, who, "cluster:read", "server:cluster").allowed
    if ask:
        with served.store.read() as tx:
            held = [one.app for one in standing.listing(tx).values() if shown(f"workflow:{one.app.slug}")]
        for app in held:
            looking.look(served.means(), app)
    with served.store.read() as tx:
        stand = standing.listing(tx)
        rows = [
            row
            for workflow in workflows.listing(tx)
            if shown(f"workflow:{workflow.slug}")
            for row in _status_of(tx, workflow, stand)
        ]
        facts = served.facts if whole else {name: served.facts[name] for name in _FOR_ALL if name in served.facts}
        return {"server": facts, "workflows": rows, "processes": process.listing(tx) if whole else []}


@router.get("/v1/changes", summary="What changed lately, newest first")
def changes(
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:read"))],
    since: str = "24h",
    limit: Limit = 200,
) -> dict[str, Any]:
    """Of the workflows that the caller may read, and of all else where roles and grants may be read too."""
    items: list[dict[str, Any]] = []
    with served.store.read() as tx:
        slugs = {workflow.id: workflow.slug for workflow in workflows.listing(tx)}
        seen = changed.Shown(served.store, who, slugs)
        asked, before = moment(since), _NEWEST
        rows: list[Any] = []
        while len(rows) < limit:  # what is not shown must not make the list shorter than it is
            page = tx.connection.execute(_CHANGES, {"since": asked, "limit": limit, "before": before}).all()
            rows += [row for row in page if seen(tx, row.resource)]
            if len(page) < limit:
                break
            before = page[-1].pk
    for row in rows[:limit]:
        kind, _, what = row.resource.partition("/")
        workflow_id, _, rest = what.partition("/")
        facts = orjson.loads(row.canonical)
        detail = " → ".join(str(facts[k])[:20] for k in ("before", "after") if facts.get(k))
        items.append(
            {
                "at": row.at,
                "kind": row.action,
                "workflow": slugs.get(workflow_id, "") if kind == "workflow" else "",
                "actor": row.actor,
                "what": " ".join(part for part in (rest if kind == "workflow" else what, detail) if part),
                "reason": row.reason,
            }
        )
    return {"items": items, "next": None}


@router.get("/v1/doctor", summary="What is wrong with this installation")
def doctor(
    served: Served, who: Annotated[Principal, Depends(may("cluster:read", on="server:doctor"))]
) -> dict[str, Any]:
    findings = examine(served)
    return {"ok": all(f["verdict"] != "fail" for f in findings), "findings": findings}


@router.get("/healthz", summary="This process lives")
def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz", summary="The store answers")
def readyz(served: Served, response: Response) -> dict[str, str]:
    try:
        with served.store.read() as tx:
            workflows.count(tx)
    except LastgoodError:
        response.status_code = 503
        return {"status": "the store does not answer"}
    return {"status": "ok"}


def moment(since: str) -> str:
    """The stored time that `since` means: ``1h``, ``30m``, ``2d``, ``90s`` ago, or an ISO 8601 time."""
    return _moment(since, "since", -1)


def moment_to_come(until: str) -> str:
    """The stored time that `until` means: in ``90d``, ``12h``, or an ISO 8601 time."""
    return _moment(until, "expires", 1)


def _moment(text: str, where: str, direction: int) -> str:
    age = _AGE.fullmatch(text)
    try:
        if age:
            return utc_text(datetime.now(UTC) + direction * timedelta(**{_UNITS[age[2]]: int(age[1])}))
        return utc_text(parse_time(text))
    except (ValueError, OverflowError):
        raise InvalidRequest(where=where, reason=f"{text!r} is neither an age such as 1h nor a time") from None


def _status_of(tx: Tx, workflow: Workflow, stand: Mapping[int, standing.Standing]) -> list[dict[str, Any]]:
    newest = next(iter(versions.page(tx, workflow, limit=1)), None)
    facts = {"id": workflow.id, "slug": workflow.slug, "mode": workflow.mode, "newest": newest.id if newest else None}
    rows = []
    moved = {move.channel: move for move in reversed(channels.moves(tx, workflow, limit=50))}
    for channel in channels.listing(tx, workflow):
        version = versions.by_pk(tx, channel.version_pk) if channel.version_pk else None
        good = channels.last_good(tx, workflow, channel)
        ahead = (
            tx.connection.execute(_AHEAD, {"workflow": workflow.pk, "version": version.pk}).scalar_one()
            if version
            else 0
        )
        last = moved.get(channel.name)
        rows.append(
            {
                **facts,
                "channel": channel.name,
                "version": channel.version,
                "generation": channel.generation,
                "applying": channel.applying,
                "proven": version.state if version else None,
                "semver": version.semver if version else None,
                "since": channel.updated_at,
                "by": last.actor if last else None,
                "kind": last.kind if last else None,
                "last_good": good.id if good else None,
                "newest_is_ahead": ahead,
                "app": stand[channel.pk].public() if channel.pk in stand else None,
            }
        )
    empty = {
        "channel": channels.LIVE,
        "version": None,
        "generation": 0,
        "applying": None,
        "proven": None,
        "semver": None,
        "since": workflow.created_at,
        "by": None,
        "kind": None,
        "last_good": None,
        "newest_is_ahead": 0,
        "app": None,
    }
    return rows or [{**facts, **empty}]
