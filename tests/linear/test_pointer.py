"""Eight processes publish, roll back and read one channel at once: what they were told fits one pointer."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.scene import KEY, WHO
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.history import keys
from linear.checker import Operation, State, check
from linear.pointer import Fault, Way, client
from support.processes import at_once
from support.scene import scene
from support.stores import on_postgres, on_sqlite

CLIENTS = 8
ROUNDS = 25
_STORE: Way = "store"
IN_STORE: tuple[Way, ...] = (_STORE,) * CLIENTS
MIXED: tuple[Way, ...] = (*IN_STORE[2:], "gateway", "gateway")


def recorded(
    store: Store, ways: tuple[Way, ...] = IN_STORE, fault: Fault = "", rounds: int = ROUNDS
) -> tuple[list[Operation], State]:
    """What `CLIENTS` processes asked and were told, and the state before."""
    play = scene(store)
    made = play.versions("one", "two", "three", state="stable")
    play.move(made[0])

    def key(tx: Tx) -> None:
        keys.create(tx, WHO, play.workflow, name="clients", key=KEY)

    store.write(key)
    initial = State(made[0].id, play.channel().generation)
    settings = store.settings
    versions = tuple(one.id for one in made)
    told = at_once(
        CLIENTS,
        client,
        str(settings.home),
        settings.database,
        play.workflow.slug,
        versions,
        rounds,
        ways,
        fault,
    )
    assert [str(one) for one in told if isinstance(one, Exception) and "BrokenBarrier" not in str(one)] == []
    history = [operation for one in told for operation in one]
    assert len({operation.process for operation in history}) == CLIENTS
    return history, initial


def is_busy(history: list[Operation]) -> None:
    """Fails when too little happened at once to show anything."""
    kinds = Counter(one.outcome if one.kind == "move" else one.kind for one in history)
    assert kinds["done"] > 20, kinds
    assert kinds["refused"] > 20, kinds
    assert kinds["read"] > 100, kinds


def test_the_pointer_is_linearizable(store: Store) -> None:
    history, initial = recorded(store)
    is_busy(history)
    verdict = check(history, initial)
    assert verdict.linearizable, verdict
    _violations_are_seen_in(history, initial)


def _violations_are_seen_in(history: list[Operation], initial: State) -> None:
    """The same history with one answer changed is rejected: so it is not of a kind that allows anything."""
    done = sorted(
        (one for one in history if one.kind == "move" and one.outcome == "done"), key=lambda one: one.invoked
    )
    winner, later = done[len(done) // 2], done[-1]
    reads = [one for one in history if one.kind == "read" and one.invoked > (winner.returned or 0)]
    loser = next(one for one in history if one.outcome == "refused")
    planted = {
        "stale read": (reads[-1], replace(reads[-1], seen=initial)),
        "torn read": (reads[0], replace(reads[0], seen=State("v-20000101-01", reads[0].seen.generation))),
        "two winners": (loser, replace(loser, outcome="done", seen=State(loser.to, loser.expected + 1))),
        "lost update": (
            winner,
            replace(winner, to="v-20000101-01", seen=State("v-20000101-01", winner.expected + 1)),
        ),
        "refused in vain": (later, replace(later, outcome="refused", seen=State(None, later.expected))),
    }
    for name, (true, false) in planted.items():
        changed = [false if one is true else one for one in history]
        assert not check(changed, initial).linearizable, name


@on_sqlite
def test_reads_through_gateway_workers_are_too_on_sqlite(store: Store) -> None:
    """Each of their requests reads the truth."""
    history, initial = recorded(store, MIXED)
    is_busy(history)
    verdict = check(history, initial)
    assert verdict.linearizable, verdict


@on_postgres
def test_gateway_workers_on_postgres_keep_to_what_was_acknowledged(store: Store) -> None:
    """A worker may follow a move before another does: so reads of several are no single register while a move is
    under way. But none goes back, and none is behind what was acknowledged before it was asked (rule 3)."""
    history, initial = recorded(store, MIXED)
    is_busy(history)
    routed = [one for one in history if MIXED[one.process] == "gateway"]
    verdict = check([one for one in history if MIXED[one.process] == "store"], initial)
    assert verdict.linearizable, verdict
    assert behind(routed, history) == []
    made = {one.seen: one for one in history if one.kind == "move" and one.outcome == "done"}
    for one in routed:
        assert one.seen == initial or made[one.seen].invoked <= (one.returned or 0), "not of any move, or too early"
    for place in {one.process for one in routed}:
        own = [one.seen.generation for one in routed if one.process == place]
        assert all(a <= b for a, b in pairwise(own))
    # And this can fail: the last of the reads, had it been answered from before the last move.
    stale = replace(routed[-1], seen=initial)
    assert behind([stale], history) == [stale]


def behind(reads: list[Operation], history: list[Operation]) -> list[Operation]:
    """The reads that saw less than what had been acknowledged when they were asked."""
    moves = [one for one in history if one.kind == "move" and one.outcome == "done"]
    return [
        one
        for one in reads
        if any((move.returned or 0) < one.invoked and move.seen.generation > one.seen.generation for move in moves)
    ]


@on_sqlite
@pytest.mark.parametrize("fault", ["remembers", "tears", "overwrites"])
def test_a_pointer_that_is_none_is_rejected(store: Store, fault: Fault) -> None:
    """The same clients, and one thing done wrong in what they use."""
    history, initial = recorded(store, fault=fault)
    assert not check(history, initial).linearizable
