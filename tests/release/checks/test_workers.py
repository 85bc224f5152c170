"""Gateway workers and listeners."""

import threading
import time

import pytest
from sqlalchemy import select, update

from lastgood.db import process, tables
from lastgood.db.store import Store
from lastgood.release.checks import workers
from support.stores import on_postgres, on_sqlite

from .conftest import Served, only, serve


def revision(store: Store) -> int:
    with store.read() as tx:
        return int(tx.connection.execute(select(tables.channel.c.revision)).scalar_one())


def worker(store: Store, applied: int, *, lease: float = 60.0, on_store_loss: str = "stop") -> str:
    return store.write(
        lambda tx: process.register(tx, "gateway", applied=applied, lease_seconds=lease, on_store_loss=on_store_loss)
    )


@on_sqlite
def test_on_sqlite_every_request_reads_the_channel(store: Store) -> None:
    worker(store, 0)
    assert only(workers.check(serve(store).case())).verdict == "pass"


@pytest.fixture
def served(store: Store) -> Served:
    return serve(store)


@on_postgres
def test_every_live_worker_has_applied_the_move(store: Store, served: Served) -> None:
    now = revision(store)
    one, two = worker(store, now), worker(store, now + 3)
    found = only(workers.check(served.case()))
    assert found.verdict == "pass"
    assert found.expected == f"every gateway worker has applied revision {now}"
    assert one in found.found and two in found.found


@on_postgres
def test_one_that_lags_is_named(store: Store, served: Served) -> None:
    worker(store, revision(store))
    behind = worker(store, revision(store) - 1)
    found = only(workers.check(served.case(settings={"lease_seconds": 0.3})))
    assert (found.verdict, found.found) == ("fail", f"{behind} is at revision {revision(store) - 1}")


@on_postgres
def test_one_that_follows_soon_is_waited_for(store: Store, served: Served) -> None:
    now = revision(store)
    late = worker(store, now - 1)

    def follow() -> None:
        time.sleep(0.3)
        store.write(lambda tx: process.heartbeat(tx, late, lease_seconds=60, applied=now))

    thread = threading.Thread(target=follow)
    thread.start()
    found = only(workers.check(served.case(settings={"lease_seconds": 30})))
    thread.join()
    assert found.verdict == "pass"


@on_postgres
@pytest.mark.parametrize(("on_loss", "verdict"), [("stop", "pass"), ("serve", "unknown")])
def test_one_that_is_cut_off_is_unknown_where_it_serves_on(
    store: Store, served: Served, on_loss: str, verdict: str
) -> None:
    now = revision(store)
    worker(store, now)
    gone = worker(store, now - 1, on_store_loss=on_loss)
    store.write(
        lambda tx: tx.connection.execute(
            update(tables.process).where(tables.process.c.id == gone).values(lease_until_ms=1)
        )
    )
    found = only(workers.check(served.case()))
    assert found.verdict == verdict
    assert (gone in found.found) == (verdict == "unknown")


@on_postgres
def test_no_worker_at_all(store: Store, served: Served) -> None:
    assert only(workers.check(served.case())).verdict == "skipped"
    one = only(workers.check(served.case(facts={"gateway": "http://127.0.0.1:9"})))
    assert (one.verdict, one.found) == ("fail", "no gateway worker is running")


@on_postgres
def test_other_processes_apply_nothing(store: Store, served: Served) -> None:
    worker(store, revision(store))
    store.write(lambda tx: process.register(tx, "jobs", lease_seconds=60))
    assert only(workers.check(served.case())).verdict == "pass"


@on_sqlite
@pytest.mark.parametrize(
    ("outcome", "required", "verdict"),
    [
        ("acknowledged", True, "pass"),
        ("skipped", True, "skipped"),
        ("failed", True, "fail"),
        ("timed out", True, "fail"),
        ("failed", False, "fail"),
        ("something new", True, "fail"),
    ],
)
def test_listeners_as_the_operation_heard_them(store: Store, outcome: str, required: bool, verdict: str) -> None:
    told = {"name": "unit", "outcome": outcome, "detail": "so", "elapsed_ms": 12.5, "required": required}
    _, one = workers.check(serve(store).case(told=(told,)))
    assert (one.verdict, one.subject, one.found) == (verdict, "listener unit", f"{outcome}: so")
    assert (one.elapsed_ms, one.required) == (12.5, required)
