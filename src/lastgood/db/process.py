"""The process table: the running parts of Lastgood, their leases, and what they have applied.

A gateway worker on PostgreSQL holds a lease, renewed by its heartbeat. A move is acknowledged when every worker
whose lease still runs has applied its revision; a worker whose lease has ended refuses requests by itself (or,
by its own setting, goes on serving, and is then named as unconfirmed). Leases end by the database's clock.

Whether a process lives is told by its lease alone: what else a row says may be of another release, and is read with
defaults."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, insert, literal, select, update
from sqlalchemy.exc import DBAPIError

import lastgood
from lastgood.db import tables
from lastgood.db.clock import POSTGRES, now_ms
from lastgood.db.messages import LATE_MS, READS
from lastgood.db.store import Store, row_dict
from lastgood.db.tx import Tx
from lastgood.ids import random_id

_FORGET_MS = 3_600_000
_P = tables.process
# Rows of long ago belong to workers that died; those that serve on without the store come back within the hour.
_BEHIND = select(_P.c.id, _P.c.on_store_loss, _P.c.lease_until_ms, POSTGRES.label("now")).where(
    _P.c.role == "gateway", _P.c.applied < bindparam("revision"), _P.c.lease_until_ms > POSTGRES - _FORGET_MS
)
_POLL_SECONDS = 0.001
EVERY_WORKER = "every worker"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How a move reached the gateway workers: milliseconds waited, and the workers (ids) that may not know of it, or
    `EVERY_WORKER` where the store could not be asked."""

    waited_ms: float
    unconfirmed: tuple[str, ...] = ()


def register(
    tx: Tx,
    role: str,
    *,
    id: str | None = None,
    address: str = "",
    capabilities: Sequence[str] = READS,
    on_store_loss: str = "stop",
    applied: int = 0,
    lease_seconds: float,
) -> str:
    """Enter a starting process and give its id, such as ``ps-k3x9a2b7c1``; or `id`, whose former row it takes. It
    counts as live for `lease_seconds`. `capabilities` are the forms that it reads (`messages`) and what it does."""
    if id is not None:
        leave(tx, id)
    process_id = id or random_id("ps-")
    lease_ms = int(lease_seconds * 1000)
    tx.connection.execute(
        insert(_P).values(
            id=process_id,
            role=role,
            version=lastgood.__version__,
            capabilities=json.dumps({"reads": list(capabilities), "lease_ms": lease_ms}),
            address=address,
            on_store_loss=on_store_loss,
            applied=applied,
            started_at=tx.now,
            lease_until_ms=now_ms(tx) + lease_ms,
        )
    )
    return process_id


def heartbeat(tx: Tx, process_id: str, *, lease_seconds: float, applied: int | None = None) -> bool:
    """Renew a lease and say what is applied. False when the row is gone (then register again)."""
    values: dict[str, Any] = {"lease_until_ms": now_ms(tx) + int(lease_seconds * 1000)}
    if applied is not None:
        values["applied"] = applied
    return tx.connection.execute(update(_P).where(_P.c.id == process_id).values(**values)).rowcount == 1


def leave(tx: Tx, process_id: str) -> None:
    """Strike a process that ends, or that its parent saw end."""
    tx.connection.execute(delete(_P).where(_P.c.id == process_id))


def leave_all(tx: Tx) -> None:
    """Strike every process: for the one server of a SQLite store as it starts, since those of a former start died
    with it. Who lives all the same enters again with its next beat."""
    tx.connection.execute(delete(_P))


def forget_dead(tx: Tx) -> None:
    """Strike processes whose lease ended over an hour ago."""
    tx.connection.execute(delete(_P).where(_P.c.lease_until_ms < now_ms(tx) - _FORGET_MS))


def listing(tx: Tx) -> list[dict[str, Any]]:
    """Every known process, whichever release wrote its row: its columns (`capabilities` as a list of names), `live`,
    `state` (``live``, ``late``: the lease ended within the last minute, ``gone``), and `heartbeat_age_ms`, None where
    the row does not tell how long its lease is."""
    now = now_ms(tx)
    left = (_P.c.lease_until_ms - (literal(now) if isinstance(now, int) else now)).label("left_ms")
    found = []
    for row in tx.connection.execute(select(_P, left).order_by(_P.c.role, _P.c.started_at, _P.c.id)):
        names, lease_ms = _announced(row.capabilities)
        facts = row_dict(row)
        left_ms = int(facts.pop("left_ms"))
        facts["capabilities"] = names
        facts["live"] = left_ms > 0
        facts["state"] = "live" if left_ms > 0 else "late" if left_ms > -LATE_MS else "gone"
        facts["heartbeat_age_ms"] = None if lease_ms is None else max(0, lease_ms - left_ms)
        found.append(facts)
    return found


def _announced(text: str) -> tuple[list[str], int | None]:
    """The capabilities and the length of the lease (ms) in what a process of any release says of itself: nothing of
    it is needed, and what cannot be read counts as not said."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return [], None
    lease_ms = None
    if isinstance(told, dict):
        length = told.get("lease_ms")
        lease_ms = length if isinstance(length, int) and not isinstance(length, bool) else None
        told = told.get("reads")
    return [name for name in told if isinstance(name, str)] if isinstance(told, list) else [], lease_ms


def confirm(store: Store, revision: int) -> Confirmation:
    """Wait until no gateway worker can serve an older revision than `revision`, at most until the leases that run now
    have ended. On SQLite that is at once: every request reads the truth.

    A lease renewed later is not waited for, nor is a worker that comes later: both are followed by a read, which sees
    the revision. When the store goes away meanwhile, the workers that had not applied it are unconfirmed."""
    if not store.postgres:
        return Confirmation(0.0)
    began = time.perf_counter()
    unconfirmed: tuple[str, ...] = (EVERY_WORKER,)
    try:
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            behind = connection.execute(_BEHIND, {"revision": revision}).all()
            ends = {row.id: row.lease_until_ms for row in behind}
            while any(row.now < ends[row.id] for row in behind):
                unconfirmed = tuple(row.id for row in behind)
                time.sleep(_POLL_SECONDS)
                found = connection.execute(_BEHIND, {"revision": revision})
                behind = [row for row in found if row.id in ends]
            unconfirmed = tuple(row.id for row in behind if row.on_store_loss == "serve")
    except DBAPIError:
        pass  # the move is made; what is left to say is who may not know
    return Confirmation((time.perf_counter() - began) * 1000, unconfirmed)
