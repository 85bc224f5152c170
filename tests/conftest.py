"""Stores for every test that wants one: `store` runs the test once on SQLite and once on PostgreSQL."""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from lastgood.db.store import Store, open_runs, open_store
from lastgood.settings import Settings
from support.stores import (
    KINDS,
    Postgres,
    clean_settings,
    copy_sqlite,
    postgres_server,
    share_compiled_statements,
)

# Tests start hundreds of processes. Where no bytecode is kept, each compiles all it imports: seconds for an engine.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_MEMORY = Path("/dev/shm")
_IN_MEMORY = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 2**31
if _IN_MEMORY:  # most tests need no disk to wait for: pytest's own folders lie here too, and go after use
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

share_compiled_statements()

# How long an example takes says more of the machine's load than of the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """What is collected stays until the end: the collector of garbage need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's PostgreSQL server."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a migrated database."""
    return postgres.make_template("migrated", tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, and `runs.db` beside it."""
    home = tmp_path_factory.mktemp("template")
    store, runs = open_store(clean_settings(home)), open_runs(clean_settings(home))
    for engine in (store.engine, runs):
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    runs.dispose()
    return home / "lastgood.db"


@pytest.fixture
def home() -> Iterator[Path]:
    """A data directory that is not made yet, in memory where that can be."""
    with tempfile.TemporaryDirectory(prefix="lastgood-", dir=_MEMORY if _IN_MEMORY else None) as folder:
        yield Path(folder) / "home"


@pytest.fixture(params=KINDS)
def settings(request: pytest.FixtureRequest, home: Path) -> Iterator[Settings]:
    """Settings of a fresh, migrated store: on SQLite, then on PostgreSQL."""
    if request.param == "sqlite":
        copy_sqlite(request.getfixturevalue("sqlite_template"), home)
        yield clean_settings(home)
    else:
        template = request.getfixturevalue("postgres_template")
        with request.getfixturevalue("postgres").database(template) as url:
            yield clean_settings(home, url)


@pytest.fixture
def open_again(settings: Settings) -> Iterator[Callable[[], Store]]:
    """Opens the test's store, as often as wanted; all are closed in the end."""
    opened: list[Store] = []

    def again() -> Store:
        opened.append(open_store(settings))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def store(open_again: Callable[[], Store]) -> Store:
    """A fresh, open store."""
    return open_again()
