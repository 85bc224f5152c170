"""Who has which role on what. A grant is known by its subject, role, resource and source; one that was revoked stays
as a row, because it decides what a late event may still do, and is the tombstone of the feed.

Subjects are ``u1002`` (a person), ``token:ci``, ``service:guard`` and ``local`` (whoever works on the data directory
itself). Resources are patterns: ``*``, ``workflow:prod-invoice``, ``workflow:prod-*``."""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import bindparam, func, insert, or_, select, update

from lastgood.access import admins
from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import InvalidRequest

LOCAL = "local"  # the source of what people grant here
type Stamp = tuple[int, int]  # an event's Unix seconds and its place (offset): the greater one wins
type Outcome = Literal["changed", "same", "late"]

_G = t.grant
_FIND = select(_G).where(
    *(_G.c[name] == bindparam(name) for name in ("workspace_pk", "source", "subject", "role", "resource"))
)
_INSERT = insert(_G)
_CHANGE = update(_G).where(_G.c.pk == bindparam("row"))
_HOLDERS = (
    select(func.count())
    .select_from(_G)
    .where(
        _G.c.workspace_pk == bindparam("workspace"),
        _G.c.role == bindparam("role"),
        _G.c.present,
        or_(_G.c.expires_at.is_(None), _G.c.expires_at > bindparam("now")),
    )
)
_LIST = (
    select(
        *(_G.c[name] for name in ("pk", "subject", "role", "resource", "source", "present", "expires_at")),
        *(_G.c[name] for name in ("revision", "changed_at", "changed_by")),
    )
    .where(_G.c.workspace_pk == bindparam("workspace"))
    .limit(bindparam("limit"))
)
_MOST = 2**31 - 1
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


@dataclass(frozen=True, slots=True)
class Row:
    """A grant as it is stored: whether it is `present` (else revoked), the revision of its last change, and whose."""

    pk: int
    subject: str
    role: str
    resource: str
    source: str
    present: bool
    expires_at: str | None
    revision: int
    changed_at: str
    changed_by: str

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "number": self.pk,
            "subject": self.subject,
            "role": self.role,
            "on": self.resource,
            "source": self.source,
            "expires_at": self.expires_at,
            "granted_at": self.changed_at,
            "granted_by": self.changed_by,
        }

    @property
    def sentence(self) -> str:
        """``viewer on workflow:prod-*``, and where it came from."""
        of = "" if self.source == LOCAL else f" (from {self.source})"
        return f"{self.role} on {self.resource}{of}"


def listing(
    tx: Tx,
    subject: str | None = None,
    source: str | None = None,
    after_revision: int | None = None,
    *,
    role: str | None = None,
    after: int = 0,
    limit: int | None = None,
) -> list[Row]:
    """The grants that stand, in the order in which they came, after the number `after`: of `subject`, of `source`, of
    `role`. With `after_revision` those that changed after it, in the order of their revisions, revoked ones too."""
    wanted = _LIST
    for column, value in ((_G.c.subject, subject), (_G.c.source, source), (_G.c.role, role)):
        if value is not None:
            wanted = wanted.where(column == value)
    if after_revision is not None:
        wanted = wanted.where(_G.c.revision > after_revision).order_by(_G.c.revision)
    else:
        wanted = wanted.where(_G.c.present, _G.c.pk > after).order_by(_G.c.pk)
    rows = tx.connection.execute(wanted, {"workspace": tx.workspace, "limit": limit or _MOST})
    return [Row(*row) for row in rows]


def holders_of(tx: Tx, role: str) -> int:
    """How many grants give `role` now."""
    asked = {"workspace": tx.workspace, "role": role, "now": tx.now}
    return int(tx.connection.execute(_HOLDERS, asked).scalar_one())


def give(tx: Tx, who: Principal, grant: Grant) -> Outcome:
    """Grant as a person does. Raises `InvalidRequest` for an end that has come."""
    if grant.expires_at is not None and grant.expires_at <= tx.now:
        raise InvalidRequest(where="expires", reason=f"{grant.expires_at} has passed; name a time to come")
    return put(tx, who, grant)


def revoke(tx: Tx, who: Principal, grant: Grant) -> Outcome:
    """Take a grant away as a person does. Raises `LastAdmin` as `admins.leave_one` does."""
    before = admins.exist(tx)
    outcome = put(tx, who, grant, present=False)
    admins.leave_one(tx, who, grant.subject, before)
    return outcome
