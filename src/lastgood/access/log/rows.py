"""The rows of the audit log as they are read: filtered, in pages, and in a stream by their places."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, LargeBinary, bindparam, cast, delete, func, select

from lastgood.access.log import judging, lines
from lastgood.db import tables as t
from lastgood.db.store import Store
from lastgood.db.tx import Tx

BATCH = 1000
_KINDS = ("person", "token", "service", "local")
_A = t.audit
# A change by SQL can leave text there on SQLite, which must be read to be found.
SEALED = cast(_A.c.canonical, LargeBinary).label("canonical")
_READ = select(_A.c.pk, _A.c.place, SEALED)
_SPAN = (
    select(SEALED)
    .where(_A.c.place >= bindparam("begin"), _A.c.place < bindparam("end"))
    .order_by(_A.c.place)
    .limit(BATCH)
)
_FIRST = select(func.min(_A.c.place))
_NOT_BEFORE = select(func.min(_A.c.place)).where(_A.c.at >= bindparam("time"))
_PRUNED = select(SEALED).where(_A.c.action == "audit:prune", _A.c.result == "allowed").order_by(_A.c.pk.desc())
_DROP = delete(_A).where(_A.c.place < bindparam("end"))


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows are wanted; what is None does not matter. `since` and `until` are stored times; `actor` is a name
    or, with its kind before it, a subject (``token:ci``); `action` and `resource` may end in ``*``, and a resource
    also means what is under it."""

    since: str | None = None
    until: str | None = None
    actor: str | None = None
    action: str | None = None
    result: str | None = None
    resource: str | None = None

    @property
    def kind(self) -> str | None:
        """The kind of actor that is asked for."""
        kind, colon, _ = (self.actor or "").partition(":")
        return kind if colon and kind in _KINDS else None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Its part of the statement."""
        found: list[ColumnElement[bool]] = []
        if self.since is not None:
            found.append(_A.c.at >= self.since)
        if self.until is not None:
            found.append(_A.c.at < self.until)
        if self.actor is not None:
            found.append(_A.c.actor == (self.actor.partition(":")[2] if self.kind else self.actor))
        if self.result is not None:
            found.append(_A.c.result == self.result)
        if self.action is not None:
            found.append(_like(_A.c.action, self.action))
        if self.resource is not None:
            under = _begins(_A.c.resource, f"{self.resource.rstrip('/')}/")
            found.append(_like(_A.c.resource, self.resource) | under)
        return found

    def takes(self, facts: dict[str, Any]) -> bool:
        """What no column says: the kind of the actor."""
        return self.kind is None or facts.get("kind", "person") == self.kind

    def as_facts(self) -> dict[str, str]:
        """What is asked for, for the audit row of the reading."""
        names = ("since", "until", "actor", "action", "result", "resource")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def page(tx: Tx, wanted: Filter, *, limit: int, before: int | None = None) -> tuple[list[dict[str, Any]], int | None]:
    """The newest rows that are `wanted`, newest first, and from where on (a number that goes down) the next page
    begins; None after the last one."""
    found: list[dict[str, Any]] = []
    conditions = wanted.conditions()
    while len(found) < limit:
        more = [_A.c.pk < before] if before is not None else []
        statement = _READ.where(*conditions, *more).order_by(_A.c.pk.desc()).limit(limit)
        rows = tx.connection.execute(statement).all()
        for row in rows:
            before = row.pk
            facts = shown(row)
            if wanted.takes(facts):
                found.append(facts)
            if len(found) == limit:
                break
        if len(rows) < limit and len(found) < limit:
            return found, None
    return found, before


def after(tx: Tx, wanted: Filter, place: int, end: int, *, limit: int = BATCH) -> tuple[list[dict[str, Any]], int]:
    """The rows that are `wanted` from `place` to before `end`, in the order of their places, and the place to go on
    from: no row is looked at again because it was not wanted."""
    here = (_A.c.place >= place, _A.c.place < end)
    rows = tx.connection.execute(_READ.where(*wanted.conditions(), *here).order_by(_A.c.place).limit(limit)).all()
    found = [facts for row in rows if wanted.takes(facts := shown(row))]
    return found, rows[-1].place + 1 if len(rows) == limit else max(place, end)


def span(tx: Tx, begin: int, end: int) -> list[bytes]:
    """The sealed bytes of the rows from the place `begin` to before `end`, the first thousand of them."""
    rows = tx.connection.execute(_SPAN, {"begin": begin, "end": end}).scalars().all()
    return [bytes(row) for row in rows]


def stream(store: Store, begin: int, end: int) -> Iterator[bytes]:
    """All those rows, a line each, a batch in a transaction."""
    while begin < end:
        with store.read() as tx:
            begin = max(begin, first(tx) or begin)  # those before it were pruned
            found = span(tx, begin, end)
        if not found:
            return
        yield b"".join(row + b"\n" for row in found)
        begin += len(found)


def first(tx: Tx) -> int | None:
    """The place of the oldest row that is here; None without rows."""
    place: int | None = tx.connection.execute(_FIRST).scalar()
    return place


def kept_from(tx: Tx) -> int:
    """From which place on there must be rows: as the last pruning says, which is a row of the log itself."""
    said = (judging.kept_from(bytes(one)) for one in tx.connection.execute(_PRUNED).scalars())
    return next((place for place in said if place is not None), 0)


def end_before(tx: Tx, time: str, size: int) -> int:
    """The place before which every row is older than the stored `time`, in a log of `size` rows."""
    place: int | None = tx.connection.execute(_NOT_BEFORE, {"time": time}).scalar()
    return size if place is None else place


def drop(tx: Tx, end: int) -> int:
    """Drop the rows before the place `end`; gives how many."""
    return tx.connection.execute(_DROP, {"end": end}).rowcount


def shown(row: Any) -> dict[str, Any]:
    """A row's facts, its place, and who it was as a subject."""
    facts: dict[str, Any] = orjson.loads(row.canonical)
    return {"place": row.place, "subject": lines.subject(facts), **facts}


def _like(column: Any, pattern: str) -> ColumnElement[bool]:
    equals: ColumnElement[bool] = column == pattern
    return _begins(column, pattern.removesuffix("*")) if pattern.endswith("*") else equals


def _begins(column: Any, text: str) -> ColumnElement[bool]:
    return func.substr(column, 1, len(text)) == text  # LIKE takes capitals for small letters on SQLite
