"""Signing in with a password: who may, how often it may fail, and what a stranger learns."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from sqlalchemy import select

from lastgood.access import passwords, people, sessions, signin
from lastgood.db import tables
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.errors import SignInRefused, TooManySignIns, Unavailable
from support.scene import ALICE, Clock
from support.stores import on_sqlite

GOOD = "correct horse battery"
ASKER = Principal("unknown", "person", "rq-1", "192.0.2.7", frozenset(), method="POST", path="/v1/session")

pytestmark = pytest.mark.usefixtures("quick_passwords")


def sign_in(store: Store, name: str = "ada", password: str = GOOD, address: str = "192.0.2.7") -> str:
    asker = Principal("unknown", "person", "rq-1", address, frozenset())
    return signin.sign_in(store, name, password, asker, seconds=3600)


@pytest.fixture
def ada(store: Store, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A person, and the time."""
    kept = passwords.hashed(GOOD)
    store.write(lambda tx: people.create(tx, ALICE, "ada", password=kept))
    return Clock(monkeypatch, "2026-11-30T09:00:00.000000Z")


def test_the_right_password_begins_a_session_and_the_former_one_ends(store: Store, ada: Clock) -> None:
    first = sign_in(store)
    second = signin.sign_in(store, "ada", GOOD, ASKER, seconds=3600, former=first)
    assert first != second
    with store.read() as tx:
        assert sessions.find(tx, first, idle_seconds=600) is None
        found = sessions.find(tx, second, idle_seconds=600)
        assert found is not None and (found.person, found.roles) == ("ada", frozenset())
        held = str(tx.connection.execute(select(tables.session)).all())
        (row, *_) = tx.connection.execute(select(tables.audit).order_by(tables.audit.c.pk.desc())).all()
        assert people.find(tx, "ada").seen_at == ada.now
    assert second not in held
    assert (row.actor, row.action, row.result) == ("ada", "session:create", "allowed")
    assert json.loads(row.canonical)["address"] == "192.0.2.7"


@on_sqlite
@pytest.mark.parametrize("change", ["password", "disable"])
def test_who_was_proven_before_a_change_gets_no_session_after_it(store: Store, ada: Clock, change: str) -> None:
    """Else a session begun with the former password would outlive the change that ends all sessions."""
    proven = signin.prove(store, Principal("ada"), GOOD)
    if change == "password":
        kept = passwords.hashed("another horse battery")
        store.write(lambda tx: people.set_password(tx, ALICE, proven, kept))
    else:
        store.write(lambda tx: people.set_disabled(tx, ALICE, proven, True))
    with pytest.raises(SignInRefused):
        store.write(lambda tx: signin.begin(tx, proven, ASKER, seconds=3600))
    with store.read() as tx:
        assert tx.connection.execute(select(tables.session)).all() == []


@pytest.mark.parametrize(
    ("name", "password", "actor", "reason"),
    [
        ("ada", "wrong horse battery", "ada", "the password is wrong"),
        ("ada", "", "ada", "the password is wrong"),
        ("grace", GOOD, "unknown", "nobody has this name"),
        (GOOD, "ada", "unknown", "nobody has this name"),
        ("robin", GOOD, "robin", "the password is wrong"),
        ("shut", GOOD, "shut", "disabled"),
    ],
)
def test_a_stranger_learns_nothing_from_a_refusal(
    store: Store, ada: Clock, name: str, password: str, actor: str, reason: str
) -> None:
    """One sentence for all; the log says more, and holds nothing that was typed in the place of a name."""
    kept = passwords.hashed(GOOD)
    store.write(lambda tx: people.create(tx, ALICE, "robin"))
    store.write(lambda tx: people.set_disabled(tx, ALICE, people.create(tx, ALICE, "shut", password=kept), True))
    with pytest.raises(SignInRefused) as caught:
        sign_in(store, name, password)
    assert str(caught.value) == str(SignInRefused()) and caught.value.data == {}
    with store.read() as tx:
        (row, *_) = tx.connection.execute(select(tables.audit).order_by(tables.audit.c.pk.desc())).all()
    assert (row.actor, row.action, row.result, row.reason) == (actor, "session:create", "denied", reason)
    assert GOOD not in row.canonical.decode()


