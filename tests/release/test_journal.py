"""The journal: claims with leases and fences, idempotent entry, and what survives whom."""

import contextlib
import threading
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import update

from lastgood.db import tables as t
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import InvalidRequest, OperationOver, OperationTaken, UnknownOperation
from lastgood.release import journal
from lastgood.release.journal import Operation
from lastgood.release.plan import Plan, PlannedMove
from support.scene import ALICE, BOB, Scene, scene


def begun(here: Scene, *, key: str | None = None, reason: str = "") -> Operation:
    """An operation that was just entered."""
    good, bad = "v-20240401-01", "v-20240401-02"
    plan = Plan("rollback", (PlannedMove(here.workflow.id, here.workflow.slug, "live", bad, good, 1),), reason=reason)
    owners = {here.workflow.id: here.workflow}
    return here.store.write(lambda tx: journal.create(tx, ALICE, plan, owners, key=key))


def claimed(store: Store, operation: Operation, owner: str = "here:1:a") -> Operation:
    return store.write(lambda tx: journal.claim(tx, operation.id, owner))


def found(store: Store, operation: Operation) -> Operation:
    with store.read() as tx:
        return journal.find(tx, operation.id)


def end_lease(store: Store, operation: Operation) -> None:
    """Let the lease have ended."""
    store.write(lambda tx: tx.connection.execute(update(t.operation).values(lease_until_ms=1)))


def test_an_operation_is_entered_with_its_plan(store: Store) -> None:
    here = scene(store)
    operation = begun(here, reason="wrong totals")
    again = found(store, operation)
    assert again == operation
    assert again.id.startswith("op-") and again.state == "pending" and not again.over
    assert again.plan.digest == again.digest
    assert list(again.steps) == ["plan"] and again.steps["plan"].over
    assert (again.actor, again.reason) == ("alice", "wrong totals")
    with store.read() as tx:
        assert journal.listing(tx) == journal.listing(tx, here.workflow) == [operation]
        with pytest.raises(UnknownOperation):
            journal.find(tx, "op-nothing")


def test_the_same_key_enters_one_operation(store: Store) -> None:
    here = scene(store)
    first = begun(here, key="deploy 7")
    assert begun(here, key="deploy 7") == first
    with pytest.raises(InvalidRequest, match="deploy 7"):
        begun(here, key="deploy 7", reason="something else")
    assert begun(here).id != begun(here).id


def test_one_of_many_claims_wins(store: Store) -> None:
    operation = begun(scene(store))
    won: list[str] = []

    def claim(owner: str) -> None:
        with contextlib.suppress(OperationTaken):
            won.append(claimed(store, operation, owner).owner or "")

    threads = [threading.Thread(target=claim, args=(f"elsewhere:{n}:x",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_who_lost_the_operation_writes_nothing_more_of_it(store: Store) -> None:
    operation = begun(scene(store))
    first = claimed(store, operation, "elsewhere:1:a")
    store.write(lambda tx: journal.begin(tx, first, "pre-hook"))
    end_lease(store, operation)
    second = claimed(store, operation, "elsewhere:2:b")
    assert second.fence == first.fence + 1
    for write in (
        lambda tx: journal.hold(tx, first),
        lambda tx: journal.begin(tx, first, "listeners"),
        lambda tx: journal.finish(tx, first, "pre-hook", "done", {}, 1.0),
        lambda tx: journal.settle(tx, first, "succeeded"),
    ):
        with pytest.raises(OperationTaken):
            store.write(write)
    assert found(store, operation).steps["pre-hook"].state == "begun"
    store.write(lambda tx: journal.begin(tx, second, "pre-hook"))
    store.write(lambda tx: journal.finish(tx, second, "pre-hook", "done", {"code": 0}, 1.0))
    step = found(store, operation).steps["pre-hook"]
    assert (step.state, step.attempts, step.detail) == ("done", 2, {"code": 0})


def test_a_lease_keeps_others_away_until_it_ends(store: Store) -> None:
    operation = begun(scene(store))
    claimed(store, operation, "elsewhere:1:a")
    with pytest.raises(OperationTaken, match="elsewhere:1:a"):
        claimed(store, operation, "elsewhere:2:b")
    with store.read() as tx:
        assert journal.waiting(tx) == []
    end_lease(store, operation)
    with store.read() as tx:
        assert journal.waiting(tx) == [operation.id]
    assert claimed(store, operation, "elsewhere:2:b").owner == "elsewhere:2:b"


def test_a_dead_process_of_this_machine_is_not_waited_for(store: Store) -> None:
    operation = begun(scene(store))
    machine = journal.owner_name().partition(":")[0]
    claimed(store, operation, f"{machine}:{2**22 + 1}:gone")  # above the greatest process id of Linux
    with store.read() as tx:
        assert journal.waiting(tx) == [operation.id]
    assert claimed(store, operation, "elsewhere:2:b").owner == "elsewhere:2:b"


def test_this_process_is_alive(store: Store) -> None:
    operation = begun(scene(store))
    claimed(store, operation, journal.owner_name())
    with pytest.raises(OperationTaken):
        claimed(store, operation, journal.owner_name())


def test_what_was_just_entered_is_left_to_who_did(store: Store) -> None:
    operation = begun(scene(store))
    with store.read() as tx:
        assert journal.waiting(tx) == []
        tx.now = "2999-01-01T00:00:00.000000Z"
        assert journal.waiting(tx) == [operation.id]
        tx.now = "1999-01-01T00:00:00.000000Z"  # a clock that jumped back hides nothing
        assert journal.waiting(tx) == [operation.id]


def _asked(operation: str, wish: journal.Wish, tx: Tx) -> Operation:
    return journal.ask(tx, BOB, operation, wish)


def test_what_is_over_is_not_claimed(store: Store) -> None:
    operation = begun(scene(store))
    mine = claimed(store, operation)
    store.write(lambda tx: journal.settle(tx, mine, "failed", summary="Nothing was moved.", report="# …"))
    done = found(store, operation)
    assert done.over and done.ended_at is not None and done.owner is None
    with pytest.raises(OperationOver, match="Nothing was moved"):
        claimed(store, operation)
    wishes: tuple[journal.Wish, ...] = ("undo", "keep")
    for wish in wishes:
        with pytest.raises(OperationOver):
            store.write(partial(_asked, operation.id, wish))


def test_a_move_that_is_over_can_be_undone_once(store: Store) -> None:
    operation = begun(scene(store))
    mine = claimed(store, operation)
    store.write(lambda tx: journal.finish(tx, mine, "move", "done", {}, 1.0))
    store.write(lambda tx: journal.settle(tx, mine, "succeeded", summary="x", report="y"))
    asked = store.write(lambda tx: journal.ask(tx, BOB, operation.id, "undo"))
    assert (asked.state, asked.wish) == ("parked", "undo")
    again = claimed(store, asked)
    store.write(lambda tx: journal.finish(tx, again, "undo", "done", {}, 1.0))
    store.write(lambda tx: journal.settle(tx, again, "undone", summary="x", report="y"))
    with pytest.raises(OperationOver):
        store.write(lambda tx: journal.ask(tx, BOB, operation.id, "undo"))


def test_pages_of_operations(store: Store) -> None:
    here = scene(store)
    made = [begun(here) for _ in range(5)]
    with store.read() as tx:
        page = journal.listing(tx, limit=2)
        rest = journal.listing(tx, limit=9, before=page[-1].pk)
    assert [one.id for one in [*page, *rest]] == [one.id for one in reversed(made)]
    assert replace(page[0], steps={}) == replace(made[-1], steps={})
