"""The processes that a server starts: engine and gateway workers, each on a socket that the server holds.

The server binds the listening sockets and hands them down, so an address outlives the process behind it: while a
dead worker is started again, connections wait in the socket's queue or go to its siblings."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType

from lastgood.errors import Unavailable
from lastgood.settings import Settings

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
_BACKLOG = 1024
_WATCH_SECONDS = 0.2


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises `Unavailable` when the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        reason = error.strerror or str(error)
        detail = f"Port {port} on {host} cannot be used ({reason}). Stop what uses it, or choose another port."
        raise Unavailable(detail=detail) from None
    sock.listen(_BACKLOG)
    return sock


def url_of(sock: socket.socket) -> str:
    """The base URL of a listening socket."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Child:
    """One worker process (``python -m module --fd N …``), started again when it dies."""

    def __init__(
        self, role: str, module: str, sock: socket.socket, settings: Settings, *, args: Sequence[str] = (), **env: str
    ) -> None:
        self.role = role
        self._command = [sys.executable, "-m", module, "--fd", str(sock.fileno()), *args]
        self._fd = sock.fileno()
        self._env = {**os.environ, **environment(settings), **env}
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        # The child ends when its standard input does, which the kernel sees to however this process dies.
        return subprocess.Popen(  # noqa: S603 - our own modules
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[self._fd], env=self._env
        )

    def wait_ready(self) -> None:
        """Wait for the line that says it listens. Raises `Unavailable`."""
        stdout = self.process.stdout
        assert stdout is not None  # noqa: S101 - a pipe was asked for
        timer = threading.Timer(_START_SECONDS, self.process.kill)
        timer.start()
        line = stdout.readline()
        timer.cancel()
        with contextlib.suppress(json.JSONDecodeError, AttributeError):
            if json.loads(line).get("ready"):
                return
        self.stop()
        raise Unavailable(detail=f"The {self.role} process did not start; its messages stand above.")

    def revive(self) -> bool:
        """Start it again if it has died. True when it had."""
        if self.process.poll() is None:
            return False
        self.process = self._start()
        self.wait_ready()
        return True

    def stop(self) -> None:
        """End it: politely, then not."""
        self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Children:
    """A running set of engine and gateway workers, and the thread that watches over them."""

    def __init__(self, settings: Settings, *, engine_token: str, gateway: socket.socket, engine_workers: int) -> None:
        self.gateway = url_of(gateway)
        self._engine_sockets = [listen("127.0.0.1", 0) for _ in range(engine_workers)]
        self.engines = [url_of(sock) for sock in self._engine_sockets]
        self._gateway_socket = gateway
        self._over = threading.Event()
        self._all = [
            Child("engine", "lastgood.targets.engine", sock, settings, LASTGOOD_ENGINE_TOKEN=engine_token)
            for sock in self._engine_sockets
        ]
        addresses = [part for url in self.engines for part in ("--engine", url)]
        self._all += [
            Child("gateway", "lastgood.gateway", gateway, settings, args=addresses)
            for _ in range(settings.gateway_workers)
        ]
        try:
            for child in self._all:
                child.wait_ready()
        except Unavailable:
            self.close()
            raise
        self._watcher = threading.Thread(target=self._watch, name="children", daemon=True)
        self._watcher.start()

    def workers(self, role: str) -> list[int]:
        """The process ids of the workers of `role`."""
        return [child.process.pid for child in self._all if child.role == role]

    def _watch(self) -> None:
        while not self._over.wait(_WATCH_SECONDS):
            for child in self._all:
                try:
                    if not self._over.is_set() and child.revive():
                        print(f"lastgood: a {child.role} process had died and was started again", file=sys.stderr)
                except Unavailable as error:
                    print(f"lastgood: {error}", file=sys.stderr)
                    time.sleep(1.0)  # it dies at once: try again, but not in a spin

    def close(self) -> None:
        """End all of them and close the sockets."""
        self._over.set()
        for child in reversed(self._all):
            child.process.terminate()
        for child in self._all:
            child.stop()
        for sock in (*self._engine_sockets, self._gateway_socket):
            sock.close()

    def __enter__(self) -> "Children":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def environment(settings: Settings) -> dict[str, str]:
    """The settings that differ from their defaults, as the variables that a child reads."""
    values = settings.model_dump(mode="json", exclude_defaults=True)
    return {
        "LASTGOOD_HOME": str(settings.home),
        **{f"LASTGOOD_{name.upper()}": str(value) for name, value in values.items()},
    }
