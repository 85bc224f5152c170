"""Parts of documents: cut and joined, stored once, checked, packed with a dictionary."""

import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from alembic import command
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, text, update

from lastgood import dsl
from lastgood.db import migrations, tables
from lastgood.db.store import Store, make_engine, open_store, store_url
from lastgood.db.tx import Tx
from lastgood.errors import DamagedContent, InvalidDocument
from lastgood.history import blobs, content, dictionary, manifest
from lastgood.history.manifest import Manifest
from lastgood.settings import Settings
from support.documents import document, plain_chat
from support.scene import scene
from support.shared import shared
from support.stores import KINDS, clean_settings, on_sqlite

_numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
_leaves = st.none() | st.booleans() | _numbers | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(
    ["nodes", "graph", "workflow"]
)
_values = st.recursive(
    _leaves, lambda v: st.lists(v, max_size=4) | st.dictionaries(_keys, v, max_size=4), max_leaves=12
)
_graphs = st.dictionaries(_keys, _values, max_size=3) | st.fixed_dictionaries(
    {"nodes": st.lists(_values, max_size=4)}, optional={"edges": _values, "viewport": _values, "z": _values}
)
_documents = st.dictionaries(_keys, _values, max_size=4) | st.fixed_dictionaries(
    {"workflow": st.fixed_dictionaries({"graph": _graphs}, optional={"features": _values, "a": _values})},
    optional={"app": _values, "version": _values, "zz": _values},
)


@given(_documents)
def test_a_document_that_is_cut_and_joined_is_itself(data: dict[str, Any]) -> None:
    assert manifest.join(*manifest.split(data)) == dsl.canonical(data)


def test_every_document_of_the_corpus_is_cut_and_joined() -> None:
    for path in sorted(shared("corpus", "files").glob("*.yml")):
        try:
            data = dsl.parse(path.read_bytes(), source=path.name).data
        except InvalidDocument:
            continue
        assert manifest.join(*manifest.split(data)) == dsl.canonical(data), path.name


@given(st.lists(st.integers(0, 2**63), max_size=200), st.binary(max_size=300))
def test_a_manifest_is_written_and_read(keys: list[int], view: bytes) -> None:
    made_of = Manifest([1, *keys], view)
    assert manifest.unpack(manifest.pack(made_of)) == made_of


def packed(*keys: int, view: bytes = b"") -> bytes:
    return manifest.pack(Manifest([*keys], view))


def test_keys_that_follow_one_another_take_little_room() -> None:
    assert len(packed(*range(1_000_000, 1_002_000))) < 60
    assert len(packed(1, *range(50, 90), 7)) < 60


def test_no_changed_bit_of_a_manifest_is_read() -> None:
    for sound in (packed(1, 5, 3, 100_000, 2, 70_000, 8, 99, 200_000), packed(*range(500, 900))):
        for bit in range(8 * len(sound)):
            changed = bytearray(sound)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises((ValueError, zstandard.ZstdError)):
                manifest.unpack(bytes(changed))


LONG = {"said": "a" * 300}


@pytest.mark.parametrize(
    ("data", "places", "view"),
    [
        (document("a").data, range(1, 4), b""),
        (plain_chat().data, range(0), b""),
        ({"workflow": {"graph": {"nodes": []}}}, range(0), b""),
        ({"workflow": {"graph": {"nodes": [1], "viewport": {"x": 1}}}}, range(1, 2), b'{"x":1}'),
        ({"workflow": {"graph": {"edges": LONG, "nodes": [1, 2], "viewport": LONG}}}, range(2, 4), b""),
        (
            {"app": LONG, "workflow": {"graph": {"nodes": [1], "viewport": {"x": 1}, "z": LONG}}},
            range(2, 3),
            b'{"x":1}',
        ),
        ({"viewport": {"x": 1}, "workflow": {"graph": {"nodes": [1], "viewport": 7}}}, range(1, 2), b""),
    ],
)
def test_nodes_and_the_view_stand_in_known_places(data: dict[str, Any], places: range, view: bytes) -> None:
    parts, seen = manifest.split(data)
    assert (manifest.node_places(parts[0], len(parts)), seen) == (places, view)
    nodes = data.get("workflow", {}).get("graph", {}).get("nodes", [])
    assert parts[places.start : places.stop] == [dsl.canonical(node) for node in nodes]
    assert manifest.join(parts, seen) == dsl.canonical(data)


