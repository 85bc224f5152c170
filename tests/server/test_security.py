"""What strangers try at the doors: secrets in addresses, bodies without end, names that steer a log or a header."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import select
from starlette.types import Receive, Scope, Send

from lastgood.access import tokens
from lastgood.cli import output
from lastgood.db import tables
from lastgood.db.store import Store
from lastgood.errors import StoreUnreachable
from lastgood.server import doorstep, protocol
from lastgood.server.app import make_app
from lastgood.server.children import listen
from lastgood.server.doorstep import STRANGERS_BYTES
from lastgood.server.protocol import ApiProtocol
from support.stores import on_sqlite

from .conftest import Api, Client
from .test_doors import audited, is_problem

pytestmark = on_sqlite


@pytest.mark.parametrize("name", ["token", "access_token", "api_key", "TOKEN", "anything"])
def test_a_token_in_an_address_is_refused_and_not_repeated(
    api: Api, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for value in (api.token, api.token + "&limit=1"):
        for path in ("/v1/workflows", "/healthz", "/v1/nothing", "/v1/session/oidc/callback"):
            for method in ("GET", "POST"):
                answer = api.client.request(method, f"{path}?{name}={value}")
                told = is_problem(answer, 400)
                assert told["type"].endswith("token-in-address")
                assert api.token not in answer.text + str(answer.headers)
    out, err = capfd.readouterr()
    assert api.token not in out + err and api.token not in str(audited(api.store))


async def endless(parts: int, size: int = 2**16) -> AsyncIterator[bytes]:
    yield b'{"document": "'
    for _ in range(parts):
        yield b"x" * size


class Counting:
    """How much of a body was asked for."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self.body, self.read = body, 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        part = await anext(self.body)
        self.read += len(part)
        return part


def test_of_a_strangers_body_little_is_read(api: Api) -> None:
    """Declared or not: who has shown no token gets no room for 32 MB."""
    strangers: list[dict[str, str]] = [{}, {"Authorization": "Bearer lg_wrong"}, {"Cookie": "lastgood_session=wrong"}]
    for headers in strangers:
        for declared in ({}, {"Content-Length": str(30 * 2**20)}):
            body = Counting(endless(400))
            sent = {"Content-Type": "application/json", **headers, **declared}
            answer = api.client.post("/v1/push", content=body, headers=sent)
            assert is_problem(answer, 401) and answer.headers["connection"] == "close"
            assert body.read <= STRANGERS_BYTES + 2**16 + 14, (headers, declared)
        small = api.client.post("/v1/session", json={"name": "x" * 300, "password": "y"}, headers=headers)
        assert small.status_code == 400
    body = Counting(endless(3))
    sent = {"Content-Type": "application/json", "Authorization": f"Bearer {api.token}"}
    assert api.client.post("/v1/push", content=body, headers=sent).status_code == 400
    assert body.read == 3 * 2**16 + 14, "who is known is read to the end"


def test_a_large_body_hears_that_the_store_is_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise StoreUnreachable(url="postgresql://db/lastgood", reason="connection refused")

    monkeypatch.setattr(api.store, "read", away)
    for declared in ({}, {"Content-Length": str(30 * 2**20)}):
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {api.token}", **declared}
        answer = api.client.post("/v1/push", content=endless(400), headers=headers)
        assert is_problem(answer, 503)["type"].endswith("store-unreachable")


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 405)])
def test_a_query_of_any_bytes_is_no_error_of_ours(api: Api, method: str, status: int) -> None:
    async def odd(scope: Scope, receive: Receive, send: Send) -> None:
        await api.app({**scope, "query_string": b"x=\xff"}, receive, send)

    client: Any = Client(odd)  # type: ignore[arg-type]  # it asks any ASGI application
    known = {"Authorization": f"Bearer {api.token}"}
    body = b"x" * (STRANGERS_BYTES + 1)  # who sends so much is looked at before it is read
    assert client.request(method, "/v1/access/sources", headers=known).status_code == status
    assert client.request(method, "/v1/access/sources", content=body).status_code == 401


def test_a_body_that_trickles_is_ended(store: Store) -> None:
    async def trickle() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x"
            await asyncio.sleep(0.05)

    store.settings = store.settings.model_copy(update={"body_timeout": 0.2})
    client = Client(make_app(store, trusted=True))
    answer = client.post("/v1/push", content=trickle(), headers={"Content-Type": "application/json"})
    told = is_problem(answer, 408)
    assert "did not arrive" in told["detail"] and answer.headers["connection"] == "close"


