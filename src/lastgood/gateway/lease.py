"""The router of a gateway worker on PostgreSQL: told of moves by NOTIFY, trusted by a lease.

A move is acknowledged once every worker whose lease runs has applied it. So a worker may answer from memory only
while its lease surely runs; it counts that by its own clock, from before it asked for the lease, and with a margin.
The order of a beat is: renew the lease, then read, then answer. A move committed before the read is seen by it, and
one committed later finds the lease running and waits."""

import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import psycopg
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from lastgood.db import messages, process
from lastgood.db.ring import Lookup
from lastgood.db.routing import NOTIFY_CHANNEL
from lastgood.db.store import Store
from lastgood.db.tx import Tx, utc_now
from lastgood.errors import LastgoodError, LiveVersionUnknown
from lastgood.gateway.router import OnStoreLoss, RouteTable
from lastgood.history.routes import Route, RouteChanges, read_changes

log = logging.getLogger(__name__)

_FIRST_RETRY = 0.1
_LAST_RETRY = 2.0
_POLL = 0.5
_DURABLE = text("SET synchronous_commit = on")
_FAST = text("SET synchronous_commit = off")
_LOST = (psycopg.Error, SQLAlchemyError, LastgoodError, OSError)

# Time that a suspended machine sleeps counts too: the lease goes on running in the database.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock() -> float:
    """Seconds that only grow, a machine's sleep included."""
    return time.clock_gettime(_CLOCK)


class Membership(Protocol):
    """What a worker needs of the store to be told of moves and to be waited for."""

    def beat(self, applied: int) -> None:
        """Hold the lease for its full time from now on, for certain, saying that everything up to `applied` is in
        use."""

    def confirm(self, applied: int) -> None:
        """Say that everything up to `applied` is in use, as fast as may be."""

    def read(self, since: int) -> RouteChanges:
        """What changed after revision `since`."""

    def leave(self) -> None:
        """Be waited for no longer."""

    def listen(self) -> "Listening":
        """Be told of changes from now on."""


class Listening(Protocol):
    """An open ear. Raises when the connection is lost."""

    def wait(self, seconds: float) -> Sequence[str]:
        """What was told within `seconds`, as soon as anything is."""

    def close(self) -> None:
        """Hear no more."""


