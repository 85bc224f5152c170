"""What passes through the gateway, and what it changes on the way."""

import gzip
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import AUTH, JSON, KEY, Worker, route
from .wire import SSE, Client, Fields, Line, Seen, chunk, reply, upstream

Start = Callable[..., Worker]


def test_a_run_is_pinned_to_the_version_and_says_so(start: Start) -> None:
    with upstream(reply(200, b'{"data": 1}')) as up:
        answer = start(route(up.url, placement_id="11-22")).ask(
            "POST", "/v1/workflows/run?a=1&a=2", [JSON], b'{"x": 1}'
        )
        (seen,) = up.seen
    assert (answer.status, answer.body) == (200, b'{"data": 1}')
    assert answer.one("x-lastgood-version") == "v-20261123-01"
    assert answer.one("x-lastgood-generation") == "7"
    assert seen.first[:2] == ["POST", "/v1/workflows/11-22/run?a=1&a=2"]
    assert seen.body == b'{"x": 1}'
    assert seen.one("authorization") == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "path",
    ["/v1/workflows/run", "/v1/workflows/run/", "/v1/workflows/%72un", "/v1/%77orkflows/run", "/%761/workflows/run"],
)
def test_no_spelling_of_the_run_path_escapes_the_pin(start: Start, path: str) -> None:
    with upstream() as up:
        start(route(up.url)).ask("POST", path, [JSON], b"{}")
        assert [seen.target for seen in up.seen] == ["/v1/workflows/v-20261123-01/run"]


@pytest.mark.parametrize(
    "path", ["/v1/chat-messages", "/v1/chat-messages/", "/v1/chat%2Dmessages", "/v1/%63hat-messages"]
)
def test_a_chat_message_is_pinned_in_its_body(start: Start, path: str) -> None:
    with upstream() as up:
        answer = start(route(up.url)).ask(
            "POST", path, [JSON], b'{"query": "q", "big": 123456789012345678901234567890}'
        )
        (seen,) = up.seen
    assert answer.one("x-lastgood-version") == "v-20261123-01"
    assert seen.body == b'{"workflow_id":"v-20261123-01","query": "q", "big": 123456789012345678901234567890}'


def test_a_client_that_pins_its_own_version_is_told_that_one(start: Start) -> None:
    with upstream() as up:
        worker = start(route(up.url))
        run = worker.ask("POST", "/v1/workflows/own-1/run", [JSON], b"{}")
        chat = worker.ask("POST", "/v1/chat-messages", [JSON], b'{"workflow_id": "own-2"}')
        assert [seen.target for seen in up.seen] == ["/v1/workflows/own-1/run", "/v1/chat-messages"]
        assert up.seen[1].json() == {"workflow_id": "own-2"}
    assert run.one("x-lastgood-version") == "own-1"
    assert chat.one("x-lastgood-version") == "own-2"


def test_the_own_id_that_is_the_placement_is_shown_as_the_version(start: Start) -> None:
    with upstream() as up:
        worker = start(route(up.url, placement_id="11-22"))
        assert (
            worker.ask("POST", "/v1/workflows/11-22/run", [JSON], b"{}").one("x-lastgood-version") == "v-20261123-01"
        )


PASSED: list[tuple[str, str, Fields, bytes | None]] = [
    ("GET", "/v1/info", [], None),
    ("GET", "/v1/info?", [], None),
    ("GET", "/v1/workflows/logs?page=1&keyword=a%20b&keyword=%C3%A9", [], None),
    ("GET", "/v1/workflows/run/0a1b", [], None),
    ("GET", "/v1/workflows/run", [], None),
    ("POST", "/v1/workflows/tasks/t-1/stop", [JSON], b'{"user": "u"}'),
    ("POST", "/v1/chat-messages/t-1/stop", [JSON], b'{"user": "u"}'),
    ("DELETE", "/v1/conversations/c1", [JSON], b'{"user": "u"}'),
    ("PUT", "/v1/apps/annotations/1", [JSON], b'{"q": 1}'),
    ("PATCH", "/v1/datasets/1", [JSON], b"{}"),
    ("POST", "/v1/files/upload", [("Content-Type", "multipart/form-data; boundary=b")], bytes(range(256)) * 300),
    ("POST", "/v1/audio-to-text", [("Content-Encoding", "gzip")], gzip.compress(b"sound" * 9, mtime=0)),
    ("POST", "/v1/empty", [], b""),
    ("GET", "/v1/%E4%BD%A0/a%20b;c=d,e", [], None),
]