def test_only_what_is_long_is_cut_out() -> None:
    parts, _ = manifest.split({"app": {"name": "a"}, "dependencies": ["a" * 300], "workflow": {"features": {"a": 1}}})
    assert parts == [
        b'{"app":{"name":"a"},"dependencies":\0,"workflow":{"features":{"a":1}}}',
        b'["' + b"a" * 300 + b'"]',
    ]


@pytest.mark.parametrize("parts", [[b'{"a":\0}'], [b"{}", b"1"], [b'{"a":\0,"b":\0}', b"1"], [b"[\1],\0"]])
def test_parts_that_do_not_fit_are_refused(parts: list[bytes]) -> None:
    with pytest.raises(ValueError):
        manifest.join(parts, b"")


def test_a_canvas_that_was_only_looked_at_takes_no_blob(store: Store) -> None:
    scene(store, "one").push(document("a"))
    before = len(rows(store))
    data = document("a").data
    for x in range(3):
        graph = {**data["workflow"]["graph"], "viewport": {"x": x, "y": 0.5, "zoom": 1}}
        seen = dsl.Document({**data, "workflow": {**data["workflow"], "graph": graph}})
        assert read(store, write(store, seen)) == seen.data
    assert len(rows(store)) == before + 1, "a skeleton with a hole for the view"


def rows(store: Store) -> list[Any]:
    with store.read() as tx:
        return list(tx.connection.execute(select(tables.blob).order_by(tables.blob.c.pk)))


def write(store: Store, value: dsl.Document) -> str:
    return store.write(lambda tx: content.write_content(tx, value))


def read(store: Store, digest: str) -> dict[str, Any]:
    with store.read() as tx:
        return content.read_content(tx, digest, "snap_x")


