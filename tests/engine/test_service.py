"""Runs that are stopped, left, crowded or asked for badly."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from benchmarks.local import on_thread
from benchmarks.standins import EchoWeb

from engine.flows import Bench, Shelf, answer, code, end, flow, llm, named, node, start, template, web
from support.stores import clean_settings

SLEEP = code("c", "import time\ndef main(): time.sleep(1.8); return {'a': 'late'}", {"a": "string"})
SLOW = {
    "code": flow(start(), SLEEP, end(a=["c", "a"])),
    "http": flow(start(), web("w", "http://slow.example/?sleep=20"), end(a=["w", "body"])),
    "model": flow(start(), llm("m", "slow " + "word " * 60), end(a=["m", "text"])),
    "template": flow(
        start(),
        template("t", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
        end(a=["t", "output"]),
    ),
    "branches": flow(
        start(),
        *(web(f"w{n}", "http://slow.example/?sleep=20") for n in range(3)),
        end(a=["w0", "body"]),
        edges=[pair for n in range(3) for pair in (("start", f"w{n}"), (f"w{n}", "end"))],
    ),
}


def begun(bench: Bench, document: dict[str, Any]) -> tuple[dict[str, str], Iterator[dict[str, Any]], Any]:
    """A streamed run that has begun: its headers, its further events, and what closes it."""
    headers = bench.key(document)
    body = {"inputs": {}, "user": "u1", "response_mode": "streaming"}
    stream = bench.client.stream("POST", "/v1/workflows/run", headers=headers, json=body)
    lines = stream.__enter__().iter_lines()
    events = (json.loads(line[5:]) for line in lines if line.startswith("data:"))
    return headers, events, stream


def until(events: Iterator[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(event for event in events if event["event"] == name)


def idle(bench: Bench, seconds: float = 5.0) -> bool:
    """Whether the engine has no run and no busy thread left within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if bench.service.running == bench.service.overdue == 0:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("kind", list(SLOW))
def test_a_stopped_run_really_ends(bench: Bench, kind: str) -> None:
    headers, events, stream = begun(bench, SLOW[kind])
    task = until(events, "workflow_started")["task_id"]
    time.sleep(0.3)
    began = time.monotonic()
    assert bench.post(f"/v1/workflows/tasks/{task}/stop", headers).json() == {"result": "success"}
    finished = until(events, "workflow_finished")["data"]
    took = time.monotonic() - began
    stream.__exit__(None, None, None)
    assert (finished["status"], finished["error"], finished["outputs"]) == ("stopped", "Stopped by user.", {})
    assert took < 1.5
    assert idle(bench)
    kept = bench.client.get(f"/v1/workflows/run/{finished['id']}", headers=headers).json()
    assert (kept["status"], kept["error"]) == ("stopped", "Stopped by user.")


def test_nobody_else_can_stop_it(bench: Bench) -> None:
    headers, events, stream = begun(bench, SLOW["code"])
    task = until(events, "workflow_started")["task_id"]
    path = f"/v1/workflows/tasks/{task}/stop"
    assert bench.client.post(path, headers=headers, json={"user": "another"}).status_code == 200
    assert bench.client.post(path, headers=bench.key(SLOW["http"]), json={"user": "u1"}).status_code == 200
    finished = until(events, "workflow_finished")["data"]
    stream.__exit__(None, None, None)
    assert finished["status"] == "succeeded"


@pytest.mark.parametrize("kind", ["http", "model"])
def test_a_client_that_leaves_ends_its_run(bench: Bench, kind: str) -> None:
    _, events, stream = begun(bench, SLOW[kind])
    until(events, "node_started")
    assert bench.service.running == 1
    stream.__exit__(None, None, None)
    assert idle(bench, 3)


def test_a_blocking_client_that_leaves_ends_its_run(bench: Bench) -> None:
    headers = bench.key(SLOW["http"])
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{bench.base_url}/v1/workflows/run", headers=headers, json={"inputs": {}, "user": "u"}, timeout=0.4
        )
    assert idle(bench, 3)
    [kept] = bench.client.get("/v1/workflows/logs", headers=headers).json()["data"]
    assert (kept["workflow_run"]["status"], kept["workflow_run"]["error"]) == ("stopped", "The client went away.")


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path, echo: str) -> None:
    settings = clean_settings(tmp_path, run_timeout=0.5)
    shelf = Shelf()
    with on_thread(shelf, settings, web=lambda cancel: EchoWeb(cancel, echo)) as (base_url, service):
        bench = Bench(base_url, service, shelf)
        began = time.monotonic()
        data = bench.run(SLOW["http"])
        assert time.monotonic() - began < 3
        assert data["status"] == "failed"
        assert data["error"] == "The run took longer than 0.5 seconds and was ended."
        assert idle(bench)


