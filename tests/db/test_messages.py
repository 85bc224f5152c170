"""Forms of messages: what is read, which one is sent, and two releases beside each other."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from gateway.scene import KEY, Scene, scene
from lastgood.db import messages, process, routing, tables
from lastgood.db.messages import MANIFEST_1, ROUTE_CHANGE_2, ROUTE_CHANGE_FORMS, RouteChange
from lastgood.db.store import Store
from lastgood.gateway.lease import LeaseRouter, Listening, StoreMembership
from support.stores import Postgres, clean_settings

LEASE = 30.0  # a worker that misses a message hears of the move with its next beat, ten seconds later
SOON_MS = 5_000.0

CHANGE = RouteChange(7, "wf-abc123", "live", 3)


@pytest.mark.parametrize(
    ("payload", "change"),
    [
        ("7", RouteChange(7)),
        *((form.write(RouteChange(7)), RouteChange(7)) for form in ROUTE_CHANGE_FORMS),
        ('{"form":2,"revision":7,"workflow":"wf-abc123","channel":"live","generation":3}', CHANGE),
        ('{"revision":7}', RouteChange(7)),
        ('{"form":9,"revision":7,"workflow":"wf-abc123","weather":"fine"}', RouteChange(7, "wf-abc123")),
        ('{"form":2,"generation":3}', None),
        ('{"form":2,"revision":"7"}', None),
        ('{"form":2,"revision":7,"workflow":null}', None),
        ('{"revision":true}', None),
        ("true", None),
        ("7.5", None),
        ("[7]", None),
        ("", None),
        ("v3;7;wf-abc123", None),
    ],
)
def test_every_known_form_is_read_and_no_other(payload: str, change: RouteChange | None) -> None:
    assert messages.read_route_change(payload) == change


@given(st.builds(RouteChange, st.integers(0, 2**63), st.text(), st.text(), st.integers(0, 2**63)))
def test_the_newest_form_comes_back_as_it_was(change: RouteChange) -> None:
    assert messages.read_route_change(ROUTE_CHANGE_FORMS[0].write(change)) == change
    assert messages.read_route_change(ROUTE_CHANGE_FORMS[-1].write(change)) == RouteChange(change.revision)


@given(st.text())
def test_no_text_makes_reading_fail(payload: str) -> None:
    messages.read_route_change(payload)


def test_the_newest_form_fits_a_notification() -> None:
    """PostgreSQL takes less than 8000 bytes."""
    longest = RouteChange(2**63, "wf-" + "x" * 12, "c" * 63, 2**63)
    assert all(len(form.write(longest)) < 1000 for form in ROUTE_CHANGE_FORMS)


def enter(store: Store, role: str, *reads: str, ended: float = -30.0, raw: str | None = None) -> str:
    """The id of a process that reads `reads`, and whose lease ended `ended` seconds ago; its announcement is `raw`
    where that is given."""
    id = store.write(lambda tx: process.register(tx, role, capabilities=reads, lease_seconds=-ended))
    if raw is not None:
        row = update(tables.process).where(tables.process.c.id == id).values(capabilities=raw)
        store.write(lambda tx: tx.connection.execute(row))
    return id


def agreed(store: Store, capability: str, role: str | None = None) -> bool:
    with store.read() as tx:
        return messages.agreed(tx, capability, role)


def test_a_form_is_agreed_when_all_who_must_read_it_can(store: Store) -> None:
    assert agreed(store, MANIFEST_1), "nobody else is there"
    enter(store, "gateway", "routes", ROUTE_CHANGE_2)
    enter(store, "engine", "routes")
    assert agreed(store, ROUTE_CHANGE_2, "gateway")
    assert agreed(store, "routes")
    assert not agreed(store, ROUTE_CHANGE_2)
    assert not agreed(store, ROUTE_CHANGE_2, "engine")
    assert agreed(store, ROUTE_CHANGE_2, "jobs")
    old = enter(store, "gateway", "routes")
    assert not agreed(store, ROUTE_CHANGE_2, "gateway")
    store.write(lambda tx: process.leave(tx, old))
    assert agreed(store, ROUTE_CHANGE_2, "gateway")


@pytest.mark.parametrize(("ended", "counts"), [(-30.0, True), (1.0, True), (50.0, True), (70.0, False)])
def test_a_process_that_may_come_back_counts(store: Store, ended: float, counts: bool) -> None:
    enter(store, "gateway", "routes", ended=ended)
    assert agreed(store, ROUTE_CHANGE_2, "gateway") is not counts


@pytest.mark.parametrize(
    ("raw", "reads"),
    [
        ('["routes"]', False),
        ('["routes", "route-change.2"]', True),
        ('{"forms": {"route-change.2": {"since": "9.0"}}}', True),
        ('["route-change.22", "xroute-change.2"]', False),
        ('["route_change.2", "route-changeX2"]', False),
        ("", False),
        ("no JSON at all", False),
    ],
)
def test_an_announcement_of_any_release_is_understood(store: Store, raw: str, reads: bool) -> None:
    enter(store, "gateway", raw=raw)
    assert agreed(store, ROUTE_CHANGE_2, "gateway") is reads


class FirstRelease(StoreMembership):
    """A worker of a release that knows bare revisions only: it announces no more, and to what else comes it is
    deaf (`missed`)."""

    reads = ("routes",)
    missed: list[str]

    def listen(self) -> Listening:
        self.missed = []
        return _FirstEar(super().listen(), self.missed)


class _FirstEar:
    def __init__(self, ear: Listening, missed: list[str]) -> None:
        self._ear = ear
        self._missed = missed

    def wait(self, seconds: float) -> Sequence[str]:
        told = self._ear.wait(seconds)
        self._missed += [payload for payload in told if not payload.isdigit()]
        return [payload for payload in told if payload.isdigit()]

    def close(self) -> None:
        self._ear.close()


@pytest.fixture
def play(postgres: Postgres, postgres_template: str, tmp_path: Path) -> Iterator[Scene]:
    with (
        postgres.database(postgres_template) as url,
        scene(clean_settings(tmp_path / "home", url, lease_seconds=LEASE)) as running,
    ):
        yield running


class Worker[M: StoreMembership](LeaseRouter):
    """The router of a gateway worker, following moves in its own thread."""

    def __init__(self, play: Scene, kind: type[M]) -> None:
        self.member = kind(play.store, address="", lease_seconds=LEASE, on_store_loss="stop")
        super().__init__(self.member, play.store.ring.lookup_key, lease_seconds=LEASE)


@contextlib.contextmanager
def worker[M: StoreMembership](play: Scene, kind: type[M]) -> Iterator[Worker[M]]:
    """A running one."""
    router = Worker(play, kind)
    assert router.start()
    try:
        yield router
    finally:
        router.close()


@contextlib.contextmanager
def overheard(play: Scene) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """A connection that hears what is sent to the workers."""
    with psycopg.connect(play.settings.database, autocommit=True) as connection:
        connection.execute(f"LISTEN {routing.NOTIFY_CHANNEL}".encode())
        yield connection


def moved(play: Scene, ear: "psycopg.Connection[tuple[object, ...]]", *workers: LeaseRouter) -> str:
    """Move the channel. When that is acknowledged, which is soon, every worker serves it. Gives what was sent."""
    confirmed = play.move(play.versions[play.generation % 2])
    assert confirmed.unconfirmed == ()
    assert confirmed.waited_ms < SOON_MS, "a worker missed the message"
    for one in workers:
        found = one.route(KEY)
        assert found is not None
        assert found.generation == play.generation
    (told,) = ear.notifies(timeout=5, stop_after=1)
    return told.payload


def test_two_releases_side_by_side_lose_no_move(play: Scene) -> None:
    """A rolling upgrade, and back: the older release starts alone, the present one comes beside it, the older one
    leaves, and comes again."""
    with overheard(play) as ear:
        with worker(play, FirstRelease) as old:
            assert moved(play, ear, old).isdigit()
            with worker(play, StoreMembership) as new:
                assert [moved(play, ear, old, new).isdigit() for _ in range(5)] == [True] * 5
        with worker(play, StoreMembership) as new, worker(play, StoreMembership) as other:
            said = messages.read_route_change(moved(play, ear, new, other))
            assert said is not None
            assert (said.workflow, said.channel, said.generation) == (play.workflow.id, "live", play.generation)
            with worker(play, FirstRelease) as old:
                assert [moved(play, ear, old, new, other).isdigit() for _ in range(5)] == [True] * 5
                assert old.member.missed == []
            assert not moved(play, ear, new, other).isdigit()
        with worker(play, FirstRelease) as old:
            assert moved(play, ear, old).isdigit()


def test_without_the_agreement_an_older_release_would_miss_a_move(
    play: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test above would see if the newest form were always sent."""
    with worker(play, FirstRelease) as old, overheard(play) as ear:
        newest = ROUTE_CHANGE_FORMS[:1] * 2
        monkeypatch.setattr(routing, "ROUTE_CHANGE_FORMS", newest)
        play.store.write(routing.bump)
        (told,) = ear.notifies(timeout=5, stop_after=1)
        assert not told.payload.isdigit()
        for _ in range(100):
            if old.member.missed:
                break
            ear.execute("SELECT pg_sleep(0.05)")
        assert old.member.missed == [told.payload]


def test_a_message_of_a_later_release_makes_a_worker_read_the_truth(play: Scene) -> None:
    with worker(play, StoreMembership) as new, overheard(play) as ear:
        # The channel moves, and nobody is told in a way that this release reads.
        revision = new.table.revision + 1
        with play.store.engine.begin() as connection:
            connection.execute(update(tables.routing).values(revision=revision))
            connection.execute(update(tables.channel).values(revision=revision, generation=99))
        ear.execute("SELECT pg_notify(%s, 'v3;what;ever')", [routing.NOTIFY_CHANNEL])
        assert process.confirm(play.store, revision).waited_ms < SOON_MS
        found = new.route(KEY)
        assert found is not None
        assert found.generation == 99
