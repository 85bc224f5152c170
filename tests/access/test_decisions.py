"""Who may do what, and that a refusal is kept."""

import json
from typing import Any

import pytest
from sqlalchemy import select

from lastgood.access import decisions
from lastgood.db import audit, tables
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import Denied, LastgoodError
from support.scene import ALICE, NOBODY
from support.stores import on_sqlite

ACTIONS = ("workflow:read", "workflow:publish", "workflow:rollback:force", "key:create", "anything:else")


@pytest.mark.parametrize("action", ACTIONS)
def test_an_admin_may_and_nobody_else(store: Store, action: str) -> None:
    reader = Principal("eve", roles=frozenset({"viewer"}))
    for who, allowed in ((ALICE, True), (NOBODY, False), (reader, action == "workflow:read")):
        with store.read() as tx:
            truth = decisions.decide(tx, who, action, "workflow:prod-invoice")
        for decision in (truth, decisions.check_permission(store, who, action, "workflow:prod-invoice")):
            assert decision.allowed is allowed
            assert decision.reason, "a decision always carries its reason"


def test_a_refusal_is_kept_and_says_who_what_and_why(store: Store) -> None:
    who = Principal("mallory", "token", "rq-1", "10.0.0.9")
    with pytest.raises(Denied) as caught:
        decisions.require(store, who, "workflow:publish", "workflow:prod-invoice")
    for word in ("mallory", "workflow:publish", "workflow:prod-invoice"):
        assert word in str(caught.value)
    with store.read() as tx:
        (row,) = tx.connection.execute(select(tables.audit)).all()
    assert (row.actor, row.action, row.resource, row.result) == (
        "mallory",
        "workflow:publish",
        "workflow/prod-invoice",
        "denied",
    )
    assert row.reason
    facts = json.loads(row.canonical)
    assert (facts["kind"], facts["request_id"], facts["address"]) == ("token", "rq-1", "10.0.0.9")


def test_who_may_passes_without_a_row(store: Store) -> None:
    decisions.require(store, ALICE, "workflow:publish", "workflow:prod-invoice")
    with store.read() as tx:
        assert tx.connection.execute(select(tables.audit)).first() is None


@on_sqlite
def test_a_refusal_that_cannot_be_kept_is_still_a_refusal(store: Store) -> None:
    store.write(lambda tx: tx.connection.exec_driver_sql("DROP TABLE audit"))
    with pytest.raises(LastgoodError):
        decisions.require(store, NOBODY, "workflow:publish", "workflow:prod-invoice")


def test_the_bytes_of_an_audit_row_are_fixed_when_it_is_written(store: Store) -> None:
    """The same facts give the same bytes, whatever order they came in; empty ones are left out."""

    def write(reverse: bool) -> bytes:
        facts: dict[str, Any] = {"before": "v-20261123-01", "after": "v-20261123-02", "nothing": None, "empty": ""}
        if reverse:
            facts = dict(reversed(facts.items()))

        def work(tx: Tx) -> None:
            tx.now = "2026-11-23T12:00:00.000000Z"
            audit.append(tx, ALICE, "workflow:publish", "workflow/wf-abc123", reason="bäd\nline", **facts)

        store.write(work)
        with store.read() as tx:
            rows = tx.connection.execute(select(tables.audit).order_by(tables.audit.c.pk.desc())).first()
        return bytes(rows.canonical) if rows else b""

    first, second = write(False), write(True)
    assert first == second
    facts = json.loads(first)
    assert list(facts) == sorted(facts)
    assert facts == {
        "action": "workflow:publish",
        "actor": "alice",
        "after": "v-20261123-02",
        "at": "2026-11-23T12:00:00.000000Z",
        "before": "v-20261123-01",
        "code": "LG140A",
        "kind": "person",
        "reason": "bäd\nline",
        "resource": "workflow/wf-abc123",
        "result": "allowed",
    }
    assert b"\n" not in first, "one row is one line, whatever is in it"
