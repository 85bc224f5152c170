"""The engine's answers beside those of a real Dify server: the same events in the same order, the same keys, values
of the same types. The workflows that were recorded are made again here, small, with names of our own where Dify's do
not matter."""

import json
from functools import cache
from typing import Any

import pytest

from engine.conftest import TOKEN
from engine.flows import Bench, answer, code, flow, node, start, web
from support.shared import shared

NAME = {"variable": "name", "label": "name", "type": "text-input", "required": True, "max_length": 256, "options": []}
CITY = {**NAME, "variable": "city", "label": "city"}
FEATURES = {
    "opening_statement": "hello v1",
    "suggested_questions": [],
    "suggested_questions_after_answer": {"enabled": False},
    "speech_to_text": {"enabled": False},
    "text_to_speech": {"enabled": False, "voice": "", "language": ""},
    "retriever_resource": {"enabled": True},
    "sensitive_word_avoidance": {"enabled": False},
    "file_upload": {
        "enabled": False,
        "allowed_file_types": ["image"],
        "allowed_file_extensions": [],
        "allowed_file_upload_methods": ["local_file", "remote_url"],
        "number_limits": 3,
    },
}
# What depends on the day's services and headers, and not on the engine: its own keys are not compared.
FREE = {"body", "headers"}


@cache
def exchanges(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shared("dify-recordings", *name.split("/")).read_text())["exchanges"]
    return found


def recorded(name: str, label: str) -> dict[str, Any]:
    return next(exchange for exchange in exchanges(name) if exchange.get("label") == label)


def events(name: str, label: str) -> list[dict[str, Any]]:
    lines = recorded(name, label)["sse_lines_ms"]
    return [json.loads(line[5:]) for _, line in lines if line.startswith("data:")]


def shape(value: Any, key: str = "") -> Any:
    """The keys and types of `value`, all the way down."""
    if isinstance(value, dict):
        return "…" if key in FREE else {name: shape(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item, key) for item in value]
    return type(value).__name__


WORKFLOW, CHAT, LATER = (
    "1.13.0/05a_service_workflow.json",
    "1.13.0/05b_service_chatflow.json",
    "1.14.2/16_service_errors_idle.json",
)


def workflow(*variables: dict[str, Any], url: str = "http://echo.example/echo", **http: Any) -> dict[str, Any]:
    """start → does the name say http? → http → end, or → end."""
    condition = {
        "id": "c",
        "variable_selector": ["start", "name"],
        "comparison_operator": "contains",
        "value": "http",
    }
    return flow(
        start(*variables),
        node("cond", "if-else", cases=[{"case_id": "true", "logical_operator": "and", "conditions": [condition]}]),
        web("http", url, **http),
        node("end_http", "end", outputs=[{"variable": "result", "value_selector": ["http", "body"]}]),
        node("end_plain", "end", outputs=[{"variable": "result", "value_selector": ["start", "name"]}]),
        edges=[("start", "cond"), ("cond", "http", "true"), ("http", "end_http"), ("cond", "end_plain", "false")],
        features=FEATURES,
    )


def chatflow(tag: str = "v1") -> dict[str, Any]:
    item = {
        "variable_selector": ["conversation", "a"],
        "input_type": "variable",
        "operation": "over-write",
        "value": ["sys", "query"],
    }
    return flow(
        start(),
        node("asg", "assigner", desc="", version="2", items=[item]),
        answer(f"{tag}: {{{{#sys.query#}}}} a={{{{#conversation.a#}}}}"),
        mode="advanced-chat",
        conversation=[{"id": "x", "name": "a", "value_type": "string", "value": "", "description": ""}],
        features=FEATURES,
    )


