"""Pinning a request to a version: in the path of a workflow run, in the body of a chat message."""

import json
import re
from typing import Any

import orjson

_OWN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Refused(Exception):
    """A request that Dify would refuse too, or that is kept from it. `status`, `code` and `message` are those of
    its error; `retry_after` says in how many seconds to try again."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


def is_version(own: str) -> bool:
    """Whether a client's own `own` can be the id of a version on some target (and stand in a header)."""
    return _OWN_ID.fullmatch(own) is not None


def is_json(content_type: str) -> bool:
    """Whether a Content-Type says JSON (``application/json`` or ``application/*+json``)."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def pin_chat(body: bytes, content_type: str, placement: str) -> tuple[bytes, str | None]:
    """The body of a chat message with ``workflow_id`` set to `placement`, and None; or, when the client names a
    version itself, the body with that one alone, and its id. Raises `Refused`."""
    if not is_json(content_type):
        raise Refused(415, "unsupported_media_type", "Send the body as JSON, with Content-Type: application/json.")
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "bad_request", f"The body is not JSON: {error}.") from None
    if not isinstance(message, dict):
        raise Refused(400, "bad_request", "The body must be a JSON object.")
    if "workflow_id" not in message:
        return with_field(body, message, "workflow_id", placement), None
    own = message["workflow_id"]
    if own is None or own == "":
        return _rewritten(body, placement), None
    if not isinstance(own, str) or not is_version(own):
        raise Refused(400, "bad_request", "workflow_id is not the id of a version.")
    return _rewritten(body, own), own


def with_field(body: bytes, message: dict[str, Any], name: str, value: str) -> bytes:
    """`body`, which reads as `message`, with exactly one field `name`."""
    if name in message:
        return _rewritten(body, value, name)
    # Spliced in, not written anew: what the client sent stays as it was, its big numbers included.
    start = body.index(b"{") + 1
    comma = b"," if message else b""
    return b"".join((body[:start], orjson.dumps(name), b":", orjson.dumps(value), comma, body[start:]))


def _rewritten(body: bytes, value: str, name: str = "workflow_id") -> bytes:
    """`body` with exactly one field `name`, however often and however escaped it was named."""
    message: dict[str, Any] = json.loads(body)
    message[name] = value
    return json.dumps(message, separators=(",", ":")).encode()
