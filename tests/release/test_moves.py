"""Publish and rollback: which target is allowed, whoever asks and however."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import func, select

from lastgood.db import tables
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import (
    AlreadyActive,
    ChannelMoved,
    Denied,
    FailedVersion,
    ForeignVersion,
    IdTaken,
    InvalidId,
    InvalidRequest,
    LastgoodError,
    NoGraph,
    NothingGood,
    NothingLive,
    NotRunnable,
    NumberTooLow,
    UnknownChannel,
    UnknownVersion,
)
from lastgood.history import channels, retention
from lastgood.history.states import State
from lastgood.history.versions import Version
from lastgood.release import moves
from lastgood.release.moves import Moved
from support.documents import document, plain_chat
from support.scene import ALICE, BOB, NOBODY, Scene, scene


@pytest.fixture
def place(store: Store) -> Scene:
    return scene(store)


def publish(place: Scene, version: str, *, expected: int | None = None, who: Principal = ALICE, **more: Any) -> Moved:
    return _do(
        place, lambda tx, at: moves.publish(tx, who, place.workflow, version, expected=at, **more), expected, more
    )


def rollback(
    place: Scene, to: str | None = None, *, expected: int | None = None, who: Principal = ALICE, **more: Any
) -> Moved:
    return _do(
        place, lambda tx, at: moves.rollback(tx, who, place.workflow, to=to, expected=at, **more), expected, more
    )


def _do(place: Scene, work: Callable[[Tx, int], Moved], expected: int | None, more: dict[str, Any]) -> Moved:
    if expected is None:
        try:
            expected = place.channel(more.get("channel", "live")).generation
        except UnknownChannel:
            expected = 0
    return place.store.write(lambda tx: work(tx, expected))


def standing(store: Store) -> list[Any]:
    """All that a move could change."""
    with store.read() as tx:
        rows = [
            tuple(row)
            for table in (tables.channel, tables.version, tables.routing)
            for row in tx.connection.execute(select(table))
        ]
        counted = [
            tx.connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (tables.move, tables.audit, tables.outbox)
        ]
    return [rows, counted]


@dataclass(frozen=True)
class Case:
    """A version that is live or not, in `state`; `expected` is what comes of asking for it: an error, or a move."""

    state: State
    live: bool
    expected: type[LastgoodError] | None
    force: bool = False
    reason: str = ""
    who: Principal = ALICE


WHY = "the others are worse"
TABLE = [
    Case("candidate", False, None),
    Case("candidate", False, None, force=True),
    Case("stable", False, None),
    Case("stable", False, None, who=NOBODY),  # asking whether they may is the door's business
    Case("failed", False, FailedVersion),
    Case("failed", False, FailedVersion, reason=WHY),
    Case("failed", False, InvalidRequest, force=True),
    Case("failed", False, InvalidRequest, force=True, reason="  \n "),
    Case("failed", False, None, force=True, reason=WHY),
    Case("failed", False, Denied, force=True, reason=WHY, who=NOBODY),
    Case("candidate", True, AlreadyActive),
    Case("stable", True, AlreadyActive),
    Case("stable", True, AlreadyActive, force=True, reason=WHY),
    Case("failed", True, FailedVersion),
    Case("failed", True, AlreadyActive, force=True, reason=WHY),
]


@pytest.mark.parametrize("kind", ["publish", "rollback"])
def test_a_named_target(store: Store, kind: str) -> None:
    go = publish if kind == "publish" else rollback
    for number, case in enumerate(TABLE):
        place = scene(store, f"case-{number}")
        target, other = place.versions("target", "other")
        place.move(target)
        if not case.live:
            place.move(other)
        if case.state != "candidate":
            place.mark(target, case.state)
        asked: dict[str, Any] = {"force": case.force, "reason": case.reason, "who": case.who}
        before, channel = standing(store), place.channel()
        if case.expected is not None:
            with pytest.raises(LastgoodError) as caught:
                go(place, target.id, **asked)
            assert type(caught.value) is case.expected, case
            assert standing(store) == before, f"something was changed: {case}"
            continue
        moved = go(place, target.id, **asked)
        assert (moved.from_id, moved.to.id, moved.kind, moved.why) == (other.id, target.id, kind, "named"), case
        assert moved.generation == channel.generation + 1
        assert moved.to.state == case.state, "a move says nothing of what is known"
        assert moved.to.channels == ("live",)
        assert place.channel().version == target.id


NOBODY_IN_PARTICULAR: list[tuple[tuple[State, ...], int | type[LastgoodError]]] = [
    (("stable", "stable", "candidate"), 1),
    (("stable", "candidate", "candidate"), 0),
    (("stable", "failed", "candidate"), 0),
    (("stable", "failed", "failed"), 0),
    (("candidate", "stable", "stable"), 1),
    (("candidate", "candidate", "stable"), NothingGood),
    (("failed", "failed", "stable"), NothingGood),
    (("candidate", "failed", "candidate"), NothingGood),
]


@pytest.mark.parametrize("force", [False, True])
def test_a_rollback_to_nobody_in_particular(store: Store, force: bool) -> None:
    """The last of three versions is live; force makes no difference, a failed version has to be named."""
    for number, (states, expected) in enumerate(NOBODY_IN_PARTICULAR):
        place = scene(store, f"case-{number}")
        found = place.versions("a", "b", "c")
        for version in found:
            place.move(version)
        for version, state in zip(found, states, strict=True):
            if state != "candidate":
                place.mark(version, state)
        before = standing(store)
        if isinstance(expected, type):
            with pytest.raises(expected, match="no stable version to go back to"):
                rollback(place, force=force, reason=WHY)
            assert standing(store) == before, states
        else:
            moved = rollback(place, force=force, reason=WHY)
            assert moved.to.id == found[expected].id, states
            assert moved.why.startswith("last good: marked stable (seen to be stable) on ")
            assert moved.why.endswith("by alice")


def test_going_back_twice_does_not_return_to_the_trouble(place: Scene) -> None:
    a, b, c = place.versions("a", "b", "c", state="stable")
    for version in (a, b, c):
        publish(place, version.id)
    assert [rollback(place).to.id, rollback(place).to.id] == [b.id, a.id]
    with pytest.raises(NothingGood):
        rollback(place)
    assert place.channel().version == a.id


def test_a_rollback_where_nothing_is_live(place: Scene) -> None:
    (version,) = place.versions("a", state="stable")
    for to in (None, version.id):
        with pytest.raises(UnknownChannel):
            rollback(place, to)
    place.store.write(lambda tx: channels.ensure(tx, place.workflow))
    before = standing(place.store)
    for to in (None, version.id):
        with pytest.raises(NothingLive, match="Publish one with"):
            rollback(place, to)
    assert standing(place.store) == before


def test_versions_that_are_not_there_or_not_here(place: Scene) -> None:
    other = scene(place.store, "other")
    (theirs,) = other.versions("x", state="stable")
    (ours,) = place.versions("a")
    place.move(ours)
    before = standing(place.store)
    asked: list[tuple[str, type[LastgoodError]]] = [
        (theirs.id, ForeignVersion),
        ("v-20240401-01", UnknownVersion),
        ("the last one", InvalidId),
    ]
    for go in (publish, rollback):
        for id, expected in asked:
            for force in (False, True):
                with pytest.raises(expected):
                    go(place, id, force=force, reason=WHY)
    assert standing(place.store) == before


def test_a_stale_caller_hears_who_was_first_even_where_both_wanted_the_same(place: Scene) -> None:
    a, b = place.versions("a", "b", state="stable")
    place.move(a)
    place.move(b)
    at = place.channel().generation
    rollback(place, a.id, who=BOB, expected=at)
    for to in (a.id, b.id):
        with pytest.raises(ChannelMoved, match="bob moved it"):
            rollback(place, to, expected=at)
    assert place.channel().generation == at + 1


def test_a_stale_rollback_to_nobody_in_particular_hears_who_was_first(place: Scene) -> None:
    """Bob has gone back already; Alice's rollback from the state before must not be told that nothing is good."""
    a, b = place.versions("a", "b", state="stable")
    place.move(a)
    place.move(b)
    at = place.channel().generation
    rollback(place, who=BOB, expected=at)
    with pytest.raises(ChannelMoved, match="bob moved it"):
        rollback(place, expected=at)


