"""API tokens: shown once, kept as keyed hashes."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from lastgood.access import tokens
from lastgood.db import tables
from lastgood.db.ring import KeyRing
from lastgood.db.store import Store
from support.scene import ALICE


def owner(store: Store, value: str) -> str | None:
    with store.read() as tx:
        return tokens.owner(tx, value)


def test_the_first_start_makes_one_admin_token_and_the_next_none(store: Store) -> None:
    value = store.write(tokens.first_admin)
    assert value is not None
    assert value.startswith("lg_")
    assert len(value) > 40
    assert owner(store, value) == "admin"
    assert store.write(tokens.first_admin) is None
    assert owner(store, value) == "admin"


def test_the_store_does_not_hold_the_token(store: Store) -> None:
    value = store.write(tokens.first_admin) or ""
    with store.read() as tx:
        held = str(
            [tx.connection.execute(select(table)).all() for table in (tables.token, tables.audit, tables.outbox)]
        )
    assert value[3:] not in held
    assert value[3:20] not in held


@pytest.mark.parametrize(
    "change",
    [
        lambda value: "",
        lambda value: "lg_",
        lambda value: value[:-1],
        lambda value: value + "x",
        lambda value: value.removeprefix("lg_"),
        lambda value: value.swapcase(),
        lambda value: " " + value,
        lambda value: value + "\0",
        lambda value: "lg_" + "x" * 100_000,
        lambda value: "lg_' OR 1=1 --",
        lambda value: "lg_üñ",
    ],
)
def test_another_token_opens_nothing(store: Store, change: Callable[[str], str]) -> None:
    assert owner(store, change(store.write(tokens.first_admin) or "")) is None


def test_a_new_admin_token_ends_the_old_one_and_is_audited(store: Store) -> None:
    old = store.write(tokens.first_admin) or ""
    new = store.write(lambda tx: tokens.reset_admin(tx, ALICE))
    assert (owner(store, old), owner(store, new)) == (None, "admin")
    assert store.write(tokens.first_admin) is None
    with store.read() as tx:
        rows = tx.connection.execute(select(tables.audit.c.actor, tables.audit.c.action)).all()
    assert [tuple(row) for row in rows if row.action == "token:create"] == [
        ("first start", "token:create"),
        ("alice", "token:create"),
    ]


def test_a_token_needs_the_key_ring_it_was_made_with(store: Store) -> None:
    value = store.write(tokens.first_admin) or ""
    other = Store(store.settings, store.engine, KeyRing.open(store.settings.home / "other.json"))
    assert owner(other, value) is None


def test_no_two_tokens_are_the_same() -> None:
    assert len({tokens.new_token() for _ in range(100)}) == 100
