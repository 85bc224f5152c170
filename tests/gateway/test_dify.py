"""Calls to an app on Dify: checked, pinned, queued, followed to their end; and what clients and servers do wrong."""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lastgood.gateway.knowledge import Placed

from .conftest import AUTH, JSON, KEY
from .shielded import OTHER_KEY, ROW, Memory, asked, of_app, shielded
from .wire import SSE, Client, Line, Seen, chunk, refused_port, reply, upstream

RUN = "/v1/workflows/run"
CHAT = "/v1/chat-messages"
PING = b"event: ping\n\n"
OLD = "b3201710-9773-41f3-a035-592171be4928"


def body(**more: Any) -> bytes:
    return json.dumps({"inputs": {"city": "c"}, "user": "u", "response_mode": "streaming", **more}).encode()


def event(name: str, **more: Any) -> bytes:
    return b"data: " + json.dumps({"event": name, "task_id": "t", **more}).encode() + b"\n\n"


def talk(name: str, **more: Any) -> bytes:
    return event(name, conversation_id="c-1", message_id="m-1", created_at=7, **more)


FINISHED = event("workflow_finished", data={"status": "succeeded", "outputs": {"n": 1}})
FAILED = event("workflow_finished", data={"status": "failed", "error": "boom"})
SAID = (
    talk("workflow_started", data={})
    + talk("message", answer="A ")
    + talk("message", answer="q")
    + talk("workflow_finished", data={"status": "succeeded", "outputs": {"answer": "A q"}})
    + talk("message_end", metadata={"usage": {}})
)


def stream(*parts: bytes | float, hold: threading.Event | None = None) -> Callable[[Seen, Line], None]:
    """Sends parts of a stream, waits where a number stands, and ends it when `hold` is set."""

    def handle(_: Seen, line: Line) -> None:
        line.sock.sendall(SSE)
        for part in parts:
            if isinstance(part, float):
                time.sleep(part)
            else:
                line.sock.sendall(chunk(part))
        if hold is not None:
            hold.wait(10)
        line.sock.sendall(b"0\r\n\r\n")

    return handle


def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        time.sleep(0.02)
    assert holds()


def form(*fields: Any) -> Memory:
    return Memory({ROW: Placed("v-20261123-01", fields, False)})


@pytest.mark.parametrize(
    ("target", "given", "message"),
    [
        (RUN, {"inputs": {}}, "city is required in input form"),
        (RUN, {"inputs": {"city": 5}}, "(type 'text-input') city in input form must be a string"),
        (f"/v1/workflows/{ROW}/run", {"inputs": {}}, "city is required in input form"),
        (RUN, {"inputs": {"city": "x" * 300}}, "city in input form must be less than 256 characters"),
        (RUN, {"inputs": {}, "response_mode": "blocking"}, "city is required in input form"),
        (CHAT, {"inputs": {}, "query": "q"}, "city is required in input form"),
        (CHAT, {"inputs": {"city": 5}, "query": "q", "conversation_id": "c"}, "(type 'text-input') city in"),
    ],
)
def test_inputs_that_do_not_fit_never_reach_dify(
    tmp_path: Path, target: str, given: dict[str, Any], message: str
) -> None:
    mode = "advanced-chat" if target == CHAT else "workflow"
    with upstream() as up, shielded(of_app(up.url, mode=mode), tmp_path, form(asked("city"))) as worker:
        answer = worker.ask(target, body(**given))
        assert (answer.status, answer.json()["code"], answer.json()["status"]) == (400, "invalid_param", 400)
        assert answer.json()["message"].startswith(message)
        assert up.seen == []
        assert worker.metrics()['refused_inputs_total{upstream="dify"}'] == 1


@pytest.mark.parametrize(
    "given",
    [
        {"inputs": {"city": "c", "more": 1}},
        {"inputs": "none"},  # Dify refuses these at once itself
        {"inputs": {}, "user": ""},
        {"inputs": {}, "response_mode": "bogus"},
    ],
)
def test_what_fits_and_what_dify_refuses_at_once_goes_on_as_it_is(tmp_path: Path, given: dict[str, Any]) -> None:
    with upstream() as up, shielded(of_app(up.url), tmp_path, form(asked("city"))) as worker:
        sent = body(**given)
        assert worker.ask(RUN, sent, [("Accept-Encoding", "gzip")]).status == 200
        (seen,) = up.seen
        assert (seen.target, seen.body) == (f"/v1/workflows/{ROW}/run", sent)
        assert seen.one("authorization") == AUTH[1]
        assert seen.one("accept-encoding") is None


