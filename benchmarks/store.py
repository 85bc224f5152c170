"""What a version costs on disk and what reading one takes, beside zstd per version and git on the same data in the
same run; and what blame takes: ``python -m benchmarks.store [--versions N] [--plain-versions N] [--git-versions N]``.
The data is that of `histories`."""

import argparse
import hashlib
import random
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import batched, islice
from pathlib import Path
from typing import Any

import orjson
import zstandard
from rich.console import Console
from rich.table import Table

from benchmarks.histories import Words, change, document, history
from lastgood import dsl
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import open_store
from lastgood.db.tx import Tx
from lastgood.history import blame, blobs, content, versions, workflows
from lastgood.settings import Settings

_READS = 1_000
_GIT_READS = 30
_ROUNDS = 25  # half a minute: on a shared machine the quiet times come and go
_BATCH = 200


@dataclass
class Layout:
    """A way to keep the versions: bytes of JSON and on disk, seconds of writing, how to read one, those to be read,
    and what that took, in milliseconds."""

    name: str
    versions: int
    json: int
    disk: int
    seconds: float
    read: Callable[[Any], object]
    chosen: list[Any]
    reads: list[float]


def _used(path: Path) -> int:
    """Bytes of a SQLite file that hold something."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def _timed(work: Callable[[Any], object], chosen: list[Any]) -> list[float]:
    times = []
    for one in chosen:
        begun = time.perf_counter()
        held = work(one)
        times.append((time.perf_counter() - begun) * 1000)
        del held  # a read ends with the document in hand; letting go of it is not reading
    return times


def read_by_turns(layouts: list[Layout]) -> None:
    """Read from each, round by round, and keep the times of its quietest round: other work on the machine only ever
    adds, and comes and goes."""
    for _ in range(_ROUNDS):
        for layout in layouts:
            times = _timed(layout.read, layout.chosen)
            if not layout.reads or statistics.median(times) < statistics.median(layout.reads):
                layout.reads = times


class Ours:
    """The store of this project, as a server fills it: a dictionary is learnt when there is enough to learn from."""

    def __init__(self, home: Path, number: int) -> None:
        self.path = home / "lastgood.db"
        self.store = open_store(Settings(home=home))
        self.empty = _used(self.path)
        self.names: list[str] = []
        self.json = 0
        self.seconds = 0.0
        for some in batched(history(number), _BATCH):
            begun = time.perf_counter()
            self.names += self.store.write(partial(_write, some))
            blobs.maintain(self.store)
            self.seconds += time.perf_counter() - begun
            self.json += sum(len(dsl.canonical(data)) for _, data in some)

    def layout(self, tx: Tx, name: str, *, whole: bool = False) -> Layout:
        """How it is now, read in `tx`; with `whole` the digest is checked too."""
        return Layout(
            name,
            len(self.names),
            self.json,
            _used(self.path) - self.empty,
            self.seconds,
            lambda digest: content.read_content(tx, digest, digest, whole=whole),
            random.Random(2).choices(self.names, k=_READS),
            [],
        )

    def archive(self) -> None:
        """Archive nine of ten."""
        begun = time.perf_counter()
        for part in batched(self.names[: len(self.names) * 9 // 10], _BATCH):
            self.store.write(partial(_archive, part))
        self.seconds = time.perf_counter() - begun

    def print_parts(self, tx: Tx) -> None:
        """What the tables hold."""
        for table in (t.blob, t.content, t.archive, t.dictionary):
            count, total = _bodies(tx, table)
            size = total / len(self.names)
            print(f"  {table.name}: {count:,} rows, bodies {size:,.0f} bytes a version", flush=True)


def _write(some: tuple[tuple[int, dict[str, Any]], ...], tx: Tx) -> list[str]:
    return [content.write_content(tx, dsl.Document(data)) for _, data in some]


def _archive(digests: tuple[str, ...], tx: Tx) -> None:
    for digest in digests:
        content.archive_content(tx, digest, digest)


def _bodies(tx: Tx, table: Any) -> tuple[int, int]:
    count, total = tx.connection.exec_driver_sql(
        f"SELECT count(*), coalesce(sum(length(body)), 0) FROM {table.name}"
    ).one()
    return int(count), int(total)


def plain(home: Path, number: int) -> Layout:
    """The whole document compressed, version by version, in a SQLite table."""
    home.mkdir()
    connection = sqlite3.connect(home / "plain.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE content (digest BLOB PRIMARY KEY, body BLOB)")
    names: list[bytes] = []
    size = 0
    begun = time.perf_counter()
    for some in batched(history(number), _BATCH):
        with connection:
            for _, data in some:
                body = dsl.canonical(data)
                size += len(body)
                names.append(hashlib.sha256(body).digest())
                row = (names[-1], zstandard.compress(body, 3))
                connection.execute("INSERT OR IGNORE INTO content VALUES (?, ?)", row)
    seconds = time.perf_counter() - begun

    def read(digest: bytes) -> object:
        (packed,) = connection.execute("SELECT body FROM content WHERE digest = ?", (digest,)).fetchone()
        return orjson.loads(zstandard.decompress(packed))

    chosen = random.Random(2).choices(names, k=_READS)
    return Layout("zstd per version", number, size, _used(home / "plain.db"), seconds, read, chosen, [])


def parsing(number: int) -> Layout:
    """No store at all: the floor that every read stands on."""
    bodies = [dsl.canonical(data) for _, data in islice(history(number), _READS)]
    return Layout("orjson.loads alone", len(bodies), sum(map(len, bodies)), 0, 0.0, orjson.loads, bodies, [])


def git(home: Path, number: int) -> Layout:
    """One commit for each version, a branch for each workflow; packed again and by `git gc`."""
    subprocess.run(["git", "init", "-q", "--bare", str(home)], check=True)
    size = 0
    last: dict[int, int] = {}
    begun = time.perf_counter()
    importing = subprocess.Popen(["git", "-C", str(home), "fast-import", "--quiet"], stdin=subprocess.PIPE)
    assert importing.stdin is not None
    for turn, (place, data) in enumerate(history(number), 1):
        body = dsl.canonical(data)
        size += len(body)
        begins = f"from :{last[place]}\n" if place in last else ""
        head = f"commit refs/heads/wf-{place}\nmark :{turn}\ncommitter a <a> {1_700_000_000 + turn} +0000\ndata 0\n"
        importing.stdin.write(f"{head}{begins}M 644 inline {place}.json\ndata {len(body)}\n".encode() + body + b"\n")
        last[place] = turn
    importing.stdin.close()
    assert importing.wait() == 0
    # What gc does, but with deltas sought anew: those of fast-import are few, and gc keeps to them.
    subprocess.run(["git", "-C", str(home), "repack", "-adfq"], check=True)
    subprocess.run(["git", "-C", str(home), "gc", "--quiet"], check=True)
    seconds = time.perf_counter() - begun
    disk = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    chosen = random.Random(2)
    wanted = []
    for place in chosen.choices(list(last), k=_GIT_READS):
        back = chosen.randrange(number // len(last) - 1)
        name = ["git", "-C", str(home), "rev-parse", f"wf-{place}~{back}:{place}.json"]
        wanted.append(subprocess.run(name, check=True, capture_output=True, text=True).stdout.strip())

    def read(blob: str) -> object:
        show = ["git", "-C", str(home), "cat-file", "blob", blob]
        return orjson.loads(subprocess.run(show, check=True, capture_output=True).stdout)

    return Layout("git, packed by gc", number, size, disk, seconds, read, wanted, [])


def blame_seconds(home: Path, number: int, nodes: int) -> float:
    """What blame of a whole workflow of `nodes` nodes and `number` versions takes."""
    store = open_store(Settings(home=home))
    who, words = Principal("a"), Words(3)
    data = document(words, nodes, 115)
    workflow = store.write(
        lambda tx: workflows.create(tx, who, "long", name="Long", mode="workflow", target="engine")
    )
    for some in batched(range(number), _BATCH):

        def push(tx: Tx, turns: tuple[int, ...] = some) -> None:
            nonlocal data
            for _ in turns:
                versions.push(tx, who, workflow, dsl.Document(data))
                data = change(words, data)

        store.write(push)
    with store.read() as tx:
        begun = time.perf_counter()
        found = blame.blame(tx, workflow)
        seconds = time.perf_counter() - begun
    print(f"blame: {len(found):,} fields of {nodes} nodes in {number:,} versions took {seconds:.2f} s")
    store.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=5_000)
    parser.add_argument("--plain-versions", type=int, help="versions for zstd alone; 0 for none (default: all)")
    parser.add_argument("--git-versions", type=int, help="versions that git gets; 0 for none (default: all)")
    parser.add_argument("--archive", action="store_true", help="archive nine of ten afterwards, and measure again")
    parser.add_argument("--home", type=Path, help="an existing folder for the data")
    flags = parser.parse_args()
    in_plain = flags.versions if flags.plain_versions is None else flags.plain_versions
    in_git = flags.versions if flags.git_versions is None else flags.git_versions
    home = Path(tempfile.mkdtemp(dir=flags.home))
    try:
        store = Ours(home / "store", flags.versions)
        others = [parsing(flags.versions)]
        if in_plain:
            others.append(plain(home / "plain", in_plain))
        if in_git:
            others.append(git(home / "git", in_git))
        with store.store.read() as tx:
            store.print_parts(tx)
            rows = [
                store.layout(tx, "blobs and manifests"),
                store.layout(tx, "the same, digest checked too", whole=True),
                *others,
            ]
            read_by_turns(rows)
        if flags.archive:
            store.archive()
            with store.store.read() as tx:
                store.print_parts(tx)
                rows.append(store.layout(tx, "the first, 90 % archived"))
                read_by_turns(rows[-1:])
        store.store.close()
        Console(width=120).print(_table(rows))
        blame_seconds(home / "blame", 1_000, 100)
    finally:
        shutil.rmtree(home)


def _table(rows: list[Layout]) -> Table:
    """What each takes; how long a read is beside the first one's."""
    table = Table(
        "layout", "versions", "JSON each", "bytes each on disk", "write ms", "read p50 ms", "p99 ms", "ratio"
    )
    first = statistics.median(rows[0].reads)
    for row in rows:
        p50, p99 = statistics.median(row.reads), statistics.quantiles(row.reads, n=100)[98]
        numbers = (row.versions, row.json // row.versions, row.disk // row.versions)
        times = (row.seconds / row.versions * 1000, p50, p99, p50 / first)
        table.add_row(row.name, *(f"{n:,}" for n in numbers), *(f"{n:.2f}" for n in times))
    return table


if __name__ == "__main__":
    main()
