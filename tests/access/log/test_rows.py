"""Which rows a reader gets, and from where on the next ones."""

from lastgood.access.log import rows, tree
from lastgood.db import audit
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx


def test_a_filter_means_what_it_says_on_each_store(store: Store) -> None:
    def work(tx: Tx) -> None:
        for resource in ("person/ann", "person/Ann", "person/ann/key", "person/a_n", "person/anna"):
            audit.append(tx, Principal("u1"), "access:read", resource)

    store.write(work)
    for resource, count in (
        ("person/ann", 2),
        ("person/ann*", 3),
        ("person/a_n*", 1),
        ("person/*", 5),
        ("Person/*", 0),
    ):
        with store.read() as tx:
            assert len(rows.page(tx, rows.Filter(resource=resource), limit=9)[0]) == count, resource


def test_a_reader_looks_at_no_row_again_that_it_does_not_want(store: Store) -> None:
    def work(tx: Tx) -> None:
        for number in range(9):
            audit.append(tx, Principal("u1"), "workflow:read", "x", result="denied" if number % 4 == 1 else "allowed")

    store.write(work)
    tree.sequence_all(store)
    denied = rows.Filter(result="denied")
    with store.read() as tx:
        for begin, limit, places, following in ((0, 9, [1, 5], 9), (0, 2, [1, 5], 6), (6, 2, [], 9), (9, 2, [], 9)):
            found, place = rows.after(tx, denied, begin, 9, limit=limit)
            assert ([one["place"] for one in found], place) == (places, following)
        assert rows.after(tx, denied, 0, 3)[1] == 3, "later ones have not got their places yet"
