"""What a push keeps, what it shares, and what it never writes."""

import json
import threading
from typing import Any

import pytest
import zstandard
from sqlalchemy import select

from lastgood import dsl
from lastgood.db import tables
from lastgood.db.store import Store
from lastgood.errors import InvalidRequest, Unsealable
from lastgood.history import snapshots, versions
from support.documents import document, plain_chat
from support.scene import ALICE, BOB, Scene, scene

SECRET, OTHER = "sk-word-that-nobody-may-read", "sk-another-word-to-hide"


@pytest.fixture
def place(store: Store) -> Scene:
    return scene(store)


def secrets(place: Scene, id: str) -> dict[str, str]:
    with place.store.read() as tx:
        return versions.secrets_of(tx, versions.find(tx, id))


def everything(store: Store) -> bytes:
    """All that the store holds, opened as far as it opens without keys."""
    found = []
    with store.read() as tx:
        for table in tables.metadata.tables.values():
            for row in tx.connection.execute(select(table)):
                for value in row:
                    found.append(bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode())
                    if isinstance(value, bytes | memoryview) and bytes(value).startswith(b"\x28\xb5\x2f\xfd"):
                        found.append(zstandard.decompress(bytes(value)))
    home = store.settings.home
    found += [path.read_bytes() for path in home.iterdir() if path.is_file() and path.name != "keyring.json"]
    return b"\n".join(found)


def test_the_first_push_is_a_candidate_with_all_that_is_known_of_it(place: Scene) -> None:
    pushed = place.push("hello", note="first", author="Ada", authored_at="2024-04-01T10:00:00+02:00")
    version = pushed.version
    assert pushed.created
    assert (version.state, version.origin, version.author, version.note) == ("candidate", "push", "Ada", "first")
    assert version.authored_at == "2024-04-01T08:00:00.000000Z"
    assert version.recorded_at > "2026"
    assert (version.parent, version.semver, version.pinned, version.channels) == (None, None, False, ())
    assert version.digest == dsl.content_digest(document("hello"))
    assert version.semantic_digest == dsl.semantic_digest(document("hello"))
    assert place.push("more").version.parent == version.id


def test_the_author_is_who_pushes_where_none_is_named(place: Scene) -> None:
    assert place.push("a", who=BOB).version.author == "bob"


def test_the_same_document_twice_is_one_version(place: Scene) -> None:
    first, second = place.push("a"), place.push("a", note="other note")
    assert (second.created, second.version.id, second.version.note) == (False, first.version.id, "")
    with place.store.read() as tx:
        assert len(versions.page(tx, place.workflow)) == 1


def test_an_older_document_again_is_a_new_version_of_the_same_snapshot(place: Scene) -> None:
    first, _, third = (place.push(text) for text in ("a", "b", "a"))
    assert third.created
    assert third.version.snapshot_id == first.version.snapshot_id
    with place.store.read() as tx:
        assert snapshots.read(tx, first.version.snapshot_id)["versions"] == [first.version.id, third.version.id]
        assert len(tx.connection.execute(select(tables.content)).all()) == 2


def test_two_workflows_share_content(place: Scene) -> None:
    other = scene(place.store, "other")
    assert place.push("a").version.snapshot_id == other.push("a").version.snapshot_id


def test_a_change_of_layout_is_a_new_version_of_the_same_workflow(place: Scene) -> None:
    first, moved = place.push(document(x=0)).version, place.push(document(x=200)).version
    assert moved.id != first.id
    assert moved.digest != first.digest
    assert moved.semantic_digest == first.semantic_digest


def test_a_changed_secret_is_a_new_version_of_the_same_content(place: Scene) -> None:
    first = place.push(document(secrets={"KEY": SECRET})).version
    same = place.push(document(secrets={"KEY": SECRET}))
    changed = place.push(document(secrets={"KEY": OTHER}))
    assert not same.created
    assert changed.created
    assert changed.version.digest == first.digest
    assert [secrets(place, one) for one in (first.id, changed.version.id)] == [{"KEY": SECRET}, {"KEY": OTHER}]


