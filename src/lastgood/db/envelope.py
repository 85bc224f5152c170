"""Secrets sealed under data keys, which are themselves wrapped under a key of the ring: to change that one rewrites
the data keys, and no secret.

Form of sealed bytes: as of `ring`, with ``0x02`` and the id of a data key. What an earlier release sealed under the
ring itself (``0x01``) still opens: when its key leaves the ring, it becomes a data key of the same id."""

import os
import secrets
from typing import Final

from sqlalchemy import bindparam, insert, select

from lastgood.db import tables as t
from lastgood.db.ring import parts, written
from lastgood.db.tx import Tx

_FORM: Final = 2
_OLD_FORM: Final = 1
OWN: Final = "d"  # data keys' ids begin so; those that were keys of the ring have the ring's
_D = t.data_key
_NEWEST = select(_D).where(_D.c.id.startswith(OWN)).order_by(_D.c.created_at.desc(), _D.c.id.desc()).limit(1)
_FIND = select(_D.c.ring_key, _D.c.wrapped).where(_D.c.id == bindparam("id"))
_ADD = insert(_D)


def seal(tx: Tx, value: str, context: str) -> bytes:
    """`value` sealed for `context` (a place such as ``version/v-…/API_KEY``), under the store's newest data key.
    Raises `Unsealable` where that cannot be opened."""
    row = tx.connection.execute(_NEWEST).first()
    if row is None:
        id, key = add(tx)
    else:
        id, key = row.id, tx.ring.data.get(row.id) or _opened(tx, row.id, row.ring_key, row.wrapped)
    return written(_FORM, id, key, value.encode(), context)


def unseal(tx: Tx, sealed: bytes, context: str) -> str:
    """The value that was sealed for `context`. Raises `Unsealable`."""
    form, id, _ = parts(sealed)
    key = None
    if form == _OLD_FORM and id in tx.ring.of("seal"):
        key = tx.ring.raw(id)
    elif form in (_FORM, _OLD_FORM):
        key = tx.ring.data.get(id)
        if key is None and (row := tx.connection.execute(_FIND, {"id": id}).first()) is not None:
            key = _opened(tx, id, row.ring_key, row.wrapped)
        if key is None and form == _OLD_FORM:
            key = tx.ring.raw(id)
    return tx.ring.opened(sealed, key, context)


def add(tx: Tx) -> tuple[str, bytes]:
    """A new data key, the newest from now on: its id and itself. It is remembered when it is read again, because this
    transaction may not be committed."""
    id, key = OWN + secrets.token_hex(8), os.urandom(32)
    keep(tx, id, key)
    return id, key


def keep(tx: Tx, id: str, key: bytes) -> None:
    """Keep `key` as the data key `id`."""
    ring_key, wrapped = tx.ring.wrap(id, key)
    tx.connection.execute(_ADD, {"id": id, "ring_key": ring_key, "wrapped": wrapped, "created_at": tx.now})


def _opened(tx: Tx, id: str, ring_key: str, wrapped: bytes) -> bytes:
    key = tx.ring.unwrap(id, ring_key, bytes(wrapped))
    tx.ring.data[id] = key
    return key
