"""Which graphs are broken, and how."""

from itertools import pairwise

import pytest

from lastgood.dsl import Document, check, outline, parse, require_sound
from lastgood.errors import BrokenGraph

from .documents import edge, graph, node, straight

NOTE = {"id": "n", "type": "custom-note", "data": {"type": "", "text": "remember"}}
START = node("a", "start")
LOOP = [
    node("l", "loop"),
    {**node("ls", "loop-start"), "type": "custom-loop-start", "parentId": "l"},
    {**node("lx", "code"), "parentId": "l"},
    edge("ls", "lx"),
]


@pytest.mark.parametrize(
    "document",
    [
        straight(),
        graph(START, node("b", "answer"), edge("a", "b"), mode="advanced-chat"),
        graph(node("a", "trigger-webhook"), node("b", "trigger-schedule"), node("c", "end"), edge("a", "c")),
        graph(START, NOTE),
        graph(START, *LOOP, node("z", "end"), edge("a", "l"), edge("l", "z")),
        graph(START, node("b", "from-the-future"), edge("a", "b", sourceHandle="x"), edge("a", "b")),
        graph(node("a", "datasource"), node("b", "knowledge-index"), edge("a", "b"), mode="rag_pipeline"),
        graph(START, node("b", "answer"), node("c", "end"), mode="from-the-future"),
        graph(START, *(node(i, "code") for i in "bcd"), *(edge(*ends) for ends in ["ab", "ac", "bd", "cd"])),
        Document({"app": {"mode": "chat"}, "model_config": {}}),
    ],
)  # fmt: skip
def test_sound(document: Document) -> None:
    assert check(document) == ()
    require_sound(document)


CASES = [
    ("empty-graph", graph(), "the graph has no nodes"),
    ("empty-graph", graph(NOTE), "the graph has no nodes"),
    ("empty-graph", Document({"app": {"mode": "workflow"}, "workflow": {"graph": {}}}), "the graph has no nodes"),
    ("not-a-node", parse("workflow: {graph: {nodes: [{id: a, data: {type: start}}, x]}}"), "nodes[1] is not"),
    ("node-without-id", graph(START, {"data": {"type": "end"}}), "workflow.graph.nodes[1] has no id"),
    ("node-without-id", graph(START, node("", "end")), "workflow.graph.nodes[1] has no id"),
    ("node-without-id", graph(START, node(["b"], "end")), "workflow.graph.nodes[1] has no id"),
    ("node-without-data", graph(START, {"id": "b", "type": "end"}), "the node b has no `data`"),
    ("node-without-type", graph(START, {"id": "b", "data": {"title": "B"}}), "B (b) has no `data.type`"),
    ("node-without-type", graph(START, node("b", "")), "the node b has no `data.type`"),
    ("duplicate-node-id", graph(START, node("a", "end")), "the node id a stands twice (at workflow.gr"),
    ("not-an-edge", parse("workflow: {graph: {nodes: [{id: a, data: {type: start}}], edges: [1]}}"), "edges[0] is"),
    ("edge-without-end", graph(START, {"source": "a"}), "workflow.graph.edges[0] has no target"),
    ("edge-to-nowhere", graph(START, edge("a", "z")), "the edge a → z has the target z, and no node has this id"),
    ("edge-to-nowhere", graph(START, edge("z", "a")), "the edge z → a has the source z, and no node has this id"),
    ("edge-to-nowhere", graph(START, NOTE, edge("a", "n")), "the edge a → n has the target n"),
    ("no-start", graph(node("a", "llm"), node("b", "end"), edge("a", "b")), "there is no start node and no trigger"),
    ("no-start", graph(*LOOP), "there is no start node and no trigger"),
    ("several-starts", graph(START, node("b", "start")), "there are 2 start nodes (Start (a), Start (b))"),
    ("start-and-trigger", graph(START, node("b", "trigger-plugin")), "a start node and a trigger"),
    ("type-not-in-mode", graph(START, node("b", "answer")), "is of type answer, which only a chatflow"),
    ("type-not-in-mode", graph(START, node("b", "end"), mode="advanced-chat"), "is of type end, which only"),
    ("type-not-in-mode", graph(node("a", "trigger-webhook"), mode="advanced-chat"), "is of type trigger-webhook"),
    ("unknown-parent", graph(START, {**node("b", "code"), "parentId": "z"}), "Code (b) is inside z, and"),
    ("cycle", graph(START, edge("a", "a")), "the edges go round in a circle: Start (a) → Start (a)"),
    ("cycle", graph(START, node("b", "code"), node("c", "llm"), edge("b", "c"), edge("c", "b")), "circle: "),
    ("cycle", graph(START, *LOOP, edge("lx", "ls")), "the edges go round in a circle"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "document", "says"), CASES)
def test_broken(code: str, document: Document, says: str) -> None:
    (finding,) = check(document)
    assert (finding.code, finding.severity) == (code, "error")
    assert says in finding.sentence
    assert finding.path.startswith("workflow.graph.")
    with pytest.raises(BrokenGraph) as caught:
        require_sound(document, "flow.yml")
    assert str(caught.value).startswith(f"flow.yml: {finding.sentence}. Mend the graph")


def test_the_circle_is_named_in_the_direction_of_its_edges() -> None:
    ids = "abcdef"
    ends = ["ab", "bc", "cd", "db", "de", "ef"]  # b → c → d → b, with a way in and a way out
    document = graph(
        *(node(i, "start" if i == "a" else "code", title=i) for i in ids), *(edge(*pair) for pair in ends)
    )
    (finding,) = check(document)
    shown = finding.sentence.rpartition(": ")[2].split(" → ")
    assert set(shown) == set("bcd")
    assert shown[0] == shown[-1]
    assert all(pair in ends for pair in map("".join, pairwise(shown)))


def test_a_long_circle_is_found_without_recursion() -> None:
    ids = [f"n{i}" for i in range(5_000)]
    steps = [edge(source, target) for source, target in zip(ids, [*ids[1:], "n1"], strict=True)]
    document = graph(node("n0", "start"), *(node(i, "code") for i in ids[1:]), *steps)
    (finding,) = check(document)
    assert finding.code == "cycle"
    assert len(finding.sentence) < 300


def test_a_number_as_id_is_odd_and_not_broken() -> None:
    nodes, edges = "[{id: 17, data: {type: start}}, {id: b, data: {type: end}}]", "[{source: 17, target: b}]"
    document = parse(f"workflow: {{graph: {{nodes: {nodes}, edges: {edges}}}}}")
    (finding,) = check(document)
    assert (finding.code, finding.severity) == ("node-id-not-text", "warning")
    require_sound(document)


def test_only_the_first_errors_are_told() -> None:
    document = graph(START, *(edge("a", f"z{i}") for i in range(9)))
    with pytest.raises(BrokenGraph, match=r"z0.*; .*z1.*; .*z2.*; and 6 more\. Mend") as caught:
        require_sound(document)
    assert "z3" not in str(caught.value)


def test_errors_come_before_warnings() -> None:
    document = parse("workflow: {graph: {nodes: [{id: 17, data: {type: start}}], edges: [{source: 17, target: z}]}}")
    assert [finding.severity for finding in check(document)] == ["error", "warning"]


def test_outline() -> None:
    document = graph(START, NOTE, node(17, "end"), edge("a", "17"), {"source": "a", "target": None})
    assert outline(document) == {"nodes": ["a", "17"], "edges": [["a", "17"], ["a", ""]]}
    assert outline(Document({"app": {"mode": "chat"}})) == {"nodes": [], "edges": []}