def test_a_later_message_may_leave_out_what_the_first_one_gave(tmp_path: Path) -> None:
    with upstream() as up, shielded(of_app(up.url, mode="advanced-chat"), tmp_path, form(asked("city"))) as worker:
        assert worker.ask(CHAT, body(inputs={}, query="q", conversation_id="c")).status == 200


def test_a_row_that_the_client_names_is_checked_by_its_own_form(tmp_path: Path) -> None:
    memory = form(asked("city"))
    memory.rows[OLD] = Placed("v-20260101-01", [asked("town")], False)
    with upstream() as up, shielded(of_app(up.url), tmp_path, memory) as worker:
        assert worker.ask(f"/v1/workflows/{OLD}/run", body()).json()["message"] == "town is required in input form"
        answer = worker.ask(f"/v1/workflows/{OLD}/run", body(inputs={"town": "t"}))
        assert (answer.status, answer.one("x-lastgood-version")) == (200, "v-20260101-01")
        assert len(up.seen) == 1


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([PING, event("node_started"), FINISHED], PING + event("node_started") + FINISHED),
        ([PING, FINISHED + FINISHED], PING + FINISHED),  # two ends
        ([FINISHED[:30], FINISHED[30:-1], b"\n", event("error", message="late")], FINISHED),
        ([event("error", message="m", status=500)], event("error", message="m", status=500)),
        ([FAILED.replace(b"\n", b"\r\n")], FAILED.replace(b"\n", b"\r\n")),
    ],
)
def test_a_stream_ends_at_its_last_event_and_its_place_is_held_until_dify_lets_go(
    tmp_path: Path, parts: list[bytes], expected: bytes
) -> None:
    hold = threading.Event()
    with upstream(stream(*parts, hold=hold)) as up, shielded(of_app(up.url), tmp_path) as worker:
        answer = worker.ask(RUN, body())  # comes back although the upstream holds its socket
        assert (answer.status, answer.body, answer.whole) == (200, expected, True)
        assert worker.metrics()['calls_in_flight{upstream="dify"}'] == 1
        assert worker.metrics()['calls_left{upstream="dify"}'] == 1
        hold.set()
        eventually(lambda: worker.metrics()['calls_in_flight{upstream="dify"}'] == 0)
        outcome = "error" if b"failed" in expected or b"error" in expected else "ok"
        name = f'requests_total{{workflow="wf-abc123",version="v-20261123-01",outcome="{outcome}"}}'
        eventually(lambda: worker.metrics().get(name) == 1)


def test_a_message_goes_on_after_its_run_until_its_own_end(tmp_path: Path) -> None:
    hold = threading.Event()
    parts = SAID.partition(b'data: {"event": "message_end"')
    with (
        upstream(stream(parts[0], 0.1, parts[1] + parts[2], PING, hold=hold)) as up,
        shielded(of_app(up.url, mode="advanced-chat"), tmp_path) as worker,
    ):
        assert worker.ask(CHAT, body(query="q")).body == SAID
        hold.set()


@pytest.mark.parametrize("tail", [b"", b"data: {half an"])
def test_pings_are_no_progress_and_an_idle_stream_is_given_up(tmp_path: Path, tail: bytes) -> None:
    hold = threading.Event()
    beats = [part for _ in range(12) for part in (0.1, PING if not tail else b"")]
    quiet = [part for part in beats if part]
    with (
        upstream(stream(PING, event("node_started"), *([tail] if tail else []), *quiet, hold=hold)) as up,
        shielded(of_app(up.url), tmp_path, stream_idle_seconds=0.5) as worker,
    ):
        answer = worker.ask(RUN, body())
        assert answer.whole
        *_, last = answer.body.decode().strip().split("\n\n")
        said = json.loads(last.removeprefix("data: "))
        assert (said["event"], said["status"]) == ("error", 504)
        assert worker.metrics()['idle_cutoffs_total{upstream="dify"}'] == 1
        assert worker.metrics()['calls_in_flight{upstream="dify"}'] == 1  # Dify has not let go
        hold.set()


def test_a_blocking_chat_is_put_together_from_a_stream(tmp_path: Path) -> None:
    sent = {"query": "q", "conversation_id": "", "response_mode": "blocking"}
    with (
        upstream(stream(PING, SAID)) as up,
        shielded(of_app(up.url, mode="advanced-chat"), tmp_path) as worker,
    ):
        for more in (sent, {**sent, "response_mode": None}):
            answer = worker.ask(CHAT, body(**more))
            assert answer.status == 200
            assert answer.json() == {
                "event": "message",
                "task_id": "t",
                "id": "m-1",
                "message_id": "m-1",
                "conversation_id": "c-1",
                "mode": "advanced-chat",
                "answer": "A q",
                "metadata": {"usage": {}},
                "created_at": 7,
            }
        asked_for = [json.loads(seen.body) for seen in up.seen]
        assert [one["response_mode"] for one in asked_for] == ["streaming", "streaming"]
        assert [one["workflow_id"] for one in asked_for] == [ROW, ROW]
        assert worker.metrics()['assembled_chats_total{upstream="dify"}'] == 2


