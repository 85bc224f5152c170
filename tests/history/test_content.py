"""Stored content: every read checks its checksums, and what leaves has its digest checked, archived or not."""

import hashlib
from typing import Any

import pytest
import zstandard
from sqlalchemy import select, update

from lastgood import dsl
from lastgood.db import tables
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import DamagedContent
from lastgood.history import blobs, content, fsck, snapshots, versions
from lastgood.history.versions import Version
from support.documents import document
from support.scene import Scene, scene


@pytest.fixture
def place(store: Store) -> Scene:
    return scene(store)


def held(place: Scene, table: Any = tables.content) -> bytes:
    """The stored bytes of the only content in `table`."""
    with place.store.read() as tx:
        return bytes(tx.connection.execute(select(table.c.body)).scalar_one())


def put(place: Scene, body: bytes, table: Any = tables.content) -> None:
    place.store.write(lambda tx: tx.connection.execute(update(table).values(body=body)))


def read(place: Scene, version: Version) -> dict[str, Any]:
    with place.store.read() as tx:
        return versions.document_of(tx, version).data


def archive(place: Scene, version: Version) -> None:
    place.store.write(lambda tx: content.archive_content(tx, version.digest, version.snapshot_id))


def restore(place: Scene, version: Version) -> None:
    place.store.write(lambda tx: content.restore_content(tx, version.digest))


def test_content_is_its_digest(place: Scene) -> None:
    version = place.push(document("a")).version
    with place.store.read() as tx:
        row = tx.connection.execute(select(tables.content)).one()
    body = dsl.canonical(document("a").data)
    assert (row.digest, row.size) == (hashlib.sha256(body).hexdigest(), len(body))
    assert version.digest == row.digest


def test_archived_content_reads_the_same_and_lies_in_one_place_only(place: Scene) -> None:
    version = place.push(document("a")).version

    def where() -> list[str]:
        with place.store.read() as tx:
            both = {"hot": tables.content, "archived": tables.archive}
            return [name for name, table in both.items() if tx.connection.execute(select(table)).first()]

    assert where() == ["hot"]
    for _ in range(2):
        archive(place, version)
        assert where() == ["archived"]
        assert read(place, version) == document("a").data
    for _ in range(2):
        restore(place, version)
        assert where() == ["hot"]
        assert read(place, version) == document("a").data


def test_a_push_of_archived_content_brings_it_back(place: Scene) -> None:
    version = place.push(document("a")).version
    archive(place, version)
    assert place.push(document("b")).created
    assert place.push(document("a")).version.snapshot_id == version.snapshot_id
    with place.store.read() as tx:
        assert tx.connection.execute(select(tables.archive)).first() is None


