"""A gateway worker before a Dify app, with what the store knows of it held in memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lastgood.db.store import open_runs
from lastgood.dsl import InputField
from lastgood.gateway.app import Gateway
from lastgood.gateway.conversations import Conversations
from lastgood.gateway.knowledge import Placed
from lastgood.gateway.metrics import Metrics
from lastgood.gateway.recorder import Recorder
from lastgood.gateway.router import MemoryRouter
from lastgood.gateway.tally import Tally
from lastgood.history.routes import Route
from lastgood.settings import load

from .conftest import AUTH, KEY, route, serving
from .wire import Client, Fields, Seen

ROW = "8ff1bb6c-a191-4235-9ed7-0b597e608d62"
OTHER_KEY = "app-otherotherother1"


def asked(name: str, kind: str = "text-input", *, required: bool = True, longest: int | None = 256) -> InputField:
    return InputField(name, name, kind, required, False, None, longest, ())


@dataclass
class Memory:
    """`Knowledge` without a store. `gone` are the placements that were told to be deleted."""

    rows: dict[str, Placed] = field(default_factory=dict)
    backs: list[tuple[str, int]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    told: threading.Event = field(default_factory=threading.Event)

    def placed(self, route: Route, placement: str) -> Placed | None:
        return self.rows.get(placement)

    def placement_of(self, route: Route, version: str) -> str | None:
        return next((id for id, row in self.rows.items() if row.version_id == version and not row.gone), None)

    def left(self, route: Route, version: str, since: int) -> bool:
        return any(one == version and at > since for one, at in self.backs)

    def deleted(self, route: Route, placement: str) -> None:
        self.gone.append(placement)
        self.told.set()


class Kept:
    """Books that keep nothing."""

    def write(self, tally: Tally) -> None:
        pass

    def tidy(self, now: float) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class Shielded:
    """A running worker: `routes` and `memory` may be changed."""

    port: int
    routes: dict[str, Route]
    memory: Memory

    def ask(self, target: str, body: bytes, fields: Fields | None = None, *, key: str = KEY) -> Seen:
        with Client(self.port) as client:
            auth = [("Authorization", f"Bearer {key}"), ("Content-Type", "application/json"), *(fields or [])]
            return client.ask("POST", target, auth, body)

    def metrics(self) -> dict[str, float]:
        with Client(self.port) as client:
            lines = client.ask("GET", "/metrics").body.decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name.removeprefix("lastgood_gateway_"): float(value) for name, _, value in pairs}


def of_app(*upstreams: str, **changes: Any) -> Route:
    """The route to an app on Dify."""
    return route(*upstreams, **{"app": "app-on-dify", "placement_id": ROW, **changes})


@contextmanager
def shielded(given: Route, home: Path, memory: Memory | None = None, **settings: Any) -> Iterator[Shielded]:
    router, knowledge, metrics = MemoryRouter({KEY: given}), memory or Memory(), Metrics()
    options = load(home=home, **settings)
    conversations = Conversations(lambda: open_runs(options))
    recorder = Recorder(Kept, metrics.observed)
    recorder.start()
    app = Gateway(
        router,
        lambda _: {},
        options,
        (),
        recorder.add,
        knowledge=knowledge,
        conversations=conversations,
        metrics=metrics,
    )
    try:
        with serving(app) as (port, _):
            yield Shielded(port, router.routes, knowledge)
    finally:
        recorder.close()
        conversations.close()


__all__ = ["AUTH", "KEY", "OTHER_KEY", "ROW", "Memory", "Shielded", "asked", "of_app", "shielded"]
