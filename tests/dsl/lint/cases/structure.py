"""Rules on the graph as a whole: documents that break one, each with one that does not."""

from typing import Final

from dsl.documents import edge, graph, node

from .parts import (
    SOUND,
    START,
    Case,
    answer,
    branch,
    chain,
    chat,
    code,
    container,
    end,
    flow,
    http,
    inside,
    joined,
    llm,
    raw,
    rounds,
)

SAYS: Final = "workflow.graph.nodes"
NODES: Final = SOUND.data["workflow"]["graph"]["nodes"]
EDGES: Final = SOUND.data["workflow"]["graph"]["edges"]
CASES: Final = [
    Case("empty-graph", graph(), SOUND, "no nodes", SAYS),
    Case("not-a-node", raw([*NODES, 1], EDGES), SOUND, "is not a mapping", "nodes[3]"),
    Case("node-without-id", raw([*NODES, {"data": {"type": "x"}}], EDGES), SOUND, "has no id", "nodes[3]"),
    Case("duplicate-node-id", raw([*NODES, NODES[1]], EDGES), SOUND, "stands twice", "nodes[3]"),
    Case("node-without-data", raw([*NODES, {"id": "z"}], EDGES), SOUND, "no `data`", "nodes[3]"),
    Case("node-without-type", raw([*NODES, {"id": "z", "data": {}}], EDGES), SOUND, "no `data.type`", "nodes[3]"),
    Case("node-id-not-text", raw([*NODES, node(7, "llm")], EDGES), SOUND, "is a number", "nodes[3]"),
    Case("not-an-edge", raw(NODES, [*EDGES, 1]), SOUND, "is not a mapping", "edges[2]"),
    Case("edge-without-end", raw(NODES, [*EDGES, {"source": "s"}]), SOUND, "has no target", "edges[2]"),
    Case("edge-to-nowhere", raw(NODES, [*EDGES, edge("c", "z")]), SOUND, "no node has this id", "edges[2]"),
    Case("no-start", raw(NODES[1:], EDGES[1:]), SOUND, "no start node", SAYS),
    Case("several-starts", raw([*NODES, node("t", "start")], EDGES), SOUND, "2 start nodes", "nodes[3]"),
    Case("start-and-trigger", raw([*NODES, node("t", "trigger-plugin")], EDGES), SOUND, "stand together", "nodes[0]"),
    Case("type-not-in-mode", flow(answer()), chat(answer()), "only a chatflow", "nodes[1]"),
    Case("unknown-parent", flow(inside("z", code())), SOUND, "is inside z", "nodes[1]"),
    Case("cycle", flow(code(), edge("c", "c")), SOUND, "in a circle", "workflow.graph.edges"),
    Case(
        "unreachable-node",
        graph(START, code(), end(), *chain("s", "e"), *chain("c", "e")),
        SOUND,
        "No run gets to “Code”.",
        "nodes[1]",
    ),
    Case(
        "unreachable-node",
        graph(START, code(), llm(), end(), *chain("s", "e"), *chain("c", "m", "c")),
        SOUND,
        "nor to the one behind it",
        "nodes[1]",
    ),
    Case(
        "unreachable-node",
        rounds(*container("iteration", code()), inside("i", code(node_id="d"))),
        rounds(*container("iteration", code())),
        "“Code”",
        "nodes[5]",
    ),
    Case("no-end", graph(START, code(), *chain("s", "c")), SOUND, "end node", SAYS),
    Case("no-end", graph(START, code(), *chain("s", "c"), mode="advanced-chat"), chat(), "an answer", SAYS),
    Case(
        "path-without-end",
        joined(end(), http(), edge("b", "h", sourceHandle="false")),
        joined(end(), edge("b", "e", sourceHandle="false")),
        "takes ELSE",
        "nodes[4]",
        "info",
    ),
    Case(
        "path-without-end",
        graph(
            START,
            branch(),
            answer(),
            http(),
            edge("s", "b"),
            edge("b", "x", sourceHandle="yes"),
            edge("b", "h", sourceHandle="false"),
            mode="advanced-chat",
        ),
        chat(),
        "an answer when “If-Else” takes ELSE",
        "nodes[3]",
        "warning",
    ),
    Case("unused-result", flow(llm()), flow(llm(), end(a=["m", "text"])), "text", "nodes[1]"),
    Case("unused-result", flow(code()), flow(code(), end(a=["c", "a"])), "gives (a)", "nodes[1]"),
]
