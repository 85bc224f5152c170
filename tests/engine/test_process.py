"""The engine as a process: how it starts and ends, and several of them on one store."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from benchmarks.local import Process, as_process

from engine.flows import answer, code, end, flow, node, start

TALK = flow(
    start(),
    node(
        "note",
        "assigner",
        version="2",
        items=[{"variable_selector": ["conversation", "n"], "input_type": "constant", "operation": "+=", "value": 1}],
    ),
    answer("{{#conversation.n#}} {{#sys.dialogue_count#}} {{#sys.query#}}"),
    mode="advanced-chat",
    conversation=[{"id": "1", "name": "n", "value_type": "number", "value": 0}],
)
SLEEP = flow(
    start({"variable": "s", "label": "s", "type": "number"}),
    code("c", "import time\ndef main(s): time.sleep(s); return {'a': 'slept'}", {"a": "string"}, s=["start", "s"]),
    end(a=["c", "a"]),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("documents")
    for name, document in (("talk", TALK), ("sleep", SLEEP)):
        (made / f"{name}.yml").write_text(yaml.safe_dump(document))
    return made


@pytest.fixture(scope="module")
def pair(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Process]]:
    """Two engine processes on one store of runs; the first listens on a socket that it was given."""
    home = tmp_path_factory.mktemp("home")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        fd = listener.fileno()
        first = as_process(folder, home, "--fd", str(fd), pass_fds=(fd,), engine_token="a-token")
        with first as one, as_process(folder, home) as other:
            assert one.base_url == f"http://127.0.0.1:{listener.getsockname()[1]}"
            yield one, other


def post(engine: Process, name: str, path: str, **body: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer app-{name}"}
    return httpx.post(f"{engine.base_url}/v1/{path}", headers=headers, json={"user": "u", **body}, timeout=30)


def test_two_processes_share_a_conversation(pair: tuple[Process, Process]) -> None:
    talk, said = "", []
    for number in range(8):
        engine = pair[number % 2]
        told = post(engine, "talk", "chat-messages", inputs={}, query=f"q{number}", conversation_id=talk).json()
        talk = told["conversation_id"]
        said.append(told["answer"])
    assert said == [f"{n + 1} {n + 1} q{n}" for n in range(8)]
    kept = httpx.get(
        f"{pair[0].base_url}/v1/messages?user=u&conversation_id={talk}", headers={"Authorization": "Bearer app-talk"}
    ).json()
    assert [message["query"] for message in kept["data"]] == [f"q{n}" for n in range(8)]


def test_one_process_knows_what_the_other_ran(pair: tuple[Process, Process]) -> None:
    ran = post(pair[0], "sleep", "workflows/run", inputs={"s": 0}).json()
    url = f"{pair[1].base_url}/v1/workflows/run/{ran['workflow_run_id']}"
    assert httpx.get(url, headers={"Authorization": "Bearer app-sleep"}).json()["outputs"] == {"a": "slept"}


def test_a_stop_reaches_the_process_that_runs_it(pair: tuple[Process, Process]) -> None:
    body = {"inputs": {"s": 9}, "user": "u", "response_mode": "streaming"}
    headers = {"Authorization": "Bearer app-sleep"}
    with httpx.stream(
        "POST", f"{pair[0].base_url}/v1/workflows/run", headers=headers, json=body, timeout=30
    ) as stream:
        events = (json.loads(line[5:]) for line in stream.iter_lines() if line.startswith("data:"))
        task = next(events)["task_id"]
        began = time.monotonic()
        assert post(pair[1], "sleep", f"workflows/tasks/{task}/stop").json() == {"result": "success"}
        finished = list(events)[-1]
    assert finished["data"]["status"] == "stopped"
    assert time.monotonic() - began < 3


def test_two_processes_write_at_once(pair: tuple[Process, Process]) -> None:
    def one(number: int) -> str:
        told = post(pair[number % 2], "talk", "chat-messages", inputs={}, query=f"q{number}").json()
        said: str = told["answer"]
        return said

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(one, range(40))) == [f"1 1 q{n}" for n in range(40)]


def test_it_ends_at_sigterm_after_the_runs_in_flight(folder: Path, tmp_path: Path) -> None:
    with as_process(folder, tmp_path, "--no-stdin") as engine, ThreadPoolExecutor(1) as threads:
        assert engine.popen.stdin is not None
        engine.popen.stdin.close()  # --no-stdin: goes on
        running = threads.submit(post, engine, "sleep", "workflows/run", inputs={"s": 1.5})
        time.sleep(0.6)
        engine.popen.send_signal(signal.SIGTERM)
        assert running.result().json()["data"]["outputs"] == {"a": "slept"}
        assert engine.popen.wait(20) == 0


def test_its_own_token_runs_any_version_and_is_shown_to_nobody(pair: tuple[Process, Process]) -> None:
    headers = {"Authorization": "Bearer a-token"}
    url = f"{pair[0].base_url}/v1/workflows/v-20000101-01/run"
    told = httpx.post(url, headers=headers, json={"inputs": {"s": 0}, "user": "u"}, timeout=30).json()
    assert told["data"]["outputs"] == {"a": "slept"}
    assert httpx.post(url.replace(pair[0].base_url, pair[1].base_url), headers=headers, json={}).status_code == 401


def test_it_ends_with_its_parent_and_takes_its_nursery_along(pair: tuple[Process, Process]) -> None:
    """The last test on these two: one loses its standard input, the other is killed without a chance to tidy up."""
    asked, killed = pair[1], pair[0]
    assert httpx.get(f"{asked.base_url}/healthz").json()["pid"] == asked.popen.pid
    pids = [pid for engine in pair for pid in _children(engine.popen.pid)]
    assert asked.end() == 0
    killed.popen.kill()
    killed.popen.wait()
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def _children(pid: int) -> list[str]:
    """The child processes of `pid`, where Linux tells them."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return listed.read_text().split() if listed.exists() else []


def test_the_package_is_light_until_something_runs() -> None:
    """The nursery imports the package in each engine, and the server asks it for `unrunnable`."""
    script = "import sys, lastgood.targets.engine; print({'graphon', 'sqlalchemy', 'pydantic'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
