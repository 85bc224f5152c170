"""Every way a request can fail before an upstream's answer, and what the client is told."""

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lastgood.errors import LiveVersionUnknown
from lastgood.gateway.router import MemoryRouter
from lastgood.history.routes import Route

from .conftest import AUTH, JSON, KEY, Worker, route
from .wire import Client, Fields, Line, Seen, refused_port, reply, upstream

Start = Callable[..., Worker]


def is_problem(answer: Seen, status: int, code: str) -> None:
    """A problem document that a client of Dify reads as well."""
    document = answer.json()
    assert (answer.status, answer.one("content-type")) == (status, "application/problem+json")
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"].startswith("urn:lastgood:problem:")
    assert document["detail"] == document["message"] != ""


UNAUTHORIZED: list[tuple[str, Fields, str]] = [
    ("/v1/info", [], "no Authorization"),
    ("/v1/info", [("Authorization", f"Basic {KEY}")], "scheme Bearer"),
    ("/v1/info", [("Authorization", KEY)], "scheme Bearer"),
    ("/v1/info", [("Authorization", "Bearer")], "no app key"),
    ("/v1/info", [("Authorization", "Bearer ")], "no app key"),
    ("/v1/info", [("Authorization", f"Bearer {KEY} x")], "no app key"),
    ("/v1/info", [("Authorization", "Bearer app-unknown")], "unknown or revoked"),
    ("/v1/info", [("Authorization", f"Bearer {KEY[:-1]}")], "unknown or revoked"),
    ("/v1/info", [("Authorization", "Bearer " + "x" * 300)], "no app key"),
    ("/v1/info", [AUTH, AUTH], "no app key"),
    ("/v1/info", [AUTH, ("authorization", "Bearer app-other")], "no app key"),
    (f"/v1/info?api_key={KEY}", [], "URL is not accepted"),
    (f"/v1/info?Authorization=Bearer%20{KEY}", [], "URL is not accepted"),
    ("/v1/info", [("X-Api-Key", KEY)], "no Authorization"),
    ("/v1/info", [("Cookie", f"key={KEY}")], "no Authorization"),
]


@pytest.mark.parametrize(("target", "fields", "reason"), UNAUTHORIZED)
def test_without_a_known_key_in_the_right_place_nothing_is_forwarded(
    start: Start, target: str, fields: Fields, reason: str
) -> None:
    with upstream() as up, Client(start(route(up.url)).port) as client:
        answer = client.ask("GET", target, fields)
        assert up.seen == []
    assert answer.status == 401
    assert answer.one("content-type") == "application/json"
    assert answer.one("www-authenticate") == 'Bearer realm="lastgood"'
    assert set(answer.json()) == {"code", "message", "status"}
    assert (answer.json()["code"], answer.json()["status"]) == ("unauthorized", 401)
    assert reason in answer.json()["message"]
    assert KEY not in answer.body.decode()
    assert answer.all("x-lastgood-version") == []


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_the_scheme_is_read_without_regard_to_case(start: Start, scheme: str) -> None:
    with upstream() as up, Client(start(route(up.url)).port) as client:
        assert client.ask("GET", "/v1/info", [("Authorization", f"{scheme} {KEY}")]).status == 200
        assert up.seen[0].one("authorization") == f"Bearer {KEY}"


@pytest.mark.parametrize("target", ["/v1/workflows/run", "/v1/chat-messages", "/v1/parameters", "/v1/info"])
def test_a_channel_that_points_nowhere_says_what_to_do(start: Start, target: str) -> None:
    with upstream() as up:
        answer = start(route(up.url, version_id=None, placement_id=None, generation=0)).ask(
            "POST", target, [JSON], b"{}"
        )
        assert up.seen == []
    is_problem(answer, 400, "app_unavailable")
    assert "lastgood publish prod-invoice" in answer.json()["message"]
    assert answer.one("x-lastgood-generation") == "0"
    assert answer.all("x-lastgood-version") == []


