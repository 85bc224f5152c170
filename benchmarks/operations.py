"""What a rollback as an operation costs: planned, checked again, entered, moved, told, verified.

``uv run python -m benchmarks.operations [--rounds 100] [--together 1 20 200] [--postgres]``

First: from the command (the requests that `lastgood rollback` sends: plan, then operation) to the first answer of the
gateway by the good version, beside the bare move (`release.moves.rollback` and the workers' acknowledgement, nothing
planned, nothing verified), in turns in the same run, on the real server, gateway and engine with the example history.
Then: a plan for many workflows at once, and its one transaction. Goals: plan and operation entered within 150 ms of
the command at p50; 200 workflows planned within 5 s and moved in a transaction of less than 1 s. Exit code 1 when one
is missed."""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.rule3 import postgres
from lastgood import dsl
from lastgood.cli.client import server_notice
from lastgood.cli.demo import examples
from lastgood.db import process
from lastgood.db.audit import Principal
from lastgood.db.store import Store, open_store
from lastgood.db.tx import Tx
from lastgood.history import channels, smokes, versions, workflows
from lastgood.release import moves, operation, planning
from lastgood.release.means import Means
from lastgood.release.planning import Wanted
from lastgood.release.verification import Upstream
from lastgood.settings import load
from lastgood.targets import engine

_WHO = Principal("benchmark", "local")
_GOOD, _BAD = "05-new-rates-key.yml", "06-vat-node.yml"
_WORKFLOW = "prod-invoice"
_SECONDS = 60.0
_GOALS = {"entered": 150.0, "plan": 5_000.0, "move": 1_000.0}
_OVER = ("succeeded", "kept", "undone", "failed", "asking")


def main() -> int:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--together", type=int, nargs="*", default=[1, 20, 200], metavar="WORKFLOWS")
    parser.add_argument("--postgres", action="store_true")
    flags = parser.parse_args()
    missed = []
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd())))
        print(f"load {os.getloadavg()[0]:.1f}, {'PostgreSQL' if flags.postgres else 'SQLite'}")
        if flags.rounds:
            (home / "one").mkdir()
            with contextlib.ExitStack() as inner:
                database = inner.enter_context(postgres(home / "one")) if flags.postgres else ""
                missed += _first_good(home / "one", database, flags.rounds)
        for count in flags.together:
            place = home / f"together-{count}"
            place.mkdir()
            with contextlib.ExitStack() as inner:
                database = inner.enter_context(postgres(place)) if flags.postgres else ""
                missed += _together(place, database, count)
    for goal in missed:
        print(f"missed: {goal}")
    return 1 if missed else 0


def _first_good(home: Path, database: str, rounds: int) -> list[str]:
    with _server(home, database) as notice:
        store = open_store(load(home=home, database=database))
        headers = {"Authorization": f"Bearer {notice['token']}"}
        with httpx.Client(base_url=f"{notice['api']}/v1/", headers=headers, timeout=_SECONDS, trust_env=False) as api:
            ground = _Ground(api, store, notice["gateway"])
            times = Times()
            with Watcher(ground) as watcher:
                for number in range(rounds + 3):
                    kept = times if number >= 3 else Times()  # the first ones warm up
                    ground.publish_bad(watcher)
                    _operation(ground, watcher, kept)
                    ground.publish_bad(watcher)
                    _bare(ground, watcher, kept)
        store.close()
    times.table()
    entered = times.at("entered, from the command", 0.5)
    return [] if entered < _GOALS["entered"] else [f"entered after {entered:.0f} ms, wanted {_GOALS['entered']:.0f}"]


@dataclass(slots=True)
class Times:
    """Milliseconds by what took them."""

    kept: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, milliseconds: float) -> None:
        """Keep one more."""
        self.kept[name].append(milliseconds)

    def at(self, name: str, part: float) -> float:
        """A quantile: ``0.5`` is the median."""
        ordered = sorted(self.kept[name])
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)]

    def table(self) -> None:
        """Print all of them."""
        print(f"{'':46}{'p50 ms':>9}{'p99 ms':>9}")
        for name in self.kept:
            print(f"{name:46}{self.at(name, 0.5):9.1f}{self.at(name, 0.99):9.1f}")


