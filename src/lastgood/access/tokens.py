"""API tokens: ``lg_…``, shown once, kept as keyed hashes. What one may do is told by grants to ``token:<name>``."""

import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, delete, insert, or_, select, update

from lastgood.access import admins, grants, roles
from lastgood.access.grants import Grant
from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx, parse_time, utc_text
from lastgood.errors import InvalidRequest, NameTaken, UnknownToken

ADMIN = "admin"
PREFIX = "lg_"
USED_SECONDS = 60  # how often it is noted at most that a token was used

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_COLUMNS = (t.token.c.name, t.token.c.created_at, t.token.c.created_by, t.token.c.expires_at, t.token.c.used_at)
_FIND = select(*_COLUMNS).where(t.token.c.hash == bindparam("hash"))
_LIST = select(*_COLUMNS).order_by(t.token.c.name)
_TAKEN = select(t.token.c.pk).where(t.token.c.name == bindparam("name"))
_INSERT = insert(t.token)
_DELETE = delete(t.token).where(t.token.c.name == bindparam("name"))
_USED = (
    update(t.token)
    .where(
        t.token.c.name == bindparam("token"),
        or_(t.token.c.used_at.is_(None), t.token.c.used_at < bindparam("before")),
    )
    .values(used_at=bindparam("now"))
)
_REHASH = update(t.token).where(t.token.c.hash == bindparam("former")).values(hash=bindparam("newest"))
_HELD = select(t.grant.c.subject, t.grant.c.role, t.grant.c.resource, t.grant.c.expires_at).where(
    t.grant.c.subject.startswith("token:"),
    t.grant.c.source == grants.LOCAL,
    t.grant.c.present,
)
_HELD_BY = _HELD.where(t.grant.c.subject == bindparam("subject"))


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its value. `expired`: its time has passed."""

    name: str
    created_at: str
    created_by: str
    expires_at: str | None
    used_at: str | None
    expired: bool

    def public(self) -> dict[str, Any]:
        """What the API tells of it."""
        return {name: getattr(self, name) for name in self.__slots__}


def new_token() -> str:
    """A fresh token value."""
    return PREFIX + secrets.token_urlsafe(32)


def check_name(name: str) -> str:
    """`name` if it can name a token, else `InvalidRequest`."""
    if not _NAME.fullmatch(name):
        reason = "a token's name has 1 to 63 letters, digits, dots, dashes and underscores, a letter or digit first"
        raise InvalidRequest(where="name", reason=reason)
    return name


def create(
    tx: Tx,
    who: Principal,
    name: str,
    *,
    expires_at: str | None = None,
    role: str | None = None,
    resources: Iterable[str] = ("*",),
) -> str:
    """A new token; its value is given here and never again. `expires_at` is stored time. With a `role`,
    ``token:name`` is granted it on `resources`. Raises `InvalidRequest`, `NameTaken`, `UnknownRole`."""
    check_name(name)
    if role:
        roles.find(tx, role)
    if tx.connection.execute(_TAKEN, {"name": name}).first() is not None:
        raise NameTaken(name=name, kind="token")
    if expires_at is not None and expires_at <= tx.now:
        raise InvalidRequest(where="expires", reason="a token that has ended already is of no use")
    value = new_token()
    row = {"name": name, "created_at": tx.now, "created_by": who.name, "expires_at": expires_at}
    tx.connection.execute(_INSERT, {**row, "hash": tx.ring.lookup(value)})
    audit.append(tx, who, "token:create", f"token/{name}", expires_at=expires_at, role=role)
    given = {Grant(f"token:{name}", role, one, expires_at=expires_at) for one in resources} if role else set()
    _take_away(tx, who, name, but=given)  # what was granted to an earlier token of this name is not this one's
    for grant in sorted(given, key=lambda one: one.resource):
        grants.put(tx, who, grant)
    return value


def revoke(tx: Tx, who: Principal, name: str) -> None:
    """End a token at once, and take away what it was granted here. Raises `UnknownToken`, and `LastAdmin` where
    nobody could come in as an admin any more."""
    before = admins.exist(tx)
    if tx.connection.execute(_DELETE, {"name": name}).rowcount == 0:
        raise UnknownToken(token=name)
    audit.append(tx, who, "token:revoke", f"token/{name}")
    _take_away(tx, who, name)
    admins.leave_one(tx, who, f"token:{name}", before)


def first_admin(tx: Tx) -> str | None:
    """The admin token of a store where nobody has a way in yet, to be shown once; None where somebody has."""
    # Nothing is deleted here: of two first starts at once, one must not undo what the other has shown.
    try:
        return _add_admin(tx, Principal("first start", kind="local")) if admins.none_ever(tx) else None
    except NameTaken:  # another first start committed between the two looks
        return None


def reset_admin(tx: Tx, who: Principal) -> str:
    """A new admin token in place of the old one."""
    tx.connection.execute(_DELETE, {"name": ADMIN})
    return _add_admin(tx, who)


def find(tx: Tx, value: str) -> Token | None:
    """The token `value`, also an expired one; None when it is unknown. The look-up is by keyed hash, so its time
    tells nothing of the stored tokens."""
    if not value.startswith(PREFIX):
        return None
    found = _found(tx, value)
    # Another process may have rotated the ring since this one read it.
    return _found(tx, value) if found is None and tx.ring.follow() else found


def _found(tx: Tx, value: str) -> Token | None:
    for hashed in tx.ring.lookups(value):
        row = tx.connection.execute(_FIND, {"hash": hashed}).first()
        if row is not None:
            return _token(row, tx.now)
    return None


def owner(tx: Tx, value: str) -> Token | None:
    """The token `value`, None when it is unknown or has ended."""
    found = find(tx, value)
    return None if found is None or found.expired else found


def is_stale(tx: Tx, token: Token) -> bool:
    """Whether it is to be noted that `token` is used now."""
    return token.used_at is None or token.used_at < _before(tx)


def used(tx: Tx, name: str, value: str) -> None:
    """Note that a token is used now, unless that was noted lately, and keep it under the hash that the ring's newest
    lookup key gives its value."""
    tx.connection.execute(_USED, {"token": name, "before": _before(tx), "now": tx.now})
    newest, *older = tx.ring.lookups(value)
    for former in older:
        tx.connection.execute(_REHASH, {"former": former, "newest": newest})


def listing(tx: Tx) -> list[dict[str, Any]]:
    """All tokens by name, each with what it was granted here (`grants`: role and resource)."""
    held: dict[str, list[dict[str, str]]] = {}
    for row in tx.connection.execute(_HELD):
        held.setdefault(row.subject.removeprefix("token:"), []).append({"role": row.role, "resource": row.resource})
    return [
        {**_token(row, tx.now).public(), "grants": held.get(row.name, [])} for row in tx.connection.execute(_LIST)
    ]


def _add_admin(tx: Tx, who: Principal) -> str:
    return create(tx, who, ADMIN, role="admin")


def _take_away(tx: Tx, who: Principal, name: str, but: Collection[Grant] = ()) -> None:
    for row in tx.connection.execute(_HELD_BY, {"subject": f"token:{name}"}).all():
        held = Grant(row.subject, row.role, row.resource, expires_at=row.expires_at)
        if held not in but:
            grants.put(tx, who, held, present=False)


def _token(row: Any, now: str) -> Token:
    return Token(**row._mapping, expired=row.expires_at is not None and row.expires_at <= now)


def _before(tx: Tx) -> str:
    return utc_text(parse_time(tx.now) - timedelta(seconds=USED_SECONDS))
