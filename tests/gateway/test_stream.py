"""Streams: told at once, ended when the client leaves, broken off when the upstream breaks off."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

import pytest

from .conftest import AUTH, JSON, Worker, route
from .wire import SSE, Client, Line, Seen, chunk, upstream

Start = Callable[..., Worker]
RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER: on, 0 s


def test_each_event_reaches_the_client_before_the_next_is_made(start: Start) -> None:
    turn = threading.Semaphore(0)

    def handle(_: Seen, line: Line) -> None:
        line.sock.sendall(SSE)
        for n in range(20):
            assert turn.acquire(timeout=5)
            line.sock.sendall(chunk(b"data: %d\n\n" % n))
        line.sock.sendall(b"0\r\n\r\n")

    with upstream(handle) as up, Client(start(route(up.url)).port) as client:
        client.send("POST", "/v1/workflows/run", [AUTH, JSON], b'{"response_mode": "streaming"}')
        head = client.line.until(b"\r\n\r\n")  # the head comes before any event
        assert head is not None
        assert b"text/event-stream" in head
        for n in range(20):
            turn.release()
            assert client.line.until(b"data: %d\n\n" % n) is not None
        assert client.line.until(b"0\r\n\r\n") is not None
        with contextlib.suppress(OSError):
            assert client.ask("GET", "/readyz").status == 200  # and the connection can be used again


class Departing:
    """An upstream that answers in its own time and notes when the gateway hangs up on it."""

    def __init__(self, first: bytes) -> None:
        self.first = first
        self.begun = threading.Event()
        self.hung_up = threading.Event()

    def __call__(self, _: Seen, line: Line) -> None:
        if self.first:
            line.sock.sendall(self.first)
        self.begun.set()
        line.sock.settimeout(5)
        try:
            if line.sock.recv(1) == b"":
                self.hung_up.set()
        except ConnectionResetError:
            self.hung_up.set()
        raise OSError


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("first", [b"", SSE, SSE + chunk(b"data: 1\n\n")])
@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/v1/workflows/run", b"{}"),
        ("POST", "/v1/chat-messages", b"{}"),
        ("GET", "/v1/messages", None),
        ("POST", "/v1/files/upload", b"x" * 200_000),
    ],
)
def test_a_departed_client_ends_the_upstreams_request(
    start: Start, method: str, target: str, body: bytes | None, first: bytes, reset: bool
) -> None:
    watched = Departing(first)
    with upstream(watched) as up:
        client = Client(start(route(up.url)).port)
        client.send(method, target, [AUTH, JSON], body)
        assert watched.begun.wait(5)
        time.sleep(0.05)
        if reset:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.sock.close()
        assert watched.hung_up.wait(1)


def test_a_client_that_leaves_in_the_middle_of_its_upload_never_completes_it(start: Start) -> None:
    with upstream() as up:
        worker = start(route(up.url))
        client = Client(worker.port)
        head = (
            f"POST /v1/files/upload HTTP/1.1\r\nHost: h\r\nAuthorization: {AUTH[1]}\r\nContent-Length: 100000\r\n\r\n"
        )
        client.sock.sendall(head.encode() + b"x" * 50_000)
        time.sleep(0.1)
        client.sock.close()
        assert up.closed.wait(2)
        assert [seen.whole for seen in up.seen] == [False]
        assert worker.ask("GET", "/v1/info").status == 200


def test_a_client_that_leaves_in_the_middle_of_its_run_starts_none(start: Start) -> None:
    with upstream() as up:
        worker = start(route(up.url))
        client = Client(worker.port)
        head = (
            f"POST /v1/workflows/run HTTP/1.1\r\nHost: h\r\nAuthorization: {AUTH[1]}\r\nContent-Length: 100\r\n\r\n"
        )
        client.sock.sendall(head.encode() + b"{}")
        time.sleep(0.05)
        client.sock.close()
        time.sleep(0.1)
        assert up.seen == []


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "begun", [SSE + chunk(b"data: 1\n\n"), SSE + b"ff\r\nhalf a chunk", LENGTH + b"half", SSE, LENGTH]
)
def test_an_upstream_that_dies_in_mid_stream_ends_the_clients_stream_abruptly(
    start: Start, begun: bytes, reset: bool
) -> None:
    def handle(_: Seen, line: Line) -> None:
        line.sock.sendall(begun)
        time.sleep(0.1)
        if reset:
            line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        raise OSError

    with upstream(handle) as up:
        answer = start(route(up.url)).ask("POST", "/v1/workflows/run", [JSON], b"{}")
    assert answer.status == 200
    assert not answer.whole
    assert answer.body in (b"data: 1\n\n", b"half a chunk", b"half", b"")


def test_an_upstream_that_falls_silent_in_mid_stream_is_given_up(start: Start) -> None:
    def handle(_: Seen, line: Line) -> None:
        line.sock.sendall(SSE + chunk(b"data: 1\n\n"))
        time.sleep(3)

    with upstream(handle) as up:
        began = time.monotonic()
        answer = start(route(up.url), upstream_timeout=0.4).ask("POST", "/v1/workflows/run", [JSON], b"{}")
        assert time.monotonic() - began < 2.5
    assert (answer.body, answer.whole) == (b"data: 1\n\n", False)


def test_a_stream_may_last_longer_than_the_timeout_between_its_events(start: Start) -> None:
    def handle(_: Seen, line: Line) -> None:
        line.sock.sendall(SSE)
        for _event in range(6):
            time.sleep(0.15)
            line.sock.sendall(chunk(b"event: ping\n\n"))
        line.sock.sendall(b"0\r\n\r\n")

    with upstream(handle) as up:
        answer = start(route(up.url), upstream_timeout=0.5).ask("POST", "/v1/workflows/run", [JSON], b"{}")
    assert (answer.body, answer.whole) == (b"event: ping\n\n" * 6, True)


def test_many_streams_go_on_side_by_side(start: Start) -> None:
    gate = threading.Barrier(21)

    def handle(_: Seen, line: Line) -> None:
        line.sock.sendall(SSE + chunk(b"data: begun\n\n"))
        gate.wait(10)
        line.sock.sendall(chunk(b"data: done\n\n") + b"0\r\n\r\n")

    with upstream(handle) as up, contextlib.ExitStack() as stack:
        port = start(route(up.url)).port
        clients = [stack.enter_context(Client(port)) for _ in range(20)]
        for client in clients:
            client.send("POST", "/v1/workflows/run", [AUTH, JSON], b"{}")
        for client in clients:
            assert client.line.until(b"begun\n\n") is not None
        gate.wait(10)
        for client in clients:
            assert client.line.until(b"done\n\n") is not None


def test_an_answer_that_comes_before_the_upload_ended_reaches_the_client(start: Start) -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        sock, _ = listening.accept()
        sock.recv(1000)
        sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        time.sleep(1)
        sock.close()

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    worker = start(route(f"http://127.0.0.1:{listening.getsockname()[1]}"))
    with Client(worker.port) as client:
        head = f"PUT /v1/files/1 HTTP/1.1\r\nHost: h\r\nAuthorization: {AUTH[1]}\r\nContent-Length: 999999\r\n\r\n"
        client.sock.sendall(head.encode() + b"x" * 1000)
        answer = client.answer("POST")
    assert (answer.status, answer.body) == (413, b"big")
    listening.close()