def test_a_semver_is_given_at_publish_and_once_in_a_workflow(place: Scene) -> None:
    a, b = place.versions("a", "b")
    assert publish(place, a.id, semver="1.2.0").to.semver == "1.2.0"
    with pytest.raises(NumberTooLow, match=r"1\.2\.0 is lower than 1\.2\.1"):
        publish(place, b.id, semver="1.2.0")
    with pytest.raises(IdTaken, match=f"SemVer id 1.2.0 is already taken by {a.id}"):
        publish(place, b.id, semver="1.2.0", force=True, reason="on purpose")
    assert place.find(b.id).semver is None
    assert publish(place, b.id, semver="1.3.0").to.semver == "1.3.0"
    other = scene(place.store, "other")
    assert publish(other, other.versions("x")[0].id, semver="1.2.0").to.semver == "1.2.0"


def test_a_publish_that_fails_gives_no_semver(place: Scene) -> None:
    a, b = place.versions("a", "b")
    place.move(a)
    with pytest.raises(ChannelMoved):
        publish(place, b.id, semver="2.0.0", expected=0)
    assert place.find(b.id).semver is None


def test_a_publish_to_a_new_channel_makes_it(place: Scene) -> None:
    (version,) = place.versions("a")
    moved = publish(place, version.id, channel="lts-1", expected=0)
    assert (moved.channel, moved.from_id, moved.generation) == ("lts-1", None, 1)


