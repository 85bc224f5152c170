"""Processes that keep themselves listed."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import make_url

from lastgood.db import process
from lastgood.db.presence import Part, Presence
from lastgood.db.store import Store, make_engine

BEAT = 0.1


def until[T](found: Callable[[], T], wanted: Callable[[T], bool], seconds: float = 10.0) -> T:
    """What `found` gives once that is as `wanted`."""
    end = time.monotonic() + seconds
    while not wanted(value := found()):
        assert time.monotonic() < end, value
        time.sleep(0.02)
    return value


@pytest.fixture
def listed(store: Store) -> Callable[[], list[dict[str, Any]]]:
    def rows() -> list[dict[str, Any]]:
        with store.read() as tx:
            return process.listing(tx)

    return rows


def test_a_process_is_listed_by_its_parts_while_it_runs(
    store: Store, listed: Callable[[], list[dict[str, Any]]]
) -> None:
    presence = Presence(store, Part("api", "127.0.0.1:8321"), Part("jobs", id="ps-jobs"), beat_seconds=BEAT)
    assert listed() == []
    presence.start()
    rows = until(listed, lambda rows: len(rows) == 2)
    assert [(row["role"], row["address"], row["state"]) for row in rows] == [
        ("api", "127.0.0.1:8321", "live"),
        ("jobs", "", "live"),
    ]
    assert rows[1]["id"] == "ps-jobs"
    time.sleep(BEAT * 5)  # longer than a lease
    assert [(row["id"], row["live"]) for row in listed()] == [(row["id"], True) for row in rows]
    presence.close()
    assert listed() == []


def test_a_row_that_was_struck_is_entered_again(store: Store, listed: Callable[[], list[dict[str, Any]]]) -> None:
    presence = Presence(store, Part("engine"), beat_seconds=BEAT)
    presence.start()
    until(listed, lambda rows: len(rows) == 1)
    store.write(process.leave_all)
    until(listed, lambda rows: len(rows) == 1)
    presence.close()
    assert listed() == []


def test_without_the_store_a_process_goes_on(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    url = "postgresql+psycopg://127.0.0.1:9/x" if store.postgres else "sqlite:////nowhere/at/all"
    away = Store(store.settings, make_engine(make_url(url)), store.ring)
    presence = Presence(away, Part("engine"), beat_seconds=BEAT)
    presence.start()
    until(lambda: caplog.text, lambda text: "cannot be told" in text)
    time.sleep(BEAT * 3)
    presence.close()
    assert caplog.text.count("cannot be told") == 1, "it is said once, not with every beat"


def test_a_process_of_no_part_writes_nothing(store: Store, listed: Callable[[], list[dict[str, Any]]]) -> None:
    presence = Presence(store)
    presence.start()
    presence.close()
    assert listed() == []
