"""Real gateway workers on a real store, before the small Dify of the tests."""

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dify_server.rows import FakeApp, Row
from dify_server.server import FakeDify, Timing
from lastgood import dsl
from lastgood.db.store import Store, open_store
from lastgood.db.tx import Tx
from lastgood.history import apps, channels, keys, placements, versions, workflows
from lastgood.settings import Settings, load
from lastgood.targets.dify import servers
from lastgood.targets.dify.signin import AdminKey

from .scene import DOCUMENT, WHO, worker
from .wire import Client, Fields

RUN = "/v1/workflows/run"
GOOD = {"inputs": {"name": "n"}, "response_mode": "blocking", "user": "u"}
BAD = {"inputs": {}, "response_mode": "streaming", "user": "u"}


@dataclass
class Beside:
    """A store beside a Dify with one app, whose version is live and placed."""

    settings: Settings
    store: Store
    app: FakeApp
    row: Row
    key: str
    version: str

    @property
    def auth(self) -> Fields:
        return [("Authorization", f"Bearer {self.key}"), ("Content-Type", "application/json")]


@contextlib.contextmanager
def beside(dify: FakeDify, home: Path) -> Iterator[Beside]:
    app = dify.world.add_app("invoice")
    row, key = dify.world.somebody_publishes(app), dify.world.add_key(app)
    settings = load(home=home)
    store = open_store(settings)

    def work(tx: Tx) -> str:
        servers.save(tx, WHO, "prod", dify.url, AdminKey("admin-key", "w"), facts={})
        workflow = workflows.create(tx, WHO, "invoice", name="", mode="workflow")
        form = DOCUMENT.format(name="name").replace("type: text-input", "type: text-input, required: true")
        version = versions.push(tx, WHO, workflow, dsl.parse(form)).version
        bound = apps.bind(
            tx, WHO, workflow, "live", target="prod", app=app.id, name="invoice", mode="workflow", way="route"
        )
        channel = channels.get(tx, workflow)
        channels.move(tx, WHO, workflow, channel, version, expected=channel.generation, kind="publish")
        placements.add(tx, bound, version, row.id, label=row.version, hash="h")
        keys.create(tx, WHO, workflow, name="test", key=key)
        return version.id

    try:
        yield Beside(settings, store, app, row, key, store.write(work))
    finally:
        store.close()


def hang(port: int, auth: Fields, count: int) -> list[Client]:
    """Calls that are sent, with inputs that do not fit, and left open."""
    clients = [Client(port) for _ in range(count)]
    for client in clients:
        client.send("POST", RUN, auth, json.dumps(BAD).encode())
    return clients


@pytest.fixture(params=["1.13.0", "1.14.2"])
def dify(request: pytest.FixtureRequest) -> Iterator[FakeDify]:
    with FakeDify(request.param, slots=10, timing=Timing(hang=60.0)) as running:
        yield running


def test_without_the_gateway_ten_hanging_calls_stop_the_eleventh(dify: FakeDify, tmp_path: Path) -> None:
    with beside(dify, tmp_path) as scene:
        clients = hang(dify.port, scene.auth, 10)
        for client in clients:
            assert client.line.until(b"event: ping") is not None
        with Client(dify.port, timeout=1.0) as eleventh, pytest.raises(socket.timeout):
            eleventh.ask("POST", RUN, scene.auth, json.dumps(GOOD).encode())
        for client in clients:
            client.sock.close()


def test_through_the_gateway_ten_hanging_calls_do_not_stop_the_eleventh(dify: FakeDify, tmp_path: Path) -> None:
    with beside(dify, tmp_path) as scene, worker(scene.settings) as gateway, Client(gateway.port) as eleventh:
        clients = hang(gateway.port, scene.auth, 10)
        answer = eleventh.ask("POST", RUN, scene.auth, json.dumps(GOOD).encode())
        assert answer.status == 200
        assert answer.json()["data"]["status"] == "succeeded"
        assert answer.one("x-lastgood-version") == scene.version
        for client in clients:
            refusal = client.answer("POST")
            assert (refusal.status, refusal.json()["message"]) == (400, "name is required in input form")
            client.sock.close()
        assert dify.most_busy == 1


def test_calls_that_hang_all_the_same_leave_dify_places_for_everything_else(dify: FakeDify, tmp_path: Path) -> None:
    """Without the check: what hangs is cut off, keeps its place as long as Dify holds it, and no more is let in."""
    idle: dict[str, Any] = {
        "stream_idle_seconds": 0.3,
        "queue_seconds": 0.5,
        "breaker_failures": 0,
    }
    with (
        beside(dify, tmp_path) as scene,
        worker(scene.settings, shield_inputs=False, **idle) as gateway,
        Client(gateway.port) as eleventh,
        Client(dify.port) as direct,
    ):
        clients = hang(gateway.port, scene.auth, 10)
        ends = [client.answer("POST") for client in clients]
        assert sorted(end.status for end in ends) == [200] * 8 + [429] * 2
        assert all(b'"event"' in end.body for end in ends if end.status == 200)  # Dify's error, or ours
        answer = eleventh.ask("POST", RUN, scene.auth, json.dumps(GOOD).encode())
        assert (answer.status, answer.one("retry-after")) == (429, "1")
        assert direct.ask("GET", "/v1/info", scene.auth).status == 200
        assert eleventh.ask("GET", "/v1/info", scene.auth).status == 200
        assert dify.most_busy == 9
        for client in clients:
            client.sock.close()


def test_a_version_deleted_in_dify_is_marked_as_gone(tmp_path: Path) -> None:
    with (
        FakeDify("1.14.2") as dify,
        beside(dify, tmp_path) as scene,
        worker(scene.settings) as gateway,
        Client(gateway.port) as client,
    ):
        body = json.dumps(GOOD).encode()
        assert client.ask("POST", RUN, scene.auth, body).status == 200
        dify.world.somebody_deletes(scene.app, scene.row)
        assert client.ask("POST", RUN, scene.auth, body).status == 503
        for _ in range(100):
            answer = client.ask("POST", RUN, scene.auth, body)
            if "is not on the target" in answer.json().get("detail", ""):
                break
        assert answer.status == 503
        with scene.store.read() as tx:
            bound = apps.find(tx, "prod", scene.app.id)
            assert bound is not None
            assert [placed.gone_at is not None for placed in placements.listing(tx, bound)] == [True]
