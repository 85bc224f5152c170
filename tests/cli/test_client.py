"""Where commands go, how quick they start, and what a server's notice is worth."""

import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import IO, Any

import pytest

from cli.conftest import Run, environment
from lastgood.cli.client import Given, address_of, server_notice
from lastgood.settings import load

CASES: list[tuple[dict[str, str], str, Given]] = [
    ({}, "", Given()),
    ({}, 'server = "http://a:1"\ntoken = "lg_file"', Given()),
    ({"LASTGOOD_SERVER": "http://b:2"}, 'server = "http://a:1"\ntoken = "lg_file"', Given()),
    ({"LASTGOOD_SERVER": "", "LASTGOOD_TOKEN": "lg_env"}, 'server = "http://a:1"', Given()),
    ({"LASTGOOD_SERVER": "http://b:2"}, "", Given("http://c:3", "lg_flag")),
    ({"LASTGOOD_SERVER": "http://b:2"}, "", Given("")),
]


@pytest.mark.parametrize(("env", "file", "given"), CASES)
def test_an_address_is_what_the_settings_say(
    home: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], file: str, given: Given
) -> None:
    """`address_of` reads three settings by itself to start quickly; it must not differ from `settings.load`."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    (home / "lastgood.toml").write_text(file)
    settings, address = load(server=given.server, token=given.token), address_of(given)
    assert (address.server, address.token, address.home) == (settings.server, settings.token, settings.home)


def test_a_bare_address_is_http() -> None:
    assert address_of(Given("host:8321/")).server == "http://host:8321"


@pytest.fixture
def locked(home: Path) -> Iterator[IO[str]]:
    """The lock of a running server."""
    with (home / "server.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _notice(home: Path, **more: Any) -> dict[str, Any]:
    notice = {"pid": os.getpid(), "api": "http://127.0.0.1:1", "token": "lg_x", **more}
    (home / "server.json").write_text(json.dumps(notice))
    return notice


def test_a_running_servers_notice_counts(home: Path, locked: IO[str]) -> None:
    notice = _notice(home)
    assert server_notice(home) == notice


def test_what_a_dead_server_left_does_not(lastgood: Run, home: Path) -> None:
    assert server_notice(home) is None  # no notice
    _notice(home)
    assert server_notice(home) is None  # no lock file
    (home / "server.lock").write_text("")
    assert server_notice(home) is None  # nobody holds the lock
    assert lastgood("status").code == 0


@pytest.mark.parametrize("pid", [0, 2**22 + 1, 2**70, "x", None, True])
def test_a_notice_of_no_living_process_does_not_count(home: Path, locked: IO[str], pid: object) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    _notice(home, pid=ended.pid if pid is True else pid)
    assert server_notice(home) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"', "{}"])
def test_a_broken_notice_does_not_count(home: Path, locked: IO[str], content: str) -> None:
    (home / "server.json").write_text(content)
    assert server_notice(home) is None


class _Stranger(BaseHTTPRequestHandler):
    """A server that is not Lastgood's."""

    def do_GET(self) -> None:
        body = b"<h1>Welcome to nginx</h1>"
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[str]:
    """Its address."""
    server = HTTPServer(("127.0.0.1", 0), _Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_server_that_is_not_ours_is_named(lastgood: Run, stranger: str) -> None:
    done = lastgood("status", "--server", stranger)
    assert done.code == 1
    assert f"{stranger} answered 404 with something that is not Lastgood's API. Check LASTGOOD_SERVER." in done.err


def test_a_write_that_lost_its_answer_says_where_to_look(lastgood: Run, stranger: str) -> None:
    done = lastgood("restore", "v-20240401-01", "--server", stranger)
    assert done.code == 1 and "whether it was done, `lastgood changes` says" in done.err


@pytest.mark.parametrize(
    ("args", "never"),
    [
        (["--help"], {"click", "pygments", "fastapi", "sqlalchemy", "alembic", "pydantic", "rich", "asyncio"}),
        (["rollback", "--help"], {"click", "fastapi", "sqlalchemy", "pydantic_settings", "rich"}),
        (
            ["status", "--server", "127.0.0.1:1"],
            {"fastapi", "sqlalchemy", "alembic", "pydantic_settings", "rich", "lastgood.server"},
        ),
    ],
)
def test_a_command_loads_only_what_it_needs(home: Path, args: list[str], never: set[str]) -> None:
    program = f"import sys; from lastgood.cli.main import run; run({args!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(home), capture_output=True, text=True, check=True
    )
    assert never.isdisjoint(done.stderr.split())
    assert "lastgood.cli.main" in done.stderr.split()


@pytest.mark.parametrize(
    ("file", "why"), [("nowhere", "No such file"), ("", "Is a directory"), ("text", "none in PEM")]
)
def test_a_file_of_certificates_that_is_none_is_named(
    lastgood: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, why: str
) -> None:
    (tmp_path / "text").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / file))
    done = lastgood("--server", "https://localhost:1", "status")
    assert done.code == 2 and "SSL_CERT_FILE" in done.err and why in done.err
