"""The docker listener, against a client that answers as the real one does; and the real one, against a daemon's API
that is played here, where it is installed."""

import json
import shutil
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from lastgood.catalogue import Listener
from lastgood.release import listeners
from release.listeners.conftest import Tool
from release.notices import NEW, OLD, notice

NAME, BOTH = "invoice", "invoice-{version}"
OLDS, NEWS = f"invoice-{OLD}", f"invoice-{NEW}"


def listener(container: str, **more: Any) -> Listener:
    return Listener(kind="docker", container=container, **more)


def standing(**more: Any) -> dict[str, Any]:
    return {"looks": ["exited 0 "], **more}


@pytest.mark.parametrize(
    ("then", "outcome", "detail"),
    [
        (["running 0 "], "acknowledged", "invoice is running"),
        (["created 0 ", "running 0 "], "acknowledged", "invoice is running"),
        (["running 0 none"], "acknowledged", "invoice is running"),
        (["running 0 starting", "running 0 healthy"], "acknowledged", "invoice is running and healthy"),
        (
            ["running 0 starting", "running 0 unhealthy"],
            "failed",
            "invoice is running but unhealthy; look at docker inspect invoice",
        ),
        (["running 0 ", "exited 1 "], "failed", "invoice is exited (exit code 1); look at docker logs invoice"),
        (["restarting 1 ", "running 0 "], "acknowledged", "invoice is running"),
        (["dead 137 "], "failed", "invoice is dead (exit code 137); look at docker logs invoice"),
        (["WARNING: something else"], "failed", "docker inspect said nothing of how invoice is"),
    ],
)
def test_a_container_without_a_version_is_restarted_and_must_be_well(
    docker: Tool, then: list[str], outcome: str, detail: str
) -> None:
    docker.world = {NAME: standing(then=then)}
    told = listeners.tell("box", listener(NAME), notice())
    assert (told.outcome, told.detail) == (outcome, detail)
    assert docker.calls[:2] == ["inspect invoice", "restart invoice"]


@pytest.mark.parametrize(
    ("then", "detail"),
    [
        (["running 0 starting"], "invoice is running, its health check has not passed yet"),
        (["restarting 3 "], "invoice keeps restarting (exit code 3)"),
    ],
)
def test_a_container_that_is_not_well_in_time_has_timed_out(docker: Tool, then: list[str], detail: str) -> None:
    docker.world = {NAME: standing(then=then)}
    told = listeners.tell("box", listener(NAME, timeout=1.0), notice())
    assert (told.outcome, told.detail) == ("timed out", detail)


def test_the_old_versions_container_is_stopped_and_the_new_ones_started(docker: Tool) -> None:
    docker.world = {OLDS: standing(), NEWS: {"looks": ["running 0 "]}}
    told = listeners.tell("box", listener(BOTH), notice())
    assert (told.outcome, told.detail) == ("acknowledged", f"{OLDS} is running; {NEWS} was stopped")
    assert docker.calls[:3] == [f"inspect {OLDS}", f"stop {NEWS}", f"start {OLDS}"]
    again = listeners.tell("box", listener(BOTH), notice())
    assert (again.outcome, again.detail) == (told.outcome, told.detail)


def test_an_undo_starts_what_was_stopped(docker: Tool) -> None:
    docker.world = {OLDS: standing(), NEWS: {"looks": ["running 0 "]}}
    listeners.tell("box", listener(BOTH), notice())
    told = listeners.tell("box", listener(BOTH), notice(direction="undo", from_version=OLD, to_version=NEW))
    assert told.detail == f"{NEWS} is running; {OLDS} was stopped"
    assert docker.world[OLDS]["looks"] == ["exited 0 "]


def test_nothing_is_stopped_where_there_is_nothing_to_start(docker: Tool) -> None:
    docker.world = {NEWS: {"looks": ["running 0 "]}}
    told = listeners.tell("box", listener(BOTH), notice())
    assert (told.outcome, told.detail) == ("failed", f"there is no container {OLDS}; nothing was stopped")
    assert docker.world[NEWS]["looks"] == ["running 0 "]


