"""What stays at hand, what is archived, and that archived is not gone."""

import json

import pytest
from sqlalchemy import func, select

from lastgood.db import tables
from lastgood.db.store import Store
from lastgood.history import channels, retention, snapshots, versions
from lastgood.history.versions import Version
from support.documents import document
from support.scene import ALICE, BOB, Scene, scene

KEEP = 3


@pytest.fixture
def place(store: Store) -> Scene:
    return scene(store)


def archive(place: Scene, keep: int = KEEP) -> list[str]:
    return place.store.write(lambda tx: retention.archive_old(tx, ALICE, place.workflow, keep))


def restore(place: Scene, version: Version) -> Version:
    return place.store.write(lambda tx: retention.restore(tx, BOB, place.find(version.id)))


def archived(place: Scene) -> list[str]:
    """The texts of the archived versions, oldest first."""
    with place.store.read() as tx:
        page = versions.page(tx, place.workflow, limit=500)
        return [text_of(place, one) for one in reversed(page) if one.archived_at]


def text_of(place: Scene, version: Version) -> str:
    with place.store.read() as tx:
        nodes = versions.document_of(tx, version).nodes
    return str(nodes[1]["data"]["template"])


def blob_bytes(place: Scene) -> int:
    with place.store.read() as tx:
        return int(tx.connection.execute(select(func.sum(func.length(tables.blob.c.body)))).scalar_one())


def at_hand(place: Scene) -> int:
    with place.store.read() as tx:
        return tx.connection.execute(select(func.count()).select_from(tables.content)).scalar_one()


def test_nothing_is_archived_while_there_are_few(place: Scene) -> None:
    assert archive(place) == []
    place.versions("a", "b", "c")
    assert archive(place) == []
    assert archived(place) == []


def test_the_newest_stay_and_older_ones_are_archived(place: Scene) -> None:
    pushed = place.versions("a", "b", "c", "d", "e")
    assert sorted(archive(place)) == [pushed[0].id, pushed[1].id]
    assert archived(place) == ["a", "b"]
    assert at_hand(place) == KEEP
    assert archive(place) == [], "once is enough"
    place.push("f")
    assert archive(place) == [pushed[2].id]


def test_archived_versions_are_listed_and_read_as_before(place: Scene) -> None:
    before = place.versions("a", "b", "c", "d", "e")
    archive(place)
    with place.store.read() as tx:
        listed = versions.page(tx, place.workflow)
        assert [one.id for one in listed] == [one.id for one in before[::-1]]
        assert versions.document_of(tx, before[0]).data == document("a").data
        shown = snapshots.read(tx, before[0].snapshot_id)
        assert (shown["archived"], shown["document"]) == (True, document("a").data)
        assert [row["archived"] for row in snapshots.listing(tx, place.workflow)] == [False] * 3 + [True] * 2
    assert [one.public()["archived"] for one in listed] == [False, False, False, True, True]
    assert listed[-1].digest == before[0].digest


def test_an_archived_version_is_smaller(place: Scene) -> None:
    place.push(document(" ".join(f"line {n}: the quick brown fox {n * 7}" for n in range(4000))))
    place.versions("b", "c", "d")
    hot = blob_bytes(place)
    archive(place)
    assert blob_bytes(place) < hot


def test_what_a_channel_points_to_is_never_archived(place: Scene) -> None:
    a, b, *_ = place.versions("a", "b", "c", "d", "e", "f")
    place.move(a)
    place.move(b, name="lts-1")
    archive(place)
    assert archived(place) == ["c"]
    place.move(place.find(b.id))
    archive(place)
    assert archived(place) == ["a", "c"]


def test_the_last_good_version_of_each_channel_is_never_archived(place: Scene) -> None:
    a, b, c, *_ = place.versions("a", "b", "c", "d", "e", "f", "g")
    for version in (a, b):
        place.mark(version, "stable")
    place.move(c)
    assert place.last_good() == b.id
    archive(place)
    assert archived(place) == ["a", "d"]
    place.mark(b, "failed")
    assert place.last_good() == a.id, "an archived version can be the last good one"
    archive(place)
    assert archived(place) == ["a", "b", "d"]


def test_going_back_to_an_archived_version_works(place: Scene) -> None:
    a, *_, live = place.versions("a", "b", "c", "d", "e")
    archive(place)
    place.move(live)
    place.move(place.find(a.id), kind="rollback")
    assert place.channel().version == a.id
    assert text_of(place, a) == "a"


