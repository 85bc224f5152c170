"""The audit table and the outbox: rows that a transaction appends and nobody changes."""

import json
import re
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import insert

from lastgood.db import tables
from lastgood.db.codes import code_of
from lastgood.db.tx import Tx

_APPEND = insert(tables.audit)
_EMIT = insert(tables.outbox)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and the request it came with. `kind`: ``person``, ``token``, ``service``, or ``local`` (whoever works
    on the data directory itself; the name is what the system calls them, and proves nothing). `roles` are those of
    its session, beside what is granted. `method` and `path` are those of the HTTP request (the path without its
    query, which may hold anything); empty where there was none."""

    name: str
    kind: str = "person"
    request_id: str = ""
    address: str = ""
    roles: frozenset[str] = frozenset()
    method: str = ""
    path: str = ""

    @property
    def subject(self) -> str:
        """What grants call it: ``u1002``, ``token:ci``, ``service:guard``, ``local``."""
        if self.kind == "person":
            return self.name
        return "local" if self.kind == "local" else f"{self.kind}:{self.name}"


def append(
    tx: Tx, who: Principal, action: str, resource: str, *, result: str = "allowed", reason: str = "", **facts: Any
) -> None:
    """Append one audit row. `resource` is a path such as ``workflow/wf-abc123``; `facts` are JSON values (before
    and after ids or digests), never secrets. What looks like a token or a password is masked all the same, because
    people paste such things where a name or a reason is asked for.

    `result`: ``allowed``, ``denied``, or ``failed`` for what was allowed and then came to nothing."""
    row = {
        "at": tx.now,
        "actor": who.name,
        "action": action,
        "resource": resource,
        "result": result,
        "reason": reason,
        "code": code_of(action, result),
    }
    asked = {"request_id": who.request_id, "address": who.address, "method": who.method, "path": who.path}
    more = {name: value for name, value in ({"kind": who.kind} | asked | facts).items() if value not in ("", None)}
    try:
        canonical = orjson.dumps({**row, **more}, option=_CANONICAL)
    except orjson.JSONEncodeError:  # half of a surrogate pair
        canonical = b""
    small = canonical.lower()
    if not canonical or any(mark in small for mark in _MARKS):
        row, more = _plain(row), _plain(more)
        canonical = orjson.dumps({**row, **more}, option=_CANONICAL)
        row = {name: value.replace("\0", "\ufffd") for name, value in row.items()}  # PostgreSQL's text takes no NUL
    tx.connection.execute(_APPEND, {**row, "canonical": canonical})


def emit(tx: Tx, event: str, subject: str, payload: dict[str, Any]) -> None:
    """Append one event for the subscribers of callbacks (`payload`: JSON values, no secrets)."""
    tx.connection.execute(
        _EMIT, {"at": tx.now, "type": event, "subject": subject, "payload": json.dumps(payload, sort_keys=True)}
    )


_CANONICAL = orjson.OPT_SORT_KEYS

_NAMED = (b"password=", b"token=", b"secret=", b"api_key=")
# Tokens of ours, keys as Dify and the makers of models form them, whatever a header or a URL carries.
_SECRET = re.compile(
    r"\blg_[A-Za-z0-9_-]{20,}|\bapp-[A-Za-z0-9]{20,}|\b(?:sk|pk|ghp|gho|github_pat|xox[abp])[-_][A-Za-z0-9_-]{16,}"
    r"|(?<=://)[^/@\s]+(?=@)|(?i:(?<=bearer )|(?<=password=)|(?<=token=)|(?<=secret=)|(?<=api_key=))[^\s&\"']+"
)
# One of these is in whatever holds one of those (or a NUL): most rows have none, and are spared the search.
_MARKS = (
    b"\\u0000",
    b"lg_",
    b"app-",
    b"sk-",
    b"sk_",
    b"pk-",
    b"pk_",
    b"ghp",
    b"gho",
    b"github",
    b"xox",
    b"://",
    b"bearer",
    *_NAMED,
)
_MASK = "*" * 20


def _plain(value: Any) -> Any:
    """`value` with texts, however deep, that every store and reader takes: secrets masked, half of a surrogate pair
    replaced."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def masked(value: str) -> str:
    """`value` without what looks like a token or a password."""
    whole = value if value.isascii() else value.encode("utf-8", "replace").decode()
    return _SECRET.sub(_MASK, whole)
