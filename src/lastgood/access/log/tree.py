"""The log's tree in the store: rows are given their places, tiles grow, heads are signed.

A row is written without a place, by whatever transaction does the thing. The sequencer gives places later, in one
transaction with the tiles. Only one works at a time: on SQLite because there is one writer, on PostgreSQL by a lock
on the tiles' table. A crash between the two leaves rows without a place, which the next run gives."""

from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import bindparam, delete, insert, null, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from lastgood.access.log import merkle, notes, rows
from lastgood.access.log.merkle import HASH, WIDTH, Tile
from lastgood.access.log.notes import Checkpoint, Proven, Signer, Verifier
from lastgood.db import tables as t
from lastgood.db.ring import KeyRing
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import InvalidCheckpoint, InvalidRequest, InvalidSetting, LogInconsistent
from lastgood.settings import Settings

BATCH = 10_000
_KEPT = 1000  # signed heads; the root at any other size can be computed again

_A, _T, _C = t.audit, t.audit_tile, t.audit_checkpoint
_LOCK = text("LOCK TABLE audit_tile IN SHARE ROW EXCLUSIVE MODE")
_WAITING = select(_A.c.pk, rows.SEALED).where(_A.c.place == null()).order_by(_A.c.pk).limit(BATCH)
_ANY_WAITING = select(_A.c.pk).where(_A.c.place == null()).limit(1)
_PLACE = update(_A).where(_A.c.pk == bindparam("row")).values(place=bindparam("given"))
# One statement for all rows: a round trip for each would take ten times as long.
_PLACE_ALL = text(
    "UPDATE audit SET place = v.place FROM unnest(:rows, :places) AS v(pk, place) WHERE audit.pk = v.pk"
)
_EDGE = select(_T.c.number, _T.c.hashes).where(_T.c.level == 0).order_by(_T.c.number.desc()).limit(1)
_READ = select(_T.c.hashes).where(_T.c.level == bindparam("level"), _T.c.number == bindparam("number"))
_NEWEST = select(_C).order_by(_C.c.size.desc()).limit(1)
_FIND = select(_C).where(_C.c.size == bindparam("wanted"))
_SIGNED = insert(_C)
_FORGET = delete(_C).where(_C.c.size == bindparam("again"))
_THIN = delete(_C).where(
    _C.c.size < select(_C.c.size).order_by(_C.c.size.desc()).offset(_KEPT).limit(1).scalar_subquery()
)


@dataclass(frozen=True, slots=True)
class Head:
    """A signed head as the store keeps it."""

    size: int
    root: bytes
    note: str
    at: str


