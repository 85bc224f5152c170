"""API tokens: ``lg_…``, shown once, kept as keyed hashes."""

import secrets

from sqlalchemy import bindparam, delete, func, insert, select

from lastgood.access import grants
from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx

ADMIN = "admin"

_FIND = select(t.token.c.name).where(t.token.c.hash == bindparam("hash"))
_COUNT = select(func.count()).select_from(t.token)


def new_token() -> str:
    """A fresh token value."""
    return "lg_" + secrets.token_urlsafe(32)


def first_admin(tx: Tx) -> str | None:
    """The admin token of a store that has no token yet, to be shown once; None when there is one already."""
    # Nothing is deleted here: of two first starts at once, one must not undo what the other has shown.
    return _add_admin(tx, Principal("first start", kind="local")) if _none(tx) else None


def reset_admin(tx: Tx, who: Principal) -> str:
    """A new admin token in place of the old one."""
    tx.connection.execute(delete(t.token).where(t.token.c.name == ADMIN))
    return _add_admin(tx, who)


def owner(tx: Tx, value: str) -> str | None:
    """The name of the token `value`, None when it is unknown. The look-up is by keyed hash, so its time tells
    nothing of the stored tokens."""
    if not value.startswith("lg_"):
        return None
    found: str | None = tx.connection.execute(_FIND, {"hash": tx.ring.lookup(value)}).scalar()
    return found


def _add_admin(tx: Tx, who: Principal) -> str:
    value = new_token()
    tx.connection.execute(insert(t.token), {"name": ADMIN, "hash": tx.ring.lookup(value), "created_at": tx.now})
    audit.append(tx, who, "token:create", f"token/{ADMIN}")
    grants.put(tx, who, grants.Grant(f"token:{ADMIN}", ADMIN))
    return value


def _none(tx: Tx) -> bool:
    return tx.connection.execute(_COUNT).scalar_one() == 0
