"""Whatever comes in: an `InvalidDocument`, or a document on which every function works."""

import copy
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood import dsl
from lastgood.dsl import Document
from lastgood.errors import BrokenGraph, InvalidDocument

from .documents import edge, graph, node

WHOLE = graph(
    node("a", "start", variables=[{"variable": "x", "type": "select", "options": ["a"], "required": True}]),
    {**node("b", "agent", agent_parameters={"tools": {"value": [{"credential_id": "c"}]}}), "parentId": "a"},
    node("c", "tool", _x=1),
    edge("a", "b"),
    edge("b", "c"),
    environment_variables=[{"name": "K", "value": "v", "value_type": "secret"}],
    conversation_variables=[{"name": "c", "value_type": "string"}],
    features={"file_upload": {"image": {"enabled": True}}},
)
ODD: list[Any] = [
    None,
    True,
    0,
    -1.5,
    2**63,
    "",
    "x",
    "*" * 20,
    [],
    [None],
    ["x"],
    [[]],
    {},
    {"id": 1},
    {"enabled": {}},
    [{"id": []}],
]


def use(document: Document) -> None:
    """Calls everything; only a broken graph may be refused."""
    dsl.check(document)
    dsl.outline(document)
    dsl.node_types(document)
    dsl.parameters(document)
    dsl.inputs(document)
    dsl.check_inputs(document, {"x": 1, "y": None})
    dsl.fill_inputs(document, {"x": "a"})
    dsl.secret_names(document)
    bare, values = dsl.take_secrets(document)
    assert dsl.content_digest(dsl.put_secrets(bare, values)) == dsl.content_digest(document)
    assert dsl.semantic_digest(bare) == dsl.semantic_digest(document)
    assert dsl.content_digest(dsl.parse(dsl.to_yaml(document))) == dsl.content_digest(document)
    assert (document.mode, document.name, document.dsl_version, document.has_graph) is not None
    try:
        dsl.require_sound(document)
    except BrokenGraph as error:
        assert str(error)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place inside `value`, as (container, key)."""
    keys: list[Any] = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    return [place for key in keys for place in [(value, key), *places(value[key])]]


@settings(max_examples=500, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_a_document_with_odd_parts(order: random.Random, changes: int) -> None:
    data = copy.deepcopy(WHOLE.data)
    for _ in range(changes):
        if not (inside := places(data)):
            break
        container, key = order.choice(inside)
        if order.random() < 0.3:
            del container[key]
        else:
            container[key] = copy.deepcopy(order.choice(ODD))
    try:
        document = dsl.parse(dsl.to_json(Document(data)))
    except InvalidDocument:
        return
    use(document)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text("{}[]:,-?&*!|>'\"%@#<= \n\tab01.~\\\ud83d\u2028\ufeff\0", max_size=40))
def test_any_text(data: bytes | str) -> None:
    try:
        use(dsl.parse(data))
    except InvalidDocument as error:
        assert len(str(error)) < 600


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_a_damaged_file(order: random.Random, as_json: bool) -> None:
    text = bytearray((dsl.to_json if as_json else dsl.to_yaml)(WHOLE).encode())
    for _ in range(order.randint(1, 4)):
        at = order.randrange(len(text))
        text[at : at + order.randint(0, 3)] = order.choice(
            [b"", b"\0", b"\xff", b"{", b"[", b"-", b": ", b"\n", b"*a", b"&a "]
        )
    try:
        use(dsl.parse(bytes(text)))
    except InvalidDocument as error:
        assert str(error)
