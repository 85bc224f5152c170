"""May this principal do that? The one place where it is asked, by every door.

A door asks the table in memory (`permissions`), which is first held against the store's revision of roles and
grants: a change holds in every process as soon as it is committed. What moves something by force asks again in the
transaction that moves it, and reads the truth there."""

import sqlite3
import threading
from collections.abc import Callable
from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.exc import DBAPIError

from lastgood.access import roles
from lastgood.access.table import Decision, Held, Holder, Table, besides, held, ready
from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import Denied, StoreUnreachable

__all__ = ("Decision", "anywhere", "check_permission", "decide", "permissions", "refuse", "require", "visible")

_KEPT: Final = "permissions"
_MOST = 200_000  # subjects that are remembered

_REVISION = select(t.access.c.revision)
_G = t.grant
_OF_SUBJECT = select(_G.c.role, _G.c.resource, _G.c.expires_at).where(
    _G.c.workspace_pk == bindparam("workspace"), _G.c.subject == bindparam("subject"), _G.c.present
)
_CHANGED = (
    select(_G.c.subject)
    .where(_G.c.workspace_pk == bindparam("workspace"), _G.c.revision > bindparam("since"))
    .distinct()
)


def check_permission(store: Store, who: Principal, action: str, resource: str) -> Decision:
    """Whether `who` may do `action` (``workflow:publish``) on `resource` (``workflow:prod-invoice``), as the store
    says now. Raises `StoreUnreachable`."""
    return permissions(store).decide(who, action, resource)


def anywhere(store: Store, who: Principal, action: str, kind: str = "workflow") -> Decision:
    """Whether there can be something of `kind` on which `who` may do `action`: for lists, and for requests that name
    what they are about in their body, which is asked for then."""
    asked = permissions(store)
    table = asked.fresh()
    return table.anywhere(who.subject, asked.holder(table, who), action, kind)


def require(store: Store, who: Principal, action: str, resource: str) -> None:
    """Let `who` pass, or keep the refusal in the audit log and raise `Denied`."""
    decision = check_permission(store, who, action, resource)
    if not decision.allowed:
        raise refuse(store, who, action, resource, decision.reason)


def refuse(store: Store, who: Principal, action: str, resource: str, reason: str) -> Denied:
    """Keep a refusal in the audit log, and give what to raise."""
    path = resource.replace(":", "/", 1)
    store.write(lambda tx: audit.append(tx, who, action, path, result="denied", reason=reason))
    return Denied(actor=who.name, action=action, resource=resource, reason=reason)


def visible(store: Store, who: Principal, action: str) -> Callable[[str], bool]:
    """Says of resources whether `who` may do `action` on them: for lists, all by one table."""
    asked = permissions(store)
    table = asked.fresh()
    holder, subject = asked.holder(table, who), who.subject
    return lambda resource: table.decide(subject, holder, action, resource).allowed


def decide(tx: Tx, who: Principal, action: str, resource: str) -> Decision:
    """Whether `who` may, by what stands in the store in this transaction."""
    holder = Holder((*besides(who, tx.local_role), *_grants(tx, who.subject)))
    table = Table(0, tx.local_role, ready(roles.named(tx, {one.role for one in holder.all})))
    return table.decide(who.subject, holder, action, resource)


def permissions(store: Store) -> "Permissions":
    """The table of this process for `store`."""
    found = store.beside.get(_KEPT)
    if not isinstance(found, Permissions):
        # Of two threads that come first, both make one, and one of them stays.
        found = store.beside.setdefault(_KEPT, Permissions(store))
        assert isinstance(found, Permissions)  # noqa: S101 - for mypy: nobody else uses this name
    return found


class Permissions:
    """Keeps a table, and makes the next one when roles or grants changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._look = _FileLook(store) if not store.postgres else None
        self._table = Table(-1, store.settings.local_role)

    def decide(self, who: Principal, action: str, resource: str) -> Decision:
        """See `check_permission`."""
        table = self.fresh()
        return table.decide(who.subject, self.holder(table, who), action, resource)

    def fresh(self) -> Table:
        """The table at the store's revision, or at a newer one. Raises `StoreUnreachable`."""
        revision = self._revision()
        table = self._table
        return table if table.revision >= revision else self._renew(revision)

    def holder(self, table: Table, who: Principal) -> Holder:
        """What `who` has. Raises `StoreUnreachable`."""
        subject = who.subject
        key = subject if not who.roles else f"{subject}\x1f{'\x1f'.join(sorted(who.roles))}"
        found = table.holders.get(key)
        if found is None:
            # Read after the table was made, so it is no older than that: what changes later, the next table drops.
            with self._store.read() as tx:
                grants = _grants(tx, subject)
            found = Holder((*besides(who, table.local_role), *grants))
            if len(table.holders) >= _MOST:
                table.holders.clear()
            table.holders[key] = found
        return found

    def close(self) -> None:
        """Let go of the store."""
        if self._look is not None:
            self._look.close()

    def _revision(self) -> int:
        if self._look is not None:
            return self._look.revision()
        try:
            with self._store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                return int(connection.execute(_REVISION).scalar_one())
        except DBAPIError as error:
            reason = (str(error.orig).splitlines() or [type(error.orig).__name__])[0]
            raise StoreUnreachable(url=self._store.url, reason=reason) from error

    def _renew(self, revision: int) -> Table:
        with self._lock:
            before = self._table
            if before.revision >= revision:  # another thread was quicker
                return before
            # Taken before the look at what changed: who is put there meanwhile may have been read before a change.
            holders = list(before.holders.items())
            with self._store.read() as tx:
                now = int(tx.connection.execute(_REVISION).scalar_one())
                own = roles.changed(tx, before.revision)
                since = {"workspace": tx.workspace, "since": before.revision}
                changed = set(tx.connection.execute(_CHANGED, since).scalars()) if holders else set()
            kept = {key: holder for key, holder in holders if key.partition("\x1f")[0] not in changed}
            self._table = Table(now, before.local_role, ready(own, before.roles) if own else before.roles, kept)
            return self._table


class _FileLook:
    """Looks at the revision of a SQLite store on a connection of its own: as long as the file did not change, a look
    costs no statement on a table."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._raw: sqlite3.Connection | None = None
        self._seen = self._revision = -1

    def revision(self) -> int:
        """The revision that is committed now. Raises `StoreUnreachable`."""
        try:
            with self._lock:
                raw = self._raw or self._connect()
                (version,) = raw.execute("PRAGMA data_version").fetchone()
                if version != self._seen:
                    # In this order: what is committed in between is seen by the next look.
                    (self._revision,) = raw.execute("SELECT revision FROM access").fetchone()
                    self._seen = version
                return self._revision
        except (sqlite3.Error, DBAPIError) as error:
            self.close()
            raise StoreUnreachable(url=self._store.url, reason=str(error).splitlines()[0]) from error

    def close(self) -> None:
        """Close the connection; the next look opens another."""
        with self._lock:
            if self._raw is not None:
                self._raw.close()
            self._raw, self._seen = None, -1

    def _connect(self) -> sqlite3.Connection:
        fairy = self._store.engine.raw_connection()
        raw = fairy.driver_connection
        fairy.detach()
        assert isinstance(raw, sqlite3.Connection)  # noqa: S101 - for mypy
        self._raw = raw
        return raw


def _grants(tx: Tx, subject: str) -> list[Held]:
    found = tx.connection.execute(_OF_SUBJECT, {"workspace": tx.workspace, "subject": subject})
    return [held(*row) for row in found]