class LeaseRouter:
    """Routes kept in memory by a thread of its own. Call `start` before the first request, `close` after the last."""

    def __init__(
        self, member: Membership, lookup_key: Lookup, *, lease_seconds: float, on_store_loss: OnStoreLoss = "stop"
    ) -> None:
        self.table = RouteTable(lookup_key)
        self._member = member
        self._lease = lease_seconds
        self._margin = max(0.05, lease_seconds / 10)
        self._beat_every = lease_seconds / 3
        self._serve_on = on_store_loss == "serve"
        self._deadline = -math.inf
        self._stopping = threading.Event()
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._run, name="routes", daemon=True)

    def start(self, patience: float = 5.0) -> bool:
        """Begin to listen, and wait up to `patience` seconds for the first routes. False when none came yet."""
        self._thread.start()
        return self._first.wait(patience)

    def route(self, key: str) -> Route | None:
        """The route of an app key. Raises `LiveVersionUnknown`."""
        if clock() >= self._deadline and not (self._serve_on and self._first.is_set()):
            raise LiveVersionUnknown(reason="its lease on the store has ended")
        return self.table.find(key)

    def state(self) -> Mapping[str, object]:
        """`ready`, and the seconds that the lease still runs."""
        left = self._deadline - clock()
        ready = left > 0 or (self._serve_on and self._first.is_set())
        return {
            "ready": ready,
            "lease_seconds": round(max(0.0, left), 3),
            "revision": self.table.revision,
            "keys": len(self.table),
        }

    def take_seen(self) -> Mapping[bytes, bytes]:
        """As of `RouteTable`."""
        return self.table.take_seen()

    def close(self) -> None:
        """Stop listening and leave."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_POLL + 1.0)
        self._deadline = -math.inf
        if self._thread.is_alive():
            log.warning("the lease ends by itself: the store does not answer")
            return
        try:
            self._member.leave()
        except _LOST as error:
            log.warning("the lease ends by itself: %s", _line(error))

    def _run(self) -> None:
        pause = _FIRST_RETRY
        while not self._stopping.is_set():
            try:
                listening = self._member.listen()  # before the first read, so that no change falls between
                try:
                    pause = _FIRST_RETRY
                    self._listen(listening)
                finally:
                    listening.close()
            except _LOST as error:
                log.warning("the store is out of reach, next try in %.1f s: %s", pause, _line(error))
                self._stopping.wait(pause)
                pause = min(pause * 2, _LAST_RETRY)

    def _listen(self, listening: Listening) -> None:
        next_beat = clock()
        while not self._stopping.is_set():
            left = next_beat - clock()
            if left <= 0:
                next_beat = clock() + self._beat_every
                self.beat()
            else:
                for told in listening.wait(min(left, _POLL)):
                    self.hear(told)

    def beat(self) -> None:
        """Renew the lease, read, and only then rely on it."""
        asked = clock()
        self._member.beat(self.table.revision)
        self.catch_up()
        self._deadline = asked + self._lease - self._margin
        self._first.set()

    def hear(self, told: str) -> None:
        """Follow a message. One that tells of what is in use already asks for nothing; one that cannot be read may
        tell of anything."""
        change = messages.read_route_change(told)
        if change is None or change.revision != self.table.revision:
            self.catch_up()

    def catch_up(self) -> None:
        """Read what changed, use it, and only then say so. This says nothing about how long the lease runs: it may
        have ended since, and a move gone by, so only `beat` counts on it."""
        changes = self._member.read(self.table.revision)
        if changes.revision != self.table.revision:
            self.table.apply(changes)
            self._member.confirm(self.table.revision)


class StoreMembership:
    """A gateway worker's place in the process table of a PostgreSQL `store`.

    `address` is told to the others; `lease_seconds` and `on_store_loss` as in the settings; `id` is the one that the
    worker's parent gave it."""

    reads: Sequence[str] = messages.READS

    def __init__(
        self,
        store: Store,
        *,
        address: str,
        lease_seconds: float,
        on_store_loss: OnStoreLoss,
        id: str | None = None,
    ) -> None:
        self._ring = store.ring
        # Each statement by itself; and a connection that has died unnoticed is given up as fast as a lease runs.
        self._engine = create_engine(
            store.engine.url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={
                "connect_timeout": max(2, math.ceil(lease_seconds)),
                "tcp_user_timeout": int(lease_seconds * 1000),
                "keepalives_idle": max(1, round(lease_seconds)),
                "keepalives_interval": 1,
                "keepalives_count": 3,
            },
        )
        self._address = address
        self._lease = lease_seconds
        self._on_store_loss = on_store_loss
        self._given = id
        self._id: str | None = None
        self._connection: Connection | None = None

    def beat(self, applied: int) -> None:
        """Renew the lease, or register where there is no row of ours (any more)."""
        tx = self._tx()
        # A lease that a crash of the store forgot would be believed here and not there.
        tx.connection.execute(_DURABLE)
        if not self._renewed(tx, applied):
            self._id = process.register(
                tx,
                "gateway",
                id=self._given,
                address=self._address,
                capabilities=self.reads,
                on_store_loss=self._on_store_loss,
                applied=applied,
                lease_seconds=self._lease,
            )
        tx.connection.execute(_FAST)

    def confirm(self, applied: int) -> None:
        """Say what is applied. A crash of the store may forget that: then movers wait for the lease to end."""
        if not self._renewed(self._tx(), applied):
            self.beat(applied)

    def _renewed(self, tx: Tx, applied: int) -> bool:
        known = self._id
        return known is not None and process.heartbeat(tx, known, lease_seconds=self._lease, applied=applied)

    def read(self, since: int) -> RouteChanges:
        """What changed after revision `since`. Routes may be newer than the revision, which is read first: the next
        reading gives them again."""
        return read_changes(self._tx().connection, since)

    def leave(self) -> None:
        """Strike the row."""
        known, self._id = self._id, None
        try:
            if known is not None:
                process.leave(self._tx(), known)
        finally:
            self._drop()

    def listen(self) -> Listening:
        """A connection of its own that hears moves. Raises `SQLAlchemyError`."""
        self._drop()  # a new try: the other connection may be as dead as this one was
        return _Listening(self._engine.connect())

    def _tx(self) -> Tx:
        if self._connection is None:
            self._connection = self._engine.connect()
            self._connection.execute(_FAST)
        return Tx(self._connection, self._ring, 0, utc_now())

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


class _Listening:
    def __init__(self, connection: Connection) -> None:
        connection.execute(text(f"LISTEN {NOTIFY_CHANNEL}"))
        self._connection = connection
        self._driver = cast("psycopg.Connection[tuple[object, ...]]", connection.connection.driver_connection)

    def wait(self, seconds: float) -> Sequence[str]:
        return [told.payload for told in self._driver.notifies(timeout=seconds, stop_after=1)]

    def close(self) -> None:
        self._connection.invalidate()
        self._connection.close()


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
