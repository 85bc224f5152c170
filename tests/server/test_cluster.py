"""What is told of Lastgood's own processes, and what becomes of those that die or wear out."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import update

import lastgood
from cli.conftest import environment
from lastgood.cli import cluster
from lastgood.cli.client import Given, connect, server_notice
from lastgood.db import process, tables
from lastgood.db.store import Store, open_store
from lastgood.errors import ServerUnreachable
from lastgood.server import children
from lastgood.server.children import Child, Watch, listen
from support.certificates import self_signed
from support.stores import clean_settings

from .conftest import Api

TESTS = Path(__file__).parents[1]


def enter(store: Store, role: str, *, lease: float = 30.0, **columns: Any) -> str:
    """The id of a process whose row holds `columns` too."""
    id = store.write(lambda tx: process.register(tx, role, lease_seconds=lease))
    if columns:
        row = update(tables.process).where(tables.process.c.id == id).values(**columns)
        store.write(lambda tx: tx.connection.execute(row))
    return id


def test_the_cluster_is_listed(api: Api) -> None:
    assert api.get("/v1/cluster") == {"items": [], "next": None, "versions": [], "mixed": False}
    ids = {enter(api.store, role) for role in ("api", "engine", "gateway", "jobs")}
    found = api.get("/v1/cluster")
    assert {one["id"] for one in found["items"]} == ids
    assert [one["role"] for one in found["items"]] == ["api", "engine", "gateway", "jobs"]
    assert (found["versions"], found["mixed"]) == ([lastgood.__version__], False)


def test_mixed_releases_are_told_while_the_older_may_come_back(api: Api) -> None:
    enter(api.store, "api")
    enter(api.store, "gateway", lease=-5.0, version="0.0.9", capabilities='["routes"]')
    enter(api.store, "gateway", lease=-100.0, version="0.0.1")
    found = api.get("/v1/cluster")
    assert (found["versions"], found["mixed"]) == (["0.0.9", lastgood.__version__], True)
    assert [one["state"] for one in found["items"]].count("gone") == 1


def shown(found: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What `lastgood cluster` prints when the server answers `found`."""

    class Answering:
        def get(self, path: str) -> dict[str, Any]:
            assert path == "cluster"
            return found

    @contextmanager
    def connect(_: object) -> Iterator[Answering]:
        yield Answering()

    monkeypatch.setattr(cluster, "connect", connect)
    monkeypatch.setattr(cluster, "given", lambda ctx: None)
    cluster.cluster(None)  # type: ignore[arg-type]  # `given` alone looks at it
    out, err = capsys.readouterr()
    return err + out


