"""A small HTTP server that plays the embedded engine."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeEngine:
    """What it answers to everybody, and what it was asked: (path, authorization, body)."""

    status: int = 200
    body: bytes = b"{}"
    wait: float = 0.0
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""

    def succeed(self, **outputs: Any) -> None:
        """Answer as a run of `documents.document` does that ended well, with more `outputs`."""
        self.say({"data": {"status": "succeeded", "outputs": {"said": "hello", **outputs}}})

    def say(self, body: Any, status: int = 200) -> None:
        """Answer `body` as JSON."""
        self.status, self.body = status, json.dumps(body).encode()


@contextmanager
def fake_engine() -> Iterator[FakeEngine]:
    """A running one."""
    engine = FakeEngine()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            engine.asked.append((self.path, self.headers["authorization"], body))
            time.sleep(engine.wait)
            self.send_response(engine.status)
            self.send_header("content-length", str(len(engine.body)))
            self.end_headers()
            self.wfile.write(engine.body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that give up are meant
        engine.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield engine
        finally:
            server.shutdown()
