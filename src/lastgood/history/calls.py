"""Who calls a workflow, with what shapes, and how its versions answer: what the gateway recorded, read.

All functions take an open connection to the store of runs (`db.store.open_runs`). The figures are a second or two
behind. Minutes are kept for eight days, then days for ninety; shapes until they were not seen for thirty days."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, Row, func, select

from lastgood.db.runs import call_shape, caller, caller_shape, calls
from lastgood.db.tx import utc_text
from lastgood.history.latency import COLUMNS, quantile

type Kind = Literal["inputs", "outputs"]

DAY: Final = 86_400
# The clients of a key beyond the first hundred, and calls that nobody had time to look at, are counted as this one.
OTHERS: Final = "(others)"

_COUNTS: Final = ("requests", "errors", "refused", "unseen", "lost")


@dataclass(frozen=True, slots=True)
class Usage:
    """How requests were answered. `errors` are answers 5xx, broken answers and failed runs; `refused` are answers
    4xx; of `unseen` it is not known how they ended, and `lost` came on top of `requests` but were not looked at.
    Latencies are milliseconds to the end of the answer, `first` and `last` UTC text; all None without requests."""

    requests: int
    errors: int
    refused: int
    unseen: int
    lost: int
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    first: str | None
    last: str | None

    @property
    def error_rate(self) -> float | None:
        """Errors per request of those whose end was seen; None without any."""
        seen = self.requests - self.unseen
        return self.errors / seen if seen else None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who called: an app key (its name where it is known) and what the client says it is. `requests`, `errors`,
    `refused` and `lost` count the time asked for. `versions` answered it, among them those that it named itself
    (`pinned`); moves of the channel do not reach the requests by which a caller `pins_itself`. `last_at` is UTC
    text."""

    key_id: str
    key_name: str | None
    user_agent: str
    requests: int
    requests_24h: int
    requests_7d: int
    errors: int
    refused: int
    lost: int
    last_at: str
    versions: tuple[str, ...]
    pins_itself: bool
    pinned: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeenShape:
    """A shape that a caller sent (`inputs`) or got back (`outputs`): names and types, None where it is not known.
    `version_id` answered last; times are UTC text."""

    kind: Kind
    shape: Mapping[str, str] | None
    key_id: str
    user_agent: str
    requests: int
    refused: int
    version_id: str
    first_at: str
    last_at: str


def usage(connection: Connection, workflow_id: str, version_id: str | None = None, *, since: datetime) -> Usage:
    """How requests to a workflow (or to one version of it) were answered since then, to the minute; what is older
    than eight days counts by whole days."""
    wanted = [*_since(workflow_id, since), *([calls.c.version_id == version_id] if version_id is not None else [])]
    total, first, last = func.sum(calls.c.total_ms), func.min(calls.c.at), func.max(calls.c.last_at)
    columns = [*(func.sum(calls.c[name]) for name in _COUNTS), total, func.max(calls.c.max_ms), first, last]
    columns += [func.sum(calls.c[name]) for name in COLUMNS]
    row = connection.execute(select(*columns).join_from(calls, caller).where(*wanted)).one()
    requests, errors, refused, unseen, lost = (int(count or 0) for count in row[:5])
    longest = float(row[6] or 0)
    buckets = [int(count or 0) for count in row[9:]]
    p50, p95, p99 = (quantile(buckets, q, longest) for q in (0.5, 0.95, 0.99))
    return Usage(
        requests=requests,
        errors=errors,
        refused=refused,
        unseen=unseen,
        lost=lost,
        mean_ms=float(row[5]) / requests if requests else None,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=longest if requests else None,
        first=_text(row[7]) if row[7] is not None else None,
        last=_text(row[8]) if row[8] is not None else None,
    )


