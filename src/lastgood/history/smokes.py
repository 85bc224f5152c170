"""Smoke requests: what proves a version of a workflow. They are kept with the workflow, not with a version."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from sqlalchemy import bindparam, delete, insert, select

from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import InvalidExpectation, UnknownSmoke
from lastgood.history.workflows import Workflow
from lastgood.ids import random_id

_LIST = (
    select(
        t.smoke.c.id,
        t.smoke.c.inputs,
        t.smoke.c.query,
        t.smoke.c.expect,
        t.smoke.c.max_ms,
        t.smoke.c.created_at,
        t.smoke.c.created_by,
    )
    .where(t.smoke.c.workflow_pk == bindparam("workflow"))
    .order_by(t.smoke.c.pk)
)


@dataclass(frozen=True, slots=True)
class Smoke:
    """One smoke request: what is sent (`query` for chatflows), and what must hold of the answer: JMESPath
    expressions over ``{"outputs", "status", "answer", "elapsed_ms"}`` that are true, and a time limit."""

    id: str
    inputs: dict[str, Any]
    query: str
    expect: tuple[str, ...]
    max_ms: int | None
    created_at: str
    created_by: str

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "id": self.id,
            "inputs": self.inputs,
            "query": self.query,
            "expect": list(self.expect),
            "max_ms": self.max_ms,
            "created_at": self.created_at,
            "created_by": self.created_by,
        }


def add(
    tx: Tx,
    who: Principal,
    workflow: Workflow,
    *,
    inputs: dict[str, Any],
    query: str = "",
    expect: Sequence[str] = (),
    max_ms: int | None = None,
) -> Smoke:
    """Keep a smoke request with `workflow`. Raises `InvalidExpectation`."""
    for expression in expect:
        try:
            jmespath.compile(expression)
        except JMESPathError as error:
            reason = str(error).splitlines()[0].rstrip(":")
            raise InvalidExpectation(expression=expression, reason=reason) from None
    smoke = Smoke(random_id("smoke-", 6), inputs, query, tuple(expect), max_ms, tx.now, who.name)
    values = smoke.public() | {"inputs": json.dumps(inputs), "expect": json.dumps(list(expect))}
    tx.connection.execute(insert(t.smoke), {"workflow_pk": workflow.pk, **values})
    audit.append(tx, who, "workflow:smoke", f"workflow/{workflow.id}/smoke/{smoke.id}", expect=list(expect))
    return smoke


def listing(tx: Tx, workflow: Workflow) -> list[Smoke]:
    """The smoke requests of `workflow`, oldest first."""
    return [
        Smoke(r.id, json.loads(r.inputs), r.query, tuple(json.loads(r.expect)), r.max_ms, r.created_at, r.created_by)
        for r in tx.connection.execute(_LIST, {"workflow": workflow.pk})
    ]


def remove(tx: Tx, who: Principal, workflow: Workflow, id: str) -> None:
    """Forget a smoke request. Raises `UnknownSmoke`."""
    statement = delete(t.smoke).where(t.smoke.c.workflow_pk == workflow.pk, t.smoke.c.id == id)
    if tx.connection.execute(statement).rowcount == 0:
        raise UnknownSmoke(workflow=workflow.slug, smoke=id)
    audit.append(tx, who, "workflow:smoke-remove", f"workflow/{workflow.id}/smoke/{id}")
