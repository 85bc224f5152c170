"""Who last changed what: the version, author and date for each field of each node."""

from typing import Any

import pytest

from lastgood import dsl
from lastgood.db import tables
from lastgood.db.store import Store
from lastgood.errors import DamagedContent, NotFound
from lastgood.history import blame, content
from support.documents import document, plain_chat
from support.scene import ALICE, BOB, Scene, scene


@pytest.fixture
def place(store: Store) -> Scene:
    return scene(store)


def blamed(place: Scene, node: str | None = None) -> dict[str, dict[str, str]]:
    """node id → field → version id."""
    found: dict[str, dict[str, str]] = {}
    with place.store.read() as tx:
        for row in blame.blame(tx, place.workflow, node):
            found.setdefault(row.node, {})[row.field] = row.version
    return found


def workflow(*nodes: dict[str, Any], **graph: Any) -> dsl.Document:
    return dsl.Document(
        {
            "app": {"mode": "workflow", "name": "x"},
            "kind": "app",
            "version": "0.6.0",
            "workflow": {"graph": {"nodes": list(nodes), "edges": [], **graph}},
        }
    )


def node(id: str, outer: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    return {"id": id, "type": "custom", "data": {"type": "llm", "title": id.title(), **data}, **(outer or {})}


def note(said: str) -> dict[str, Any]:
    return {"id": "note", "type": "custom-note", "data": {"type": "", "title": "", "text": said}}


def test_each_field_is_of_the_version_that_gave_it_its_value(place: Scene) -> None:
    first = place.push(document("hello")).version.id
    second = place.push(document("good day"), author="carol").version.id
    assert blamed(place) == {
        "begin": {"type": first, "title": first, "variables": first},
        "say": {"type": first, "title": first, "variables": first, "template": second},
        "done": {"type": first, "title": first, "outputs": first},
    }
    with place.store.read() as tx:
        row = next(row for row in blame.blame(tx, place.workflow) if row.field == "template")
        (version,) = [one for one in [place.find(second)] if one.id == row.version]
    assert row == blame.Blamed(
        "say", "Template-Transform", "template-transform", "template", second, "carol", version.authored_at
    )


CASES = [
    ("no version", [], {}),
    ("one version", [[node("a", p=1)]], {"p": 0}),
    ("a value changed", [[node("a", p=1, q=1)], [node("a", p=2, q=1)]], {"p": 1, "q": 0}),
    ("a value put back", [[node("a", p=1)], [node("a", p=2)], [node("a", p=1)]], {"p": 2}),
    ("changed long ago", [[node("a", p=1)], [node("a", p=2)], [node("a", p=2, q=1)]], {"p": 1, "q": 2}),
    ("a field that came", [[node("a")], [node("a", p=None)]], {"p": 1}),
    ("a field that went", [[node("a", p=1, q=1)], [node("a", q=1)]], {"q": 0}),
    ("went and came back", [[node("a", p=1)], [node("a")], [node("a", p=1)]], {"p": 2}),
    ("the node went and came back", [[node("a", p=1)], [node("b")], [node("a", p=1)]], {"p": 2}),
    ("moved on the canvas", [[node("a", p=1)], [node("a", {"position": {"x": 9}, "width": 3}, p=1)]], {"p": 0}),
    ("selected", [[node("a", p=1)], [node("a", p=1, selected=True, _open=1)]], {"p": 0}),
    ("another order", [[node("a", p=1), node("b")], [node("b"), node("a", p=1)]], {"p": 0}),
    ("1.0 is 1", [[node("a", p=1)], [node("a", p=1.0)]], {"p": 0}),
    ("true is not 1", [[node("a", p=1)], [node("a", p=True)]], {"p": 1}),
    ("deep inside", [[node("a", p={"q": [1, 2]})], [node("a", p={"q": [1, 3]})]], {"p": 1}),
    ("keys in another order", [[node("a", p={"q": 1, "r": 2})], [node("a", p={"r": 2, "q": 1})]], {"p": 0}),
    ("put into a loop", [[node("a", p=1)], [node("a", {"parentId": "l"}, p=1)]], {"p": 0, "parentId": 1}),
    ("a note beside it", [[node("a", p=1)], [note("x"), node("a", p=1)], [note("y"), node("a", p=1)]], {"p": 0}),
]  # fmt: skip


@pytest.mark.parametrize(("history", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_blame(store: Store, history: list[list[dict[str, Any]]], expected: dict[str, int]) -> None:
    place = scene(store)
    ids = [place.push(workflow(*nodes)).version.id for nodes in history]
    found = blamed(place)
    told = {field: version for field, version in found.get("a", {}).items() if field not in {"type", "title"}}
    assert told == {field: ids[index] for field, index in expected.items()}
    assert "note" not in found


def test_one_node_by_id_or_title(place: Scene) -> None:
    place.push(workflow(node("a", p=1), node("b", p=2), {"id": "c", "data": {"type": "llm", "title": "a"}}))
    assert list(blamed(place)) == ["a", "b", "c"]
    assert list(blamed(place, "a")) == ["a"]
    assert list(blamed(place, "B")) == ["b"]
    with pytest.raises(NotFound, match="no node 'z'"):
        blamed(place, "z")


def test_archived_versions_and_other_workflows(store: Store) -> None:
    place, other = scene(store, "one"), scene(store, "other")
    other.push(document("a"), who=BOB)
    first, second = place.versions("a", "b")
    store.write(lambda tx: content.archive_content(tx, first.digest, "snap_x"))
    assert blamed(place)["say"] == {
        "type": first.id, "title": first.id, "variables": first.id, "template": second.id
    }  # fmt: skip
    with store.read() as tx:
        assert {row.author for row in blame.blame(tx, place.workflow)} == {ALICE.name}


def test_an_app_without_a_graph_has_no_nodes(place: Scene) -> None:
    place.push(plain_chat())
    assert blamed(place) == {}
    place.push(document("a"))
    assert set(blamed(place)) == {"begin", "say", "done"}


def test_damage_is_said(place: Scene) -> None:
    version = place.push("a").version
    place.store.write(lambda tx: tx.connection.execute(tables.blob.update().values(body=b"x")))
    with pytest.raises(DamagedContent, match=version.snapshot_id):
        blamed(place)
    place.store.write(lambda tx: tx.connection.execute(tables.content.delete()))
    with pytest.raises(DamagedContent, match=version.snapshot_id):
        blamed(place)
