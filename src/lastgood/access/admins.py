"""Whether somebody has the keys of the house: until then nothing listens where strangers are."""

from typing import Final

from sqlalchemy import BindParameter, and_, bindparam, exists, literal, or_, select

from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import LastAdmin

_NOW: Final[BindParameter[str]] = bindparam("now")
_TOKEN = exists().where(
    t.grant.c.subject == literal("token:") + t.token.c.name,
    or_(t.token.c.expires_at.is_(None), t.token.c.expires_at > _NOW),
)
_PERSON = exists().where(
    t.grant.c.subject == t.person.c.name,
    t.person.c.disabled_at.is_(None),
    or_(t.person.c.password.is_not(None), t.person.c.issuer.is_not(None)),
)
_ADMIN = (
    select(t.grant.c.pk)
    .where(
        and_(t.grant.c.role == "admin", t.grant.c.resource == "*", t.grant.c.present),
        or_(t.grant.c.expires_at.is_(None), t.grant.c.expires_at > _NOW),
        or_(_TOKEN, _PERSON),
    )
    .limit(1)
)
# Who may leave no admin takes turns: of two who go at once, each would count on the other.
_TURN = select(t.access.c.revision).with_for_update()
_ANYBODY = select(exists(select(t.token.c.pk)), exists(select(t.person.c.pk)))


def exist(tx: Tx) -> bool:
    """Whether a token or a person holds the role admin on everything and can come in with it now."""
    return tx.connection.execute(_ADMIN, {"now": tx.now}).first() is not None


def none_ever(tx: Tx) -> bool:
    """Whether the store knows neither a token nor a person."""
    return not any(tx.connection.execute(_ANYBODY).one())


def leave_one(tx: Tx, who: Principal, subject: str, before: bool) -> None:
    """Raises `LastAdmin` where what was done to `subject` left no admin, and there was one `before`. Who works on the
    data directory itself needs none."""
    if not before or who.kind == "local":
        return
    tx.connection.execute(_TURN)
    if not exist(tx):
        raise LastAdmin(subject=subject)
