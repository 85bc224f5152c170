"""The store's own clock, on which leases end: processes on many machines share no other."""

import time

from sqlalchemy import ColumnElement, literal_column

from lastgood.db.tx import Tx

POSTGRES: ColumnElement[int] = literal_column("(extract(epoch from clock_timestamp()) * 1000)::bigint")


def now_ms(tx: Tx) -> ColumnElement[int] | int:
    """Milliseconds since 1970; on PostgreSQL an expression, which costs no round trip."""
    return POSTGRES if tx.postgres else time.time_ns() // 1_000_000