def damage(store: Store, pk: int, bit: int = 100) -> None:
    """Flip a bit of a blob."""
    body = bytearray(next(row.body for row in rows(store) if row.pk == pk))
    body[bit // 8 % len(body)] ^= 1 << bit % 8
    store.write(
        lambda tx: tx.connection.execute(update(tables.blob).where(tables.blob.c.pk == pk).values(body=bytes(body)))
    )


def blob_of(store: Store, said: str) -> int:
    """The blob that holds the text `said`."""
    with store.read() as tx:
        (found,) = [
            pk for pk, part in blobs.load(tx, [row.pk for row in rows(store)]).items() if said.encode() in part
        ]
    return found


def test_versions_and_workflows_share_what_they_have_in_common(store: Store) -> None:
    one, other = scene(store, "one"), scene(store, "other")
    one.push(document("a"))
    before = len(rows(store))
    one.push(document("b"))
    assert len(rows(store)) == before + 1
    other.push(document("b"))
    assert len(rows(store)) == before + 1


def test_the_same_part_many_times_is_one_blob(store: Store) -> None:
    value = dsl.Document({"workflow": {"graph": {"nodes": [LONG] * 5, "edges": LONG}}})
    assert read(store, write(store, value)) == value.data
    assert len(rows(store)) == 2


@on_sqlite
def test_the_parts_of_a_workflow_lie_together(store: Store) -> None:
    """SQLite lays rows out by key: each workflow fills runs of its own, however its versions come between others'."""
    written: dict[str, dict[str, dict[str, Any]]] = {"one": {}, "other": {}}
    for turn in range(150):
        for name, some in written.items():
            nodes = [{"id": f"{name}{place}", "said": turn if turn % 5 == place else 0} for place in range(5)]
            data = {"workflow": {"graph": {"nodes": nodes}}}
            some[write(store, dsl.Document(data))] = data
    with store.read() as tx:
        made_of = {name: content.manifests(tx, some) for name, some in written.items()}
        for digest, data in (written["one"] | written["other"]).items():
            assert content.read_content(tx, digest, "x", whole=True) == data
    skeleton = rows(store)[0].pk
    runs = {
        name: {key // 256 for found in some.values() for key in found.keys if key != skeleton}
        for name, some in made_of.items()
    }
    assert {name: len(some) for name, some in runs.items()} == {"one": 1, "other": 1}
    assert not runs["one"] & runs["other"]


@on_sqlite
def test_a_run_that_is_full_goes_on_in_another(store: Store) -> None:
    def keys(*said: int) -> list[int]:
        data = {"workflow": {"graph": {"nodes": [{"id": "x", "said": one} for one in said]}}}
        digest = write(store, dsl.Document(data))
        with store.read() as tx:
            return content.manifests(tx, [digest])[digest].keys[1:]

    first = keys(*range(600))
    assert first == [*range(first[0], first[0] + 600)], "a long document takes as many as it needs"
    between = keys(*range(-300, 0))
    assert not {key // 256 for key in between} & {key // 256 for key in first}
    more = keys(*range(1_000, 1_300), *range(600))
    assert more[300:] == first, "known parts stay where they are"
    last = first[-1] // 256
    free = 255 - first[-1] % 256
    assert [key // 256 for key in more[:free]] == [last] * free
    assert min(more[free:300]) > max(between)
    assert len({*first, *between, *more}) == len(rows(store)) - 1


def test_parts_with_one_address_have_rows_of_their_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Weak:
        def __init__(self, part: bytes) -> None:
            self.part = part

        def digest(self) -> bytes:
            return bytes(7) + bytes([len(self.part) % 2])

    monkeypatch.setattr(blobs, "sha256", Weak)
    values = [document(said) for said in ("a", "b", "c")]
    for _ in range(2):
        digests = [write(store, value) for value in values]
        assert [read(store, digest) for digest in digests] == [value.data for value in values]
    assert len({row.pk for row in rows(store)}) > len({row.address for row in rows(store)})


def test_no_changed_bit_of_a_blob_is_read_and_a_push_mends_it(store: Store) -> None:
    digest, other = write(store, document("said first")), write(store, document("said then"))
    pk = blob_of(store, "said first")
    sound = next(row.body for row in rows(store) if row.pk == pk)
    for bit in range(0, 8 * len(sound), 29):
        damage(store, pk, bit)
        try:
            assert read(store, digest) == document("said first").data
        except DamagedContent as error:
            assert "unreadable" in str(error)
        assert read(store, other) == document("said then").data
        damage(store, pk, bit)
    damage(store, pk)
    with pytest.raises(DamagedContent):
        read(store, digest)
    assert write(store, document("said first")) == digest
    assert read(store, digest) == document("said first").data
    assert len(rows(store)) == len({row.address for row in rows(store)}), "mended in its place"


def test_a_frame_that_lost_its_checksum_is_not_read(store: Store) -> None:
    """One more changed bit, and zstd would have nothing to check the part by."""
    digest = write(store, document("said first"))
    pk = blob_of(store, "said first")
    damage(store, pk, 8 * 4 + 2)
    with pytest.raises(DamagedContent):
        read(store, digest)
    with store.read() as tx:
        assert pk in blobs.damaged(tx)


def test_a_blob_that_another_document_brings_again_is_mended(store: Store) -> None:
    digest = write(store, document("first"))
    damage(store, blob_of(store, '"end"'))
    write(store, document("other"))
    assert read(store, digest) == document("first").data


def test_a_bomb_in_a_blob_is_not_unpacked(store: Store) -> None:
    digest = write(store, document("a"))
    bomb = b"\x28\xb5\x2f\xfd\xe0" + (2**40).to_bytes(8, "little") + b"\x01\x00\x00"
    store.write(lambda tx: tx.connection.execute(update(tables.blob).values(body=bomb)))
    with pytest.raises(DamagedContent):
        read(store, digest)


def many(number: int) -> list[dsl.Document]:
    """Documents that are alike, as workflows are."""
    words = random.Random(5)
    said = [f"word{words.randrange(3000)}" for _ in range(400)]
    return [document(" ".join(words.choices(said, k=40)), name=f"app {i}", x=i) for i in range(number)]


def fill(store: Store, documents: list[dsl.Document]) -> list[str]:
    return store.write(lambda tx: [content.write_content(tx, one) for one in documents])


def learn(store: Store) -> int | None:
    with store.read() as tx:
        learnt = blobs.learn(tx)
    return None if learnt is None else store.write(lambda tx: dictionary.add(tx, learnt))


def test_a_dictionary_is_learnt_from_the_store_and_packs_tighter(store: Store) -> None:
    documents = many(600)
    assert not blobs.maintain(store), "there is nothing to learn from"
    digests = fill(store, documents)
    before = sum(len(row.body) for row in rows(store))
    assert blobs.maintain(store)
    assert not blobs.maintain(store), "one is enough until the store has grown"
    with store.read() as tx:
        id = dictionary.newest(tx)
    assert id is not None
    assert sum(len(row.body) for row in rows(store)) < before * 0.8
    assert {row.dictionary_id for row in rows(store)} >= {id}
    digests.append(write(store, document("with the dictionary")))
    documents.append(document("with the dictionary"))
    dictionary.forget(id)
    for digest, value in zip(digests[::50], documents[::50], strict=True):
        assert read(store, digest) == value.data


@on_sqlite
def test_several_dictionaries_live_side_by_side(store: Store) -> None:
    fill(store, many(600))
    first = learn(store)
    assert first is not None
    one = write(store, document("with the first"))
    trained = zstandard.train_dictionary(4096, [f"{i} {i * i} {i % 7}".encode() * 4 for i in range(2000)]).as_bytes()
    second = store.write(lambda tx: dictionary.add(tx, trained))
    assert store.write(lambda tx: dictionary.add(tx, trained)) == second, "once is enough"
    with store.read() as tx:
        held = set(tx.connection.execute(select(tables.dictionary.c.id)).scalars())
    assert held == {first, ~first, second, ~second}, "two rows each"
    other = write(store, document("with the second"))
    dictionary.forget(first)
    dictionary.forget(second)
    assert read(store, one) == document("with the first").data
    assert read(store, other) == document("with the second").data


def dictionaries(store: Store) -> dict[int, bytes]:
    with store.read() as tx:
        return {row.id: row.body for row in tx.connection.execute(select(tables.dictionary))}


def spoil(store: Store, *ids: int) -> None:
    """Change a bit of rows of the dictionary table."""
    for id in ids:
        body = bytearray(dictionaries(store)[id])
        body[len(body) // 2] ^= 1
        row = update(tables.dictionary).where(tables.dictionary.c.id == id).values(body=bytes(body))
        store.write(lambda tx, row=row: tx.connection.execute(row))  # type: ignore[misc]  # mypy: a lambda's default
        dictionary.forget(max(id, ~id))


@pytest.mark.parametrize("row", [0, -1], ids=["first", "second"])
def test_a_damaged_row_of_a_dictionary_is_mended_from_the_other(store: Store, row: int) -> None:
    digests = fill(store, many(600))
    blobs.maintain(store)
    sound = dictionaries(store)
    (id,) = [id for id in sound if id >= 0]
    spoil(store, id ^ row)
    assert dictionaries(store) != sound
    assert read(store, digests[7]) == many(600)[7].data
    assert not blobs.maintain(store), "nothing to learn, and nothing to pack"
    assert dictionaries(store) == sound


@on_sqlite
def test_a_dictionary_of_one_row_gets_its_second(store: Store) -> None:
    fill(store, many(600))
    blobs.maintain(store)
    sound = dictionaries(store)
    store.write(lambda tx: tx.connection.execute(delete(tables.dictionary).where(tables.dictionary.c.id < 0)))
    blobs.maintain(store)
    assert dictionaries(store) == sound


@pytest.mark.parametrize("more", [0, 40], ids=["the same again", "another"])
def test_a_lost_dictionary_is_replaced_and_a_push_mends_what_it_packed(store: Store, more: int) -> None:
    if store.postgres:
        pytest.skip("SQLite shows it")
    documents = many(600)
    digests = fill(store, documents)
    blobs.maintain(store)
    (lost,) = [id for id in dictionaries(store) if id >= 0]
    spoil(store, lost, ~lost)
    with pytest.raises(DamagedContent):
        read(store, digests[3])
    before = len(rows(store))
    assert fill(store, documents) == digests, "the same content, pushed again"
    assert [read(store, digest) for digest in digests] == [one.data for one in documents]
    assert len(rows(store)) == before, "mended in its place"
    assert {row.dictionary_id for row in rows(store)} == {None}
    fill(store, [document("word7 " * 9, name=f"more {i}") for i in range(more)])
    assert blobs.maintain(store), "a dictionary is learnt from what can be read"
    with store.read() as tx:
        new = dictionary.newest(tx)
        assert dictionary.damaged(tx) == ([lost] if more else []), "learnt from the same parts it is the same"
    assert (new == lost) == (not more)
    assert new in {row.dictionary_id for row in rows(store)} <= {None, new}
    assert [read(store, digest) for digest in digests] == [one.data for one in documents]
    assert not blobs.maintain(store)


def test_archived_content_is_packed_tighter_and_comes_back(store: Store) -> None:
    documents = many(60)
    digests = fill(store, documents)
    before = sum(len(row.body) for row in rows(store))

    def each(work: Callable[[Tx, str], None]) -> None:
        def all_of_them(tx: Tx) -> None:
            for digest in digests:
                work(tx, digest)

        store.write(all_of_them)

    each(lambda tx, digest: content.archive_content(tx, digest, "snap_x"))
    assert sum(len(row.body) for row in rows(store)) < before
    assert {row.level for row in rows(store)} == {blobs.TIGHT_LEVEL}
    with store.read() as tx:
        assert tx.connection.execute(select(func.count()).select_from(tables.content)).scalar_one() == 0
    assert [read(store, digest) for digest in digests] == [one.data for one in documents]
    each(content.restore_content)
    assert [read(store, digest) for digest in digests] == [one.data for one in documents]


@pytest.fixture(params=KINDS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a store of revision 0001."""
    home = tmp_path / "home"
    home.mkdir()
    if request.param == "sqlite":
        yield _at_0001(clean_settings(home))
    else:
        with request.getfixturevalue("postgres").database() as url:
            yield _at_0001(clean_settings(home, url))


def _at_0001(settings: Settings) -> Settings:
    engine = make_engine(store_url(settings))
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        config = migrations.alembic_config("main")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    return settings


@pytest.mark.parametrize("number", [0, 3, 600], ids=["an empty store", "a small store", "enough for a dictionary"])
def test_what_the_first_revision_stored_is_read_after_the_upgrade(old: Settings, number: int) -> None:
    hot, cold = many(number), [plain_chat(f"Chat {i}") for i in range(min(number, 40))]
    odd = dsl.Document({"workflow": {"graph": {"nodes": [{"x": 1e-07}, {"y": 1e16}, "no node", {"z": 0.00001}]}}})
    engine = make_engine(store_url(old))
    digests = {"content": [_digest(one) for one in [*hot, odd]], "archive": [_digest(one) for one in cold]}
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        for table, documents in (("content", [*hot, odd]), ("archive", cold)):
            for one in documents:
                body = dsl.canonical(one.data)
                row = {"digest": _digest(one), "size": len(body), "body": zstandard.compress(body, 3)}
                connection.execute(text(f"INSERT INTO {table} VALUES (:digest, :size, :body)"), row)
        lost = {"digest": "ab" * 32, "size": 9, "body": b"damaged long ago"}
        connection.execute(text("INSERT INTO content VALUES (:digest, :size, :body)"), lost)
    engine.dispose()
    store = open_store(old)
    for table, documents in (("content", [*hot, odd]), ("archive", cold)):
        with store.read() as tx:
            assert [content.read_content(tx, digest, "snap_x") for digest in digests[table]] == [
                one.data for one in documents
            ]
            held = set(tx.connection.execute(select(tables.metadata.tables[table].c.digest)).scalars())
            assert held - {"ab" * 32} == set(digests[table])
            assert (tx.connection.execute(select(tables.dictionary.c.id)).first() is not None) == (number == 600)
    with store.read() as tx:
        assert set(content.digests(tx)) == {*digests["content"], *digests["archive"], "ab" * 32}
    with pytest.raises(DamagedContent):
        read(store, "ab" * 32)
    before = len(rows(store))
    for one in hot[:2]:
        assert write(store, one) == _digest(one)
    assert len(rows(store)) == before, "cut as new documents are cut"
    assert read(store, write(store, document("new"))) == document("new").data
    store.close()


def _digest(value: dsl.Document) -> str:
    return hashlib.sha256(dsl.canonical(value.data)).hexdigest()
