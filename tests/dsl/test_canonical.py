"""The canonical form, and what each digest does and does not see."""

import copy
import hashlib
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.dsl import Document, canonical, content_digest, put_secrets, semantic_digest
from lastgood.errors import InvalidDocument

from .documents import edge, graph, node

type Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"b": 1, "a": {"d": [], "c": {}}}, '{"a":{"c":{},"d":[]},"b":1}'),
        ({"é": 1, "z": 2, "Z": 3, "😀": 4, "｡": 5}, '{"Z":3,"z":2,"é":1,"｡":5,"😀":4}'),
        (["ü", '"', "\\", "/", "\n"], '["ü","\\"","\\\\","/","\\n"]'),
        (["\x00", "\x1f", "\x7f", "\u2028"], '["\\u0000","\\u001f","\x7f","\u2028"]'),
        ([None, True, False], "[null,true,false]"),
        ([0, -1, 2**64 - 1, -(2**63)], "[0,-1,18446744073709551615,-9223372036854775808]"),
        ([1.0, -0.0, 0.1, 1.5, 123456.789], "[1.0,-0.0,0.1,1.5,123456.789]"),
        ([1e15, 9999999999999998.0, 1e16, 1e22, 1e300], "[1000000000000000.0,9999999999999998.0,1e+16,1e+22,1e+300]"),
        ([1e-4, 1e-5, 1.5e-7, 5e-324], "[0.0001,1e-05,1.5e-07,5e-324]"),
    ],
)  # fmt: skip
def test_the_canonical_bytes(value: Any, written: str) -> None:
    """Digests stand on these bytes for ever: where this fails, stored digests no longer match."""
    assert canonical(value) == written.encode()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_written_as_repr_does(value: float) -> None:
    assert canonical(value) == repr(value).encode()
    assert canonical({"a": [value, 1]}) == f'{{"a":[{value!r},1]}}'.encode()


@pytest.mark.parametrize("value", [{"a": 2**64}, {"a": "\ud83d"}, {"a": object()}, {1: "a"}])
def test_what_json_cannot_hold(value: Any) -> None:
    with pytest.raises(InvalidDocument):
        canonical(value)


BASE = graph(
    {
        **node("a", "start", variables=[{"variable": "x"}, {"variable": "y"}], selected=False),
        "position": {"x": 1, "y": 2.5},
    },
    node("l", "llm", model={"completion_params": {"temperature": 1}}, prompt_template=[{"text": "1"}, {"text": "2"}]),
    node("i", "if-else", cases=[{"case_id": "true"}, {"case_id": "2"}]),
    node("t", "tool", tool_parameters={"q": {"value": "1"}}, paramSchemas=[1], credential_id="c1"),
    node("g", "agent", agent_parameters={"tools": {"value": [{"tool_name": "t", "credential_id": "c1"}]}}),
    node("s", "trigger-schedule", cron_expression="1 * * * *"),
    node("w", "trigger-webhook", method="get", webhook_url="https://a"),
    node("p", "trigger-plugin", event_name="e", subscription_id="s1"),
    {"id": "n", "type": "custom-note", "data": {"type": "", "text": "remember"}},
    edge("a", "l", id="e1"),
    edge("a", "i", id="e2", data={"sourceType": "start"}),
    edge("i", "t", id="e3", sourceHandle="true"),
    environment_variables=[
        {"id": "1", "name": "TAG", "value": "t", "value_type": "string"},
        {"id": "2", "name": "KEY", "value": "k", "value_type": "secret"},
        {"id": "3", "name": "MAX", "value": 3, "value_type": "number"},
    ],
    conversation_variables=[
        {"id": "4", "name": "c", "value": [], "value_type": "array[string]"},
        {"id": "5", "name": "d", "value": "", "value_type": "string"},
    ],
    features={"opening_statement": "hi", "speech_to_text": {"enabled": False}, "suggested_questions": ["a", "b"]},
)


def of(data: dict[str, Any], node_id: str) -> Any:
    return next(node for node in data["workflow"]["graph"]["nodes"] if node["id"] == node_id)["data"]


def shuffle(data: dict[str, Any]) -> None:
    order = random.Random(1)
    for items in data["workflow"]["graph"]["nodes"], data["workflow"]["graph"]["edges"]:
        order.shuffle(items)
    order.shuffle(data["workflow"]["environment_variables"])
    order.shuffle(data["workflow"]["conversation_variables"])


def nodes(data: dict[str, Any]) -> Any:
    return data["workflow"]["graph"]["nodes"]


def edges(data: dict[str, Any]) -> Any:
    return data["workflow"]["graph"]["edges"]


def variables(data: dict[str, Any]) -> Any:
    return data["workflow"]["environment_variables"]


def features(data: dict[str, Any]) -> Any:
    return data["workflow"]["features"]


