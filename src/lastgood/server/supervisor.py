"""`lastgood serve`: the management API in this process, the engine and the gateway in processes beside it; and the
same for the length of one command."""

import fcntl
import json
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

import uvicorn
from fastapi import FastAPI

from lastgood.access import sessions, signin, tokens
from lastgood.access.log import tree
from lastgood.db import process
from lastgood.db.presence import Part, Presence
from lastgood.db.store import Store, open_store
from lastgood.db.tx import Tx, utc_now
from lastgood.errors import DataDirectoryTaken, LastgoodError
from lastgood.history import blobs
from lastgood.release.verification import Upstream
from lastgood.server import exposure
from lastgood.server.app import make_app, no_engine
from lastgood.server.children import Child, Children, listen, url_of
from lastgood.server.context import Context
from lastgood.server.firing import Firing
from lastgood.server.protocol import ApiProtocol
from lastgood.server.sequencing import Sequencing
from lastgood.settings import Settings
from lastgood.targets import engine

_TIDY_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Running:
    """A started server: its addresses, and the admin token if this was the store's first start."""

    api: str
    gateway: str
    engines: tuple[str, ...]
    admin_token: str | None


def serve(settings: Settings, announce: Callable[[Running], None]) -> None:
    """Run everything until a signal ends it; `announce` is called when all of it answers.

    Raises `DataDirectoryTaken`, `Unavailable` (a port is taken, a process did not start), and what `open_store`
    does."""
    way = exposure.check(settings)
    if settings.engine_workers:
        engine.require()
    with data_directory_lock(settings) as lock:
        store = open_store(settings)
        exposure.require_admin(settings, store)
        if not store.postgres:  # the lock says that no other server is on this store
            _strike(store, process.leave_all)
        api = listen(settings.api_host, settings.api_port)
        gateway = listen(settings.gateway_host, settings.gateway_port)
        engine_token, local_token = secrets.token_urlsafe(32), tokens.new_token()
        children = Children(
            settings,
            engine_token=engine_token,
            gateway=gateway,
            engine_workers=settings.engine_workers,
            gone=lambda id: _strike(store, lambda tx: process.leave(tx, id)),
        )
        presence = Presence(store, Part("api", url_of(api).removeprefix("http://")), Part("jobs"))
        with children:
            threading.Thread(target=engine.warm, daemon=True).start()
            over = threading.Event()
            tidying = threading.Thread(target=_tidy, args=(store, over), daemon=True)
            tidying.start()
            address = exposure.address_of(settings, url_of(api))
            running = Running(address, children.gateway, tuple(children.engines), store.write(tokens.first_admin))
            facts = {
                "pid": os.getpid(),
                "api": running.api,
                "gateway": running.gateway,
                "engine": " ".join(running.engines),
                "home": str(settings.home),
                "started_at": utc_now(),
            }
            app = make_app(
                store,
                engine=lambda: Upstream(children.engines[0], engine_token) if children.engines else no_engine(),
                local_token=local_token,
                facts=facts,
                way=way,
            )
            config = uvicorn.Config(
                app,
                http=ApiProtocol,
                ws="none",
                log_level="warning",
                access_log=False,
                proxy_headers=False,  # the doorstep knows whom to believe
                server_header=False,
                ssl_certfile=settings.tls_cert,
                ssl_keyfile=settings.tls_key,
                timeout_graceful_shutdown=10,
            )
            context: Context = app.state.context
            threading.Thread(target=context.operators.take_over, daemon=True).start()
            threading.Thread(target=context.watching.run, daemon=True).start()
            firing = threading.Thread(target=Firing(context.operators.means).run, daemon=True)
            firing.start()
            sequencing = threading.Thread(target=Sequencing(store, over).run, daemon=True)
            sequencing.start()
            server = _Announcing(config, lambda: announce(running), context.operators.means.stopping)
            lock.write(json.dumps({**facts, "token": local_token, **exposure.certificate(settings)}))
            presence.start()
            # uvicorn raises the signal again when it has ended: without this SIGTERM would leave everything lying.
            signal.signal(signal.SIGTERM, _end)
            try:
                server.run(sockets=[api])
            finally:
                lock.clear()
                over.set()
                context.close()
                firing.join()
                sequencing.join()
                tidying.join()
                presence.close()
                store.close()


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _strike(store: Store, rows: Callable[[Tx], None]) -> None:
    """Strike processes that are known to have ended without a word. That is no more than tidy: a full disk must keep
    no server from starting."""
    try:
        store.write(rows)
    except LastgoodError as error:
        print(f"lastgood: {error}", file=sys.stderr)


