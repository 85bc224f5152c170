"""Snapshot content in the store: one function writes it, one reads it, one archives it.

The body is the canonical JSON of a document without its secret values, compressed with zstd; its digest is the
SHA-256 of the uncompressed bytes and is checked by every read."""

import hashlib
from typing import Any

import orjson
import zstandard
from sqlalchemy import bindparam, delete, insert, select, update

from lastgood import dsl
from lastgood.db import tables as t
from lastgood.db.tx import Tx
from lastgood.errors import DamagedContent

_HOT_LEVEL, _ARCHIVE_LEVEL = 3, 12
_MOST = 2**27  # no document reaches this; a damaged frame header cannot make us allocate more

_WRITE = insert(t.content)
_MEND = update(t.content).where(t.content.c.digest == bindparam("of")).values(body=bindparam("mended"))
_READ = (
    select(t.content.c.body)
    .where(t.content.c.digest == bindparam("digest"))
    .union_all(select(t.archive.c.body).where(t.archive.c.digest == bindparam("digest")))
)
_HOT = select(t.content.c.size, t.content.c.body).where(t.content.c.digest == bindparam("digest"))
_COLD = select(t.archive.c.size, t.archive.c.body).where(t.archive.c.digest == bindparam("digest"))
_DROP_HOT = delete(t.content).where(t.content.c.digest == bindparam("digest"))
_DROP_COLD = delete(t.archive).where(t.archive.c.digest == bindparam("digest"))


def write_content(tx: Tx, document: dsl.Document) -> str:
    """Store the content of `document` (secret values already taken out) once, and give its digest. Content that was
    archived comes back to hand, and content that was damaged is mended."""
    body = dsl.canonical(document.data)
    digest = hashlib.sha256(body).hexdigest()
    held = tx.connection.execute(_HOT, {"digest": digest}).first()
    if held is None:
        tx.connection.execute(_DROP_COLD, {"digest": digest})
        packed = zstandard.compress(body, _HOT_LEVEL)
        tx.connection.execute(_WRITE, {"digest": digest, "size": len(body), "body": packed})
    elif _open(held.body) != body:
        tx.connection.execute(_MEND, {"of": digest, "mended": zstandard.compress(body, _HOT_LEVEL)})
    return digest


def read_content(tx: Tx, digest: str, snapshot: str) -> dict[str, Any]:
    """The document under `digest`, hot or archived. Raises `DamagedContent` naming `snapshot`."""
    packed = tx.connection.execute(_READ, {"digest": digest}).scalar()
    data: dict[str, Any] = orjson.loads(_unpack(packed, digest, snapshot))
    return data


def archive_content(tx: Tx, digest: str, snapshot: str) -> None:
    """Move a content out of the hot table, packed tighter."""
    row = tx.connection.execute(_HOT, {"digest": digest}).first()
    if row is None:
        return
    body = _unpack(row.body, digest, snapshot)
    packed = zstandard.compress(body, _ARCHIVE_LEVEL)
    tx.connection.execute(insert(t.archive), {"digest": digest, "size": row.size, "body": packed})
    tx.connection.execute(_DROP_HOT, {"digest": digest})


def restore_content(tx: Tx, digest: str) -> None:
    """Bring an archived content back to the hot table."""
    row = tx.connection.execute(_COLD, {"digest": digest}).first()
    if row is None:
        return
    body = _unpack(row.body, digest, digest[:12])
    packed = zstandard.compress(body, _HOT_LEVEL)
    tx.connection.execute(_WRITE, {"digest": digest, "size": row.size, "body": packed})
    tx.connection.execute(_DROP_COLD, {"digest": digest})


def _unpack(packed: bytes | None, digest: str, snapshot: str) -> bytes:
    body = _open(packed or b"")
    found = hashlib.sha256(body).hexdigest()
    if found != digest:
        raise DamagedContent(snapshot=snapshot, found=found[:12] if body else "unreadable", expected=digest[:12])
    return body


def _open(packed: bytes) -> bytes:
    """The uncompressed bytes, none where they cannot be had."""
    try:
        if zstandard.frame_content_size(packed) > _MOST:
            return b""
        return zstandard.decompress(packed, max_output_size=_MOST)
    except zstandard.ZstdError:
        return b""