def test_a_version_that_the_target_does_not_have_is_unavailable(start: Start) -> None:
    with upstream() as up:
        answer = start(route(up.url, placement_id=None)).ask("POST", "/v1/workflows/run", [JSON], b"{}")
        assert up.seen == []
    is_problem(answer, 503, "unavailable")
    assert "v-20261123-01" in answer.json()["detail"]


OUTSIDE = ["/", "/v2/info", "/console/api/apps", "/V1/info", "/v1", "/ui/", "/v1x/info", "//v1/info"]


@pytest.mark.parametrize("target", OUTSIDE)
def test_paths_outside_v1_are_not_forwarded(start: Start, target: str) -> None:
    with upstream() as up:
        is_problem(start(route(up.url)).ask("GET", target), 404, "not_found")
        assert up.seen == []


TRICKS = [
    "/v1/../console/api/apps",
    "/v1/./info",
    "/v1/..",
    "/v1/a/../../console",
    "/v1/%2e%2e/console/api/apps",
    "/v1/%2E%2e/console",
    "/v1/.%2e/console",
    "/v1/..%2fconsole",
    "/v1/..%2Fconsole",
    "/v1/a%2f..%2f..%2fconsole",
    "/v1/..%5cconsole",
    "/v1/..\\console",
    "/v1/%252e%252e/console",
    "/v1/%252e%252e%252fconsole",
    "/v1/..;/console",
    "/v1/..;a=b/console",
    "/v1/workflows//run",
    "/v1//console/api",
    "/v1/%",
    "/v1/%zz",
    "/v1/a%00b",
    "/v1/a%0d%0aX-Injected:%201",
    "/v1/workflows/a%0d%0ab/run",
    "/v1/workflows/%2e%2e/run",
    "/%761/../console",
]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("target", TRICKS)
def test_no_trick_in_the_path_reaches_another_one(start: Start, method: str, target: str) -> None:
    with upstream() as up:
        answer = start(route(up.url)).ask(method, target)
        assert up.seen == []
    assert answer.status in {400, 404}
    assert answer.all("x-injected") == []


CHAT: list[tuple[Fields, bytes | None, int, str]] = [
    ([], b'{"query": "q"}', 415, "unsupported_media_type"),
    ([("Content-Type", "text/plain")], b'{"query": "q"}', 415, "unsupported_media_type"),
    ([("Content-Type", "application/x-www-form-urlencoded")], b"query=q", 415, "unsupported_media_type"),
    ([JSON, ("Content-Type", "text/plain")], b"{}", 415, "unsupported_media_type"),
    ([JSON], None, 400, "bad_request"),
    ([JSON], b"", 400, "bad_request"),
    ([JSON], b"{", 400, "bad_request"),
    ([JSON], b'{"query": "q"} {"workflow_id": "x"}', 400, "bad_request"),
    ([JSON], b"[]", 400, "bad_request"),
    ([JSON], b'"text"', 400, "bad_request"),
    ([JSON], b"null", 400, "bad_request"),
    ([JSON], b"\xff\xfe{\x00}\x00", 400, "bad_request"),
    ([JSON], b'{"a": NaN}', 400, "bad_request"),
    ([JSON], b"[" * 5000, 400, "bad_request"),
    ([JSON], b'{"workflow_id": 5}', 400, "bad_request"),
    ([JSON], b'{"workflow_id": ["x"]}', 400, "bad_request"),
    ([JSON], b'{"workflow_id": "a\\r\\nX-Injected: 1"}', 400, "bad_request"),
    ([JSON], b'{"workflow_id": "../x"}', 400, "bad_request"),
    ([JSON], b'{"workflow_id": "\xc3\xa9"}', 400, "bad_request"),
]


