"""The engine process: ``python -m lastgood.targets.engine``.

It prints one line of JSON when it listens (``{"ready": true, "address": "127.0.0.1:PORT", "pid": …}``) and ends
when its standard input ends (whoever started it is gone) or at SIGTERM, after the runs in flight."""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import uvicorn
import uvloop

from lastgood.db.presence import Part, Presence
from lastgood.db.store import Store, open_runs, open_store
from lastgood.settings import Settings, load
from lastgood.targets.engine.app import App
from lastgood.targets.engine.confine import available, hide
from lastgood.targets.engine.records import Records
from lastgood.targets.engine.service import Service
from lastgood.targets.engine.source import FolderSource, Source
from lastgood.targets.engine.stored import StoreSource

_log = logging.getLogger(__name__)
_DRAIN_SECONDS = 20.0
_BACKLOG = 512


def open_records(settings: Settings) -> Records:
    """The store of runs, brought to this release's schema."""
    return Records(open_runs(settings))


def main(arguments: list[str] | None = None) -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="lastgood-engine", description="Runs workflow versions behind Dify's API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--fd", type=int, help="an inherited listening socket, instead of --host and --port")
    parser.add_argument("--files", type=Path, help="run the documents of this folder instead of the store's versions")
    parser.add_argument("--no-stdin", action="store_true", help="do not end when the standard input does")
    flags = parser.parse_args(arguments)
    logging.basicConfig(level=os.environ.get("LASTGOOD_LOG_LEVEL", "WARNING"), stream=sys.stderr)
    logging.getLogger("graphon").setLevel(logging.CRITICAL)  # a failing node is the workflow's affair
    settings = load()
    # The token is taken out of the environment, so that nothing this process starts can read it.
    token = os.environ.pop("LASTGOOD_ENGINE_TOKEN", "")
    store = None if flags.files else open_store(settings)
    source: Source = StoreSource(store) if store else FolderSource(flags.files)
    listener = socket.socket(fileno=flags.fd) if flags.fd is not None else _listen(flags.host, flags.port)
    hide()
    service = Service(source, open_records(settings), settings, token=token)
    with _listed(store, listener):
        asyncio.run(_serve(service, listener, flags.no_stdin), loop_factory=uvloop.new_event_loop)
    if service.overdue:
        os._exit(0)  # a thread that would not end must not keep the process: everything is written down


@contextlib.contextmanager
def _listed(store: Store | None, listener: socket.socket) -> Iterator[None]:
    """Let the process stand in the process table of its store, if it has one."""
    process_id = os.environ.pop("LASTGOOD_PROCESS_ID", None)
    if store is None:
        yield
        return
    host, port = listener.getsockname()[:2]
    presence = Presence(store, Part("engine", f"[{host}]:{port}" if ":" in host else f"{host}:{port}", process_id))
    presence.start()
    try:
        yield
    finally:
        presence.close()


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(_BACKLOG)
    return listener


async def _serve(service: Service, listener: socket.socket, no_stdin: bool) -> None:
    if missing := {"landlock", "seccomp"} - set(available()):
        _log.warning("This system has no %s: code nodes can reach more than they should.", " and no ".join(missing))
    config = uvicorn.Config(
        App(service),
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=int(_DRAIN_SECONDS) + 5,
        backlog=_BACKLOG,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    if not no_stdin:
        threading.Thread(target=_parent_gone, args=(loop, over), daemon=True).start()
    serving = loop.create_task(server.serve([listener]))
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn says so by an attribute only
        await asyncio.sleep(0.005)
    host, port = listener.getsockname()[:2]
    print(json.dumps({"ready": True, "address": f"{host}:{port}", "pid": os.getpid()}), flush=True)
    await asyncio.wait({serving, loop.create_task(over.wait())}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await service.close(_DRAIN_SECONDS)
    await serving


def _parent_gone(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    """Sets `over` at the end of the standard input."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    loop.call_soon_threadsafe(over.set)


class _Server(uvicorn.Server):
    """Leaves the signals to `_serve`, which lets the runs in flight end first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


if __name__ == "__main__":
    main()