@pytest.mark.parametrize(
    ("handle", "status", "code"),
    [
        (
            stream(PING, talk("workflow_finished", data={"status": "failed", "error": "x"}), 0.01),
            400,
            "invalid_param",
        ),
        (stream(PING, 1.0), 504, "upstream_timeout"),
        (stream(PING, talk("message", answer="A")), 502, "upstream_unreachable"),
        (reply(400, b'{"code":"not_chat_app","message":"m","status":400}', [JSON]), 400, "not_chat_app"),
    ],
)
def test_a_blocking_chat_that_fails_says_so_in_difys_shape(
    tmp_path: Path, handle: Any, status: int, code: str
) -> None:
    route = of_app("x", mode="advanced-chat")
    with upstream(handle) as up, shielded(route, tmp_path, stream_idle_seconds=0.4) as worker:
        worker.routes[KEY] = of_app(up.url, mode="advanced-chat")
        answer = worker.ask(CHAT, body(query="q", response_mode="blocking"))
        said = answer.json()
        assert (answer.status, said["code"], said["status"]) == (status, code, status)
        outcome = "refused" if code == "not_chat_app" else "error"
        name = f'requests_total{{workflow="wf-abc123",version="v-20261123-01",outcome="{outcome}"}}'
        eventually(lambda: worker.metrics().get(name) == 1)