def tools(data: dict[str, Any]) -> Any:
    return of(data, "g")["agent_parameters"]["tools"]["value"]


SAME: dict[str, Change] = {
    "a node moves": lambda d: nodes(d)[0].update(position={"x": 9, "y": 9}, positionAbsolute={"x": 9}, width=1),
    "a node is selected": lambda d: (nodes(d)[0].update(selected=True, zIndex=5), of(d, "a").update(selected=True)),
    "the canvas scrolls": lambda d: d["workflow"]["graph"].update(viewport={"x": 1, "y": 2, "zoom": 0.5}),
    "the editor's own keys": lambda d: of(d, "l").update(_connectedSourceHandleIds=["source"], _runningStatus="x"),
    "ids and data of edges": lambda d: edges(d)[0].update(id="z", data={"sourceType": "y"}, type="custom"),
    "a selected edge": lambda d: edges(d)[0].update(selected=True, zIndex=1001),
    "an edge without its usual handle": lambda d: edges(d)[0].pop("sourceHandle"),
    "order of nodes, edges, variables": shuffle,
    "a sticky note": lambda d: nodes(d)[8]["data"].update(text="forget"),
    "no sticky note": lambda d: nodes(d).pop(8),
    "name, icon and description": lambda d: d["app"].update(name="y", icon="x", description="z"),
    "format version, dependencies, kind": lambda d: (d.update(version="0.7.0", dependencies=[1]), d.pop("kind")),
    "a secret value": lambda d: variables(d)[1].update(value="another"),
    "ids of variables": lambda d: variables(d)[0].update(id="9", description=""),
    "selectors of variables": lambda d: variables(d)[0].update(selector=["env", "TAG"]),
    "number called integer": lambda d: variables(d)[2].update(value_type="integer"),
    "cached schemas of a tool": lambda d: of(d, "t").update(paramSchemas=[2], output_schema={"x": 1}, tool_label="T"),
    "credentials of a tool": lambda d: of(d, "t").pop("credential_id"),
    "credentials of an agent's tools": lambda d: tools(d)[0].pop("credential_id"),
    "a schedule's stale config": lambda d: of(d, "s").update(config={"frequency": "daily"}),
    "a webhook's address": lambda d: of(d, "w").update(webhook_url="", webhook_debug_url="b"),
    "a trigger's subscription": lambda d: of(d, "p").update(subscription_id=""),
    "1.0 for 1": lambda d: of(d, "l")["model"]["completion_params"].update(temperature=1.0),
    "3.0 for 3 in a variable": lambda d: variables(d)[2].update(value=3.0),
    "features that are off": lambda d: features(d).update(
        speech_to_text={}, text_to_speech={"enabled": False, "voice": ""}, file_upload={"image": {"enabled": False}}
    ),
}  # fmt: skip

OTHER: dict[str, Change] = {
    "a prompt": lambda d: of(d, "l")["prompt_template"][0].update(text="1 "),
    "order of prompts": lambda d: of(d, "l")["prompt_template"].reverse(),
    "order of cases": lambda d: of(d, "i")["cases"].reverse(),
    "order of inputs": lambda d: of(d, "a")["variables"].reverse(),
    "order of suggested questions": lambda d: features(d)["suggested_questions"].reverse(),
    "a parameter": lambda d: of(d, "l")["model"]["completion_params"].update(temperature=1.1),
    "text for a number": lambda d: of(d, "l")["model"]["completion_params"].update(temperature="1"),
    "true for 1": lambda d: of(d, "l")["model"]["completion_params"].update(temperature=True),
    "a title": lambda d: of(d, "l").update(title="Another"),
    "a node's type": lambda d: of(d, "l").update(type="code"),
    "an unknown key of a node": lambda d: nodes(d)[1].update(new=1),
    "an unknown key of an edge": lambda d: edges(d)[0].update(condition="x"),
    "an unknown key of the graph": lambda d: d["workflow"]["graph"].update(new=1),
    "a node less": lambda d: nodes(d).pop(1),
    "an edge less": lambda d: edges(d).pop(0),
    "an edge elsewhere": lambda d: edges(d)[0].update(target="t"),
    "another branch": lambda d: edges(d)[2].update(sourceHandle="false"),
    "a variable's value": lambda d: variables(d)[0].update(value="u"),
    "a variable more": lambda d: variables(d).append({"name": "N", "value": "", "value_type": "string"}),
    "a secret more": lambda d: variables(d).append({"name": "N", "value": "x", "value_type": "secret"}),
    "a secret no longer": lambda d: variables(d)[1].update(value_type="string"),
    "a conversation variable": lambda d: d["workflow"]["conversation_variables"][0].update(value=["x"]),
    "a feature": lambda d: features(d).update(opening_statement="ho"),
    "a feature switched on": lambda d: features(d).update(speech_to_text={"enabled": True}),
    "file upload switched on the old way": lambda d: features(d).update(file_upload={"image": {"enabled": True}}),
    "file upload switched on in both ways": lambda d: features(d).update(
        file_upload={"enabled": False, "image": {"enabled": True}}
    ),
    "a feature that has no switch": lambda d: features(d).update(new={"level": 5}),
    "a tool's parameters": lambda d: of(d, "t")["tool_parameters"]["q"].update(value="2"),
    "an agent's tools": lambda d: tools(d)[0].update(tool_name="u"),
    "a schedule": lambda d: of(d, "s").update(cron_expression="2 * * * *"),
    "a webhook's method": lambda d: of(d, "w").update(method="post"),
}  # fmt: skip


