"""Rules on edges and handles: documents that break one, each with one that does not."""

from typing import Final

from dsl.documents import edge, graph, node

from .parts import MODEL, SOUND, START, Case, branch, chain, code, container, end, flow, http, joined, rounds

CASES: Final = [
    Case(
        "handle-without-edge",
        joined(end()),
        joined(end(), edge("b", "e", sourceHandle="false")),
        "ELSE of “If-Else” leads nowhere",
        "nodes[1]",
        "info",
    ),
    Case(
        "handle-without-edge",
        graph(
            START,
            branch("b", "x", "y"),
            end(),
            edge("s", "b"),
            edge("b", "e", sourceHandle="x"),
            edge("b", "e", sourceHandle="false"),
        ),
        SOUND,
        "ELIF 2",
        "nodes[1]",
        "warning",
    ),
    Case(
        "handle-without-edge",
        flow(http(error_strategy="fail-branch")),
        flow(http()),
        "when it fails",
        "nodes[1]",
        "warning",
    ),
    Case(
        "handle-without-edge",
        flow(
            node("p", "human-input", user_actions=[{"id": "ok", "title": "Agree"}]),
            edge("p", "e", sourceHandle="__timeout"),
        ),
        SOUND,
        "Agree of",
        "nodes[1]",
        "warning",
    ),
    Case(
        "edge-on-unknown-handle",
        joined(end(), edge("b", "e", sourceHandle="false"), edge("b", "e", sourceHandle="maybe")),
        SOUND,
        "no run takes it",
        "edges[1]",
        "error",
    ),
    Case(
        "edge-on-unknown-handle",
        flow(http(), code(), edge("h", "e", sourceHandle="fail-branch")),
        flow(http()),
        "every run takes it",
        "edges[0]",
        "error",
    ),
    Case(
        "edge-on-unknown-handle",
        graph(START, end(), edge("s", "e", sourceHandle="out")),
        SOUND,
        "every run takes it",
        "edges[0]",
        "info",
    ),
    Case(
        "edge-without-handle",
        graph(START, end(), edge("s", "e", sourceHandle=None)),
        SOUND,
        "has no handle",
        "edges[0]",
    ),
    Case(
        "edge-across-container",
        rounds(*container("iteration", code()), edge("c", "e")),
        rounds(*container("iteration", code())),
        "crosses the border",
        "edges[1]",
    ),
    Case(
        "duplicate-edge", graph(START, end(), *chain("s", "e"), *chain("s", "e")), SOUND, "is there twice", "edges[1]"
    ),
    Case(
        "duplicate-handle",
        flow(
            node(
                "p",
                "question-classifier",
                model=MODEL,
                query_variable_selector=["s", "q"],
                classes=[{"id": "1", "name": "a"}, {"id": "1", "name": "b"}],
            ),
            edge("p", "e", sourceHandle="1"),
        ),
        SOUND,
        "“1”",
        "classes",
    ),
]
