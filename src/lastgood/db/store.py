"""The store: SQLite (WAL) in the data directory by default, PostgreSQL by URL, one interface over both.

SQLite has one writer: `Store.write` holds a lock around one connection that begins IMMEDIATE, because writers
that meet inside SQLite wait by sleeping (a tail of hundreds of milliseconds), and those that meet at a lock do not.
Writers in other processes meet at SQLite's own lock, with a busy time-out."""

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool

from lastgood.db.ring import KeyRing
from lastgood.db.tx import Tx, utc_now
from lastgood.errors import InvalidRequest, InvalidSetting, LastgoodError, StoreFull, StoreUnreachable
from lastgood.settings import Settings

_BUSY_SECONDS = 10.0
_WORKSPACE = 1
# PostgreSQL: serialization failure, deadlock, and a unique value that another transaction took after this one had
# looked. Run again, the transaction sees what the other one did.
_RETRY_STATES = {"40001", "40P01", "23505"}
_NO_DATABASE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def store_url(settings: Settings, file: str = "lastgood.db") -> URL:
    """The SQLAlchemy URL of the store: `settings.database`, else the SQLite `file` in the data directory."""
    if not settings.database:
        return URL.create("sqlite", database=str(settings.home / file))
    try:
        url = make_url(settings.database)
    except ArgumentError:
        raise InvalidSetting(name="database", value="…", reason="it is not a database URL") from None
    if url.get_backend_name() != "postgresql":
        raise InvalidSetting(
            name="database", value=url.render_as_string(), reason="only postgresql:// URLs are understood"
        )
    return url.set(drivername="postgresql+psycopg")


def make_engine(url: URL, *, durable: bool = True) -> Engine:
    """An engine on `url`. `durable=False` gives up the fsync of each commit (SQLite's synchronous=NORMAL), for
    records whose last few may be lost with the power."""
    if url.get_backend_name() == "postgresql":
        return create_engine(url, pool_pre_ping=True, pool_size=8, max_overflow=24)
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=56,
        connect_args={"check_same_thread": False, "timeout": _BUSY_SECONDS},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # SQLAlchemy's BEGIN below, not the driver's late one
        _use_wal(connection)
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA journal_size_limit=67108864")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    # The busy time-out does not cover the change to WAL, at which two first starts meet.
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)


class Closing(Protocol):
    """Something that is closed with the store."""

    def close(self) -> None: ...


