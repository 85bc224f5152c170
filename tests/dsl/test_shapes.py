"""Shapes of what callers send and get, against the interface of a version."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.dsl import Document, check_inputs, parse
from lastgood.dsl import shapes as s
from lastgood.dsl.shapes import FILES, QUERY, Interface, Problem, interface_of, introduced, request_shape, shape_of

from .documents import corpus, edge, graph, node

FILE = {"type": "image", "transfer_method": "remote_url", "url": "https://files.example/a.png"}
OUTPUT_FILE = {"dify_model_identity": "__dify__file__", "id": None, "filename": "a.png"}


def form(*variables: dict[str, Any], mode: str = "workflow", **features: Any) -> Document:
    last = node("b", "end") if mode == "workflow" else node("b", "answer", answer="hi")
    return graph(node("a", "start", variables=list(variables)), last, edge("a", "b"), mode=mode, features=features)


def field(kind: str, name: str = "x", **more: Any) -> dict[str, Any]:
    return {"variable": name, "label": name, "type": kind, **more}


def taking(kind: str, **more: Any) -> Interface:
    return interface_of(form(field(kind, **more)))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("", "string"),
        ("secret", "string"),
        (1, "number"),
        (1.5, "number"),
        (True, "boolean"),
        (None, "null"),
        ({}, "object"),
        ({"a": 1}, "object"),
        (FILE, "file"),
        (OUTPUT_FILE, "file"),
        ([], "array"),
        (["a", "b"], "array<string>"),
        ([1, 2.5], "array<number>"),
        ([FILE, FILE], "array<file>"),
        ([FILE, {}], "array<any>"),
        ([1, "a"], "array<any>"),
        ([[1], [2]], "array<array>"),
        ([[1], []], "array<array>"),
        ([None], "array<null>"),
    ],
)
def test_the_type_of_a_value(value: Any, told: str) -> None:
    assert s.type_of(value) == told


def test_the_shape_of_an_object() -> None:
    assert shape_of({"text": "hello", "amount": 3, "files": [FILE]}) == {
        "text": "string",
        "amount": "number",
        "files": "array<file>",
    }
    assert shape_of({}) == {}
    assert shape_of({"k" * 300: 1}) == {"k" * 100: "number"}


@pytest.mark.parametrize("value", [None, "text", 7, [], {str(n): n for n in range(101)}])
def test_what_has_no_shape(value: Any) -> None:
    assert shape_of(value) is None


@pytest.mark.parametrize(
    ("body", "chat", "shape"),
    [
        ({"inputs": {"a": 1}, "user": "u", "response_mode": "blocking"}, False, {"a": "number"}),
        ({"inputs": {"a": 1}, "files": [FILE]}, False, {"a": "number", FILES: "array<file>"}),
        ({"inputs": {}, "query": "hi"}, False, {}),
        ({"inputs": {}, "query": "hi"}, True, {QUERY: "string"}),
        (
            {"query": "hi", "files": [FILE], "inputs": {"a": None}},
            True,
            {"a": "null", QUERY: "string", FILES: "array<file>"},
        ),
        ({"query": "hi", "files": [], "inputs": None}, True, {QUERY: "string"}),
        ({"inputs": {"a": 1}, "query": None}, True, {"a": "number"}),
        ({}, False, None),
        ({"inputs": []}, False, None),
        ({"inputs": "text"}, True, None),
        ([], False, None),
        ("text", True, None),
    ],
)
def test_the_shape_of_a_request(body: Any, chat: bool, shape: Any) -> None:
    assert request_shape(body, chat=chat) == shape


TEXT_REQUIRED = taking("text-input", required=True)
INPUTS: list[tuple[Interface, Any, list[tuple[str, str]]]] = [
    (taking("text-input"), {"x": "string"}, []),
    (taking("text-input", max_length=1), {"x": "string"}, []),
    (taking("text-input"), {}, []),
    (taking("text-input"), {"x": "null"}, []),
    (TEXT_REQUIRED, {"x": "string"}, []),
    (TEXT_REQUIRED, {}, [("x", "broken")]),
    (TEXT_REQUIRED, {"x": "null"}, [("x", "broken")]),
    (taking("paragraph"), {"x": "number"}, [("x", "broken")]),
    (taking("paragraph"), {"x": "boolean"}, [("x", "broken")]),
    (taking("paragraph"), {"x": "file"}, [("x", "broken")]),
    (taking("paragraph"), {"x": "array<string>"}, [("x", "broken")]),
    (taking("select", options=["a", "b"]), {"x": "string"}, []),
    (taking("select", options=[]), {"x": "string"}, [("x", "broken")]),
    (taking("select", options=["a"]), {"x": "number"}, [("x", "broken")]),
    (taking("number"), {"x": "number"}, []),
    (taking("number"), {"x": "boolean"}, []),
    (taking("number"), {"x": "string"}, [("x", "uncertain")]),
    (taking("number"), {"x": "object"}, [("x", "broken")]),
    (taking("checkbox"), {"x": "boolean"}, []),
    (taking("checkbox"), {"x": "string"}, []),
    (taking("file"), {"x": "file"}, []),
    (taking("file", required=True), {"x": "string"}, [("x", "broken")]),
    (taking("file"), {"x": "string"}, [("x", "uncertain")]),  # an empty text is no file, and is taken
    (taking("file"), {"x": "object"}, [("x", "uncertain")]),
    (taking("file"), {"x": "array<file>"}, [("x", "broken")]),
    (taking("file-list"), {"x": "array<file>"}, []),
    (taking("file-list", max_length=1), {"x": "array<file>"}, []),
    (taking("file-list"), {"x": "array"}, []),
    (taking("file-list"), {"x": "array<object>"}, [("x", "uncertain")]),
    (taking("file-list"), {"x": "array<string>"}, [("x", "broken")]),
    (taking("file-list"), {"x": "file"}, [("x", "broken")]),
    (taking("json_object"), {"x": "object"}, []),
    (taking("json_object"), {"x": "file"}, []),
    (taking("json_object"), {"x": "array<any>"}, [("x", "broken")]),
    (taking("json_object"), {"x": "string"}, [("x", "uncertain")]),
    (taking("from-the-future"), {"x": "string"}, [("x", "uncertain")]),
    (taking("from-the-future"), {}, []),
    (taking("text-input"), {"x": "string", "gone": "number"}, [("gone", "ignored")]),
    (taking("text-input"), None, [("", "unknown")]),
    (taking("text-input"), {"x": "string", QUERY: "string"}, [(QUERY, "ignored")]),
    (interface_of(form(mode="advanced-chat")), {QUERY: "string"}, []),
    (interface_of(form(mode="advanced-chat")), {}, [(QUERY, "broken")]),
    (interface_of(form(mode="advanced-chat")), {QUERY: "number"}, [(QUERY, "broken")]),
    (interface_of(form(mode="advanced-chat")), {QUERY: "string", FILES: "array<file>"}, [(FILES, "ignored")]),
    (
        interface_of(form(mode="advanced-chat", file_upload={"enabled": True})),
        {QUERY: "string", FILES: "array<file>"},
        [],
    ),
    (
        interface_of(form(mode="advanced-chat", file_upload={"image": {"enabled": True}})),
        {QUERY: "string", FILES: "string"},
        [(FILES, "broken")],
    ),
]


@pytest.mark.parametrize(("interface", "shape", "problems"), INPUTS)
def test_whether_a_request_of_a_shape_is_taken(
    interface: Interface, shape: Any, problems: list[tuple[str, str]]
) -> None:
    found = s.check_inputs(shape, interface)
    assert [(problem.name, problem.verdict) for problem in found] == problems
    assert all(problem.message for problem in found)


def test_a_problem_is_told_in_words() -> None:
    (missing,) = s.check_inputs({}, TEXT_REQUIRED)
    assert missing.message == "x is required in input form, and it is not sent"
    (other,) = s.check_inputs({"x": "file"}, taking("paragraph"))
    assert other.message == "(type 'paragraph') x in input form must be a string, and file is sent"


values = st.one_of(
    st.text("a1 x.", max_size=3),
    st.sampled_from(["", "1", "yes", "a"]),
    st.integers(-5, 5),
    st.booleans(),
    st.none(),
    st.just(FILE),
    st.just([FILE]),
    st.just([]),
    st.just([1]),
    st.just({"k": 1}),
)
kinds = st.sampled_from(
    ["text-input", "paragraph", "select", "number", "checkbox", "file", "file-list", "json_object"]
)


@given(kinds, st.booleans(), st.dictionaries(st.sampled_from("xy"), values))
def test_no_shape_is_called_broken_of_which_a_request_is_taken_and_none_sound_of_which_one_is_refused(
    kind: str, required: bool, request: dict[str, Any]
) -> None:
    document = form(field(kind, required=required, options=["a"]))
    refused = check_inputs(document, request)
    verdicts = {problem.verdict for problem in s.check_inputs(shape_of(request), interface_of(document))}
    if refused is None:
        assert "broken" not in verdicts
    elif "must be one of" not in refused:  # which texts a choice allows, no shape tells
        assert verdicts & {"broken", "uncertain"}


def ending(*ends: dict[str, Any]) -> Interface:
    """A version whose outputs have these schemas, one end each."""
    whole = [{"type": "object", "properties": properties} for properties in ends]
    return Interface("workflow", (), whole[0] if len(whole) == 1 else {"anyOf": whole}, False)


STRING, NUMBER = {"type": "string"}, {"type": "number"}
A_FILE = {"type": "object", "properties": {"url": STRING}}
OUTPUTS: list[tuple[Interface, Any, list[tuple[str, str]]]] = [
    (ending({"a": STRING}), {"a": "string"}, []),
    (ending({"a": STRING, "more": NUMBER}), {"a": "string"}, []),
    (ending({"a": STRING}), {}, []),
    (ending({"a": STRING}), {"b": "string"}, [("b", "broken")]),
    (ending({}), {"a": "null"}, [("a", "broken")]),
    (ending({"a": NUMBER}), {"a": "string"}, [("a", "broken")]),
    (ending({"a": STRING}), {"a": "null"}, []),
    (ending({"a": {"anyOf": [STRING, {"type": "null"}]}}), {"a": "string"}, []),
    (ending({"a": {"anyOf": [STRING, {"type": "null"}]}}), {"a": "number"}, [("a", "broken")]),
    (ending({"a": {}}), {"a": "string"}, [("a", "uncertain")]),
    (ending({"a": A_FILE}), {"a": "file"}, []),
    (ending({"a": STRING}), {"a": "file"}, [("a", "broken")]),
    (ending({"a": {"type": "array", "items": STRING}}), {"a": "array<string>"}, []),
    (ending({"a": {"type": "array", "items": STRING}}), {"a": "array"}, []),
    (ending({"a": {"type": "array", "items": STRING}}), {"a": "array<number>"}, [("a", "broken")]),
    (ending({"a": {"type": "array", "items": STRING}}), {"a": "string"}, [("a", "broken")]),
    (ending({"a": {"type": "array", "items": STRING}}), {"a": "array<any>"}, [("a", "uncertain")]),
    (ending({"a": {"type": "array"}}), {"a": "array<string>"}, [("a", "uncertain")]),
    (ending({"a": {"type": "array", "items": A_FILE}}), {"a": "array<file>"}, []),
    (ending({"a": STRING}), {"a": "array<string>"}, [("a", "broken")]),
    (ending({"a": STRING}, {"a": STRING}), {"a": "string"}, []),
    (ending({"a": STRING}, {"b": STRING}), {"a": "string"}, [("a", "uncertain")]),
    (ending({"a": STRING}, {"a": NUMBER}), {"a": "string"}, [("a", "uncertain")]),
    (ending({"a": STRING}), None, [("", "unknown")]),
]


@pytest.mark.parametrize(("interface", "shape", "problems"), OUTPUTS)
def test_whether_callers_still_get_what_they_got(
    interface: Interface, shape: Any, problems: list[tuple[str, str]]
) -> None:
    assert [(problem.name, problem.verdict) for problem in s.check_outputs(shape, interface)] == problems


def test_another_type_is_told_in_words() -> None:
    (problem,) = s.check_outputs({"a": "array<string>"}, ending({"a": {"type": "array", "items": NUMBER}}))
    assert problem.message == "a was array<string>, and is now array<number>"


def test_the_interface_of_a_document() -> None:
    outputs = [{"variable": "said", "value_selector": ["a", "x"]}]
    document = graph(
        node("a", "start", variables=[field("paragraph")]), node("b", "end", outputs=outputs), edge("a", "b")
    )
    interface = interface_of(document)
    assert [one.name for one in interface.inputs] == ["x"]
    assert s.check_outputs({"said": "string"}, interface) == ()
    assert [one.verdict for one in s.check_outputs({"said": "number", "gone": "string"}, interface)] == ["broken"] * 2
    chat = interface_of(form(mode="advanced-chat"))
    assert (chat.chat, interface.chat) == (True, False)
    assert s.check_outputs({"answer": "string"}, chat) == ()


def test_what_the_present_version_has_as_well_is_not_news() -> None:
    now = s.check_inputs({"x": "string", "y": "string"}, taking("number"))
    then = s.check_inputs({"x": "string", "y": "string"}, taking("file", required=True))
    assert [(one.name, one.verdict) for one in introduced(then, now)] == [("x", "broken")]
    assert introduced(now, now) == ()
    unknown = (Problem("", "unknown", "not recorded"),)
    assert introduced(unknown, ()) == unknown


SENT = {
    "number": "number",
    "file": "file",
    "file-list": "array<file>",
    "checkbox": "boolean",
    "json_object": "object",
}


def test_who_sends_and_gets_what_real_documents_say_has_no_problem_with_them() -> None:
    fields = outputs = doubts = 0
    for path in corpus():
        interface = interface_of(parse(path.read_text(), source=path.name))
        sent = {one.name: SENT.get(one.type, "string") for one in interface.inputs}
        found = s.check_inputs(sent | ({QUERY: "string"} if interface.chat else {}), interface)
        assert all(problem.verdict == "uncertain" for problem in found), path.name
        for end in interface.outputs.get("anyOf") or [interface.outputs]:
            got = {name: told(schema) for name, schema in end.get("properties", {}).items()}
            missed = s.check_outputs(got, interface)
            assert all(problem.verdict == "uncertain" for problem in missed), path.name
            outputs, doubts = outputs + len(got), doubts + len(missed)
        fields += len(sent)
    assert fields > 300
    assert outputs > 200
    assert doubts < outputs / 10


def told(schema: dict[str, Any]) -> str:
    """The type that a caller receives by `schema`; of a value that nobody declared, a text."""
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    kind = str(schema.get("type", "string"))
    return f"array<{told(schema['items'])}>" if kind == "array" and schema.get("items") else kind
