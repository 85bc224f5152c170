"""Sessions of signed-in people: a random value in a cookie, kept here as a keyed hash.

The value is made at each sign-in and never taken from a client, so nobody can sign another in to a session of their
choosing. A session ends after a while without a request, and after a while in any case."""

import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select, update

from lastgood.db import tables as t
from lastgood.db.ring import KeyRing
from lastgood.db.tx import Tx, parse_time, utc_text

SEEN_SECONDS = 60  # how often it is noted at most that a session is used

_S = t.session
_INSERT = insert(_S)
_FIND = (
    select(_S.c.pk, _S.c.person_pk, _S.c.roles, _S.c.created_at, _S.c.seen_at, _S.c.expires_at, t.person.c.name)
    .join(t.person, t.person.c.pk == _S.c.person_pk)
    .where(_S.c.hash == bindparam("hash"), t.person.c.disabled_at.is_(None))
)
_SEEN = update(_S).where(_S.c.pk == bindparam("row")).values(seen_at=bindparam("now"))
_END = delete(_S).where(_S.c.hash == bindparam("hash"))
_END_ALL = delete(_S).where(_S.c.person_pk == bindparam("person"))
_TIDY = delete(_S).where(_S.c.expires_at <= bindparam("now"))


@dataclass(frozen=True, slots=True)
class Session:
    """A session in force: whose it is, with which roles the sign-in came, and until when at most."""

    pk: int
    person: str
    person_pk: int
    roles: frozenset[str]
    created_at: str
    seen_at: str
    expires_at: str


def begin(tx: Tx, person_pk: int, *, address: str, seconds: float, roles: Iterable[str] = ()) -> str:
    """A new session of a person for at most `seconds`: its value, to be set as a cookie."""
    value = secrets.token_urlsafe(32)
    row = {
        "person_pk": person_pk,
        "hash": tx.ring.lookup(_named(value)),
        "roles": json.dumps(sorted(roles)),
        "address": address,
        "created_at": tx.now,
        "seen_at": tx.now,
        "expires_at": _later(tx, seconds),
    }
    tx.connection.execute(_INSERT, row)
    return value


def find(tx: Tx, value: str, *, idle_seconds: float) -> Session | None:
    """The session `value`, if it is in force: neither over nor without a request for `idle_seconds`, and its person
    is not shut out."""
    row = _found(tx, value)
    if row is None and tx.ring.follow():  # another process may have rotated the ring since this one read it
        row = _found(tx, value)
    if row is None or row.expires_at <= tx.now or row.seen_at <= _later(tx, -idle_seconds):
        return None
    roles = frozenset(json.loads(row.roles))
    return Session(row.pk, row.name, row.person_pk, roles, row.created_at, row.seen_at, row.expires_at)


def _found(tx: Tx, value: str) -> Row[*tuple[Any, ...]] | None:
    for hashed in tx.ring.lookups(_named(value)):
        row = tx.connection.execute(_FIND, {"hash": hashed}).first()
        if row is not None:
            return row
    return None


def is_stale(tx: Tx, session: Session) -> bool:
    """Whether it is to be noted that `session` is used now."""
    return session.seen_at < _later(tx, -SEEN_SECONDS)


def seen(tx: Tx, session: Session) -> None:
    """Note that `session` is used now."""
    tx.connection.execute(_SEEN, {"row": session.pk, "now": tx.now})


def end(tx: Tx, value: str) -> None:
    """End the session `value`, if there is one."""
    for hashed in tx.ring.lookups(_named(value)):
        tx.connection.execute(_END, {"hash": hashed})


def end_all(tx: Tx, person_pk: int) -> None:
    """End every session of a person."""
    tx.connection.execute(_END_ALL, {"person": person_pk})


def tidy(tx: Tx) -> None:
    """Forget the sessions that are over."""
    tx.connection.execute(_TIDY, {"now": tx.now})


def csrf_of(ring: KeyRing, value: str) -> str:
    """What a request that changes something shows besides the cookie `value`: only who can read our answers has
    it."""
    return ring.lookup_key.hash(f"csrf/{value}").hex()


def is_csrf(ring: KeyRing, value: str, shown: str) -> bool:
    """Whether `shown` is `csrf_of` the session `value`."""
    given = shown.encode("utf-8", "replace")

    def known() -> bool:  # one that was given before the ring was rotated counts too
        return any(hmac.compare_digest(one.hex().encode(), given) for one in ring.lookups(f"csrf/{value}"))

    return known() or (ring.follow() and known())


def _named(value: str) -> str:
    return f"session/{value}"


def _later(tx: Tx, seconds: float) -> str:
    return utc_text(parse_time(tx.now) + timedelta(seconds=seconds))
