"""Content in parts: every stored document is cut into blobs that versions share, and a manifest that names them.

What is here is the form of this revision, written out: later code may store things otherwise, and this must go on
making what revision 0002 means."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import sqlalchemy as sa
import zstandard
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ONE, _MANY = orjson.Fragment(b"\0"), orjson.Fragment(b"[\1]")
_LEVEL = 9
_DICTIONARY = 64 * 2**10
_FEWEST, _SAMPLES, _LONGEST = 1_000, 8_000, 32 * 2**10
_MOST = 2**27
_CHUNK = 200

_HELD = ("content", "archive")


def upgrade() -> None:
    op.create_table(
        "dictionary",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dictionary")),
    )
    op.create_table(
        "blob",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("address", sa.BigInteger(), nullable=False),
        sa.Column("dictionary_id", sa.Integer(), nullable=True),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["dictionary_id"], ["dictionary.id"], name=op.f("fk_blob_dictionary_id_dictionary")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_blob")),
    )
    with op.batch_alter_table("blob", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_blob_address"), ["address"], unique=False)
    for name in _HELD:
        op.rename_table(name, f"{name}_0001")
        if op.get_bind().dialect.name == "postgresql":  # where names of constraints are one for all tables
            op.execute(f"ALTER TABLE {name}_0001 DROP CONSTRAINT pk_{name}")
        op.create_table(
            name,
            sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
            sa.Column("size", sa.Integer(), nullable=False),
            sa.Column("body", sa.LargeBinary(), nullable=False),
            sa.PrimaryKeyConstraint("digest", name=op.f(f"pk_{name}")),
        )
    _Conversion(op.get_bind()).run()
    for name in _HELD:
        op.drop_table(f"{name}_0001")


class _Conversion:
    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.blobs: dict[bytes, int] = {}  # the whole SHA-256 of a part → its key
        self.dictionary: int | None = None
        self.packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)

    def run(self) -> None:
        self._train()
        for name in _HELD:
            table = sa.table(name, sa.column("digest"), sa.column("size"), sa.column("body"))
            rows = []
            for digest, size, stored in self._stored(name):
                body = _open(stored, digest)
                # What is damaged already stays as it is, and reads as damaged.
                manifest = stored if body is None else _manifest(self._keep(_split(body)))
                rows.append({"digest": bytes.fromhex(digest), "size": size, "body": manifest})
                if len(rows) == _CHUNK:
                    self.connection.execute(sa.insert(table), rows)
                    rows = []
            if rows:
                self.connection.execute(sa.insert(table), rows)
        if self.blobs and self.connection.dialect.name == "postgresql":
            self.connection.execute(
                sa.text("SELECT setval(pg_get_serial_sequence('blob', 'pk'), :last)"), {"last": len(self.blobs)}
            )

    def _stored(self, name: str) -> Iterator[tuple[str, int, bytes]]:
        """What revision 0001 stored, in the order of the versions, so that the parts of one workflow lie together."""
        order = sa.text(
            f"SELECT held.digest FROM {name}_0001 AS held LEFT JOIN snapshot ON snapshot.digest = held.digest"
            " GROUP BY held.digest ORDER BY min(snapshot.pk)"
        )
        digests = list(self.connection.execute(order).scalars())
        one = sa.text(f"SELECT digest, size, body FROM {name}_0001 WHERE digest = :digest")
        for digest in digests:
            row = self.connection.execute(one, {"digest": digest}).one()
            yield row.digest, row.size, bytes(row.body)

    def _train(self) -> None:
        """Make a dictionary where there is enough to learn from."""
        samples: dict[bytes, bytes] = {}
        for name in _HELD:
            for digest, _, stored in self._stored(name):
                if len(samples) >= _SAMPLES:
                    break
                parts = _split(_open(stored, digest) or b"{}")
                samples |= {hashlib.sha256(part).digest(): part for part in parts if 8 <= len(part) <= _LONGEST}
        if len(samples) < _FEWEST:
            return
        try:
            body = zstandard.train_dictionary(_DICTIONARY, list(samples.values())).as_bytes()
        except zstandard.ZstdError:
            return  # there is nothing to be learnt from these, and plain blobs will do
        self.dictionary = int.from_bytes(hashlib.sha256(body).digest()[:4], "big") >> 1
        trained = zstandard.ZstdCompressionDict(body)
        trained.precompute_compress(level=_LEVEL)
        self.packer = zstandard.ZstdCompressor(
            level=_LEVEL, dict_data=trained, write_checksum=True, write_dict_id=False
        )
        table = sa.table("dictionary", *map(sa.column, ("id", "seen", "created_at", "body")))
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        row = {"id": self.dictionary, "seen": len(samples), "created_at": now, "body": body}
        self.connection.execute(sa.insert(table), row)

    def _keep(self, parts: list[bytes]) -> list[int]:
        new, keys = [], []
        for part in parts:
            digest = hashlib.sha256(part).digest()
            if digest not in self.blobs:
                self.blobs[digest] = len(self.blobs) + 1
                address = int.from_bytes(digest[:8], "big", signed=True)
                row: dict[str, Any] = {"pk": self.blobs[digest], "address": address}
                row |= {"dictionary_id": self.dictionary, "level": _LEVEL, "body": self.packer.compress(part)}
                new.append(row)
            keys.append(self.blobs[digest])
        if new:
            table = sa.table("blob", *map(sa.column, ("pk", "address", "dictionary_id", "level", "body")))
            self.connection.execute(sa.insert(table), new)
        return keys


def _open(stored: bytes, digest: str) -> bytes | None:
    """The canonical document in a row of revision 0001, None where it is damaged."""
    try:
        if zstandard.frame_content_size(stored) > _MOST:
            return None
        body = zstandard.decompress(stored, max_output_size=_MOST)
    except zstandard.ZstdError:
        return None
    return body if hashlib.sha256(body).hexdigest() == digest else None


def _split(body: bytes) -> list[bytes]:
    """The skeleton of a canonical document, and its parts."""
    parts: list[bytes] = []
    skeleton = _write(_cut(orjson.loads(body), ("workflow", "graph"), parts))
    if skeleton.count(b"\0") == 0 and b"\1" not in skeleton:
        return [body]
    # A document with numbers that are written otherwise today is kept in one piece.
    return [skeleton, *parts] if _join(skeleton, parts) == body else [body]


def _cut(value: dict[str, Any], way: tuple[str, ...], parts: list[bytes]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key in sorted(value):
        item = value[key]
        if not item or not isinstance(item, dict | list):
            kept[key] = item
        elif way and key == way[0] and isinstance(item, dict):
            kept[key] = _cut(item, way[1:], parts)
        elif not way and key == "nodes" and isinstance(item, list):
            parts += map(_write, item)
            kept[key] = _MANY
        else:
            parts.append(_write(item))
            kept[key] = _ONE
    return kept


def _write(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _join(skeleton: bytes, parts: list[bytes]) -> bytes:
    nodes = len(parts) - skeleton.count(b"\0")
    between = skeleton.replace(b"\1", b",".join([b"\0"] * nodes)).split(b"\0")
    whole = [b""] * (2 * len(parts) + 1)
    whole[::2] = between
    whole[1::2] = parts
    return b"".join(whole)


def _manifest(keys: list[int]) -> bytes:
    written = bytearray()
    last = 0
    for key in keys:
        step, last = key - last, key
        left = step << 1 if step >= 0 else (-step << 1) - 1
        while left > 127:
            written.append(left & 127 | 128)
            left >>= 7
        written.append(left)
    plain = bytes(written)
    packed = zstandard.compress(plain, _LEVEL)
    body = b"\1" + packed if len(packed) < len(plain) else b"\0" + plain
    return hashlib.sha256(body).digest()[:4] + body
