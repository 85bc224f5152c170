"""Two parsers, one stream of bytes: nothing a client writes may be read by the upstream as another request."""

import contextlib
import time
from collections.abc import Callable

import pytest

from .conftest import AUTH, KEY, Worker, route
from .wire import Client, chunk, reply, upstream

Start = Callable[..., Worker]
HEAD = f"POST /v1/files/upload HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {KEY}\r\n"
HIDDEN = "GET /console/api/apps HTTP/1.1\r\nHost: h\r\n\r\n"

REFUSED = [
    HEAD + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    HEAD + "Content-Length: 5, 6\r\n\r\nhello!",
    HEAD + "Content-Length: +5\r\n\r\nhello",
    HEAD + "Content-Length: -5\r\n\r\nhello",
    HEAD + "Content-Length: 0x5\r\n\r\nhello",
    HEAD + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    HEAD + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    HEAD + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    HEAD + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    HEAD + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    HEAD + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    HEAD + "Transfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n",
    HEAD + "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    HEAD + "Transfer-Encoding: chunked\r\n\r\n-1\r\nhello\r\n0\r\n\r\n",
    HEAD + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    HEAD + "X: a\r\n Transfer-Encoding: chunked\r\n\r\n",
    HEAD + "X: a\x00b\r\n\r\n",
    HEAD + "X: a\rTransfer-Encoding: chunked\r\n\r\n",
    HEAD + "X y: a\r\n\r\n",
    f"GET /v1/in fo HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {KEY}\r\n\r\n",
    f"GET /v1/info HTTP/1.1 x\r\nHost: h\r\nAuthorization: Bearer {KEY}\r\n\r\n",
    f"GET /v1/info HTTP/9.9\r\nHost: h\r\nAuthorization: Bearer {KEY}\r\n\r\n",
    f"GET /v1/caf\u00e9 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {KEY}\r\n\r\n",
    f"GET /v1/info HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {KEY}\r\nX: {'x' * 70_000}\r\n\r\n",
    f"GET /v1/{'x' * 70_000} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {KEY}\r\n\r\n",
    "\r\n".join(["GET /v1/info HTTP/1.1", *(f"X-{n}: {n}" for n in range(9000)), "", ""]),
]


@pytest.mark.parametrize("request_text", REFUSED, ids=range(len(REFUSED)))
def test_an_ambiguous_request_is_refused_and_nothing_behind_it_is_served(start: Start, request_text: str) -> None:
    with upstream() as up, Client(start(route(up.url)).port) as client:
        client.sock.sendall(request_text.encode("latin-1") + HIDDEN.encode())
        answer = client.line.message(answer_to="POST")
        if answer is not None:  # the connection may also just be closed
            assert answer.status in {400, 408, 501}, answer
        time.sleep(0.05)
        assert [seen.target for seen in up.seen if seen.whole] == []


def test_trailers_of_a_request_are_not_taken_for_headers(start: Start) -> None:
    with upstream() as up, Client(start(route(up.url)).port) as client:
        client.sock.sendall(
            HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"hello") + b"0\r\n"
            b"Authorization: Bearer app-other\r\nX-Late: 1\r\n\r\n"
        )
        assert client.answer("POST").status == 200
        (seen,) = up.seen
    assert seen.body == b"hello"
    assert seen.all("x-late") == []
    assert seen.one("authorization") == AUTH[1]


@pytest.mark.parametrize("upgrade", ["websocket", "h2c", "foo"])
@pytest.mark.parametrize("split", [False, True])
def test_a_body_behind_an_upgrade_is_never_a_request(start: Start, upgrade: str, split: bool) -> None:
    """After an upgrade the parser takes the body for something else, though the head declares one."""
    with upstream() as up:
        worker = start(route(up.url))
        hidden = HIDDEN.replace("/console/api/apps", "/v1/hidden").replace("Host: h", f"Authorization: {AUTH[1]}")
        with Client(worker.port) as client:
            more = f"Connection: Upgrade\r\nUpgrade: {upgrade}\r\nContent-Length: {len(hidden)}\r\n\r\n"
            client.sock.sendall((HEAD + more + ("" if split else hidden)).encode())
            answer = client.answer("POST")
            assert (answer.status, answer.one("connection")) == (400, "close")
            if split:
                with contextlib.suppress(OSError):
                    client.sock.sendall(hidden.encode())
            assert client.line.message(answer_to="GET") is None
        assert up.seen == []


def test_an_upgrade_without_a_body_is_not_passed_on(start: Start) -> None:
    with upstream() as up:
        offer = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")]
        assert start(route(up.url)).ask("GET", "/v1/info", offer).status == 200
        (seen,) = up.seen
    assert seen.all("upgrade") == seen.all("http2-settings") == []


@pytest.mark.parametrize("endless", [b"GET /v1/", b"GET /v1/info HTTP/1.1\r\nX: ", b"GET /v1/info HTTP/1.1\r\n"])
def test_a_head_without_an_end_is_not_kept(start: Start, endless: bytes) -> None:
    with upstream() as up, Client(start(route(up.url)).port) as client:
        client.sock.sendall(endless)
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 64 * 2**20:
                client.sock.sendall(b"x" * 2**16)
                sent += 2**16
        assert sent < 16 * 2**20  # it hung up
        assert up.seen == []


def test_pipelined_requests_are_answered_in_their_order(start: Start) -> None:
    def handle(seen, line):  # type: ignore[no-untyped-def]
        time.sleep(0.1 if seen.target.endswith("0") else 0)
        line.sock.sendall(reply(200, seen.target.encode()))

    with upstream(handle) as up, Client(start(route(up.url)).port) as client:
        for n in range(5):
            client.send("GET", f"/v1/{n}", [AUTH])
        assert [client.answer().body for _ in range(5)] == [b"/v1/%d" % n for n in range(5)]


def test_bytes_after_an_answer_never_become_the_next_one(start: Start) -> None:
    with upstream(reply(200, b"first") + reply(200, b"forged")) as up:
        worker = start(route(up.url))
        for _ in range(4):
            got = worker.ask("GET", "/v1/info")
            assert got.body == b"first" or got.status == 502
            time.sleep(0.02)


def test_an_answers_fields_cannot_begin_another_answer(start: Start) -> None:
    forged = b"HTTP/1.1 200 OK\r\nX-A: 1\rX-B: 2\r\nContent-Length: 2\r\n\r\nok"
    with upstream(forged) as up:
        got = start(route(up.url)).ask("GET", "/v1/info")
    assert got.all("x-b") == []


def test_a_query_with_raw_bytes_is_escaped(start: Start) -> None:
    with upstream() as up, Client(start(route(up.url)).port) as client:
        client.sock.sendall(
            f"GET /v1/info?a=caf\u00e9&b=%20 HTTP/1.1\r\nHost: h\r\nAuthorization: {AUTH[1]}\r\n\r\n".encode()
        )
        answer = client.answer()
        if answer.status == 200:
            assert [seen.target for seen in up.seen] == ["/v1/info?a=caf%C3%A9&b=%20"]
        else:
            assert (answer.status, up.seen) == (400, [])


def test_an_absolute_target_reaches_only_the_upstream(start: Start) -> None:
    with upstream() as up, upstream() as other, Client(start(route(up.url)).port) as client:
        assert client.ask("GET", f"{other.url}/v1/info", [AUTH]).status == 200
        assert other.seen == []
        assert up.seen[0].one("host") == f"127.0.0.1:{up.port}"
