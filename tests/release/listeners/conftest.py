"""Programs on the PATH that behave as systemctl and docker do, and a server that is posted to."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lastgood.release.listeners import tools
from release.notices import program

# As systemctl 252 answers. `is-active` prints the state and exits with 0 for active and reloading, with 3 for others,
# and with 4 (printing "inactive") for a unit that is not there. `restart` of a missing unit exits with 5, of one that
# does not come up with 1; `stop` of one that is not loaded with 5.
SYSTEMCTL = """
verb, unit = arguments[-3], arguments[-1]
assert arguments[0] == "--no-ask-password" and arguments[-2] == "--", arguments
found = world.get(unit)
if verb == "is-active":
    states = found["states"] if found else ["inactive"]
    print(states[0])
    code = 4 if found is None else 0 if states[0] in ("active", "reloading") else 3
    del states[: len(states) > 1]
    end(code)
if found is None:
    loaded = "not loaded" if verb == "stop" else "not found"
    end(5, f"Failed to {verb} {unit}: Unit {unit} {loaded}.")
if verb == "stop":
    found["states"] = ["inactive"]
    end(0)
if found.get("broken"):
    found["states"] = ["failed"]
    words = f"Job for {unit} failed because the control process exited with error code.\\n"
    end(1, words + f'See "systemctl status {unit}" and "journalctl -xeu {unit}" for details.')
found["states"] = found.get("then", ["active"])
end(0)
"""

# As the docker client 28.2 answers: the name on standard output when done, else the daemon's words and exit code 1. A
# container that runs already is started, and one that stands still is stopped, without a complaint. `inspect` of a
# missing one prints an empty line too. `tests/release/listeners/test_docker.py` holds the real client to it.
DOCKER = """
verb, name = arguments[0], arguments[-1]
assert arguments[-2] == "--", arguments
found = world.get(name)
if found is None:
    if verb == "inspect":
        print(flush=True)
    more = f"\\nError: failed to start containers: {name}" if verb == "start" else ""
    end(1, f"Error response from daemon: No such container: {name}" + more)
if verb == "inspect":
    assert arguments[1:4] == ["--type", "container", "--format"] and ".State.Health" in arguments[4]
    looks = found["looks"]
    print(looks[0])
    del looks[: len(looks) > 1]
elif verb == "stop":
    found["looks"] = ["exited 0 "]
elif found.get("refused"):
    end(1, "Error response from daemon: " + found["refused"] + f"\\nError: failed to start containers: {name}")
else:
    found["looks"] = found.get("then", ["running 0 "])
if verb != "inspect":
    print(name)
end(0)
"""

_FRAME = """#!{python} -IS
import json, sys
from pathlib import Path

place, arguments = Path({place!r}), sys.argv[1:]
world = json.loads((place / "world.json").read_text())


def end(code, words=""):
    if words:
        print(words, file=sys.stderr)
    (place / "world.json").write_text(json.dumps(world))
    sys.exit(code)


words = [word for word in arguments if not word.startswith(("-", "{{{{")) and word != "container"]
with (place / "calls").open("a") as calls:
    calls.write(" ".join(words) + "\\n")
{text}
"""


@dataclass
class Tool:
    """A program on the PATH: the world as it stands, and what it was called with (options left out)."""

    place: Path

    @property
    def world(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.place / "world.json").read_text())
        return found

    @world.setter
    def world(self, value: dict[str, Any]) -> None:
        (self.place / "world.json").write_text(json.dumps(value))

    @property
    def calls(self) -> list[str]:
        file = self.place / "calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Tool]:
    """Puts a program first on the PATH."""

    def put(name: str, text: str) -> Tool:
        place = tmp_path / name
        program(place / name, _FRAME.format(python=sys.executable, place=str(place), text=text))
        monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
        tool = Tool(place)
        tool.world = {}
        return tool

    return put


@pytest.fixture
def docker(install: Callable[[str, str], Tool]) -> Tool:
    return install("docker", DOCKER)


@pytest.fixture
def systemctl(install: Callable[[str, str], Tool]) -> Tool:
    return install("systemctl", SYSTEMCTL)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, and be content soon."""
    monkeypatch.setattr(tools, "_EVERY", 0.02)
    monkeypatch.setattr(tools, "_STEADY", 0.02)


@dataclass
class Receiver:
    """Answers `statuses` one after the other, the last one for ever, and keeps what it was sent."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [200])
    body: bytes = b""
    wait: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, str | None, Any]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A running one. Status 0 lets the client wait."""
    it = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            it.asked.append((self.path, self.headers["idempotency-key"], body))
            status = it.statuses.pop(0) if len(it.statuses) > 1 else it.statuses[0]
            if status == 0:
                it.wait.wait(20)
                return
            self.send_response(status)
            if status in (301, 302, 307, 308):
                self.send_header("location", it.url + "/elsewhere")
            self.send_header("content-length", str(len(it.body)))
            self.end_headers()
            self.wfile.write(it.body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        it.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield it
        finally:
            it.wait.set()
            server.shutdown()
