"""The canvas as a picture: everything on it once, where it belongs, and nothing of it able to break out."""

import json
import math
import random
import xml.etree.ElementTree as ET
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.dsl import Document, parse
from lastgood.dsl.compare import compare
from lastgood.dsl.drawing import draw, draw_comparison
from lastgood.dsl.drawing.layout import lay_out
from lastgood.dsl.drawing.letters import cut, escape, measure, wrap
from lastgood.dsl.drawing.telling import note_text
from lastgood.dsl.index import Index
from lastgood.errors import InvalidDocument

from .documents import corpus, edge, graph, node

SVG = "{http://www.w3.org/2000/svg}"


def at(part: dict[str, Any], x: Any, y: Any, **more: Any) -> dict[str, Any]:
    """`part` at a place of the canvas."""
    return {**part, "position": {"x": x, "y": y}, **more}


def picture(document: Document) -> ET.Element:
    return ET.fromstring(draw(document))


def with_class(root: ET.Element, *names: str) -> list[ET.Element]:
    return [found for found in root.iter() if set(names) <= set((found.get("class") or "").split())]


def texts(root: ET.Element) -> list[str]:
    return [found.text or "" for found in root.iter(SVG + "text")]


def check(document: Document) -> None:
    """What holds for the drawing of every document."""
    told = draw(document)
    root = ET.fromstring(told)
    index = Index(document)
    layout = lay_out(index)
    assert len(with_class(root, "node")) == len(index.nodes)
    assert all(group.find(SVG + "title") is not None for group in with_class(root, "node"))
    assert len(with_class(root, "edge")) == len(index.edges)
    assert not {found.tag for found in root.iter()} & {SVG + "script", SVG + "image", SVG + "use", SVG + "a"}
    assert all("href" not in key and not key.startswith("on") for found in root.iter() for key in found.attrib)
    numbers = [value for box in layout.boxes.values() for value in (box.x, box.y, box.width, box.height)]
    assert all(math.isfinite(value) and abs(value) < 1e7 for value in numbers)
    for child in index.nodes.values():
        if child.parent:
            assert layout.boxes[child.parent].encloses(layout.boxes[child.id]), child.id


def test_real_documents() -> None:
    for path in corpus():
        check(parse(path.read_bytes(), source=path.name))


JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1e300, 10**400, float("nan"), "NaN", "", "]]>", "\x00", [], [None], {}, {"x": {}}]
)
ID = st.sampled_from(["a", "b", "c", "d", 1])
NODE = st.fixed_dictionaries(
    {},
    optional={
        "id": ID | JUNK,
        "type": st.sampled_from(["custom", "custom-note"]),
        "parentId": ID | JUNK,
        "position": st.fixed_dictionaries({"x": st.floats() | JUNK, "y": st.integers(-500, 500)}) | JUNK,
        "width": st.floats() | JUNK,
        "height": st.integers() | JUNK,
        "data": st.fixed_dictionaries(
            {
                "type": st.sampled_from(
                    ["start", "llm", "if-else", "loop", "iteration", "loop-start", "end", "odd", ""]
                )
            },
            optional={
                "title": st.text() | JUNK,
                "text": st.text() | JUNK,
                "error_strategy": st.just("fail-branch"),
                "url": st.text() | JUNK,
                "cases": st.lists(st.fixed_dictionaries({"case_id": ID, "conditions": JUNK})) | JUNK,
                "variables": JUNK,
                "outputs": JUNK,
                "loop_count": JUNK,
                "model": JUNK,
            },
        ),
    },
)
EDGE = st.fixed_dictionaries({"source": ID, "target": ID}, optional={"sourceHandle": ID | JUNK})


def document(nodes: Any, edges: Any) -> Document:
    return Document(
        {"app": {"mode": "workflow", "name": "x"}, "workflow": {"graph": {"nodes": nodes, "edges": edges}}}
    )


