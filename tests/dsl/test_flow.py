"""Whether a value is there when it is used: a table, and every run of small graphs as the judge."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.dsl import Document
from lastgood.dsl.flow import Flow, handle_name
from lastgood.dsl.index import FAIL_BRANCH, Index, handles
from lastgood.dsl.references import References

from .documents import edge, graph, node

START = node("s", "start", variables=[{"variable": "q", "type": "text-input"}])


def reader(name: str, node_id: str = "x", **more: Any) -> dict[str, Any]:
    return {**node(node_id, "answer", answer=f"{{{{#{name}#}}}}"), **more}


def branch(node_id: str) -> dict[str, Any]:
    return node(node_id, "if-else", cases=[{"case_id": "yes"}])


def within(parent: str, part: dict[str, Any]) -> dict[str, Any]:
    return {**part, "parentId": parent}


def chain(*ids: str) -> list[dict[str, Any]]:
    return [edge(a, b) for a, b in itertools.pairwise(ids)]


def arrival_of(document: Document) -> tuple[str, str]:
    """Certainty and reason of the one reference of the node `x`."""
    index = Index(document)
    (found,) = References(index).used_by("x")
    arrival = Flow(index).arrival(found)
    return arrival.certainty, arrival.reason


LLM = node("m", "llm")
SOFT = node("h", "http-request", error_strategy="fail-branch")
ITERATION = [
    node("i", "iteration", start_node_id="is"),
    within("i", node("is", "iteration-start")),
    within("i", branch("ib")),
    within("i", node("in", "llm")),
    edge("is", "ib"),
    edge("ib", "in", sourceHandle="yes"),
]
TABLE: list[tuple[str, list[dict[str, Any]], tuple[str, str]]] = [
    ("straight on", [LLM, reader("m.text"), *chain("s", "m", "x")], ("always", "")),
    ("a variable beside the nodes", [reader("sys.user_id"), *chain("s", "x")], ("always", "")),
    ("later", [LLM, reader("m.text"), *chain("s", "x", "m")], ("never", "later")),
    ("of oneself", [reader("x.answer"), *chain("s", "x")], ("never", "itself")),
    ("on a path apart", [LLM, reader("m.text"), *chain("s", "m"), *chain("s", "x")], ("never", "apart")),
    (
        "both of two parallel paths",
        [LLM, node("c", "code"), reader("m.text"), *chain("s", "m", "x"), *chain("s", "c", "x")],
        ("always", ""),
    ),
    (
        "behind a branch",
        [branch("b"), LLM, reader("m.text"), *chain("s", "b"), edge("b", "m", sourceHandle="yes"), *chain("m", "x")],
        ("always", ""),
    ),
    (
        "where branches meet",
        [
            *(branch("b"), LLM, node("c", "code"), reader("m.text"), *chain("s", "b")),
            *(edge("b", "m", sourceHandle="yes"), edge("b", "c", sourceHandle="false")),
            *chain("m", "x"),
            *chain("c", "x"),
        ],
        ("sometimes", "branch"),
    ),
    (
        "where branches meet, and a parallel path brings it in any case",
        [
            *(branch("b"), LLM, node("c", "code"), reader("m.text"), *chain("s", "b"), *chain("s", "m", "x")),
            *(edge("b", "c", sourceHandle="yes"), edge("b", "x", sourceHandle="false"), edge("c", "x")),
        ],
        ("always", ""),
    ),
    (
        "a handle without an edge leaves the join to the other path",
        [
            *(branch("b"), LLM, reader("m.text"), *chain("s", "b"), *chain("s", "x")),
            *(edge("b", "m", sourceHandle="yes"), *chain("m", "x")),
        ],
        ("sometimes", "branch"),
    ),
    (
        "the same choice twice is another choice",
        [
            *(branch("b"), branch("d"), LLM, reader("m.text"), *chain("s", "b"), *chain("s", "d")),
            *(edge("b", "m", sourceHandle="yes"), edge("d", "x", sourceHandle="yes"), edge("m", "x")),
        ],
        ("sometimes", "branch"),
    ),
    (
        "after a success",
        [SOFT, reader("h.body"), *chain("s", "h", "x")],
        ("always", ""),
    ),
    (
        "after a failure",
        [SOFT, reader("h.body"), *chain("s", "h"), edge("h", "x", sourceHandle=FAIL_BRANCH)],
        ("never", "failure"),
    ),
    (
        "the error after a failure",
        [SOFT, reader("h.error_message"), *chain("s", "h"), edge("h", "x", sourceHandle=FAIL_BRANCH)],
        ("always", ""),
    ),
    ("the error after a success", [SOFT, reader("h.error_message"), *chain("s", "h", "x")], ("never", "success")),
    (
        "after either",
        [SOFT, reader("h.body"), *chain("s", "h", "x"), edge("h", "x", sourceHandle=FAIL_BRANCH)],
        ("sometimes", "branch"),
    ),
    (
        "an error with default values",
        [
            node("h", "http-request", error_strategy="default-value"),
            reader("h.error_type"),
            *chain("s", "h", "x"),
        ],
        ("sometimes", "success"),
    ),
    (
        "from outside into an iteration",
        [*ITERATION, LLM, within("i", reader("m.text")), *chain("s", "m", "i"), *chain("is", "x")],
        ("always", ""),
    ),
    (
        "from outside, and later",
        [*ITERATION, LLM, within("i", reader("m.text")), *chain("s", "i", "m"), *chain("is", "x")],
        ("never", "later"),
    ),
    (
        "an iteration's item",
        [*ITERATION, within("i", reader("i.index")), *chain("s", "i"), *chain("is", "x")],
        ("always", ""),
    ),
    (
        "an iteration's output from inside",
        [*ITERATION, within("i", reader("i.output")), *chain("s", "i"), *chain("is", "x")],
        ("never", "itself"),
    ),
    (
        "out of an iteration",
        [*ITERATION, reader("in.text"), *chain("s", "i", "x")],
        ("never", "inside"),
    ),
    (
        "within an iteration, behind a branch",
        [
            *ITERATION,
            within("i", reader("in.text")),
            *chain("s", "i"),
            *chain("in", "x"),
            edge("ib", "x", sourceHandle="false"),
        ],
        ("sometimes", "branch"),
    ),
    (
        "at the end of each round",
        [
            {**node("x", "iteration", start_node_id="is", output_selector=["in", "text"])},
            *(within("x", node("is", "iteration-start")), within("x", node("in", "llm"))),
            *chain("s", "x"),
            *chain("is", "in"),
        ],
        ("always", ""),
    ),
    (
        "at the end of some rounds",
        [
            {**node("x", "iteration", start_node_id="is", output_selector=["in", "text"])},
            *(within("x", node("is", "iteration-start")), within("x", branch("ib")), within("x", node("in", "llm"))),
            *chain("s", "x"),
            *(edge("is", "ib"), edge("ib", "in", sourceHandle="yes")),
        ],
        ("sometimes", "branch"),
    ),
    (
        "what a loop looks at while it goes round",
        [
            node("x", "loop", start_node_id="ls", break_conditions=[{"variable_selector": ["in", "text"]}]),
            *(within("x", node("ls", "loop-start")), within("x", branch("lb")), within("x", node("in", "llm"))),
            *(*chain("s", "x"), edge("ls", "lb"), edge("lb", "in", sourceHandle="yes")),
        ],
        ("always", ""),
    ),
    (
        "what an iteration goes through cannot come from inside",
        [
            node("x", "iteration", start_node_id="is", iterator_selector=["in", "text"]),
            *(within("x", node("is", "iteration-start")), within("x", node("in", "llm"))),
            *(*chain("s", "x"), edge("is", "in")),
        ],
        ("never", "inside"),
    ),
    (
        "an edge that no run takes is blamed for itself only",
        [branch("b"), LLM, reader("m.text"), *chain("s", "b", "m", "x")],
        ("always", ""),
    ),
    (
        "nor does it count where branches meet",
        [
            branch("b"),
            LLM,
            reader("m.text"),
            *chain("s", "b", "x"),
            edge("b", "m", sourceHandle="yes"),
            edge("m", "x"),
        ],
        ("always", ""),
    ),
    ("nobody gets there", [LLM, reader("m.text"), *chain("m", "x")], ("always", "")),
    ("nothing names it", [reader("gone.text"), *chain("s", "x")], ("always", "")),
    (
        "a circle is endured",
        [LLM, node("c", "code"), reader("m.text"), *chain("s", "m", "c", "m"), *chain("c", "x")],
        ("always", ""),
    ),
]


@pytest.mark.parametrize(("parts", "expected"), [case[1:] for case in TABLE], ids=[case[0] for case in TABLE])
def test_arrival(parts: list[dict[str, Any]], expected: tuple[str, str]) -> None:
    assert arrival_of(graph(START, *parts)) == expected


def test_one_trigger_starts_a_run() -> None:
    hook = node("h", "trigger-webhook", body=[{"name": "text", "type": "string"}])
    document = graph(hook, node("t", "trigger-schedule"), reader("h.text"), edge("h", "x"), edge("t", "x"))
    index = Index(document)
    (found,) = References(index).used_by("x")
    arrival = Flow(index).arrival(found)
    assert (arrival.certainty, arrival.way) == ("sometimes", (("", "t"),))


def test_the_way_names_the_choices_that_matter() -> None:
    parts = [branch("a"), branch("b"), LLM, node("c", "code"), reader("m.text")]
    edges = [
        *chain("s", "a"),
        *(edge("a", "c", sourceHandle="yes"), edge("a", "b", sourceHandle="false")),
        *(edge("b", "m", sourceHandle="yes"), edge("b", "x", sourceHandle="false")),
        *chain("c", "b"),
        *chain("m", "x"),
    ]
    index = Index(graph(START, *parts, *edges))
    (found,) = References(index).used_by("x")
    assert Flow(index).arrival(found).way == (("b", "false"),)


def test_without_any_of_several() -> None:
    def way(*joined: str) -> object:
        parts = [branch("b"), LLM, node("n", "llm"), node("c", "code"), node("x", "variable-aggregator")]
        edges = [edge("b", "m", sourceHandle="yes"), edge("b", "n", sourceHandle="false"), *chain("s", "c", "x")]
        index = Index(graph(START, *parts, *chain("s", "b"), *edges, *chain("m", "x"), *chain("n", "x")))
        return Flow(index).without("x", [(name, "text") for name in joined])

    assert way("m", "n") is None
    assert way("m", "n", "c") is None
    assert way("m") == (("b", "false"),)
    assert way() == ()
    assert way("env") is None


def test_past_the_ends() -> None:
    def past(*edges: dict[str, Any]) -> object:
        parts = [branch("b"), node("c", "code"), node("e", "end")]
        return Flow(Index(graph(START, *parts, *edges))).past(["e"])

    assert past(*chain("s", "b"), edge("b", "c", sourceHandle="yes"), edge("b", "e", sourceHandle="false")) == (
        "c",
        (("b", "yes"),),
    )
    assert past(*chain("s", "b"), edge("b", "e", sourceHandle="false")) is None
    assert past(*chain("s", "b"), *chain("s", "e"), edge("b", "c", sourceHandle="yes")) is None
    assert past(*chain("s", "c")) == ("c", ())


def test_reachable() -> None:
    document = graph(START, *ITERATION, LLM, branch("b"), *chain("s", "i"), edge("b", "m", sourceHandle="yes"))
    assert Flow(Index(document)).reachable == {"s", "i", "is", "ib", "in"}
    assert Flow(Index(graph(LLM))).reachable == frozenset()


NAMES = [
    (branch("b"), "yes", "IF"),
    (node("b", "if-else", cases=[{"case_id": "p"}, {"case_id": "q"}]), "q", "ELIF 2"),
    (branch("b"), "false", "ELSE"),
    (node("b", "if-else", conditions=[]), "true", "IF"),
    (node("b", "question-classifier", classes=[{"id": "1", "name": "after\n sales"}]), "1", "after sales"),
    (node("b", "question-classifier", classes=[{"id": "1"}]), "1", "1"),
    (node("b", "human-input", user_actions=[{"id": "ok", "title": "Agree"}]), "ok", "Agree"),
    (node("b", "human-input"), "__timeout", "its timeout"),
    (SOFT | {"id": "b"}, "fail-branch", "its failure"),
]


@pytest.mark.parametrize(("part", "handle", "name"), NAMES)
def test_names_of_handles(part: dict[str, Any], handle: str, name: str) -> None:
    assert handle_name(Index(graph(part)).nodes["b"], handle) == name


def test_a_long_chain_needs_no_recursion() -> None:
    ids = ["s", *(f"n{i}" for i in range(3_000)), "x"]
    parts = [node(i, "code", outputs={"a": {"type": "string"}}) for i in ids[1:-1]]
    assert arrival_of(graph(START, *parts, reader("n0.a"), *chain(*ids))) == ("always", "")


@st.composite
def graphs(draw: st.DrawFn) -> Document:
    """A small graph without circles whose last node names an output of another."""
    count = draw(st.integers(3, 7))
    parts = [START]
    for i in range(1, count - 1):
        kind = draw(st.sampled_from(["plain", "branch", "soft"]))
        data = {"plain": node(f"n{i}", "llm"), "branch": branch(f"n{i}")}
        parts.append(data.get(kind) or node(f"n{i}", "http-request", error_strategy="fail-branch"))
    names = [part["id"] for part in parts]
    producer = draw(st.sampled_from(names[1:]))
    kind = next(part["data"]["type"] for part in parts if part["id"] == producer)
    outputs = {"llm": ["text"], "if-else": ["result"], "http-request": ["body", "error_message"]}[kind]
    parts.append(reader(f"{producer}.{draw(st.sampled_from(outputs))}"))
    names.append("x")
    edges = []
    index = Index(graph(*parts))
    for a, b in itertools.combinations(names, 2):
        for handle in handles(index.nodes[a]):
            if draw(st.booleans()):
                edges.append(edge(a, b, sourceHandle=handle))
    return graph(*parts, *edges)


def runs(index: Index) -> Iterator[tuple[dict[str, str], set[str]]]:
    """Every run of a graph: the handle chosen at each node, and the nodes that ran. Nodes stand in the order of the
    edges."""
    own = {name: handles(found) for name, found in index.nodes.items()}
    for choice in itertools.product(*own.values()):
        chosen = dict(zip(own, choice, strict=True))
        ran = {"s"}
        for name in index.nodes:
            if any(e.source in ran and e.handle == chosen[e.source] for e in index.incoming[name]):
                ran.add(name)
        yield chosen, ran


@settings(max_examples=400, deadline=None)
@given(graphs())
def test_every_run_of_a_small_graph_agrees(document: Document) -> None:
    index = Index(document)
    (found,) = References(index).used_by("x")
    arrival = Flow(index).arrival(found)
    producer, name = found.selector
    failure = name.startswith("error_")
    soft = index.nodes[producer].fails_softly

    def there(chosen: dict[str, str], ran: set[str]) -> bool:
        """Whether the value is produced, and by a node that edges lead on from."""
        return producer in ran and (not soft or (chosen[producer] == FAIL_BRANCH) == failure)

    cases = [(chosen, there(chosen, ran)) for chosen, ran in runs(index) if "x" in ran]
    if not cases:
        assert arrival.certainty == "always"
        return
    # The reader waits for the producer only where edges lead from one to the other.
    before = _leads(index, producer, None if not soft else {FAIL_BRANCH} if failure else {"source"})
    if not before:
        assert arrival.certainty == "never"
    elif all(produced for _, produced in cases):
        assert arrival.certainty == "always"
    else:
        assert arrival.certainty == "sometimes"
        told = [chosen for chosen, produced in cases if not produced]
        assert any(all(chosen[at] == handle for at, handle in arrival.way) for chosen in told)


def _leads(index: Index, producer: str, first: set[str] | None) -> bool:
    """Whether edges that some run takes lead from the producer's handles to `x`."""
    reached = {e.target for e in index.outgoing[producer] if first is None or e.handle in first}
    for name in index.nodes:
        if name in reached:
            reached |= {e.target for e in index.outgoing[name]}
    return "x" in reached


@pytest.mark.parametrize(("parts", "expected"), [case[1:] for case in TABLE], ids=[case[0] for case in TABLE])
def test_never_says_the_same_as_arrival(parts: list[dict[str, Any]], expected: tuple[str, str]) -> None:
    index = Index(graph(START, *parts))
    (found,) = References(index).used_by("x")
    assert Flow(index).never(found) == (expected[1] if expected[0] == "never" else "")
