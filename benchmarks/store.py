"""What a version costs on disk and what reading one takes, beside zstd per version and git on the same data in the
same run; and what blame takes: ``python -m benchmarks.store [--versions N] [--plain-versions N] [--git-versions N]``.

The data: workflows of 40 nodes and 58 KB of canonical JSON, 100 versions each, 1 to 3 nodes changed per version, the
versions of all workflows in turn. Texts are made of invented words with the frequencies of a natural language."""

import argparse
import hashlib
import random
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import batched, pairwise
from pathlib import Path
from typing import Any

import orjson
import zstandard
from rich.console import Console
from rich.table import Table

from lastgood import dsl
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import open_store
from lastgood.db.tx import Tx
from lastgood.history import blame, blobs, content, versions, workflows
from lastgood.settings import Settings

_PER_WORKFLOW = 100
_NODES = 40
_READS = 1_000
_GIT_READS = 30
_ROUNDS = 25  # half a minute: on a shared machine the quiet times come and go
_BATCH = 200
_KINDS = ("llm", "code", "if-else", "http-request", "template-transform", "knowledge-retrieval")


class Words:
    """Text with the frequencies of a natural language, from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        syllables = [a + b for a in "bcdfglmnprstv" for b in ("a", "e", "i", "o", "u", "an", "er", "in", "or")]
        self.words = [
            "".join(self.random.choices(syllables, k=self.random.choice((1, 2, 2, 3)))) for _ in range(6000)
        ]
        self.weights = [1 / (rank + 3) for rank in range(len(self.words))]
        totals = []
        total = 0.0
        for weight in self.weights:
            total += weight
            totals.append(total)
        self.totals = totals

    def text(self, number: int) -> str:
        """`number` words."""
        return " ".join(self.random.choices(self.words, cum_weights=self.totals, k=number))


def node(words: Words, number: int, length: int) -> dict[str, Any]:
    """A node as an editor leaves it, with a prompt of `length` words."""
    kind = "start" if number == 0 else words.random.choice(_KINDS)
    x, y = 80 + 304 * number, words.random.randrange(100, 900)
    id = str(1_700_000_000_000 + words.random.randrange(10**11))
    return {
        "id": id,
        "type": "custom",
        "position": {"x": x, "y": y},
        "positionAbsolute": {"x": x, "y": y},
        "width": 244,
        "height": 90,
        "selected": False,
        "sourcePosition": "right",
        "targetPosition": "left",
        "data": {
            "type": kind,
            "title": words.text(2),
            "desc": "",
            "selected": False,
            "model": {
                "provider": "langgenius/openai/openai",
                "name": "large",
                "mode": "chat",
                "completion_params": {"temperature": 0.7},
            },
            "prompt_template": [{"id": f"{id}-system", "role": "system", "text": words.text(length)}],
            "context": {"enabled": False, "variable_selector": []},
            "vision": {"enabled": False},
            "variables": [{"variable": words.text(1), "value_selector": [id, "text"]}],
        },
    }


def document(words: Words, nodes: int, length: int) -> dict[str, Any]:
    """A chain of `nodes` nodes."""
    parts = [node(words, number, length) for number in range(nodes)]
    edges = [
        {
            "id": f"{a['id']}-source-{b['id']}-target",
            "source": a["id"],
            "target": b["id"],
            "sourceHandle": "source",
            "targetHandle": "target",
            "type": "custom",
            "zIndex": 0,
            "data": {"sourceType": a["data"]["type"], "targetType": b["data"]["type"], "isInIteration": False},
        }
        for a, b in pairwise(parts)
    ]
    return {
        "app": {"mode": "workflow", "name": words.text(2), "icon": "🤖", "description": words.text(12)},
        "kind": "app",
        "version": "0.6.0",
        "dependencies": [],
        "workflow": {
            "graph": {"nodes": parts, "edges": edges, "viewport": {"x": 0, "y": 0, "zoom": 1}},
            "features": {"opening_statement": "", "file_upload": {"enabled": False}},
            "environment_variables": [{"name": words.text(1), "value": words.text(3), "value_type": "string"}],
            "conversation_variables": [],
        },
    }


def change(words: Words, before: dict[str, Any]) -> dict[str, Any]:
    """The next version: in one to three nodes a few words of the prompt are others; the canvas has moved."""
    nodes = list(before["workflow"]["graph"]["nodes"])
    for place in words.random.sample(range(len(nodes)), words.random.randint(1, 3)):
        old = nodes[place]
        prompt = old["data"]["prompt_template"][0]
        said = prompt["text"].split(" ")
        start = words.random.randrange(len(said))
        said[start : start + words.random.randint(1, 20)] = words.text(words.random.randint(1, 20)).split(" ")
        new = {**prompt, "text": " ".join(said)}
        nodes[place] = {**old, "data": {**old["data"], "prompt_template": [new]}}
    view = {"x": words.random.uniform(-900, 900), "y": words.random.uniform(-400, 400), "zoom": 0.75}
    graph = {**before["workflow"]["graph"], "nodes": nodes, "viewport": view}
    return {**before, "workflow": {**before["workflow"], "graph": graph}}


def history(number: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """`number` versions of as many workflows as have 100 each: (workflow, document)."""
    words = Words(1)
    count = max(1, number // _PER_WORKFLOW)
    now = [document(words, _NODES, 103) for _ in range(count)]
    for turn in range(number):
        place = turn % count
        if turn >= count:
            now[place] = change(words, now[place])
        yield place, now[place]


@dataclass
class Row:
    """One layout: bytes of JSON and on disk, seconds of writing, and random reads in milliseconds."""

    name: str
    versions: int
    json: int
    disk: int
    seconds: float
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


def _quietest(work: Callable[[Any], object], chosen: list[Any]) -> list[float]:
    """The times of the round with the lowest median: other work on the machine only ever adds to one."""
    return min((_timed(work, chosen) for _ in range(_ROUNDS)), key=statistics.median)


def ours(home: Path, number: int, archive: bool) -> list[Row]:
    """The store of this project, as a server fills it: a dictionary is learnt when there is enough to learn from."""
    store = open_store(Settings(home=home))
    empty = _used(home / "lastgood.db")
    names: list[str] = []
    size = 0
    seconds = 0.0
    for some in batched(history(number), _BATCH):
        begun = time.perf_counter()
        names += store.write(partial(_write, some))
        blobs.maintain(store)
        seconds += time.perf_counter() - begun
        size += sum(len(dsl.canonical(data)) for _, data in some)
    chosen = random.Random(2).choices(names, k=_READS)

    def row(name: str, whole: bool = False) -> Row:
        with store.read() as tx:
            reads = _quietest(lambda digest: content.read_content(tx, digest, digest, whole=whole), chosen)
        return Row(name, number, size, _used(home / "lastgood.db") - empty, seconds, reads)

    rows = [row("blobs and manifests"), row("the same, digest checked too", whole=True)]
    if archive:
        begun = time.perf_counter()
        for part in batched(names[: number * 9 // 10], _BATCH):
            store.write(partial(_archive, part))
        seconds = time.perf_counter() - begun
        rows.append(row("the same, 90 % archived"))
    with store.read() as tx:
        tables = (t.blob, t.content, t.archive, t.dictionary)
        parts = {table.name: _bodies(tx, table) for table in tables}
    _print_parts(parts, number)
    store.close()
    return rows


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


def _print_parts(parts: dict[str, tuple[int, int]], number: int) -> None:
    for name, (count, total) in parts.items():
        print(f"  {name}: {count:,} rows, bodies {total / number:,.0f} bytes a version", flush=True)


def plain(home: Path, number: int) -> Row:
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
    reads = _quietest(read, chosen)
    parsed = statistics.median(_timed(orjson.loads, [body] * 200))
    print(f"  (orjson.loads of one document alone: {parsed:.2f} ms)")
    connection.close()
    return Row("zstd per version", number, size, _used(home / "plain.db"), seconds, reads)


def git(home: Path, number: int) -> Row:
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

    reads = _quietest(read, wanted)
    return Row("git, packed by gc", number, size, disk, seconds, reads)


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
        table = Table("layout", "versions", "JSON each", "bytes each on disk", "write ms", "read p50 ms", "p99 ms")
        rows = ours(home / "store", flags.versions, flags.archive)
        if in_plain:
            rows.append(plain(home / "plain", in_plain))
        if in_git:
            rows.append(git(home / "git", in_git))
        for row in rows:
            p50, p99 = statistics.median(row.reads), statistics.quantiles(row.reads, n=100)[98]
            numbers = (row.versions, row.json // row.versions, row.disk // row.versions)
            times = (row.seconds / row.versions * 1000, p50, p99)
            table.add_row(row.name, *(f"{n:,}" for n in numbers), *(f"{n:.2f}" for n in times))
        Console().print(table)
        blame_seconds(home / "blame", 1_000, 100)
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