@pytest.mark.parametrize("left_out", [None, "*" * 20, "sk-wor************ad", "[__HIDDEN__]"])
def test_a_secret_that_comes_without_its_value_keeps_it(place: Scene, left_out: str | None) -> None:
    place.push(document(secrets={"KEY": SECRET}))
    assert not place.push(document(secrets={"KEY": left_out})).created
    changed = place.push(document("changed", secrets={"KEY": left_out}))
    assert changed.secrets_missing == ()
    assert secrets(place, changed.version.id) == {"KEY": SECRET}


def test_a_secret_without_a_value_anywhere_is_named(place: Scene) -> None:
    pushed = place.push(document(secrets={"KEY": None, "TOKEN": SECRET}))
    assert pushed.secrets_missing == ("KEY",)
    assert secrets(place, pushed.version.id) == {"TOKEN": SECRET}


def test_a_secret_that_is_dropped_is_gone_and_does_not_come_back_by_itself(place: Scene) -> None:
    place.push(document(secrets={"KEY": SECRET}))
    place.push(document())
    back = place.push(document(secrets={"KEY": None}))
    assert back.secrets_missing == ("KEY",)


def test_a_version_runs_with_the_values_that_it_came_with(place: Scene) -> None:
    first = place.push(document(secrets={"KEY": SECRET})).version
    place.push(document(secrets={"KEY": OTHER}))
    with place.store.read() as tx:
        ready = versions.runnable_document(tx, first)
    assert dsl.take_secrets(ready)[1] == {"KEY": SECRET}


def test_no_secret_value_is_in_the_store_or_beside_it(place: Scene) -> None:
    for text in ("a", "b"):
        place.push(document(text, secrets={"KEY": SECRET, "TOKEN": OTHER}), note="with keys")
    place.mark(place.push(document("c", secrets={"KEY": None, "TOKEN": OTHER + "!"})).version, "stable")
    held = everything(place.store)
    assert b"with keys" in held, "the search looks in the wrong place"
    for value in (SECRET, OTHER):
        for form in (value, value[::-1], value.encode().hex(), json.dumps(value), value[3:]):
            assert form.encode() not in held


def test_the_same_secret_in_two_versions_is_sealed_apart_and_known_as_the_same(place: Scene) -> None:
    for text in ("a", "b"):
        place.push(document(text, secrets={"KEY": SECRET}))
    with place.store.read() as tx:
        one, two = tx.connection.execute(select(tables.secret)).all()
    assert one.fingerprint == two.fingerprint == place.store.ring.fingerprint(SECRET)
    assert bytes(one.sealed) != bytes(two.sealed)


def test_a_sealed_value_put_under_another_version_does_not_open(place: Scene) -> None:
    first = place.push(document("a", secrets={"KEY": SECRET})).version
    second = place.push(document("b", secrets={"KEY": OTHER})).version

    def swap(tx: Any) -> None:
        sealed = tx.connection.execute(select(tables.secret.c.sealed).order_by(tables.secret.c.version_pk)).scalars()
        for pk, value in zip((second.pk, first.pk), list(sealed), strict=True):
            statement = tables.secret.update().where(tables.secret.c.version_pk == pk).values(sealed=value)
            tx.connection.execute(statement)

    place.store.write(swap)
    for version in (first, second):
        with pytest.raises(Unsealable, match="KEY"):
            secrets(place, version.id)


def test_what_is_read_back_is_the_document_without_its_secrets(place: Scene) -> None:
    sent = document("hé ☃ \U0001f600", secrets={"KEY": SECRET})
    sent.data["x-unknown"] = {"kept": [1, 1.0, None, "…"]}
    version = place.push(sent).version
    with place.store.read() as tx:
        found = versions.document_of(tx, version)
    assert found == dsl.take_secrets(sent)[0]
    assert dsl.content_digest(found) == version.digest


def test_the_definition_read_by_the_api_is_the_same_version(place: Scene) -> None:
    version = place.push(document("a", secrets={"KEY": SECRET})).version
    with place.store.read() as tx:
        definition = json.dumps(snapshots.read(tx, version.snapshot_id))
    again = place.push(dsl.parse(definition))
    assert (again.created, again.version.digest) == (False, version.digest)


