"""One HTTP/1.1 connection of the stand-in: requests off the wire, answers onto it."""

import asyncio
import json
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit

from dify_server.calls import Answer, Request

_REASONS = {one.value: one.phrase for one in HTTPStatus}


async def read(reader: asyncio.StreamReader) -> Request | None:
    """The next request; ``None`` at the end of the connection."""
    try:
        first = await reader.readexactly(1)
        if not first.isalpha():  # no HTTP: a TLS handshake, say
            return None
        head = first + await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return None
    line, *rest = head.decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ", 2)
    headers = {}
    for line in rest:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    parts = urlsplit(target)
    try:
        body = await _body(reader, headers)
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        return None
    return Request(method, unquote(parts.path), dict(parse_qsl(parts.query)), headers, body)


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length") or 0))
    whole = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        whole += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return whole


def head(status: int, version: str, headers: list[tuple[str, str]], kind: str, length: int | None) -> bytes:
    """Status line and headers. `length` is ``None`` for what comes in chunks."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}"]
    if "content-type" not in {name.lower() for name, _ in headers}:
        lines.append(f"Content-Type: {kind}")
    lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
    lines += [f"X-Version: {version}", "X-Env: PRODUCTION"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def whole(answer: Answer, version: str) -> bytes:
    """An answer that is sent at once."""
    text = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
    body = b"" if answer.status == 204 else "".join(answer.lines).encode() or text
    kind = "text/event-stream" if answer.lines else "application/json"
    kind = "text/html; charset=utf-8" if isinstance(answer.body, bytes) else kind
    return head(answer.status, version, answer.headers, kind, len(body)) + body


def chunk(text: str) -> bytes:
    data = text.encode()
    return b"%x\r\n%s\r\n" % (len(data), data)
