"""Webhooks: what they take, what the nodes after them get, and what they answer."""

from typing import Any

import pytest

from lastgood.dsl import Document
from lastgood.dsl.triggers import triggers
from lastgood.dsl.webhook import Misfit, Request, read

JSON = {"content-type": "application/json; charset=utf-8"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
HOOK = {
    "method": "post",
    "content_type": "application/json",
    "headers": [{"name": "X-Kind", "required": True}],
    "params": [{"name": "page", "type": "number", "required": False}, {"name": "all", "type": "boolean"}],
    "body": [{"name": "name", "type": "string", "required": True}, {"name": "tags", "type": "array[string]"}],
}


def take(data: dict[str, Any], body: bytes = b"", *, method: str = "POST", query: str = "", **headers: str) -> Any:
    given = {"x-kind": "order", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return read(data).take(Request(method, given, query, body))


def hook(**changes: Any) -> dict[str, Any]:
    return {**HOOK, **changes}


def test_the_node_gives_what_it_declares_and_the_raw_request() -> None:
    found = take(
        HOOK,
        b'{"name": "ada", "tags": ["a"], "more": 1}',
        query="page=2&page=3&all=yes&other=x",
        content_type="application/json",
        authorization="Bearer secret",
        cookie="id=1",
    )
    raw = found.pop("_webhook_raw")
    assert found == {"X_Kind": "order", "page": 2, "all": True, "name": "ada", "tags": ["a"]}
    assert raw["body"] == {"name": "ada", "tags": ["a"], "more": 1}
    assert raw["query_params"] == {"page": "2", "all": "yes", "other": "x"}
    assert set(raw["headers"]) == {"x-kind", "content-type"}


@pytest.mark.parametrize(
    ("data", "body", "more", "words"),
    [
        (HOOK, b"{}", {"method": "GET"}, "HTTP method mismatch: expected POST, got GET"),
        (HOOK, b"a=1", FORM, "Content-Type mismatch: expected application/json, got application/x-www-form"),
        (HOOK, b"", {}, "Required body parameter missing: name"),
        (HOOK, b'{"name": null}', JSON, "Required body parameter missing: name"),
        (HOOK, b'{"name": 5}', JSON, "Body parameter name is not of type string"),
        (HOOK, b'{"name": "a", "tags": [1]}', JSON, "tags is not of type array[string]"),
        (HOOK, b'{"name": "a"}', {**JSON, "query": "page=many"}, "Parameter page is not of type number"),
        (HOOK, b'{"name": "a"}', {**JSON, "query": "all=maybe"}, "Parameter all is not of type boolean"),
        (hook(headers=[{"name": "X-Other", "required": True}]), b"{}", JSON, "Required header missing: X-Other"),
        (hook(params=[{"name": "q", "required": True}]), b'{"name": "a"}', JSON, "Required parameter missing: q"),
        (HOOK, b"[1]", JSON, "must be a JSON object"),
        (HOOK, b"{", JSON, "is not JSON"),
        (
            hook(content_type="application/octet-stream"),
            b"x",
            {"content_type": "application/octet-stream"},
            "no files",
        ),
        (hook(content_type="text/plain"), b"", {}, "Required body missing: name"),
    ],
)
def test_what_does_not_fit_is_refused(data: dict[str, Any], body: bytes, more: dict[str, str], words: str) -> None:
    with pytest.raises(Misfit, match=words.replace("[", r"\[")):
        take(data, body, **{name.replace("-", "_"): value for name, value in more.items()})


MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nada\r\n'
    b'--b\r\nContent-Disposition: form-data; name="count"\r\n\r\n3\r\n--b--\r\n'
)
COUNT = [{"name": "name", "type": "string", "required": True}, {"name": "count", "type": "number"}]


@pytest.mark.parametrize(
    ("kind", "said", "body", "expected"),
    [
        ("application/x-www-form-urlencoded", "", b"name=ada&count=1.5", {"name": "ada", "count": 1.5}),
        ("multipart/form-data", "; boundary=b", MULTIPART, {"name": "ada", "count": 3}),
    ],
)
def test_forms(kind: str, said: str, body: bytes, expected: dict[str, Any]) -> None:
    found = take(hook(content_type=kind, params=[], body=COUNT), body, content_type=kind + said)
    assert {name: found[name] for name in expected} == expected


def test_a_text_is_one_value() -> None:
    data = hook(content_type="text/plain", body=[{"name": "line", "type": "string"}])
    assert take(data, "grüß".encode(), content_type="text/plain")["line"] == "grüß"


def test_an_upload_is_refused() -> None:
    body = MULTIPART.replace(b'name="count"', b'name="count"; filename="a.txt"')
    with pytest.raises(Misfit, match="keeps no files"):
        take(
            hook(content_type="multipart/form-data", body=COUNT), body, content_type="multipart/form-data; boundary=b"
        )


@pytest.mark.parametrize(
    ("data", "status", "answer"),
    [
        ({}, 200, b'{"status":"success","message":"Webhook processed successfully"}'),
        ({"response_body": '{"ok": true}', "status_code": 201}, 201, b'{"ok":true}'),
        ({"response_body": "thanks", "status_code": 9000}, 200, b'{"message":"thanks"}'),
        ({"response_body": "[1]", "status_code": True}, 200, b"[1]"),
    ],
)
def test_answers(data: dict[str, Any], status: int, answer: bytes) -> None:
    assert (read(data).status, read(data).answer) == (status, answer)


def test_a_document_names_its_triggers() -> None:
    nodes = [
        {"id": 7, "data": {"type": "trigger-webhook", "title": "In", "body": {"payload": {"type": "object"}}}},
        {"id": "t", "data": {"type": "trigger-schedule", "mode": "cron"}},
        {"id": "p", "data": {"type": "trigger-plugin"}},
        {"id": "e", "data": {"type": "end"}},
    ]
    document = Document({"app": {"mode": "workflow"}, "workflow": {"graph": {"nodes": nodes, "edges": []}}})
    found = triggers(document)
    assert [(one.node, one.kind, one.title) for one in found] == [
        ("7", "webhook", "In"),
        ("t", "schedule", "t"),
        ("p", "plugin", "p"),
    ]
    assert found[0].webhook is not None
    assert [part.name for part in found[0].webhook.body] == ["payload"]
    assert found[1].schedule is not None
    assert found[1].schedule.problem
    assert triggers(Document({**document.data, "app": {"mode": "advanced-chat"}})) == ()
