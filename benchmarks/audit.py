"""What the audit log costs: rows appended, given their places in the tree, signed and verified, each with a floor in
the run: ``python -m benchmarks.audit [--rows N] [--postgres URL]``.

Floors: SHA-256 over the same bytes; SQLite alone reading the same rows; the same transaction without
its audit row."""

import argparse
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

from sqlalchemy import insert

from lastgood.access.log import checking, exports, rows, tree
from lastgood.access.log.merkle import HASH
from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import Store, open_store
from lastgood.db.tx import Tx
from lastgood.settings import Settings

_IN_ONE = 1000
_SINGLE = 1000
_MOST_PLAIN = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--postgres", default="", help="URL of an empty database instead of SQLite")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home", database=options.postgres)
        store = open_store(settings)
        for row in measure(store, options.rows, Path(folder)):
            print(" | ".join(row), flush=True)
        print(f"load {os.getloadavg()[0]:.0f}")
        store.close()


def measure(store: Store, count: int, folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """Each measure with its floor."""
    with_audit = rate(_SINGLE, lambda: each(store, _SINGLE, 1, partial(one, audited=True)))
    without = rate(_SINGLE, lambda: each(store, _SINGLE, 1, partial(one, audited=False)))
    yield "one row and its audit row in a transaction", said(with_audit), "without the audit row", said(without)
    appended = rate(count, lambda: each(store, count, _IN_ONE, many))
    plainest = min(count, _MOST_PLAIN)
    plain = rate(plainest, lambda: plainly(store, plainest))
    yield f"appended, {_IN_ONE} in a transaction", said(appended), "the bare INSERT of such rows", said(plain)
    whole = count + _SINGLE
    placed = rate(whole, lambda: tree.sequence_all(store))
    with store.read() as tx:
        size = tree.size(tx)
        canonical = [row for begin in range(0, size, rows.BATCH) for row in rows.span(tx, begin, begin + rows.BATCH)]
    hashed = rate(size, lambda: [sha256(row).digest() for row in canonical])
    yield "given their places, tiles written", said(placed), "SHA-256 over the same bytes", said(hashed)
    signed = timed(lambda: tree.sign_now(store))
    yield "a checkpoint signed, shown to extend the last", f"{signed * 1000:.1f} ms", "", ""
    verified = rate(size, lambda: good(store))
    yield "verified in the store, columns too", said(verified), *reading(store)
    path = folder / "export"
    exported = rate(size, lambda: export(store, path))
    offline = rate(size, lambda: good_export(path))
    yield "exported", said(exported), "", ""
    yield "the export verified offline", said(offline), "SHA-256 over the same bytes", said(hashed)
    with store.read() as tx:
        proof = timed(lambda: [tree.prove_place(tx, place) for place in range(0, size, max(1, size // 1000))])
    yield "an inclusion proof from the store", f"{proof:.2f} ms", "", ""


def each(store: Store, count: int, step: int, work: Callable[[Tx, int], None]) -> None:
    for at in range(0, count, step):
        store.write(lambda tx, at=at: work(tx, at))  # type: ignore[misc]


def one(tx: Tx, at: int, audited: bool) -> None:
    audit.emit(tx, "bench", "x", {"at": at})
    if audited:
        append(tx, at)


def many(tx: Tx, begin: int) -> None:
    for at in range(begin, begin + _IN_ONE):
        append(tx, at)


def append(tx: Tx, at: int) -> None:
    path = f"/v1/workflows/wf-{at % 5000}"
    who = Principal(f"u{at % 1000}", "person", f"rq-{at:016x}", "10.0.0.1", frozenset(), "GET", path)
    audit.append(tx, who, "workflow:read", f"workflow:wf-{at % 5000}", before=f"{at:064x}")


def plainly(store: Store, count: int) -> None:
    """The same rows, made before, by SQLAlchemy's own way for many; then they are taken away again."""
    with store.read() as tx:
        row = dict(tx.connection.execute(t.audit.select().limit(1)).one()._mapping)
    row.pop("pk")
    statement = insert(t.audit)

    def work(tx: Tx) -> None:
        for _ in range(_IN_ONE):
            tx.connection.execute(statement, row)

    class Over(Exception):
        pass

    def undone(tx: Tx) -> None:
        for _ in range(count // _IN_ONE):
            work(tx)
        raise Over

    try:
        store.write(undone)
    except Over:
        return


def good(store: Store) -> None:
    assert checking.verify(store).good


def good_export(path: Path) -> None:
    assert exports.verify(path)[0].good


def export(store: Store, path: Path) -> None:
    head = tree.sign_now(store)
    keys = tree.verifiers(store.ring, tree.origin(store.settings, store.ring))
    with store.read() as tx:
        read = tree.Tiles(tx)
        exports.write(
            path, head.note, keys, lambda level, number, width: read(level, number)[: width * HASH],
            lambda begin, end: rows.stream(store, begin, end), 0, head.size,
        )  # fmt: skip


def reading(store: Store) -> tuple[str, str]:
    """SQLite alone, reading the same columns of the same rows."""
    if store.postgres:
        return "", ""
    connection = sqlite3.connect(store.settings.home / "lastgood.db")
    query = "SELECT place, canonical, at, actor, action, resource, result, reason, code FROM audit ORDER BY place"
    count = connection.execute("SELECT count(*) FROM audit").fetchone()[0]
    read = rate(count, lambda: sum(1 for _ in connection.execute(query)))
    connection.close()
    return "SQLite alone reads them", said(read)


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def rate(count: int, work: Callable[[], object]) -> float:
    return count / timed(work)


def said(rate: float) -> str:
    return f"{rate:,.0f}"


if __name__ == "__main__":
    main()
