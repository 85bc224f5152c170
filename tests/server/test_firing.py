"""Schedules are fired: on the version in service, once by all servers together, and again where one died."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from lastgood.db import tables as t
from lastgood.db.store import Store, open_store
from lastgood.db.tx import utc_text
from lastgood.errors import Unavailable
from lastgood.history import channels, slots, triggers
from lastgood.release import moves
from lastgood.release.means import Means
from lastgood.release.verification import Upstream
from lastgood.server.firing import Firing
from lastgood.settings import Settings
from support.engine import FakeEngine, fake_engine
from support.processes import at_once, forkserver
from support.scene import ALICE, Scene, scene
from support.stores import on_postgres
from support.triggered import triggered

GRACE = timedelta(minutes=5)


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as running:
        running.say({"workflow_run_id": "r1", "data": {"status": "succeeded"}})
        yield running


def live(store: Store, slug: str = "greet", **more: Any) -> Scene:
    """A workflow whose schedule has a slot that came a moment ago."""
    place = scene(store, slug, target="engine")
    version = place.push(triggered(**more)).version
    store.write(lambda tx: moves.publish(tx, ALICE, place.workflow, version.id, expected=0))
    come(store)
    return place


def come(store: Store) -> None:
    """Let a slot of each schedule have come a moment ago, another one each time."""
    slot = utc_text(datetime.now(UTC) - timedelta(seconds=1))
    bound = t.trigger.c.next_slot.is_not(None)
    store.write(lambda tx: tx.connection.execute(update(t.trigger).where(bound).values(next_slot=slot)))


def firing(store: Store, engine: FakeEngine) -> Firing:
    return Firing(Means(store, lambda: Upstream(engine.url, "engine-token")))


def fires(store: Store) -> list[Any]:
    with store.read() as tx:
        return list(tx.connection.execute(select(t.trigger_fire).order_by(t.trigger_fire.c.pk)))


def test_a_slot_runs_the_version_in_service(store: Store, engine: FakeEngine) -> None:
    place = live(store)
    one = place.channel().version
    jobs = firing(store, engine)
    jobs.look()
    jobs.look()
    jobs.wait(10)
    two = place.push(triggered("v2")).version
    come(store)
    store.write(lambda tx: moves.publish(tx, ALICE, place.workflow, two.id, expected=1))
    jobs.look()
    jobs.wait(10)
    assert [path for path, _, _ in engine.asked] == [f"/v1/workflows/{one}/run", f"/v1/workflows/{two.id}/run"]
    assert engine.asked[0][1:] == (
        "Bearer engine-token",
        {"inputs": {}, "user": "schedule", "response_mode": "blocking", "trigger": "every"},
    )
    assert [(row.state, row.detail, row.generation) for row in fires(store)] == [
        ("ran", "run r1 succeeded", 1),
        ("ran", "run r1 succeeded", 2),
    ]


@pytest.mark.parametrize(
    ("status", "body", "state", "words"),
    [
        (200, {"data": {"id": "r2", "status": "failed", "error": "boom"}}, "failed", "run r2 failed: boom"),
        (400, {"message": "no such trigger"}, "failed", "no such trigger"),
        (429, {}, "claimed", "the engine answered 429"),
        (200, {"hello": 1}, "claimed", "the engine answered 200"),
        (200, [], "claimed", "the engine answered 200"),
    ],
)
def test_what_the_engine_says_is_kept(
    store: Store, engine: FakeEngine, status: int, body: Any, state: str, words: str
) -> None:
    live(store)
    engine.say(body, status)
    jobs = firing(store, engine)
    jobs.look()
    jobs.wait(10)
    (row,) = fires(store)
    assert (row.state, row.detail) == (state, words)
    assert (row.owner is None) == (state == "claimed")


def test_an_engine_that_stays_away_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    live(store)

    def no_engine() -> Upstream:
        raise Unavailable(detail="No engine runs here.")

    jobs = Firing(Means(store, no_engine))
    monkeypatch.setattr(slots, "let_go", lambda tx, fire, owner, why, wait_ms: _LET_GO(tx, fire, owner, why))
    for _ in range(slots.MOST_ATTEMPTS + 1):
        jobs.look()
        jobs.wait(10)
    (row,) = fires(store)
    assert (row.state, row.attempts) == ("failed", slots.MOST_ATTEMPTS)
    assert row.detail == "given up after 5 attempts: No engine runs here."


_LET_GO: Callable[..., None] = slots.let_go


def test_a_run_that_goes_on_is_held(store: Store, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    live(store)
    engine.wait = 1.0
    monkeypatch.setattr("lastgood.server.firing._RENEW_SECONDS", 0.0)
    jobs, other = firing(store, engine), firing(store, engine)
    jobs.look()
    (before,) = fires(store)
    time.sleep(0.05)
    jobs.look()
    (after,) = fires(store)
    assert after.lease_until_ms > before.lease_until_ms
    other.look()
    jobs.wait(10)
    assert len(engine.asked) == 1
    assert fires(store)[0].state == "ran"


def test_only_so_many_run_at_once(store: Store, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lastgood.server.firing._MOST", 1)
    live(store, "a")
    live(store, "b")
    engine.wait = 0.3
    jobs = firing(store, engine)
    jobs.look()
    assert len(fires(store)) == 1
    jobs.wait(10)
    jobs.look()
    jobs.wait(10)
    assert [row.state for row in fires(store)] == ["ran", "ran"]


def test_nothing_is_begun_once_the_process_must_end(store: Store, engine: FakeEngine) -> None:
    live(store)
    jobs = firing(store, engine)
    jobs.means.stopping.set()
    jobs.look()
    jobs.run()
    assert fires(store) == []


def _claim(settings: Settings, told: Any) -> None:
    """Claim a slot, say so, and wait to be killed."""
    store = open_store(settings)
    slots.LEASE_MS = 500  # short enough to wait for
    with store.read() as tx:
        (trigger,) = slots.due(tx, ["live"])
    fire = store.write(lambda tx: slots.claim(tx, trigger, "dead:1:abcd", GRACE))
    told.put(fire.version if fire else None)
    time.sleep(60)


def test_a_slot_of_a_killed_server_is_run_by_another_on_the_same_version(store: Store, engine: FakeEngine) -> None:
    place = live(store)
    one = place.channel().version
    context = forkserver()
    told = context.Queue()
    process = context.Process(target=_claim, args=(store.settings, told), daemon=True)
    process.start()
    assert told.get(timeout=30) == one
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    # A move in between changes nothing: the slot is that of the version in service when its time came.
    two = place.push(triggered("v2")).version
    store.write(lambda tx: moves.publish(tx, ALICE, place.workflow, two.id, expected=1))
    jobs = firing(store, engine)
    until = time.monotonic() + 10
    while not engine.asked and time.monotonic() < until:
        jobs.look()
        time.sleep(0.05)
    jobs.wait(10)
    assert [path for path, _, _ in engine.asked] == [f"/v1/workflows/{one}/run"]
    assert [(row.state, row.attempts) for row in fires(store)] == [("ran", 2)]


def _serve(barrier: Any, index: int, home: Path, database: str, url: str) -> int:
    """Fire whatever comes for a while, as one of several servers; gives how often."""
    store = open_store(Settings(home=home, database=database))
    jobs = Firing(Means(store, lambda: Upstream(url, "engine-token")))
    begun = 0
    barrier.wait()
    until = time.monotonic() + 2
    while time.monotonic() < until:
        jobs.look()
        begun += len(jobs._running)
        jobs.wait(10)
        jobs._running.clear()
    store.close()
    return begun


@on_postgres  # a data directory on SQLite has one server
def test_of_several_servers_one_runs_a_slot(store: Store, engine: FakeEngine) -> None:
    count = 12
    for number in range(count):
        live(store, f"greet-{number}")
    settings = store.settings
    begun = at_once(3, _serve, settings.home, settings.database, engine.url)
    assert all(isinstance(each, int) for each in begun), begun
    assert sum(begun) == count
    assert len(engine.asked) == count
    assert len({path for path, _, _ in engine.asked}) == count
    assert {row.state for row in fires(store)} == {"ran"}


def _move(barrier: Any, index: int, home: Path, database: str, url: str, slug: str) -> int:
    """Process 0 fires; the others move the channel to and fro."""
    from lastgood.history import versions, workflows

    if index == 0:
        return _serve(barrier, index, home, database, url)
    store = open_store(Settings(home=home, database=database))
    with store.read() as tx:
        workflow = workflows.find(tx, slug)
        ids = [version.id for version in versions.page(tx, workflow)]
    barrier.wait()
    for number in range(40):

        def move(tx: Any, to: str = ids[number % 2]) -> None:
            at = channels.get(tx, workflow).generation
            moves.publish(tx, ALICE, workflow, to, expected=at, force=True, reason="to and fro")

        try:
            store.write(move)
        except Exception as error:  # the other was quicker, or it is there already
            assert type(error).__name__ in {"ChannelMoved", "AlreadyActive", "NumberTooLow"}, error
    store.close()
    return 0


def test_moves_to_and_fro_while_a_slot_comes_neither_double_nor_skip_it(store: Store, engine: FakeEngine) -> None:
    place = live(store)
    place.push(triggered("v2", cron="0 9,10 * * *"))
    settings = store.settings
    begun = at_once(3, _move, settings.home, settings.database, engine.url, place.workflow.slug)
    assert begun == [1, 0, 0]
    assert len(engine.asked) == 1
    (row,) = fires(store)
    with store.read() as tx:
        made = next(
            move for move in channels.moves(tx, place.workflow, limit=500) if move.generation == row.generation
        )
        bound = {one.node: one for one in triggers.of_channel(tx, place.workflow, "live")}
        now = channels.get(tx, place.workflow)
    assert engine.asked[0][0] == f"/v1/workflows/{made.to_id}/run"
    assert (bound["every"].version, bound["every"].generation) == (now.version, now.generation)
