"""The migrations, the tables and the first start."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, event, inspect, text

from lastgood.access import tokens
from lastgood.db import migrations, runs, tables
from lastgood.db.store import Store, make_engine, open_runs, open_store, store_url
from lastgood.errors import StoreNewer
from lastgood.settings import Settings
from support.processes import at_once
from support.stores import KINDS, clean_settings

Branch = Literal["main", "runs"]
_METADATA: dict[Branch, MetaData] = {"main": tables.metadata, "runs": runs.metadata}


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a store that nobody has opened yet."""
    if request.param == "sqlite":
        yield clean_settings(tmp_path / "home")
    else:
        with request.getfixturevalue("postgres").database() as url:
            yield clean_settings(tmp_path / "home", url)


@pytest.mark.parametrize("branch", _METADATA)
def test_the_known_head_is_the_newest_migration(branch: Branch) -> None:
    script = ScriptDirectory.from_config(migrations.alembic_config(branch))
    assert script.get_heads() == [migrations.HEADS[branch]]


@pytest.mark.parametrize("branch", _METADATA)
def test_migrations_make_exactly_the_tables_of_the_code(settings: Settings, branch: Branch) -> None:
    ours = _METADATA[branch]

    def include(_: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
        return not (kind == "table" and reflected and name not in ours.tables)

    engine = open_runs(settings) if branch == "runs" else open_store(settings).engine
    with engine.connect() as connection:
        assert set(ours.tables) <= set(inspect(connection).get_table_names())
        context = MigrationContext.configure(connection, opts={"include_object": include, "compare_type": True})
        assert compare_metadata(context, ours) == []
    engine.dispose()


def test_a_store_opened_again_is_left_as_it_is(store: Store, settings: Settings) -> None:
    store.write(tokens.first_admin)
    again = open_store(settings)
    with again.read() as tx:
        assert tx.connection.execute(tables.token.select()).one().name == tokens.ADMIN
    again.close()


def test_a_store_of_a_newer_release_is_refused_and_untouched(store: Store, settings: Settings) -> None:
    store.write(lambda tx: tx.connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(StoreNewer, match="schema 9999, this one knows") as caught:
        open_store(settings)
    assert caught.value.data["known"] == migrations.HEADS["main"]
    with store.read() as tx:
        assert tx.connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_a_migration_that_is_interrupted_leaves_nothing_and_runs_again(empty: Settings) -> None:
    engine = make_engine(store_url(empty.model_copy(update={"home": _made(empty.home)})))

    @event.listens_for(engine, "before_cursor_execute")
    def interrupt(_: Connection, __: Any, statement: str, *___: Any) -> None:
        if "CREATE TABLE move" in statement:
            raise InterruptedError("the power went")

    with pytest.raises(InterruptedError):
        migrations.upgrade(engine, "main")
    assert _tables(engine) == []
    event.remove(engine, "before_cursor_execute", interrupt)
    migrations.upgrade(engine, "main")
    assert set(tables.metadata.tables) <= set(_tables(engine))
    engine.dispose()


def test_first_starts_at_once_agree_on_one_key_ring_and_one_admin_token(empty: Settings) -> None:
    answers = at_once(4, _first_start, str(empty.home), empty.database)
    assert [one for one in answers if isinstance(one, Exception)] == []
    assert len({ring for ring, _ in answers}) == 1, answers
    assert sorted(token is None for _, token in answers) == [False, True, True, True]
    store = open_store(empty)
    shown = next(token for _, token in answers if token)
    with store.read() as tx:
        found = tokens.owner(tx, shown)
    assert found is not None and found.name == tokens.ADMIN
    store.close()


def test_an_installation_whose_path_holds_spaces_and_percent_signs_finds_its_migrations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "my programs" / "100%x" / "migrations"
    shutil.copytree(Path(migrations.__file__).parent, here)
    monkeypatch.setattr(migrations, "files", lambda _: here)
    store = open_store(clean_settings(tmp_path / "home"))
    assert set(tables.metadata.tables) <= set(_tables(store.engine))
    store.close()


def _first_start(barrier: Any, _: int, home: str, database: str) -> tuple[str, str | None]:
    settings = clean_settings(Path(home), database)
    barrier.wait()
    store = open_store(settings)
    token = store.write(tokens.first_admin)
    store.close()
    return store.ring.fingerprint("the same?"), token


def _made(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    return home


def _tables(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return inspect(connection).get_table_names()
