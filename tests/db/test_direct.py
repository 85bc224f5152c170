"""Reads that go to the driver itself answer and fail as other statements do."""

import pytest
from sqlalchemy import bindparam, select, text

from lastgood.db import tables
from lastgood.db.direct import Direct
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import LastgoodError, StoreUnreachable
from support.stores import on_postgres

_CONTENT = tables.content
_BODIES = Direct(
    select(_CONTENT.c.size, _CONTENT.c.body).where(_CONTENT.c.digest == bindparam("digest")).order_by(_CONTENT.c.size)
)
_BYTES = bytes(range(256))


def test_rows_are_those_of_the_transaction(store: Store) -> None:
    def work(tx: Tx) -> list[tuple[object, ...]]:
        tx.connection.execute(_CONTENT.insert(), [{"digest": "ab" * 32, "size": 7, "body": _BYTES}])
        return _BODIES.rows(tx, digest=b"\xab" * 32)

    assert store.write(work) == [(7, _BYTES)]
    with store.read() as tx:
        assert _BODIES.rows(tx, digest=b"\xab" * 32) == [(7, _BYTES)]
        assert _BODIES.rows(tx, digest=b"\xac" * 32) == []


def test_each_database_has_its_own_statement(store: Store) -> None:
    each = Direct(select(text("'sqlite'")), select(text("'postgres'")))
    with store.read() as tx:
        assert each.rows(tx) == [("postgres" if store.postgres else "sqlite",)]


def test_an_error_is_named_as_that_of_any_statement_is(store: Store) -> None:
    with pytest.raises(LastgoodError, match="nowhere"), store.read() as tx:
        Direct(select(text("1")).select_from(text("nowhere"))).rows(tx)
    with store.read() as tx:
        assert _BODIES.rows(tx, digest=b"\xab" * 32) == []


@on_postgres
def test_a_connection_that_is_cut_is_not_used_again(store: Store) -> None:
    with pytest.raises(StoreUnreachable), store.read() as tx:
        pid = tx.connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with store.engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        try:
            _BODIES.rows(tx, digest=b"\xab" * 32)
        finally:
            assert tx.connection.invalidated
    with store.read() as tx:
        assert _BODIES.rows(tx, digest=b"\xab" * 32) == []