def test_the_command_shows_each_process(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = enter(api.store, "engine", address="127.0.0.1:5")
    other = enter(api.store, "gateway", lease=-5.0, version="0.0.9", capabilities="something else")
    lines = shown(api.get("/v1/cluster"), monkeypatch, capsys).splitlines()
    assert lines[0].startswith("Releases are mixed (0.0.9, ")
    assert lines[1].split() == [
        *("state", "role", "process", "version", "address", "since", "heartbeat"),
        "capabilities",
    ]
    assert lines[2].split()[:5] == ["live", "engine", engine, lastgood.__version__, "127.0.0.1:5"]
    assert lines[2].endswith("route-change.2, manifest.1")
    assert lines[3].split()[:5] == ["late", "gateway", other, "0.0.9", "-"]
    assert lines[3].split()[-2:] == ["-", "-"]


def test_the_command_reads_a_server_of_another_release(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = {"role": "gateway", "id": "ps-a", "live": True}
    rich = {**bare, "id": "ps-b", "state": "napping", "version": "9", "weather": "fine", "heartbeat_age_ms": 1500}
    found = {"items": [bare, rich], "mixed": False, "versions": ["9"], "next": None}
    _, first, second = shown(found, monkeypatch, capsys).splitlines()
    assert first.split() == ["live", "gateway", "ps-a", "-", "-", "-", "-", "-"]
    assert second.split() == ["napping", "gateway", "ps-b", "9", "-", "-", "1.5", "s", "-"]


def test_an_empty_cluster_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict[str, Any] = {"items": [], "mixed": False, "versions": [], "next": None}
    assert "`lastgood serve` starts them" in shown(found, monkeypatch, capsys)


class Pair:
    """A watched child on a socket, and the ids of those that were seen to end."""

    def __init__(self, sock: socket.socket, child: Child) -> None:
        self.port: int = sock.getsockname()[1]
        self.child = child
        self.gone: list[str] = []

    def pid(self) -> int:
        """Who answers. A connection waits in the socket's queue while nobody does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/pid")
            return int(json.loads(connection.getresponse().read())["pid"])
        finally:
            connection.close()


@pytest.fixture
def watched(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A child whose first process says that it is exhausted."""
    monkeypatch.setattr(children, "_HEALTH_SECONDS", 0.3)
    paths = os.pathsep.join([str(TESTS), *sys.path])
    with listen("127.0.0.1", 0) as sock:
        env = {"WORN_FOLDER": str(tmp_path), "PYTHONPATH": paths}
        child = Child("engine", "server.worn_engine", sock, api.store.settings, **env)
        pair = Pair(sock, child)
        child.wait_ready()
        watch = Watch([child], pair.gone.append)
        yield pair
        watch.close()
        child.stop()


def wait_for(what: Any) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_an_exhausted_engine_is_replaced_politely_and_nobody_is_turned_away(watched: Pair, tmp_path: Path) -> None:
    former, former_id = watched.child.process, watched.child.id
    answered = set()

    def over() -> bool:
        answered.add(watched.pid())
        return watched.gone == [former_id]

    wait_for(over)
    assert former.poll() == 0
    assert (tmp_path / f"ended-{former.pid}").exists(), "it was not asked politely"
    assert watched.child.process.pid != former.pid
    assert watched.child.process.poll() is None
    assert watched.child.id != former_id
    assert watched.pid() == watched.child.process.pid
    assert answered <= {former.pid, watched.child.process.pid}
    time.sleep(0.8)  # the next looks find it well
    assert watched.gone == [former_id]


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_child_that_dies_is_started_again_and_told_of(watched: Pair) -> None:
    wait_for(lambda: watched.gone)  # the exhausted one
    died, died_id = watched.child.process, watched.child.id
    died.send_signal(signal.SIGKILL)
    wait_for(lambda: len(watched.gone) == 2)
    assert watched.gone[1] == died_id
    assert watched.pid() == watched.child.process.pid != died.pid


def test_a_server_is_listed_by_its_parts_speaks_tls_and_leaves_nothing_at_sigterm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("graphon")
    home, pem = tmp_path / "home", self_signed(tmp_path / "localhost.pem")
    known = {"LASTGOOD_TLS_CERT": str(pem), "LASTGOOD_TLS_KEY": str(pem)}
    command = [sys.executable, "-m", "lastgood", "serve", "--api-port", "0", "--gateway-port", "0"]
    with subprocess.Popen(command, env=environment(home, **known), stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert any("Ctrl-C ends it." in line for line in server.stdout)
            store = open_store(clean_settings(home))

            def listed() -> list[str]:
                with store.read() as tx:
                    return [row["role"] for row in process.listing(tx) if row["live"]]

            wait_for(lambda: listed() == ["api", "engine", "gateway", "jobs"])
            notice = server_notice(home)
            assert notice is not None
            url = urlsplit(str(notice["api"]))
            assert url.scheme == "https"
            # Here it is known by its very certificate; elsewhere by its name, to who trusts it.
            monkeypatch.setenv("LASTGOOD_HOME", str(home))
            with connect(Given()) as api:
                assert api.get("status")["server"]["pid"] == server.pid
            token = str(notice["token"])
            secure, plain = (Given(f"{scheme}://localhost:{url.port}", token) for scheme in ("https", "http"))
            refused = pytest.raises(ServerUnreachable, match="not trusted here; the variable SSL_CERT_FILE")
            with connect(secure) as api, refused:
                api.get("status")
            with connect(plain) as api, pytest.raises(ServerUnreachable, match="disconnected"):
                api.get("status")
            monkeypatch.setenv("SSL_CERT_FILE", str(pem))
            with connect(secure) as api:
                assert api.get("status")["server"]["pid"] == server.pid
            server.send_signal(signal.SIGTERM)
            server.wait(30)
            wait_for(lambda: listed() == [])
            assert not (home / "server.json").exists()
            store.close()
        finally:
            server.kill()
