"""A client of a stand-in, and what its tests wait for."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from dify_server import FakeDify
from dify_server.people import ADMIN_KEY
from dify_server.rows import FakeApp

NEWER = {"1.13.0": False, "1.14.2": True}


class Client:
    """Asks a stand-in as a client of an app and as an editor."""

    def __init__(self, dify: FakeDify, app: FakeApp | None = None) -> None:
        self.dify = dify
        self.key = dify.world.add_key(app) if app else ""
        self.http = httpx.Client(base_url=dify.url, trust_env=False, timeout=10)
        self.here = f"/console/api/apps/{app.id}" if app else ""

    def console(self, method: str, path: str, body: Any = None, workspace: str = "") -> httpx.Response:
        sent = {
            "Authorization": f"Bearer {ADMIN_KEY}", "X-WORKSPACE-ID": workspace or self.dify.world.workspace_id,
        }  # fmt: skip
        whole = path if path.startswith("/console") else f"{self.here}{path}"
        return self.http.request(method, whole, json=body, headers=sent)

    def post(self, path: str, **body: Any) -> httpx.Response:
        sent = {"inputs": {"name": "bob"}, "user": "u", "response_mode": "blocking", **body}
        return self.http.post(path, json=sent, headers={"Authorization": f"Bearer {self.key}"})

    def run(self, **body: Any) -> dict[str, Any]:
        data: dict[str, Any] = self.post("/v1/workflows/run", **body).json()["data"]
        return data

    def events(self, path: str, **body: Any) -> Iterator[Any]:
        """What a stream says, ``"ping"`` for a ping."""
        sent = {"inputs": {"name": "bob"}, "user": "u", "response_mode": "streaming", **body}
        headers = {"Authorization": f"Bearer {self.key}"}
        with self.http.stream("POST", path, json=sent, headers=headers) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line[6:])
                elif line == "event: ping":
                    yield "ping"


def until(come: Callable[[], bool]) -> None:
    """Waits for what must come."""
    for _ in range(5000):
        if come():
            return
        time.sleep(0.002)
    raise AssertionError("it did not come")


def live(dify: FakeDify, content: dict[str, Any] | None = None, mode: str = "workflow") -> FakeApp:
    app = dify.world.add_app("a", mode=mode, graph=content)
    dify.world.somebody_publishes(app, "v1")
    return app


def publish(client: Client) -> httpx.Response:
    return client.console("POST", "/workflows/publish", {})