def changed(change: Change) -> Document:
    data = copy.deepcopy(BASE.data)
    change(data)
    assert canonical(data) != canonical(BASE.data)
    return Document(data)


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_the_semantic_digest_does_not_see(change: Change) -> None:
    assert semantic_digest(changed(change)) == semantic_digest(BASE)


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER.keys())
def test_the_semantic_digest_sees(change: Change) -> None:
    assert semantic_digest(changed(change)) != semantic_digest(BASE)


@pytest.mark.parametrize("change", [*SAME.values(), *OTHER.values()], ids=[*SAME, *OTHER])
def test_the_content_digest_sees_all_but_secret_values(change: Change) -> None:
    document = changed(change)
    only_a_secret = canonical(put_secrets(document, {"KEY": "k"}).data) == canonical(BASE.data)
    assert (content_digest(document) == content_digest(BASE)) == only_a_secret


def test_the_content_digest_is_the_hash_of_the_canonical_bytes() -> None:
    document = Document({"app": {"mode": "chat", "name": "é"}, "model_config": {"t": 1.0}})
    assert canonical(document.data) == '{"app":{"mode":"chat","name":"é"},"model_config":{"t":1.0}}'.encode()
    assert content_digest(document) == hashlib.sha256(canonical(document.data)).hexdigest()


def test_digests_do_not_change_with_releases() -> None:
    """Stored ones are compared with new ones: where this fails, no document would be known again."""
    assert content_digest(BASE) == "a512478d35b78dc6e80e9ffc63a50a0594140663a3c4623b7a7fb6d65e664a77"
    assert semantic_digest(BASE) == "7d11dea7ad4d481c08116015f6f62d042be1c23ec788a66cd85ba491c3af6c96"


@pytest.mark.parametrize("value", ["", None, "*" * 20, "[__HIDDEN__]", "rotated"])
def test_a_masked_secret_changes_no_digest(value: str | None) -> None:
    document = put_secrets(BASE, {"KEY": value})  # type: ignore[dict-item]
    assert content_digest(document) == content_digest(BASE)
    assert semantic_digest(document) == semantic_digest(BASE)


@pytest.mark.parametrize("kind", ["iteration", "loop"])
def test_the_size_of_a_container_is_drawing(kind: str) -> None:
    def digest(**data: Any) -> str:
        return semantic_digest(graph(node("c", kind, **data)))

    assert digest(width=10, height=20) == digest(width=30, height=40) == digest()
    assert digest(start_node_id="a") != digest(start_node_id="b")
    assert semantic_digest(graph(node("c", "code", height=1))) != semantic_digest(graph(node("c", "code", height=2)))


def test_an_app_without_a_graph_is_its_configuration() -> None:
    def chat(name: str, **config: Any) -> str:
        return semantic_digest(Document({"app": {"mode": "chat", "name": name}, "model_config": config}))

    assert chat("a", temperature=1) == chat("b", temperature=1.0)
    assert chat("a", temperature=1) != chat("a", temperature=2)


def test_a_float_with_an_exponent_stays_one_beside_others() -> None:
    def digest(**params: float) -> str:
        return semantic_digest(graph(node("a", "llm", model={"completion_params": params})))

    assert digest(a=1.0, b=1e16) == digest(a=1, b=1e16)
    assert digest(a=1.0, b=1e16) != digest(a=1, b=10**16)


NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)


@given(NUMBERS, st.sampled_from(["variable", "parameter", "graph"]))
def test_equal_numbers_below_ten_to_the_sixteenth_are_one(number: float, place: str) -> None:
    def digest(value: float) -> str:
        variable = {"name": "n", "value": value if place == "variable" else 0, "value_type": "number"}
        one = node("a", "llm", k=[{"x": value if place == "parameter" else 0}])
        document = graph(one, environment_variables=[variable])
        document.graph["other"] = value if place == "graph" else 0
        return semantic_digest(document)

    twin = int(number) if isinstance(number, float) and number.is_integer() else float(number)
    same = twin == number and abs(number) < 1e16
    if math.isfinite(twin) and -(2**63) <= twin < 2**64 and type(twin) is not type(number):
        assert (digest(number) == digest(twin)) == same
