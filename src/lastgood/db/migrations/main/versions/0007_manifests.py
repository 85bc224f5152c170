"""Manifests in a form that is read faster and may hold a view: those that are stored are written anew.

Both forms are written out here: later code may store things otherwise, and this must go on making what revision 0007
means."""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import sqlalchemy as sa
import zstandard
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_LEVEL = 9
_MOST = 2**24
_CHUNK = 500


def upgrade() -> None:
    connection = op.get_bind()
    for name in ("content", "archive"):
        table = sa.table(name, sa.column("digest", sa.LargeBinary()), sa.column("body", sa.LargeBinary()))
        mend = sa.update(table).where(table.c.digest == sa.bindparam("of")).values(body=sa.bindparam("anew"))
        for some in _stored(connection, table):
            # What is damaged already stays as it is, and reads as damaged.
            read = [(digest, keys) for digest, body in some if (keys := _keys(body)) is not None]
            if read:
                connection.execute(mend, [{"of": digest, "anew": _manifest(keys)} for digest, keys in read])


def _stored(connection: sa.Connection, table: Any) -> Iterator[Sequence[Any]]:
    page = sa.select(table.c.digest, table.c.body).order_by(table.c.digest).limit(_CHUNK)
    after = b""
    while rows := connection.execute(page.where(table.c.digest > after)).all():
        yield rows
        after = rows[-1].digest


def _keys(stored: bytes) -> list[int] | None:
    """The keys in a manifest of revision 0002, None where it is damaged."""
    body = stored[4:]
    if len(body) < 2 or stored[:4] != hashlib.sha256(body).digest()[:4]:
        return None
    written = body[1:]
    if body[:1] == b"\1":
        if zstandard.frame_content_size(written) > _MOST:
            return None
        written = zstandard.decompress(written, max_output_size=_MOST)
    keys: list[int] = []
    last = value = shift = 0
    for byte in written:
        value += (byte & 127) << shift
        shift += 7
        if byte < 128:
            last += -(value + 1 >> 1) if value & 1 else value >> 1
            keys.append(last)
            value = shift = 0
    return keys


def _manifest(keys: Sequence[int]) -> bytes:
    least = min(keys)
    width = max(1, ((max(keys) - least).bit_length() + 7) // 8)
    steps = [key - last & (1 << 8 * width) - 1 for last, key in pairwise((least, *keys))]
    words = struct.pack(f"<{len(steps)}Q", *steps)
    plain = struct.pack("<QBI", least, width, len(keys)) + b"".join(words[at::8] for at in range(width))
    packed = zstandard.compress(plain, _LEVEL)
    body = b"\3" + packed if len(packed) < 0.75 * len(plain) else b"\2" + plain
    return hashlib.sha256(body).digest()[:4] + body
