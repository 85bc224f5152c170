"""The processes that a server starts: engine and gateway workers, each on a socket that the server holds.

The server binds the listening sockets and hands them down, so an address outlives the process behind it: while a
dead worker is started again, connections wait in the socket's queue or go to its siblings. An engine that lost too
many threads to runs that would not end says so at its ``/healthz``; another then takes its socket over, and it ends
after its runs in flight."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from lastgood.errors import Unavailable
from lastgood.ids import random_id
from lastgood.settings import Settings

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
_RETIRE_SECONDS = 40.0  # an engine lets its runs in flight go on for 20 seconds
_BACKLOG = 1024
_WATCH_SECONDS = 0.2
_HEALTH_SECONDS = 2.0


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
    """One worker process (``python -m module --fd N …``), started again when it dies. `id` is the name that the
    running one has in the process table."""

    def __init__(
        self, role: str, module: str, sock: socket.socket, settings: Settings, *, args: Sequence[str] = (), **env: str
    ) -> None:
        self.role = role
        self._command = [sys.executable, "-m", module, "--fd", str(sock.fileno()), *args]
        self._host, self._port = sock.getsockname()[:2]
        self._fd = sock.fileno()
        self._env = {**os.environ, **environment(settings), **env}
        self._start()

    def _start(self) -> None:
        self.id = random_id("ps-")
        # The child ends when its standard input does, which the kernel sees to however this process dies.
        self.process = subprocess.Popen(  # noqa: S603 - our own modules
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self._fd],
            env={**self._env, "LASTGOOD_PROCESS_ID": self.id},
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

    def revive(self) -> str | None:
        """Start it again if it has died, and give the id of the one that had. Raises `Unavailable`."""
        if self.process.poll() is None:
            return None
        died = self.id
        self._start()
        self.wait_ready()
        return died

    def replace(self) -> "tuple[subprocess.Popen[bytes], str]":
        """Start another on the same socket, and give the one that ran till now, which is still to be ended, with its
        id. Raises `Unavailable`; then the former one stays."""
        former, former_id = self.process, self.id
        try:
            self._start()
            self.wait_ready()
        except (Unavailable, OSError):
            self.process, self.id = former, former_id
            raise
        return former, former_id

    def exhausted(self) -> bool:
        """Whether this very process says that it should be replaced. One that does not answer may be busy: whether it
        lives is another question."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=1.0)
        try:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            said = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            return False
        finally:
            connection.close()
        return answer.status == 503 and isinstance(said, dict) and said.get("pid") == self.process.pid

    def stop(self) -> None:
        """End it: politely, then not."""
        _end(self.process, _STOP_SECONDS)


def _end(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Watch:
    """The thread that starts `children` again when they die, and replaces engines that are exhausted. `gone` is told
    the id of each process that ended. Call `close` before ending the children."""

    def __init__(self, children: Sequence[Child], gone: Callable[[str], None]) -> None:
        self._children = children
        self._gone = gone
        self._over = threading.Event()
        self._retiring: list[tuple[threading.Thread, subprocess.Popen[bytes]]] = []
        self._next_look = 0.0
        self._thread = threading.Thread(target=self._run, name="children", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Watch no longer, and end those that were replaced."""
        self._over.set()
        self._thread.join(_STOP_SECONDS)
        for thread, process in self._retiring:
            _end(process, _STOP_SECONDS)
            thread.join(1.0)

    def _run(self) -> None:
        while not self._over.wait(_WATCH_SECONDS):
            look = time.monotonic() >= self._next_look
            if look:
                self._next_look = time.monotonic() + _HEALTH_SECONDS
            for child in self._children:
                try:
                    if not self._over.is_set():
                        self._see_to(child, look=look)
                except Unavailable as error:
                    print(f"lastgood: {error}", file=sys.stderr)
                    self._over.wait(1.0)  # it dies at once: try again, but not in a spin

    def _see_to(self, child: Child, *, look: bool) -> None:
        died = child.revive()
        if died:
            print(f"lastgood: a {child.role} process had died and was started again", file=sys.stderr)
            self._gone(died)
        elif look and child.role == "engine" and child.exhausted():
            former, its_id = child.replace()
            thread = threading.Thread(target=self._retire, args=(former, its_id), daemon=True)
            self._retiring = [pair for pair in self._retiring if pair[0].is_alive()] + [(thread, former)]
            thread.start()
            print("lastgood: an engine process with too many runs that would not end was replaced", file=sys.stderr)

    def _retire(self, former: "subprocess.Popen[bytes]", its_id: str) -> None:
        _end(former, _RETIRE_SECONDS)
        self._gone(its_id)


class Children:
    """A running set of engine and gateway workers, watched over. `gone` is told the id of each that ended before its
    time."""

    def __init__(
        self,
        settings: Settings,
        *,
        engine_token: str,
        gateway: socket.socket,
        engine_workers: int,
        gone: Callable[[str], None] = lambda id: None,
    ) -> None:
        self.gateway = url_of(gateway)
        self._engine_sockets = [listen("127.0.0.1", 0) for _ in range(engine_workers)]
        self.engines = [url_of(sock) for sock in self._engine_sockets]
        self._gateway_socket = gateway
        self._watch: Watch | None = None
        self._all = [
            Child("engine", "lastgood.targets.engine", sock, settings, LASTGOOD_ENGINE_TOKEN=engine_token)
            for sock in self._engine_sockets
        ]
        addresses = [part for url in self.engines for part in ("--engine", url)]
        self._all += [
            Child(
                "gateway",
                "lastgood.gateway",
                gateway,
                settings,
                args=addresses,
                LASTGOOD_ENGINE_TOKEN=engine_token,
            )
            for _ in range(settings.gateway_workers)
        ]
        try:
            for child in self._all:
                child.wait_ready()
        except Unavailable:
            self.close()
            raise
        self._watch = Watch(self._all, gone)

    def workers(self, role: str) -> list[int]:
        """The process ids of the workers of `role`."""
        return [child.process.pid for child in self._all if child.role == role]

    def close(self) -> None:
        """End all of them and close the sockets."""
        if self._watch is not None:
            self._watch.close()
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
    """The settings that differ from their defaults, as the variables that a child reads: tables and lists as JSON."""
    values = settings.model_dump(mode="json", exclude_defaults=True)
    return {
        "LASTGOOD_HOME": str(settings.home),
        **{
            f"LASTGOOD_{name.upper()}": json.dumps(value) if isinstance(value, dict | list) else str(value)
            for name, value in values.items()
        },
    }
