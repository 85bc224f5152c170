"""The way `database`: one compare-and-set in Dify's own table."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dify.ground import SERVER, Ground, content, ground, two
from lastgood.catalogue import Dify
from lastgood.errors import InvalidSetting, NotAsMeant, PlanRefused
from lastgood.release.placing import database
from support.stores import Postgres

from .test_restore_bugs import HOOK

APP, OLD, NEW, OTHER = (f"{n}{n}{n}{n}{n}{n}{n}{n}-0000-4000-8000-000000000000" for n in "1234")


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with postgres.database() as made:
        with psycopg.connect(made) as connection:
            connection.execute("DROP TABLE IF EXISTS apps")
            connection.execute("CREATE TABLE apps (id uuid PRIMARY KEY, workflow_id uuid)")
            connection.execute("INSERT INTO apps VALUES (%s, %s)", (APP, NEW))
        yield made


def switch(url: str, before: str = NEW, after: str = OLD) -> None:
    database.switch(url, APP, before=before, after=after, server=SERVER, version="v-20261123-01", workflow="invoices")


def pointer(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT workflow_id FROM apps").fetchone()
    return str(row[0]) if row else ""


def test_it_moves_once_and_only_from_where_it_was_seen(url: str) -> None:
    switch(url)
    assert pointer(url) == OLD
    switch(url)  # again, as after a crash
    assert pointer(url) == OLD
    with pytest.raises(NotAsMeant, match="so it was not moved"):
        switch(url, before=OTHER, after=NEW)
    assert pointer(url) == OLD


def test_an_address_that_does_not_work_is_never_told(url: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        switch("postgresql://me:hunter2@127.0.0.1:1/dify")
    assert "hunter2" not in str(error.value) + repr(error.value.data)


@pytest.fixture
def here(sqlite_template: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """A stand-in whose pointer follows the switch."""
    with ground("1.13.0", sqlite_template, home) as made:

        def moved(url: str, app: str, *, before: str, after: str, **_: Any) -> None:
            assert url == "postgresql://dify"
            assert made.fake.live is not None
            assert made.fake.live.id in (before, after)
            made.dify.world.point(made.fake, next(row for row in made.fake.versions if row.id == after))

        monkeypatch.setattr(database, "switch", moved)
        made.set_way("database")
        yield made


def allow(here: Ground) -> None:
    dify = Dify.model_validate({SERVER: {"database": "postgresql://dify"}})
    here.store.settings = here.store.settings.model_copy(update={"dify": dify})


def test_it_is_opt_in(here: Ground) -> None:
    with pytest.raises(PlanRefused, match=r"\[dify.prod\] database"):
        here.run(force=True)


def test_it_touches_no_draft_and_makes_no_row(here: Ground) -> None:
    allow(here)
    before, rows = content(here.fake.draft), len(here.fake.versions)
    done = here.run()
    assert done.state == "succeeded", done.report
    assert here.placed(here.fake.live) == here.good == here.channel.version
    assert (content(here.fake.draft), len(here.fake.versions)) == (before, rows)
    assert {name: step.state for name, step in done.steps.items() if "draft" in name} == {
        "keep-draft": "skipped",
        "write-draft": "skipped",
        "put-draft-back": "skipped",
    }
    undone = here.undo(done.id)
    assert undone.state == "undone", undone.report
    assert here.placed(here.fake.live) == here.bad == here.channel.version


def test_webhooks_refuse_it(here: Ground) -> None:
    allow(here)
    here.dify.world.editor_saves(here.fake, {**two("x"), "nodes": [HOOK, two("x")["nodes"][1]]})
    here.dify.world.somebody_publishes(here.fake)
    with pytest.raises(PlanRefused, match="webhooks"):
        here.run(to=here.good, force=True)