@pytest.fixture
def served(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The API on a port, with little patience for heads."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    app: FastAPI = make_app(store)
    sock = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        app, http=ApiProtocol, ws="none", log_level="critical", lifespan="off", proxy_headers=False
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run, args=([sock],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield sock.getsockname()[1]
    server.should_exit = True
    thread.join(10)


def test_a_head_that_does_not_come_ends_the_connection(served: int) -> None:
    """Slowloris: many connections held by a byte now and then."""
    begun = [b"", b"GET /healthz HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: 1"]
    held = [socket.create_connection(("127.0.0.1", served), timeout=20) for _ in begun]
    for connection, part in zip(held, begun, strict=True):
        connection.sendall(part)
    for connection in held:
        assert connection.recv(100) == b""
        connection.close()
    # After an answer it is the same for the next head.
    with socket.create_connection(("127.0.0.1", served), timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /hea")
        while connection.recv(1000):
            pass


def test_a_head_without_end_is_refused(served: int) -> None:
    with socket.create_connection(("127.0.0.1", served), timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        try:
            for number in range(200):
                connection.sendall(b"X-%d: %s\r\n" % (number, b"x" * 1000))
            answer = connection.recv(100)
        except ConnectionError:
            answer = b""
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


ODD_NAMES = [
    "..%2f..%2fetc%2fpasswd",
    "..%5c..%5cetc",
    "%2e%2e%2fkeyring.json",
    "%00",
    "greet%0d%0aSet-Cookie:%20a=b",
    "greet%1b[2J",
    "%e2%80%ae",
    "%ff%fe",
]


def test_no_name_leads_out_of_the_store_or_into_a_header(api: Api) -> None:
    version = api.push()
    (api.store.settings.home / "secret.txt").write_text("not to be had")
    for odd in ODD_NAMES:
        for path in (
            f"/v1/workflows/{odd}",
            f"/v1/workflows/{odd}/versions",
            f"/v1/workflows/{odd}/emergency-kit",
            f"/v1/versions/{odd}/document",
            f"/v1/versions/{version}/document?format={odd}",
            f"/v1/snapshots/{odd}",
            f"/v1/operations/{odd}",
            f"/v1/servers/{odd}",
        ):
            answer = api.ask("GET", path)
            assert answer.status_code in (400, 404, 405), (path, answer.text)
            assert "not to be had" not in answer.text and "set-cookie" not in answer.headers
            assert not {"\r", "\n"} & set("".join(answer.headers.values()))
    assert api.ask("GET", f"/v1/versions/{version}/document?format=yaml").status_code == 200


def test_what_comes_back_in_a_header_is_one_line(api: Api) -> None:
    """Notes, names and ids of requests come back in bodies; none of them becomes a header."""
    nasty = "x\r\nSet-Cookie: a=b\r\n\r\n<script>"
    version = api.push(note=nasty)
    for path in (f"/v1/versions/{version}", f"/v1/versions/{version}/document", "/v1/workflows/greet/versions"):
        answer = api.ask("GET", path, headers={"X-Request-ID": "a b<script>"})
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers and "script" not in str(answer.headers)
        assert answer.headers["content-type"].split(";")[0] in (
            *("application/json", "application/yaml", "application/problem+json", "text/yaml"),
        )


def test_nothing_that_is_typed_begins_a_line_of_a_log(api: Api, capfd: pytest.CaptureFixture[str]) -> None:
    """An audit row is one line of JSON; what the command line prints of it holds no control characters."""
    version = api.push()
    nasty = "fine\n2026-11-30T09:00:00Z admin READ everything allowed\x1b[2J\x9b\u2028\u202e"
    api.post(f"/v1/versions/{version}/mark", {"state": "stable", "reason": nasty})
    header = {"X-Request-ID": b"rq\x85\x9b[2Jinjected", "Authorization": f"Bearer {api.token}"}
    api.client.post(f"/v1/versions/{version}/mark", json={"state": "candidate", "reason": "x"}, headers=header)
    api.client.post("/v1/session", json={"name": nasty, "password": "wrong"})
    with api.store.read() as tx:
        rows = tx.connection.execute(select(tables.audit)).all()
    for row in rows:
        assert b"\n" not in row.canonical and b"\x1b" not in row.canonical
        facts = json.loads(row.canonical)
        assert facts["request_id"].isprintable() if "request_id" in facts else True
        assert row.actor.isprintable() and row.resource.isprintable()
    output.facts({"reason": nasty})
    output.table(("reason",), [(nasty,)])
    shown = capfd.readouterr().out
    assert "\x1b" not in shown and "\x9b" not in shown and "\u2028" not in shown
    assert len(shown.splitlines()) == 3


def test_a_look_up_of_a_token_tells_nothing_by_its_time(store: Store) -> None:
    """Stored is a hash under a key that nobody outside has, so how far a guess agrees with it, the guesser cannot
    steer."""
    value = store.write(tokens.first_admin) or ""
    near = value[:-1] + ("A" if value[-1] != "A" else "B")
    first, second = store.ring.lookup(value), store.ring.lookup(near)
    assert len(first) == 32 and sum(a == b for a, b in zip(first, second, strict=True)) < 8


def test_the_way_is_settled_before_anything_else(store: Store) -> None:
    """The outermost of our layers is the doorstep, then the limit on bodies: no route is reached past them."""
    kinds: list[object] = [layer.cls for layer in make_app(store).user_middleware]
    assert kinds == [doorstep.Doorstep, doorstep.BodyLimit]


def test_the_doors_answer_no_foreign_page(api: Api) -> None:
    """No answer tells a browser that another origin may read it."""
    for method in ("GET", "OPTIONS"):
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answer = api.ask(method, "/v1/session", headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control")]