def test_a_failed_version_that_is_live_can_be_left(place: Scene) -> None:
    good, bad = place.versions("good", "bad", state="stable")
    place.move(good)
    place.move(bad)
    place.mark(bad, "failed")
    assert rollback(place).to.id == good.id


def test_what_a_move_says_of_itself(place: Scene) -> None:
    a, b = place.versions("a", "b", state="stable")
    publish(place, a.id)
    publish(place, b.id)
    said = moves.public(rollback(place, reason=WHY))
    assert said.pop("why").startswith("last good: ")
    assert said == {
        "workflow_id": place.workflow.id,
        "workflow": "greet",
        "channel": "live",
        "from": b.id,
        "to": a.id,
        "generation": 3,
        "kind": "rollback",
        "semver": None,
    }


# On the embedded engine, of which it is known what it runs.


@pytest.fixture
def on_engine(store: Store) -> Scene:
    pytest.importorskip("graphon")
    return scene(store, target="engine")


def unknown_node() -> Any:
    found = document("a")
    found.nodes[1]["data"]["type"] = "knowledge-retrieval"
    return found


def test_what_the_engine_runs_is_published(on_engine: Scene) -> None:
    version = on_engine.push("a").version
    assert publish(on_engine, version.id).to.id == version.id


def test_what_the_engine_cannot_run_is_kept_and_not_published(on_engine: Scene) -> None:
    good, bad = on_engine.push("a").version, on_engine.push(unknown_node()).version
    publish(on_engine, good.id)
    before = standing(on_engine.store)
    for go in (publish, rollback):
        with pytest.raises(NotRunnable, match=r"knowledge base.*still be kept"):
            go(on_engine, bad.id, force=True, reason=WHY)
    assert standing(on_engine.store) == before


def test_an_app_without_a_graph_is_not_published_on_the_engine(store: Store) -> None:
    place = scene(store, mode="chat", target="engine")
    version = place.push(plain_chat()).version
    with pytest.raises(NoGraph, match="chat app, which has no graph"):
        publish(place, version.id)


def test_another_target_decides_for_itself_what_it_runs(store: Store) -> None:
    place = scene(store, mode="chat")
    version: Version = place.push(plain_chat()).version
    assert publish(place, version.id).generation == 1


def test_a_move_to_an_archived_version_brings_it_back(place: Scene) -> None:
    a, b, c = place.versions("a", "b", "c")
    place.move(c)
    place.store.write(lambda tx: retention.archive_old(tx, ALICE, place.workflow, 1))
    assert place.find(a.id).archived_at is not None
    publish(place, a.id)
    assert place.find(a.id).archived_at is None
    assert place.find(b.id).archived_at is not None
