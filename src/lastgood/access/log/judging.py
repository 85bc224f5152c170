"""Are these the rows that were signed? One judgement for the store and for an export: what is trusted is the signed
roots, and nothing else that lies beside the rows."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lastgood.access.log import aligning, merkle
from lastgood.access.log.merkle import HASH, WIDTH, Tile, Wrong
from lastgood.access.log.notes import Checkpoint

_MOST_TOLD = 1000
_SPAN = WIDTH * HASH


@dataclass(frozen=True, slots=True)
class Head:
    """A checkpoint whose signature was found good. `source` says where it comes from; `proof` shows that it extends
    the tree of the size `old`, where it is of more rows than there are to look at. `outside`: it was kept where
    whoever has the rows and the key could not sign another in its place."""

    checkpoint: Checkpoint
    source: str
    old: int | None = None
    proof: tuple[bytes, ...] = ()
    outside: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind`: altered, dropped, inserted, moved (of rows); tile (a hash kept beside them); rewritten (a signed root
    that nothing leads to); column, place, pruned, checkpoint. `place` is the row's, where there is one."""

    kind: str
    place: int | None
    detail: str


@dataclass(slots=True)
class Report:
    """What came of it. The rows from `first` on were looked at, `rows` of them, in a tree of `size`; the heads hold
    for the first `proven`. `heads` were checked."""

    size: int = 0
    first: int = 0
    rows: int = 0
    proven: int = 0
    heads: int = 0
    findings: list[Finding] = field(default_factory=list)
    more: int = 0

    @property
    def good(self) -> bool:
        """Whether nothing was changed."""
        return not self.findings

    @property
    def full(self) -> bool:
        """Whether further findings are only counted."""
        return len(self.findings) >= _MOST_TOLD

    def add(self, kind: str, place: int | None, detail: str) -> None:
        """Tell a finding; after the first thousand they are only counted."""
        if self.full:
            self.more += 1
        else:
            self.findings.append(Finding(kind, place, detail))

    def as_data(self) -> dict[str, Any]:
        """Its JSON form."""
        return {**asdict(self), "good": self.good}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Rows and what lies beside them. `leaves` are the hashes of the rows from the place `first` on, in a row;
    `tiles` the tiles that are kept; `name` tells a row by its index among `leaves`. The rows reach to
    before `end`, else to the last one."""

    size: int
    first: int
    leaves: bytes
    tiles: Mapping[Tile, bytes]
    name: Callable[[int], str] = lambda _: ""
    end: int | None = None


def judge(report: Report, evidence: Evidence, heads: Sequence[Head]) -> None:
    """Look at `evidence`, and tell in `report` whether `heads` hold for it, and what was changed if not."""
    size, first, tiles = evidence.size, evidence.first, evidence.tiles
    end = size if evidence.end is None else evidence.end
    report.size, report.first, report.rows = size, first, len(evidence.leaves) // HASH
    report.heads = len(heads)
    kept = _level(tiles, size)
    rows = kept[: first * HASH] + evidence.leaves + kept[end * HASH :]
    whole = len(rows) == size * HASH
    of_rows = _grown(rows) if whole else {}
    wrong = _failing(of_rows, size, heads) if whole else list(heads)
    report.proven = min(size, max((head.checkpoint.size for head in _without(heads, wrong)), default=0))
    if whole and not wrong:
        _tell_tiles(report, of_rows, tiles, rows, kept)
        unsigned = max(first, report.proven)
        if rows[unsigned * HASH :] != kept[unsigned * HASH :]:
            _tell_rows(report, evidence, kept, range(unsigned, end))
        return
    of_kept = _grown(kept) if len(kept) == size * HASH else {}
    failing = _failing(of_kept, size, heads) if of_kept else list(heads)
    before = len(report.findings)
    _tell_rows(report, evidence, kept, range(first, end))
    if failing:
        _tell_rewritten(report, failing, _without(heads, failing), of_kept, tiles, rows if whole else b"")
    elif len(report.findings) == before:
        report.add("rewritten", None, "the rows do not lead to the signed root")


def kept_from(sealed: bytes) -> int | None:
    """From which place on there are rows, as the row of a pruning says; None for bytes that are no such row."""
    try:
        first = json.loads(sealed)["first"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return first if isinstance(first, int) else None


def _grown(level: bytes) -> dict[Tile, bytes]:
    return merkle.extend(0, [level[at : at + HASH] for at in range(0, len(level), HASH)], merkle.nothing)


def _level(tiles: Mapping[Tile, bytes], size: int) -> bytes:
    """The hashes of all leaves as the tiles have them; zeros for those of a tile that is missing or too short."""
    parts = []
    for number in range(-(-size // WIDTH)):
        width = min(WIDTH, size - number * WIDTH) * HASH
        parts.append(tiles.get((0, number), b"")[:width].ljust(width, b"\x00"))
    return b"".join(parts)


def _failing(tiles: Mapping[Tile, bytes], size: int, heads: Sequence[Head]) -> list[Head]:
    """The heads that do not hold for the tree of `tiles`."""
    return [head for head in heads if _why_not(tiles, size, head)]


def _without(heads: Sequence[Head], others: Sequence[Head]) -> list[Head]:
    known = set(others)  # of files that every checkpoint was appended to there are tens of thousands
    return [head for head in heads if head not in known]


def _why_not(tiles: Mapping[Tile, bytes], size: int, head: Head) -> str:
    said, read = head.checkpoint, merkle.reader(tiles)
    try:
        if said.size <= size:
            return "" if merkle.root(said.size, read) == said.root else "its root is another one"
        if head.old != size:
            return f"there are only {size} rows here, and no proof comes with it that its rows begin with them"
        merkle.check_consistency(size, said.size, head.proof, merkle.root(size, read), said.root)
    except (Wrong, KeyError) as error:
        return str(error)
    return ""


def _tell_tiles(
    report: Report, right: Mapping[Tile, bytes], kept: Mapping[Tile, bytes], rows: bytes, level: bytes
) -> None:
    """Tell the kept tiles that differ from `right`, which the heads prove as far as they reach."""
    for tile, hashes in right.items():
        if kept.get(tile) == hashes:
            continue
        if tile[0] == 0 and (tile[1] + 1) * WIDTH > report.proven:  # beyond the heads nobody knows which is right
            at = max(tile[1] * WIDTH, report.proven) * HASH
            end = tile[1] * _SPAN + len(hashes)
            if rows[tile[1] * _SPAN : at] == level[tile[1] * _SPAN : at] and rows[at:end] != level[at:end]:
                continue
        what = "is missing" if tile not in kept else "was changed"
        report.add(
            "tile", None, f"the tile {merkle.tile_path(*tile)} of hashes {what}; the rows are as they were signed"
        )


def _tell_rows(report: Report, evidence: Evidence, kept: bytes, places: range) -> None:
    """Tell how the rows differ from the kept hashes at `places`."""
    from_place = places.start
    skipped = (from_place - evidence.first) * HASH
    expected = [kept[place * HASH : (place + 1) * HASH] for place in places]
    found = [evidence.leaves[at : at + HASH] for at in range(skipped, len(evidence.leaves), HASH)]
    for one in aligning.compare(expected, found):
        place = None if one.place is None else one.place + from_place
        at = None if one.at is None else one.at + from_place
        name = "" if at is None or report.full else evidence.name(at - evidence.first)  # to look it up takes long
        told = f" ({name})" if name else ""
        match one.kind:
            case "altered":
                report.add("altered", place, f"row {place} was altered; it says now{told or ' something else'}")
            case "dropped":
                report.add("dropped", place, f"row {place} was dropped")
            case "moved":
                report.add("moved", place, f"row {place} was moved: it stands where row {at} belongs{told}")
            case "inserted":
                report.add("inserted", at, f"a row was put in at {at} that the log does not have{told}")


def _tell_rewritten(
    report: Report,
    failing: Sequence[Head],
    holding: Sequence[Head],
    of_kept: Mapping[Tile, bytes],
    tiles: Mapping[Tile, bytes],
    rows: bytes,
) -> None:
    """The hashes beside the rows were changed too. Say which heads fail, and how far the higher hashes narrow it."""
    for head in failing:
        said = head.checkpoint
        if said.size > report.size:
            why = _why_not(of_kept, report.size, head) or "it does not begin with these rows"
            report.add("checkpoint", None, f"the checkpoint of {said.size} rows ({head.source}) does not hold: {why}")
    rewritten = [head for head in failing if head.checkpoint.size <= report.size]
    if not rewritten:
        return
    head = min(rewritten, key=lambda one: one.checkpoint.size)
    end = head.checkpoint.size
    good = max(
        (one.checkpoint.size for one in holding if one.checkpoint.size < end and (one.outside or not head.outside)),
        default=0,
    )
    detail = (
        f"the rows from {good} to {end - 1} do not lead to the root that was signed at {end} ({head.source}):"
        " rows and the hashes kept beside them were changed"
    )
    report.add("rewritten", None, detail)
    # A hash of level 1 that was left as it was still tells which 256 rows it does not fit.
    for (level, number), hashes in of_kept.items():
        if level != 1:
            continue
        held = tiles.get((1, number), b"")
        for at in range(0, min(len(hashes), len(held)), HASH):
            if hashes[at : at + HASH] != held[at : at + HASH]:
                first = (number * WIDTH + at // HASH) * WIDTH
                span = rows[first * HASH : (first + WIDTH) * HASH]
                right = len(span) == _SPAN and merkle.fold(span) == held[at : at + HASH]
                if right or first + WIDTH <= report.first:
                    tile = merkle.tile_path(0, first // WIDTH)
                    report.add(
                        "tile", None, f"the tile {tile} of hashes was changed; its rows were not, or are not here"
                    )
                else:
                    detail = f"among the rows {first} to {first + WIDTH - 1} some were changed, with their hashes"
                    report.add("rewritten", first, detail)