@pytest.mark.parametrize(
    ("before", "detail"),
    [
        (NEW, f"{OLDS} is running; there was no {NEWS} to stop"),
        (None, f"{OLDS} is running"),
        (OLD, f"{OLDS} is running"),
    ],
)
def test_an_old_container_that_is_not_there_needs_no_stopping(docker: Tool, before: str | None, detail: str) -> None:
    docker.world = {OLDS: standing()}
    told = listeners.tell("box", listener(BOTH), notice(from_version=before))
    assert (told.outcome, told.detail) == ("acknowledged", detail)


def test_a_container_that_does_not_start_says_what_was_stopped(docker: Tool) -> None:
    docker.world = {OLDS: standing(refused="port is already allocated"), NEWS: {"looks": ["running 0 "]}}
    told = listeners.tell("box", listener(BOTH), notice())
    words = "Error response from daemon: port is already allocated"
    assert told.outcome == "failed"
    assert told.detail == f"docker start {OLDS} ended with exit code 1: {words}; {NEWS} was stopped"


def test_docker_without_its_daemon_says_so(install: Any) -> None:
    words = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
    install("docker", f"end(1, {words!r})")
    told = listeners.tell("box", listener(NAME), notice())
    assert (told.outcome, told.detail) == ("failed", f"docker inspect invoice ended with exit code 1: {words}")


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, dict[str, Any]]]:
    """The part of a daemon's API that the listener makes the real client use, on a socket; the containers' states."""
    if shutil.which("docker") is None:
        pytest.skip("there is no docker client here")
    states: dict[str, dict[str, Any]] = {}
    turned = {"stop": ("exited", False), "start": ("running", True), "restart": ("running", True)}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path.endswith("/_ping"):
                return self._say(200, b"OK")
            _, _, _, name, verb = self.path.partition("?")[0].split("/")
            if name not in states:
                return self._say(404, json.dumps({"message": f"No such container: {name}"}).encode())
            if self.command == "POST":
                states[name] |= dict(zip(("Status", "Running"), turned[verb], strict=True))
                return self._say(204)
            return self._say(200, json.dumps({"Id": "f" * 64, "Name": f"/{name}", "State": states[name]}).encode())

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self.do_GET()

        def _say(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Api-Version", "1.47")
            self.send_header("Content-Type", "application/json")
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        def log_message(self, *_: Any) -> None:
            pass

        def address_string(self) -> str:
            return "the client"

    with TemporaryDirectory(prefix="lastgood-") as folder:
        place = Path(folder) / "docker.sock"
        with socketserver.ThreadingUnixStreamServer(str(place), Handler) as server:
            server.daemon_threads = True
            monkeypatch.setenv("DOCKER_HOST", f"unix://{place}")
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            yield states
            server.shutdown()


def test_the_real_client_understands_what_it_is_asked(daemon: dict[str, dict[str, Any]]) -> None:
    daemon |= {
        OLDS: {"Status": "exited", "ExitCode": 0},
        NEWS: {"Status": "running", "Running": True, "ExitCode": 0},
        NAME: {"Status": "running", "Running": True, "ExitCode": 0, "Health": {"Status": "healthy"}},
    }
    told = listeners.tell("box", listener(BOTH), notice())
    assert (told.outcome, told.detail) == ("acknowledged", f"{OLDS} is running; {NEWS} was stopped")
    assert (daemon[OLDS]["Status"], daemon[NEWS]["Status"]) == ("running", "exited")
    del daemon[NEWS]
    told = listeners.tell("box", listener(BOTH), notice())
    assert (told.outcome, told.detail) == ("acknowledged", f"{OLDS} is running; there was no {NEWS} to stop")
    told = listeners.tell("box", listener(NAME), notice())
    assert (told.outcome, told.detail) == ("acknowledged", "invoice is running and healthy")
    told = listeners.tell("box", listener("absent"), notice())
    assert (told.outcome, told.detail) == ("failed", "there is no container absent; nothing was stopped")
