"""What holds for every pair of documents: the difference is empty exactly when the digests are equal, and applied to
the old document it gives the new one."""

import copy
import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dsl.documents import SHARED, edge, graph, node
from lastgood.dsl import Document, parse, semantic_digest
from lastgood.dsl.canonical import canonical, folded
from lastgood.dsl.compare import apply, compare
from lastgood.dsl.compare.renames import renamer
from lastgood.dsl.compare.settling import same, settled
from lastgood.errors import DoesNotFit, InvalidDocument

IDS = st.sampled_from(["a", "b", "c", "d", "1", 1, "", None, 1.0, True])
WORDS = st.sampled_from(["", "x", "a long text of words", "{{#a.x#}} and {{#b.y#}}", "one\ntwo\nthree\n", "a", "é"])
SCALARS = st.none() | st.booleans() | st.sampled_from([0, 1, 1.0, 2.5, 1e16, 10**16, -0.0]) | WORDS
SELECTORS = st.lists(st.sampled_from(["a", "b", "sys", "x"]), max_size=3)
VALUES = st.recursive(
    SCALARS | SELECTORS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "role", "variable", "text", "enabled", "q"]), inner, max_size=3)
    ),
    max_leaves=8,
)
TYPES = st.sampled_from(["start", "llm", "code", "tool", "agent", "iteration-start", "", 5])
DATA = st.fixed_dictionaries(
    {},
    optional={
        "type": TYPES,
        "title": st.sampled_from(["A", "B", "C", ""]),
        "variables": st.lists(VALUES, max_size=4),
        "prompt_template": VALUES,
        "selected": st.booleans(),
        "output_schema": SCALARS,
        "agent_parameters": st.fixed_dictionaries({"tools": st.fixed_dictionaries({"value": VALUES})}) | SCALARS,
        "iteration_id": IDS,
        "_x": SCALARS,
    },
)
NODES = st.fixed_dictionaries(
    {},
    optional={
        "id": IDS | VALUES,
        "type": st.sampled_from(["custom", "custom-note"]),
        "data": DATA | VALUES,
        "parentId": IDS,
        "position": SCALARS,
        "new": VALUES,
    },
)
EDGES = st.fixed_dictionaries(
    {"source": IDS, "target": IDS},
    optional={"sourceHandle": st.sampled_from(["source", "true", "", None]), "id": SCALARS, "new": SCALARS},
)
VARIABLES = st.fixed_dictionaries(
    {},
    optional={
        "id": SCALARS,
        "name": st.sampled_from(["A", "B"]) | SCALARS,
        "value": VALUES,
        "value_type": st.sampled_from(["string", "secret", "integer", "number"]),
        "description": st.sampled_from(["", "d", None]),
        "selector": SELECTORS,
    },
)
FEATURES = st.dictionaries(
    st.sampled_from(["opening_statement", "file_upload", "new"]),
    VALUES | st.fixed_dictionaries({"enabled": st.booleans()}, optional={"image": VALUES}),
)
WORKFLOWS = st.fixed_dictionaries(
    {},
    optional={
        "graph": st.fixed_dictionaries(
            {},
            optional={
                "nodes": st.lists(NODES | SCALARS, max_size=5) | st.none(),
                "edges": st.lists(EDGES | SCALARS, max_size=5),
                "viewport": SCALARS,
                "new": VALUES,
            },
        )
        | SCALARS,
        "features": FEATURES | SCALARS,
        "environment_variables": st.lists(VARIABLES | SCALARS, max_size=4),
        "conversation_variables": st.lists(VARIABLES, max_size=3) | SCALARS,
        "rag_pipeline_variables": VALUES,
        "new": SCALARS,
    },
)
MODES = st.sampled_from(["workflow", "workflow", "advanced-chat", "chat", "", 5, "rag_pipeline"])
APPS = st.fixed_dictionaries({}, optional={"mode": MODES, "name": st.sampled_from(["", "x", "y"]), "icon": VALUES})
DOCUMENTS = st.builds(
    Document,
    st.fixed_dictionaries(
        {"app": APPS, "workflow": WORKFLOWS},
        optional={
            "model_config": VALUES,
            "version": st.sampled_from(["0.1.0", "0.6.0", 1]),
            "dependencies": VALUES | st.lists(VALUES, max_size=3),
            "rag_pipeline": st.fixed_dictionaries({"name": WORDS}),
            "kind": SCALARS,
            "mode": SCALARS,
        },
    ),
)