@settings(deadline=None, max_examples=150)
@given(st.lists(NODE, max_size=6), st.lists(EDGE, max_size=6), st.lists(NODE, max_size=4))
def test_junk(nodes: list[Any], edges: list[Any], others: list[Any]) -> None:
    old, new = document(nodes, edges), document(others, edges)
    check(old)
    # 10**400 and nan are no JSON numbers, and only what was read can be compared.
    with suppress(InvalidDocument, ValueError):
        pair = [parse(json.dumps(side.data, allow_nan=False)) for side in (old, new)]
        ET.fromstring(draw_comparison(pair[0], pair[1], compare(pair[0], pair[1])))


@given(st.text())
def test_escape_keeps_what_xml_takes(text: str) -> None:
    assert ET.fromstring(f'<a b="{escape(text)}">{escape(text)}</a>') is not None


def test_hostile_title_stays_text() -> None:
    title = "</text><script>alert(1)</script>\x00\u202e&\"'"
    root = picture(graph(node("a", "llm", title=title), node("b", "end"), edge("a", "b")))
    assert not list(root.iter(SVG + "script"))
    assert any(text.startswith("</text><script>") for text in texts(root))
    assert "\u202e" not in "".join(root.itertext())


@given(st.text(), st.floats(20, 500), st.integers(1, 4))
def test_wrapped_text_fits(text: str, width: float, lines: int) -> None:
    found = wrap(text, width, 11, lines)
    assert len(found) <= lines
    assert all(measure(line, 11) <= width + 1e-6 for line in found)


def test_cut_says_so() -> None:
    assert cut("a title", 500, 11) == "a title"
    assert cut("a title that is much too long", 60, 11).endswith("…")


def test_children_stand_relative_to_their_container() -> None:
    found = graph(
        at(node("i", "iteration"), 100, 200, width=600, height=300),
        at(node("s", "iteration-start"), 20, 80, parentId="i"),
        at(node("x", "code"), 700, 90, parentId="i"),
    )
    boxes = lay_out(Index(found)).boxes
    assert (boxes["s"].x, boxes["s"].y) == (120, 280)
    assert boxes["x"].x == 800
    assert boxes["i"].x == 100 and boxes["i"].right > boxes["x"].right, "it grew around what stands outside"


@pytest.mark.parametrize("bad", [None, "NaN", 1e300, 10**400, float("nan"), True, [], "12"])
def test_one_absurd_place_lays_out_all_in_layers(bad: Any) -> None:
    found = graph(
        at(node("a", "start"), 500, 500), at(node("b", "llm"), bad, 0), at(node("c", "end"), 0, 0),
        edge("a", "b"), edge("b", "c"),
    )  # fmt: skip
    boxes = lay_out(Index(found)).boxes
    assert boxes["a"].right < boxes["b"].x and boxes["b"].right < boxes["c"].x


def test_all_in_one_place_and_in_a_circle_is_laid_out() -> None:
    parts = [at(node(name, "llm"), 0, 0) for name in "abcd"]
    boxes = lay_out(Index(graph(*parts, edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("a", "d")))).boxes
    places = list(boxes.values())
    for i, box in enumerate(places):
        for other in places[i + 1 :]:
            assert box.right <= other.x or other.right <= box.x or box.bottom <= other.y or other.bottom <= box.y


def test_branches_leave_at_heights_of_their_own() -> None:
    cases = [{"case_id": "one", "conditions": [{"variable_selector": ["a", "q"], "comparison_operator": "is"}]}]
    found = graph(
        at(node("f", "if-else", cases=cases), 0, 0, height=126),
        at(node("h", "http-request", error_strategy="fail-branch"), 400, 0),
        edge("f", "h", sourceHandle="one"), edge("f", "h", sourceHandle="gone"),
    )  # fmt: skip
    ports = lay_out(Index(found)).ports
    assert 0 < ports["f"]["one"] < ports["f"]["false"] < 126
    assert ports["h"]["source"] < ports["h"]["fail-branch"]
    root = picture(found)
    assert {"IF", "ELSE", "on failure", "q is"} <= set(texts(root))
    assert len(with_class(root, "edge", "loose")) == 1, "no such handle"


