"""`audit verify` on the store: every row, its columns, the tiles and the signed heads, held to each other."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import orjson
from sqlalchemy import bindparam, func, select

from lastgood.access.log import judging, lines, notes, rows, tree
from lastgood.access.log.judging import Evidence, Report
from lastgood.access.log.merkle import HASH, Tile
from lastgood.access.log.notes import Checkpoint, Proven, Verifier
from lastgood.db import tables as t
from lastgood.db.direct import Direct
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import InvalidCheckpoint

_BATCH = 5000
_A = t.audit
_NAMES = ("at", "actor", "action", "resource", "result", "reason", "code")
_LOWEST = -(2**63)  # somebody may have given a row a place before the first
_ROWS = Direct(
    select(_A.c.place, rows.SEALED, *(_A.c[name] for name in _NAMES))
    .where(_A.c.place >= bindparam("begin"), _A.c.place < bindparam("end"))
    .order_by(_A.c.place)
)
_NEXT = select(func.min(_A.c.place)).where(_A.c.place >= bindparam("begin"))
_ONE = select(rows.SEALED).where(_A.c.place == bindparam("wanted"))


def verify(store: Store, given: Iterable[tuple[str, Proven]] = (), keys: Iterable[Verifier] = ()) -> Report:
    """Look at everything in one view of the store. `given` are checkpoints from elsewhere, with what to call them;
    `keys` are trusted beside those of the key ring.

    Raises `InvalidCheckpoint` for one of `given` whose signature is not good."""
    report = Report()
    tree.sequence_all(store)
    with store.read() as tx:
        trusted = list(keys)
        heads = [_trusted(tx, one, source, trusted) for source, one in given]
        for head in tree.heads(tx):
            try:
                said = tree.opened(tx.ring, head.note)
            except InvalidCheckpoint as error:
                report.add("checkpoint", None, f"the stored checkpoint of {head.size} rows: {error}")
                continue
            if (said.size, said.root) != (head.size, head.root):
                report.add(
                    "checkpoint", None, f"the stored checkpoint of {head.size} rows was changed beside its note"
                )
            heads.append(judging.Head(said, "kept in the store", outside=False))
        size = tree.size(tx)
        tiles = _tiles(tx)
        first = rows.first(tx)
        leaves, places = _leaves(tx, report)
        begin = _begin(tx, report, size if first is None else first)

        def name(index: int) -> str:
            canonical = tx.connection.execute(_ONE, {"wanted": places(index)}).scalar()
            return lines.line_of(bytes(canonical or b""))

        judging.judge(report, Evidence(size, begin, leaves, tiles, name), heads)
        if report.good and leaves and (places(0), places(report.rows - 1)) != (begin, begin + report.rows - 1):
            report.add("place", None, "rows stand in their order and were given other places than they have")
    return report


def _trusted(tx: Tx, one: Proven, source: str, keys: list[Verifier]) -> judging.Head:
    said = Checkpoint.peek(one.note)
    known = [*tree.verifiers(tx.ring, said.origin), *keys]
    return judging.Head(Checkpoint.parse(notes.open_note(one.note, known)), source, one.old, one.proof)


def _begin(tx: Tx, report: Report, first: int) -> int:
    """From which place on there must be rows."""
    said = rows.kept_from(tx)
    if said > first >= 0:
        report.add("pruned", said, f"the rows before {said} were exported and pruned, and some are here again")
        return first
    return said


def _leaves(tx: Tx, report: Report) -> tuple[bytes, Any]:
    """The hashes of all rows that have a place, in order; and what tells the place of each."""
    hashes, gaps = bytearray(), [(0, 0)]  # from this index on, places are ahead of it by so much
    at: int | None = _LOWEST
    while (at := tx.connection.execute(_NEXT, {"begin": at}).scalar()) is not None:
        for place, canonical, *columns in _ROWS.rows(tx, begin=at, end=at + _BATCH):
            index = len(hashes) // HASH
            if place - index != gaps[-1][1]:
                gaps.append((index, place - index))
            hashes += sha256(b"\x00" + canonical).digest()
            _columns(report, place, canonical, columns)
        at += _BATCH

    def place_of(index: int) -> int:
        return index + next(ahead for start, ahead in reversed(gaps) if start <= index)

    return bytes(hashes), place_of


def _columns(report: Report, place: int, canonical: bytes, columns: list[Any]) -> None:
    """Lists and filters read the columns, so they must say what the sealed bytes say."""
    try:
        facts = orjson.loads(canonical)
        sealed = [facts.get(name, "") for name in _NAMES]
    except (orjson.JSONDecodeError, AttributeError):
        return  # those bytes were altered, which their hash shows
    if sealed != columns:
        for name, said, stands in zip(_NAMES, sealed, columns, strict=True):
            if str(said).replace("\0", "\ufffd") != stands:
                detail = f"row {place} is listed with the {name} {stands!r}, and was sealed with {said!r}"
                report.add("column", place, detail)


def _tiles(tx: Tx) -> dict[Tile, bytes]:
    found = tx.connection.execute(select(t.audit_tile)).all()
    return {(row.level, row.number): bytes(row.hashes) for row in found}
