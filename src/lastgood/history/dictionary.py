"""The dictionaries that blobs are compressed with: rows that never change, each named by its own bytes.

A dictionary is trained on what a store holds, outside of any write transaction (`train`), and added in one (`add`).
New blobs use the newest; older ones stay for what was packed with them. Nearly everything hangs on these few rows, so
each dictionary has two: when the first is damaged the second is read, and `mend` writes the damaged one anew."""

import hashlib
import threading
from collections.abc import Callable, Iterable
from typing import Any

import zstandard
from sqlalchemy import bindparam, func, insert, select, update

from lastgood.db import tables as t
from lastgood.db.tx import Tx

SIZE = 64 * 2**10
_FEWEST = 1_000  # blobs to train on; of fewer, plain zstd is as good
_GROWTH = 8  # a store that has grown so many times deserves a new dictionary
_SAMPLES = 8_000
_LONGEST = 32 * 2**10  # of a sample: one long text says little of the others

_NEWEST = (
    select(t.dictionary.c.id)
    .where(t.dictionary.c.id >= 0)  # first rows only
    .order_by(t.dictionary.c.seen.desc(), t.dictionary.c.created_at.desc(), t.dictionary.c.id)
    .limit(1)
)
_SEEN = select(func.coalesce(func.max(t.dictionary.c.seen), 0))
_BODY = select(t.dictionary.c.body).where(t.dictionary.c.id == bindparam("id"))
_ALL = select(t.dictionary).order_by(t.dictionary.c.id)
_GREATEST = select(func.coalesce(func.max(t.blob.c.pk), 0))
_HELD = select(func.count()).select_from(t.blob)
_ADD = insert(t.dictionary)
_MEND = update(t.dictionary).where(t.dictionary.c.id == bindparam("of")).values(body=bindparam("sound"))

_known: dict[int, bytes] = {}
_local = threading.local()  # zstd's contexts serve one thread at a time


def newest(tx: Tx) -> int | None:
    """The dictionary that new blobs are packed with."""
    found: int | None = tx.connection.execute(_NEWEST).scalar()
    return found


def wanted(tx: Tx) -> bool:
    """Whether a store has become large enough for its first dictionary or for another one, or has lost the newest."""
    seen: int = tx.connection.execute(_SEEN).scalar_one()
    last = newest(tx)
    lost = last is not None and _stored(tx, last) is None
    enough = _FEWEST if lost else max(_FEWEST, _GROWTH * seen)
    most: int = tx.connection.execute(_GREATEST).scalar_one()  # keys have gaps, and to count takes longer
    return most >= enough and held(tx) >= enough


def held(tx: Tx) -> int:
    """How many blobs there are."""
    number: int = tx.connection.execute(_HELD).scalar_one()
    return number


def train(samples: Iterable[bytes]) -> bytes | None:
    """A dictionary made of `samples` (parts of documents), None where they are too few to make one."""
    few: list[bytes | bytearray | memoryview] = [sample for sample in samples if 8 <= len(sample) <= _LONGEST]
    try:
        return zstandard.train_dictionary(SIZE, few).as_bytes() if len(few) >= _FEWEST // 2 else None
    except zstandard.ZstdError:
        return None  # all the same, for example


