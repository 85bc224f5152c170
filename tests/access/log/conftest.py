"""A store with audit rows in it, and an export of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lastgood.access.log import exports, rows, tree
from lastgood.access.log.merkle import HASH
from lastgood.db import audit
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx

ACTIONS = ("workflow:read", "workflow:push", "workflow:publish", "access:grant")


def fill(store: Store, count: int) -> None:
    """Append `count` rows, each another one."""

    def work(tx: Tx) -> None:
        for number in range(count):
            who = Principal(f"u{number % 7}", request_id=f"rq-{number}", method="GET", path=f"/v1/things/{number}")
            audit.append(tx, who, ACTIONS[number % 4], f"workflow/wf-{number}", reason="because")

    store.write(work)


def export(store: Store, folder: Path, end: int | None = None) -> tree.Head:
    """Export the log as it is, as the command line does."""
    head = tree.sign_now(store)
    keys = tree.verifiers(store.ring, tree.origin(store.settings, store.ring))

    def tile(level: int, number: int, width: int) -> bytes:
        with store.read() as tx:
            return tree.Tiles(tx)(level, number)[: width * HASH]

    with store.read() as tx:
        first = rows.first(tx) or 0
    last = head.size if end is None else end
    exports.write(folder, head.note, keys, tile, lambda begin, to: rows.stream(store, begin, to), first, last)
    return head


@pytest.fixture
def exported(store: Store, tmp_path: Path) -> Callable[[int], Path]:
    """Exports a log of so many rows."""

    def made(count: int) -> Path:
        fill(store, count)
        export(store, tmp_path / "export")
        return tmp_path / "export"

    return made