@pytest.mark.parametrize(("fields", "body", "status", "code"), CHAT)
def test_a_chat_body_that_cannot_be_pinned_is_refused_as_dify_does(
    start: Start, fields: Fields, body: bytes | None, status: int, code: str
) -> None:
    with upstream() as up:
        answer = start(route(up.url)).ask("POST", "/v1/chat-messages", fields, body)
        assert up.seen == []
    assert (answer.status, answer.json()["code"], answer.json()["status"]) == (status, code, status)
    assert set(answer.json()) == {"code", "message", "status"}
    assert answer.one("x-lastgood-generation") == "7"


@pytest.mark.parametrize("target", ["/v1/workflows/run", "/v1/chat-messages", "/v1/workflows/own/run"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_run_body_over_the_limit_is_refused(start: Start, target: str, chunked: bool) -> None:
    with upstream() as up, Client(start(route(up.url), max_body_bytes=1000).port) as client:
        if chunked:
            head = (
                f"POST {target} HTTP/1.1\r\nHost: h\r\nAuthorization: {AUTH[1]}\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            client.sock.sendall(head.encode())
            for _ in range(3):
                client.sock.sendall(b"190\r\n" + b" " * 400 + b"\r\n")
                time.sleep(0.02)
            client.sock.sendall(b"0\r\n\r\n")
        else:
            client.send("POST", target, [AUTH, JSON], b" " * 1001)
        is_problem(client.answer("POST"), 413, "request_too_large")
        assert client.ask("GET", "/v1/info", [AUTH]).status == 200  # the connection is still in step
        assert [seen.target for seen in up.seen] == ["/v1/info"]


def test_a_run_body_of_just_the_limit_passes(start: Start) -> None:
    with upstream() as up:
        worker = start(route(up.url), max_body_bytes=3_000_000)
        body = b'{"a": "' + b"x" * (3_000_000 - 9) + b'"}'
        assert worker.ask("POST", "/v1/workflows/run", [JSON], body).status == 200
        assert up.seen[0].body == body
        assert worker.ask("POST", "/v1/files/upload", [JSON], body + b"and more").status == 200


@pytest.mark.parametrize("target", ["/v1/workflows/run", "/v1/chat-messages", "/v1/files/upload"])
def test_a_body_that_stalls_times_out(start: Start, target: str) -> None:
    with upstream() as up, Client(start(route(up.url), body_timeout=0.3).port) as client:
        head = f"POST {target} HTTP/1.1\r\nHost: h\r\nAuthorization: {AUTH[1]}\r\nContent-Length: 100\r\n\r\n"
        client.sock.sendall(head.encode() + b"half of it")
        began = time.monotonic()
        is_problem(client.answer("POST"), 408, "request_timeout")
        assert 0.2 < time.monotonic() - began < 3
        assert [seen for seen in up.seen if seen.whole] == []


def test_a_body_that_trickles_times_out_as_a_whole(start: Start) -> None:
    with upstream() as up, Client(start(route(up.url), body_timeout=0.4).port) as client:
        head = (
            f"POST /v1/workflows/run HTTP/1.1\r\nHost: h\r\nAuthorization: {AUTH[1]}\r\nContent-Length: 100\r\n\r\n"
        )
        client.sock.sendall(head.encode())
        for _ in range(20):
            client.sock.sendall(b" ")
            if select.select([client.sock], [], [], 0.1)[0]:
                break
        assert client.answer("POST").status == 408
        assert up.seen == []


def _hang(_: Seen, __: Line) -> None:
    time.sleep(3)


def _drop(_: Seen, line: Line) -> None:
    raise OSError


def _reset(_: Seen, line: Line) -> None:
    line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    raise OSError


BROKEN: list[tuple[Callable[[Seen, Line], None] | bytes, int, str]] = [
    (_hang, 504, "upstream_timeout"),
    (_drop, 502, "upstream_unreachable"),
    (_reset, 502, "upstream_unreachable"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", 502, "upstream_unreachable"),
    (b"HTTP/1.1 200 OK\r\nbroken header\r\n\r\n", 502, "upstream_unreachable"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n", 502, "upstream_unreachable"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 502, "upstream_unreachable"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", 502, "upstream_unreachable"),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 502, "upstream_unreachable"),
    (b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n", 502, "upstream_unreachable"),
]


@pytest.mark.parametrize(("answer", "status", "code"), BROKEN)
def test_an_upstream_that_gives_no_answer_is_a_problem_and_never_a_hang(
    start: Start, answer: Callable[[Seen, Line], None] | bytes, status: int, code: str
) -> None:
    with upstream(answer) as up:
        began = time.monotonic()
        got = start(route(up.url), upstream_timeout=0.5).ask("POST", "/v1/workflows/run", [JSON], b"{}")
        assert time.monotonic() - began < 3
        assert len(up.seen) == 1  # a run is never sent twice
    is_problem(got, status, code)
    assert got.json()["upstream"] == "dify"
    assert str(up.port) not in got.body.decode()
    assert got.one("x-lastgood-version") == "v-20261123-01"


def test_a_refused_connection_is_a_problem(start: Start) -> None:
    got = start(route(f"http://127.0.0.1:{refused_port()}")).ask("POST", "/v1/workflows/run", [JSON], b"{}")
    is_problem(got, 502, "upstream_unreachable")
    assert "connection refused" in got.json()["detail"]


def test_an_unknown_host_is_a_problem(start: Start) -> None:
    is_problem(start(route("http://nowhere.invalid")).ask("GET", "/v1/info"), 502, "upstream_unreachable")


def test_an_engine_without_a_process_is_a_problem(start: Start) -> None:
    is_problem(start(route(target="engine")).ask("GET", "/v1/info"), 502, "upstream_unreachable")


@contextmanager
def _full() -> Iterator[int]:
    """A port whose backlog is full: connections to it hang."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port
        for filler in fillers:
            filler.close()


def test_a_connection_that_hangs_times_out_and_the_next_upstream_is_tried(start: Start) -> None:
    with _full() as port, upstream() as up:
        alone = start(route(f"http://127.0.0.1:{port}"), connect_timeout=0.3)
        is_problem(alone.ask("POST", "/v1/workflows/run", [JSON], b"{}"), 504, "upstream_timeout")
        both = start(route(f"http://127.0.0.1:{port}", up.url), connect_timeout=0.3)
        assert [both.ask("POST", "/v1/workflows/run", [JSON], b"{}").status for _ in range(2)] == [200, 200]


def test_the_error_of_an_upstream_passes_as_it_is(start: Start) -> None:
    body = b'{"code": "invalid_param", "message": "city is required", "status": 400}'
    with upstream(reply(400, body, [("Content-Type", "application/json")], "BAD REQUEST")) as up:
        got = start(route(up.url)).ask("POST", "/v1/workflows/run", [JSON], b"{}")
    assert (got.status, got.body, got.one("content-type")) == (400, body, "application/json")


def test_own_paths(start: Start) -> None:
    worker = start(None)
    with Client(worker.port) as client:
        assert client.ask("GET", "/healthz").json()["status"] == "ok"
        ready = client.ask("GET", "/readyz")
    assert (ready.status, ready.json()["ready"]) == (200, True)


def test_a_worker_that_does_not_know_the_live_version_answers_nothing(start: Start) -> None:
    class Lost(MemoryRouter):
        def route(self, key: str) -> Route | None:
            raise LiveVersionUnknown(reason="its lease on the store has ended")

        def state(self) -> dict[str, object]:
            return {"ready": False}

    with upstream() as up:
        worker = start(route(up.url), router=Lost())
        got = worker.ask("POST", "/v1/workflows/run", [JSON], b"{}")
        is_problem(got, 503, "live_version_unknown")
        assert worker.ask("GET", "/readyz").status == 503
        assert worker.ask("GET", "/healthz").status == 200
        assert up.seen == []