TEXTS = st.sampled_from(
    ["", "x", "say {{#n1.text#}}", "say {{#n2.text#}}", "a text of five words", "a text of six more words"]
)
ITEMS = st.fixed_dictionaries({"id": st.sampled_from("uvwxyz"), "text": TEXTS}, optional={"enabled": st.booleans()})
SOUND_NODES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["llm", "llm", "code", "iteration"]),
        "title": st.sampled_from(["A", "B", "C", "D"]),
        "text": TEXTS,
        "items": st.lists(ITEMS, max_size=4),
        "options": st.lists(st.sampled_from("pqrs"), max_size=4),
        "query_selector": st.sampled_from([["n1", "x"], ["n2", "x"], ["sys", "query"], []]),
    }
)


@st.composite
def sound(draw: st.DrawFn) -> Document:
    """A document with a graph, its nodes under ids of their own."""
    ids = draw(st.lists(st.sampled_from(["n1", "n2", "n3", "n4", "n5", 6]), min_size=1, max_size=5, unique=True))
    nodes = [{"id": node_id, "data": draw(SOUND_NODES)} for node_id in ids]
    ends = st.sampled_from([str(node_id) for node_id in ids])
    edges = draw(st.lists(st.builds(edge, ends, ends), max_size=5))
    inside = draw(st.sampled_from([None, *ids]))
    if inside is not None:
        nodes[0]["parentId"] = inside
    variables = draw(st.lists(VARIABLES, max_size=3))
    return graph(*nodes, *edges, environment_variables=variables, features=draw(FEATURES))


def changed(value: Any, order: random.Random) -> Any:
    """A copy of `value` in which some parts are another's, gone, doubled or elsewhere."""
    if isinstance(value, dict):
        return {key: changed(item, order) for key, item in value.items() if order.random() > 0.02}
    if isinstance(value, list):
        items = [changed(item, order) for item in value if order.random() > 0.1]
        if items and order.random() < 0.1:
            items.insert(order.randrange(len(items) + 1), copy.deepcopy(order.choice(items)))
        if order.random() < 0.2:
            order.shuffle(items)
        return items
    if order.random() < 0.03:
        return order.choice(["a", "n1", "n9", "z", 1, 1.0, True, None, "a long text of other words"])
    return value


def renamed(data: dict[str, Any], order: random.Random) -> dict[str, Any]:
    """A copy in which some nodes have another id, everywhere."""
    text = json.dumps(data)
    for node_id in ("n1", "n2", "n3"):
        if order.random() < 0.7:
            text = text.replace(node_id, f"{order.choice('mno')}{order.randrange(9)}")
    copied: dict[str, Any] = json.loads(text)
    return copied


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Document, Document]:
    """Two documents, most of the time much alike: one made of the other."""
    documents = draw(st.sampled_from([DOCUMENTS, sound(), sound()]))
    old = draw(documents)
    if draw(st.integers(0, 3)) == 0:
        return old, draw(documents)
    order = random.Random(draw(st.integers(0, 2**32)))
    return old, Document(changed(renamed(old.data, order) if order.random() < 0.5 else old.data, order))


def check(old: Document, new: Document) -> None:
    before = copy.deepcopy((old.data, new.data))
    difference = compare(old, new)
    result = apply(difference, old)
    assert (old.data, new.data) == before
    assert difference.same == (semantic_digest(old) == semantic_digest(new))
    assert semantic_digest(result) == semantic_digest(new)
    assert not compare(result, new)


@given(pairs())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(
    (
        graph(node("a", "llm"), node("b", "code", q=["a", "x"])),
        graph(node("z", "llm"), node("b", "code", q=["z", "x"])),
    )
)
@example(
    (
        graph(node("a", "llm"), node("b", "code", q=["a", "x"])),
        graph(node("z", "llm"), node("b", "code", q=["a", "x"])),
    )
)
@example((graph(node("a", "llm", q=1), node("a", "llm", q=2)), graph(node("a", "llm", q=2), node("a", "llm", q=3))))
def test_applied_to_the_old_document_it_gives_the_new_one(pair: tuple[Document, Document]) -> None:
    check(*pair)


