"""Webhooks through real gateway workers: what they start, what they answer, and that they follow every move."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from lastgood.db import process
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.history import triggers
from lastgood.release import moves
from lastgood.settings import Settings
from support.scene import ALICE, Scene, scene
from support.stores import on_sqlite
from support.triggered import triggered

from .scene import KEY, worker
from .wire import Client, Line, Seen, reply, upstream

JSON = ("Content-Type", "application/json")
TOKEN = "engine-token"


def started(seen: Seen, line: Line) -> None:
    """Answers as the engine does to a detached run."""
    line.sock.sendall(reply(202, b'{"task_id": "t", "workflow_run_id": "r"}'))


@dataclass
class Hooked:
    """A workflow on the engine, with a webhook."""

    place: Scene
    generation: int = 0

    def publish(self, text: str = "v1", **more: Any) -> str:
        """A new version goes live; comes back when that is acknowledged."""
        version = self.place.push(triggered(text, **more)).version
        self.move(version.id)
        return version.id

    def move(self, to: str) -> None:
        revision = 0

        def work(tx: Tx) -> None:
            nonlocal revision
            at = self.generation
            moves.publish(tx, ALICE, self.place.workflow, to, expected=at, force=True, reason="test")
            revision = tx.revision

        self.place.store.write(work)
        process.confirm(self.place.store, revision)
        self.generation += 1  # acknowledged

    @property
    def path(self) -> str:
        with self.place.store.read() as tx:
            bound = triggers.of_channel(tx, self.place.workflow, "live")
        return next(triggers.path_of(one.token) for one in bound if one.token)


@pytest.fixture
def hooked(store: Store) -> Hooked:
    return Hooked(scene(store, target="engine"))


@pytest.fixture
def serve(settings: Settings) -> Iterator[Callable[..., Any]]:
    """Starts a worker that knows the engine's token; gives its port."""
    with contextlib.ExitStack() as running:

        def begin(url: str, **more: Any) -> int:
            return running.enter_context(worker(settings, "--engine", url, engine_token=TOKEN, **more)).port

        yield begin


def call(port: int, path: str, body: bytes = b'{"name": "ada"}', method: str = "POST", *fields: Any) -> Any:
    with Client(port) as client:
        return client.ask(method, path, list(fields or [JSON]), body)


def test_a_webhook_starts_the_live_version_and_is_answered_at_once(hooked: Hooked, serve: Callable[..., int]) -> None:
    one = hooked.publish(answer='{"ok": true}')
    with upstream(started) as up:
        port = serve(up.url)
        answer = call(port, hooked.path + "?page=2", b'{"name": "ada", "more": 1}')
        assert (answer.status, answer.json()) == (200, {"ok": True})
        assert (answer.one("x-lastgood-version"), answer.one("x-lastgood-generation")) == (one, "1")
        (seen,) = up.seen
        assert seen.target == f"/v1/workflows/{one}/run"
        assert seen.one("authorization") == f"Bearer {TOKEN}"
        order = json.loads(seen.body)
        assert (order["trigger"], order["detached"], order["inputs"]["name"]) == ("hook", True, "ada")
        assert order["inputs"]["_webhook_raw"]["query_params"] == {"page": "2"}
        for body, words in ((b"{}", "Required body parameter missing: name"), (b"{", "is not JSON")):
            refused = call(port, hooked.path, body)
            assert (refused.status, words in refused.json()["detail"]) == (400, True), refused
        assert call(port, hooked.path, b"", "GET").status == 400
        assert len(up.seen) == 1


def test_after_an_acknowledged_move_the_next_webhook_starts_the_new_version(
    hooked: Hooked, serve: Callable[..., int]
) -> None:
    ids = [hooked.publish("v1"), hooked.publish("v2")]
    wrong: list[tuple[int, str]] = []
    served = 0
    over = threading.Event()
    with upstream(started) as up:
        port, path = serve(up.url), hooked.path

        def ask() -> None:
            nonlocal served
            with Client(port) as client:
                while not over.is_set():
                    known = hooked.generation
                    answer = client.ask("POST", path, [JSON], b'{"name": "ada"}')
                    served += 1
                    if answer.status != 200 or int(answer.one("x-lastgood-generation") or 0) < known:
                        wrong.append((known, f"{answer.status} {answer.one('x-lastgood-generation')}"))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(20):
            hooked.move(ids[number % 2])
            answer = call(port, path)
            assert answer.one("x-lastgood-version") == ids[number % 2]
            time.sleep(0.01)
        over.set()
        for thread in threads:
            thread.join(10)
    assert wrong == []
    assert served > 20
    assert {seen.target.split("/")[3] for seen in up.seen} == set(ids)