@pytest.mark.parametrize("archived", [False, True])
def test_no_changed_byte_is_read(store: Store, archived: bool) -> None:
    place = scene(store)
    version = place.push(document("a")).version
    if archived:
        archive(place, version)
    table = tables.archive if archived else tables.content
    sound = held(place, table)
    places = [*range(min(24, len(sound))), *range(24, len(sound), 37), len(sound) - 1]
    for i in places:
        put(place, sound[:i] + bytes([sound[i] ^ 0x55]) + sound[i + 1 :], table)
        try:
            assert read(place, version) == document("a").data, "a changed byte gave another document"
        except DamagedContent as error:
            assert version.snapshot_id in str(error)
    for bad in (b"", b"\0", sound[:-1], sound[1:], sound[: len(sound) // 2], b"not zstd at all", sound[:4]):
        put(place, bad, table)
        with pytest.raises(DamagedContent, match=r"digest is (unreadable|[0-9a-f]{12})"):
            read(place, version)
    put(place, sound, table)
    assert read(place, version) == document("a").data


def test_other_sound_content_in_its_place_is_not_read(place: Scene) -> None:
    first, second = place.versions("a", "longer")

    def swap(tx: Tx) -> None:
        rows = tx.connection.execute(select(tables.content.c.digest, tables.content.c.body)).all()
        bodies = {row.digest: row.body for row in rows}
        for one, other in ((first, second), (second, first)):
            statement = update(tables.content).where(tables.content.c.digest == one.digest)
            tx.connection.execute(statement.values(body=bodies[other.digest]))

    place.store.write(swap)
    for one, other in ((first, second), (second, first)):
        with pytest.raises(DamagedContent, match=f"{other.digest[:12]}, not {one.digest[:12]}"):
            read(place, one)


def test_what_leaves_the_store_has_its_digest_checked(place: Scene) -> None:
    """Another sound part in the place of one, as long as it: no checksum and no length can tell, only the digest."""
    first, second = place.versions("this", "that")
    table = tables.blob

    def swap(tx: Tx) -> None:
        found = blobs.load(tx, tx.connection.execute(select(table.c.pk)).scalars().all())
        one, other = (next(pk for pk, part in found.items() if said in part) for said in (b"this", b"that"))
        row = tx.connection.execute(select(table).where(table.c.pk == other)).one()
        values = {"body": row.body, "dictionary_id": row.dictionary_id}
        tx.connection.execute(update(table).where(table.c.pk == one).values(values))

    place.store.write(swap)
    assert read(place, first) == document("that").data, "what an ordinary read cannot know"
    with place.store.read() as tx:
        assert [one.version for one in fsck.fsck(tx).damaged] == [first.id]
        for leaves in (
            lambda: versions.document_of(tx, first, whole=True),
            lambda: versions.runnable_document(tx, first),
            lambda: snapshots.read(tx, first.snapshot_id),
        ):
            with pytest.raises(DamagedContent, match=first.snapshot_id):
                leaves()
        assert versions.document_of(tx, second, whole=True).data == document("that").data
    with pytest.raises(DamagedContent):
        archive(place, first)


def test_content_that_is_gone_is_damage(place: Scene) -> None:
    version = place.push("a").version
    place.store.write(lambda tx: tx.connection.execute(tables.content.delete()))
    with pytest.raises(DamagedContent):
        read(place, version)
    with pytest.raises(DamagedContent), place.store.read() as tx:
        snapshots.read(tx, version.snapshot_id)


def test_damage_is_found_before_it_is_archived_or_restored(place: Scene) -> None:
    version = place.push("a").version
    sound = held(place)
    put(place, sound[:-3])
    with pytest.raises(DamagedContent):
        archive(place, version)
    put(place, sound)
    archive(place, version)
    put(place, held(place, tables.archive)[:-3], tables.archive)
    with pytest.raises(DamagedContent):
        restore(place, version)


@pytest.mark.parametrize("archived", [False, True])
def test_pushing_the_document_again_mends_it_as_the_error_says(store: Store, archived: bool) -> None:
    place = scene(store)
    version = place.push(document("a")).version
    if archived:
        archive(place, version)
    put(place, b"damaged", tables.archive if archived else tables.content)
    with pytest.raises(DamagedContent, match="push the document again"):
        read(place, version)
    assert not place.push(document("a")).created
    assert read(place, version) == document("a").data


def test_a_list_of_versions_needs_no_content(place: Scene) -> None:
    version = place.push("a").version
    put(place, b"damaged")
    with place.store.read() as tx:
        assert [one.id for one in versions.page(tx, place.workflow)] == [version.id]
        assert versions.find(tx, version.id) == version


def test_a_bomb_is_not_unpacked(place: Scene) -> None:
    """A frame of a few bytes that says it holds a terabyte."""
    version = place.push("a").version
    header = b"\x28\xb5\x2f\xfd\xe0" + (2**40).to_bytes(8, "little")
    assert zstandard.frame_content_size(header) == 2**40
    put(place, header + b"\x01\x00\x00")
    with pytest.raises(DamagedContent):
        read(place, version)