def test_what_is_pinned_is_never_archived(place: Scene) -> None:
    a, *_ = place.versions("a", "b", "c", "d", "e")
    archive(place)
    assert restore(place, a).pinned
    assert archived(place) == ["b"]
    place.versions("f", "g")
    archive(place)
    assert archived(place) == ["b", "c", "d"]
    assert text_of(place, a) == "a"


def test_restoring_what_is_at_hand_only_pins_it(place: Scene) -> None:
    (a,) = place.versions("a")
    assert restore(place, a).pinned
    assert text_of(place, a) == "a"
    place.versions("b", "c", "d", "e")
    archive(place)
    assert archived(place) == ["b"]


def test_content_that_a_newer_version_shares_is_not_archived(place: Scene) -> None:
    place.versions("a", "b", "c", "d", "a")
    assert len(archive(place)) == 1
    assert archived(place) == ["b"]


def test_a_push_of_archived_content_brings_all_its_versions_back_to_hand(place: Scene) -> None:
    place.versions("a", "b", "c", "d", "e")
    archive(place)
    place.push("a")
    assert archived(place) == ["b"]


def test_content_that_another_workflow_has_at_hand_is_not_archived(place: Scene) -> None:
    other = scene(place.store, "other")
    other.versions("a", "x")
    place.versions("a", "b", "c", "d", "e")
    archive(place)
    assert archived(place) == ["b"], "the other workflow's newest are to stay at hand"
    assert archived(other) == []


def test_content_that_is_old_in_every_workflow_is_archived(place: Scene) -> None:
    other = scene(place.store, "other")
    other.versions("a", "x", "y", "z")
    place.versions("a", "b", "c", "d", "e")
    archive(place)
    assert archived(place) == ["a", "b"]


def test_content_that_is_another_workflows_last_good_or_pinned_or_live_is_not_archived(place: Scene) -> None:
    other = scene(place.store, "other")
    a, b, c, *_ = other.versions("a", "b", "c", "w", "x", "y", "z")
    other.mark(a, "stable")
    restore(other, b)
    other.move(c)
    assert other.last_good() == a.id
    place.versions("a", "b", "c", "d", "e", "f", "g")
    archive(place)
    assert archived(place) == ["d"]


def test_a_state_kept_by_hand_stays_readable(place: Scene) -> None:
    a, *_ = place.versions("a", "b", "c", "d", "e")
    kept = place.store.write(lambda tx: snapshots.keep(tx, ALICE, place.workflow, a, "precious"))
    archive(place)
    with place.store.read() as tx:
        assert snapshots.read(tx, kept["snapshot_id"])["document"] == document("a").data


def test_old_ones_are_archived_in_batches_until_none_is_left(place: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_BATCH", 4)
    place.versions(*[f"text {number:02}" for number in range(15)])
    assert [len(archive(place)) for _ in range(5)] == [4, 4, 4, 0, 0]
    assert at_hand(place) == KEEP


def test_what_is_kept_does_not_stop_the_batches(place: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_BATCH", 2)
    first, *rest = place.versions(*[f"text {number:02}" for number in range(10)])
    place.mark(first, "stable")
    place.move(rest[-1])
    for version in rest[:3]:
        restore(place, version)
    while archive(place):
        pass
    assert archived(place) == [f"text {number:02}" for number in range(4, 7)]


def test_archiving_and_restoring_are_audited(place: Scene) -> None:
    a, b, *_ = place.versions("a", "b", "c", "d", "e")
    archive(place)
    restore(place, a)
    with place.store.read() as tx:
        rows = tx.connection.execute(select(tables.audit).order_by(tables.audit.c.pk.desc()).limit(2)).all()
    assert [(row.actor, row.action) for row in rows] == [("bob", "workflow:restore"), ("alice", "workflow:archive")]
    assert sorted(json.loads(rows[1].canonical)["versions"]) == [a.id, b.id]
    assert rows[0].resource.endswith(f"/version/{a.id}")
    archive(place)
    with place.store.read() as tx:
        last = tx.connection.execute(select(func.max(tables.audit.c.pk))).scalar_one()
    assert last == rows[0].pk, "nothing was archived and something was written"


def test_the_channel_of_a_new_workflow_holds_nothing_back(place: Scene) -> None:
    place.versions("a", "b", "c", "d")
    place.store.write(lambda tx: channels.ensure(tx, place.workflow))
    assert len(archive(place)) == 1
