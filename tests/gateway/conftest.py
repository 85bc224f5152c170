"""A gateway worker on a real socket, in a thread, with routes held in memory."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from lastgood.errors import UnknownVersion
from lastgood.gateway.app import Gateway
from lastgood.gateway.router import MemoryRouter, Router
from lastgood.gateway.server import GatewayServer, listen
from lastgood.history.routes import Route
from lastgood.settings import load

from .wire import Client, Fields, Seen

KEY = "app-abcdefghijklmnop"
AUTH = ("Authorization", f"Bearer {KEY}")
JSON = ("Content-Type", "application/json")


def route(*upstreams: str, **changes: Any) -> Route:
    """A route to `upstreams`, at generation 7 on version v-20261123-01."""
    facts: dict[str, Any] = {
        "workflow_id": "wf-abc123",
        "slug": "prod-invoice",
        "mode": "workflow",
        "channel": "live",
        "version_id": "v-20261123-01",
        "generation": 7,
        "placement_id": "v-20261123-01",
        "target": "dify",
        "upstreams": upstreams,
        "key_id": "key-12345678",
    }
    return Route(**{**facts, **changes})


@dataclass
class Worker:
    """A running gateway: `routes` may be changed, `port` is where it listens."""

    port: int
    routes: dict[str, Route]
    server: GatewayServer
    parameters_read: list[str] = field(default_factory=list)

    def ask(self, method: str, target: str, fields: Fields | None = None, body: bytes | None = None) -> Seen:
        """One request with the key, on a connection of its own."""
        with Client(self.port) as client:
            return client.ask(method, target, [AUTH, *(fields or [])], body)


@contextmanager
def serving(app: Gateway, grace: float = 30.0) -> Iterator[tuple[int, GatewayServer]]:
    """`app` served from a thread."""
    sock = listen("127.0.0.1", 0)
    ready = threading.Event()
    server = GatewayServer(app, grace=grace, ready=ready.set)

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve(sockets=[sock]))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(10)
        yield sock.getsockname()[1], server
    finally:
        server.config.timeout_graceful_shutdown = 1
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Worker]]:
    """Starts workers, which all end with the session."""
    with ExitStack() as running:

        def begin(router: Router | None = None, engine: tuple[str, ...] = (), **settings: Any) -> Worker:
            memory = MemoryRouter()
            read: list[str] = []

            def parameters(version: str) -> dict[str, Any]:
                read.append(version)
                if version == "v-20261123-99":
                    raise UnknownVersion(version=version, where="")
                return {"opening_statement": version, "user_input_form": []}

            app = Gateway(
                router or memory, parameters, load(home=tmp_path_factory.mktemp("home"), **settings), engine
            )
            port, server = running.enter_context(serving(app))
            return Worker(port, memory.routes, server, read)

        yield begin


@pytest.fixture(scope="session")
def kept() -> dict[tuple[Any, ...], Worker]:
    """Workers by their settings, for tests that do not mind a used one."""
    return {}


@pytest.fixture
def start(workers: Callable[..., Worker], kept: dict[tuple[Any, ...], Worker]) -> Callable[..., Worker]:
    """Gives a worker with one route: ``start(route(url), body_timeout=0.2, …)``; `fresh` when it must be new."""

    def begin(given: Route | None, *, fresh: bool = False, router: Router | None = None, **settings: Any) -> Worker:
        key = tuple(sorted(settings.items()))
        if fresh or router is not None:
            worker = workers(router, **settings)
        else:
            worker = kept[key] = kept.get(key) or workers(**settings)
        worker.routes.clear()
        if given is not None:
            worker.routes[KEY] = given
        return worker

    return begin