@given(DOCUMENTS)
@settings(max_examples=100, deadline=None)
def test_a_document_does_not_differ_from_itself(document: Document) -> None:
    assert not compare(document, document)
    assert not compare(document, Document(copy.deepcopy(document.data)))


NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)


@given(NUMBERS | VALUES | st.lists(NUMBERS) | st.dictionaries(WORDS, NUMBERS | VALUES))
@example([1e15, 1e16, -0.0, 1e-5, 0.00001234, 1e22, 123456789012345680.0, 9007199254740993.0])
@settings(max_examples=300, deadline=None)
def test_a_settled_value_is_what_the_digest_sees(value: Any) -> None:
    assert canonical(settled(value)) == folded(value)


@given(VALUES, VALUES)
@example([[1], {"a": 1}], [[True], {"a": 1}])
@example({"a": [0, 1]}, {"a": [False, 1]})
@settings(max_examples=300, deadline=None)
def test_values_are_the_same_when_the_digest_says_so(old: Any, new: Any) -> None:
    assert same(settled(old), settled(new)) == (folded(old) == folded(new))


@given(pairs(), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_the_order_of_nodes_edges_and_variables_does_not_matter(pair: tuple[Document, Document], seed: int) -> None:
    """The difference fits a document that does the same, in whatever order it stands."""
    old, new = pair
    other = copy.deepcopy(old.data)
    order = random.Random(seed)
    workflow = other["workflow"]
    for items in (
        *((workflow["graph"].get("nodes"), workflow["graph"].get("edges")) if old.has_graph else ()),
        *((workflow.get("environment_variables"), workflow.get("conversation_variables")) if old.has_graph else ()),
    ):
        if isinstance(items, list):
            order.shuffle(items)
    if Document(other).mode == old.mode:
        assert semantic_digest(apply(compare(old, new), Document(other))) == semantic_digest(new)


def histories() -> list[Path]:
    return sorted(path for path in (SHARED / "corpus" / "histories").glob("*") if path.is_dir())


@pytest.mark.parametrize("history", histories(), ids=lambda path: path.name)
def test_every_step_of_a_real_history(history: Path) -> None:
    versions = [parse(path.read_bytes(), source=path.name) for path in sorted(history.glob("*.yml"))]
    assert len(versions) > 1
    for old, new in pairwise(versions):
        check(old, new)
        check(new, old)


def test_real_documents_that_have_little_in_common() -> None:
    documents = []
    for path in sorted((SHARED / "corpus" / "files").glob("*.yml"))[::6]:
        try:
            documents.append(parse(path.read_bytes(), source=path.name))
        except InvalidDocument:
            continue
    if not documents:
        pytest.skip("no corpus beside the repository")
    for old, new in pairwise(documents):
        check(old, new)


def test_a_copy_of_a_real_document_has_other_ids_and_nothing_else() -> None:
    """As Dify makes one: every node has a new id, and whatever refers to it goes along."""
    order = random.Random(1)
    copied = 0
    for path in sorted((SHARED / "corpus" / "files").glob("*.yml"))[::3]:
        try:
            document = parse(path.read_bytes(), source=path.name)
        except InvalidDocument:
            continue
        ids = {node["id"]: str(order.randrange(10**12, 10**13)) for node in document.nodes}
        if not document.has_graph or not all(isinstance(node_id, str) for node_id in ids):
            continue
        found = compare(document, Document(renamer(ids)(document.data)))
        assert not [node for node in found.nodes if node.fields or not node.renamed], path.name
        assert not found.edges, path.name
        copied += 1
    if not copied:
        pytest.skip("no corpus beside the repository")


@pytest.mark.parametrize(
    "other",
    [
        graph(node("b", "end"), edge("a", "b")),
        graph(node("a", "start"), edge("a", "b")),
        graph(node("a", "start", x=7), node("b", "end"), edge("a", "b")),
        graph(node("a", "start", x=1), node("b", "end")),
    ],
    ids=["a node is gone", "the other node is gone", "a value is another", "an edge is gone"],
)
def test_a_difference_is_refused_by_a_document_that_it_does_not_fit(other: Document) -> None:
    old = graph(node("a", "start", x=1), node("b", "end"), edge("a", "b"))
    difference = compare(old, graph(node("a", "start", x=2)))
    with pytest.raises(DoesNotFit):
        apply(difference, other)
