"""A channel that serves a version, as a case to check; and small HTTP servers to ask."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import Engine

from lastgood.db.store import Store, open_runs
from lastgood.errors import Unavailable
from lastgood.history.versions import Version
from lastgood.release.checks.case import Case, Checked
from lastgood.release.means import Means
from lastgood.release.verification import Upstream
from lastgood.settings import Settings
from support.documents import document
from support.engine import FakeEngine, fake_engine
from support.scene import ALICE, Scene, scene

TOKEN = "engine-token"


@dataclass
class Web:
    """What it answers by path (else 404), how long it waits, and the paths and headers that it was asked."""

    answers: dict[str, int] = field(default_factory=lambda: {"/": 200, "/healthz": 200})
    wait: float = 0.0
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    judge: Callable[[Mapping[str, str]], int] | None = None
    url: str = ""


@contextmanager
def web_server() -> Iterator[Web]:
    """A running one."""
    served = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            served.asked.append((self.path, headers))
            time.sleep(served.wait)
            status = served.judge(headers) if served.judge else served.answers.get(self.path, 404)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("location", f"{served.url}/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        served.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield served
        finally:
            server.shutdown()


@pytest.fixture
def start_web() -> Iterator[Callable[[], Web]]:
    """Starts HTTP servers; all end with the test."""
    with ExitStack() as running:
        yield lambda: running.enter_context(web_server())


@pytest.fixture
def web(start_web: Callable[[], Web]) -> Web:
    """One HTTP server."""
    return start_web()


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """An HTTP server that plays the embedded engine."""
    with fake_engine() as running:
        running.succeed(said="hello")
        yield running


@pytest.fixture
def runs(settings: Settings, store: Store) -> Iterator[Engine]:
    """The store of runs of the test's store."""
    opened = open_runs(settings)
    yield opened
    opened.dispose()


def no_engine() -> Upstream:
    raise Unavailable(detail="No engine runs here.")


@dataclass(frozen=True)
class Served:
    """A workflow whose live channel serves `version`."""

    place: Scene
    version: Version

    def case(self, **more: Any) -> Case:
        """The case that should be well, with the settings that are given as keywords of `settings`."""
        settings = more.pop("settings", {})
        facts = more.pop("facts", {})
        means = Means(self.place.store, more.pop("engine", no_engine), more.pop("runs", lambda: None), facts=facts)
        if settings:
            means.store.settings = means.settings.model_validate({**means.settings.model_dump(), **settings})
        channel = self.place.channel()
        values = {"channel": "live", "version": self.version, "generation": channel.generation}
        return Case(means=means, who=ALICE, workflow=self.place.workflow, **{**values, **more})

    def publish(self, text: str) -> "Served":
        """The same after another version went live."""
        (version,) = self.place.versions(text)
        self.place.move(version)
        return replace(self, version=version)


def serve(store: Store, *, target: str = "engine", slug: str = "greet", **more: Any) -> Served:
    """A new workflow with one version, which is live; `more` goes to its document."""
    place = scene(store, slug, target=target)
    version = place.push(document("hello", **more)).version
    place.move(version)
    return Served(place, version)


def only(found: Any) -> Checked:
    """The one item of a check."""
    (one,) = list(found)
    assert isinstance(one, Checked)
    return one


def verdicts(found: Any) -> dict[str, str]:
    """Verdict by subject."""
    return {one.subject: one.verdict for one in found}
