"""Blobs: the parts of documents, each stored once however many versions and workflows have it.

A blob is found by its address, the first 8 bytes of the SHA-256 of what it holds. Every read of a blob checks zstd's
checksum of it; the check of the store and whatever looks for a part check the address too. Two parts may have one
address (somebody can make them so): a hit is therefore compared byte by byte, and a part that differs gets a row of
its own. Versions name blobs by row, never by address."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from itertools import batched, chain
from typing import Any

import orjson
from sqlalchemy import ARRAY, BigInteger, Text, any_, bindparam, func, insert, select, update
from zstandard import ZstdError, frame_content_size

from lastgood.db import tables as t
from lastgood.db.direct import Direct
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.history import dictionary

HOT_LEVEL, TIGHT_LEVEL = 9, 19
_MOST = 2**27  # no document reaches this; a damaged frame header cannot make us allocate more
_DESCRIPTOR, _CHECKED = 4, 4  # the byte of a frame that says whether it ends with a checksum, and the bit (RFC 8878)
_CHUNK = 500  # values in one statement
_RUN = 256  # keys that are set aside for a document and those that come after it

_COLUMNS = (t.blob.c.pk, t.blob.c.address, t.blob.c.dictionary_id, t.blob.c.level, t.blob.c.body)

_LISTED = func.json_each(bindparam("some", type_=Text)).table_valued("value")
_GIVEN = any_(bindparam("some", type_=ARRAY(BigInteger)))


def _among(column: Any) -> dict[bool, Any]:
    """Rows whose `column` is among the values `some`, by whether it is PostgreSQL. (Values in a list of parameters
    would have the statement written anew for each call, which takes longer than the statement.)"""
    found = select(*_COLUMNS).order_by(t.blob.c.pk)
    return {False: found.where(column.in_(select(_LISTED.c.value))), True: found.where(column == _GIVEN)}


_BY_ADDRESS, _BY_PK = _among(t.blob.c.address), _among(t.blob.c.pk)


def _directly(*columns: Any) -> Direct:
    """The same by key, in no order, past SQLAlchemy."""
    listed = select(*columns).join_from(_LISTED, t.blob, t.blob.c.pk == _LISTED.c.value)
    return Direct(listed, select(*columns).where(t.blob.c.pk == _GIVEN))


_LOAD, _READ = _directly(*_COLUMNS), _directly(t.blob.c.pk, t.blob.c.dictionary_id, t.blob.c.body)
_AFTER = select(*_COLUMNS).where(t.blob.c.pk > bindparam("after")).order_by(t.blob.c.pk).limit(bindparam("limit"))
_SPREAD = select(*_COLUMNS).where(t.blob.c.address % bindparam("step") == 0).order_by(t.blob.c.pk)
_ADD = insert(t.blob).returning(t.blob.c.pk, sort_by_parameter_order=True)
_PACK = (
    update(t.blob)
    .where(t.blob.c.pk == bindparam("of"))
    .values(dictionary_id=bindparam("by"), level=bindparam("at"), body=bindparam("packed"))
)
_LAST = select(func.coalesce(func.max(t.blob.c.pk), 0)).where(t.blob.c.pk < bindparam("end"))
_END = 2**63 - 1


def address_of(part: bytes) -> int:
    """The address of `part`: 64 bits, signed, as the databases hold it."""
    return int.from_bytes(sha256(part).digest()[:8], "big", signed=True)


def put(tx: Tx, parts: Sequence[bytes]) -> list[int]:
    """The keys of the blobs that hold `parts`, in their order. New ones are written, and a damaged one that should
    hold one of the parts is mended."""
    addresses = {part: address_of(part) for part in parts}
    found: dict[bytes, int] = {}
    broken: dict[int, int] = {}
    for row, part in _opened(tx, _rows(tx, _BY_ADDRESS, set(addresses.values()))):
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
        if not tx.postgres:
            kin = found.values() if 2 * len(found) >= len(addresses) else ()
            rows = [{"pk": pk, **row} for pk, row in zip(_near(tx, kin, len(new)), rows, strict=True)]
        found |= zip(new, tx.connection.execute(_ADD, rows).scalars(), strict=True)
    return [found[part] for part in parts]


def load(tx: Tx, pks: Iterable[int]) -> dict[int, bytes]:
    """The parts in the blobs `pks`; those that are gone or damaged are missing from the answer."""
    rows = chain.from_iterable(_LOAD.rows(tx, **_some(tx, few)) for few in batched(set(pks), _CHUNK))
    return {row[0]: part for row, part in _opened(tx, rows) if part is not None}


def read(tx: Tx, pks: Sequence[int]) -> list[bytes]:
    """The parts in the blobs `pks`, in their order, as fast as can be: zstd's checksums are checked, addresses are
    not. Raises `LookupError`, `ValueError` or `ZstdError` where one is gone or damaged."""
    found: dict[int, bytes] = {}
    unpackers: dict[int | None, Callable[[bytes], bytes]] = {}
    for few in batched(dict.fromkeys(pks), _CHUNK):
        for pk, by, body in _READ.rows(tx, **_some(tx, few)):
            unpack = unpackers.get(by)
            if unpack is None:
                unpack = unpackers[by] = dictionary.decompressor(tx, by).decompress
            if not body[_DESCRIPTOR] & _CHECKED or frame_content_size(body) > _MOST:
                raise ValueError(f"the frame of blob {pk} is damaged")
            found[pk] = unpack(body)
    return [found[pk] for pk in pks]


def tighten(tx: Tx, pks: Iterable[int]) -> None:
    """Pack the blobs `pks` as small as can be, with the newest dictionary. A damaged one stays as it is."""
    newest = dictionary.newest(tx)
    held = list(_rows(tx, _BY_PK, set(pks)))
    loose = [row for row in held if row.level < TIGHT_LEVEL or row.dictionary_id != newest]
    for row, part in _opened(tx, loose):
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
    return dictionary.train([part for _, part in _opened(tx, spread) if part is not None])


def maintain(store: Store) -> bool:
    """Mend the dictionaries of `store`, give it its first one or a better one when it has become large enough, and
    pack with it what has none, in short transactions that let others write between them. Says whether it packed; when
    there is nothing to do, it costs a few look-ups."""
    with store.read() as tx:
        ill = dictionary.lacking(tx)
    if ill:
        store.write(dictionary.mend)
    with store.read() as tx:
        learnt = learn(tx)
    if learnt is None:
        return False
    store.write(lambda tx: dictionary.add(tx, learnt))
    after: int | None = 0
    while after is not None:
        after = store.write(partial(repack, after=after))
    return True


def repack(tx: Tx, after: int = 0, limit: int = 500) -> int | None:
    """Pack blobs that have no dictionary with the newest one: at most `limit`, those after the key `after`. Gives the
    last key looked at, None when there is no more."""
    newest = dictionary.newest(tx)
    if newest is None:
        return None
    rows = tx.connection.execute(_AFTER, {"after": after, "limit": limit}).all()
    for row, part in _opened(tx, [row for row in rows if row.dictionary_id is None]):
        if part is not None:
            packed = _packed(tx, part, row.level)
            if len(packed["body"]) < len(row.body):
                _repack(tx, row.pk, packed)
    return rows[-1].pk if rows else None


def damaged(tx: Tx) -> Iterator[int]:
    """The keys of all blobs that cannot be read. Walks through the whole table."""
    after = 0
    while rows := tx.connection.execute(_AFTER, {"after": after, "limit": _CHUNK}).all():
        yield from (row.pk for row, part in _opened(tx, rows) if part is None)
        after = rows[-1].pk


def _opened(tx: Tx, rows: Iterable[Any]) -> Iterator[tuple[Any, bytes | None]]:
    """Rows of the blob table and their parts, None where the checksum or the address says that it is another. (One
    loop without calls: a document has dozens of blobs.)"""
    unpackers: dict[int | None, Callable[[bytes], bytes]] = {}
    for row in rows:
        _, address, by, _, body = row
        part = None
        try:
            if by not in unpackers:
                unpackers[by] = dictionary.decompressor(tx, by).decompress
            if body[_DESCRIPTOR] & _CHECKED and frame_content_size(body) <= _MOST:
                part = unpackers[by](body)
                if int.from_bytes(sha256(part).digest()[:8], "big", signed=True) != address:
                    part = None
        except (ZstdError, ValueError, IndexError):
            part = None
        yield row, part


def _near(tx: Tx, kin: Collection[int], number: int) -> list[int]:
    """`number` new keys for the parts of a document that shares the blobs `kin`. SQLite lays rows out by key, and the
    versions of a workflow are read faster from a few pages than from a page for each part. (PostgreSQL lays them out
    as they come.)"""
    keys: list[int] = []
    if kin:
        begin = max(kin) // _RUN * _RUN
        end = begin + _RUN
        last = tx.connection.execute(_LAST, {"end": end}).scalar_one()
        keys += range(last + 1, min(last + 1 + number, end))
    begin = (tx.connection.execute(_LAST, {"end": _END}).scalar_one() // _RUN + 1) * _RUN
    return [*keys, *range(begin, begin + number - len(keys))]


def _rows(tx: Tx, statement: dict[bool, Any], values: Iterable[int]) -> Iterator[Any]:
    for few in batched(values, _CHUNK):
        yield from tx.connection.execute(statement[tx.postgres], _some(tx, few)).all()


def _some(tx: Tx, values: tuple[int, ...]) -> dict[str, Any]:
    """The parameter of a statement of `_among`."""
    return {"some": list(values) if tx.postgres else orjson.dumps(values).decode()}


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
