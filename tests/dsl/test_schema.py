"""Inputs and outputs as JSON Schema, judged by a validator and by what Dify accepts."""

import json
from typing import Any

import pytest

from lastgood.dsl import Document, check_inputs, parse
from lastgood.dsl.schema import DIALECT, input_schema, output_schema

from .documents import corpus, edge, graph, node

jsonschema = pytest.importorskip("jsonschema")


def form(*variables: dict[str, Any]) -> Document:
    return graph(node("a", "start", variables=list(variables)), node("b", "end"), edge("a", "b"))


def field(kind: str, **more: Any) -> Document:
    return form({"variable": "x", "label": "x", "type": kind, **more})


def takes(schema: dict[str, Any], value: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


FILE = {"type": "image", "transfer_method": "remote_url", "url": "https://files.example/a.png"}
VALUES: list[tuple[Document, Any, bool]] = [
    (field("text-input", max_length=3), "abc", True),
    (field("text-input", max_length=3), "abcd", False),
    (field("text-input"), "a" * 5_000, True),
    (field("paragraph"), 7, False),
    (field("select", options=["a", "b"]), "a", True),
    (field("select", options=["a", "b"]), "c", False),
    (field("select", options=[]), "a", False),
    (field("number"), 1.5, True),
    (field("number"), "many", False),
    (field("checkbox"), True, True),
    (field("file"), FILE, True),
    (field("file"), "a.png", False),
    (field("file-list", max_length=1), [FILE], True),
    (field("file-list", max_length=1), [FILE, FILE], False),
    (field("file-list"), FILE, False),
    (field("json_object"), {"a": 1}, True),
    (field("json_object"), [1], False),
    (field("from-the-future"), [1], True),
]


@pytest.mark.parametrize(("document", "value", "fine"), VALUES)
def test_the_schema_takes_what_dify_takes(document: Document, value: Any, fine: bool) -> None:
    given = {"x": value, "unknown": 1}
    assert takes(input_schema(document), given) is fine
    assert (check_inputs(document, given) is None) is fine


def test_required_inputs() -> None:
    document = form(
        {"variable": "a", "type": "text-input", "required": True}, {"variable": "b", "type": "text-input"}
    )
    schema = input_schema(document)
    assert schema["required"] == ["a"]
    assert takes(schema, {"a": ""})
    assert not takes(schema, {"b": ""})


def test_what_the_form_says() -> None:
    variables: list[dict[str, Any]] = [
        {"variable": "a", "label": "Name", "type": "text-input", "description": "Who", "default": "me"},
        {
            "variable": "f",
            "type": "file",
            "allowed_file_types": ["image"],
            "allowed_file_upload_methods": ["local_file"],
            "allowed_file_extensions": [".png", ".jpg"],
        },
        {"variable": "o", "type": "json_object", "json_schema": '{"properties": {"n": {"type": "number"}}}'},
        {"variable": "p", "type": "json_object", "json_schema": "no schema"},
    ]
    properties = input_schema(form(*variables))["properties"]
    assert properties["a"] == {"title": "Name", "type": "string", "description": "Who", "default": "me"}
    assert properties["f"]["properties"]["type"] == {"type": "string", "enum": ["image"]}
    assert properties["f"]["properties"]["transfer_method"]["enum"] == ["local_file"]
    assert properties["f"]["description"] == "Allowed extensions: .png, .jpg"
    assert properties["o"] == {"type": "object", "properties": {"n": {"type": "number"}}}
    assert properties["p"] == {"type": "object"}


def test_other_beginnings() -> None:
    assert input_schema(graph(node("a", "trigger-schedule"))) == {"$schema": DIALECT, "type": "object"}
    chat = {"app": {"mode": "chat"}, "model_config": {"user_input_form": [{"paragraph": {"variable": "q"}}]}}
    assert input_schema(Document(chat))["properties"] == {"q": {"type": "string"}}


def test_a_webhook() -> None:
    hook = node(
        "a",
        "trigger-webhook",
        title="Orders",
        method="post",
        content_type="application/json",
        headers=[{"name": "X-Shop", "required": True}],
        params=[{"name": "page", "type": "number"}],
        body=[{"name": "items", "type": "array[string]", "required": True}, "odd"],
    )
    schema = input_schema(graph(hook))
    assert (schema["title"], schema["description"]) == ("Orders", "POST application/json")
    request = {"headers": {"X-Shop": "1"}, "body": {"items": ["a"]}}
    assert takes(schema, request)
    assert not takes(schema, {"headers": {}, "body": {"items": []}})
    assert not takes(schema, {**request, "params": {"page": "first"}})
    other = node("b", "trigger-webhook", title="Returns", body=[{"name": "why", "type": "string", "required": True}])
    both = input_schema(graph(hook, other))
    assert [each["title"] for each in both["anyOf"]] == ["Orders", "Returns"]
    assert takes(both, {"body": {"why": "broken"}})


def end(node_id: str, title: str, **outputs: list[str]) -> dict[str, Any]:
    listed = [{"variable": name, "value_selector": selector} for name, selector in outputs.items()]
    return node(node_id, "end", title=title, outputs=listed)


CODE = node(
    "c",
    "code",
    outputs={
        "total": {"type": "number"},
        "rows": {"type": "array[object]"},
        "who": {"type": "object", "children": {"name": {"type": "string"}}},
    },
)
START = node("s", "start", variables=[{"variable": "q", "type": "text-input"}, {"variable": "f", "type": "file"}])


def test_one_end() -> None:
    outputs = {"total": ["c", "total"], "rows": ["c", "rows"], "who": ["c", "who"], "file": ["s", "f"]}
    document = graph(START, CODE, end("e", "Done", **outputs), edge("s", "c"), edge("c", "e"))
    schema = output_schema(document)
    assert schema["properties"]["total"] == {"type": "number"}
    assert schema["properties"]["rows"] == {"type": "array", "items": {"type": "object"}}
    assert schema["properties"]["who"] == {"type": "object", "properties": {"name": {"type": "string"}}}
    assert schema["properties"]["file"]["properties"]["url"] == {"type": "string"}
    assert schema["required"] == ["total", "rows", "who", "file"]
    assert schema["title"] == "Done"
    assert takes(schema, {"total": 1, "rows": [{}], "who": {"name": "a"}, "file": {"type": "image"}})
    assert not takes(schema, {"total": None, "rows": [{}], "who": {}, "file": {"type": "image"}})


def branching(*ends: dict[str, Any]) -> Document:
    choice = node("b", "if-else", cases=[{"case_id": "yes"}])
    edges = [edge("b", ends[0]["id"], sourceHandle="yes"), edge("b", ends[-1]["id"], sourceHandle="false")]
    return graph(START, choice, *ends, edge("s", "b"), *edges)


def test_several_ends() -> None:
    schema = output_schema(branching(end("e", "Good", a=["s", "q"]), end("f", "Bad", error=["s", "q"])))
    assert [each["title"] for each in schema["anyOf"]] == ["Good", "Bad"]
    assert takes(schema, {"a": "x"})
    assert takes(schema, {"error": "x"})
    assert not takes(schema, {"other": "x"})
    same = output_schema(branching(end("e", "Good", a=["s", "q"]), end("f", "Bad", a=["s", "q"])))
    assert "anyOf" not in same
    assert same["required"] == ["a"]


def test_a_value_of_one_branch_may_be_null() -> None:
    choice = node("b", "if-else", cases=[{"case_id": "yes"}])
    edges = [edge("s", "b"), edge("b", "c", sourceHandle="yes"), edge("b", "e", sourceHandle="false"), edge("c", "e")]
    document = graph(START, choice, CODE, end("e", "Done", total=["c", "total"], q=["s", "q"]), *edges)
    schema = output_schema(document)
    assert schema["properties"]["total"] == {"anyOf": [{"type": "number"}, {"type": "null"}]}
    assert schema["properties"]["q"] == {"type": "string"}


def test_what_names_nothing_goes_by_the_type_that_is_said() -> None:
    outputs = [{"variable": "a", "value_selector": ["gone", "x"], "value_type": "number"}, {"value_selector": []}, 7]
    document = graph(START, node("e", "end", outputs=outputs), edge("s", "e"))
    assert output_schema(document)["properties"] == {"a": {"anyOf": [{"type": "number"}, {"type": "null"}]}}


def test_other_ends() -> None:
    answer = {"$schema": DIALECT, "type": "object", "properties": {"answer": {"type": "string"}}}
    answer["required"] = ["answer"]
    assert output_schema(graph(START, node("a", "answer"), edge("s", "a"), mode="advanced-chat")) == answer
    assert output_schema(Document({"app": {"mode": "completion"}})) == answer
    assert output_schema(graph(START)) == {"$schema": DIALECT, "type": "object"}
    assert output_schema(graph(START, end("e", "Nobody gets here"))) == {"$schema": DIALECT, "type": "object"}


def test_real_documents() -> None:
    for path in corpus():
        document = parse(path.read_bytes(), source=path.name)
        for schema in (input_schema(document), output_schema(document)):
            jsonschema.Draft202012Validator.check_schema(schema)
            assert json.loads(json.dumps(schema)) == schema