def callers(
    connection: Connection,
    workflow_id: str,
    *,
    since: datetime,
    now: datetime | None = None,
    key_names: Mapping[str, str] | None = None,
) -> list[Caller]:
    """Who called since then, the busiest of the last week first. `key_names` are the names of app keys by their id
    (`history.keys.listing` has them)."""
    now = now or datetime.now(UTC)
    whose = (caller.c.key_id, caller.c.user_agent)
    columns = [
        *whose,
        calls.c.version_id,
        calls.c.pins,
        *(_counted(name, since).label(name) for name in _COUNTS),
        _counted("requests", now - timedelta(days=1)).label("requests_24h"),
        _counted("requests", now - _WEEK).label("requests_7d"),
        func.max(calls.c.last_at).label("last_at"),
    ]
    statement = select(*columns).join_from(calls, caller).where(*_since(workflow_id, min(since, now - _WEEK)))
    found: dict[tuple[str, str], list[Row[Any]]] = {}
    for row in connection.execute(statement.group_by(*whose, calls.c.version_id, calls.c.pins)):
        found.setdefault((row.key_id, row.user_agent), []).append(row)
    names = key_names or {}
    told = [_caller(rows, names) for rows in found.values() if max(r.last_at for r in rows) >= since.timestamp()]
    return sorted(told, key=lambda one: (-one.requests_7d, -one.requests, one.key_id, one.user_agent))


def shapes(connection: Connection, workflow_id: str, limit: int = 200) -> list[SeenShape]:
    """The shapes of the last `limit` requests and of their answers, with who: those last seen first. More than these
    may be among them, none of these is missing."""
    kinds: tuple[Kind, ...] = ("inputs", "outputs")
    return [seen for kind in kinds for seen in _shapes(connection, workflow_id, kind, limit)]


_WEEK: Final = timedelta(days=7)


def _since(workflow_id: str, since: datetime) -> list[ColumnElement[bool]]:
    """What overlaps the time since then: a minute or a day counts as a whole."""
    return [caller.c.workflow_id == workflow_id, _recent(since)]


def _recent(since: datetime) -> ColumnElement[bool]:
    return calls.c.at + calls.c.span > since.timestamp()


def _counted(name: str, since: datetime) -> ColumnElement[int]:
    return func.coalesce(func.sum(calls.c[name]).filter(_recent(since)), 0)


def _caller(rows: Iterable[Row[Any]], names: Mapping[str, str]) -> Caller:
    rows = list(rows)

    def total(name: str) -> int:
        return sum(int(getattr(row, name)) for row in rows)

    first, answered = rows[0], [row for row in rows if row.requests]
    return Caller(
        key_id=first.key_id,
        key_name=names.get(first.key_id),
        user_agent=first.user_agent,
        requests=total("requests"),
        requests_24h=total("requests_24h"),
        requests_7d=total("requests_7d"),
        errors=total("errors"),
        refused=total("refused"),
        lost=total("lost"),
        last_at=_text(max(row.last_at for row in rows)),
        versions=tuple(sorted({row.version_id for row in answered if row.version_id})),
        pins_itself=any(row.pins for row in answered),
        pinned=tuple(sorted({row.version_id for row in answered if row.pins and row.version_id})),
    )


def _shapes(connection: Connection, workflow_id: str, kind: Kind, limit: int) -> list[SeenShape]:
    statement = (
        select(call_shape.c.shape, caller.c.key_id, caller.c.user_agent, caller_shape)
        .join_from(caller_shape, call_shape, caller_shape.c.shape_pk == call_shape.c.pk)
        .join(caller, caller_shape.c.caller_pk == caller.c.pk)
        .where(call_shape.c.workflow_id == workflow_id, call_shape.c.kind == kind)
        # Each row that was seen later than another has had a request since, so the first `limit` rows hold the
        # shapes of the last `limit` requests.
        .order_by(caller_shape.c.last_at.desc(), caller_shape.c.shape_pk, caller_shape.c.caller_pk)
        .limit(limit)
    )
    return [
        SeenShape(
            kind=kind,
            shape=json.loads(row.shape),
            key_id=row.key_id,
            user_agent=row.user_agent,
            requests=row.requests,
            refused=row.refused,
            version_id=row.version_id,
            first_at=_text(row.first_at),
            last_at=_text(row.last_at),
        )
        for row in connection.execute(statement)
    ]


def _text(seconds: float) -> str:
    return utc_text(datetime.fromtimestamp(float(seconds), UTC))
