"""Whatever is wrong with a request: a problem document with a sentence, and nothing changed."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import func, select

from lastgood import dsl
from lastgood.db import tables
from lastgood.history import workflows
from support.documents import document
from support.scene import ELSEWHERE
from support.stores import on_sqlite

from .conftest import Api
from .test_doors import is_problem

KEPT = (tables.workflow, tables.version, tables.snapshot, tables.channel, tables.move, tables.app_key, tables.smoke)
IF = {"If-Match": '"1"'}
DOCUMENT = document("a").data


@pytest.fixture
def kept(api: Api) -> dict[str, str]:
    """A workflow `greet` with two versions, the first live; another workflow with one."""
    api.post("/v1/targets", {"name": ELSEWHERE, "base_url": "http://127.0.0.1:9"}, status=201)
    found = {"first": api.push("first", target=ELSEWHERE), "second": api.push("second")}
    found["theirs"] = api.push("theirs", "other", target=ELSEWHERE)
    api.move("publish", 0, version=found["first"])
    return found


def standing(api: Api) -> list[int]:
    with api.store.read() as tx:
        return [tx.connection.execute(select(func.count()).select_from(table)).scalar_one() for table in KEPT]


def bad(text: Any) -> dict[str, Any]:
    return {"document": text}


# (method, path, what is sent, status, code, words of the sentence); {first} and the like are versions
TABLE: list[tuple[str, str, dict[str, Any], int, str, str]] = [
    ("GET", "/v1/nothing", {}, 404, "", "GET /v1/nothing: Not Found. The API is described at /docs."),
    ("PUT", "/v1/workflows", {}, 405, "", "Method Not Allowed"),
    ("GET", "/v1/workflows/unknown", {}, 404, "unknown-workflow", "There is no workflow 'unknown'"),
    ("GET", "/v1/workflows/wf-unknown1", {}, 404, "unknown-workflow", "wf-unknown1"),
    ("GET", "/v1/workflows/%20", {}, 404, "unknown-workflow", "' '"),
    ("GET", "/v1/workflows/..%2f..%2fetc", {}, 404, "", "etc"),
    ("GET", "/v1/workflows/greet%00", {}, 400, "invalid-request", "NUL"),
    ("GET", "/v1/workflows/greet/versions?limit=0", {}, 400, "invalid-request", "query.limit"),
    ("GET", "/v1/workflows/greet/versions?limit=501", {}, 400, "invalid-request", "500"),
    ("GET", "/v1/workflows/greet/versions?limit=many", {}, 400, "invalid-request", "query.limit"),
    ("GET", "/v1/workflows/greet/versions?before=x", {}, 400, "invalid-id", "'x' is not a version id"),
    ("GET", "/v1/workflows/greet/versions?before={theirs}", {}, 409, "foreign-version", "version of other"),
    ("GET", "/v1/workflows/greet/moves?before=0.5", {}, 400, "invalid-request", "query.before"),
    ("GET", "/v1/workflows/greet/moves?before=" + "9" * 30, {}, 400, "invalid-request", "query.before"),
    ("GET", "/v1/workflows/greet/channels/staging", {}, 404, "unknown-channel", "no channel 'staging'"),
    ("GET", "/v1/versions/v-20240401-01", {}, 404, "unknown-version", "no version 'v-20240401-01'"),
    ("GET", "/v1/versions/latest", {}, 400, "invalid-id", "looks like v-20240401-01"),
    ("GET", "/v1/versions/{first}/document?format=xml", {}, 400, "invalid-request", "query.format"),
    ("GET", "/v1/snapshots/snap_20240401_v9", {}, 404, "unknown-snapshot", "no snapshot"),
    ("GET", "/v1/snapshots/snap_0", {}, 400, "invalid-id", "looks like snap_20241005_v1"),
    ("GET", "/v1/changes?since=soon", {}, 400, "invalid-request", "'soon' is neither an age such as 1h nor a time"),
    ("GET", "/v1/changes?since=999999d", {}, 400, "invalid-request", "since"),
    # documents
    ("POST", "/v1/push", {}, 400, "invalid-request", "body: Field required"),
    ("POST", "/v1/push", {"content": b"{"}, 400, "invalid-request", "body.1: JSON decode error"),
    ("POST", "/v1/push", {"content": b"\xff\xfe"}, 400, "", ""),
    ("POST", "/v1/push", {"content": b"[" * 100_000}, 400, "", ""),
    ("POST", "/v1/push", {"json": []}, 400, "invalid-request", "body"),
    ("POST", "/v1/push", {"json": bad(None)}, 400, "invalid-request", "body.document"),
    ("POST", "/v1/push", {"json": bad(42)}, 400, "invalid-request", "body.document"),
    ("POST", "/v1/push", {"json": bad([DOCUMENT])}, 400, "invalid-request", "body.document"),
    ("POST", "/v1/push", {"json": bad("")}, 400, "not-a-document", "document: it is"),
    ("POST", "/v1/push", {"json": bad({})}, 400, "not-a-document", "neither `app` nor `workflow`"),
    ("POST", "/v1/push", {"json": bad("a: [")}, 400, "not-yaml", "document, line 2, column 1"),
    ("POST", "/v1/push", {"json": bad('{"app": ')}, 400, "not-json", "document, line 1"),
    ("POST", "/v1/push", {"json": bad("!!python/object:os.system {}")}, 400, "unsafe-yaml", "line 1"),
    ("POST", "/v1/push", {"json": bad("app: {}\napp: {}\nworkflow: {}")}, 400, "duplicate-key", "'app' stands twice"),
    ("POST", "/v1/push", {"json": bad("{app: {mode: workflow}}")}, 400, "not-a-document", "workflow.graph"),
    ("POST", "/v1/push", {"json": bad("x" * (10 * 2**20 + 1))}, 413, "document-too-large", "10,485,760"),
    ("POST", "/v1/push", {"json": {"document": DOCUMENT, "note": 3}}, 400, "invalid-request", "body.note"),
    ("POST", "/v1/push", {"json": {"document": DOCUMENT, "note": "x" * 2001}}, 400, "invalid-request", "2001"),
    ("POST", "/v1/push", {"json": {"document": DOCUMENT, "origin": "magic"}}, 400, "invalid-request", "body.origin"),
    ("POST", "/v1/push", {"json": {"document": DOCUMENT, "id": "v1"}}, 400, "invalid-id", "'v1' is not a version"),
    ("POST", "/v1/push", {"json": {"document": DOCUMENT, "authored_at": "x"}}, 400, "invalid-request", "ISO 8601"),
    ("POST", "/v1/push", {"json": {"document": DOCUMENT, "target": "mars"}}, 400, "invalid-request", "'mars'"),
    ("POST", "/v1/push", {"json": {"document": DOCUMENT, "workflow_id": "x"}}, 400, "invalid-id", "workflow id"),
    ("POST", "/v1/workflows/No Such/versions", {"json": bad(DOCUMENT)}, 400, "invalid-id", "prod-invoice"),
    ("POST", "/v1/workflows/new/versions", {"json": {**bad(DOCUMENT), "create": False}}, 404, "unknown-workflow", ""),
    ("POST", "/v1/workflows/wf-unknown1/versions", {"json": bad(DOCUMENT)}, 404, "unknown-workflow", ""),
    (
        "POST",
        "/v1/workflows/greet/versions",
        {"json": {**bad(DOCUMENT), "id": "{first}"}},
        409,
        "id-taken",
        "{first}",
    ),
    ("POST", "/v1/workflows/greet/snapshots", {"json": {"version": "{theirs}"}}, 409, "foreign-version", ""),
    # moves
    (
        "POST",
        "/v1/workflows/greet/channels/live/publish",
        {"json": {"version": "{second}"}},
        428,
        "generation-required",
        "",
    ),
    (
        "POST",
        "/v1/workflows/greet/channels/live/publish",
        {"json": {"version": "{second}"}, "headers": {"If-Match": "*"}},
        428,
        "generation-required",
        "send its ETag as `If-Match`",
    ),
    (
        "POST",
        "/v1/workflows/greet/channels/live/publish",
        {"json": {"version": "{second}"}, "headers": {"If-Match": '"seven"'}},
        400,
        "invalid-request",
        "is not the ETag of a channel",
    ),
    (
        "POST",
        "/v1/workflows/greet/channels/live/publish",
        {"json": {"version": "{second}"}, "headers": {"If-Match": '"0"'}},
        412,
        "channel-moved",
        "admin moved it to {first}",
    ),
    (
        "POST",
        "/v1/workflows/greet/channels/live/publish",
        {"json": {"version": "{first}"}, "headers": IF},
        409,
        "already-active",
        "already points to {first} (generation 1)",
    ),
    (
        "POST",
        "/v1/workflows/greet/channels/live/publish",
        {"json": {"version": "{theirs}"}, "headers": IF},
        409,
        "foreign-version",
        "a version of other",
    ),
    (
        "POST",
        "/v1/workflows/greet/channels/live/publish",
        {"json": {"version": "{second}", "semver": "one"}, "headers": IF},
        400,
        "invalid-request",
        "body.semver",
    ),
    (
        "POST",
        "/v1/workflows/greet/channels/No/publish",
        {"json": {"version": "{second}"}, "headers": {"If-Match": '"0"'}},
        400,
        "invalid-id",
        "channel",
    ),
    ("POST", "/v1/workflows/greet/channels/live/rollback", {"json": {}}, 428, "generation-required", ""),
    (
        "POST",
        "/v1/workflows/greet/channels/live/rollback",
        {"json": {}, "headers": IF},
        409,
        "nothing-good",
        "nothing was changed",
    ),
    (
        "POST",
        "/v1/workflows/other/channels/live/rollback",
        {"json": {}, "headers": IF},
        404,
        "unknown-channel",
        "no channel 'live'",
    ),
    (
        "POST",
        "/v1/workflows/greet/channels/live/rollback",
        {"json": {"to": "{first}", "reason": "x" * 2001}, "headers": IF},
        400,
        "invalid-request",
        "body.reason",
    ),
    # proofs, keys, targets
    ("POST", "/v1/versions/{first}/mark", {"json": {"state": "stable"}}, 400, "invalid-request", "body.reason"),
    (
        "POST",
        "/v1/versions/{first}/mark",
        {"json": {"state": "active", "reason": "x"}},
        400,
        "invalid-request",
        "state",
    ),
    ("POST", "/v1/workflows/greet/smokes", {"json": {"expect": ["a b"]}}, 400, "invalid-expectation", "JMESPath"),
    ("POST", "/v1/workflows/greet/smokes", {"json": {"max_ms": 0}}, 400, "invalid-request", "body.max_ms"),
    ("POST", "/v1/workflows/greet/smokes", {"json": {"max_ms": 10**30}}, 400, "invalid-request", "max_ms"),
    ("POST", "/v1/workflows/greet/smokes", {"json": {"expect": ["a"] * 51}}, 400, "invalid-request", "body.expect"),
    ("DELETE", "/v1/workflows/greet/smokes/none", {}, 404, "unknown-smoke", "no smoke request 'none'"),
    ("POST", "/v1/workflows/greet/keys", {"json": {}}, 400, "invalid-request", "body.name"),
    ("POST", "/v1/workflows/greet/keys", {"json": {"name": "x" * 64}}, 400, "invalid-request", "63"),
    (
        "POST",
        "/v1/workflows/greet/keys",
        {"json": {"name": "x", "key": "sk-1"}},
        400,
        "invalid-request",
        "begins with app-",
    ),
    ("DELETE", "/v1/workflows/greet/keys/none", {}, 404, "unknown-key", "no app key 'none'"),
    ("POST", "/v1/targets", {"json": {"name": "X", "base_url": "http://a"}}, 400, "invalid-request", "body.name"),
    (
        "POST",
        "/v1/targets",
        {"json": {"name": "x", "base_url": "file:///etc"}},
        400,
        "invalid-request",
        "body.base_url",
    ),
    ("POST", "/v1/targets", {"json": {"name": "engine", "base_url": "http://a"}}, 400, "invalid-request", "engine"),
]


def filled(value: Any, kept: dict[str, str]) -> Any:
    """`value` with the names of versions replaced by their ids."""
    if isinstance(value, str):
        for name, id in kept.items():
            value = value.replace("{" + name + "}", id)
        return value
    if isinstance(value, dict):
        return {key: filled(item, kept) for key, item in value.items()}
    return value


def test_a_bad_request_gets_a_sentence_and_changes_nothing(api: Api, kept: dict[str, str]) -> None:
    """The same on both databases."""
    before = standing(api)
    wrong = []
    for method, path, sent, status, code, words in TABLE:
        if not api.store.postgres and "NUL" in words:
            continue  # SQLite can look for it, and finds nothing
        as_json: dict[str, Any] = {"headers": {"content-type": "application/json"}} if "content" in sent else {}
        answer = api.ask(method, filled(path, kept), **filled(sent, kept), **as_json)
        body = answer.json()
        as_told = (
            answer.status_code == body["status"] == status
            and answer.headers["content-type"] == "application/problem+json"
            and (not code or body["type"] == f"urn:lastgood:problem:{code}")
            and filled(words, kept) in body["detail"]
            and 0 < len(body["detail"]) < 1000
        )
        if not as_told or standing(api) != before:
            wrong.append(f"{method} {path} {str(sent)[:100]}: {answer.text[:300]}")
    assert not wrong, "\n".join(wrong)


async def huge(chunks: int) -> AsyncIterator[bytes]:
    yield b'{"document": "'
    for _ in range(chunks):
        yield b"x" * 2**20
    yield b'"}'


def test_a_huge_body_is_refused_declared_or_not(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = api.ask("POST", "/v1/push", content=b"x" * (33 * 2**20))
    assert "larger than 32 MB" in is_problem(declared, 413)["detail"]
    undeclared = api.ask("POST", "/v1/push", content=huge(33), headers={"content-type": "application/json"})
    assert "larger than 32 MB" in is_problem(undeclared, 413)["detail"]
    lying = api.ask("POST", "/v1/push", content=huge(33), headers={"content-length": "10"})
    assert lying.status_code in (400, 413)
    assert api.ask("GET", "/v1/workflows").status_code == 200


ODD_VALUES = [
    pytest.param('{"document": {"app": {"mode": "workflow"}, "workflow": {"graph": {}}, "x": NaN}}', id="NaN"),
    pytest.param('{"document": {"app": {"mode": "workflow"}, "x": Infinity}}', id="Infinity"),
    pytest.param('{"document": {"app": {"name": "\\ud800"}}}', id="half a surrogate"),
    pytest.param('{"document": {"\\ud800": 1}}', id="half a surrogate as a key"),
    pytest.param('{"document": {"app": 1e999}}', id="a number without end"),
    pytest.param('{"document": {"app": ' + "9" * 5000 + "}}", id="a number with 5000 digits"),
    pytest.param('{"document": ' + '{"a":' * 500 + "1" + "}" * 501, id="500 deep"),
    pytest.param('{"document": ' + '{"a":' * 50_000 + "1" + "}" * 50_001, id="50000 deep"),
    pytest.param('{"document": {"a": 1, "a": 2}}', id="a key twice"),
    pytest.param('{"document": "\\ud800"}', id="half a surrogate as the text"),
    pytest.param('{"document": "a: \\u0000"}', id="NUL in the text"),
]


@pytest.mark.parametrize("text", ODD_VALUES)
@on_sqlite
def test_values_that_json_should_not_hold_are_refused(api: Api, text: str) -> None:
    answer = api.ask("POST", "/v1/push", content=text, headers={"content-type": "application/json"})
    body = is_problem(answer, 413 if "levels" in answer.text else 400)
    assert len(body["detail"]) < 1000
    assert api.get("/v1/workflows")["items"] == []


@on_sqlite
def test_an_unforeseen_error_tells_its_kind_and_no_more(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(workflows, "listing", fail)
    body = is_problem(api.ask("GET", "/v1/workflows"), 500)
    assert "RuntimeError" in body["detail"]
    assert "hunter2" not in json.dumps(body)


@on_sqlite
def test_a_yaml_flow_mapping_is_a_document_like_any_other(api: Api) -> None:
    """It begins with a brace and is no JSON."""
    text = dsl.to_json(document("a", name="Flow style"))
    flow = text.replace('"app":', "app:", 1)
    assert flow.lstrip().startswith("{")
    answer = api.post("/v1/push", {"document": flow}, status=201)
    assert answer["workflow"]["slug"] == "flow-style"
