"""The process table: the running parts of Lastgood, their leases, and what they have applied.

A gateway worker on PostgreSQL holds a lease, renewed by its heartbeat. A move is acknowledged when every worker
whose lease still runs has applied its revision; a worker whose lease has ended refuses requests by itself (or,
by its own setting, goes on serving, and is then named as unconfirmed). Leases end by the database's clock."""

import json
import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, literal_column, select, update

import lastgood
from lastgood.db import tables
from lastgood.db.store import Store, row_dict
from lastgood.db.tx import Tx
from lastgood.ids import random_id

_P = tables.process
_NOW_PG: ColumnElement[int] = literal_column("(extract(epoch from clock_timestamp()) * 1000)::bigint")
_GATEWAYS = select(_P.c.id, _P.c.address, _P.c.on_store_loss, _P.c.applied, _P.c.lease_until_ms).where(
    _P.c.role == "gateway", _P.c.lease_until_ms > bindparam("since")
)
_POLL_SECONDS = 0.001
_FORGET_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How a move reached the gateway workers: milliseconds waited, and the workers (ids) that may not know."""

    waited_ms: float
    unconfirmed: tuple[str, ...] = ()


def _now_ms(tx: Tx) -> int:
    if tx.postgres:
        return int(tx.connection.execute(select(_NOW_PG)).scalar_one())
    return time.time_ns() // 1_000_000


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
        insert(_P),
        {
            "id": process_id,
            "role": role,
            "version": lastgood.__version__,
            "capabilities": json.dumps(capabilities),
            "address": address,
            "on_store_loss": on_store_loss,
            "applied": applied,
            "started_at": tx.now,
            "lease_until_ms": _now_ms(tx) + int(lease_seconds * 1000),
        },
    )
    return process_id


def heartbeat(tx: Tx, process_id: str, *, lease_seconds: float, applied: int | None = None) -> bool:
    """Renew a lease and say what is applied. False when the row is gone (then register again)."""
    values = {"lease_until_ms": _now_ms(tx) + int(lease_seconds * 1000)}
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
    now = _now_ms(tx)
    rows = tx.connection.execute(select(_P).order_by(_P.c.role, _P.c.id))
    return [
        {**row_dict(row), "capabilities": json.loads(row.capabilities), "live": row.lease_until_ms > now}
        for row in rows
    ]


def confirm(store: Store, revision: int) -> Confirmation:
    """Wait until no gateway worker can serve an older revision than `revision`, at most until the last lease that
    runs now has ended. On SQLite that is at once: every request reads the truth."""
    if not store.postgres:
        return Confirmation(0.0)
    began = time.perf_counter()
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while True:
            now, *_ = connection.execute(select(func.max(_NOW_PG))).one()
            behind = [
                row for row in connection.execute(_GATEWAYS, {"since": now - _FORGET_MS}) if row.applied < revision
            ]
            if not any(row.lease_until_ms > now for row in behind):
                unconfirmed = tuple(row.id for row in behind if row.on_store_loss == "serve")
                return Confirmation((time.perf_counter() - began) * 1000, unconfirmed)
            time.sleep(_POLL_SECONDS)
