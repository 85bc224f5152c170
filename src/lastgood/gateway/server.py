"""The process of one gateway worker: a listening socket, an event loop, and an orderly end."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator

import orjson
import uvicorn
import uvloop

from lastgood.gateway.app import Gateway
from lastgood.gateway.protocol import GatewayProtocol

_BACKLOG = 2048
_IDLE_SECONDS = 75  # longer than the clients' own pools keep a connection


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, for one worker or shared by several. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(_BACKLOG)
    return sock


def address_of(sock: socket.socket) -> str:
    """``127.0.0.1:8322`` of a listening socket."""
    host, port, *_ = sock.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class GatewayServer(uvicorn.Server):
    """uvicorn set up for the gateway: says when it is ready, ends in an orderly way within `grace` seconds, and
    leaves the signals to its owner (`should_exit = True` ends it)."""

    def __init__(self, app: Gateway, *, grace: float, ready: Callable[[], None]) -> None:
        self._ready = ready
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        super().__init__(
            uvicorn.Config(
                app,
                http=GatewayProtocol,
                ws="none",
                loop="none",
                lifespan="on",
                interface="asgi3",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                log_config=None,
                timeout_keep_alive=_IDLE_SECONDS,
                timeout_graceful_shutdown=max(1, round(grace)),
                backlog=_BACKLOG,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(app: Gateway, sock: socket.socket, *, grace: float, watch_stdin: bool = True) -> None:
    """Serve `app` on `sock` until SIGTERM or SIGINT, or until stdin ends (the parent's end, when `watch_stdin`);
    then accept nothing more and let what is in flight go on for `grace` seconds. Prints one line of JSON when
    ready: ``{"ready": true, "address": "127.0.0.1:8322", "pid": …}``."""

    def ready() -> None:
        line = orjson.dumps({"ready": True, "address": address_of(sock), "pid": os.getpid()}).decode()
        print(line, flush=True)

    server = GatewayServer(app, grace=grace, ready=ready)

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        if watch_stdin:
            threading.Thread(target=_wait_for_eof, args=(loop, stop), name="stdin", daemon=True).start()
        await server.serve(sockets=[sock])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def _wait_for_eof(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    with contextlib.suppress(RuntimeError):  # the loop has ended by itself
        loop.call_soon_threadsafe(stop)


def _is_news(record: logging.LogRecord) -> bool:
    """A stream that broke off on purpose is told by `app`; uvicorn's own line on it says nothing more."""
    return "without completing response" not in record.getMessage()