class Store:
    """An open main store with its key ring. Made by `open_store`."""

    def __init__(self, settings: Settings, engine: Engine, ring: KeyRing) -> None:
        self.settings = settings
        self.engine = engine
        self.ring = ring
        self.url = engine.url.render_as_string(hide_password=True)
        # What other parts keep for as long as the store is open, by their names.
        self.beside: dict[str, Closing] = {}
        self._lock = threading.Lock()
        self._writer: Connection | None = None

    @property
    def postgres(self) -> bool:
        """Whether this is PostgreSQL (else SQLite)."""
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A transaction that only reads, with one view of all it reads."""
        try:
            with self.engine.connect() as connection, connection.begin():
                if self.postgres:
                    connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                yield self._tx(connection)
        except DBAPIError as error:
            raise self._named(error) from error

    def write[T](self, work: Callable[[Tx], T], *, emergency: bool = False) -> T:
        """Run `work` in one write transaction and commit it; nothing of it remains when it raises.

        `emergency` (rollbacks) gives the reserved disk space up and tries once more when the disk is full.
        Raises what `work` raises, `StoreFull`, `StoreUnreachable`."""
        for attempt in range(3):
            try:
                return self._postgres(work) if self.postgres else self._sqlite(work)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) in _RETRY_STATES and attempt < 2:
                    continue
                named = self._named(error)
                if isinstance(named, StoreFull) and emergency and self._give_up_reserve():
                    emergency = False
                    continue
                raise named from error
        raise StoreUnreachable(url=self.url, reason="it kept refusing the transaction")

    def _sqlite[T](self, work: Callable[[Tx], T]) -> T:
        with self._lock:
            if self._writer is None:
                self._writer = self.engine.connect().execution_options(writes=True)
            try:
                with self._writer.begin():
                    return work(self._tx(self._writer))
            except DBAPIError:
                # A connection that met a full disk may keep a half-dead transaction: never use it again.
                self._writer.invalidate()
                self._writer.close()
                self._writer = None
                raise

    def _postgres[T](self, work: Callable[[Tx], T]) -> T:
        with self.engine.begin() as connection:
            return work(self._tx(connection))

    def _tx(self, connection: Connection) -> Tx:
        return Tx(connection, self.ring, _WORKSPACE, utc_now(), local_role=self.settings.local_role)

    def _named(self, error: DBAPIError) -> LastgoodError:
        """The error of ours for one of the driver's."""
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # its upper bits only tell more
        full = code == sqlite3.SQLITE_FULL or getattr(error.orig, "sqlstate", "") == "53100"
        if code == sqlite3.SQLITE_IOERR:  # a full disk can show itself as a failed write
            full = os.statvfs(self.settings.home).f_bavail * os.statvfs(self.settings.home).f_frsize < 2**20
        if full:
            return StoreFull(path=str(self.settings.home))
        reason = str(error.orig).splitlines()[0] if str(error.orig) else type(error.orig).__name__
        if isinstance(error, OperationalError) or error.connection_invalidated or code in _NO_DATABASE:
            return StoreUnreachable(url=self.url, reason=reason)
        if isinstance(error, DataError):
            return InvalidRequest(where="a value that the store cannot hold", reason=reason)
        return LastgoodError(detail=str(error.orig))

    @property
    def reserve(self) -> Path:
        """The file that keeps disk space aside."""
        return self.settings.home / "reserve"

    def keep_reserve(self) -> bool:
        """Set the reserved space aside (again). False when the disk has no room for it."""
        size = self.settings.reserve_bytes
        if self.postgres or size == 0:
            return True
        if self.reserve.exists() and self.reserve.stat().st_size == size:
            return True
        try:
            with self.reserve.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError:
            self.reserve.unlink(missing_ok=True)
            return False
        return True

    def _give_up_reserve(self) -> bool:
        if not self.reserve.exists():
            return False
        self.reserve.unlink()
        return True

    def close(self) -> None:
        """Close every connection."""
        for part in self.beside.values():
            part.close()
        self.beside.clear()
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        self.engine.dispose()


def open_store(settings: Settings) -> Store:
    """The store that `settings` name, made or migrated to this release's schema where needed.

    Raises `StoreUnreachable`, `StoreNewer`, `StoreFull`, `InvalidSetting`."""
    from lastgood.db.migrations import upgrade  # Alembic is slow to import and rarely needed

    store = _unmigrated(settings)
    try:
        upgrade(store.engine, "main")
    except DBAPIError as error:
        raise store._named(error) from error
    store.keep_reserve()
    return store


def _unmigrated(settings: Settings) -> Store:
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        ring = KeyRing.open(settings.home / "keyring.json")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StoreFull(path=str(settings.home)) from error
        raise StoreUnreachable(url=str(settings.home), reason=error.strerror or str(error)) from error
    return Store(settings, make_engine(store_url(settings)), ring)


def open_runs(settings: Settings) -> Engine:
    """The engine on the store of runs and conversations: its own SQLite file, because any commit to the pointers'
    file makes every gateway worker look at it; or the same PostgreSQL."""
    from lastgood.db.migrations import upgrade

    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = make_engine(store_url(settings, "runs.db"), durable=False)
    upgrade(engine, "runs")
    return engine


def row_dict(row: Any) -> dict[str, Any]:
    """A result row as a dict."""
    return dict(row._mapping)