def test_a_retry_pause_does_not_hold_the_answer_up(bench: Bench) -> None:
    call = web("w", "http://ill.example/?status=500")
    call["data"]["retry_config"] = {"retry_enabled": True, "max_retries": 99, "retry_interval": 5000}
    headers, events, stream = begun(bench, flow(start(), call, end(a=["w", "body"])))
    task = until(events, "workflow_started")["task_id"]
    time.sleep(0.3)
    began = time.monotonic()
    bench.post(f"/v1/workflows/tasks/{task}/stop", headers)
    assert until(events, "workflow_finished")["data"]["status"] == "stopped"
    assert time.monotonic() - began < 2.5
    stream.__exit__(None, None, None)
    assert idle(bench, 8)  # graphon sleeps the pause out; then its threads are gone


def test_thirty_two_at_once_each_get_their_own_answer(bench: Bench) -> None:
    headers = bench.key(flow(start("n"), template("t", "<{{ n }}>", n=["start", "n"]), end(said=["t", "output"])))

    def one(number: int) -> str:
        mode = {"response_mode": "blocking"}
        told = bench.post("/v1/workflows/run", headers, inputs={"n": str(number)}, **mode).json()
        said: str = told["data"]["outputs"]["said"]
        return said

    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(one, range(160))) == [f"<{n}>" for n in range(160)]
    assert idle(bench)


def test_streams_at_once_do_not_mix(bench: Bench) -> None:
    headers = bench.key(flow(start("n"), llm("m", "say {{#start.n#}}"), end(said=["m", "text"])))

    def one(number: int) -> bool:
        events = bench.stream(headers, inputs={"n": f"number {number}"})
        said = "".join(event["data"]["text"] for event in named(events, "text_chunk"))
        return bool(said == events[-1]["data"]["outputs"]["said"] == f"You said: say number {number}")

    with ThreadPoolExecutor(12) as threads:
        assert all(threads.map(one, range(36)))


def test_no_thread_is_left_behind(bench: Bench) -> None:
    document = flow(start(), end(a=["sys", "user_id"]))
    headers = bench.key(document)
    bench.post("/v1/workflows/run", headers, inputs={})
    assert idle(bench)
    before = threading.active_count()
    for _ in range(20):
        bench.post("/v1/workflows/run", headers, inputs={})
    assert idle(bench)
    assert threading.active_count() <= before + 2


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("workflows/run", "null", 400, "bad_request"),
        ("workflows/run", "[]", 400, "bad_request"),
        ("workflows/run", '{"user": "u", "inputs": [1]}', 400, "invalid_param"),
        ("workflows/run", '{"user": "u", "inputs": "x"}', 400, "invalid_param"),
        ("workflows/run", '{"user": "", "inputs": {}}', 400, "invalid_param"),
        ("workflows/run", '{"user": "u", "inputs": {}, "files": "x"}', 400, "invalid_param"),
        ("workflows/run", '{"user": "u", "inputs": {}, "files": [1]}', 400, "invalid_param"),
        (
            "workflows/run",
            '{"user": "u", "inputs": {}, "files": [{"transfer_method": "local_file"}]}',
            400,
            "invalid_param",
        ),
        ("workflows/run", '{"user": "u", "inputs": {"n": NaN}}', 400, "bad_request"),
        ("workflows/run", '{"user": "\\ud800"}', 400, "bad_request"),
        ("workflows/run", "[" * 5000, 400, "bad_request"),
        ("workflows/run", "\x00", 400, "bad_request"),
        ("chat-messages", '{"user": "u", "inputs": {}}', 400, "not_chat_app"),
        ("workflows/%2e%2e/run", '{"user": "u", "inputs": {}}', 400, "bad_request"),
        ("workflows/v-20240401-99999/run", '{"user": "u", "inputs": {}}', 404, "not_found"),
        ("workflows/v-20240401-0/run", '{"user": "u", "inputs": {}}', 400, "bad_request"),
        ("nothing/here", "{}", 404, "not_found"),
        ("info", "{}", 405, "method_not_allowed"),
    ],
)
def test_hostile_requests_are_refused_in_difys_shape(
    bench: Bench, path: str, body: str, status: int, code: str
) -> None:
    headers = {**bench.key(flow(start("n"), end(a=["start", "n"]))), "Content-Type": "application/json"}
    answer = bench.client.post(f"/v1/{path}", headers=headers, content=body)
    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (status, code, status)
    assert set(answer.json()) == {"code", "message", "status"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"query": 5}, "query"),
        ({"query": None}, "query"),
        ({"query": "q", "conversation_id": 5}, "conversation_id"),
        ({"query": "q", "workflow_id": 5}, "workflow_id"),
        ({"query": "q", "inputs": None}, "inputs"),
    ],
)
def test_hostile_chats_are_refused(bench: Bench, body: dict[str, Any], words: str) -> None:
    document = flow(start(), answer("x"), mode="advanced-chat")
    told = bench.post("/v1/chat-messages", bench.key(document), **{"inputs": {}, **body})
    assert (told.status_code, words in told.json()["message"]) == (400, True)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "page=0", "limit=-1", "limit=1e3"])
def test_odd_pages_are_refused(bench: Bench, query: str) -> None:
    told = bench.client.get(f"/v1/workflows/logs?{query}", headers=bench.key(SLOW["code"]))
    assert (told.status_code, told.json()["code"]) == (400, "invalid_param")


