"""Stand-ins for what workflows call: a model behind an OpenAI-compatible endpoint, and a web service that answers
for every host. They listen on loopback, need no key, and say the same thing each time."""

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from graphon.http import HttpResponse

from lastgood.targets.engine.cancel import Cancel
from lastgood.targets.engine.network import anywhere
from lastgood.targets.engine.web import Web

# What the JSON of both stand-ins holds beside their own: what the code of the workflow under test looks for.
wanted: dict[str, Any] = {}
_CATEGORY = re.compile(r'"category_id"\s*:\s*"([^"]+)"')


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        return

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class ModelStandIn(_Quiet):
    """``POST /v1/chat/completions``, streamed or not. Ask for ``slow`` in a prompt to get a word every 0.2 s, for
    ``fail`` in the model's name to get a 500."""

    def do_POST(self) -> None:
        asked = json.loads(self._body())
        if "fail" in asked.get("model", ""):
            self._answer(500, b'{"error": {"message": "the model is not well"}}')
            return
        text = reply(asked)
        usage = {"prompt_tokens": 7, "completion_tokens": len(text.split()), "total_tokens": 7 + len(text.split())}
        if not asked.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            self._answer(200, json.dumps({"choices": [choice], "usage": usage}).encode())
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        slow = "slow" in _said(asked)
        for word in re.findall(r"\S+\s*", text):
            self._event({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
            if slow:
                time.sleep(0.2)
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self._event({"choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, event: Mapping[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")


class EchoStandIn(_Quiet):
    """Any method on ``/<host>/<path>``: what was asked, as JSON. ``?sleep=S`` answers after S seconds, ``?status=N``
    with that status, ``?size=N`` with N bytes of text, ``?to=URL`` with a redirect; a path
    that ends in ``/around`` redirects to itself."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        body = self._body()
        time.sleep(min(60.0, float(query.get("sleep", 0))))
        if "to" in query or url.path.endswith("/around"):
            self._answer(302, b"", Location=query.get("to", self.path))
        elif "size" in query:
            self._answer(200, b"x" * int(query["size"]), "text/plain")
        else:
            told = {
                "method": self.command,
                "path": url.path,
                "query": query,
                "headers": dict(self.headers.items()),
                "body": body.decode(errors="replace"),
                "data": [{"id": 1, "name": "one", "value": 1.5}],
                "result": "ok",
            }
            told |= wanted
            self._answer(int(query.get("status", 200)), json.dumps(told).encode())

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET  # noqa: N815 - the names that http.server calls


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server of `handler` on a free port of loopback; gives ``127.0.0.1:PORT``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class EchoWeb(Web):
    """An HTTP client that takes every request, whatever its host, to the echo at `address`."""

    def __init__(self, cancel: Cancel, address: str) -> None:
        super().__init__(anywhere, cancel)
        self._address = address

    def _send(self, method: str, url: str, **options: Any) -> HttpResponse:
        there = urlsplit(url)
        query = f"?{there.query}" if there.query else ""
        return super()._send(method, f"http://{self._address}/{there.netloc}{there.path or '/'}{query}", **options)


def reply(asked: Mapping[str, Any]) -> str:
    """What the model says to a chat request: by the schema where one is given, a category where it is asked to
    classify, JSON where it is asked for that, else the last question."""
    schema = ((asked.get("response_format") or {}).get("json_schema") or {}).get("schema")
    said = _said(asked)
    if schema:
        return json.dumps(example(schema), ensure_ascii=False)
    if categories := _CATEGORY.findall(said) or re.findall(r"'category_id': '([^']+)'", said):
        return json.dumps({"category_id": categories[-1], "category_name": "stand-in"})
    if shapes := re.findall(r"<structure>\s*(\{.*?\})\s*</structure>", said, re.DOTALL):  # the earlier are examples
        return json.dumps(example(json.loads(shapes[-1])), ensure_ascii=False)
    if "json" in said.lower():
        known = {"result": "ok", "items": [{"name": "one", "value": 1}], "score": 1}
        return json.dumps(known | wanted, ensure_ascii=False)
    last = asked["messages"][-1]["content"] if asked.get("messages") else ""
    return f"You said: {last if isinstance(last, str) else 'something with a picture'}"[:400]


def example(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """The plainest value that fits a JSON schema (`root` is the whole one, for its references)."""
    root = schema if root is None else root
    if "$ref" in schema:
        return example(
            reduce(lambda part, step: part[step], schema["$ref"].removeprefix("#/").split("/"), root), root
        )
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: example(part, root) for name, part in (schema.get("properties") or {}).items()} or dict(wanted)
    if kind == "array":
        return [example(schema.get("items") or {"type": "string"}, root)] * max(1, int(schema.get("minItems", 1)))
    if kind == "string":
        return "text ".ljust(int(schema.get("minLength", 0)), "x").strip()
    if kind in {"number", "integer"}:
        return schema.get("minimum", 1)
    return {"boolean": True, "null": None}.get(kind, "text")


def _said(asked: Mapping[str, Any]) -> str:
    """The text of every message, pictures left out."""
    contents = [message.get("content") or "" for message in asked.get("messages") or []]
    parts = [part for content in contents for part in ([{"text": content}] if isinstance(content, str) else content)]
    return "\n".join(part.get("text", "") for part in parts)
