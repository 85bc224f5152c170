"""The store: one way to write, all of it or nothing, and errors that are sentences."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from lastgood.db import audit, routing, tables
from lastgood.db.store import Store, open_store, store_url
from lastgood.db.tx import Tx, parse_time, utc_text
from lastgood.errors import (
    Conflict,
    InvalidRequest,
    InvalidSetting,
    LastgoodError,
    StoreUnreachable,
)
from lastgood.settings import Settings
from support.processes import at_once
from support.scene import ALICE, Scene, scene
from support.stores import clean_settings, on_postgres


class Sudden(Exception):
    """Something that no code expects."""


def rows(store: Store) -> dict[str, int]:
    """How many rows each table has."""
    with store.read() as tx:
        return {
            name: tx.connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in tables.metadata.tables.items()
        }


def fail_with_ours(tx: Tx) -> None:
    raise Conflict(detail="no")


def fail_suddenly(tx: Tx) -> None:
    raise Sudden


def fail_in_the_database(tx: Tx) -> None:
    tx.connection.execute(insert(tables.workspace), {"name": "default"})


def fail_in_sql(tx: Tx) -> None:
    tx.connection.execute(text("SELECT nothing FROM nowhere"))


@pytest.mark.parametrize(
    ("fail", "raised"),
    [
        (fail_with_ours, Conflict),
        (fail_suddenly, Sudden),
        (fail_in_the_database, LastgoodError),
        (fail_in_sql, LastgoodError),
    ],
)
def test_nothing_remains_of_a_write_that_raises(
    store: Store, fail: Callable[[Tx], None], raised: type[Exception]
) -> None:
    place = scene(store)
    before = rows(store)
    with store.read() as tx:
        revision = routing.current(tx)

    def work(tx: Tx) -> None:
        routing.bump(tx)
        audit.append(tx, ALICE, "test", "something")
        audit.emit(tx, "test", "something", {})
        tx.connection.execute(update(tables.workflow).values(name="changed"))
        fail(tx)

    with pytest.raises(raised):
        store.write(work)
    assert rows(store) == before
    with store.read() as tx:
        assert routing.current(tx) == revision
        assert tx.connection.execute(select(tables.workflow.c.name)).scalar_one() == place.workflow.name
    assert store.write(routing.bump) == revision + 1, "the next write does not work"


def test_a_read_sees_one_state_however_long_it_lasts(store: Store) -> None:
    with store.read() as tx:
        before = routing.current(tx)
        store.write(routing.bump)
        assert routing.current(tx) == before
    with store.read() as tx:
        assert routing.current(tx) == before + 1


def test_writers_in_two_processes_lose_nothing(store: Store, settings: Settings) -> None:
    with store.read() as tx:
        before = routing.current(tx)
    answers = at_once(2, _write_often, str(settings.home), settings.database, 100)
    assert answers == [100, 100]
    with store.read() as tx:
        assert routing.current(tx) == before + 200


def _write_often(barrier: Any, _: int, home: str, database: str, times: int) -> int:
    store = open_store(clean_settings(Path(home), database))

    def work(tx: Tx) -> None:
        seen = routing.current(tx) if not tx.postgres else _locked(tx)
        tx.connection.execute(update(tables.routing).values(revision=seen + 1))

    barrier.wait()
    for _ in range(times):
        store.write(work)
    store.close()
    return times


def _locked(tx: Tx) -> int:
    return int(tx.connection.execute(select(tables.routing.c.revision).with_for_update()).scalar_one())


def test_writers_in_threads_take_turns(store: Store) -> None:
    with store.read() as tx:
        before = routing.current(tx)
    threads = [threading.Thread(target=lambda: [store.write(routing.bump) for _ in range(25)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as tx:
        assert routing.current(tx) == before + 200


def test_a_reader_does_not_wait_for_a_writer(store: Store) -> None:
    with store.read() as tx:
        before = routing.current(tx)

    def work(tx: Tx) -> int:
        routing.bump(tx)
        with store.read() as other:
            return routing.current(other)

    assert store.write(work) == before


def test_transactions_that_block_each_other_run_again(store: Store) -> None:
    """On SQLite they cannot: there is one writer."""
    first, second = scene(store, "first"), scene(store, "second")
    barrier = threading.Barrier(2)
    tries: list[str] = []

    def work(tx: Tx, order: tuple[Scene, Scene]) -> None:
        tries.append(order[0].workflow.slug)
        waits = tx.postgres and len(tries) <= 2
        for one in order:
            pk = one.workflow.pk
            tx.connection.execute(
                update(tables.workflow)
                .where(tables.workflow.c.pk == pk)
                .values(name=tables.workflow.c.name.concat("+"))
            )
            if waits:
                barrier.wait(10)  # both hold one row now, and ask for the other's
                waits = False

    orders = ((first, second), (second, first))
    threads = [threading.Thread(target=store.write, args=(lambda tx, o=order: work(tx, o),)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as tx:
        names = tx.connection.execute(select(tables.workflow.c.name).order_by(tables.workflow.c.pk)).scalars().all()
    assert names == ["First++", "Second++"]
    assert len(tries) == (3 if store.postgres else 2)


def test_a_value_taken_by_another_transaction_meanwhile_is_seen_by_the_next_try(store: Store) -> None:
    seen = []

    def work(tx: Tx) -> None:
        known = tx.connection.execute(select(tables.target.c.name).where(tables.target.c.name == "new")).first()
        seen.append(known)
        if known is None:
            if store.postgres and len(seen) == 1:
                with store.engine.begin() as other:
                    other.execute(insert(tables.target), values)
            tx.connection.execute(insert(tables.target), values)

    values = {"workspace_pk": 1, "name": "new", "kind": "service", "base_url": "http://127.0.0.1:9"}
    store.write(work)
    assert len(seen) == (2 if store.postgres else 1)


def test_a_value_that_stays_taken_is_an_error_and_no_endless_loop(store: Store) -> None:
    tries = []

    def work(tx: Tx) -> None:
        tries.append(1)
        fail_in_the_database(tx)

    with pytest.raises(LastgoodError) as caught:
        store.write(work)
    assert isinstance(caught.value.__cause__, IntegrityError)
    assert len(tries) <= 3


@on_postgres
def test_text_that_the_database_cannot_hold_is_the_senders_mistake(store: Store) -> None:
    def work(tx: Tx) -> None:
        tx.connection.execute(update(tables.workspace).values(name="a\0b"))

    with pytest.raises(InvalidRequest, match="NUL"):
        store.write(work)
    with pytest.raises(InvalidRequest, match="NUL"), store.read() as tx:
        tx.connection.execute(select(tables.workspace).where(tables.workspace.c.name == "a\0b"))


def test_a_store_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"postgresql://user:hidden-word@127.0.0.1:{free.getsockname()[1]}/x?connect_timeout=2"
        with pytest.raises(StoreUnreachable, match="Nothing was changed") as caught:
            open_store(clean_settings(tmp_path, url))
    assert "hidden-word" not in str(caught.value) + repr(caught.value.data)


@on_postgres
def test_a_store_that_goes_away_is_named_and_found_again(store: Store) -> None:
    store.write(routing.bump)

    def cut(tx: Tx) -> None:
        with store.engine.connect() as other:
            pid = tx.connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        routing.bump(tx)

    with pytest.raises(StoreUnreachable):
        store.write(cut)
    store.write(routing.bump)


def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "lastgood.db"
    file.write_text("shopping list\n" * 400)
    with pytest.raises(StoreUnreachable, match=r"lastgood\.db.*not a database"):
        open_store(clean_settings(tmp_path))
    assert file.read_text().startswith("shopping list")


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreUnreachable, match="taken"):
        open_store(clean_settings(tmp_path / "taken" / "home"))


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("mysql://user:hidden-word@host/x", "only postgresql"),
        ("postgres://user:hidden-word@host/x", "only postgresql"),
        ("no url at all", "not a database URL"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(tmp_path: Path, url: str, word: str) -> None:
    with pytest.raises(InvalidSetting, match=word) as caught:
        store_url(clean_settings(tmp_path, url))
    assert "hidden-word" not in str(caught.value)


def test_stored_times_sort_as_they_pass_and_read_back() -> None:
    times = ["2026-11-23T09:00:00.000000Z", "2026-11-23T09:00:00.000001Z", "2026-11-23T10:00:00.000000Z"]
    assert sorted(times) == times
    assert [utc_text(parse_time(time)) for time in times] == times
    assert utc_text(parse_time("2026-11-23T10:30:00+01:30")) == times[0]
    assert utc_text(parse_time("2026-11-23T09:00:00")) == times[0], "a time without a zone is UTC"
