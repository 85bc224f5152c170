"""App keys: shown once, ended, brought back."""

import json

import pytest
from sqlalchemy import select

from lastgood.db import tables
from lastgood.db.store import Store
from lastgood.errors import InvalidId, InvalidRequest, UnknownKey
from lastgood.history import channels, keys
from lastgood.history.workflows import Workflow
from support.scene import ALICE, BOB, Scene, scene

DIFY = "app-made-elsewhere-1234567890"


@pytest.fixture
def place(store: Store) -> Scene:
    return scene(store)


def create(place: Scene, name: str = "web", *, channel: str = "live", key: str | None = None) -> dict[str, str]:
    return place.store.write(lambda tx: keys.create(tx, ALICE, place.workflow, name=name, channel=channel, key=key))


def revoke(place: Scene, id: str, workflow: Workflow | None = None) -> None:
    place.store.write(lambda tx: keys.revoke(tx, BOB, workflow or place.workflow, id))


def listed(place: Scene) -> list[dict[str, str]]:
    with place.store.read() as tx:
        return keys.listing(tx, place.workflow)


def opens(place: Scene, key: str) -> bool:
    with place.store.read() as tx:
        return keys.workflow_of(tx, key) == place.workflow.id


def audited(place: Scene) -> list[tuple[str, str, str]]:
    with place.store.read() as tx:
        rows = tx.connection.execute(
            select(tables.audit).where(tables.audit.c.action.like("key:%")).order_by(tables.audit.c.pk)
        )
        return [(row.actor, row.action, row.resource.rpartition("/")[2]) for row in rows]


def test_a_key_is_shown_once_and_kept_as_a_hash(place: Scene) -> None:
    made = create(place)
    assert made["key"].startswith("app-")
    assert len(made["key"]) >= 32
    assert opens(place, made["key"])
    (row,) = listed(place)
    assert row["id"] == made["id"]
    assert "key" not in row
    assert "hash" not in row
    with place.store.read() as tx:
        stored = str(tx.connection.execute(select(tables.app_key)).one())
        written = str([tx.connection.execute(select(table)).all() for table in (tables.audit, tables.outbox)])
    secret = made["key"][8:]
    assert secret not in stored + written + json.dumps(row)


def test_two_keys_are_never_the_same(place: Scene) -> None:
    assert len({create(place)["key"] for _ in range(20)}) == 20


def test_an_unknown_key_opens_nothing(place: Scene) -> None:
    made = create(place)["key"]
    for wrong in ("", "app-", made + "x", made[:-1], made.upper(), made.removeprefix("app-"), "lg_" + made):
        assert not opens(place, wrong)


def test_a_key_of_a_new_channel_makes_the_channel_pointing_nowhere(place: Scene) -> None:
    create(place, channel="staging")
    assert place.channel("staging").version is None
    (version,) = place.versions("a")
    assert place.move(version, name="staging") == 1


def test_an_ended_key_opens_nothing_and_stays_listed(place: Scene) -> None:
    kept, ended = create(place, "kept"), create(place, "ended")
    revoke(place, ended["id"])
    assert (opens(place, kept["key"]), opens(place, ended["key"])) == (True, False)
    assert [(row["name"], row["revoked_at"] is not None) for row in listed(place)] == [
        ("kept", False),
        ("ended", True),
    ]
    assert audited(place)[-1] == ("bob", "key:revoke", ended["id"])


def test_a_key_is_ended_by_its_name_too(place: Scene) -> None:
    made = create(place, "web")
    revoke(place, "web")
    assert not opens(place, made["key"])


def test_all_keys_of_a_name_end_and_each_is_audited(place: Scene) -> None:
    made = [create(place, "web") for _ in range(3)]
    revoke(place, "web")
    assert not any(opens(place, one["key"]) for one in made)
    ended = [id for _, action, id in audited(place) if action == "key:revoke"]
    assert sorted(ended) == sorted(one["id"] for one in made)


@pytest.mark.parametrize("id", ["", "key-unknown", "other", "%", "live"])
def test_a_key_that_is_not_there_cannot_be_ended(place: Scene, id: str) -> None:
    create(place)
    with pytest.raises(UnknownKey, match="has no app key"):
        revoke(place, id)


def test_an_ended_key_cannot_be_ended_again(place: Scene) -> None:
    made = create(place)
    revoke(place, made["id"])
    with pytest.raises(UnknownKey):
        revoke(place, made["id"])


def test_another_workflows_key_cannot_be_ended(place: Scene) -> None:
    other = scene(place.store, "other")
    made = create(place)
    with pytest.raises(UnknownKey, match="Workflow other"):
        revoke(place, made["id"], other.workflow)
    assert opens(place, made["key"])


def test_a_key_that_dify_made_is_taken_over(place: Scene) -> None:
    assert create(place, key=DIFY)["key"] == DIFY
    assert opens(place, DIFY)


def test_a_key_in_use_cannot_be_taken_over(place: Scene) -> None:
    other = scene(place.store, "other")
    create(place, key=DIFY)
    for one in (place, other):
        with pytest.raises(InvalidRequest, match="in use already") as caught:
            create(one, key=DIFY)
        assert DIFY not in str(caught.value)
    assert opens(place, DIFY)


def test_an_ended_key_may_come_back_elsewhere(place: Scene) -> None:
    other = scene(place.store, "other")
    made = create(place, key=DIFY)
    revoke(place, made["id"])
    create(other, key=DIFY)
    assert (opens(place, DIFY), opens(other, DIFY)) == (False, True)
    assert listed(place) == []


@pytest.mark.parametrize(
    "key", ["", "app-", "app-short", "sk-1234567890123456", "app-ümlaut-123456789", "app-123456789\n0123"]
)
def test_a_key_that_no_client_could_send_is_refused(place: Scene, key: str) -> None:
    with pytest.raises(InvalidRequest, match="begins with app-"):
        create(place, key=key)


@pytest.mark.parametrize("name", ["", "   ", "x" * 64, "two\nlines", "\x1b[2J"])
def test_a_key_needs_a_name_that_can_be_shown(place: Scene, name: str) -> None:
    with pytest.raises(InvalidRequest, match="name"):
        create(place, name)
    assert listed(place) == []


def test_a_key_needs_a_channel_that_can_be(place: Scene) -> None:
    with pytest.raises(InvalidId, match="channel"):
        create(place, channel="No Channel")
    with place.store.read() as tx:
        assert channels.listing(tx, place.workflow) == []