def test_an_export_is_the_same_version(place: Scene) -> None:
    version = place.push(document("a\n  b: - c")).version
    with place.store.read() as tx:
        found = versions.document_of(tx, version)
    for text in (dsl.to_yaml(found), dsl.to_json(found)):
        assert not place.push(dsl.parse(text)).created


def test_an_app_without_a_graph_is_kept(store: Store) -> None:
    place = scene(store, mode="chat")
    version = place.push(plain_chat()).version
    with store.read() as tx:
        assert snapshots.read(tx, version.snapshot_id)["workflow_config"] == {"nodes": [], "edges": []}


def test_a_snapshot_tells_at_least_what_its_readers_rely_on(place: Scene) -> None:
    version = place.push("a").version
    with place.store.read() as tx:
        found = snapshots.read(tx, version.snapshot_id)
    assert found["snapshot_id"] == version.snapshot_id
    assert found["created_at"] == version.recorded_at
    assert found["workflow_config"] == {
        "nodes": ["begin", "say", "done"],
        "edges": [["begin", "say"], ["say", "done"]],
    }
    assert found["document"] == document("a").data


def test_a_state_kept_by_hand_has_an_id_and_a_note_of_its_own(place: Scene) -> None:
    version = place.push("a").version
    kept = place.store.write(lambda tx: snapshots.keep(tx, ALICE, place.workflow, version, "before the migration"))
    assert kept["snapshot_id"] != version.snapshot_id
    assert (kept["note"], kept["versions"], kept["digest"]) == ("before the migration", [version.id], version.digest)
    with place.store.read() as tx:
        listed = snapshots.listing(tx, place.workflow)
    assert [(row["snapshot_id"], row["kept_by_hand"]) for row in listed] == [
        (kept["snapshot_id"], True),
        (version.snapshot_id, False),
    ]
    assert place.push("b").created
    assert place.push("a").version.snapshot_id == version.snapshot_id, "a push shares, and not with one kept by hand"


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"note": "x" * 2001}, "note"),
        ({"authored_at": "yesterday"}, "authored_at"),
        ({"authored_at": "0001-01-01T00:00:00+14:00"}, "authored_at"),
    ],
)
def test_facts_that_make_no_sense_are_refused_and_nothing_is_kept(
    place: Scene, given: dict[str, Any], where: str
) -> None:
    with pytest.raises(InvalidRequest, match=where):
        place.push("a", **given)
    with place.store.read() as tx:
        for table in (tables.version, tables.snapshot, tables.content, tables.counter):
            assert tx.connection.execute(select(table)).all() == []


def test_the_same_document_pushed_by_many_at_once_is_one_version(place: Scene) -> None:
    """Also where its content is known already, so that nothing but the workflow can make them wait."""
    place.push("a")
    place.push("b")
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(place.push("a"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(pushed.created for pushed in found) == [False] * 7 + [True]
    assert len({pushed.version.id for pushed in found}) == 1


def test_new_content_pushed_to_many_workflows_at_once_is_stored_once(store: Store) -> None:
    places = [scene(store, f"flow-{number}") for number in range(6)]
    found: list[Any] = []
    threads = [threading.Thread(target=lambda one=one: found.append(one.push("new"))) for one in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [pushed.created for pushed in found] == [True] * 6
    with store.read() as tx:
        assert len(tx.connection.execute(select(tables.content)).all()) == 1
        parents = tx.connection.execute(select(tables.version.c.parent_pk)).scalars().all()
    assert parents == [None] * 6


def test_every_push_is_audited_and_told(place: Scene) -> None:
    version = place.push("a", note="why", who=BOB).version
    with place.store.read() as tx:
        row = tx.connection.execute(select(tables.audit).order_by(tables.audit.c.pk.desc()).limit(1)).one()
        event = tx.connection.execute(select(tables.outbox)).all()[-1]
    assert (row.actor, row.action, row.result, row.reason) == ("bob", "workflow:push", "allowed", "why")
    assert row.resource == f"workflow/{place.workflow.id}/version/{version.id}"
    assert json.loads(row.canonical)["after"] == version.digest
    assert (event.type, event.subject) == ("version.pushed", place.workflow.id)
    assert json.loads(event.payload)["version"] == version.id
