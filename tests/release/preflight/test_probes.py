"""Asking real servers for their version, and what is said when none comes."""

import json
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from lastgood.catalogue import Middleware
from lastgood.release.preflight import probes
from lastgood.release.preflight.middleware import parsed
from support.stores import Postgres

INFO = "# Server\r\nredis_version:7.2.4\r\nredis_mode:standalone\r\n"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer of another test, and no long waiting."""
    probes._answers.clear()
    monkeypatch.setattr(probes, "SECONDS", 1.0)


@contextmanager
def redis(answer: Callable[[bytes], bytes | None]) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers what it is sent by `answer`; its address and what it was sent."""
    seen: list[bytes] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    seen.append(connection.recv(4096))
                    said = answer(seen[-1])
                    if said is None:  # hangs until the client goes away
                        connection.recv(1)
                    else:
                        connection.sendall(said)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}", seen


def bulk(text: str) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text.encode())


def ask(kind: Any, url: str, **more: Any) -> Any:
    """What one service says."""
    (service,) = probes.ask_all({"cache": Middleware(kind=kind, url=url, **more)})
    return service


def test_redis() -> None:
    with redis(lambda _: bulk(INFO)) as (address, seen):
        service = ask("redis", f"redis://{address}/0", range=">=7")
    assert (service.version, service.asked, service.range, service.problem) == ("7.2.4", True, ">=7", "")
    assert seen == [b"*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n"]


def test_redis_with_a_password() -> None:
    with redis(lambda _: b"+OK\r\n" + bulk(INFO)) as (address, seen):
        assert ask("redis", f"redis://me:p%40ss@{address}").version == "7.2.4"
    assert seen[0].startswith(b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$4\r\np@ss\r\n")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"-NOAUTH Authentication required.\r\n", "it refuses to tell, perhaps for want of a password"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it does not answer as Redis does"),
        (b"", "it does not answer as Redis does"),
        (None, "it gave no answer within 1 s"),
    ],
)
def test_redis_that_does_not_tell(answer: bytes | None, problem: str) -> None:
    with redis(lambda _: answer) as (address, _):
        service = ask("redis", f"redis://:hunter2@{address}")
    assert (service.version, service.problem) == ("", problem)


def test_postgresql(postgres: Postgres) -> None:
    service = ask("postgresql", postgres.url)
    assert service.asked
    found = parsed(service.version)
    assert found is not None
    assert found >= Version("10")


def test_sqlite(tmp_path: Path) -> None:
    file = tmp_path / "a b.db"
    sqlite3.connect(file).close()
    file.write_bytes(b"")
    assert ask("sqlite", f"sqlite:///{file}").version == sqlite3.sqlite_version
    missing = tmp_path / "missing.db"
    assert ask("sqlite", f"sqlite:///{missing}").problem == "there is no such file"
    assert not missing.exists()


@contextmanager
def http(body: bytes, status: int = 200, server: str = "") -> Iterator[str]:
    """A server with one answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            if server:
                self.send_header("Server", server)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}/"
        made.shutdown()


@pytest.mark.parametrize(
    ("body", "status", "server", "version", "problem"),
    [
        ({"version": "3.13.1"}, 200, "", "3.13.1", ""),
        ({"version": {"number": "8.11.0"}}, 200, "", "8.11.0", ""),
        ({"version": 7}, 200, "", "7", ""),
        ("hello", 200, "nginx/1.25.3", "1.25.3", ""),
        ({"version": "3.13.1"}, 200, "nginx/1.25.3", "3.13.1", ""),
        ("hello", 404, "Apache/2.4.58 (Unix)", "2.4.58", ""),
        ("hello", 200, "", "", "it answered 200, and states no version"),
        ("hello", 200, "cloudflare", "", "it answered 200, and states no version"),
        ("down", 503, "nginx/1.25.3", "", "it answered 503, and states no version"),
    ],
)
def test_http(body: Any, status: int, server: str, version: str, problem: str) -> None:
    with http(json.dumps(body).encode(), status, server) as url:
        service = ask("http", url)
    assert (service.version, service.problem) == (version, problem)


def closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return int(listening.getsockname()[1])


@pytest.mark.parametrize("kind", ["redis", "postgresql", "mysql", "http"])
def test_what_is_not_there_is_unknown_and_tells_no_password(kind: str) -> None:
    scheme = {"http": "http", "redis": "redis"}.get(kind, kind)
    service = ask(kind, f"{scheme}://user:hunter2@127.0.0.1:{closed_port()}/x")
    assert service.version == ""
    assert service.problem
    assert "hunter2" not in service.problem


@pytest.mark.parametrize(
    ("kind", "url", "problem"),
    [
        ("redis", "", "no URL is declared for it"),
        ("redis", "env:NOT_SET_ANYWHERE", "the variable NOT_SET_ANYWHERE, which should hold its URL, is not set"),
        ("redis", "redis://127.0.0.1:port", "its URL cannot be read"),
        ("postgresql", "mysql://127.0.0.1/x", "its URL is not one of postgresql"),
        ("postgresql", "nonsense", "it cannot be asked (ArgumentError)"),
        ("http", "nonsense", "it cannot be asked (UnsupportedProtocol)"),
    ],
)
def test_addresses_that_cannot_be_asked(kind: str, url: str, problem: str) -> None:
    assert ask(kind, url).problem == problem


def test_the_address_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with redis(lambda _: bulk(INFO)) as (address, _):
        monkeypatch.setenv("CACHE_URL", f"redis://{address}")
        assert ask("redis", "env:CACHE_URL").version == "7.2.4"


def test_what_is_declared_is_not_asked_and_fills_in_where_none_came() -> None:
    declared = ask("declared", "", version="3.2", range=">=3")
    assert (declared.version, declared.asked) == ("3.2", False)
    instead = ask("redis", "env:NOT_SET_ANYWHERE", version="7.0")
    assert (instead.version, instead.asked) == ("7.0", False)


def test_all_are_asked_at_once_and_told_in_order_and_soon_again_without_asking() -> None:
    together = threading.Barrier(3, timeout=20)

    def met(_: bytes) -> bytes:
        together.wait()
        return bulk(INFO)

    with redis(met) as (a, seen_a), redis(met) as (b, seen_b), redis(met) as (c, seen_c):
        declared = {
            name: Middleware(kind="redis", url=address) for name, address in zip("xyz", (a, b, c), strict=True)
        }
        for _ in range(2):
            services = probes.ask_all(declared)
            assert [(one.name, one.version) for one in services] == [("x", "7.2.4"), ("y", "7.2.4"), ("z", "7.2.4")]
        assert [len(seen) for seen in (seen_a, seen_b, seen_c)] == [1, 1, 1]
