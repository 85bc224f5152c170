"""Inputs, their validation in Dify's words, and `GET /v1/parameters`."""

from typing import Any

import pytest

from lastgood.dsl import Document, check_inputs, fill_inputs, inputs, node_types, parameters

from .documents import edge, graph, node


def form(*variables: dict[str, Any]) -> Document:
    return graph(node("a", "start", variables=list(variables)), node("b", "end"), edge("a", "b"))


def field(kind: str, **more: Any) -> Document:
    return form({"variable": "x", "label": "X", "type": kind, **more})


def test_the_inputs_of_a_start_node() -> None:
    document = form(
        {"variable": "a", "label": "A", "type": "text-input", "required": True, "max_length": 48, "options": []},
        {"variable": "b", "type": "select", "options": ["x", "y"], "default": "x", "hide": True, "max_length": "7"},
        {"label": "without a name", "type": "text-input"},
    )
    first, second = inputs(document)
    assert (first.name, first.label, first.type, first.required, first.max_length) == (
        "a",
        "A",
        "text-input",
        True,
        48,
    )
    assert (first.hidden, first.default, first.options) == (False, None, ())
    assert (second.name, second.label, second.type, second.required, second.max_length) == (
        "b",
        "b",
        "select",
        False,
        7,
    )
    assert (second.hidden, second.default, second.options) == (True, "x", ("x", "y"))


def test_other_inputs() -> None:
    assert inputs(graph(node("a", "trigger-webhook", variables=[{"variable": "x", "type": "text-input"}]))) == ()
    assert inputs(graph(node("a", "start"))) == ()
    assert inputs(Document({"app": {"mode": "chat"}})) == ()
    chat = {
        "app": {"mode": "chat"},
        "model_config": {"user_input_form": [{"paragraph": {"variable": "q", "label": "Q"}}]},
    }
    (only,) = inputs(Document(chat))
    assert (only.name, only.type) == ("q", "paragraph")


REFUSED = [
    (field("text-input", required=True), {}, "x is required in input form"),
    (field("text-input", required=True), {"x": None}, "x is required in input form"),
    (field("file-list", required=True), {"y": 1}, "x is required in input form"),
    (field("text-input"), {"x": 5}, "(type 'text-input') x in input form must be a string"),
    (field("paragraph"), {"x": ["a"]}, "(type 'paragraph') x in input form must be a string"),
    (field("select", options=["a"]), {"x": 1}, "(type 'select') x in input form must be a string"),
    (field("text-input", max_length=3), {"x": "abcd"}, "x in input form must be less than 3 characters"),
    (field("select", options=["a", "b"]), {"x": "c"}, "x in input form must be one of the following: ['a', 'b']"),
    (field("number"), {"x": "many"}, "x in input form must be a valid number"),
    (field("number"), {"x": []}, "x in input form must be a valid number"),
    (field("file"), {"x": "a.pdf"}, "x in input form must be a file"),
    (field("file-list"), {"x": {"type": "image"}}, "x in input form must be a list of files"),
    (field("file-list", max_length=1), {"x": [{}, {}]}, "x in input form must be less than 1 files"),
    (field("json_object"), {"x": "[]"}, "x in input form must be a dict"),
    (field("file", required=True), {"x": ""}, "x in input form must be a file"),
]


@pytest.mark.parametrize(("document", "given", "problem"), REFUSED)
def test_refused_inputs(document: Document, given: dict[str, Any], problem: str) -> None:
    assert check_inputs(document, given) == problem


