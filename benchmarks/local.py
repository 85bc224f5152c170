"""Engines to try things on: on a thread of this process, where a test can reach into it, or as the real process."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from lastgood.settings import Settings
from lastgood.targets.engine.__main__ import open_records
from lastgood.targets.engine.app import App
from lastgood.targets.engine.cancel import Cancel
from lastgood.targets.engine.service import Service
from lastgood.targets.engine.source import Source
from lastgood.targets.engine.web import Web


@contextmanager
def on_thread(
    source: Source,
    settings: Settings | None = None,
    *,
    token: str = "",
    web: Callable[[Cancel], Web] | None = None,
    body_seconds: float = 60,
) -> Iterator[tuple[str, Service]]:
    """An engine on a thread; gives its base URL and its service. Without `settings`, in a folder of its own."""
    with tempfile.TemporaryDirectory() as home:
        known = settings or Settings(home=Path(home))
        loop = asyncio.new_event_loop()
        service = Service(source, open_records(known), known, token=token, web=web)
        app = App(service, body_seconds=body_seconds)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="on", ws="none"))
        thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve()), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", service
        finally:
            asyncio.run_coroutine_threadsafe(service.close(5), loop).result(20)
            server.should_exit = True
            thread.join(10)
            loop.close()


class Process:
    """A running engine process: its `base_url`, and `popen`, whose standard input keeps it alive."""

    def __init__(self, popen: "subprocess.Popen[bytes]", address: str) -> None:
        self.popen = popen
        self.base_url = f"http://{address}"

    def end(self) -> int:
        """Close its standard input and wait; gives the exit code."""
        if self.popen.stdin is not None:
            self.popen.stdin.close()
        return self.popen.wait(30)


@contextmanager
def as_process(
    folder: Path, home: Path, *flags: str, pass_fds: tuple[int, ...] = (), **settings: str
) -> Iterator[Process]:
    """The real engine process on the documents of `folder`; `settings` become ``LASTGOOD_…`` variables."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LASTGOOD_")}
    environment |= {f"LASTGOOD_{key.upper()}": value for key, value in settings.items()} | {
        "LASTGOOD_HOME": str(home)
    }
    popen = subprocess.Popen(
        [sys.executable, "-m", "lastgood.targets.engine", "--files", str(folder), *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        pass_fds=pass_fds,
    )
    try:
        assert popen.stdout is not None
        ready = json.loads(popen.stdout.readline())
        yield Process(popen, ready["address"])
    finally:
        popen.kill()
        popen.wait()
        for pipe in (popen.stdin, popen.stdout):
            if pipe is not None:
                pipe.close()
