"""The lease of a worker on PostgreSQL: the order of its steps, on an in-memory store and a clock of our own."""

from collections.abc import Callable

import psycopg
import pytest

from lastgood.db.ring import Lookup
from lastgood.errors import LiveVersionUnknown
from lastgood.gateway import lease
from lastgood.gateway.lease import LeaseRouter, Listening
from lastgood.gateway.router import OnStoreLoss, RouteTable
from lastgood.history.routes import RouteChanges, key_hash

from .conftest import KEY, route

LOOKUP = Lookup([(b"k" * 32, b"")])
LOSSES: tuple[OnStoreLoss, ...] = ("stop", "serve")


class MemoryStore:
    """Routes, a worker's row and its lease, in memory. `cut` makes it unreachable; `now` is its clock and the
    worker's."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.revision = 0
        self.moves: list[tuple[int, RouteChanges]] = []
        self.applied = -1
        self.lease_until = 0.0
        self.cut = False
        self.during_read: Callable[[], None] = lambda: None
        self.on_beat: Callable[[int], None] = lambda applied: None
        self.left = False

    def move(self, version: str) -> int:
        self.revision += 1
        changed = route("http://up", version_id=version, generation=self.revision)
        self.moves.append((self.revision, RouteChanges(self.revision, {key_hash(LOOKUP, KEY): changed})))
        return self.revision

    def acknowledged(self, revision: int) -> bool:
        """Whether a mover need wait no longer for this worker."""
        return self.applied >= revision or self.lease_until <= self.now

    def beat(self, applied: int) -> None:
        self._reach()
        self.on_beat(applied)
        self.applied = applied
        self.lease_until = self.now + 3.0

    def confirm(self, applied: int) -> None:
        self._reach()
        self.on_beat(applied)
        self.applied = applied

    def read(self, since: int) -> RouteChanges:
        self._reach()
        keys = {key: found for at, changes in self.moves if at > since for key, found in changes.keys.items()}
        changes = RouteChanges(self.revision, keys)
        self.during_read()
        return changes

    def leave(self) -> None:
        self._reach()
        self.left = True

    def listen(self) -> Listening:
        raise psycopg.OperationalError("no ear here")

    def _reach(self) -> None:
        if self.cut:
            raise psycopg.OperationalError("cut off")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    made = MemoryStore()
    monkeypatch.setattr(lease, "clock", lambda: made.now)
    return made


def joined(store: MemoryStore, on_store_loss: OnStoreLoss = "stop") -> LeaseRouter:
    store.move("v-20261123-01")
    router = LeaseRouter(store, LOOKUP, lease_seconds=3.0, on_store_loss=on_store_loss)
    router.beat()
    return router


def served(router: LeaseRouter) -> str | None:
    found = router.route(KEY)
    assert found is not None
    return found.version_id


def refuses(router: LeaseRouter) -> None:
    with pytest.raises(LiveVersionUnknown):
        router.route(KEY)


def test_a_change_is_in_use_before_it_is_confirmed(store: MemoryStore) -> None:
    router = joined(store)
    revision = store.move("v-20261123-02")
    confirmed: list[tuple[int, str | None]] = []
    store.on_beat = lambda applied: confirmed.append((applied, served(router)))
    assert not store.acknowledged(revision)
    router.catch_up()
    assert confirmed == [(revision, "v-20261123-02")]
    assert store.acknowledged(revision)


def test_before_the_first_beat_nothing_is_answered(store: MemoryStore) -> None:
    for on_store_loss in LOSSES:
        router = LeaseRouter(store, LOOKUP, lease_seconds=3.0, on_store_loss=on_store_loss)
        assert router.state()["ready"] is False
        refuses(router)


def test_the_worker_stops_before_the_store_believes_its_lease_ended(store: MemoryStore) -> None:
    router = joined(store)
    revision = store.move("v-20261123-02")
    store.cut = True
    while not store.acknowledged(revision):
        store.now += 0.05
        answers = True
        try:
            assert served(router) == "v-20261123-01"
        except LiveVersionUnknown:
            answers = False
    assert not answers
    refuses(router)


def test_the_lease_counts_from_before_it_was_asked_for(store: MemoryStore) -> None:
    """The answer to a beat may be long on its way, and the lease run meanwhile."""
    router = joined(store)

    def slow() -> None:
        store.now += 2.9

    store.during_read = slow
    router.beat()
    refuses(router)


def test_a_worker_that_slept_reads_before_it_answers_again(store: MemoryStore) -> None:
    router = joined(store)
    revision = store.move("v-20261123-02")
    store.now += 60
    assert store.acknowledged(revision)
    refuses(router)
    store.on_beat = lambda applied: refuses(router)
    router.beat()
    assert served(router) == "v-20261123-02"


def test_news_alone_do_not_prolong_the_lease(store: MemoryStore) -> None:
    """A move may have gone by between the end of the lease and the news of another; only a read after the renewal
    tells."""
    router = joined(store)
    store.now += 60
    store.move("v-20261123-02")
    router.catch_up()
    refuses(router)


def test_a_move_between_the_renewal_and_the_read_waits_for_the_worker(store: MemoryStore) -> None:
    router = joined(store)
    store.now += 60
    moved: list[int] = []

    def move_behind_the_read() -> None:
        store.during_read = lambda: None
        moved.append(store.move("v-20261123-02"))

    store.during_read = move_behind_the_read
    router.beat()
    assert served(router) == "v-20261123-01"  # allowed: the move is not acknowledged
    assert not store.acknowledged(moved[0])
    router.catch_up()
    assert served(router) == "v-20261123-02"
    assert store.acknowledged(moved[0])


def test_a_beat_that_fails_prolongs_nothing(store: MemoryStore) -> None:
    router = joined(store)
    store.now += 2
    store.during_read = lambda: (_ for _ in ()).throw(psycopg.OperationalError("gone"))
    with pytest.raises(psycopg.OperationalError):
        router.beat()
    store.now += 1
    refuses(router)


def test_by_its_setting_a_worker_goes_on_with_what_it_knew(store: MemoryStore) -> None:
    router = joined(store, "serve")
    store.cut = True
    store.now += 3600
    assert served(router) == "v-20261123-01"
    assert router.state() == {"ready": True, "lease_seconds": 0.0, "revision": 1, "keys": 1}


def test_it_leaves_when_it_closes(store: MemoryStore) -> None:
    router = joined(store)
    router.close()
    assert store.left
    refuses(router)


def test_closing_without_the_store_is_no_error(store: MemoryStore) -> None:
    router = joined(store)
    store.cut = True
    router.close()
    assert not store.left


def test_a_key_that_is_kept_anew_while_it_is_looked_for_is_found() -> None:
    """By the thread that follows the store, between two looks of a request."""

    class Slow(Lookup):
        def older(self, value: str) -> list[bytes]:
            table.apply(RouteChanges(2, {self.hash(value): route("http://up")}))
            return super().older(value)

    lookup = Slow([(b"n" * 32, b"lnew"), (b"o" * 32, b"")])
    table = RouteTable(lookup)
    (former,) = Lookup.older(lookup, KEY)
    table.apply(RouteChanges(1, {former: route("http://up")}))
    assert table.find(KEY) is not None