@pytest.mark.parametrize("path", ["messages?user=u1&conversation_id=x", "conversations/x/variables?user=u1"])
def test_a_conversation_of_somebody_else_is_not_there(bench: Bench, path: str) -> None:
    headers = bench.key(flow(start(), answer("x"), mode="advanced-chat"))
    talk = bench.post("/v1/chat-messages", headers, inputs={}, query="q").json()["conversation_id"]
    for user, status in (("u1", 200), ("another", 404)):
        told = bench.client.get(f"/v1/{path.replace('x', talk).replace('u1', user)}", headers=headers)
        assert told.status_code == status
    going_on = {"inputs": {}, "query": "q", "conversation_id": talk}
    foreign = bench.client.post("/v1/chat-messages", headers=headers, json={"user": "another", **going_on})
    assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")


def by_hand(base_url: str, key: str, length: int) -> socket.socket:
    """A connection on which a run was asked for, up to the first byte of a body of `length` bytes."""
    host, port = base_url.removeprefix("http://").split(":")
    line = socket.create_connection((host, int(port)), 5)
    head = ["POST /v1/workflows/run HTTP/1.1", "Host: x", f"Authorization: {key}", "Content-Type: application/json"]
    line.sendall("\r\n".join([*head, f"Content-Length: {length}", "", "{"]).encode())
    return line


def test_fifty_megabytes_are_not_read(bench: Bench) -> None:
    headers = {**bench.key(SLOW["code"]), "Content-Type": "application/json"}
    with by_hand(bench.base_url, headers["Authorization"], 50 * 2**20) as line:
        said = b"".join(iter(lambda: line.recv(4096), b""))  # to the end: the engine closes
        assert b" 413 " in said
        assert b"request_entity_too_large" in said
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(50):
            sent += 2**20
            yield b" " * 2**20

    with contextlib.suppress(httpx.WriteError):  # the engine may close the line before all was sent
        assert bench.client.post("/v1/workflows/run", headers=headers, content=endless()).status_code == 413
    assert sent < 50 * 2**20
    assert bench.client.get("/healthz").json()["status"] == "ok"


def test_a_body_that_drips_is_given_up(tmp_path: Path) -> None:
    shelf = Shelf()
    with on_thread(shelf, clean_settings(tmp_path), body_seconds=0.4) as (base_url, service):
        key = Bench(base_url, service, shelf).key(flow(start(), end(a=["sys", "user_id"])))["Authorization"]
        with by_hand(base_url, key, 100) as line:
            began = time.monotonic()
            assert b" 408 " in line.recv(4096)
            assert time.monotonic() - began < 3


def test_what_cannot_run_is_named_before_anything_runs(bench: Bench, echo: str) -> None:
    document = flow(
        start(),
        web("w", "http://must-not-be-called.example/"),
        node("tool", "tool", provider_id="x"),
        node("know", "knowledge-retrieval"),
        end(a=["w", "body"]),
    )
    headers = bench.key(document)
    for mode in ("blocking", "streaming"):
        told = bench.post("/v1/workflows/run", headers, inputs={}, response_mode=mode)
        assert told.status_code == 400
        message = told.json()["message"]
        assert "“tool” (tool) is a plugin tool" in message
        assert "“know” (know) is a question to a Dify knowledge base" in message
    assert bench.client.get("/v1/workflows/logs", headers=headers).json()["total"] == 0


def test_secrets_do_not_show_in_events_nor_in_what_is_kept(bench: Bench) -> None:
    secret = "s3cr3t/of ours"
    document = flow(
        start("q"),
        code(
            "c",
            "def main(k): return {'a': 'key=' + k, 'b': [k]}",
            {"a": "string", "b": "array[string]"},
            k=["env", "KEY"],
        ),
        web("w", "http://api.example/", headers="X-Key: {{#env.KEY#}}", params="k: {{#env.KEY#}}"),
        template("t", "{{ body }}", body=["w", "body"]),
        end(echoed=["t", "output"]),
        environment=[{"name": "KEY", "value_type": "secret", "value": secret}],
    )
    headers = bench.key(document)
    events = bench.stream(headers, inputs={"q": f"has {secret} in it"})
    shown = json.dumps(
        [event for event in events if event["event"].startswith("node_") or event["event"] == "workflow_started"]
    )
    for form in (secret, "s3cr3t%2Fof", "s3cr3t/of+ours"):
        assert form not in shown
    assert "*" * 20 in shown
    # The node got the real one, and the caller what the workflow gives it.
    assert secret in events[-1]["data"]["outputs"]["echoed"]
    kept = bench.client.get(f"/v1/workflows/run/{events[-1]['data']['id']}", headers=headers).text
    assert "s3cr3t" not in kept


def test_a_full_engine_says_so_and_when_to_come_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lastgood.targets.engine.service._MAX_RUNS", 0)
    told = bench.post("/v1/workflows/run", bench.key(SLOW["code"]), inputs={})
    assert (told.status_code, told.json()["code"], told.headers["retry-after"]) == (429, "too_many_requests", "1")


def test_health_tells_how_busy_it_is(bench: Bench) -> None:
    assert idle(bench)
    assert bench.client.get("/healthz").json().keys() == {"status", "pid", "running", "overdue"}
