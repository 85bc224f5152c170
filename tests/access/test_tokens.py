"""API tokens: shown once, kept as keyed hashes."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from lastgood.access import admins, grants, people, tokens
from lastgood.db import tables
from lastgood.db.audit import Principal
from lastgood.db.ring import KeyRing
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import InvalidRequest, LastAdmin, NameTaken, UnknownToken
from support.scene import ALICE, Clock


def owner(store: Store, value: str) -> str | None:
    with store.read() as tx:
        found = tokens.owner(tx, value)
    return found.name if found else None


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
    assert [tuple(row) for row in rows] == [
        ("first start", "token:create"),
        ("first start", "access:grant"),
        ("alice", "token:create"),
    ]


def test_a_token_needs_the_key_ring_it_was_made_with(store: Store) -> None:
    value = store.write(tokens.first_admin) or ""
    other = Store(store.settings, store.engine, KeyRing.open(store.settings.home / "other.json"))
    assert owner(other, value) is None


def test_no_two_tokens_are_the_same() -> None:
    assert len({tokens.new_token() for _ in range(100)}) == 100


def granted(store: Store, subject: str) -> list[tuple[str, str]]:
    statement = select(tables.grant.c.role, tables.grant.c.resource).where(
        tables.grant.c.subject == subject, tables.grant.c.present
    )
    with store.read() as tx:
        return sorted((row.role, row.resource) for row in tx.connection.execute(statement))


def test_a_token_is_granted_what_was_said_and_nothing_an_earlier_one_had(store: Store) -> None:
    def make(role: str | None, *resources: str) -> str:
        return store.write(lambda tx: tokens.create(tx, ALICE, "ci", role=role, resources=resources or ("*",)))

    first = make("releaser", "workflow:prod-*", "workflow:billing")
    assert owner(store, first) == "ci"
    assert granted(store, "token:ci") == [("releaser", "workflow:billing"), ("releaser", "workflow:prod-*")]
    with pytest.raises(NameTaken):
        make("viewer")
    store.write(lambda tx: tokens.revoke(tx, ALICE, "ci"))
    assert owner(store, first) is None and granted(store, "token:ci") == []
    with pytest.raises(UnknownToken):
        store.write(lambda tx: tokens.revoke(tx, ALICE, "ci"))
    # Granted while there was no token of that name: it waits for nobody.
    store.write(lambda tx: grants.put(tx, ALICE, grants.Grant("token:ci", "admin")))
    make(None)
    assert granted(store, "token:ci") == []


def test_a_token_ends_at_its_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, "2026-11-30T09:00:00.000000Z")
    until = "2026-11-30T10:00:00.000000Z"
    value = store.write(lambda tx: tokens.create(tx, ALICE, "ci", expires_at=until, role="viewer"))
    clock.set("2026-11-30 09:59")
    assert owner(store, value) == "ci"
    clock.set("2026-11-30 10:00")
    assert owner(store, value) is None
    with store.read() as tx:
        found = tokens.find(tx, value)
        assert found is not None and found.expired
        assert tokens.listing(tx)[0]["grants"] == [{"role": "viewer", "resource": "*"}]
    with pytest.raises(InvalidRequest):
        store.write(lambda tx: tokens.create(tx, ALICE, "late", expires_at=until))


def test_that_a_token_is_used_is_noted_once_a_minute(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, "2026-11-30T09:00:00.000000Z")
    value = store.write(lambda tx: tokens.create(tx, ALICE, "ci"))
    noted = []
    for minute in ("09:00", "09:00", "09:01", "09:02"):
        clock.set(f"2026-11-30 {minute}")
        with store.read() as tx:
            found = tokens.find(tx, value)
            assert found is not None
            stale = tokens.is_stale(tx, found)
        store.write(lambda tx: tokens.used(tx, "ci"))
        with store.read() as tx:
            noted.append((stale, tokens.listing(tx)[0]["used_at"][11:16]))
    assert noted == [(True, "09:00"), (False, "09:00"), (False, "09:00"), (True, "09:02")]


@pytest.mark.parametrize("name", ["", "x" * 64, "-ci", "a b", "a:b", "a/b", "ci\n", "ci\x1b[2J", "ä", "*"])
def test_a_token_has_a_plain_name(name: str) -> None:
    with pytest.raises(InvalidRequest):
        tokens.check_name(name)


def test_who_is_an_admin(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grant to somebody who cannot come in, or for less than everything, makes none."""
    clock = Clock(monkeypatch, "2026-11-30T09:00:00.000000Z")
    soon = "2026-11-30T10:00:00.000000Z"

    def work(tx: Tx) -> list[bool]:
        found = []

        def look() -> None:
            found.append(admins.exist(tx))

        look()
        grants.put(tx, ALICE, grants.Grant("ada", "admin"))
        grants.put(tx, ALICE, grants.Grant("token:gone", "admin"))
        tokens.create(tx, ALICE, "ci", role="admin", resources=["workflow:prod-*"])
        tokens.create(tx, ALICE, "viewer", role="viewer")
        look()
        ada = people.create(tx, ALICE, "ada")
        look()  # she has no password
        people.set_password(tx, ALICE, ada, "$argon2id$…")
        look()
        people.set_disabled(tx, Principal("root", "local"), people.find(tx, "ada"), True)
        look()
        tokens.create(tx, ALICE, "short", role="admin", expires_at=soon)
        look()
        return found

    assert store.write(work) == [False, False, False, True, False, True]
    clock.set("2026-11-30 10:00")
    with store.read() as tx:
        assert not admins.exist(tx) and not admins.none_ever(tx)


def test_nobody_shuts_the_last_admin_out_from_afar(store: Store) -> None:
    """On the data directory itself everything may be done, because no grant is needed there."""
    ada = store.write(lambda tx: people.create(tx, ALICE, "ada", password="$argon2id$…"))
    store.write(lambda tx: grants.put(tx, ALICE, grants.Grant("ada", "admin")))
    store.write(lambda tx: tokens.create(tx, ALICE, "ci", role="admin"))
    store.write(lambda tx: tokens.revoke(tx, ALICE, "ci"))
    with pytest.raises(LastAdmin):
        store.write(lambda tx: people.set_disabled(tx, ALICE, ada, True))
    with store.read() as tx:
        assert admins.exist(tx)
    store.write(lambda tx: tokens.reset_admin(tx, ALICE))
    store.write(lambda tx: people.set_disabled(tx, ALICE, ada, True))
    with pytest.raises(LastAdmin):
        store.write(lambda tx: tokens.revoke(tx, ALICE, "admin"))
    store.write(lambda tx: tokens.revoke(tx, Principal("root", "local"), "admin"))
