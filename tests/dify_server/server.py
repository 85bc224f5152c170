"""The fake's HTTP side: requests in, answers out, and the hooks by which a test makes it misbehave."""

import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from dify_server.routes import answer
from dify_server.world import World


@dataclass(frozen=True)
class Request:
    """What came in. Header names are lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True)
class Answer:
    """What goes out. `body` is JSON unless it is bytes; ``lines`` are sent one by one instead."""

    status: int
    body: Any = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    lines: tuple[str, ...] = ()


Hook = Callable[[Request], Answer | None]


class FakeDify:
    """A Dify on a free loopback port.

    `world` is its state, `requests` what came in. A `hook` may answer instead of it: ``None`` lets it answer."""

    def __init__(self, version: str = "1.13.0", tls: ssl.SSLContext | None = None) -> None:
        self.world = World(version)
        self.requests: list[Request] = []
        self.hook: Hook | None = None
        self._lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                parts = urlsplit(self.path)
                request = Request(
                    self.command,
                    parts.path,
                    dict(parse_qsl(parts.query)),
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(int(self.headers.get("Content-Length") or 0)),
                )
                self._send(fake.respond(request))

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = handle_any  # noqa: N815 - http.server's names

            def _send(self, given: Answer) -> None:
                text = given.body if isinstance(given.body, bytes) else json.dumps(given.body).encode()
                body = b"" if given.status == 204 else "".join(given.lines).encode() or text
                names = {name.lower() for name, _ in given.headers}
                kind = "text/event-stream" if given.lines else "application/json"
                kind = "text/html; charset=utf-8" if isinstance(given.body, bytes) else kind
                self.send_response(given.status)
                if "content-type" not in names:
                    self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-Version", fake.world.version)
                for name, value in given.headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that break off are meant
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def respond(self, request: Request) -> Answer:
        """What it answers; one request at a time changes its state."""
        with self._lock:
            self.requests.append(request)
        given = self.hook(request) if self.hook else None
        if given is not None:
            return given
        with self._lock:
            status, body, headers = answer(self.world, request)
        if isinstance(body, tuple):
            return Answer(status, None, headers, body)
        return Answer(status, body, headers)

    def asked(self, path: str) -> int:
        """How often `path` was asked for."""
        return sum(1 for request in self.requests if request.path == path)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
