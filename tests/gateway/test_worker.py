"""The worker as a process: how it begins and ends, and that no move is missed by any of several."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lastgood.gateway.server import listen
from lastgood.settings import load

from .scene import KEY, Process, Scene, scene, worker
from .wire import SSE, Client, Line, Seen, chunk, reply, upstream

AUTH = ("Authorization", f"Bearer {KEY}")


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Scene]:
    with scene(load(home=tmp_path)) as running:
        yield running


def test_a_worker_serves_the_store_and_ends_with_its_parent(play: Scene) -> None:
    with upstream() as up, worker(play.settings, "--engine", up.url) as running:
        with Client(running.port) as client:
            answer = client.ask("POST", "/v1/workflows/run", [AUTH], b"{}")
            assert (answer.status, answer.one("x-lastgood-version")) == (200, play.versions[0])
            assert up.seen[0].target == f"/v1/workflows/{play.versions[0]}/run"
            parameters = client.ask("GET", "/v1/parameters", [AUTH]).json()
            assert parameters["user_input_form"][0]["text-input"]["variable"] == "one"
            play.move(play.versions[1])
            parameters = client.ask("GET", "/v1/parameters", [AUTH]).json()
            assert parameters["user_input_form"][0]["text-input"]["variable"] == "two"
            assert client.ask("GET", "/readyz").json()["keys"] == 1
        assert running.popen.stdin is not None
        running.popen.stdin.close()
        assert running.ended() == 0


def test_without_stdin_it_runs_until_it_is_told(play: Scene) -> None:
    with worker(play.settings, "--no-stdin") as running:
        assert running.popen.stdin is not None
        running.popen.stdin.close()
        time.sleep(0.3)
        with Client(running.port) as client:
            assert client.ask("GET", "/healthz").status == 200
        running.signal(signal.SIGTERM)
        assert running.ended() == 0


@pytest.mark.parametrize(("grace", "finishes"), [(10, True), (0, False)])
def test_sigterm_lets_streams_finish_within_the_grace(play: Scene, grace: int, finishes: bool) -> None:
    def handle(seen: Seen, line: Line) -> None:
        line.sock.sendall(SSE + chunk(b"data: begun\n\n"))
        time.sleep(1 if finishes else 4)
        line.sock.sendall(chunk(b"data: done\n\n") + b"0\r\n\r\n")

    with (
        upstream(handle) as up,
        worker(play.settings, "--engine", up.url, gateway_grace=grace) as running,
        Client(running.port) as client,
        Client(running.port) as idle,
    ):
        assert idle.ask("GET", "/healthz").status == 200
        client.send("POST", "/v1/workflows/run", [AUTH], b"{}")
        assert client.line.until(b"begun\n\n") is not None
        running.signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(ConnectionRefusedError):
            Client(running.port)
        assert not idle.line.more()
        rest = client.line.until(b"0\r\n\r\n")
        assert (rest is not None and b"done" in rest) is finishes
        assert running.ended(5) == 0


def test_a_port_that_is_taken_is_a_sentence(play: Scene) -> None:
    with listen("127.0.0.1", 0) as sock:
        command = [sys.executable, "-m", "lastgood.gateway", "--port", str(sock.getsockname()[1])]
        env = {"LASTGOOD_HOME": str(play.settings.home)}
        ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("lastgood gateway: ")
    assert "Traceback" not in ended.stderr


class Clients:
    """Clients that ask without pause, each on a connection of its own; they note what was served to requests that
    began after the newest acknowledgement they knew of."""

    def __init__(self, ports: list[int], count: int) -> None:
        self.acknowledged = 0
        self.served = 0
        self.failed: list[str] = []
        self.wrong: list[tuple[int, int]] = []
        self.by_worker: dict[str, int] = {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(ports[n % len(ports)],)) for n in range(count)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def _ask(self, port: int) -> None:
        with contextlib.suppress(OSError), Client(port) as client:
            while not self._stop.is_set():
                known = self.acknowledged
                answer = client.ask("POST", "/v1/workflows/run", [AUTH], b"{}")
                if answer.status != 200:
                    self.failed.append(f"{answer.status} {answer.body!r}")
                    continue
                self.served += 1
                generation = int(answer.one("x-lastgood-generation") or -1)
                if generation < known:
                    self.wrong.append((known, generation))
                if answer.json()["placement"] != answer.one("x-lastgood-version"):
                    self.wrong.append((known, -1))


def placement(seen: Seen, line: Line) -> None:
    """Answers with the version that the path asked for."""
    line.sock.sendall(reply(200, json.dumps({"placement": seen.target.split("/")[3]}).encode()))


@contextlib.contextmanager
def two_workers(play: Scene, url: str) -> Iterator[tuple[Process, Process]]:
    """Two workers that accept from one listening socket."""
    with listen("127.0.0.1", 0) as sock:
        fd = sock.fileno()
        options = ("--fd", str(fd), "--engine", url)
        with worker(play.settings, *options, fds=(fd,)) as one, worker(play.settings, *options, fds=(fd,)) as two:
            assert one.port == two.port == sock.getsockname()[1]
            yield one, two


def test_no_request_after_an_acknowledged_move_is_served_by_the_old_version(play: Scene) -> None:
    with upstream(placement) as up, two_workers(play, up.url) as (one, two):
        with Clients([one.port], 8) as clients:
            time.sleep(0.2)
            for n in range(100):
                play.move(play.versions[(n + 1) % 2])
                clients.acknowledged = play.generation
                time.sleep(0.01)
            time.sleep(0.1)
        assert (clients.failed, clients.wrong) == ([], [])
        assert clients.served > 200
        one.signal(signal.SIGTERM)
        assert one.ended() == 0
        with Client(two.port) as client:  # the socket is shared: the other goes on
            assert client.ask("GET", "/healthz").status == 200
