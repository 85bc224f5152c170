"""Who has which role on what. A grant is known by its subject, role, resource and source; one that was revoked stays
as a row, because it decides what a late event may still do, and is the tombstone of the feed.

Subjects are ``u1002`` (a person), ``token:ci``, ``service:guard`` and ``local`` (whoever works on the data directory
itself). Resources are patterns: ``*``, ``workflow:prod-invoice``, ``workflow:prod-*``."""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import bindparam, insert, select, update

from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx

LOCAL = "local"  # the source of what people grant here
type Stamp = tuple[int, int]  # an event's Unix seconds and its place (offset): the greater one wins
type Outcome = Literal["changed", "same", "late"]

_G = t.grant
_FIND = select(_G).where(
    *(_G.c[name] == bindparam(name) for name in ("workspace_pk", "source", "subject", "role", "resource"))
)
_INSERT = insert(_G)
_CHANGE = update(_G).where(_G.c.pk == bindparam("row"))
_NEXT = update(t.access).values(revision=t.access.c.revision + bindparam("more")).returning(t.access.c.revision)


@dataclass(frozen=True, slots=True)
class Grant:
    """`subject` has `role` on what `resource` matches, as `source` says, until `expires_at` (stored time)."""

    subject: str
    role: str
    resource: str = "*"
    source: str = LOCAL
    expires_at: str | None = None

    @property
    def bucket(self) -> int:
        """0 to 255, by which checks compare digests: the first byte of the SHA-256 of who, role and what."""
        return hashlib.sha256(f"{self.subject}\x1f{self.role}\x1f{self.resource}".encode()).digest()[0]


def next_revision(tx: Tx, number: int = 1) -> int:
    """The revision of the change that this transaction makes, of the last of a `number` of them. Changes take turns
    here, so who has read up to a revision has read everything up to it."""
    revision: int = tx.connection.execute(_NEXT, {"more": number}).scalar_one()
    return revision


def put(tx: Tx, who: Principal, grant: Grant, *, present: bool = True, stamp: Stamp = (0, 0)) -> Outcome:
    """Make `grant`, or take it away (`present` False). `late`: an event with a greater stamp came before, and nothing
    is changed. `same`: it stands like this already (its stamp is kept). What changes is audited."""
    key = {
        "workspace_pk": tx.workspace,
        "source": grant.source,
        "subject": grant.subject,
        "role": grant.role,
        "resource": grant.resource,
    }
    found = tx.connection.execute(_FIND, key).first()
    if found is not None and (found.event_at, found.event_place) > stamp:
        return "late"
    same = found is not None and (found.present, found.expires_at) == (present, grant.expires_at)
    values: dict[str, Any] = {"event_at": stamp[0], "event_place": stamp[1]}
    if not same:
        values |= {
            "present": present,
            "expires_at": grant.expires_at,
            "revision": next_revision(tx),
            "changed_at": tx.now,
            "changed_by": who.name,
        }
    if found is None:
        tx.connection.execute(_INSERT, {**key, **values, "bucket": grant.bucket})
    elif not same or (found.event_at, found.event_place) != stamp:
        tx.connection.execute(_CHANGE.values(**values), {"row": found.pk})
    if same or (found is None and not present):
        return "same"
    action = "access:grant" if present else "access:revoke"
    audit.append(tx, who, action, f"access/{grant.subject}", role=grant.role, on=grant.resource, source=grant.source)
    return "changed"
