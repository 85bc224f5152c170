"""App key → route, asked at the beginning of every request."""

import logging
import sqlite3
from collections.abc import Mapping
from typing import Literal, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from lastgood.db.ring import Lookup
from lastgood.errors import LiveVersionUnknown
from lastgood.history.routes import Identity, Route, RouteChanges, key_hash, read_changes

log = logging.getLogger(__name__)

OnStoreLoss = Literal["stop", "serve"]


class Router(Protocol):
    """Where requests go. `route` is synchronous, costs microseconds, and never gives an older version than the
    last acknowledged move set."""

    def route(self, key: str) -> Route | None:
        """The route of an app key, None for an unknown one. Raises `LiveVersionUnknown`."""

    def state(self) -> Mapping[str, object]:
        """For the readiness check: `ready` and what else tells about it."""

    def take_seen(self) -> Mapping[bytes, bytes]:
        """Hashes of keys that came and are known by an older lookup key, and what each should be now."""

    def close(self) -> None:
        """Let go of the store."""


class RouteTable:
    """The routes in memory by keyed hash, as of `revision`."""

    def __init__(self, lookup_key: Lookup) -> None:
        self.revision = 0
        self._lookup_key = lookup_key
        self._routes: dict[bytes, Route] = {}
        self._held: dict[Identity, bytes] = {}
        self._seen: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._routes)

    def find(self, key: str) -> Route | None:
        """The route of an app key."""
        hashed = key_hash(self._lookup_key, key)
        found = self._routes.get(hashed)
        return found if found is not None else self._under_older(key, hashed)

    def _under_older(self, key: str, hashed: bytes) -> Route | None:
        """The route of an app key that is still known by an older lookup key."""
        every = self._lookup_key.older(key)
        for older in every:
            found = self._routes.get(older)
            if found is not None:
                self._seen[older] = hashed
                return found
        # Another thread may have kept it anew since the first look.
        return self._routes.get(key_hash(self._lookup_key, key)) if every else None

    def take_seen(self) -> dict[bytes, bytes]:
        """The hashes under an older lookup key that requests came with since this was asked last, and the one that
        each should have now."""
        seen, self._seen = self._seen, {}
        return seen

    def apply(self, changes: RouteChanges) -> None:
        """Take over what changed. Each key changes at once; the revision only after all of them."""
        for hashed, route in changes.keys.items():
            if route is None:
                self._routes.pop(hashed, None)
            else:
                self._lookup_key.is_known(hashed)  # one that is not comes from a rotation: the ring is read again
                self._routes[hashed] = route
                self._forget_former(route.identity, hashed)
        for gone in changes.revoked:
            self._forget_former(gone, None)
        self.revision = changes.revision

    def _forget_former(self, identity: Identity, hashed: bytes | None) -> None:
        """Whatever a key or webhook was known by before goes: it may be revoked later by its new hash alone."""
        if not identity:
            return
        former = self._held.pop(identity, None)
        if former is not None and former != hashed:
            self._routes.pop(former, None)
        if hashed is not None:
            self._held[identity] = hashed


class MemoryRouter:
    """A router without a store: `routes` by app key, changed by assignment. For tests and benchmarks."""

    def __init__(self, routes: Mapping[str, Route] | None = None) -> None:
        self.routes = dict(routes or {})

    def route(self, key: str) -> Route | None:
        return self.routes.get(key)

    def state(self) -> Mapping[str, object]:
        return {"ready": True, "keys": len(self.routes)}

    def take_seen(self) -> Mapping[bytes, bytes]:
        return {}

    def close(self) -> None:
        pass


class SqliteRouter:
    """Routes of a SQLite store. Each request asks SQLite whether another connection has committed (2 µs), so a
    request that begins after a commit always sees it."""

    def __init__(self, engine: Engine, lookup_key: Lookup, on_store_loss: OnStoreLoss = "stop") -> None:
        self.table = RouteTable(lookup_key)
        self._on_store_loss = on_store_loss
        self._connection: Connection = engine.connect()
        self._raw = self._connection.connection.cursor()
        self._raw.execute("PRAGMA busy_timeout=1000")
        self._seen = -1
        self._lost = ""
        self._refresh()

    def route(self, key: str) -> Route | None:
        try:
            self._refresh()
        except DBAPIError as error:
            self._lose(str(error.orig))
        except sqlite3.Error as error:
            self._lose(str(error))
        return self.table.find(key)

    def _refresh(self) -> None:
        (version,) = self._raw.execute("PRAGMA data_version").fetchone()
        if version != self._seen:
            # A commit after the PRAGMA may be read here already; then the next request reads in vain, no more.
            with self._connection.begin():
                self.table.apply(read_changes(self._connection, self.table.revision))
            self._seen = version
        self._lost = ""

    def _lose(self, reason: str) -> None:
        if not self._lost:
            log.error("the store cannot be read: %s", reason)
        self._lost = reason
        if self._on_store_loss == "stop":
            raise LiveVersionUnknown(reason="the store cannot be read")

    def state(self) -> Mapping[str, object]:
        return {"ready": not self._lost, "revision": self.table.revision, "keys": len(self.table)}

    def take_seen(self) -> Mapping[bytes, bytes]:
        return self.table.take_seen()

    def close(self) -> None:
        self._connection.close()
