"""An export of the audit log: a directory that anybody can check with nothing but the public key.

    export.json         which rows are in it: {"first", "end"}
    checkpoint          the signed head (C2SP tlog-checkpoint)
    key                 the public keys that may have signed it, one a line
    tile/0/x001/234     the hashes (C2SP tlog-tiles)
    rows/000000000000.jsonl   the rows from the place that the name says, one JSON object a line

The bytes of a line, without its end, are those that the leaf's hash is made of. An export that was made after a
pruning begins later: a row in it says so, its tiles reach back to the first row, and an older export has the rows."""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from lastgood.access.log import judging, lines, merkle, notes
from lastgood.access.log.judging import Evidence, Report
from lastgood.access.log.merkle import HASH, WIDTH, Tile
from lastgood.access.log.notes import Checkpoint, Proven, Verifier
from lastgood.errors import InvalidExport
from lastgood.files import settle

SEGMENT = 65_536
RANGE, CHECKPOINT, KEY, ROWS, TILES = "export.json", "checkpoint", "key", "rows", "tile"
_PRUNED = b'"action":"audit:prune"'
_SEGMENT = re.compile(r"[0-9]{12}\.jsonl")
_MOST_BYTES = 2**20  # of one line; no row comes near it


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: rows from `first` to before `end`, of a tree of `size`."""

    first: int
    end: int
    size: int


def write(
    folder: Path,
    note: str,
    keys: Iterable[Verifier],
    read_tile: Callable[[int, int, int], bytes],
    read_rows: Callable[[int, int], Iterable[bytes]],
    first: int,
    end: int,
) -> Written:
    """Write an export of the log with the head `note` into `folder`, which must be empty or not there. `read_tile`
    gives a tile of that tree by level, number and width; `read_rows` the rows between two places, in parts that end
    at ends of lines.

    What is on the disk when this returns is whole: the checkpoint is written last. Raises `InvalidExport`."""
    said = Checkpoint.peek(note)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidExport(path=str(folder), reason="something is there already; name a new or empty directory")
        (folder / ROWS).mkdir(parents=True, exist_ok=True)
        for begin in range(first, end, SEGMENT):
            _put(folder / ROWS / f"{begin:012d}.jsonl", read_rows(begin, min(end, begin + SEGMENT)))
        for level, number, width in merkle.tiles_of(said.size):
            _put(folder / TILES / merkle.tile_path(level, number, width), [read_tile(level, number, width)])
        _put(folder / RANGE, [json.dumps({"first": first, "end": end}).encode(), b"\n"])
        _put(folder / KEY, [f"{key.text}\n".encode() for key in keys])
        for made in (folder.parent, folder, *(path for path in folder.rglob("*") if path.is_dir())):
            settle(made)
        _put(folder / CHECKPOINT, [note.encode()])
        settle(folder)
    except OSError as error:
        raise InvalidExport(path=error.filename or str(folder), reason=error.strerror or str(error)) from None
    return Written(first, end, said.size)


def verify(
    folder: Path, given: Iterable[tuple[str, Proven]] = (), keys: Iterable[Verifier] | None = None
) -> tuple[Report, bool]:
    """Look at an export, with the public `keys` that were kept, else with those that lie in it: the second value says
    whether it was so. `given` are checkpoints from elsewhere, with what to call them.

    Raises `InvalidExport`, and `InvalidCheckpoint` for one whose signature is not good."""
    own = keys is None
    known = read_keys(_text(folder, KEY), folder) if keys is None else list(keys)
    note = _text(folder, CHECKPOINT)
    said = Checkpoint.peek(note)
    heads = [
        judging.Head(Checkpoint.parse(notes.open_note(note, _named(known, said))), "in the export", outside=False)
    ]
    for source, one in given:
        trusted = _named(known, Checkpoint.peek(one.note))
        checkpoint = Checkpoint.parse(notes.open_note(one.note, trusted))
        heads.append(judging.Head(checkpoint, source, one.old, one.proof))
    report = Report()
    first, end = _range(folder, said.size)
    leaves, starts, pruned = _leaves(folder, report)
    if any(place != first + index for index, place, _ in starts):
        report.add("place", None, f"the files in {ROWS} do not begin where their names say, or one is missing")
    if first and end == said.size and first not in pruned:
        report.add("pruned", first, f"the rows before {first} are not here, and no row says that they were pruned")
    names = _Names(folder, [(index, name) for index, _, name in starts])
    evidence = Evidence(said.size, first, leaves, _tiles(folder, said.size), names, end)
    judging.judge(report, evidence, heads)
    return report, own


def read_keys(text: str, where: Path) -> list[Verifier]:
    """The public keys in a file, one a line. Raises `InvalidCheckpoint`, `InvalidExport` when there is none."""
    found = [Verifier.parse(line.strip()) for line in text.splitlines() if line.strip()]
    if not found:
        raise InvalidExport(path=str(where), reason="there is no public key in it")
    return found


def _named(keys: Iterable[Verifier], said: Checkpoint) -> list[Verifier]:
    """`keys`, also under the name that the log had when it signed: the key is what is trusted."""
    return [*keys, *(Verifier(said.origin, key.public) for key in keys if key.name != said.origin)]


def _range(folder: Path, size: int) -> tuple[int, int]:
    """Which rows the export says that it holds."""
    try:
        said = json.loads(_text(folder, RANGE))
        first, end = said["first"], said["end"]
        if isinstance(first, int) and isinstance(end, int) and 0 <= first <= end <= size:
            return first, end
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise InvalidExport(path=str(folder / RANGE), reason=f"it names no range of {size} rows")


def _leaves(folder: Path, report: Report) -> tuple[bytes, list[tuple[int, int, str]], set[int | None]]:
    """The hashes of all rows in the order of the files; where among them each file begins, and where it should by its
    name; and from where on rows are kept, as rows of prunings say."""
    try:
        files = sorted(path.name for path in (folder / ROWS).iterdir())
    except OSError as error:
        raise InvalidExport(path=str(folder / ROWS), reason=error.strerror or str(error)) from None
    hashes = bytearray()
    pruned: set[int | None] = set()
    starts: list[tuple[int, int, str]] = []
    for name in files:
        if not _SEGMENT.fullmatch(name):
            report.add("inserted", None, f"{ROWS}/{name!r} is no part of an export")
            continue
        starts.append((len(hashes) // HASH, int(name[:12]), name))
        for line in _lines(folder / ROWS / name):
            hashes += sha256(b"\x00" + line).digest()
            if _PRUNED in line:
                pruned.add(judging.kept_from(line))
    return bytes(hashes), starts, pruned


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(_MOST_BYTES):
            if not line.endswith(b"\n"):
                yield line + b"\n"  # cut, or without its end: another line than was written
                continue
            yield line[:-1]


@dataclass(slots=True)
class _Names:
    """Tells a row by its index among all: what it says now."""

    folder: Path
    starts: list[tuple[int, str]]

    def __call__(self, index: int) -> str:
        begin, name = next(one for one in reversed(self.starts) if one[0] <= index)
        for at, line in enumerate(_lines(self.folder / ROWS / name)):
            if at == index - begin:
                said = lines.line_of(line)
                return f"line {at + 1} of {ROWS}/{name}{': ' if said else ''}{said}"
        return ""


def _tiles(folder: Path, size: int) -> dict[Tile, bytes]:
    found: dict[Tile, bytes] = {}
    for level, number, width in merkle.tiles_of(size):
        try:
            with (folder / TILES / merkle.tile_path(level, number, width)).open("rb") as file:
                found[level, number] = file.read(WIDTH * HASH + 1)
        except OSError:
            continue  # a missing one is told as such
    return found


def _text(folder: Path, name: str) -> str:
    try:
        with (folder / name).open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8")
    except OSError as error:
        raise InvalidExport(path=str(folder / name), reason=error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise InvalidExport(path=str(folder / name), reason="it is not UTF-8 text") from None


def _put(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file that is on the disk when this returns; what `settle` has not seen to is its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
