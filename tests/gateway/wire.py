"""HTTP on bare sockets for the tests: a client and a stand-in upstream that see and send every byte."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Fields = list[tuple[str, str]]


@dataclass
class Seen:
    """One message as it came: the words of its first line, its fields in order, its body, whether it was whole."""

    first: list[str]
    fields: Fields
    body: bytes = b""
    whole: bool = True

    @property
    def status(self) -> int:
        return int(self.first[1])

    @property
    def target(self) -> str:
        return self.first[1]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        found = self.all(name)
        assert len(found) <= 1, f"{name}: {found}"
        return found[0] if found else None

    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """A connection's bytes, read in pieces."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.held = b""

    def more(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            return False
        self.held += data
        return bool(data)

    def until(self, mark: bytes) -> bytes | None:
        while mark not in self.held:
            if not self.more():
                return None
        found, _, self.held = self.held.partition(mark)
        return found

    def exactly(self, count: int) -> bytes:
        while len(self.held) < count and self.more():
            pass
        found, self.held = self.held[:count], self.held[count:]
        return found

    def message(self, *, answer_to: str | None = None) -> Seen | None:
        """The next message; `answer_to` is the method that it answers, None when it is a request itself."""
        head = self.until(b"\r\n\r\n")
        if head is None:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        seen = Seen(first.split(" ", 2), fields)
        if answer_to is not None and seen.status == 100:
            return self.message(answer_to=answer_to)
        if answer_to == "HEAD" or (answer_to is not None and seen.status in {204, 304}):
            return seen
        length = seen.all("content-length")
        if "chunked" in "".join(seen.all("transfer-encoding")).lower():
            self._chunks(seen)
        elif length:
            seen.body = self.exactly(int(length[0]))
            seen.whole = len(seen.body) == int(length[0])
        elif answer_to is not None:
            while self.more():
                pass
            seen.body, self.held = self.held, b""
        return seen

    def _chunks(self, seen: Seen) -> None:
        while (size := self.until(b"\r\n")) is not None:
            count = int(size.split(b";")[0], 16)
            part = self.exactly(count + 2)
            if count == 0:
                if part[:2] != b"\r\n":
                    self.held = part + self.held
                    self.until(b"\r\n\r\n")
                return
            seen.body += part[:count]
            if len(part) < count + 2:
                break
        seen.whole = False


class Client:
    """One connection to a server at `port`."""

    def __init__(self, port: int, timeout: float = 10.0) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.line = Line(self.sock)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, method: str, target: str, fields: Fields | None = None, body: bytes | None = None) -> None:
        lines = [f"{method} {target} HTTP/1.1", "Host: gateway.test", *(f"{k}: {v}" for k, v in fields or [])]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    def answer(self, method: str = "GET") -> Seen:
        seen = self.line.message(answer_to=method)
        assert seen is not None, "the connection ended without an answer"
        return seen

    def ask(self, method: str, target: str, fields: Fields | None = None, body: bytes | None = None) -> Seen:
        self.send(method, target, fields, body)
        return self.answer(method)


def reply(status: int = 200, body: bytes = b"{}", fields: Fields | None = None, reason: str = "OK") -> bytes:
    """The bytes of an answer with a Content-Length."""
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{k}: {v}" for k, v in fields or []), f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

Handler = Callable[[Seen, Line], None]


@dataclass
class Upstream:
    """A stand-in upstream: `handle` answers each request on its socket; `seen` keeps the requests."""

    handle: Handler
    seen: list[Seen] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)
    connections: int = 0
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self.sock.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            self.connections += 1
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
            line = Line(sock)
            while (request := line.message()) is not None:
                self.seen.append(request)
                self.handle(request, line)
        sock.close()
        self.closed.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)  # else the accepting thread keeps it open
        self.sock.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def upstream(handle: Handler | bytes = reply(), tls: ssl.SSLContext | None = None) -> Iterator[Upstream]:  # noqa: B008
    """A running stand-in that answers every request by `handle`, or always with the same bytes."""
    running = Upstream(handle if callable(handle) else lambda _, line: line.sock.sendall(handle), tls=tls)
    try:
        yield running
    finally:
        running.close()


def refused_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