def test_every_refusal_takes_one_hash_of_work(store: Store, ada: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Counting:
        def verify(self, kept: str, password: str) -> bool:
            done.append(kept)
            return False

        def check_needs_rehash(self, kept: str) -> bool:
            return False

    monkeypatch.setattr(passwords, "_hasher", Counting())
    for name in ("ada", "grace"):
        done.clear()
        with pytest.raises(SignInRefused):
            sign_in(store, name, "wrong")
        assert len(done) == 1, name


def test_waiting_times_double_up_to_an_hour() -> None:
    """The table in the module's own words."""
    assert [signin.wait_seconds(n, 5) for n in (0, 4, 5, 6, 7, 8, 11, 12, 10**9)] == [
        *(0, 0, 30, 60, 120, 240, 1920, 3600, 3600)
    ]


@pytest.mark.parametrize("name", ["ada", "grace"])
def test_a_name_is_locked_after_five_failures_whoever_has_it(store: Store, ada: Clock, name: str) -> None:
    for _ in range(5):
        with pytest.raises(SignInRefused):
            sign_in(store, name, "wrong", address="192.0.2.7")
    with pytest.raises(TooManySignIns) as caught:
        sign_in(store, name, GOOD, address="198.51.100.9")  # also the right one, also from elsewhere
    assert caught.value.data == {"seconds": 30}
    assert "30 s" in str(caught.value)
    ada.now = "2026-11-30T09:00:29.500000Z"
    with pytest.raises(TooManySignIns) as caught:
        sign_in(store, name)
    assert caught.value.data == {"seconds": 1}
    ada.now = "2026-11-30T09:00:30.000000Z"
    with pytest.raises(SignInRefused):
        sign_in(store, name, "wrong")
    with pytest.raises(TooManySignIns) as caught:
        sign_in(store, name)
    assert caught.value.data == {"seconds": 60}
    ada.set("2026-11-30 09:02")
    if name == "ada":
        sign_in(store)  # and that forgives the name
        for _ in range(5):
            with pytest.raises(SignInRefused):
                sign_in(store, name, "wrong", address="192.0.2.8")


def test_an_address_is_locked_after_twenty_failures_whatever_the_names(store: Store, ada: Clock) -> None:
    sign_in(store)  # who signs in well is not counted
    for number in range(20):
        with pytest.raises(SignInRefused):
            sign_in(store, f"guess{number}", "wrong", address=f"2001:db8::{number:x}")
    with pytest.raises(TooManySignIns):
        sign_in(store, address="2001:db8::ffff:1")  # the same customer's network
    sign_in(store, address="2001:db8:0:1::1")
    sign_in(store)


def test_a_day_forgets(store: Store, ada: Clock) -> None:
    for _ in range(4):
        with pytest.raises(SignInRefused):
            sign_in(store, "ada", "wrong")
    ada.set("2026-12-01 09:01")
    for _ in range(4):
        with pytest.raises(SignInRefused):
            sign_in(store, "ada", "wrong")
    sign_in(store)
    ada.set("2026-12-03 09:01")
    store.write(signin.tidy)
    with store.read() as tx:
        assert tx.connection.execute(select(tables.sign_in)).all() == []


def test_many_guesses_at_once_get_no_further_than_one_after_another(store: Store, ada: Clock) -> None:
    def guess(number: int) -> str:
        try:
            return sign_in(store, "ada", f"guess {number}", address=f"192.0.2.{number}")
        except (SignInRefused, TooManySignIns, Unavailable) as error:
            return type(error).__name__

    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(guess, range(16)))
    assert ends.count("SignInRefused") == 5, ends


def test_a_hash_of_earlier_parameters_is_replaced_at_sign_in(store: Store, ada: Clock) -> None:
    def kept() -> str | None:
        with store.read() as tx:
            return people.find(tx, "ada").password

    from argon2 import PasswordHasher

    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(GOOD)
    store.write(lambda tx: people.keep_hash(tx, people.find(tx, "ada"), old))
    value = sign_in(store)
    assert kept() != old and passwords.matches(kept(), GOOD)
    with store.read() as tx:
        assert sessions.find(tx, value, idle_seconds=600)


@on_sqlite
@pytest.mark.parametrize(
    ("at", "stands"),
    [("09:09", True), ("09:10", False), ("12:00", False)],
)
def test_a_session_ends_after_idling_and_after_its_time(store: Store, ada: Clock, at: str, stands: bool) -> None:
    value = sign_in(store)
    ada.set(f"2026-11-30 {at}")
    with store.read() as tx:
        assert (sessions.find(tx, value, idle_seconds=600) is not None) is stands


@on_sqlite
def test_a_session_in_use_lives_to_its_last_hour_and_no_longer(store: Store, ada: Clock) -> None:
    value = sign_in(store)
    for minute in range(5, 60, 5):
        ada.set(f"2026-11-30 09:{minute:02d}")
        with store.read() as tx:
            found = sessions.find(tx, value, idle_seconds=600)
            assert found is not None and sessions.is_stale(tx, found)
        kept = found
        store.write(partial(sessions.seen, session=kept))
    ada.set("2026-11-30 10:00")
    with store.read() as tx:
        assert sessions.find(tx, value, idle_seconds=600) is None
    store.write(sessions.tidy)
    with store.read() as tx:
        assert tx.connection.execute(select(tables.session)).all() == []


@on_sqlite
def test_a_csrf_token_is_one_sessions_own(store: Store, ada: Clock) -> None:
    first, second = sign_in(store), sign_in(store)
    tokens = {sessions.csrf_of(store.ring, value) for value in (first, second)}
    assert len(tokens) == 2
    assert sessions.is_csrf(store.ring, first, sessions.csrf_of(store.ring, first))
    for shown in ("", sessions.csrf_of(store.ring, second), first, sessions.csrf_of(store.ring, first)[:-1], "ä"):
        assert not sessions.is_csrf(store.ring, first, shown)


@on_sqlite
def test_a_session_holds_in_a_process_that_has_not_seen_the_rotated_ring(
    store: Store, ada: Clock, open_again: Callable[[], Store]
) -> None:
    before = sign_in(store)
    for asked_first in ("session", "csrf"):
        other = open_again()
        store.ring.add("lookup")
        value = sign_in(store) if asked_first == "session" else before
        if asked_first == "session":
            with other.read() as tx:
                assert sessions.find(tx, value, idle_seconds=600)
        assert sessions.is_csrf(other.ring, value, sessions.csrf_of(store.ring, value))
