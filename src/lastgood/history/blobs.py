"""Blobs: the parts of documents, each stored once however many versions and workflows have it.

A blob is found by its address, the first 8 bytes of the SHA-256 of what it holds; the address is its checksum too,
and every read checks it. Two parts may have the same address (somebody can make them so): a hit is therefore
compared byte by byte, and a part that differs gets a row of its own. Versions name blobs by row, never by address."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import batched
from typing import Any

import zstandard
from sqlalchemy import bindparam, func, insert, select, update

from lastgood.db import tables as t
from lastgood.db.tx import Tx
from lastgood.history import dictionary

HOT_LEVEL, TIGHT_LEVEL = 9, 19
_MOST = 2**27  # no document reaches this; a damaged frame header cannot make us allocate more
_CHUNK = 500  # values in one statement

_COLUMNS = (t.blob.c.pk, t.blob.c.address, t.blob.c.dictionary_id, t.blob.c.level, t.blob.c.body)
_BY_ADDRESS = select(*_COLUMNS).where(t.blob.c.address.in_(bindparam("some", expanding=True))).order_by(t.blob.c.pk)
_BY_PK = select(*_COLUMNS).where(t.blob.c.pk.in_(bindparam("some", expanding=True)))
_AFTER = select(*_COLUMNS).where(t.blob.c.pk > bindparam("after")).order_by(t.blob.c.pk).limit(bindparam("limit"))
_SPREAD = select(*_COLUMNS).where(t.blob.c.pk % bindparam("step") == 0).order_by(t.blob.c.pk)
_ADD = insert(t.blob).returning(t.blob.c.pk, sort_by_parameter_order=True)
_PACK = (
    update(t.blob)
    .where(t.blob.c.pk == bindparam("of"))
    .values(dictionary_id=bindparam("by"), level=bindparam("at"), body=bindparam("packed"))
)
_COUNT = select(func.count()).select_from(t.blob)


def address_of(part: bytes) -> int:
    """The address of `part`: 64 bits, signed, as the databases hold it."""
    return int.from_bytes(hashlib.sha256(part).digest()[:8], "big", signed=True)


def store(tx: Tx, parts: Sequence[bytes]) -> list[int]:
    """The keys of the blobs that hold `parts`, in their order. New ones are written, and a damaged one that should
    hold one of the parts is mended."""
    addresses = {part: address_of(part) for part in parts}
    found: dict[bytes, int] = {}
    broken: dict[int, int] = {}
    for row in _rows(tx, _BY_ADDRESS, set(addresses.values())):
        part = open_blob(tx, row)
        if part is None:
            broken[row.address] = row.pk
        else:
            found.setdefault(part, row.pk)
    for part in addresses.keys() - found.keys():
        pk = broken.pop(addresses[part], None)
        if pk is not None:
            _repack(tx, pk, _packed(tx, part, HOT_LEVEL))
            found[part] = pk
    new = [part for part in addresses if part not in found]
    if new:
        rows = [{"address": addresses[part], **_packed(tx, part, HOT_LEVEL)} for part in new]
        found |= zip(new, tx.connection.execute(_ADD, rows).scalars(), strict=True)
    return [found[part] for part in parts]


def load(tx: Tx, pks: Iterable[int]) -> dict[int, bytes]:
    """The parts in the blobs `pks`; those that are gone or damaged are missing from the answer."""
    opened = {row.pk: open_blob(tx, row) for row in _rows(tx, _BY_PK, set(pks))}
    return {pk: part for pk, part in opened.items() if part is not None}


def tighten(tx: Tx, pks: Iterable[int]) -> None:
    """Pack the blobs `pks` as small as can be, with the newest dictionary. A damaged one stays as it is."""
    newest = dictionary.newest(tx)
    for row in _rows(tx, _BY_PK, set(pks)):
        if row.level >= TIGHT_LEVEL and row.dictionary_id == newest:
            continue
        part = open_blob(tx, row)
        if part is not None:
            packed = _packed(tx, part, TIGHT_LEVEL)
            shorter = len(packed["body"]) < len(row.body)
            _repack(tx, row.pk, packed if shorter else {**row._mapping, "level": TIGHT_LEVEL})


def learn(tx: Tx) -> bytes | None:
    """A dictionary trained on what the store holds, None while it has one that is good enough or too little to learn
    from. It takes a while, so give it a transaction that only reads, and the answer to `dictionary.add`."""
    if not dictionary.wanted(tx):
        return None
    spread = tx.connection.execute(_SPREAD, {"step": dictionary.sample_step(tx)})
    return dictionary.train([part for part in (open_blob(tx, row) for row in spread) if part is not None])


def repack(tx: Tx, after: int = 0, limit: int = 500) -> int | None:
    """Pack blobs that have no dictionary with the newest one: at most `limit`, those after the key `after`. Gives the
    last key looked at, None when there is no more."""
    newest = dictionary.newest(tx)
    if newest is None:
        return None
    last = None
    for row in tx.connection.execute(_AFTER, {"after": after, "limit": limit}).all():
        last = row.pk
        part = open_blob(tx, row) if row.dictionary_id is None else None
        if part is not None:
            packed = _packed(tx, part, row.level)
            if len(packed["body"]) < len(row.body):
                _repack(tx, row.pk, packed)
    return last


def damaged(tx: Tx) -> Iterator[int]:
    """The keys of all blobs that cannot be read. Walks through the whole table."""
    after = 0
    while rows := tx.connection.execute(_AFTER, {"after": after, "limit": _CHUNK}).all():
        yield from (row.pk for row in rows if open_blob(tx, row) is None)
        after = rows[-1].pk


def count(tx: Tx) -> int:
    """How many blobs there are."""
    number: int = tx.connection.execute(_COUNT).scalar_one()
    return number


def open_blob(tx: Tx, row: Any) -> bytes | None:
    """The part in a row of the blob table, None where its checksum says that it is another."""
    body = row.body
    try:
        if zstandard.frame_content_size(body) > _MOST:
            return None
        part = dictionary.decompressor(tx, row.dictionary_id).decompress(body, max_output_size=_MOST)
    except (zstandard.ZstdError, ValueError):
        return None
    return part if address_of(part) == row.address else None


def _rows(tx: Tx, statement: Any, values: Iterable[int]) -> Iterator[Any]:
    for some in batched(values, _CHUNK):
        yield from tx.connection.execute(statement, {"some": some}).all()


def _packed(tx: Tx, part: bytes, level: int) -> dict[str, Any]:
    """`part` as the columns of a row, packed with the newest dictionary (without one where that is damaged)."""
    by = dictionary.newest(tx)
    try:
        packer = dictionary.compressor(tx, by, level)
    except ValueError:
        by, packer = None, dictionary.compressor(tx, None, level)
    return {"dictionary_id": by, "level": level, "body": packer.compress(part)}


def _repack(tx: Tx, pk: int, row: Any) -> None:
    values = {"of": pk, "by": row["dictionary_id"], "at": row["level"], "packed": row["body"]}
    tx.connection.execute(_PACK, values)
