"""The management API over a store, asked as HTTP."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from lastgood import dsl
from lastgood.access import tokens
from lastgood.db.store import Store
from lastgood.release.verification import Upstream
from lastgood.server.app import make_app
from support.documents import document
from support.engine import FakeEngine, fake_engine

LOCAL = "lg_local-token-of-this-start"


@dataclass(frozen=True)
class Client:
    """Asks an ASGI application in this process; each request by itself."""

    app: FastAPI
    headers: dict[str, str] = field(default_factory=dict)
    peer: str = "127.0.0.1"

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(self.peer, 123))
            async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=self.headers) as client:
                return await client.request(method, path, **more)

        return asyncio.run(once())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)


@dataclass(frozen=True)
class Api:
    """The API with the admin's token. `client` sends none by itself."""

    store: Store
    app: FastAPI
    client: Client
    token: str
    engine: FakeEngine

    def ask(self, method: str, path: str, *, token: str | None = None, **more: Any) -> httpx.Response:
        """One request, with the admin's token or another."""
        headers = {"Authorization": f"Bearer {self.token if token is None else token}", **more.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **more)

    def get(self, path: str, **more: Any) -> Any:
        """The body of a GET that succeeds."""
        answer = self.ask("GET", path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any, *, status: int = 200, **more: Any) -> Any:
        """The body of a POST that ends in `status`."""
        answer = self.ask("POST", path, json=body, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    def push(self, text: str = "hello", workflow: str = "greet", **more: Any) -> str:
        """Push a document that says `text`; gives the version's id."""
        body = {"document": dsl.to_yaml(document(text)), **more}
        return str(self.post(f"/v1/workflows/{workflow}/versions", body, status=201)["version"]["id"])

    def move(
        self,
        kind: str,
        generation: int,
        workflow: str = "greet",
        status: int = 200,
        token: str | None = None,
        **body: Any,
    ) -> Any:
        """Publish or roll back `live` from `generation`."""
        path = f"/v1/workflows/{workflow}/channels/live/{kind}"
        return self.post(path, body, status=status, token=token, headers={"If-Match": f'"{generation}"'})


@pytest.fixture
def api(store: Store) -> Iterator[Api]:
    token = store.write(tokens.first_admin)
    assert token is not None
    with fake_engine() as engine:
        engine.succeed()
        app = make_app(store, engine=lambda: Upstream(engine.url, "engine-token"), local_token=LOCAL)
        yield Api(store, app, Client(app), token, engine)