@pytest.mark.parametrize(
    ("label", "variables", "inputs"),
    [
        ("streaming, http branch (raw SSE lines)", (NAME, CITY), {"name": "go http", "city": "c"}),
        ("by id v1 streaming", (NAME,), {"name": "plain"}),
    ],
)
def test_a_streamed_run_tells_what_difys_tells(
    bench: Bench, label: str, variables: tuple[dict[str, Any], ...], inputs: dict[str, str]
) -> None:
    theirs = events(WORKFLOW, label)
    ours = bench.stream(workflow(*variables), inputs=inputs)
    assert [event["event"] for event in ours] == [event["event"] for event in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert shape(mine) == shape(other)
        assert list(mine) == list(other)
        for key in ("node_id", "node_type", "status", "index", "reason", "from_variable_selector", "total_steps"):
            assert mine["data"].get(key) == other["data"].get(key)


def test_the_stream_begins_with_a_ping_and_is_framed_like_difys(bench: Bench) -> None:
    exchange = recorded(WORKFLOW, "by id v1 streaming")
    headers = bench.key(workflow(NAME))
    body = {"inputs": {"name": "x"}, "user": "u", "response_mode": "streaming"}
    with bench.client.stream("POST", "/v1/workflows/run", headers=headers, json=body) as answer:
        lines = list(answer.iter_lines())
    assert (
        [line[:6] for line in lines][:3]
        == [line[:6] for _, line in exchange["sse_lines_ms"]][:3]
        == ["event:", "", "data: "]
    )
    assert answer.headers["content-type"] == exchange["response_headers"]["content-type"]


def test_a_failing_node_ends_the_stream_like_difys(bench: Bench) -> None:
    theirs = events(WORKFLOW, "streaming, node fails")
    ours = bench.stream(workflow(NAME, url="http://gone.example:1/none?status=never"), inputs={"name": "go http"})
    assert [event["event"] for event in ours] == [event["event"] for event in theirs]
    assert [shape(event) for event in ours] == [shape(event) for event in theirs]
    assert ours[-1]["data"]["status"] == theirs[-1]["data"]["status"] == "failed"
    assert ours[-1]["data"]["exceptions_count"] == theirs[-1]["data"]["exceptions_count"] == 1


@pytest.mark.parametrize(
    "label", ["blocking, http branch", "no response_mode: blocking is the default", "extra input ignored?"]
)
def test_a_blocking_answer_is_difys(bench: Bench, label: str) -> None:
    theirs = recorded(WORKFLOW, label)
    body = theirs["request_json"]
    ours = bench.client.post("/v1/workflows/run", headers=bench.key(workflow(NAME, CITY)), json=body)
    assert shape(ours.json()) == shape(theirs["response_json"])
    assert ours.headers["content-type"] == theirs["response_headers"]["content-type"]


def test_a_failed_run_is_a_200_with_its_error(bench: Bench) -> None:
    theirs = recorded(WORKFLOW, "blocking, node fails")["response_json"]
    ours = bench.run(workflow(NAME, url="http://gone.example:1/none?status=never"), name="go http")
    assert shape(ours) == shape(theirs["data"])
    assert ours["status"] == theirs["data"]["status"]


@pytest.mark.parametrize(
    "label",
    [
        "no user",
        "missing required input",
        "input too long",
        "wrong type",
        "no body",
        "broken JSON",
        "bad response_mode",
        "no inputs",
    ],
)
def test_a_refused_run_is_refused_in_difys_words(bench: Bench, label: str) -> None:
    theirs = recorded(WORKFLOW, label)
    sent, headers = theirs["request_json"], bench.key(workflow(NAME, CITY))
    if sent is None:
        ours = bench.client.post("/v1/workflows/run", headers=headers)
    elif isinstance(sent, str):
        ours = bench.client.post(
            "/v1/workflows/run", headers={**headers, "Content-Type": "application/json"}, content=sent
        )
    else:
        ours = bench.client.post("/v1/workflows/run", headers=headers, json=sent)
    expected = theirs["response_json"]
    assert ours.status_code == theirs["status"]
    # pydantic's reports carry its own version and a repr of the input: their first lines are what they say.
    lines = 3 if "validation error" in expected["message"] else 1
    told = ours.json()
    assert [line.partition(" [")[0] for line in told.pop("message").splitlines()][:lines] == [
        line.partition(" [")[0] for line in expected["message"].splitlines()
    ][:lines]
    assert told == {key: item for key, item in expected.items() if key != "message"}


@pytest.mark.parametrize(
    ("label", "version"),
    [
        ("by id unknown", "31d2d14e-897e-4921-9b97-98eb4bb67192"),
        ("by id malformed", "abc"),
        ("by id 'draft'", "draft"),
    ],
)
def test_a_version_that_is_not_there_is_refused_in_difys_words(bench: Bench, label: str, version: str) -> None:
    theirs = recorded(WORKFLOW, label)
    ours = bench.post(f"/v1/workflows/{version}/run", bench.key(workflow(NAME)), inputs={"name": "x"})
    assert (ours.status_code, ours.json()) == (theirs["status"], theirs["response_json"])


def test_a_version_of_another_workflow_is_not_found(bench: Bench) -> None:
    theirs = recorded(WORKFLOW, "by id of ANOTHER app's version")
    other = bench.shelf.put(workflow(NAME))
    ours = bench.post(f"/v1/workflows/{other}/run", bench.key(workflow(NAME)), inputs={"name": "x"})
    assert ours.status_code == theirs["status"]
    assert shape(ours.json()) == shape(theirs["response_json"])
    assert other in ours.json()["message"]


@pytest.mark.parametrize(
    ("label", "headers"),
    [
        ("unknown key", {"Authorization": "Bearer app-nobody"}),
        ("no key", {}),
        ("bad scheme", {"Authorization": "Basic app-nobody"}),
    ],
)
def test_a_bad_key_is_refused_in_difys_words(bench: Bench, label: str, headers: dict[str, str]) -> None:
    theirs = recorded("1.13.0/07a_errors_limits.json", label)
    ours = bench.client.get("/v1/info", headers=headers)
    assert (ours.status_code, ours.json()) == (theirs["status"], theirs["response_json"])


@pytest.mark.parametrize(
    ("label", "path"),
    [("/v1/info", "info"), ("/v1/parameters", "parameters"), ("/v1/meta", "meta"), ("/v1/site", "site")],
)
def test_what_is_said_of_the_app_is_difys(bench: Bench, label: str, path: str) -> None:
    theirs = recorded(WORKFLOW, label)["response_json"]
    document = workflow(NAME, CITY)
    document["workflow"]["features"]["opening_statement"] = ""
    document["app"] |= {"icon": "x", "icon_background": "#FFEAD5", "description": ""}
    ours = bench.client.get(f"/v1/{path}", headers=bench.key(document)).json()
    assert shape(ours) == shape(theirs)
    if path == "parameters":
        assert ours == theirs


@pytest.mark.parametrize(
    ("label", "path"), [("unpublished app, blocking", "workflows/run"), ("unpublished", "chat-messages")]
)
def test_nothing_runs_while_nothing_is_published(bench: Bench, label: str, path: str) -> None:
    theirs = recorded(CHAT if "chat" in path else WORKFLOW, label)
    version = bench.shelf.put(workflow(NAME))
    workflow_id = bench.shelf.versions[version].workflow_id
    del bench.shelf.live[workflow_id]
    ours = bench.post(f"/v1/{path}", bench.key(workflow_id), inputs={}, query="hi")
    wanted = theirs["response_json"] or json.loads(theirs["sse_lines_ms"][0][1])
    assert (ours.status_code, ours.json()) == (theirs["status"], wanted)
    unpublished = recorded(WORKFLOW, "parameters unpublished")
    assert bench.client.get("/v1/parameters", headers=bench.key(workflow_id)).json() == unpublished["response_json"]


def test_a_kept_run_is_shown_like_difys(bench: Bench) -> None:
    headers = bench.key(workflow(NAME, CITY))
    run_id = bench.post("/v1/workflows/run", headers, inputs={"name": "go http", "city": "c"}).json()[
        "workflow_run_id"
    ]
    theirs = recorded(WORKFLOW, "run detail")["response_json"]
    ours = bench.client.get(f"/v1/workflows/run/{run_id}", headers=headers).json()
    assert shape(ours) == shape(theirs)
    assert shape(json.loads(ours["inputs"])) == shape(json.loads(theirs["inputs"]))
    log = bench.client.get("/v1/workflows/logs?page=1&limit=3", headers=headers).json()
    kept = recorded(WORKFLOW, "logs")["response_json"]
    assert shape(log["data"][0]) == shape(kept["data"][0])
    assert shape({**log, "data": []}) == shape({**kept, "data": []})
    none = bench.client.get("/v1/workflows/logs?page=1&limit=3&status=failed", headers=headers)
    assert none.json() == recorded(WORKFLOW, "logs failed")["response_json"]


@pytest.mark.parametrize(
    ("file", "label", "path"),
    [
        (WORKFLOW, "stop unknown task", "/v1/workflows/tasks/76462fb3-9828-4223-8c94-f0929ac9d32e/stop"),
        (WORKFLOW, "stop without user", "/v1/workflows/tasks/90ae8852-f5cb-4863-845b-9db597954ab7/stop"),
        (CHAT, "stop unknown", "/v1/chat-messages/f0466916-d222-4d78-a0ed-68c5484b11af/stop"),
    ],
)
def test_stopping_answers_like_dify(bench: Bench, file: str, label: str, path: str) -> None:
    theirs = recorded(file, label)
    ours = bench.client.post(path, headers=bench.key(workflow(NAME)), json=theirs["request_json"])
    assert (ours.status_code, ours.json()) == (theirs["status"], theirs["response_json"])


def test_a_chat_tells_what_difys_tells(bench: Bench) -> None:
    theirs = events(CHAT, "new conversation on v1 (streaming; blocking hangs, see 07c)")
    ours = bench.stream(chatflow(), query="q1")
    assert [event["event"] for event in ours] == [event["event"] for event in theirs] + ["message_end"]
    for mine, other in zip(ours[:-1], theirs, strict=True):
        assert shape(mine) == shape(other)
    assert [event["answer"] for event in ours if event["event"] == "message"] == [
        event["answer"] for event in theirs if event["event"] == "message"
    ]
    assert ours[-2]["data"]["outputs"] == theirs[-1]["data"]["outputs"]


def test_a_blocking_chat_answer_is_difys(bench: Bench) -> None:
    theirs = recorded(LATER, "chatflow blocking ok")["response_json"]
    ours = bench.post("/v1/chat-messages", bench.key(chatflow()), inputs={}, query="q").json()
    assert shape(ours) == shape(theirs)
    end_of_stream = bench.stream(chatflow(), query="q")[-1]
    assert shape(end_of_stream["metadata"]) == shape(theirs["metadata"])


def test_a_conversation_goes_on_over_versions_like_difys(bench: Bench) -> None:
    """v1, then v2 in service, then v1 asked for by id in the same conversation."""
    first = bench.shelf.put(chatflow("v1"))
    workflow_id = bench.shelf.versions[first].workflow_id
    headers = bench.key(workflow_id)
    talk = bench.post("/v1/chat-messages", headers, inputs={}, query="q1").json()["conversation_id"]
    second = bench.shelf.put(chatflow("v2"), workflow_id)
    going_on = {"inputs": {}, "conversation_id": talk}
    answers = [
        bench.post("/v1/chat-messages", headers, query="q3", **going_on).json()["answer"],
        bench.post("/v1/chat-messages", headers, query="q4", workflow_id=first, **going_on).json()["answer"],
        bench.post("/v1/chat-messages", headers, query="q5", workflow_id="", **going_on).json()["answer"],
    ]
    assert answers == ["v2: q3 a=q3", "v1: q4 a=q4", "v2: q5 a=q5"]
    assert second != first
    for label, path in (
        ("messages", f"/v1/messages?user=u1&conversation_id={talk}&limit=3"),
        ("conversations", "/v1/conversations?user=u1&limit=2"),
        ("conversation variables", f"/v1/conversations/{talk}/variables?user=u1"),
    ):
        theirs = recorded(CHAT, label)["response_json"]
        ours = bench.client.get(path, headers=headers).json()
        assert shape(ours["data"][0]) == shape(theirs["data"][0])
        assert list(ours) == list(theirs)
    kept = bench.client.get(f"/v1/messages?user=u1&conversation_id={talk}&limit=3", headers=headers).json()
    assert [message["query"] for message in kept["data"]] == ["q3", "q4", "q5"]
    assert kept["has_more"] is True


@pytest.mark.parametrize("label", ["workflow_id unknown", "workflow_id malformed"])
def test_a_chat_on_no_version_is_refused_in_difys_words(bench: Bench, label: str) -> None:
    theirs = recorded(CHAT, label)
    wanted = json.loads(theirs["sse_lines_ms"][0][1])
    ours = bench.post("/v1/chat-messages", bench.key(chatflow()), **theirs["request_json"] | {"user": "u1"})
    assert ours.status_code == theirs["status"]
    told = ours.json()
    assert told["message"].replace("<string:task_id>", "…") == wanted["message"].replace("<string:task_id>", "…")
    assert told["code"] == wanted["code"]


@pytest.mark.parametrize(
    ("label", "path"),
    [("workflow endpoint on a chatflow app", "workflows/run"), ("chat endpoint on a workflow app", "chat-messages")],
)
def test_the_wrong_door_is_named_like_difys(bench: Bench, label: str, path: str) -> None:
    theirs = recorded(CHAT, label)
    document = workflow(NAME) if "chat-messages" in path else chatflow()
    ours = bench.client.post(f"/v1/{path}", headers=bench.key(document), json=theirs["request_json"])
    assert (ours.status_code, ours.json()) == (theirs["status"], theirs["response_json"])


def test_a_chat_whose_node_fails_says_so_both_ways(bench: Bench) -> None:
    broken = code("c", "def main(): raise OSError('out')", {"a": "string"})
    document = flow(start(), broken, answer("{{#c.a#}}"), mode="advanced-chat")
    headers = bench.key(document)
    blocking = bench.post("/v1/chat-messages", headers, inputs={}, query="q")
    assert (blocking.status_code, blocking.json()) == (
        400,
        {"code": "invalid_param", "message": "Run failed: OSError: out (line 1)", "status": 400},
    )
    told = bench.stream(headers, query="q")
    assert [event["event"] for event in told][-2:] == ["workflow_finished", "error"]
    assert told[-1]["message"] == "Run failed: OSError: out (line 1)"


def test_the_engines_own_token_runs_any_version_by_its_id(bench: Bench) -> None:
    version = bench.shelf.put(workflow(NAME))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    ran = bench.post(f"/v1/workflows/{version}/run", headers, inputs={"name": "x"}).json()
    assert (ran["data"]["status"], ran["data"]["workflow_id"]) == ("succeeded", version)
    talk = bench.shelf.put(chatflow())
    assert (
        bench.post("/v1/chat-messages", headers, inputs={}, query="q", workflow_id=talk).json()["answer"]
        == "v1: q a=q"
    )
    shown = bench.client.get(f"/v1/parameters?workflow_id={version}", headers=headers).json()
    assert [list(item) for item in shown["user_input_form"]] == [["text-input"]]
    nameless = bench.post("/v1/workflows/run", headers, inputs={"name": "x"})
    assert (nameless.status_code, nameless.json()["code"]) == (400, "invalid_param")
