"""Snapshot content in the store: one function writes it, one reads it, one archives it.

The content is the canonical JSON of a document without its secret values; its digest is the SHA-256 of these bytes.
Every read checks the checksum of each part, that of the list of parts, and the length. The digest is checked where
content is written, archived or restored, and where it leaves the store to be used elsewhere (exports, what a target
gets or runs); `fsck` checks all. It lies in `blobs`, which versions share, and here as the manifest that names them.
Archived content has its manifest in another table, and its blobs packed as tight as can be; they stay where they
are, because versions at hand share most of them."""

import hashlib
from collections.abc import Iterable
from itertools import batched
from typing import Any

import orjson
import zstandard
from sqlalchemy import bindparam, delete, insert, select, union_all, update

from lastgood import dsl
from lastgood.db import tables as t
from lastgood.db.direct import Direct
from lastgood.db.tx import Tx
from lastgood.errors import DamagedContent
from lastgood.history import blobs, manifest
from lastgood.history.manifest import Manifest

_CHUNK = 500  # digests in one statement

_WRITE, _ARCHIVE = insert(t.content), insert(t.archive)
_MEND = update(t.content).where(t.content.c.digest == bindparam("of")).values(body=bindparam("mended"))
_HOT = select(t.content.c.size, t.content.c.body).where(t.content.c.digest == bindparam("digest"))
_COLD = select(t.archive.c.size, t.archive.c.body).where(t.archive.c.digest == bindparam("digest"))
_READ = Direct(
    union_all(
        *(
            select(table.c.body, table.c.size).where(table.c.digest == bindparam("digest"))
            for table in (t.content, t.archive)
        )
    )
)
_DROP_HOT = delete(t.content).where(t.content.c.digest == bindparam("digest"))
_DROP_COLD = delete(t.archive).where(t.archive.c.digest == bindparam("digest"))
_SOME = [
    select(table.c.digest, table.c.body).where(table.c.digest.in_(bindparam("some", expanding=True)))
    for table in (t.content, t.archive)
]
_DIGESTS = select(t.content.c.digest).union_all(select(t.archive.c.digest))


def write_content(tx: Tx, document: dsl.Document) -> str:
    """Store the content of `document` (secret values already taken out) once, and give its digest. Content that was
    archived comes back to hand, and content that was damaged is mended."""
    body = dsl.canonical(document.data)
    digest = hashlib.sha256(body).hexdigest()
    held = tx.connection.execute(_HOT, {"digest": digest}).first()
    if held is not None and _rebuild(tx, held.body) == body:
        return digest
    parts, view = manifest.split(document.data)
    if manifest.join(parts, view) != body:
        raise AssertionError("a document that is cut up and joined must be itself")
    packed = manifest.pack(Manifest(blobs.put(tx, parts), view))
    if held is None:
        tx.connection.execute(_DROP_COLD, {"digest": digest})
        tx.connection.execute(_WRITE, {"digest": digest, "size": len(body), "body": packed})
    else:
        tx.connection.execute(_MEND, {"of": digest, "mended": packed})
    return digest


def read_content(tx: Tx, digest: str, snapshot: str, *, whole: bool = False) -> dict[str, Any]:
    """The document under `digest`, hot or archived; with `whole` the digest is checked too. Raises `DamagedContent`
    naming `snapshot`."""
    found = _READ.rows(tx, digest=bytes.fromhex(digest))
    packed, size = found[0] if found else (b"", 0)
    body = _rebuild(tx, packed)
    if whole or not body or len(body) != size:
        _check(body, digest, snapshot)
    data: dict[str, Any] = orjson.loads(body)
    return data


def archive_content(tx: Tx, digest: str, snapshot: str) -> None:
    """Move a content out of the hot table, and pack what it is made of tighter. Raises `DamagedContent`."""
    row = tx.connection.execute(_HOT, {"digest": digest}).first()
    if row is None:
        return
    _check(_rebuild(tx, row.body), digest, snapshot)
    blobs.tighten(tx, manifest.unpack(row.body).keys)
    tx.connection.execute(_ARCHIVE, {"digest": digest, "size": row.size, "body": row.body})
    tx.connection.execute(_DROP_HOT, {"digest": digest})


def restore_content(tx: Tx, digest: str) -> None:
    """Bring an archived content back to the hot table. Raises `DamagedContent`."""
    row = tx.connection.execute(_COLD, {"digest": digest}).first()
    if row is None:
        return
    _check(_rebuild(tx, row.body), digest, digest[:12])
    tx.connection.execute(_WRITE, {"digest": digest, "size": row.size, "body": row.body})
    tx.connection.execute(_DROP_COLD, {"digest": digest})


def digests(tx: Tx) -> list[str]:
    """The digests of all contents, hot and archived."""
    return list(tx.connection.execute(_DIGESTS).scalars())


def manifests(tx: Tx, digests: Iterable[str]) -> dict[str, Manifest]:
    """What each content is made of; what is gone, or has a damaged manifest, is missing from the answer."""
    found: dict[str, Manifest] = {}
    for some in batched(set(digests), _CHUNK):
        for statement in _SOME:
            for row in tx.connection.execute(statement, {"some": some}):
                try:
                    found[row.digest] = manifest.unpack(row.body)
                except (ValueError, zstandard.ZstdError):
                    continue
    return found


def _check(body: bytes, digest: str, snapshot: str) -> None:
    found = hashlib.sha256(body).hexdigest()
    if found != digest:
        raise DamagedContent(snapshot=snapshot, found=found[:12] if body else "unreadable", expected=digest[:12])


def _rebuild(tx: Tx, packed: bytes) -> bytes:
    """The canonical document of a manifest, none where it cannot be had."""
    try:
        keys, view = manifest.unpack(packed)
        return manifest.join(blobs.read(tx, keys), view)
    except (ValueError, LookupError, zstandard.ZstdError):
        return b""
