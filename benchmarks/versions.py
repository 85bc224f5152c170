"""Whether a long history costs: a page of the list and a pointer read, at 10 versions and at many.

``uv run python -m benchmarks.versions [--versions 10000]`` pushes that many versions of one workflow (with retention,
as the API does), and prints the rate and the two medians at both lengths in the same run."""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.rule3 import DOCUMENT
from lastgood import dsl
from lastgood.db.audit import Principal
from lastgood.db.store import Store, open_store
from lastgood.history import channels, retention, versions, workflows
from lastgood.history.workflows import Workflow
from lastgood.settings import load

_WHO = Principal("benchmark", "local")
_FEW, _READS, _PAGE = 10, 300, 10


def main() -> int:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=10_000)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        store = open_store(load(home=Path(home)))
        workflow = store.write(lambda tx: workflows.create(tx, _WHO, "long", name="", mode="workflow"))
        _push(store, workflow, range(_FEW))
        few = _medians(store, workflow)
        began = time.perf_counter()
        _push(store, workflow, range(_FEW, flags.versions))
        rate = (flags.versions - _FEW) / (time.perf_counter() - began)
        many = _medians(store, workflow)
        store.close()
    print(f"pushed with retention: {rate:.0f} versions/s")
    print(f"{'median ms':24}{_FEW:>12,}{flags.versions:>12,}{'ratio':>8}")
    for name, before, after in zip(("a page of 10 versions", "the live pointer"), few, many, strict=True):
        print(f"{name:24}{before:12.3f}{after:12.3f}{after / before:8.2f}")
    return 0


def _push(store: Store, workflow: Workflow, numbers: range) -> None:
    for number in numbers:
        document = dsl.parse(DOCUMENT.format(title=f"number {number}"))
        made = store.write(lambda tx, d=document: versions.push(tx, _WHO, workflow, d).version)  # type: ignore[misc]
        store.write(lambda tx: retention.archive_old(tx, _WHO, workflow, 10))
        if number == 0:
            store.write(
                lambda tx, v=made: channels.move(  # type: ignore[misc]
                    tx, _WHO, workflow, channels.ensure(tx, workflow), v, expected=0, kind="publish"
                )
            )


def _medians(store: Store, workflow: Workflow) -> tuple[float, float]:
    """The median milliseconds of a list page and of a pointer read."""

    def page() -> None:
        with store.read() as tx:
            versions.page(tx, workflow, limit=_PAGE)

    def pointer() -> None:
        with store.read() as tx:
            channels.get(tx, workflow)

    return _median(page), _median(pointer)


def _median(work: Callable[[], None]) -> float:
    times = []
    for _ in range(_READS):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