class _Ground:
    """The example's good version and its wrong one on a running server."""

    def __init__(self, api: httpx.Client, store: Store, gateway: str) -> None:
        self.api, self.store, self.gateway = api, store, gateway
        history = yaml.safe_load((examples() / "history.yml").read_text(encoding="utf-8"))
        self.inputs = history["samples"][history["smoke"]["sample"]]["inputs"]
        self.good, self.bad = (self._push(name) for name in (_GOOD, _BAD))
        expectation = {"inputs": self.inputs, "expect": [history["smoke"]["expect"]]}
        self.ask("POST", f"workflows/{_WORKFLOW}/smokes", expectation)
        self.key = self.ask("POST", f"workflows/{_WORKFLOW}/keys", {"name": "benchmark"})["key"]
        published = self._publish(self.good)
        if published["verification"]["verdict"] != "passed":
            raise SystemExit(f"the good version was not proven: {published['summary']}")

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The JSON answer of the API."""
        answer = self.api.request(method, path, json=body, **more)
        if answer.is_error:
            raise SystemExit(answer.text)
        return answer.json()

    def generation(self) -> int:
        """That of the channel now."""
        return int(self.ask("GET", f"workflows/{_WORKFLOW}/channels/live")["generation"])

    def publish_bad(self, watcher: "Watcher") -> None:
        """Let the wrong version be live, and be served."""
        self._publish(self.bad, verify=False)
        watcher.first(self.bad, time.perf_counter())

    def _push(self, name: str) -> str:
        document = (examples() / name).read_text(encoding="utf-8")
        pushed = self.ask("POST", f"workflows/{_WORKFLOW}/versions", {"document": document, "source": name})
        return str(pushed["version"]["id"])

    def _publish(self, version: str, **more: Any) -> Any:
        try:
            generation = self.generation()
        except SystemExit:
            generation = 0
        path = f"workflows/{_WORKFLOW}/channels/live/publish"
        return self.ask("POST", path, {"version": version, **more}, headers={"If-Match": f'"{generation}"'})


class Watcher:
    """Asks the gateway over and over, and knows when which version answered."""

    def __init__(self, ground: _Ground) -> None:
        self._ground = ground
        self._over = threading.Event()
        self._answered = threading.Condition()
        self._last: tuple[str, float, float] = ("", 0.0, 0.0)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def first(self, version: str, since: float) -> float:
        """When the first answer of `version` that began after `since` had come."""
        until = time.perf_counter() + _SECONDS
        with self._answered:
            while not (self._last[0] == version and self._last[1] >= since):
                if not self._answered.wait(until - time.perf_counter()):
                    raise SystemExit(f"{version} was not served within {_SECONDS:.0f} s")
            return self._last[2]

    def _run(self) -> None:
        body = {"inputs": self._ground.inputs, "user": "benchmark", "response_mode": "blocking"}
        headers = {"Authorization": f"Bearer {self._ground.key}"}
        with httpx.Client(headers=headers, timeout=_SECONDS, trust_env=False) as client:
            while not self._over.is_set():
                began = time.perf_counter()
                answer = client.post(f"{self._ground.gateway}/v1/workflows/run", json=body)
                ended = time.perf_counter()
                with self._answered:
                    self._last = (answer.headers.get("X-Lastgood-Version", ""), began, ended)
                    self._answered.notify_all()


def _operation(ground: _Ground, watcher: Watcher, times: Times) -> None:
    """One rollback as the command line does it. The first good answer is waited for while the operation goes on."""
    seen: list[float] = []
    began = time.perf_counter()
    waiting = threading.Thread(target=lambda: seen.append(watcher.first(ground.good, began)))
    waiting.start()
    shown = ground.ask("POST", "plans", {"moves": [{"workflow": _WORKFLOW}]})
    planned = time.perf_counter()
    found = ground.ask("POST", "operations", {"plan": shown["plan"], "confirmation": shown["confirmation"]})
    entered = time.perf_counter()
    while found["state"] not in _OVER:
        found = ground.ask("GET", f"operations/{found['id']}?wait=60")
    over = time.perf_counter()
    waiting.join()
    if found["state"] != "succeeded":
        raise SystemExit(found["summary"])
    times.add("operation: first good answer, from the command", (seen[0] - began) * 1000)
    times.add("plan", (planned - began) * 1000)
    times.add("operation entered", (entered - planned) * 1000)
    times.add("entered, from the command", (entered - began) * 1000)
    for step in found["steps"]:
        if step["state"] != "skipped" and step["name"] != "plan":
            times.add(f"step {step['name']}", step["elapsed_ms"])
    times.add("over, from the command", (over - began) * 1000)


def _bare(ground: _Ground, watcher: Watcher, times: Times) -> None:
    """One move with its acknowledgement, by a process of its own beside the server."""
    expected = ground.generation()
    began = time.perf_counter()

    def work(tx: Tx) -> int:
        workflow = workflows.find(tx, _WORKFLOW)
        return moves.rollback(tx, _WHO, workflow, expected=expected, reason="bare").revision

    process.confirm(ground.store, ground.store.write(work))
    acknowledged = time.perf_counter()
    first = watcher.first(ground.good, began)
    times.add("bare move: first good answer", (first - began) * 1000)
    times.add("bare move: acknowledged", (acknowledged - began) * 1000)


def _together(home: Path, database: str, count: int) -> list[str]:
    """`count` workflows rolled back by one plan, without verification: what is counted is plan and move."""
    store = open_store(load(home=home, database=database))
    engine.warm()
    wanted = [_prepare(store, number) for number in range(count)]
    means = Means(store, _no_engine)
    times: dict[str, float] = {}
    began = time.perf_counter()
    plan = planning.make(means, "rollback", wanted, planning.draft(store.settings, verify=False))
    times["plan"] = (time.perf_counter() - began) * 1000
    began = time.perf_counter()
    entered = planning.accept(means, _WHO, plan, shown=planning.confirmation(means, plan))
    times["entered"] = (time.perf_counter() - began) * 1000
    began = time.perf_counter()
    done = operation.run(means, entered.id).operation
    times["run"] = (time.perf_counter() - began) * 1000
    times["move"] = done.steps["move"].elapsed_ms or 0.0
    if done.state != "succeeded":
        raise SystemExit(done.summary)
    with store.read() as tx:
        left = {channels.get(tx, workflows.find(tx, one.workflow)).generation for one in wanted}
    store.close()
    if left != {3}:
        raise SystemExit(f"generations {left} after one rollback of each")
    said = ", ".join(f"{name} {value:,.0f} ms" for name, value in times.items())
    print(f"{count:4} together: {said}")
    return [
        f"{count} together: {name} {times[name]:,.0f} ms, wanted {_GOALS[name]:,.0f}"
        for name in ("plan", "move")
        if times[name] >= _GOALS[name]
    ]


def _prepare(store: Store, number: int) -> Wanted:
    """A workflow with a proven version and a wrong one, which is live. Each has its own content."""
    slug = f"invoice-{number}"

    def work(tx: Tx) -> Wanted:
        workflow = workflows.create(tx, _WHO, slug, name="", mode="workflow", target=engine.NAME)
        pair = []
        for name in (_GOOD, _BAD):
            text = (examples() / name).read_text(encoding="utf-8").replace("name: Invoice intake", f"name: {slug}")
            pair.append(versions.push(tx, _WHO, workflow, dsl.parse(text)).version)
        smokes.add(tx, _WHO, workflow, inputs={"text": "x"}, expect=["outputs.total == `42`"])
        versions.set_state(tx, _WHO, pair[0], "stable", kind="mark", reason="seen to be good")
        for expected, version in enumerate(pair):
            moves.publish(tx, _WHO, workflow, version.id, expected=expected)
        return Wanted(slug)

    return store.write(work)


def _no_engine() -> Upstream:
    raise SystemExit("nothing here is run on the engine")


@contextlib.contextmanager
def _server(home: Path, database: str) -> Iterator[Mapping[str, Any]]:
    """`lastgood serve` on free ports, ready."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("LASTGOOD_")}
    env |= {"LASTGOOD_HOME": str(home), "LASTGOOD_HTTP_ALLOW_PRIVATE": "true"}
    if database:
        env["LASTGOOD_DATABASE"] = database
    command = [sys.executable, "-m", "lastgood", "serve", "--api-port", "0", "--gateway-port", "0"]
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as server:
        try:
            yield _ready(server, home)
        finally:
            server.terminate()


def _ready(server: "subprocess.Popen[bytes]", home: Path) -> Mapping[str, Any]:
    until = time.perf_counter() + _SECONDS
    while time.perf_counter() < until and server.poll() is None:
        notice = server_notice(home)
        with contextlib.suppress(httpx.TransportError):
            if notice and httpx.get(f"{notice['api']}/readyz", trust_env=False).status_code == 200:
                return notice
        time.sleep(0.05)
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    sys.exit(main())
