"""What a move costs, beside a bare fsync on the same disk in the same run.

``uv run python -m benchmarks.move [--moves 2000] [--postgres]``

SQLite: a move is `Store.write` around `channels.move` (compare-and-set, move, audit row, event, routing revision),
durable when it returns. PostgreSQL: the same, and then the acknowledgement of two real gateway workers. Goals: SQLite
p50 at most 4 times the fsync and p99 under 5 ms; PostgreSQL p99 under 15 ms. Exit code 1 when one is missed."""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.rule3 import Ground, ground_of, move, postgres
from lastgood.db.store import open_store
from lastgood.server.children import Child, listen
from lastgood.settings import load

_WARM = 100
_RECORD = 4096  # bytes that a commit appends, about


def main() -> int:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=2_000)
    parser.add_argument("--postgres", action="store_true")
    flags = parser.parse_args()
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd())))
        database = stack.enter_context(postgres(home)) if flags.postgres else ""
        settings = load(home=home, database=database)
        store = open_store(settings)
        stack.callback(store.close)
        ground = ground_of(store, "engine")
        if flags.postgres:
            sock = listen("127.0.0.1", 0)
            for _ in range(2):
                worker = Child("gateway", "lastgood.gateway", sock, settings)
                worker.wait_ready()
                stack.callback(worker.stop)
        floor = _timed(_fsync(home), flags.moves)
        moved = _timed(_moving(ground), flags.moves)
    ratio = statistics.median(moved) / statistics.median(floor)
    print(f"{'':32}{'p50 ms':>9}{'p99 ms':>9}")
    for name, times in (("write and fdatasync of 4 KiB", floor), ("move", moved)):
        print(f"{name:32}{statistics.median(times):9.3f}{times[int(len(times) * 0.99)]:9.3f}")
    print(f"a move costs {ratio:.1f} times the fsync; {len(moved)} moves")
    p99 = moved[int(len(moved) * 0.99)]
    missed = p99 >= 15 if flags.postgres else p99 >= 5 or ratio > 4
    return 1 if missed else 0


def _timed(work: Callable[[], None], count: int) -> list[float]:
    """The sorted milliseconds of `count` calls, after some that warm up."""
    times = []
    for number in range(_WARM + count):
        began = time.perf_counter()
        work()
        if number >= _WARM:
            times.append((time.perf_counter() - began) * 1000)
    return sorted(times)


def _fsync(home: Path) -> Callable[[], None]:
    handle = os.open(home / "floor", os.O_WRONLY | os.O_CREAT)
    record = os.urandom(_RECORD)

    def work() -> None:
        os.write(handle, record)
        os.fdatasync(handle)

    return work


def _moving(ground: Ground) -> Callable[[], None]:
    return lambda: move(ground)


if __name__ == "__main__":
    sys.exit(main())
