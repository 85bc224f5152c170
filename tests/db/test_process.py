"""Which processes run, and when a move has reached every gateway worker."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, make_url, select, update

import lastgood
from lastgood.db import process, routing, tables
from lastgood.db.messages import READS
from lastgood.db.process import Confirmation
from lastgood.db.store import Store, make_engine
from support.stores import on_postgres, on_sqlite

LONG = 30.0
SHORT = 0.6


def start(store: Store, *, applied: int, lease: float = LONG, role: str = "gateway", on_loss: str = "stop") -> str:
    """The id of a process that has applied revision `applied`."""
    return store.write(
        lambda tx: process.register(tx, role, applied=applied, lease_seconds=lease, on_store_loss=on_loss)
    )


def beat(store: Store, id: str, *, applied: int | None = None, lease: float = LONG) -> bool:
    return store.write(lambda tx: process.heartbeat(tx, id, lease_seconds=lease, applied=applied))


def later(seconds: float, work: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, work)
    timer.start()
    return timer


def confirmed(store: Store, revision: int, within: float = 5.0) -> Confirmation:
    """What `confirm` says. Fails when it takes longer than `within` seconds."""
    found: list[Confirmation] = []
    thread = threading.Thread(target=lambda: found.append(process.confirm(store, revision)), daemon=True)
    thread.start()
    thread.join(within)
    assert found, f"the move is not acknowledged after {within} s"
    return found[0]


def test_a_process_lives_as_long_as_its_lease(store: Store) -> None:
    id = start(store, applied=0, lease=SHORT, role="jobs")
    with store.read() as tx:
        (row,) = process.listing(tx)
    assert (row["id"], row["role"], row["live"], row["state"]) == (id, "jobs", True, "live")
    time.sleep(SHORT + 0.2)
    with store.read() as tx:
        assert [row["live"] for row in process.listing(tx)] == [False]
    assert beat(store, id)
    with store.read() as tx:
        assert [row["live"] for row in process.listing(tx)] == [True]


def test_a_process_that_left_or_was_forgotten_hears_so(store: Store) -> None:
    left, stays, dead = (start(store, applied=0) for _ in range(3))
    store.write(lambda tx: process.leave(tx, left))
    an_hour_ago = (time.time_ns() // 1_000_000) - 3_700_000
    gone = update(tables.process).where(tables.process.c.id == dead).values(lease_until_ms=an_hour_ago)
    store.write(lambda tx: tx.connection.execute(gone))
    store.write(process.forget_dead)
    assert [beat(store, id) for id in (left, stays, dead)] == [False, True, False]


def test_a_beat_without_a_revision_keeps_the_one_said_before(store: Store) -> None:
    id = start(store, applied=3)
    beat(store, id)
    beat(store, id, applied=7)
    beat(store, id)
    with store.read() as tx:
        assert tx.connection.execute(select(tables.process.c.applied)).scalar_one() == 7


@on_sqlite
def test_on_sqlite_a_move_is_confirmed_at_once(store: Store) -> None:
    start(store, applied=0)
    assert process.confirm(store, 99) == Confirmation(0.0)


@on_postgres
def test_a_move_without_workers_is_confirmed(store: Store) -> None:
    assert confirmed(store, store.write(routing.bump)).unconfirmed == ()


@on_postgres
def test_a_move_waits_for_the_slowest_worker(store: Store) -> None:
    revision = store.write(routing.bump)
    quick, slow = (start(store, applied=revision - 1) for _ in range(2))
    beat(store, quick, applied=revision)
    later(0.4, lambda: beat(store, slow, applied=revision))
    answer = confirmed(store, revision)
    assert answer.unconfirmed == ()
    assert 200 < answer.waited_ms < 4000


@on_postgres
def test_a_move_waits_for_a_silent_worker_until_its_lease_has_ended(store: Store) -> None:
    revision = store.write(routing.bump)
    start(store, applied=revision - 1, lease=SHORT)
    answer = confirmed(store, revision)
    assert answer.unconfirmed == (), "it refuses requests by itself now"
    assert answer.waited_ms > SHORT * 1000 * 0.5


@on_postgres
def test_a_worker_that_serves_on_without_a_lease_is_named(store: Store) -> None:
    revision = store.write(routing.bump)
    told = start(store, applied=revision, on_loss="serve")
    cut_off = start(store, applied=revision - 1, lease=SHORT, on_loss="serve")
    answer = confirmed(store, revision)
    assert answer.unconfirmed == (cut_off,)
    assert told not in answer.unconfirmed
    assert answer.waited_ms > SHORT * 1000 * 0.5


@on_postgres
def test_a_worker_that_lost_the_store_before_the_move_is_named_without_waiting(store: Store) -> None:
    cut_off = start(store, applied=0, lease=0.01, on_loss="serve")
    time.sleep(0.1)
    answer = confirmed(store, store.write(routing.bump))
    assert answer.unconfirmed == (cut_off,)
    assert answer.waited_ms < 400


@on_postgres
def test_a_worker_that_leaves_is_waited_for_no_longer(store: Store) -> None:
    revision = store.write(routing.bump)
    leaving = start(store, applied=revision - 1)
    later(0.2, lambda: store.write(lambda tx: process.leave(tx, leaving)))
    assert confirmed(store, revision).unconfirmed == ()


@on_postgres
def test_a_worker_that_only_renews_its_lease_holds_no_move_up_for_ever(store: Store) -> None:
    """Its word of the old lease counts: a lease renewed after the move is followed by a read, which sees the move."""
    revision = store.write(routing.bump)
    stuck = start(store, applied=revision - 1, lease=SHORT)
    over = threading.Event()

    def keep_beating() -> None:
        while not over.wait(0.05):
            beat(store, stuck, lease=SHORT)

    beating = threading.Thread(target=keep_beating)
    beating.start()
    try:
        assert confirmed(store, revision).waited_ms < 4000
    finally:
        over.set()
        beating.join()


@on_postgres
def test_a_worker_that_starts_after_the_move_is_not_waited_for(store: Store) -> None:
    revision = store.write(routing.bump)
    start(store, applied=revision - 1, lease=SHORT)
    later(0.2, lambda: start(store, applied=0, on_loss="serve"))
    assert confirmed(store, revision).unconfirmed == (), (
        "it reads before it serves, so it cannot serve the old version"
    )


@on_postgres
def test_only_gateway_workers_are_waited_for(store: Store) -> None:
    for role in ("api", "engine", "jobs"):
        start(store, applied=0, role=role, on_loss="serve")
    answer = confirmed(store, store.write(routing.bump))
    assert (answer.unconfirmed, answer.waited_ms < 400) == ((), True)


@on_postgres
def test_a_worker_ahead_of_the_move_counts(store: Store) -> None:
    revision = store.write(routing.bump)
    start(store, applied=revision + 5)
    assert confirmed(store, revision).waited_ms < 400


@on_postgres
def test_workers_are_unconfirmed_when_the_store_goes_away_meanwhile(store: Store) -> None:
    """The move itself is made, so this is no error."""
    revision = store.write(routing.bump)
    lagging = start(store, applied=0)
    start(store, applied=revision)

    def cut() -> None:
        with store.engine.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    later(0.3, cut)
    assert confirmed(store, revision).unconfirmed == (lagging,)


@on_postgres
def test_every_worker_is_unconfirmed_when_the_store_is_away(store: Store) -> None:
    away = Store(store.settings, make_engine(make_url("postgresql+psycopg://127.0.0.1:9/x")), store.ring)
    assert process.confirm(away, 1).unconfirmed == (process.EVERY_WORKER,)


def entered(
    store: Store, id: str, *, role: str = "gateway", raw: str = "[]", left_ms: int = 9_000, **more: object
) -> None:
    """A row as some release wrote it, its lease running `left_ms` from now."""
    now = time.time_ns() // 1_000_000
    row = {
        "id": id,
        "role": role,
        "version": "0.0.1",
        "capabilities": raw,
        "address": "",
        "on_store_loss": "stop",
        "applied": 0,
        "started_at": "2026-11-23T10:00:00.000000Z",
        "lease_until_ms": now + left_ms,
        **more,
    }
    store.write(lambda tx: tx.connection.execute(insert(tables.process).values(**row)))


def listed(store: Store) -> dict[str, dict[str, Any]]:
    """The processes by id."""
    with store.read() as tx:
        return {str(row["id"]): row for row in process.listing(tx)}


def test_a_process_says_what_it_is(store: Store) -> None:
    id = start(store, applied=5, lease=20.0, role="engine")
    row = listed(store)[id]
    assert (row["role"], row["version"], row["state"], row["applied"]) == ("engine", lastgood.__version__, "live", 5)
    assert row["capabilities"] == list(READS)
    assert 0 <= row["heartbeat_age_ms"] < 5_000


def test_the_age_of_a_heartbeat_grows_and_a_beat_ends_it(store: Store) -> None:
    id = start(store, applied=0, lease=2.0)
    shift = update(tables.process).values(lease_until_ms=tables.process.c.lease_until_ms - 7_000)
    store.write(lambda tx: tx.connection.execute(shift))
    row = listed(store)[id]
    assert row["state"] == "late"
    assert 7_000 <= row["heartbeat_age_ms"] < 9_000
    beat(store, id, lease=2.0)
    row = listed(store)[id]
    assert (row["state"], row["heartbeat_age_ms"] < 5_000) == ("live", True)


@pytest.mark.parametrize(
    ("raw", "capabilities", "aged"),
    [
        ("[]", [], False),
        ('["routes"]', ["routes"], False),
        ('{"reads": ["routes", 7, null], "lease_ms": 10000, "weather": {"is": "fine"}}', ["routes"], True),
        ('{"reads": {"routes": 1}, "lease_ms": "soon"}', [], False),
        ('{"lease_ms": true}', [], False),
        ("7", [], False),
        ('"routes"', [], False),
        ("", [], False),
        ("beat v9 | routes", [], False),
        ("[" * 10_000, [], False),
    ],
)
def test_a_heartbeat_of_another_release_never_reads_as_offline(
    store: Store, raw: str, capabilities: list[str], aged: bool
) -> None:
    """Only the lease tells who lives; roles, versions and settings that this release does not know are shown."""
    entered(store, "ps-other", role="scheduler", raw=raw, version="9.0.0rc1", on_store_loss="wait")
    row = listed(store)["ps-other"]
    assert (row["live"], row["state"], row["role"], row["version"]) == (True, "live", "scheduler", "9.0.0rc1")
    assert row["capabilities"] == capabilities
    assert (row["heartbeat_age_ms"] is not None) is aged


@pytest.mark.parametrize(
    ("left_ms", "state"), [(5_000, "live"), (-5_000, "late"), (-55_000, "late"), (-65_000, "gone")]
)
def test_who_is_late_may_come_back_and_who_is_gone_will_not(store: Store, left_ms: int, state: str) -> None:
    entered(store, "ps-one", left_ms=left_ms)
    assert listed(store)["ps-one"]["state"] == state


def test_a_process_under_its_parents_name_takes_the_row_of_the_former(store: Store) -> None:
    entered(store, "ps-named", raw='["old"]')
    store.write(lambda tx: process.register(tx, "engine", id="ps-named", lease_seconds=LONG))
    assert list(listed(store)) == ["ps-named"]
    assert listed(store)["ps-named"]["capabilities"] == list(READS)


def test_a_server_that_starts_alone_strikes_all_of_the_former_start(store: Store) -> None:
    for role in ("gateway", "engine"):
        start(store, applied=0, role=role)
    store.write(process.leave_all)
    assert listed(store) == {}
