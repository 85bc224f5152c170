"""An answer of 400 and above, as one of our errors. Dify has several shapes: ``{code, message, status}``,
``{message}``, ``{error: …}``, ``{result: "fail", message}``, an HTML page, and 500 for an id that it cannot read."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from lastgood.errors import (
    DifyBusy,
    DifyDenied,
    DifyDraftChanged,
    DifyError,
    DifyFailed,
    DifyMissing,
    DifyRefused,
)
from lastgood.targets.dify.wire import Call, Reply, outcome

_MOST_SAID = 300
NOT_SET_UP = ("not_setup", "not_init_validated")
# Its validation errors quote a part of what was sent, and name a page of the library it uses.
_QUOTED = re.compile(r"\[type=[^\n]*|For further information visit \S*|input_value=[^\n]*")
# Its 404s guess at other paths.
_GUESSES = re.compile(r"You have requested this URI .*", re.DOTALL)


def refusal(call: Call, reply: Reply, server: str, secrets: Collection[str] = ()) -> DifyError:
    """The error that `reply` (400 and above) to `call` means. None of `secrets` is in it."""
    code, said = saying(reply, secrets)
    data: dict[str, Any] = {"server": server, "what": call.what, "said": said, "code": code, "answered": reply.status}
    if reply.status == 429:
        seconds = retry_after(reply)
        wait = "for a while" if seconds is None else f"{seconds:g} s"
        return DifyBusy(**data, wait=wait, retry_after=seconds, done="no")
    if reply.status >= 500:
        return DifyFailed(**data, **outcome(call))
    data["done"] = "no"
    # 400 in old versions, 409 in new ones.
    if code == "draft_workflow_not_sync":
        return DifyDraftChanged(**data)
    if reply.status in (401, 403) and code not in NOT_SET_UP:
        return DifyDenied(**data)
    if reply.status == 404:
        return DifyMissing(**data)
    return DifyRefused(**data)


def saying(reply: Reply, secrets: Collection[str] = ()) -> tuple[str, str]:
    """Dify's code (or ``""``) and what it said, on one line, without what it quotes of the request."""
    code, text = "", ""
    try:
        data = reply.json()
    except ValueError:
        data = None
    if isinstance(data, Mapping):
        inner = data.get("error")
        source = {**inner, **data} if isinstance(inner, Mapping) else data
        code = _text(source.get("code")) or _text(source.get("type")) or (inner if isinstance(inner, str) else "")
        text = _text(source.get("message")) or _text(source.get("detail")) or code
    # What was sent could be quoted anywhere, so secrets go first, before a cut could leave half of one.
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, "…")
            code = code.replace(secret, "…")
    text = _GUESSES.sub("", _QUOTED.sub("", text))
    text = " ".join(text.split()).rstrip(" .")
    if len(text) > _MOST_SAID:
        text = f"{text[:_MOST_SAID]}…"
    status = f"HTTP {reply.status}"
    return code[:80], f"{text} ({status})" if text else status


def is_no_route(reply: Reply) -> bool:
    """Whether a 404 says that the server has no such route, rather than no such thing: an HTML page (the console and
    the Service API), or ``not_found`` with the web framework's words (``/openapi/v1``)."""
    if reply.status != 404:
        return False
    try:
        data = reply.json()
    except ValueError:
        return True
    return isinstance(data, Mapping) and "requested URL was not found" in _text(data.get("message"))


def retry_after(reply: Reply) -> float | None:
    """The seconds of a `Retry-After`, as a number or a date; None where there is none. A date is held against the
    answer's own `Date`, because the two machines' clocks may differ."""
    value = reply.headers.get("Retry-After", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        then = _utc(parsedate_to_datetime(value))
    except (TypeError, ValueError):
        return None
    try:
        now = _utc(parsedate_to_datetime(reply.headers.get("Date", "")))
    except (TypeError, ValueError):
        now = datetime.now(UTC)
    return max(0.0, (then - now).total_seconds())


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