def sample_step(tx: Tx) -> int:
    """Every how many blobs to take one, so that the samples are spread over the whole store."""
    return max(1, held(tx) // _SAMPLES)


def add(tx: Tx, body: bytes) -> int:
    """Keep a dictionary for use from now on, and give its id. One that is there and damaged is mended."""
    id = id_of(body)
    if _stored(tx, id) is None:
        row = {"seen": held(tx), "created_at": tx.now, "body": body}
        for key in (id, _second(id)):
            _put(tx, key, row)
    return id


def damaged(tx: Tx) -> list[int]:
    """The ids of the dictionaries of which a row has changed in the store. What one has packed can be read as long
    as its other row is sound."""
    return sorted({_first(row.id) for row in tx.connection.execute(_ALL) if id_of(row.body) != _first(row.id)})


def lacking(tx: Tx) -> bool:
    """Whether `mend` has something to do."""
    return bool(_mendable(tx))


def mend(tx: Tx) -> None:
    """Write damaged rows of dictionaries, and second ones that are not there, from the other row."""
    for id, sound in _mendable(tx):
        _put(tx, id, sound)


def _put(tx: Tx, id: int, row: dict[str, Any]) -> None:
    if tx.connection.execute(_MEND, {"of": id, "sound": row["body"]}).rowcount == 0:
        tx.connection.execute(_ADD, {**row, "id": id})


def _mendable(tx: Tx) -> list[tuple[int, dict[str, Any]]]:
    """The ids of rows that are damaged or not there, each with the sound row of the same dictionary."""
    rows = tx.connection.execute(_ALL).all()
    sound = {row.id: dict(row._mapping) for row in rows if id_of(row.body) == _first(row.id)}
    return [(_second(id), row) for id, row in sound.items() if _second(id) not in sound]


def _second(id: int) -> int:
    """The key of the other row of the dictionary that has a row `id`: one of them is the dictionary's id, which is
    never negative, the other is less than zero."""
    return ~id


def _first(id: int) -> int:
    return max(id, _second(id))


def forget(id: int) -> None:
    """Read the dictionary `id` from the store again when it is next needed on this thread."""
    _known.pop(id, None)
    for codecs in _local.__dict__.values():
        for key in [key for key in codecs if key == id or (isinstance(key, tuple) and key[0] == id)]:
            del codecs[key]


def id_of(body: bytes) -> int:
    """The id of a dictionary: 31 bits of its SHA-256."""
    return int.from_bytes(hashlib.sha256(body).digest()[:4], "big") >> 1


def compressor(tx: Tx, id: int | None, level: int) -> zstandard.ZstdCompressor:
    """What packs blobs at `level` on this thread. Raises `ValueError` when the dictionary is damaged."""
    return _codec("compressors", (id, level), lambda: _compressor(_bytes(tx, id), level))


def decompressor(tx: Tx, id: int | None) -> zstandard.ZstdDecompressor:
    """What unpacks them. Raises `ValueError` when the dictionary is damaged."""
    return _codec("decompressors", id, lambda: _decompressor(_bytes(tx, id)))


def _codec[T](kind: str, key: object, make: Callable[[], T]) -> T:
    codecs: dict[object, T] = _local.__dict__.setdefault(kind, {})
    if key not in codecs:
        codecs[key] = make()
    return codecs[key]


def _compressor(body: bytes | None, level: int) -> zstandard.ZstdCompressor:
    if body is None:
        return zstandard.ZstdCompressor(level=level, write_checksum=True)
    trained = zstandard.ZstdCompressionDict(body)
    trained.precompute_compress(level=level)
    # The row of a blob says which dictionary; its frame need not.
    return zstandard.ZstdCompressor(level=level, dict_data=trained, write_checksum=True, write_dict_id=False)


def _decompressor(body: bytes | None) -> zstandard.ZstdDecompressor:
    trained = zstandard.ZstdCompressionDict(body) if body is not None else None
    return zstandard.ZstdDecompressor(dict_data=trained)


def _bytes(tx: Tx, id: int | None) -> bytes | None:
    if id is None:
        return None
    if id not in _known:
        body = _stored(tx, id)
        if body is None:
            raise ValueError(f"dictionary {id} is damaged")
        _known[id] = body
    return _known[id]


def _stored(tx: Tx, id: int) -> bytes | None:
    """The dictionary `id` from the first of its rows that is sound."""
    for row in (id, _second(id)):
        body: bytes = tx.connection.execute(_BODY, {"id": row}).scalar() or b""
        if id_of(body) == id:
            return body
    return None