def test_calls_beyond_the_cap_wait_and_then_are_told_to_come_again(tmp_path: Path) -> None:
    hold = threading.Event()
    settings: dict[str, Any] = {"upstream_calls": 2, "queue_calls": 1, "queue_seconds": 0.5}
    runs = stream(event("node_started"), hold=hold)
    with (
        upstream(lambda seen, line: line.sock.sendall(reply()) if "stop" in seen.target else runs(seen, line)) as up,
        shielded(of_app(up.url), tmp_path, **settings) as worker,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(2):
            client = stack.enter_context(Client(worker.port))
            client.send("POST", RUN, [AUTH, JSON], body())
            assert client.line.until(b"node_started")
        late = stack.enter_context(Client(worker.port))
        late.send("POST", RUN, [AUTH, JSON], body())
        eventually(lambda: worker.metrics()['calls_queued{upstream="dify"}'] == 1)
        full = worker.ask(RUN, body())
        for answer in (full, late.answer("POST")):
            assert (answer.status, answer.json()["code"]) == (429, "too_many_requests")
            assert int(answer.one("retry-after") or 0) >= 1
        counted = worker.metrics()
        assert counted['refused_total{upstream="dify",reason="queue-full"}'] == 1
        assert counted['refused_total{upstream="dify",reason="queue-late"}'] == 1
        assert len(up.seen) == 2
        assert worker.ask("/v1/workflows/tasks/t/stop", b"{}").status == 200  # what frees a place needs none
        hold.set()


def test_who_leaves_the_queue_runs_nothing_and_hands_its_turn_on(tmp_path: Path) -> None:
    hold = threading.Event()
    with (
        upstream(stream(event("node_started"), hold=hold)) as up,
        shielded(of_app(up.url), tmp_path, upstream_calls=1) as worker,
        Client(worker.port) as first,
    ):
        worker.routes[OTHER_KEY] = of_app(up.url, key_id="key-other")
        first.send("POST", RUN, [AUTH, JSON], body())
        assert first.line.until(b"node_started")
        leaving = Client(worker.port)
        leaving.send("POST", RUN, [AUTH, JSON], body(user="leaves"))
        with Client(worker.port) as other:
            other.send("POST", RUN, [("Authorization", f"Bearer {OTHER_KEY}"), JSON], body(user="other"))
            eventually(lambda: worker.metrics()['calls_queued{upstream="dify"}'] == 2)
            leaving.sock.close()
            eventually(lambda: worker.metrics()['calls_queued{upstream="dify"}'] == 1)
            hold.set()
            assert other.answer("POST").status == 200
        assert [json.loads(seen.body)["user"] for seen in up.seen] == ["u", "other"]


@pytest.mark.parametrize("mode", ["streaming", "blocking"])
def test_a_call_whose_client_left_keeps_its_place_until_dify_ends_it(tmp_path: Path, mode: str) -> None:
    hold, begun = threading.Event(), threading.Event()

    def handle(_: Seen, line: Line) -> None:
        if mode == "streaming":
            line.sock.sendall(SSE + chunk(PING))
        begun.set()
        hold.wait(10)
        line.sock.sendall(b"0\r\n\r\n" if mode == "streaming" else reply())

    with upstream(handle) as up, shielded(of_app(up.url), tmp_path) as worker:
        client = Client(worker.port)
        client.send("POST", RUN, [AUTH, JSON], body(response_mode=mode))
        assert begun.wait(5)
        time.sleep(0.1)
        client.sock.close()
        eventually(lambda: worker.metrics()['calls_left{upstream="dify"}'] == 1)
        assert worker.metrics()['calls_in_flight{upstream="dify"}'] == 1
        hold.set()
        eventually(lambda: worker.metrics()['calls_in_flight{upstream="dify"}'] == 0)


def test_a_call_that_dify_never_ends_loses_its_place_in_the_end(tmp_path: Path) -> None:
    hold = threading.Event()
    with (
        upstream(stream(FINISHED, hold=hold)) as up,
        shielded(of_app(up.url), tmp_path, upstream_calls=1, hang_seconds=0.3) as worker,
    ):
        for _ in range(3):
            assert worker.ask(RUN, body()).body == FINISHED
        hold.set()


def test_the_breaker_opens_on_a_dead_server_and_closes_by_one_probe(tmp_path: Path) -> None:
    dead = of_app(f"http://127.0.0.1:{refused_port()}")
    with shielded(dead, tmp_path, breaker_failures=3, breaker_seconds=0.4) as worker:
        assert [worker.ask(RUN, body()).status for _ in range(3)] == [502] * 3
        answer = worker.ask(RUN, body())
        assert (answer.status, answer.json()["code"], answer.one("retry-after")) == (503, "service_unavailable", "1")
        counted = worker.metrics()
        assert counted['breaker_state{upstream="dify"}'] == 2
        assert counted['breaker_opened_total{upstream="dify"}'] == 1
        assert counted['refused_total{upstream="dify",reason="breaker-open"}'] == 1
        time.sleep(0.45)
        assert worker.metrics()['breaker_state{upstream="dify"}'] == 1
        assert worker.ask(RUN, body()).status == 502  # the probe
        assert worker.ask(RUN, body()).status == 503
        assert worker.metrics()['calls_in_flight{upstream="dify"}'] == 0


def test_an_answering_server_never_opens_the_breaker_by_its_refusals(tmp_path: Path) -> None:
    refusals = reply(500, b'{"code":"internal_server_error","message":"m","status":500}')
    with upstream(refusals) as up, shielded(of_app(up.url), tmp_path, breaker_failures=2) as worker:
        assert [worker.ask(RUN, body()).status for _ in range(5)] == [500] * 5


def test_a_slow_reader_is_not_taken_for_an_idle_stream(tmp_path: Path) -> None:
    big = event("text_chunk", text="x" * 2**20)
    with (
        upstream(stream(*([big] * 16), FINISHED)) as up,
        shielded(of_app(up.url), tmp_path, stream_idle_seconds=0.3) as worker,
        Client(worker.port) as client,
    ):
        client.send("POST", RUN, [AUTH, JSON], body())
        time.sleep(1.0)
        assert client.answer("POST").body == big * 16 + FINISHED


def test_an_upstream_that_closes_in_the_middle_of_an_event_leaves_the_stream_incomplete(tmp_path: Path) -> None:
    def handle(_: Seen, line: Line) -> None:
        line.sock.sendall(SSE + chunk(event("node_started")) + chunk(b'data: {"event":"workf'))
        raise OSError

    with upstream(handle) as up, shielded(of_app(up.url), tmp_path) as worker:
        answer = worker.ask(RUN, body())
        assert (answer.status, answer.whole) == (200, False)
        assert worker.metrics()['calls_in_flight{upstream="dify"}'] == 0


def missing(row: str) -> bytes:
    message = f"Workflow not found with id: {row}. You have requested this URI [/v1/chat-messages] …"
    return reply(404, json.dumps({"code": "not_found", "message": message, "status": 404}).encode(), [JSON])


def test_a_version_that_was_deleted_in_dify_is_noted_and_said(tmp_path: Path) -> None:
    with upstream(missing(ROW)) as up, shielded(of_app(up.url), tmp_path) as worker:
        answer = worker.ask(RUN, body())
        assert (answer.status, answer.json()["code"]) == (503, "app_unavailable")
        assert "v-20261123-01 was deleted in Dify" in answer.json()["message"]
        assert worker.memory.told.wait(5)
        assert worker.memory.gone == [ROW]
        other = worker.ask(f"/v1/workflows/{OLD}/run", body())  # one that the client named is its own affair
        assert other.status == 404


class Talking:
    """A Dify with conversations: the row that each message was sent to, in `rows`."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.gone: set[str] = set()

    def __call__(self, seen: Seen, line: Line) -> None:
        sent = json.loads(seen.body)
        row, said = sent["workflow_id"], SAID.replace(b"c-1", (sent["conversation_id"] or "c-1").encode())
        if row in self.gone:
            line.sock.sendall(missing(row))
            return
        self.rows.append(row)
        line.sock.sendall(SSE + chunk(PING) + chunk(said) + b"0\r\n\r\n")


NEW = "v-20261124-01"


def live(url: str, generation: int, version: str, row: str) -> Any:
    return of_app(url, mode="advanced-chat", generation=generation, version_id=version, placement_id=row)


def versions() -> Memory:
    return Memory({OLD: Placed("v-20261123-01", (), False), ROW: Placed(NEW, (), False)})


def ask(worker: Any, conversation: str, **more: Any) -> Seen:
    answer: Seen = worker.ask(CHAT, body(query="q", conversation_id=conversation, **more))
    assert answer.status == 200, answer.body
    return answer


def test_a_conversation_stays_on_its_version_across_restarts_until_a_rollback_leaves_it(tmp_path: Path) -> None:
    talking = Talking()
    with upstream(talking) as up:
        with shielded(live(up.url, 1, "v-20261123-01", OLD), tmp_path, versions()) as worker:
            ask(worker, "", response_mode="blocking")
            worker.routes[KEY] = live(up.url, 2, NEW, ROW)
            held = ask(worker, "c-1")
            assert held.one("x-lastgood-version") == "v-20261123-01"
        with shielded(live(up.url, 2, NEW, ROW), tmp_path, versions()) as worker:
            assert ask(worker, "c-1", response_mode="blocking").one("x-lastgood-version") == "v-20261123-01"
            assert ask(worker, "another").one("x-lastgood-version") == NEW
            assert talking.rows == [OLD, OLD, OLD, ROW]
            # Rolled back from the old version: whoever is on it moves, and stays where it went.
            worker.memory.backs.append(("v-20261123-01", 3))
            worker.routes[KEY] = live(up.url, 3, NEW, ROW)
            moved = ask(worker, "c-1")
            assert moved.one("x-lastgood-version") == NEW
            assert moved.one("x-lastgood-conversation") == "moved; from=v-20261123-01; reason=rollback"
            assert ask(worker, "c-1").one("x-lastgood-conversation") is None
            assert worker.metrics()['conversations_moved_total{reason="rollback"}'] == 1


@pytest.mark.parametrize("noticed", [True, False])
def test_a_conversation_whose_version_is_gone_goes_on_with_the_one_in_service(tmp_path: Path, noticed: bool) -> None:
    talking, memory = Talking(), versions()
    with (
        upstream(talking) as up,
        shielded(live(up.url, 1, "v-20261123-01", OLD), tmp_path, memory) as worker,
    ):
        ask(worker, "")
        worker.routes[KEY] = live(up.url, 2, NEW, ROW)
        talking.gone.add(OLD)
        if noticed:
            memory.rows[OLD] = memory.rows[OLD]._replace(gone=True)
        answer = ask(worker, "c-1")
        assert answer.one("x-lastgood-version") == NEW
        assert answer.one("x-lastgood-conversation") == "moved; from=v-20261123-01; reason=gone"
        assert talking.rows == [OLD, ROW]
        if noticed:
            assert memory.gone == []
        else:
            assert memory.told.wait(5)


def test_conversations_move_at_the_next_message_where_that_is_set(tmp_path: Path) -> None:
    talking = Talking()
    with (
        upstream(talking) as up,
        shielded(live(up.url, 1, "v-20261123-01", OLD), tmp_path, versions(), conversations="move") as worker,
    ):
        ask(worker, "")
        worker.routes[KEY] = live(up.url, 2, NEW, ROW)
        assert ask(worker, "c-1").one("x-lastgood-version") == NEW


def test_metrics_are_for_this_machine(tmp_path: Path) -> None:
    with shielded(of_app("http://127.0.0.1:1"), tmp_path) as worker, Client(worker.port) as client:
        answer = client.ask("GET", "/metrics")
        assert (answer.status, answer.one("content-type")) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert client.ask("GET", "/metrics", [("X-Forwarded-For", "10.1.1.1")]).status == 404
