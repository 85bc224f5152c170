"""The tree in the store: places, tiles and heads, whoever works beside and whatever dies in between."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import ObjectNotExecutableError

from lastgood.access.log import checking, merkle, notes, rows, tree
from lastgood.access.log.notes import Proven, Signer
from lastgood.db import audit, rotation
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.errors import InvalidCheckpoint, InvalidRequest, InvalidSetting, LogInconsistent
from support.scene import ALICE
from support.stores import on_sqlite

from .conftest import fill


def leaves(store: Store) -> list[bytes]:
    with store.read() as tx:
        found = tx.connection.execute(select(t.audit).order_by(t.audit.c.place)).all()
    assert [row.place for row in found] == list(range(len(found)))
    return [merkle.leaf_hash(bytes(row.canonical)) for row in found]


def tamper(store: Store, place: int, /, **values: Any) -> None:
    store.write(lambda tx: tx.connection.execute(update(t.audit).where(t.audit.c.place == place).values(**values)))


def test_rows_get_their_places_in_the_order_they_were_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "BATCH", 100)
    monkeypatch.setattr(tree, "_WAITING", tree._WAITING.limit(100))
    for count in (3, 297, 1):
        fill(store, count)
        assert tree.sequence_all(store) == count
    assert tree.sequence_all(store) == 0
    head = tree.sign_now(store)
    assert (head.size, head.root) == (301, merkle.root_of(leaves(store)))
    with store.read() as tx:
        tiles = {(row.level, row.number): bytes(row.hashes) for row in tx.connection.execute(select(t.audit_tile))}
        assert tree.opened(store.ring, head.note) == notes.Checkpoint(
            tree.origin(store.settings, store.ring), 301, head.root
        )
    assert tiles == merkle.extend(0, leaves(store), merkle.nothing)
    assert tree.sign_now(store) == head, "nothing came, and it was signed again"


def test_many_sequencers_and_writers_at_once_lose_and_double_nothing(
    store: Store, open_again: Callable[[], Store]
) -> None:
    other = open_again()
    done = threading.Event()

    def sequencing(one: Store) -> int:
        count = 0
        while not done.is_set():
            count += tree.sequence_all(one)
            tree.sign_now(one)
        return count

    def writing(one: Store) -> None:
        for _ in range(8):
            fill(one, 5)

    with ThreadPoolExecutor(6) as pool:
        sequencers = [pool.submit(sequencing, one) for one in (store, other)]
        writers = [pool.submit(writing, one) for one in (store, other) * 2]
        for writer in writers:
            writer.result()
        done.set()
        for sequencer in sequencers:
            sequencer.result()
    assert tree.sign_now(store).size == 160
    assert len(set(leaves(store))) == 160
    report = checking.verify(store)
    assert report.good, report.findings
    assert report.heads >= 1


def test_a_crash_while_places_are_given_leaves_rows_that_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, 300)
    tree.sign_now(store)
    fill(store, 10)
    with monkeypatch.context() as patch:
        patch.setattr(tree, "_PLACE", object())
        patch.setattr(tree, "_PLACE_ALL", object())
        with pytest.raises(ObjectNotExecutableError):  # after the tiles were written
            tree.sequence_all(store)
    with store.read() as tx:
        assert tree.size(tx) == 300
    assert tree.sign_now(store).size == 310
    assert checking.verify(store).good


def test_no_head_is_signed_that_does_not_extend_the_last(store: Store) -> None:
    fill(store, 300)
    tree.sign_now(store)
    with store.read() as tx:
        tile = tree.Tiles(tx)(0, 0)
    store.write(
        lambda tx: tx.connection.execute(
            update(t.audit_tile)
            .where(t.audit_tile.c.level == 0, t.audit_tile.c.number == 1)
            .values(hashes=tile[:1408])
        )
    )
    fill(store, 1)
    with pytest.raises(LogInconsistent, match="signed at 300 rows"):
        tree.sign_now(store)


@on_sqlite
def test_a_shorter_log_and_a_foreign_head_are_not_signed_over(store: Store) -> None:
    fill(store, 20)
    head = tree.sign_now(store)
    store.write(lambda tx: tx.connection.execute(delete(t.audit_tile)))
    with pytest.raises(LogInconsistent):
        tree.sign_now(store)
    stranger = Signer("stranger", b"s" * 32)
    note = stranger.sign(notes.Checkpoint("stranger", 20, head.root).text)
    store.write(lambda tx: tx.connection.execute(update(t.audit_checkpoint).values(note=note)))
    with pytest.raises(LogInconsistent, match="none of the keys"):
        tree.sign_now(store)


def test_a_process_that_runs_signs_with_the_newest_key_and_knows_it(
    store: Store, open_again: Callable[[], Store]
) -> None:
    other = open_again()
    fill(store, 2)
    tree.sign_now(other)
    rotation.rotate(store, ALICE, "log")
    head = tree.sign_now(store)
    fill(store, 1)
    newest = Signer(tree.origin(store.settings, store.ring), store.ring.log_seeds[-1])
    for note in (head.note, tree.sign_now(other).note):
        assert notes.open_note(note, [newest.verifier])


@on_sqlite
def test_the_log_keeps_its_name_and_may_be_given_one(store: Store) -> None:
    name = tree.origin(store.settings, store.ring)
    assert name.startswith("lastgood/")
    fill(store, 2)
    assert notes.Checkpoint.peek(tree.sign_now(store).note).origin == name
    store.settings = store.settings.model_copy(update={"audit_origin": "example.com/log"})
    assert notes.Checkpoint.peek(tree.sign_now(store).note).origin == "example.com/log"
    fill(store, 2)
    assert tree.sign_now(store).size == 4
    assert checking.verify(store).good
    store.settings = store.settings.model_copy(update={"audit_origin": "example.com/a log"})
    with pytest.raises(InvalidSetting):
        tree.sign_now(store)


def test_proofs_come_from_the_store(store: Store) -> None:
    fill(store, 600)
    head = tree.sign_now(store)
    hashes = leaves(store)
    with store.read() as tx:
        for place in (0, 255, 256, 599):
            size, leaf, path = tree.prove_place(tx, place)
            merkle.check_inclusion(hashes[place], place, size, path, head.root)
            assert leaf == hashes[place]
        for old in (1, 256, 300, 600):
            size, path = tree.prove_extends(tx, old)
            merkle.check_consistency(old, size, path, merkle.root_of(hashes[:old]), head.root)
        size, _, path = tree.prove_place(tx, 3, 300)
        merkle.check_inclusion(hashes[3], 3, 300, path, merkle.root_of(hashes[:300]))
        for wrong in (
            lambda: tree.prove_place(tx, 600),
            lambda: tree.prove_extends(tx, 9, 8),
            lambda: tree.prove_place(tx, 1, 601),
        ):
            with pytest.raises(InvalidRequest):
                wrong()


def kinds(store: Store, *given: tuple[str, Proven]) -> list[tuple[str, int | None]]:
    return [(one.kind, one.place) for one in checking.verify(store, given).findings]


def test_the_store_is_verified_row_by_row(store: Store) -> None:
    fill(store, 600)
    tree.sign_now(store)
    fill(store, 5)
    report = checking.verify(store)
    assert (report.good, report.size, report.rows, report.proven) == (True, 605, 605, 600)
    with store.read() as tx:
        row = tx.connection.execute(select(t.audit).where(t.audit.c.place == 258)).one()
    tamper(store, 258, canonical=bytes(row.canonical).replace(b"because", b"bec@use"))
    assert sorted(kinds(store)) == [("altered", 258), ("column", 258)]
    tamper(store, 258, canonical=bytes(row.canonical), actor="somebody else")
    assert kinds(store) == [("column", 258)]
    tamper(store, 258, actor=row.actor, place=9999)
    assert kinds(store) == [("moved", 258)]
    tamper(store, 9999, place=258)
    assert kinds(store) == []
    tamper(store, 604, place=700)
    assert kinds(store) == [("place", None)]
    tamper(store, 700, place=604)
    for place, to in ((3, -1), (4, 3), (-1, 4)):
        tamper(store, place, place=to)
    assert kinds(store) == [("moved", 4)]
    store.write(lambda tx: tx.connection.execute(delete(t.audit).where(t.audit.c.place == 3)))
    assert kinds(store) == [("dropped", 4)]


@on_sqlite
def test_what_a_hand_at_the_database_leaves_is_found_and_breaks_no_verification(store: Store) -> None:
    fill(store, 20)
    tree.sign_now(store)

    def run(statement: str) -> None:
        store.write(lambda tx: tx.connection.exec_driver_sql(statement))

    change = "UPDATE audit SET canonical = {} WHERE place = 3"
    run(change.format("replace(canonical, 'because', 'why not')"))  # SQLite makes text of it
    assert sorted(kinds(store)) == [("altered", 3), ("column", 3)]
    run(change.format("replace(canonical, 'why not', 'because')"))
    assert kinds(store) == []
    with store.read() as tx:
        assert rows.page(tx, rows.Filter(), limit=99)[0][-4]["place"] == 3
    for bytes_ in ("x'6767'", "x'5b5d'", "x'7b7d'", "x''"):
        run(change.format(bytes_))
        assert ("altered", 3) in kinds(store), bytes_


@on_sqlite
def test_a_row_put_in_before_the_first_place_is_found(store: Store) -> None:
    fill(store, 20)
    tree.sign_now(store)
    names = "at, actor, action, resource, result, reason, canonical, code"
    put_in = f"INSERT INTO audit ({names}, place) SELECT {names}, -7 FROM audit WHERE place = 4"
    store.write(lambda tx: tx.connection.exec_driver_sql(put_in))
    assert [kind for kind, _ in kinds(store)] == ["inserted"]
    store.write(lambda tx: audit.append(tx, Principal("u1"), "audit:prune", "audit/log", first=2))
    store.write(lambda tx: tx.connection.exec_driver_sql("DELETE FROM audit WHERE place IN (0, 1)"))
    assert [kind for kind, _ in kinds(store)] == ["inserted"]


def test_a_rewritten_log_is_caught_by_a_checkpoint_that_was_kept_elsewhere(store: Store) -> None:
    """Whoever keeps the store and the key can make a new log that fits in itself."""
    fill(store, 300)
    old = Proven(tree.sign_now(store).note)
    fill(store, 300)
    kept = Proven(tree.sign_now(store).note)

    def rewrite(tx: Any) -> None:
        tx.connection.execute(delete(t.audit_tile))
        tx.connection.execute(delete(t.audit_checkpoint))
        row = tx.connection.execute(select(t.audit).where(t.audit.c.place == 400)).one()
        changed = bytes(row.canonical).replace(b"because", b"whatever")
        tx.connection.execute(
            update(t.audit).where(t.audit.c.place == 400).values(canonical=changed, reason="whatever")
        )
        tx.connection.execute(update(t.audit).values(place=None))

    store.write(rewrite)
    tree.sign_now(store)
    assert kinds(store) == [], "it fits in itself"
    assert kinds(store, ("old.txt", old)) == [], "and what was kept before the change holds"
    (finding,) = checking.verify(store, [("old.txt", old), ("kept.txt", kept)]).findings
    assert finding.kind == "rewritten"
    assert "rows from 300 to 599" in finding.detail
    assert "kept.txt" in finding.detail


@on_sqlite
def test_a_log_that_was_cut_short_is_caught_by_a_later_checkpoint(store: Store) -> None:
    fill(store, 30)
    kept = Proven(tree.sign_now(store).note)

    def cut(tx: Any) -> None:
        tx.connection.execute(delete(t.audit).where(t.audit.c.place >= 20))
        tx.connection.execute(delete(t.audit_tile))
        tx.connection.execute(delete(t.audit_checkpoint))
        tx.connection.execute(update(t.audit).values(place=None))

    store.write(cut)
    assert kinds(store) == []
    (finding,) = checking.verify(store, [("kept.txt", kept)]).findings
    assert "there are only 20 rows here" in finding.detail
    stranger = Signer("stranger", b"s" * 32)
    with pytest.raises(InvalidCheckpoint):
        checking.verify(store, [("x", Proven(stranger.sign(notes.Checkpoint("stranger", 1, b"r" * 32).text)))])
