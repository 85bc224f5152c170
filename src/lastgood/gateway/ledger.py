"""Where tallies are kept: written into the store of runs, and thrown out when they are old."""

import hashlib
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from lastgood.db.runs import call_shape, caller, caller_shape, calls
from lastgood.gateway.observation import UNKNOWN
from lastgood.gateway.tally import MINUTE, Rate, RateKey, ShapeKey, Sighting, Tally, Who
from lastgood.history.calls import DAY, OTHERS
from lastgood.history.latency import COLUMNS

_MINUTES_KEPT: Final = timedelta(days=8).total_seconds()
_DAYS_KEPT: Final = timedelta(days=90).total_seconds()
_SHAPES_KEPT: Final = timedelta(days=30).total_seconds()
_TIDY_EVERY: Final = 3600.0
_KNOWN_SECONDS: Final = 600.0
_MOST_KNOWN: Final = 2_000
_MOST_AGENTS: Final = 100  # of one key
_MOST_SHAPES: Final = 200  # of one workflow, inputs and outputs each
# Whatever clients do, the tables stay within these.
_MOST_MINUTES: Final = 1_000_000
_MOST_DAYS: Final = 500_000
_LOCK: Final = 7_241_552  # PostgreSQL advisory lock: one worker tidies

_SUMS: Final = ("requests", "errors", "refused", "unseen", "lost", "total_ms", *COLUMNS)
_MAXIMA: Final = ("max_ms", "last_at")
_WHOSE: Final = ("caller_pk", "channel", "version_id", "generation", "pins")

_CALLER: Final = select(caller.c.pk).where(
    caller.c.workflow_id == bindparam("workflow_id"),
    caller.c.key_id == bindparam("key_id"),
    caller.c.user_agent == bindparam("user_agent"),
)
_AGENTS: Final = (
    select(func.count())
    .select_from(caller)
    .where(caller.c.workflow_id == bindparam("workflow_id"), caller.c.key_id == bindparam("key_id"))
)
_SHAPE: Final = select(call_shape.c.pk).where(
    call_shape.c.workflow_id == bindparam("workflow_id"),
    call_shape.c.kind == bindparam("kind"),
    call_shape.c.digest == bindparam("digest"),
)
_SHAPES: Final = (
    select(func.count())
    .select_from(call_shape)
    .where(call_shape.c.workflow_id == bindparam("workflow_id"), call_shape.c.kind == bindparam("kind"))
)


