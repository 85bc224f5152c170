"""The management API in this process, for a command line with no server beside it."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from lastgood.cli.client import Client
from lastgood.server.supervisor import local_app
from lastgood.settings import load


class InProcess(httpx.BaseTransport):
    """Carries requests to an ASGI application in this process, one at a time."""

    def __init__(self, app: Any) -> None:
        self._inner = httpx.ASGITransport(app, raise_app_exceptions="LASTGOOD_DEBUG" in os.environ)
        self._runner = asyncio.Runner()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The application's answer, read whole."""
        return self._runner.run(self._answer(request))

    def close(self) -> None:
        """End the event loop."""
        self._runner.close()

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


@contextmanager
def local_client(actor: str) -> Iterator[Client]:
    """The API on the local data directory, in the name of `actor`. Raises `InvalidSetting`, `StoreUnreachable`,
    `StoreNewer`, `StoreFull`."""
    settings = load()
    # The time limits of a network mean nothing to this transport.
    headers = {"X-Lastgood-Actor": actor}
    with (
        local_app(settings) as app,
        httpx.Client(transport=InProcess(app), base_url="http://local", headers=headers) as http,
    ):
        yield Client(http, settings=settings)
