"""The check of the store: exactly what is damaged is named, and the rest still reads."""

import pytest
from sqlalchemy import select, update

from history.test_blobs import fill, learn, many, spoil
from lastgood import dsl
from lastgood.db import tables
from lastgood.db.store import Store
from lastgood.errors import DamagedContent
from lastgood.history import blobs, content, fsck, snapshots, versions
from lastgood.history.fsck import Report
from lastgood.history.versions import Version
from support.documents import document
from support.scene import ALICE, Scene, scene


@pytest.fixture
def place(store: Store) -> Scene:
    return scene(store)


def check(place: Scene) -> Report:
    with place.store.read() as tx:
        return fsck.fsck(tx)


def flip(place: Scene, said: str) -> int:
    """Change a bit of the blob that holds `said`."""
    with place.store.read() as tx:
        pks = tx.connection.execute(select(tables.blob.c.pk)).scalars().all()
        (pk,) = [pk for pk, part in blobs.load(tx, pks).items() if said.encode() in part]
        body = bytearray(tx.connection.execute(select(tables.blob.c.body).where(tables.blob.c.pk == pk)).scalar_one())
    body[len(body) // 2] ^= 4
    place.store.write(
        lambda tx: tx.connection.execute(update(tables.blob).where(tables.blob.c.pk == pk).values(body=bytes(body)))
    )
    return pk


def named(report: Report) -> list[str]:
    return [one.version for one in report.damaged]


def reads(place: Scene, version: Version) -> bool:
    try:
        with place.store.read() as tx:
            versions.document_of(tx, version)
    except DamagedContent:
        return False
    return True


def test_a_sound_store_is_sound(place: Scene) -> None:
    assert check(place) == Report(0, 0, 0, (), (), ())
    pushed = place.versions("a", "b")
    place.store.write(lambda tx: content.archive_content(tx, pushed[0].digest, "snap_x"))
    report = check(place)
    assert report.sound
    assert (report.versions, report.contents) == (2, 2)
    assert report.public() == {
        "sound": True,
        "checked": {"versions": 2, "contents": 2, "blobs": report.blobs},
        "damaged": [],
        "damaged_blobs": [],
        "damaged_dictionaries": [],
    }


@pytest.mark.parametrize("archived", [False, True])
def test_a_flipped_bit_damages_exactly_the_versions_that_use_the_blob(store: Store, archived: bool) -> None:
    place, other = scene(store, "one"), scene(store, "other")
    pushed = place.versions("spring", "summer", "autumn", "summer")
    elsewhere = [other.push("summer").version, other.push("winter").version]
    if archived:
        store.write(lambda tx: content.archive_content(tx, pushed[1].digest, "snap_x"))
    pk = flip(place, "summer")
    hurt = [pushed[1], pushed[3], elsewhere[0]]
    report = check(place)
    assert not report.sound
    assert report.damaged_blobs == (pk,)
    assert sorted(named(report)) == sorted(one.id for one in hurt)
    assert {(one.workflow, one.version) for one in report.damaged} == {(one.slug, one.id) for one in hurt}
    assert {one.reason for one in report.damaged} == {f"blob {pk} is gone or damaged"}
    assert {one.snapshot for one in report.damaged} == {one.snapshot_id for one in hurt}
    assert [reads(place, one) for one in [*pushed, *elsewhere]] == [True, False, True, False, False, True]
    assert report.public()["damaged"][0]["version"] == pushed[1].id


def test_a_blob_that_all_have_damages_all_until_it_is_mended(place: Scene) -> None:
    pushed = place.versions("a", "b", "c")
    pk = flip(place, '"start"')
    assert named(check(place)) == [one.id for one in pushed]
    place.push("d")
    assert check(place).sound, f"blob {pk} came again and was mended"


def test_snapshots_kept_by_hand_are_named_too(place: Scene) -> None:
    version = place.push("a").version
    kept = place.store.write(lambda tx: snapshots.keep(tx, ALICE, place.workflow, version, "before the fair"))
    flip(place, "Template")
    assert [one.snapshot for one in check(place).damaged] == [version.snapshot_id, kept["snapshot_id"]]


def test_a_blob_that_is_gone_a_manifest_that_is_damaged_and_one_that_is_another(place: Scene) -> None:
    a, b, c, d, e = place.versions("a", "b", "c", "d", "e")
    place.store.write(lambda tx: content.archive_content(tx, b.digest, "snap_x"))

    def bodies(table: str) -> dict[str, bytes]:
        with place.store.read() as tx:
            held = tables.metadata.tables[table]
            return {row.digest: row.body for row in tx.connection.execute(select(held))}

    def put(table: str, digest: str, body: bytes) -> None:
        held = tables.metadata.tables[table]
        place.store.write(
            lambda tx: tx.connection.execute(update(held).where(held.c.digest == digest).values(body=body))
        )

    put("archive", b.digest, bodies("archive")[b.digest][:-1])
    put("content", c.digest, bodies("content")[d.digest])
    place.store.write(
        lambda tx: tx.connection.execute(tables.content.delete().where(tables.content.c.digest == e.digest))
    )
    reasons = {one.version: one.reason for one in check(place).damaged}
    assert reasons == {
        b.id: "its manifest is gone or damaged",
        c.id: f"its digest is {d.digest[:12]}, not {c.digest[:12]}",
        e.id: "its manifest is gone or damaged",
    }
    assert check(place).damaged_blobs == ()
    assert reads(place, a)


def test_content_that_no_version_has_is_checked_as_well(place: Scene) -> None:
    digest = place.store.write(lambda tx: content.write_content(tx, document("nobody's")))
    assert check(place).sound
    flip(place, "nobody's")
    (damage,) = check(place).damaged
    assert (damage.version, damage.workflow, damage.digest) == ("", "", digest)


def test_a_damaged_dictionary_is_named_with_what_it_packed_until_that_is_pushed_again(store: Store) -> None:
    place = scene(store)
    before = place.push("before").version
    fill(store, many(600))
    id = learn(store)
    assert id is not None
    value = dsl.Document({**document("after").data, "kind": "app", "extra": {"a": "b" * 40}})
    after = place.push(value).version
    spoil(store, ~id)
    report = check(place)
    assert (report.damaged_dictionaries, report.damaged, report.damaged_blobs) == ((id,), (), ())
    spoil(store, id)
    report = check(place)
    assert report.damaged_dictionaries == (id,)
    assert named(report) == [after.id]
    assert report.damaged_blobs
    assert [reads(place, before), reads(place, after)] == [True, False]
    assert not place.push(value).created
    assert reads(place, after)
    report = check(place)
    assert (report.damaged_dictionaries, report.damaged, report.damaged_blobs) == ((id,), (), ())
