"""What stands in the way of running a document, named before anything runs."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.flows import Shelf, answer, code, end, flow, llm, node, start, template
from lastgood.dsl.reader import parse
from lastgood.errors import NoGraph, NotRunnable
from lastgood.targets.engine import unrunnable
from lastgood.targets.engine.nodes import KINDS
from lastgood.targets.engine.prepared import Shelf as PreparedShelf
from lastgood.targets.engine.prepared import prepare
from lastgood.targets.engine.source import Runnable
from support.shared import SHARED

GOOD = flow(start("n"), template("t", "{{ n }}", n=["start", "n"]), end(a=["t", "output"]))


def test_a_good_document_has_nothing_in_its_way() -> None:
    before = copy.deepcopy(GOOD)
    assert unrunnable(GOOD) == ()
    assert before == GOOD


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("tool", "plugin tool"),
        ("knowledge-retrieval", "knowledge base"),
        ("knowledge-index", "knowledge base"),
        ("agent", "agent"),
        ("datasource", "datasource"),
        ("document-extractor", "document extractor"),
        ("human-input", "a form that a person fills in"),
        ("teleport", "of the type 'teleport', which this engine does not know"),
    ],
)
def test_a_node_of_difys_alone_is_named(kind: str, words: str) -> None:
    document = flow(start(), node("x", kind, title="The one"), end(a=["sys", "user_id"]))
    [reason] = unrunnable(document)
    assert reason.startswith("the node “The one” (x) is ")
    assert words in reason


def test_every_obstacle_is_named_at_once() -> None:
    document = flow(
        start(), node("a", "tool"), node("b", "agent"), code("c", "…", {"a": "string"}), end(a=["sys", "user_id"])
    )
    document["workflow"]["graph"]["nodes"][3]["data"]["code_language"] = "javascript"
    reasons = unrunnable(document)
    assert [reason.partition(" is ")[0] for reason in reasons] == [f"the node “{n}” ({n})" for n in "abc"]
    assert "written in javascript, and only python3 runs here" in reasons[2]


def test_a_plugin_trigger_is_named_instead_of_a_missing_start() -> None:
    [reason] = unrunnable(flow(node("t", "trigger-plugin"), end(a=["t", "x"])))
    assert "trigger, which Dify serves" in reason


@pytest.mark.parametrize("mode", ["chat", "agent-chat", "completion"])
def test_an_app_without_a_graph_is_named(mode: str) -> None:
    assert unrunnable({"app": {"mode": mode}, "model_config": {}}) == (f"a {mode} app has no graph that runs here",)
    with pytest.raises(NoGraph):
        prepare(Runnable("wf-aaaaaa", "v-20240401-01", "x", mode, {"app": {"mode": mode}}))


def broken(**change: Any) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    for what, value in change.items():
        document["workflow"]["graph"][what] = value
    return document


EDGE = {"source": "start", "target": "end", "sourceHandle": "source"}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (broken(nodes=[]), "0 start nodes"),
        (broken(nodes=[start(), {**start(), "id": "s2"}, end(a=["start", "n"])], edges=[EDGE]), "2 start nodes"),
        (broken(nodes=[start(), start()]), "two nodes have the same id"),
        (broken(nodes=[start(), {"data": {"type": "end"}}]), "cannot be read"),
        (broken(edges=[{"target": "end"}]), "cannot be read"),
        (broken(edges=[EDGE, {"source": "end", "target": "start"}]), "does not hold together"),
        (flow(start(), node("e", "end", outputs="x")), "“e” (e) is not well formed (outputs:"),
        (flow(start(), code("c", "x", {"a": "strange"}), end(a=["c", "a"])), "“c” (c) is not well formed"),
        (flow(start(), node("m", "llm"), end(a=["m", "text"])), "“m” (m) is not well formed"),
        (flow(start(), node("i", "iteration"), end(a=["i", "output"])), "“i” (i) is not well formed"),
        (
            flow(start(), end(a=["env", "n"]), environment=[{"name": "n", "value_type": "number", "value": "x"}]),
            "variable 'n'",
        ),
        (flow(start(), end(a=["env", "n"]), environment=[{"value": 1}]), "variable None cannot be read"),
    ],
)
def test_a_broken_graph_is_a_sentence(document: dict[str, Any], words: str) -> None:
    reasons = unrunnable(document)
    assert any(words in reason for reason in reasons), reasons
    with pytest.raises(NotRunnable, match="cannot run on the embedded engine"):
        prepare(Runnable("wf-aaaaaa", "v-20240401-01", "x", "workflow", document))


def test_what_no_run_can_reach_stands_in_nobodys_way() -> None:
    document = copy.deepcopy(GOOD)
    document["workflow"]["graph"]["nodes"] += [
        node("lost", "tool"),
        {"id": "note", "type": "custom-note", "data": {}},
    ]
    assert unrunnable(document) == ()


def test_edge_ids_may_be_missing_or_repeat() -> None:
    document = copy.deepcopy(GOOD)
    for edge in document["workflow"]["graph"]["edges"]:
        edge["id"] = "same"
    assert unrunnable(document) == ()
    for edge in document["workflow"]["graph"]["edges"]:
        del edge["id"]
    assert unrunnable(document) == ()


def test_retries_are_bounded() -> None:
    call = node(
        "h",
        "http-request",
        url="http://x.example",
        method="get",
        authorization={"type": "no-auth"},
        headers="",
        params="",
    )
    call["data"]["retry_config"] = {"retry_enabled": True, "max_retries": 10**6, "retry_interval": 10**9}
    document = flow(start(), call, end(a=["h", "body"]))
    ready = prepare(Runnable("wf-aaaaaa", "v-20240401-01", "x", "workflow", document))
    assert ready.plan.nodes["h"]["data"]["retry_config"] == {
        "retry_enabled": True,
        "max_retries": 10,
        "retry_interval": 10_000,
    }


FORK = [("start", "a"), ("start", "b"), ("a", "end"), ("b", "end")]
FORKED = flow(start(), template("a", "a"), template("b", "b"), end(a=["a", "output"]), edges=FORK)


@pytest.mark.parametrize(("document", "workers"), [(GOOD, 1), (FORKED, 4)])
def test_a_run_gets_as_many_threads_as_it_can_use(document: dict[str, Any], workers: int) -> None:
    assert prepare(Runnable("wf-aaaaaa", "v-20240401-01", "x", "workflow", document)).workers == workers


def test_versions_are_prepared_once_and_the_oldest_forgotten() -> None:
    source = Shelf()
    loads: list[str] = []
    load = source.load

    def counted(version_id: str) -> Runnable | None:
        loads.append(version_id)
        return load(version_id)

    source.load = counted  # type: ignore[method-assign]
    shelf = PreparedShelf(source, size=2)
    one, two, three = (source.put(GOOD) for _ in range(3))
    bad = source.put(flow(start(), node("x", "tool"), end(a=["x", "text"])))
    assert shelf.get(one) is shelf.get(one)
    shelf.get(two)
    shelf.get(three)
    shelf.get(two)
    shelf.get(one)
    assert loads == [one, two, three, one]
    for _ in range(2):
        with pytest.raises(NotRunnable):
            shelf.get(bad)
    assert loads[4:] == [bad]
    assert shelf.get("v-20240401-999999") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "data", "type", "source", "target", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    kind=st.sampled_from(sorted(KINDS)),
    data=st.dictionaries(st.text(max_size=12), JSON, max_size=4),
    edges=JSON,
    variables=JSON,
)
def test_no_document_breaks_the_survey(kind: str, data: dict[str, Any], edges: Any, variables: Any) -> None:
    """Whatever is in it, the answer is a list of sentences."""
    document = flow(
        start(), node("x", kind, **{k: v for k, v in data.items() if k not in {"node_id", "kind", "parent"}})
    )
    document["workflow"] |= {"environment_variables": variables, "conversation_variables": variables}
    document["workflow"]["graph"]["edges"] += edges if isinstance(edges, list) else [edges]
    assert all(isinstance(reason, str) and reason for reason in unrunnable(document))


@pytest.mark.skipif(not (SHARED / "corpus").exists(), reason="no corpus beside the repository")
def test_the_corpus_is_surveyed_without_a_break() -> None:
    """`benchmarks.corpus` runs them; here it is enough that every document that can be read gets its answer."""
    runnable = 0
    for path in sorted((SHARED / "corpus" / "files").glob("*.yml"))[::4]:
        runnable += unrunnable(parse(path.read_bytes(), source=path.name).data) == ()
    assert runnable > 20


def test_a_model_node_needs_no_endpoint_to_be_runnable() -> None:
    assert unrunnable(flow(start(), llm("m", "x"), answer("{{#m.text#}}"), mode="advanced-chat")) == ()
