"""Nodes and edges by id, who is inside what, and the handles of nodes."""

from typing import Any

import pytest

from lastgood.dsl import Document, parse
from lastgood.dsl.index import Index, Node, handles, step

from .documents import edge, graph, node, straight


def inside(node_id: str, parent: str, kind: str = "code", **data: Any) -> dict[str, Any]:
    return {**node(node_id, kind, **data), "parentId": parent}


def test_nodes_and_edges_by_id() -> None:
    note = {"id": "n", "type": "custom-note", "data": {"type": ""}}
    document = graph(
        node("a", "start"),
        note,
        node(17, "llm"),
        node("a", "end"),
        {"data": {"type": "llm"}},
        edge("a", "17"),
        edge("a", "gone"),
        edge("n", "a"),
        {"source": "17", "target": "a", "sourceHandle": None},
    )
    index = Index(document)
    assert [(found.id, found.type, found.path) for found in index.nodes.values()] == [
        ("a", "start", "workflow.graph.nodes[0]"),
        ("17", "llm", "workflow.graph.nodes[2]"),
    ]
    assert [(e.source, e.handle, e.target, e.path) for e in index.edges] == [
        ("a", "source", "17", "workflow.graph.edges[0]"),
        ("17", "", "a", "workflow.graph.edges[3]"),
    ]
    assert [e.target for e in index.outgoing["a"]] == ["17"]
    assert [e.source for e in index.incoming["a"]] == ["17"]


@pytest.mark.parametrize(
    "document",
    [
        Document({}),
        Document({"app": {"mode": "chat"}, "workflow": {"graph": {"nodes": [node("a", "start")]}}}),
        Document({"workflow": {"graph": {"nodes": {"a": 1}, "edges": 7}}}),
        Document({"workflow": {"graph": {"nodes": [1, None, {"id": []}, {"id": True, "data": 3}], "edges": [1]}}}),
    ],
)
def test_what_is_no_graph_is_empty(document: Document) -> None:
    index = Index(document)
    assert (index.nodes, index.edges) == ({}, [])


PARENTS = [
    ("by the canvas", [node("l", "loop"), inside("x", "l")], "l"),
    ("nobody", [node("l", "loop"), node("x", "code")], ""),
    ("one that is not there", [inside("x", "gone")], ""),
    ("one that holds nothing", [node("c", "code"), inside("x", "c")], ""),
    ("itself", [{**node("x", "loop"), "parentId": "x"}], ""),
    ("by the data", [node("i", "iteration"), node("x", "code", iteration_id="i")], "i"),
    ("by the newest data", [node("i", "loop"), node("x", "code", container_id="i", loop_id="z")], "i"),
    (
        "the inner one of two",
        [node("l", "loop"), node("i", "iteration", loop_id="l"), node("x", "code", iteration_id="i", loop_id="l")],
        "i",
    ),
    (
        "the inner one of two, the other way round",
        [
            node("i", "iteration"),
            node("l", "loop", iteration_id="i"),
            node("x", "code", iteration_id="i", loop_id="l"),
        ],
        "l",
    ),
    (
        "none, where an edge says otherwise",
        [node("i", "iteration"), node("x", "code", iteration_id="i"), node("y", "code"), edge("y", "x")],
        "",
    ),
    (
        "the canvas, whatever an edge says",
        [node("i", "iteration"), inside("x", "i", iteration_id="i"), node("y", "code"), edge("y", "x")],
        "i",
    ),
    (
        "the data of both ends of an edge",
        [
            node("i", "iteration"),
            node("x", "code", iteration_id="i"),
            node("y", "code", iteration_id="i"),
            edge("y", "x"),
        ],
        "i",
    ),
]


@pytest.mark.parametrize(("parts", "parent"), [case[1:] for case in PARENTS], ids=[case[0] for case in PARENTS])
def test_who_is_inside_what(parts: list[dict[str, Any]], parent: str) -> None:
    assert Index(graph(*parts)).nodes["x"].parent == parent


def test_around_a_node() -> None:
    index = Index(graph(node("l", "loop"), inside("i", "l", "iteration"), inside("x", "i")))
    assert list(index.around("x")) == ["i", "l", ""]
    assert [found.id for found in index.children("i")] == ["x"]
    assert list(index.around("gone")) == []
    circle = Index(graph(inside("i", "l", "iteration"), inside("l", "i", "loop")))
    assert list(circle.around("i")) == ["l", "i"]


HANDLES = [
    ({"type": "llm"}, ("source",)),
    ({"type": "llm", "error_strategy": "fail-branch"}, ("source", "fail-branch")),
    ({"type": "llm", "error_strategy": "default-value"}, ("source",)),
    ({"type": "if-else", "cases": [{"case_id": "x"}, {"case_id": "y"}, {}]}, ("x", "y", "false")),
    ({"type": "if-else", "cases": []}, ("false",)),
    ({"type": "if-else", "conditions": []}, ("true", "false")),
    ({"type": "question-classifier", "classes": [{"id": 1}, {"id": "2"}, {"id": "2"}, 7]}, ("1", "2")),
    ({"type": "human-input", "user_actions": [{"id": "ok"}]}, ("ok", "__timeout")),
    (
        {"type": "question-classifier", "classes": [{"id": "1"}], "error_strategy": "fail-branch"},
        ("1", "fail-branch"),
    ),
    ({"type": "question-classifier", "classes": "none"}, ()),
]


@pytest.mark.parametrize(("data", "expected"), HANDLES)
def test_handles(data: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert handles(Node("x", data["type"], data, "", "")) == expected


@pytest.mark.parametrize(
    ("key", "path"), [("a", "p.a"), (3, "p[3]"), ("a b", 'p["a b"]'), ("0", 'p["0"]'), ("中", "p.中")]
)
def test_paths(key: str | int, path: str) -> None:
    assert step("p", key) == path


def test_a_title_is_never_empty() -> None:
    document = parse("workflow: {graph: {nodes: [{id: a, data: {title: ' '}}, {id: b, data: {title: 7}}]}}")
    assert [found.title for found in Index(document).nodes.values()] == ["a", "b"]
    assert Index(straight()).nodes["a"].title == "Start"