@pytest.mark.parametrize(
    ("document", "given", "filled"),
    [
        (field("text-input", max_length=3), {"x": "abc"}, "abc"),
        (field("text-input", required=True), {"x": ""}, ""),
        (field("text-input"), {}, None),
        (field("text-input", default=""), {}, ""),
        (field("text-input", default="d"), {"x": None}, "d"),
        (field("text-input", max_length=0), {"x": "abc"}, "abc"),
        (field("select", options=["a"]), {"x": "a"}, "a"),
        (field("select", options=["a"], default=""), {}, ""),
        (field("number"), {"x": 1.5}, 1.5),
        (field("number"), {"x": "12"}, 12),
        (field("number"), {"x": "1.5"}, 1.5),
        (field("number"), {"x": " "}, None),
        (field("number", default="7"), {}, 7),
        (field("number", default=""), {}, None),
        (field("checkbox"), {"x": "Yes"}, True),
        (field("checkbox"), {"x": "off"}, False),
        (field("checkbox"), {"x": 1}, True),
        (field("checkbox"), {"x": 0.0}, False),
        (field("checkbox"), {"x": False}, False),
        (field("checkbox"), {"x": "perhaps"}, "perhaps"),
        (field("file"), {"x": ""}, None),
        (field("file"), {"x": {"type": "image"}}, {"type": "image"}),
        (field("file-list"), {"x": ""}, None),
        (field("file-list", max_length=2), {"x": [{}, {}]}, [{}, {}]),
        (field("json_object"), {"x": {"a": 1}}, {"a": 1}),
        (field("json_object"), {"x": ""}, ""),
        (field("from-the-future"), {"x": [1]}, [1]),
    ],
)
def test_accepted_inputs(document: Document, given: dict[str, Any], filled: Any) -> None:
    assert check_inputs(document, {**given, "unknown": 1}) is None
    value = fill_inputs(document, {**given, "unknown": 1})["x"]
    assert (type(value), value) == (type(filled), filled)
    assert list(fill_inputs(document, {"unknown": 1, **given})) == ["x"]


def test_the_first_problem_is_told() -> None:
    document = form({"variable": "a", "type": "text-input", "required": True}, {"variable": "b", "type": "number"})
    assert check_inputs(document, {"b": "x"}) == "a is required in input form"
    assert check_inputs(document, {"a": "", "b": "x"}) == "b in input form must be a valid number"


def test_parameters_of_a_bare_workflow() -> None:
    body = parameters(field("number", required=True))
    assert list(body) == [
        "opening_statement",
        "suggested_questions",
        "suggested_questions_after_answer",
        "speech_to_text",
        "text_to_speech",
        "retriever_resource",
        "annotation_reply",
        "more_like_this",
        "sensitive_word_avoidance",
        "file_upload",
        "user_input_form",
        "system_parameters",
    ]
    assert body["user_input_form"] == [
        {"number": {"variable": "x", "label": "X", "type": "number", "required": True}}
    ]
    assert body["opening_statement"] is None
    assert body["speech_to_text"] == {"enabled": False}
    assert body["file_upload"]["image"]["number_limits"] == 3
    assert body["system_parameters"]["file_size_limit"] == 15


def test_parameters_tell_the_features_of_the_document() -> None:
    features = {"opening_statement": "hi", "suggested_questions": ["a"], "file_upload": {"enabled": True}, "new": 1}
    body = parameters(graph(node("a", "start"), features=features))
    assert (body["opening_statement"], body["suggested_questions"]) == ("hi", ["a"])
    assert body["file_upload"] == {"enabled": True}
    assert "new" not in body
    form_ = [{"text-input": {"variable": "q"}}]
    chat = Document({"app": {"mode": "chat"}, "model_config": {"user_input_form": form_, "opening_statement": "yo"}})
    assert (parameters(chat)["user_input_form"], parameters(chat)["opening_statement"]) == (form_, "yo")


def test_no_caller_can_change_the_defaults() -> None:
    body = parameters(field("number"))
    body["system_parameters"]["file_size_limit"] = 0
    body["speech_to_text"]["enabled"] = True
    body["suggested_questions"].append("x")
    again = parameters(field("number"))
    assert again["system_parameters"]["file_size_limit"] == 15
    assert again["speech_to_text"] == {"enabled": False}
    assert again["suggested_questions"] == []


def test_node_types() -> None:
    note = {"id": "n", "type": "custom-note", "data": {"type": ""}}
    document = graph(node("a", "start"), node("b", "llm"), node("c", "llm"), note, {"id": "d"})
    assert node_types(document) == ("llm", "start")
