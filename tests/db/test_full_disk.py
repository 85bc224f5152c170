"""A full disk: nothing half-written, a sentence, and a rollback that works all the same."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from lastgood.db.store import Store, open_store
from lastgood.db.tx import Tx
from lastgood.errors import StoreFull
from lastgood.history import channels, versions
from support.documents import document
from support.scene import ALICE, Scene, scene
from support.stores import clean_settings, on_sqlite

from .test_store import rows

_RESERVE = 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "none", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here ({mounted.stderr.strip()})")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def filled(disk: Path) -> Iterator[Scene]:
    """A store with two versions, the second live, on a disk that has no room left."""
    store = open_store(clean_settings(disk / "home", reserve_bytes=_RESERVE))
    place = scene(store)
    good, bad = place.versions("good", "bad", state="stable")
    place.move(good)
    place.move(bad)
    fill(disk)
    yield place
    store.close()


def fill(disk: Path) -> None:
    with (disk / "ballast").open("ab", buffering=0) as file:
        for size in (2**16, 2**12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def noise(size: int) -> str:
    """Text that no compression makes small."""
    return os.urandom(size // 2).hex()


def push_until_full(place: Scene) -> None:
    for _ in range(100):
        place.push(noise(40_000))
    raise AssertionError("the disk is not full")


def test_an_ordinary_write_says_that_the_disk_is_full_and_leaves_nothing(filled: Scene) -> None:
    with pytest.raises(StoreFull, match="nothing was saved") as caught:
        push_until_full(filled)
    assert str(filled.store.settings.home) in str(caught.value)
    before = rows(filled.store)
    for _ in range(3):
        with pytest.raises(StoreFull):
            filled.push(noise(400_000))
    assert rows(filled.store) == before
    assert filled.store.reserve.stat().st_size == _RESERVE, "an ordinary write used the reserve"


def test_a_rollback_works_on_the_reserve(filled: Scene) -> None:
    store, good = filled.store, filled.find(filled.channel().version or "").parent or ""

    def back(tx: Tx) -> int:
        channel = channels.get(tx, filled.workflow)
        to = versions.find(tx, good)
        return channels.move(tx, ALICE, filled.workflow, channel, to, expected=channel.generation, kind="rollback")

    with pytest.raises(StoreFull):
        push_until_full(filled)
    with pytest.raises(StoreFull):
        for _ in range(1000):  # small writes fit into what the log has already, for a while
            filled.move(filled.find(good))
    before = filled.channel()
    assert store.write(back, emergency=True) == before.generation + 1
    assert filled.channel().version == good
    assert not store.reserve.exists()


def test_the_store_opens_again_on_a_full_disk_and_sets_its_reserve_aside_when_there_is_room(filled: Scene) -> None:
    with pytest.raises(StoreFull):
        push_until_full(filled)
    filled.store.reserve.unlink()
    fill(filled.store.settings.home.parent)
    filled.store.close()
    store = open_store(filled.store.settings)
    assert not store.reserve.exists()
    assert not store.keep_reserve()
    assert not store.reserve.exists(), "half a reserve was left"
    (filled.store.settings.home.parent / "ballast").unlink()
    assert store.keep_reserve()
    assert store.reserve.stat().st_size == _RESERVE
    Scene(store, filled.workflow).push("again")
    store.close()


def test_a_first_start_on_a_full_disk_says_so(disk: Path) -> None:
    fill(disk)
    with pytest.raises(StoreFull):
        open_store(clean_settings(disk / "home"))


@on_sqlite
def test_the_same_without_a_small_disk(store: Store) -> None:
    """SQLite made to believe that there is no room: for where no disk can be mounted."""
    place = scene(store)
    place.push("first")

    @event.listens_for(store.engine, "begin")
    def no_room(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count=1")  # raised by SQLite to the present size

    before = rows(store)
    for _ in range(2):
        with pytest.raises(StoreFull, match="Free some space"):
            place.push(document(noise(200_000)))
        assert rows(store) == before
    event.remove(store.engine, "begin", no_room)
    store.close()  # the limit goes with the connections
    place.push("second")
