"""The process table: the running parts of Lastgood, their leases, and what they have applied.

A gateway worker on PostgreSQL holds a lease, renewed by its heartbeat. A move is acknowledged when every worker
whose lease still runs has applied its revision; a worker whose lease has ended refuses requests by itself (or,
by its own setting, goes on serving, and is then named as unconfirmed). Leases end by the database's clock."""

import json
import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, bindparam, delete, insert, literal_column, select, update
from sqlalchemy.exc import DBAPIError

import lastgood
from lastgood.db import tables
from lastgood.db.store import Store, row_dict
from lastgood.db.tx import Tx
from lastgood.ids import random_id

_FORGET_MS = 3_600_000
_P = tables.process
_NOW_PG: ColumnElement[int] = literal_column("(extract(epoch from clock_timestamp()) * 1000)::bigint")
# Rows of long ago belong to workers that died; those that serve on without the store come back within the hour.
_BEHIND = select(_P.c.id, _P.c.on_store_loss, _P.c.lease_until_ms, _NOW_PG.label("now")).where(
    _P.c.role == "gateway", _P.c.applied < bindparam("revision"), _P.c.lease_until_ms > _NOW_PG - _FORGET_MS
)
_POLL_SECONDS = 0.001
EVERY_WORKER = "every worker"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How a move reached the gateway workers: milliseconds waited, and the workers (ids) that may not know of it, or
    `EVERY_WORKER` where the store could not be asked."""

    waited_ms: float
    unconfirmed: tuple[str, ...] = ()


def _now_ms(tx: Tx) -> ColumnElement[int] | int:
    """The present on the store's own clock; on PostgreSQL an expression, which costs no round trip."""
    return _NOW_PG if tx.postgres else time.time_ns() // 1_000_000


def register(
    tx: Tx,
    role: str,
    *,
    address: str = "",
    capabilities: tuple[str, ...] = (),
    on_store_loss: str = "stop",
    applied: int = 0,
    lease_seconds: float,
) -> str:
    """Enter a starting process and give its id, such as ``ps-k3x9a2b7c1``. It counts as live for `lease_seconds`."""
    process_id = random_id("ps-")
    tx.connection.execute(
        insert(_P).values(
            id=process_id,
            role=role,
            version=lastgood.__version__,
            capabilities=json.dumps(capabilities),
            address=address,
            on_store_loss=on_store_loss,
            applied=applied,
            started_at=tx.now,
            lease_until_ms=_now_ms(tx) + int(lease_seconds * 1000),
        )
    )
    return process_id


def heartbeat(tx: Tx, process_id: str, *, lease_seconds: float, applied: int | None = None) -> bool:
    """Renew a lease and say what is applied. False when the row is gone (then register again)."""
    values: dict[str, ColumnElement[int] | int] = {"lease_until_ms": _now_ms(tx) + int(lease_seconds * 1000)}
    if applied is not None:
        values["applied"] = applied
    return tx.connection.execute(update(_P).where(_P.c.id == process_id).values(**values)).rowcount == 1


def leave(tx: Tx, process_id: str) -> None:
    """Strike a process that ends."""
    tx.connection.execute(delete(_P).where(_P.c.id == process_id))


def forget_dead(tx: Tx) -> None:
    """Strike processes whose lease ended over an hour ago."""
    tx.connection.execute(delete(_P).where(_P.c.lease_until_ms < _now_ms(tx) - _FORGET_MS))


def listing(tx: Tx) -> list[dict[str, object]]:
    """Every known process: its columns, and `live`."""
    live = (_P.c.lease_until_ms > _now_ms(tx)).label("live")
    rows = tx.connection.execute(select(_P, live).order_by(_P.c.role, _P.c.id))
    return [{**row_dict(row), "capabilities": json.loads(row.capabilities)} for row in rows]


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