class Ledger:
    """The tables of calls behind `engine` (the store of runs)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tidied = -_TIDY_EVERY
        # Rows that are known: none that was seen within the hour is thrown out.
        self._callers: dict[Who, int] = {}
        self._shapes: dict[tuple[str, str, str], int] = {}
        self._known_since = 0.0
        self._insert: Callable[[Any], Any] = postgresql.insert if _postgres(engine) else sqlite.insert
        self._count = self._counting(self._insert(calls))
        self._sight = self._sighting()

    def write(self, tally: Tally) -> None:
        """Keep all of `tally` in one transaction. Raises `SQLAlchemyError`; then nothing is kept."""
        try:
            self._forget()
            self._write(tally)
        except BaseException:
            self._forget(all=True)  # rows made in this transaction are not there
            raise

    def _forget(self, *, all: bool = False) -> None:
        now = time.monotonic()
        known = len(self._callers) + len(self._shapes)
        if all or known > _MOST_KNOWN or now - self._known_since > _KNOWN_SECONDS:
            self._callers, self._shapes, self._known_since = {}, {}, now

    def _write(self, tally: Tally) -> None:
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            # In one order everywhere: two workers that write the same rows wait for each other and do not lock up.
            clients = sorted({key.who for key in tally.rates} | {key.who for key in tally.shapes})
            for who in clients:
                if who not in self._callers:
                    self._callers[who] = self._caller(connection, *who)
            rates = [_rate_row(self._callers[key.who], key, rate) for key, rate in tally.rates.items()]
            rates.sort(key=lambda row: (row["at"], *(row[name] for name in _WHOSE)))
            connection.execute(self._count, rates)
            if tally.shapes:
                sightings = [
                    self._sighting_row(connection, key, seen)
                    for key, seen in sorted(tally.shapes.items(), key=lambda item: item[0])
                ]
                sightings.sort(key=lambda row: (row["caller_pk"], row["shape_pk"]))
                connection.execute(self._sight, sightings)

    def tidy(self, now: float) -> None:
        """Once an hour, make days of old minutes, and forget old days, shapes and callers. `now` in seconds since
        1970. Raises `SQLAlchemyError`."""
        if now - self._tidied < _TIDY_EVERY:
            return
        self._tidied = now
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            if (
                _postgres(self._engine)
                and not connection.execute(select(func.pg_try_advisory_xact_lock(_LOCK))).scalar_one()
            ):
                return
            self._roll_up(connection, now)
            old_day = _boundary(connection, DAY, _MOST_DAYS, now - _DAYS_KEPT)
            connection.execute(delete(calls).where(calls.c.span == DAY, calls.c.at < old_day))
            connection.execute(delete(caller_shape).where(caller_shape.c.last_at < now - _SHAPES_KEPT))
            seen = exists().where(caller_shape.c.shape_pk == call_shape.c.pk)
            connection.execute(delete(call_shape).where(~seen))
            counted = exists().where(calls.c.caller_pk == caller.c.pk)
            sighted = exists().where(caller_shape.c.caller_pk == caller.c.pk)
            connection.execute(delete(caller).where(~counted, ~sighted))

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _roll_up(self, connection: Connection, now: float) -> None:
        """Minutes of days that are wholly old become a row for the day."""
        before = _boundary(connection, MINUTE, _MOST_MINUTES, (now - _MINUTES_KEPT) // DAY * DAY)
        old = and_(calls.c.span == MINUTE, calls.c.at < before)
        day = calls.c.at - calls.c.at % literal_column(str(DAY))
        whose = [calls.c[name] for name in _WHOSE]
        sums = [func.sum(calls.c[name]) for name in _SUMS]
        maxima = [func.max(calls.c[name]) for name in _MAXIMA]
        days = select(*whose, day, literal_column(str(DAY)), *sums, *maxima).where(old).group_by(*whose, day)
        into = self._insert(calls).from_select([*_WHOSE, "at", "span", *_SUMS, *_MAXIMA], days)
        connection.execute(self._counting(into))
        connection.execute(delete(calls).where(old))

    def _caller(self, connection: Connection, workflow_id: str, key_id: str, agent: str) -> int:
        who = {"workflow_id": workflow_id, "key_id": key_id, "user_agent": agent}
        found = connection.execute(_CALLER, who).scalar()
        if found is not None:
            return int(found)
        if agent != OTHERS and connection.execute(_AGENTS, who).scalar_one() >= _MOST_AGENTS:
            return self._caller(connection, workflow_id, key_id, OTHERS)
        connection.execute(self._insert(caller).values(who).on_conflict_do_nothing())
        return int(connection.execute(_CALLER, who).scalar_one())

    def _shape(self, connection: Connection, workflow_id: str, kind: str, shape: str) -> int:
        digest = hashlib.sha256(shape.encode()).digest()[:16]
        what = {"workflow_id": workflow_id, "kind": kind, "digest": digest}
        found = connection.execute(_SHAPE, what).scalar()
        if found is not None:
            return int(found)
        if shape != UNKNOWN and connection.execute(_SHAPES, what).scalar_one() >= _MOST_SHAPES:
            return self._shape(connection, workflow_id, kind, UNKNOWN)
        connection.execute(self._insert(call_shape).values({**what, "shape": shape}).on_conflict_do_nothing())
        return int(connection.execute(_SHAPE, what).scalar_one())

    def _sighting_row(self, connection: Connection, key: ShapeKey, seen: Sighting) -> dict[str, Any]:
        what = (key.workflow_id, key.kind, key.shape)
        if what not in self._shapes:
            self._shapes[what] = self._shape(connection, *what)
        return {
            "caller_pk": self._callers[key.who],
            "shape_pk": self._shapes[what],
            "requests": seen.requests,
            "refused": seen.refused,
            "version_id": seen.version_id,
            "first_at": seen.first_at,
            "last_at": seen.last_at,
        }

    def _counting(self, into: Any) -> Any:
        """`into` with its rows added to those that are there."""
        new = into.excluded
        sums = {name: calls.c[name] + new[name] for name in _SUMS}
        maxima = {name: _larger(calls.c[name], new[name]) for name in _MAXIMA}
        return into.on_conflict_do_update(index_elements=[*_WHOSE, "at", "span"], set_={**sums, **maxima})

    def _sighting(self) -> Any:
        into = self._insert(caller_shape)
        old, new = caller_shape.c, into.excluded
        return into.on_conflict_do_update(
            index_elements=["caller_pk", "shape_pk"],
            set_={
                "requests": old.requests + new.requests,
                "refused": old.refused + new.refused,
                "version_id": case((new.last_at >= old.last_at, new.version_id), else_=old.version_id),
                "last_at": _larger(old.last_at, new.last_at),
            },
        )


def _postgres(engine: Engine) -> bool:
    return engine.dialect.name == "postgresql"


def _rate_row(caller_pk: int, key: RateKey, rate: Rate) -> dict[str, Any]:
    return {
        "caller_pk": caller_pk,
        "at": key.at,
        "span": MINUTE,
        "channel": key.channel,
        "version_id": key.version_id,
        "generation": key.generation,
        "pins": key.pins,
        "requests": rate.requests,
        "errors": rate.errors,
        "refused": rate.refused,
        "unseen": rate.unseen,
        "lost": rate.lost,
        "total_ms": rate.total_ms,
        "max_ms": rate.max_ms,
        "last_at": rate.last_at,
        **dict(zip(COLUMNS, rate.buckets, strict=True)),
    }


def _larger(one: ColumnElement[float], other: ColumnElement[float]) -> ColumnElement[float]:
    return case((one >= other, one), else_=other)


def _boundary(connection: Connection, span: int, most: int, wanted: float) -> int:
    """Rows of `span` from before this time are too old: by the clock, or because there are too many."""
    newest = select(calls.c.at).where(calls.c.span == span).order_by(calls.c.at.desc()).offset(most).limit(1)
    surplus = connection.execute(newest).scalar()
    return max(int(wanted), 0 if surplus is None else surplus + 1)
