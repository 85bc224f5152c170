"""The router of a SQLite store: every request sees what was committed before it began."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from lastgood.db.store import make_engine, store_url
from lastgood.errors import LiveVersionUnknown
from lastgood.gateway.router import SqliteRouter
from lastgood.history import keys, workflows
from lastgood.settings import load

from .scene import KEY, WHO, Scene, scene


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Scene]:
    with scene(load(home=tmp_path)) as running:
        yield running


@pytest.fixture
def router(play: Scene) -> Iterator[SqliteRouter]:
    engine = make_engine(store_url(play.settings))  # as another process would have it
    made = SqliteRouter(engine, play.store.ring.lookup_key)
    yield made
    made.close()
    engine.dispose()


def test_each_move_is_seen_by_the_next_request(play: Scene, router: SqliteRouter) -> None:
    for n in range(100):
        to = play.versions[(n + 1) % 2]
        play.move(to)
        found = router.route(KEY)
        assert found is not None
        assert (found.version_id, found.generation) == (to, play.generation)


def test_what_a_key_leads_to(play: Scene, router: SqliteRouter) -> None:
    found = router.route(KEY)
    assert found is not None
    assert (found.slug, found.channel, found.target, found.upstreams) == ("scene", "live", "engine", ())
    assert (found.placement_id, found.workflow_id) == (play.versions[0], play.workflow.id)
    assert router.route(KEY + "x") is None
    assert router.route("") is None


def test_keys_come_and_go(play: Scene, router: SqliteRouter) -> None:
    made = play.store.write(lambda tx: keys.create(tx, WHO, play.workflow, name="new"))
    assert router.route(made["key"]) is not None
    other = play.store.write(lambda tx: keys.create(tx, WHO, play.workflow, name="staging", channel="staging"))
    pointing_nowhere = router.route(other["key"])
    assert pointing_nowhere is not None
    assert (pointing_nowhere.channel, pointing_nowhere.version_id) == ("staging", None)
    play.store.write(lambda tx: keys.revoke(tx, WHO, play.workflow, made["id"]))
    assert router.route(made["key"]) is None
    assert router.route(KEY) is not None


def test_a_target_that_changes_its_address_is_seen(play: Scene, router: SqliteRouter) -> None:
    play.store.write(lambda tx: workflows.set_target(tx, WHO, "engine", "http://one http://two"))
    found = router.route(KEY)
    assert found is not None
    assert found.upstreams == ("http://one", "http://two")


def test_other_commits_change_nothing(play: Scene, router: SqliteRouter) -> None:
    before = router.route(KEY)
    revision = router.table.revision
    play.store.write(lambda tx: workflows.create(tx, WHO, "other", name="", mode="workflow"))
    assert router.route(KEY) == before
    assert router.table.revision == revision


def test_a_transaction_that_is_undone_is_never_seen(play: Scene, router: SqliteRouter) -> None:
    def work(tx: object) -> None:
        raise RuntimeError

    before = router.route(KEY)
    with pytest.raises(RuntimeError):
        play.store.write(work)
    assert router.route(KEY) == before


@pytest.mark.parametrize("on_store_loss", ["stop", "serve"])
def test_a_store_that_cannot_be_read(play: Scene, on_store_loss: str) -> None:
    engine = make_engine(store_url(play.settings))
    made = SqliteRouter(engine, play.store.ring.lookup_key, "serve" if on_store_loss == "serve" else "stop")
    before = made.route(KEY)
    with sqlite3.connect(play.settings.home / "lastgood.db") as other:
        other.execute("ALTER TABLE routing RENAME TO away")
    for _ in range(2):
        if on_store_loss == "stop":
            with pytest.raises(LiveVersionUnknown):
                made.route(KEY)
        else:
            assert made.route(KEY) == before
        assert made.state()["ready"] is False
    with sqlite3.connect(play.settings.home / "lastgood.db") as other:
        other.execute("ALTER TABLE away RENAME TO routing")
    play.move(play.versions[1])
    found = made.route(KEY)
    assert found is not None
    assert found.version_id == play.versions[1]
    assert made.state()["ready"] is True
    made.close()
    engine.dispose()