class Tiles:
    """The tiles as one transaction sees them, each read once."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._held: dict[Tile, bytes] = {}

    def __call__(self, level: int, number: int) -> bytes:
        tile = (level, number)
        if tile not in self._held:
            found = self._tx.connection.execute(_READ, {"level": level, "number": number}).scalar()
            self._held[tile] = bytes(found or b"")
        return self._held[tile]


def size(tx: Tx) -> int:
    """How many rows have a place."""
    edge = tx.connection.execute(_EDGE).first()
    return 0 if edge is None else edge.number * WIDTH + len(edge.hashes) // HASH


def sequence(tx: Tx) -> int:
    """Give the rows that wait their places, at most `BATCH` of them; gives how many. In a write transaction."""
    if tx.postgres:
        tx.connection.execute(_LOCK)
    found = tx.connection.execute(_WAITING).all()
    if not found:
        return 0
    begin = size(tx)
    leaves = [sha256(b"\x00" + canonical).digest() for _, canonical in found]
    changed = merkle.extend(begin, leaves, Tiles(tx))
    values = [{"level": level, "number": number, "hashes": hashes} for (level, number), hashes in changed.items()]
    tx.connection.execute(_PUT_POSTGRES if tx.postgres else _PUT_SQLITE, values)
    if tx.postgres:
        given = {"rows": [pk for pk, _ in found], "places": list(range(begin, begin + len(found)))}
        tx.connection.execute(_PLACE_ALL, given)
    else:
        tx.connection.execute(_PLACE, [{"row": pk, "given": begin + at} for at, (pk, _) in enumerate(found)])
    return len(found)


def sequence_all(store: Store) -> int:
    """Give every row that waits its place; gives how many. A look that finds none writes nothing."""
    with store.read() as tx:
        if tx.connection.execute(_ANY_WAITING).first() is None:
            return 0
    done = 0
    while True:
        done += (count := store.write(sequence))
        if count < BATCH:
            return done


def origin(settings: Settings, ring: KeyRing) -> str:
    """The name of this log: the setting `audit_origin`, else one made of the oldest key of the ring, which stays when
    keys are changed. Raises `InvalidSetting`, `KeyRingDamaged`."""
    name = (
        settings.audit_origin or f"lastgood/{sha256(Signer('', ring.log_seeds[0]).verifier.public).hexdigest()[:16]}"
    )
    if not notes.is_name(name):
        raise InvalidSetting(name="audit_origin", value=name, reason="it holds a space or a plus sign")
    return name


def verifiers(ring: KeyRing, name: str) -> list[Verifier]:
    """The public keys that may have signed heads of the log `name`, the newest first. Raises `KeyRingDamaged`."""
    return [Signer(name, seed).verifier for seed in reversed(ring.log_seeds)]


def newest(tx: Tx) -> Head | None:
    """The newest signed head."""
    row = tx.connection.execute(_NEWEST).first()
    return None if row is None else Head(row.size, bytes.fromhex(row.root), row.note, row.at)


def heads(tx: Tx) -> list[Head]:
    """Every signed head that is kept, oldest first."""
    rows = tx.connection.execute(select(_C).order_by(_C.c.size)).all()
    return [Head(row.size, bytes.fromhex(row.root), row.note, row.at) for row in rows]


def sign(tx: Tx, name: str) -> Head:
    """The signed head of the tree as it is, made when the newest one is of a smaller tree (or another `name` or key).

    Before it is signed, the tree is shown to extend the one of the newest head, and that head to be ours. Raises
    `LogInconsistent`, `KeyRingDamaged`."""
    if tx.postgres:
        tx.connection.execute(_LOCK)
    signer = Signer(name, tx.ring.log_seeds[-1])
    count, read, last = size(tx), Tiles(tx), newest(tx)
    try:
        root = merkle.root(count, read)
        if last is not None:
            said = opened(tx.ring, last.note)
            if (said.size, said.root) != (last.size, last.root):
                raise merkle.Wrong("what was stored of it and what was signed differ")
            # Both ways: what its leaves hash to now, and the proof that outsiders would ask for.
            if merkle.root(last.size, read) != last.root:
                raise merkle.Wrong("its rows have another tree hash now")
            merkle.check_consistency(last.size, count, merkle.consistency(last.size, count, read), last.root, root)
    except (merkle.Wrong, InvalidCheckpoint) as error:
        raise LogInconsistent(size=last.size if last else 0, reason=str(error).rstrip(".")) from None
    note = signer.sign(Checkpoint(name, count, root).text)
    if last is not None and last.note == note:  # Ed25519 signs one text in one way
        return last
    if last is not None and last.size == count:
        tx.connection.execute(_FORGET, {"again": count})
    tx.connection.execute(_SIGNED, {"size": count, "at": tx.now, "root": root.hex(), "note": note})
    tx.connection.execute(_THIN)
    return Head(count, root, note, tx.now)


def sign_now(store: Store) -> Head:
    """Give rows their places and sign the head, with the newest key that any process gave the ring. Raises what
    `sign` does."""
    sequence_all(store)
    store.ring.reread()
    name = origin(store.settings, store.ring)
    return store.write(lambda tx: sign(tx, name))


def opened(ring: KeyRing, note: str) -> Checkpoint:
    """The checkpoint in a `note` that a key of this ring signed, whatever the log was called then.

    Raises `InvalidCheckpoint`."""
    said = Checkpoint.peek(note)
    return Checkpoint.parse(notes.open_note(note, verifiers(ring, said.origin)))


def prove_place(tx: Tx, place: int, at: int | None = None) -> tuple[int, bytes, list[bytes]]:
    """The size of the tree (of the newest head, or `at`), the hash of the row at `place`, and the path between.

    Raises `InvalidRequest`."""
    whole, read = size(tx), Tiles(tx)
    count = _size(tx, at, whole)
    try:
        path = merkle.inclusion(place, count, read)
    except merkle.Wrong as error:
        raise InvalidRequest(where="place", reason=str(error)) from None
    within = place % WIDTH * HASH
    return count, read(0, place // WIDTH)[within : within + HASH], path


def prove_extends(tx: Tx, old: int, at: int | None = None) -> tuple[int, list[bytes]]:
    """The size of the tree (of the newest head, or `at`), and the proof that it begins with the one of `old`.

    Raises `InvalidRequest`."""
    count = _size(tx, at, size(tx))
    try:
        return count, merkle.consistency(old, count, Tiles(tx))
    except merkle.Wrong as error:
        raise InvalidRequest(where="from", reason=str(error)) from None


def proven(tx: Tx, head: Head, old: int | None) -> Proven:
    """`head` as it is handed out, with the proof that it extends the tree of the size `old` if that is given.

    Raises `InvalidRequest`."""
    return Proven(head.note) if old is None else Proven(head.note, old, tuple(prove_extends(tx, old, head.size)[1]))


def _size(tx: Tx, wanted: int | None, whole: int) -> int:
    if wanted is None:
        head = newest(tx)
        return whole if head is None else head.size
    if not 0 <= wanted <= whole:
        raise InvalidRequest(where="size", reason=f"the log has {whole} rows with a place, not {wanted}")
    return wanted


_PUT_SQLITE = sqlite.insert(_T)
_PUT_SQLITE = _PUT_SQLITE.on_conflict_do_update(
    index_elements=["level", "number"], set_={"hashes": _PUT_SQLITE.excluded.hashes}
)
_PUT_POSTGRES = postgresql.insert(_T)
_PUT_POSTGRES = _PUT_POSTGRES.on_conflict_do_update(
    index_elements=["level", "number"], set_={"hashes": _PUT_POSTGRES.excluded.hashes}
)