def test_a_note_is_its_text() -> None:
    def block(*children: Any, kind: str = "paragraph") -> Any:
        return {"type": kind, "children": list(children)}

    words = {"type": "text", "text": "one "}, block({"type": "text", "text": "link"}, kind="link")
    tree = {"root": block(block(*words), block({"type": "text", "text": "two"}), kind="root")}
    note = {"id": "n", "type": "custom-note", "data": {"type": "", "theme": "pink", "text": json.dumps(tree)}}
    root = picture(graph(at(note, 10, 10), at(node("a", "start"), 0, 0)))
    assert {"one link", "two"} <= set(texts(root))
    assert len(with_class(root, "note", "pink")) == 1


@pytest.mark.parametrize("raw", ["plain", "[1]", "1", "{", '"x"', "[" * 100_000, None, 3])
def test_a_note_that_is_no_tree(raw: Any) -> None:
    assert note_text({"text": raw}) == (raw if isinstance(raw, str) else "")


def test_no_key_is_drawn() -> None:
    key = "sk-" + "a1B2c3D4" * 5
    found = graph(
        node("h", "http-request", url=f"https://user:{key}@api.example/v1?api_key={key}"),
        node("a", "answer", answer=f"api_key = '{key}'"),
        {"id": "n", "type": "custom-note", "data": {"type": "", "text": f"use {key}"}},
        mode="advanced-chat",
    )
    assert key[:12] not in draw(found)
    assert "api.example" in draw(found)


def test_an_app_without_a_graph_says_so() -> None:
    assert "no graph" in draw(Document({"app": {"mode": "chat", "name": "x"}, "model_config": {}}))


def test_comparison_marks_what_differs() -> None:
    def version(*parts: dict[str, Any]) -> Document:
        return graph(*(at(part, 300 * i, 0) if "source" not in part else part for i, part in enumerate(parts)))

    start, end = node("s", "start", variables=[]), node("e", "end", outputs=[])
    old = version(start, node("m", "llm", model={"name": "small"}), node("gone", "code"), end,
                  edge("s", "m"), edge("m", "gone"), edge("gone", "e"))  # fmt: skip
    new = version(start, node("m", "llm", model={"name": "large"}), node("new", "tool"), end,
                  edge("s", "m"), edge("m", "new"), edge("new", "e"))  # fmt: skip
    root = ET.fromstring(draw_comparison(old, new, compare(old, new)))
    for kind, sign, nodes, edges in (("added", "+", 1, 2), ("removed", "−", 1, 2), ("changed", "~", 2, 0)):
        assert len(with_class(root, "node", kind)) == nodes, kind
        assert len(with_class(root, "edge", kind)) == edges, kind
        assert texts(root).count(sign) == nodes + edges + 1, "each mark has its sign, and the legend one"
    assert sum("changed: model.name" in (found.text or "") for found in root.iter(SVG + "title")) == 2
    same = ET.fromstring(draw_comparison(old, old, compare(old, old)))
    assert not [found for found in with_class(same, "node") if found.get("class") != "node"]


def test_a_node_with_a_new_id_is_marked_on_both_sides() -> None:
    old = graph(node("s", "start"), node("1", "llm", title="Sum up", prompt="x"), edge("s", "1"))
    new = graph(node("s", "start"), node("2", "llm", title="Sum up", prompt="x"), edge("s", "2"))
    difference = compare(old, new)
    assert difference.renames == {"1": "2"}
    root = ET.fromstring(draw_comparison(old, new, difference))
    assert len(with_class(root, "node", "changed")) == 2
    assert not with_class(root, "edge", "added") and not with_class(root, "edge", "removed")


def test_large_nest_of_containers() -> None:
    names = [f"n{i}" for i in range(200)]
    random.Random(1).shuffle(names)
    parts = [node(name, "loop") | ({"parentId": names[i - 1]} if i else {}) for i, name in enumerate(names)]
    check(graph(*parts))