@pytest.mark.parametrize(("method", "target", "fields", "body"), PASSED)
def test_everything_else_passes_unchanged(
    start: Start, method: str, target: str, fields: Fields, body: bytes | None
) -> None:
    with upstream(reply(201, bytes(range(256)))) as up:
        answer = start(route(up.url)).ask(method, target, fields, body)
        (seen,) = up.seen
    assert (answer.status, answer.body) == (201, bytes(range(256)))
    assert answer.one("x-lastgood-version") == "v-20261123-01"
    assert seen.first[:2] == [method, target.removesuffix("?")]
    assert seen.body == (body or b"")
    for name, value in fields:
        assert seen.all(name) == [value]
    if body is None:
        assert seen.all("content-length") == seen.all("transfer-encoding") == []
    for name in ("accept", "accept-encoding", "user-agent", "content-type", "cookie"):  # nothing is made up
        assert seen.all(name) == [value for key, value in fields if key.lower() == name]


def test_a_chunked_upload_stays_one(start: Start) -> None:
    with upstream() as up, Client(start(route(up.url)).port) as client:
        head = (
            f"POST /v1/files/upload HTTP/1.1\r\nHost: h\r\n{AUTH[0]}: {AUTH[1]}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        client.sock.sendall(head.encode())
        for part in (b"one", b"two", b"three"):
            time.sleep(0.02)
            client.sock.sendall(chunk(part))
        client.sock.sendall(b"0\r\n\r\n")
        assert client.answer("POST").status == 200
        assert (up.seen[0].body, up.seen[0].whole) == (b"onetwothree", True)
        assert up.seen[0].all("content-length") == []


def test_fields_reach_the_upstream_as_a_proxy_should_send_them(start: Start) -> None:
    sent: Fields = [
        ("X-Trace", "1"),
        ("X-Trace", "2"),
        ("Cookie", "a=b; c=d"),
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "gone"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
        ("Proxy-Authorization", "Basic abc"),
        ("Proxy-Connection", "keep-alive"),
        ("X-Lastgood-Version", "forged"),
        ("x_lastgood_generation", "forged"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Name", "Zo\u00c3\u00ab"),
    ]
    with upstream() as up:
        start(route(up.url)).ask("GET", "/v1/info", sent)
        seen = up.seen[0]
    assert seen.all("x-trace") == ["1", "2"]
    assert seen.one("cookie") == "a=b; c=d"
    for name in ("connection", "x-hop", "keep-alive", "te", "proxy-authorization", "proxy-connection"):
        assert seen.all(name) == [], name
    assert [name for name, _ in seen.fields if "lastgood" in name.lower()] == []
    assert seen.one("host") == f"127.0.0.1:{up.port}"
    assert seen.one("x-forwarded-for") == "203.0.113.7, 127.0.0.1"
    assert seen.one("x-forwarded-host") == "gateway.test"
    assert seen.one("x-forwarded-proto") == "http"
    assert seen.one("x-name") == "Zo\u00c3\u00ab"


def test_fields_of_the_answer_reach_the_client_as_they_were(start: Start) -> None:
    given: Fields = [
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "gone"),
        ("Keep-Alive", "timeout=5"),
        ("Content-Encoding", "gzip"),
        ("X-Lastgood-Version", "forged"),
        ("Date", "Mon, 23 Nov 2026 10:00:00 GMT"),
        ("Server", "gunicorn"),
        ("Location", "http://elsewhere/v1/x"),
    ]
    packed = gzip.compress(b"hello")
    with upstream(reply(302, packed, given)) as up:
        answer = start(route(up.url)).ask("GET", "/v1/info")
        assert len(up.seen) == 1  # redirects are the client's
    assert (answer.status, answer.body) == (302, packed)
    assert answer.all("set-cookie") == ["a=1", "b=2"]
    assert answer.all("x-hop") == answer.all("keep-alive") == []
    assert answer.one("x-lastgood-version") == "v-20261123-01"
    for name in ("Date", "Server", "Location", "Content-Encoding"):
        assert answer.one(name) == dict(given)[name]


def test_head_204_and_304_have_no_body_and_the_connection_goes_on(start: Start) -> None:
    answers = {
        "/v1/head": b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: x\r\n\r\n",
        "/v1/204": b"HTTP/1.1 204 No Content\r\n\r\n",
        "/v1/304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: x\r\n\r\n",
        "/v1/next": reply(200, b"next"),
        "/v1/early": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + reply(200, b"late"),
    }
    with upstream(lambda seen, line: line.sock.sendall(answers[seen.target])) as up:
        with Client(start(route(up.url)).port) as client:
            head = client.ask("HEAD", "/v1/head", [AUTH])
            assert (head.status, head.one("content-length"), head.one("etag")) == (200, "1234", "x")
            assert client.ask("GET", "/v1/204", [AUTH]).status == 204
            kept = client.ask("GET", "/v1/304", [AUTH])
            assert (kept.status, kept.one("etag")) == (304, "x")
            assert client.ask("GET", "/v1/next", [AUTH]).body == b"next"
            assert client.ask("GET", "/v1/early", [AUTH]).body == b"late"
        assert up.connections <= 2  # HEAD and 304 announce a length without a body; the rest share one connection


def test_trailers_of_an_answer_are_dropped(start: Start) -> None:
    with upstream(SSE + chunk(b"data: 1\n\n") + b"0\r\nX-Late: 1\r\n\r\n") as up:
        answer = start(route(up.url)).ask("GET", "/v1/info")
    assert (answer.body, answer.whole, answer.all("x-late")) == (b"data: 1\n\n", True, [])


def test_an_answer_that_ends_with_its_connection_is_whole(start: Start) -> None:
    def handle(_: Seen, line: Line) -> None:
        line.sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it")
        raise OSError

    with upstream(handle) as up:
        answer = start(route(up.url)).ask("GET", "/v1/info")
    assert (answer.body, answer.whole) == (b"all of it", True)


def test_connections_to_the_upstream_are_used_again(start: Start) -> None:
    with upstream() as up:
        worker = start(route(up.url))
        for n in range(20):
            assert worker.ask("POST", "/v1/workflows/run", [JSON], b"{}").status == 200, n
        assert up.connections == 1


def test_several_upstreams_take_turns_and_a_dead_one_is_passed_over(start: Start) -> None:
    with upstream() as one, upstream() as two:
        worker = start(route("http://127.0.0.1:9", target="engine", upstreams=()), engine=(one.url, two.url))
        for _ in range(6):
            worker.ask("POST", "/v1/workflows/run", [JSON], b"{}")
        assert (len(one.seen), len(two.seen)) == (3, 3)
        two.close()
        time.sleep(0.05)
        assert [worker.ask("POST", "/v1/files/upload", [], b"x" * 99).status for _ in range(6)] == [200] * 6
        assert len(one.seen) == 9


def test_a_base_url_may_end_in_v1_or_have_a_prefix(start: Start) -> None:
    with upstream() as up:
        for base in (f"{up.url}/v1", f"{up.url}/v1/", f"{up.url}/dify/"):
            assert start(route(base)).ask("GET", "/v1/info").status == 200
        assert [seen.target for seen in up.seen] == ["/v1/info", "/v1/info", "/dify/v1/info"]


def test_parameters_come_from_the_pinned_version_and_are_read_once(start: Start) -> None:
    with upstream() as up:
        worker = start(route(up.url), fresh=True)
        answers = [worker.ask("GET", "/v1/parameters?user=u") for _ in range(3)]
        assert [answer.json()["opening_statement"] for answer in answers] == ["v-20261123-01"] * 3
        assert worker.ask("HEAD", "/v1/parameters").one("content-length") == answers[0].one("content-length")
        worker.routes[KEY] = route(up.url, version_id="v-20261123-02", generation=8)
        moved = worker.ask("GET", "/v1/parameters")
        assert moved.json()["opening_statement"] == "v-20261123-02"
        assert moved.one("x-lastgood-generation") == "8"
        assert worker.parameters_read == ["v-20261123-01", "v-20261123-02"]
        worker.routes[KEY] = route(up.url, version_id="v-20261123-99")
        assert worker.ask("GET", "/v1/parameters").status == 404
        assert up.seen == []


def _peak(name: str) -> int:
    """Kilobytes of memory this process held at most, or holds now."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_large_files_pass_both_ways_in_little_memory(start: Start) -> None:
    size, piece = 96 * 2**20, os.urandom(2**20)
    wanted = hashlib.sha256(piece * 96).hexdigest()
    received: list[str] = []

    def handle(_: Seen, line: Line) -> None:
        line.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _piece in range(96):
            line.sock.sendall(piece)
            time.sleep(0)

    with upstream(handle) as up, Client(start(route(up.url)).port) as client:
        client.send("GET", "/v1/files/1/preview", [AUTH])
        head = client.line.until(b"\r\n\r\n")
        assert head is not None
        time.sleep(0.3)  # a slow reader: the gateway must not read ahead of it
        before = _peak("VmRSS")
        digest, left = hashlib.sha256(client.line.held), size - len(client.line.held)
        while left:
            part = client.sock.recv(2**20)
            digest.update(part)
            left -= len(part)
        received.append(digest.hexdigest())
        assert _peak("VmRSS") - before < 24_000
    assert received == [wanted]

    counted: list[tuple[int, str]] = []

    def sink(sock_line: Line) -> None:
        head = sock_line.until(b"\r\n\r\n")
        assert head is not None
        digest, count = hashlib.sha256(sock_line.held), len(sock_line.held)
        while count < size:
            part = sock_line.sock.recv(2**16)
            digest.update(part)
            count += len(part)
        counted.append((count, digest.hexdigest()))
        sock_line.sock.sendall(reply())

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=lambda: sink(Line(listening.accept()[0])))
        thread.start()
        with Client(start(route(f"http://127.0.0.1:{port}")).port) as client:
            before = _peak("VmRSS")
            head_lines = f"POST /v1/files/upload HTTP/1.1\r\nHost: h\r\nAuthorization: {AUTH[1]}\r\n"
            client.sock.sendall(f"{head_lines}Content-Length: {size}\r\n\r\n".encode())
            for _ in range(96):
                client.sock.sendall(piece)
            assert client.answer("POST").status == 200
            assert _peak("VmRSS") - before < 24_000
        thread.join(5)
    assert counted == [(size, wanted)]


def test_a_request_finishes_on_the_version_it_began_with(start: Start) -> None:
    go = threading.Event()

    def handle(_: Seen, line: Line) -> None:
        line.sock.sendall(SSE + chunk(b"data: 1\n\n"))
        go.wait(5)
        line.sock.sendall(chunk(b"data: 2\n\n") + b"0\r\n\r\n")

    with upstream(handle) as up:
        worker = start(route(up.url))
        with Client(worker.port) as client:
            client.send("POST", "/v1/workflows/run", [AUTH, JSON], b"{}")
            assert client.line.until(b"data: 1\n\n") is not None
            worker.routes[KEY] = route(up.url, version_id="v-20261123-02", placement_id="v-20261123-02", generation=8)
            go.set()
            assert client.line.until(b"0\r\n\r\n") is not None
        assert worker.ask("POST", "/v1/workflows/run", [JSON], b"{}").one("x-lastgood-version") == "v-20261123-02"
        assert [s.target.split("/")[3] for s in up.seen] == ["v-20261123-01", "v-20261123-02"]


def test_the_version_is_decided_when_the_head_arrives(start: Start) -> None:
    with upstream() as up:
        worker = start(route(up.url))
        with Client(worker.port) as client:
            body = json.dumps({"inputs": {}}).encode()
            head = f"POST /v1/workflows/run HTTP/1.1\r\nHost: h\r\nAuthorization: {AUTH[1]}\r\n"
            client.sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:3])
            time.sleep(0.1)
            worker.routes[KEY] = route(up.url, version_id="v-20261123-02", placement_id="v-20261123-02", generation=8)
            client.sock.sendall(body[3:])
            assert client.answer("POST").one("x-lastgood-version") == "v-20261123-01"
        assert up.seen[0].target == "/v1/workflows/v-20261123-01/run"


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "times"),
    [
        ("GET", "/v1/info", None, 200, 3),
        ("DELETE", "/v1/conversations/c1", b"{}", 200, 3),
        ("POST", "/v1/workflows/run", b"{}", 502, 2),
        ("POST", "/v1/chat-messages/t/stop", b"{}", 502, 2),
    ],
)
def test_only_what_may_run_twice_is_sent_again_when_a_kept_connection_was_closing(
    start: Start, method: str, target: str, body: bytes | None, status: int, times: int
) -> None:
    """The upstream closes a connection it kept, just as the next request arrives on it."""
    served: set[int] = set()

    def handle(_: Seen, line: Line) -> None:
        if id(line) in served:
            raise OSError
        served.add(id(line))
        line.sock.sendall(reply())

    with upstream(handle) as up:
        worker = start(route(up.url))
        assert worker.ask("GET", "/v1/first").status == 200
        assert worker.ask(method, target, [JSON], body).status == status
        assert len(up.seen) == times


def test_an_answer_that_is_cut_off_before_its_head_is_not_asked_for_again(start: Start) -> None:
    def handle(seen: Seen, line: Line) -> None:
        if seen.target.endswith("first"):
            line.sock.sendall(reply())
        else:
            line.sock.sendall(b"HTTP/1.1 200 O")
            raise OSError

    with upstream(handle) as up:
        worker = start(route(up.url))
        assert worker.ask("GET", "/v1/first").status == 200
        assert worker.ask("GET", "/v1/second").status == 502
        assert len(up.seen) == 2


def test_a_connection_idle_for_longer_than_upstreams_keep_it_is_not_used(start: Start) -> None:
    with upstream() as up:
        worker = start(route(up.url))
        assert worker.ask("POST", "/v1/workflows/run", [JSON], b"{}").status == 200
        assert not up.closed.is_set()
        assert up.closed.wait(4)  # the gateway closes it by itself
        assert worker.ask("POST", "/v1/workflows/run", [JSON], b"{}").status == 200
        assert up.connections == 2