def test_an_address_stays_while_versions_without_the_webhook_serve(hooked: Hooked, serve: Callable[..., int]) -> None:
    one = hooked.publish()
    path = hooked.path
    with upstream(started) as up:
        port = serve(up.url)
        bare = hooked.publish("bare", hook=False)
        answer = call(port, path)
        assert answer.status == 404
        assert answer.json()["detail"] == (
            f"No webhook answers at this address: {bare}, in service on live of greet, has no webhook hook. "
            "`lastgood triggers WORKFLOW` shows those that do."
        )
        hooked.move(one)
        assert call(port, path).status == 200
        assert (
            call(port, "/triggers/webhook/nobody")
            .json()["detail"]
            .startswith("No webhook answers at this address: it is not known here.")
        )
        assert call(port, "/triggers/webhook/").status == 404


@on_sqlite
def test_a_token_is_no_app_key_and_an_app_key_no_token(hooked: Hooked, serve: Callable[..., int]) -> None:
    from lastgood.history import keys

    hooked.publish()
    store = hooked.place.store
    store.write(lambda tx: keys.create(tx, ALICE, hooked.place.workflow, name="k", key=KEY))
    token = hooked.path.rpartition("/")[2]
    with upstream(started) as up:
        port = serve(up.url)
        for key in (token, f"webhook {token}"):
            fields = [JSON, ("Authorization", f"Bearer {key}")]
            assert call(port, "/v1/workflows/run", b"{}", "POST", *fields).status == 401
        assert call(port, f"/triggers/webhook/{KEY}").status == 404
        assert up.seen == []


@on_sqlite
def test_a_channel_that_is_not_named_takes_no_webhook(hooked: Hooked, serve: Callable[..., int]) -> None:
    version = hooked.publish()
    place = hooked.place
    place.store.write(lambda tx: moves.publish(tx, ALICE, place.workflow, version, channel="staging", expected=0))
    with place.store.read() as tx:
        (token,) = (one.token for one in triggers.of_channel(tx, place.workflow, "staging") if one.token)
    with upstream(started) as up:
        assert "trigger_channels" in call(serve(up.url), triggers.path_of(token)).json()["detail"]
        named = serve(up.url, trigger_channels='["live", "staging"]')
        assert call(named, triggers.path_of(token)).status == 200


@on_sqlite
@pytest.mark.parametrize(
    ("status", "said", "words"),
    [(429, b'{"message": "too many runs"}', "too many runs"), (500, b"oops", "500")],
)
def test_an_engine_that_does_not_take_the_run_is_told(
    hooked: Hooked, serve: Callable[..., int], status: int, said: bytes, words: str
) -> None:
    hooked.publish()
    with upstream(lambda seen, line: line.sock.sendall(reply(status, said))) as up:
        answer = call(serve(up.url), hooked.path)
    assert answer.status == 503
    assert f"The engine did not start the run ({words}). Send it again." in answer.json()["detail"]


@on_sqlite
def test_limits_are_the_gateways_own(hooked: Hooked, serve: Callable[..., int]) -> None:
    hooked.publish()
    with upstream(started) as up:
        port = serve(up.url, max_body_bytes=100)
        assert call(port, hooked.path, b'{"name": "' + b"a" * 200 + b'"}').status == 413
        deep = serve(up.url)
        answer = call(deep, hooked.path, b'{"name": "a", "deep": ' + b"[" * 400 + b"]" * 400 + b"}")
        assert (answer.status, "nested too deeply" in answer.json()["detail"]) == (400, True)
        assert up.seen == []