def _tidy(store: Store, over: threading.Event) -> None:
    """What a store wants now and then: parts packed with a better dictionary, its reserve set aside again, processes
    that died forgotten, and sessions that are over."""
    while not over.wait(_TIDY_SECONDS):
        try:
            blobs.maintain(store)
            store.keep_reserve()
            store.write(process.forget_dead)
            store.write(sessions.tidy)
            store.write(signin.tidy)
        except LastgoodError as error:
            print(f"lastgood: {error}", file=sys.stderr)


class _Announcing(uvicorn.Server):
    """A uvicorn server that says when it answers, and at once when it must end: then operations park."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], stopping: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came."""
        self._stopping.set()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


@dataclass(slots=True)
class _Lock:
    """The held lock and the file beside it that tells the local command line where the server is."""

    file: IO[str]
    notice: Path

    def write(self, text: str) -> None:
        """Publish the notice, readable by its owner only."""
        scratch = self.notice.with_suffix(".new")
        scratch.unlink(missing_ok=True)
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        scratch.replace(self.notice)

    def clear(self) -> None:
        """Take the notice away."""
        self.notice.unlink(missing_ok=True)


@contextmanager
def data_directory_lock(settings: Settings) -> Iterator[_Lock]:
    """Hold the data directory for one server. Raises `DataDirectoryTaken`."""
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    notice = settings.home / "server.json"
    with (settings.home / "server.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = json.loads(notice.read_text()) if notice.exists() else {}
            raise DataDirectoryTaken(
                pid=held.get("pid", "?"), address=held.get("api", "still starting"), path=str(settings.home)
            ) from None
        os.set_inheritable(file.fileno(), False)
        yield _Lock(file, notice)


@contextmanager
def temporary(settings: Settings) -> Iterator[Children]:
    """An engine and a gateway for the length of one command, on ports of the system's choice."""
    engine.require()
    one = settings.model_copy(update={"gateway_workers": 1})
    token = secrets.token_urlsafe(32)
    with Children(one, engine_token=token, gateway=listen("127.0.0.1", 0), engine_workers=1) as children:
        yield children


class OwnEngine:
    """The engine of a command that runs without a server: started when first needed, ended by `close`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._token = secrets.token_urlsafe(32)
        self._child: tuple[Child, str] | None = None

    def __call__(self) -> Upstream:
        if self._child is None:
            engine.require()
            sock = listen("127.0.0.1", 0)
            child = Child(
                "engine", "lastgood.targets.engine", sock, self._settings, LASTGOOD_ENGINE_TOKEN=self._token
            )
            child.wait_ready()
            self._child = child, url_of(sock)
            sock.close()
        return Upstream(self._child[1], self._token)

    def close(self) -> None:
        """End the engine if it was started."""
        if self._child is not None:
            self._child[0].stop()
            self._child = None


@contextmanager
def local_app(settings: Settings) -> Iterator[FastAPI]:
    """The API in this process, for a command line with no server. What still runs at the end is parked."""
    store = open_store(settings)
    own = OwnEngine(settings)
    app = make_app(store, engine=own, trusted=True, facts={"home": str(settings.home), "pid": os.getpid()})
    try:
        yield app
    finally:
        app.state.context.close()
        own.close()
        with suppress(LastgoodError):  # the rows are there; the next command or server gives them their places
            tree.sequence_all(store)
        store.close()
