"""The answers that the gateway gives by itself: problem documents (RFC 9457) that also carry the fields of Dify's
errors (``code``, ``message``, ``status``), so that a client of Dify reads them too."""

from collections.abc import Sequence
from email.utils import formatdate
from typing import Any

import orjson

from lastgood.errors import LastgoodError

Headers = Sequence[tuple[bytes, bytes]]


class Answer:
    """A whole answer: status, headers and body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def json_answer(status: int, content: Any, *, kind: bytes = b"application/json", more: Headers = ()) -> Answer:
    """An answer with a JSON body; `content` may be JSON bytes already."""
    body = content if isinstance(content, bytes) else orjson.dumps(content, default=str)
    headers = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"date", formatdate(usegmt=True).encode()),
        *more,
    ]
    return Answer(status, headers, body)


def problem(error: LastgoodError, *, status: int | None = None, code: str = "", more: Headers = ()) -> Answer:
    """`error` as a problem document; `status` and `code` where Dify has others than ours."""
    document = error.problem()
    document["status"] = status or error.status
    document["code"] = code or error.code.replace("-", "_")
    document["message"] = str(error)
    return json_answer(document["status"], document, kind=b"application/problem+json", more=more)


def dify_error(status: int, code: str, message: str, *, more: Headers = ()) -> Answer:
    """An error in the shape that Dify gives it."""
    return json_answer(status, {"code": code, "message": message, "status": status}, more=more)


def unauthorized(reason: str) -> Answer:
    """401: no app key, or an unknown one."""
    message = f"Access token is invalid: {reason}. Send `Authorization: Bearer app-…` with a key of this workflow."
    return dify_error(401, "unauthorized", message, more=((b"www-authenticate", b'Bearer realm="lastgood"'),))
