"""The audit table and the outbox: rows that a transaction appends and nobody changes."""

import json
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import insert

from lastgood.db import tables
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
    and after ids or digests), never secrets."""
    row = {
        "at": tx.now,
        "actor": who.name,
        "action": action,
        "resource": resource,
        "result": result,
        "reason": reason,
    }
    asked = {"request_id": who.request_id, "address": who.address, "method": who.method, "path": who.path}
    more = {"kind": who.kind, **asked, **facts}
    canonical = orjson.dumps({**row, **{k: v for k, v in more.items() if v not in ("", None)}}, option=_CANONICAL)
    tx.connection.execute(_APPEND, {**row, "canonical": canonical})


def emit(tx: Tx, event: str, subject: str, payload: dict[str, Any]) -> None:
    """Append one event for the subscribers of callbacks (`payload`: JSON values, no secrets)."""
    tx.connection.execute(
        _EMIT, {"at": tx.now, "type": event, "subject": subject, "payload": json.dumps(payload, sort_keys=True)}
    )


_CANONICAL = orjson.OPT_SORT_KEYS
