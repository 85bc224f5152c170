"""The journal of operations: what was decided, which steps began and how they ended, and who works on it now.

The record of a step commits together with its effect on the store. Who works on an operation holds a lease on the
store's clock and the fence number of its claim: whoever claims it later makes every write of the former fail."""

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import bindparam, insert, or_, select, update

from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.clock import now_ms
from lastgood.db.tx import Tx, parse_time, utc_text
from lastgood.errors import InvalidRequest, OperationOver, OperationTaken, UnknownOperation
from lastgood.history.workflows import Workflow
from lastgood.ids import random_id
from lastgood.release import flow
from lastgood.release.plan import Plan

State = Literal["pending", "running", "parked", "asking", "succeeded", "kept", "undone", "failed"]
StepState = Literal["begun", "done", "failed", "skipped"]
Wish = Literal["", "undo", "keep"]
OVER: frozenset[State] = frozenset({"succeeded", "kept", "undone", "failed"})
LEASE_MS = 30_000
_GRACE = timedelta(seconds=10)
_BOOT, _PROCESSES = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")

_O, _S, _W = t.operation, t.operation_step, t.operation_workflow
_STEPS = select(_S).where(_S.c.operation_pk == bindparam("operation")).order_by(_S.c.pk)
_NEWEST = (2**63) - 1
_COLUMNS = (
    *("pk", "id", "kind", "state", "wish", "digest", "actor", "actor_kind", "reason", "summary", "report"),
    *("owner", "fence", "created_at", "ended_at"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the journal. `detail` holds JSON values: what the step found, did, or why it failed."""

    name: str
    state: StepState
    attempts: int
    detail: Mapping[str, Any]
    began_at: str
    ended_at: str | None
    elapsed_ms: float | None

    @property
    def over(self) -> bool:
        """Whether it need not be run (again)."""
        return self.state != "begun"

    def as_data(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "name": self.name,
            "state": self.state,
            "attempts": self.attempts,
            "began_at": self.began_at,
            "ended_at": self.ended_at,
            "elapsed_ms": self.elapsed_ms,
            "detail": dict(self.detail),
        }


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as it stands, with its steps by name in the order in which they began."""

    pk: int
    id: str
    kind: str
    state: State
    wish: Wish
    plan: Plan
    digest: str
    actor: str
    actor_kind: str
    reason: str
    summary: str
    report: str
    owner: str | None
    fence: int
    created_at: str
    ended_at: str | None
    steps: Mapping[str, Step]

    @property
    def over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in OVER

    @property
    def who(self) -> Principal:
        """On whose behalf it acts, with the roles that the session had in which it was asked for."""
        asked = self.steps["plan"].detail if "plan" in self.steps else {}
        return Principal(self.actor, self.actor_kind, self.id, roles=frozenset(asked.get("roles", ())))

    def as_data(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "wish": self.wish or None,
            "summary": self.summary,
            "actor": self.actor,
            "reason": self.reason,
            "moves": [
                {
                    "workflow": one.workflow,
                    "workflow_id": one.workflow_id,
                    "channel": one.channel,
                    "from": one.from_version,
                    "to": one.to_version,
                }
                for one in self.plan.moves
            ],
            "plan_digest": self.digest,
            "owner": self.owner,
            "created_at": self.created_at,
            "ended_at": self.ended_at,
            "steps": [one.as_data() for one in self.steps.values()],
        }


def create(
    tx: Tx, who: Principal, plan: Plan, workflows: Mapping[str, Workflow], *, key: str | None = None
) -> Operation:
    """Enter an operation that will do `plan`, and give it; `workflows` are those of its moves, by id. With a `key`
    that was used before it gives the operation of then. Raises `InvalidRequest` when that did something else."""
    if key is not None:
        held = tx.connection.execute(select(_O.c.id, _O.c.digest).where(_O.c.key == key)).first()
        if held is not None:
            if held.digest != plan.digest:
                raise InvalidRequest(where="Idempotency-Key", reason=f"{key!r} was used for {held.id}, another plan")
            return find(tx, held.id)
    operation = random_id("op-")
    pk = tx.connection.execute(
        insert(_O)
        .values(
            workspace_pk=tx.workspace,
            id=operation,
            key=key,
            kind=plan.kind,
            state="pending",
            wish="",
            plan=json.dumps(plan.as_data()),
            digest=plan.digest,
            actor=who.name,
            actor_kind=who.kind,
            reason=plan.reason,
            summary="",
            report="",
            owner=None,
            lease_until_ms=0,
            fence=0,
            created_at=tx.now,
        )
        .returning(_O.c.pk)
    ).scalar_one()
    tx.connection.execute(insert(_W), [{"operation_pk": pk, "workflow_pk": one.pk} for one in workflows.values()])
    asked: dict[str, Any] = {"digest": plan.digest, "verdict": plan.verdict}
    if who.roles:  # they stand nowhere else, and what is done by force asks again
        asked["roles"] = sorted(who.roles)
    _put(tx, pk, "plan", "done", asked, 0.0)
    for one in plan.moves:
        audit.append(
            tx, who, f"operation:{plan.kind}", f"workflow/{one.workflow_id}/channel/{one.channel}",
            reason=plan.reason, operation=operation, digest=plan.digest, to=one.to_version,
        )  # fmt: skip
    return find(tx, operation)


def find(tx: Tx, operation: str) -> Operation:
    """The operation with the id `operation`. Raises `UnknownOperation`."""
    row = tx.connection.execute(select(_O).where(_O.c.id == operation, _O.c.workspace_pk == tx.workspace)).first()
    if row is None:
        raise UnknownOperation(operation=operation)
    return _operation(tx, row)


def listing(
    tx: Tx, workflow: Workflow | None = None, *, limit: int = 50, before: int | None = None
) -> list[Operation]:
    """The newest operations (of `workflow`, or all), newest first, before the number `before` if given."""
    wanted = select(_O).where(_O.c.pk < (before or _NEWEST), _O.c.workspace_pk == tx.workspace)
    if workflow is not None:
        wanted = wanted.where(_O.c.pk.in_(select(_W.c.operation_pk).where(_W.c.workflow_pk == workflow.pk)))
    return [_operation(tx, row) for row in tx.connection.execute(wanted.order_by(_O.c.pk.desc()).limit(limit)).all()]


def waiting(tx: Tx) -> list[str]:
    """The ids of operations that nobody works on and that want no person's word: to be claimed. Who enters one has
    some seconds to claim it."""
    lately = utc_text(parse_time(tx.now) - _GRACE)
    rows = tx.connection.execute(
        select(_O.c.id, _O.c.owner, (_O.c.lease_until_ms > now_ms(tx)).label("held"))
        .where(
            _O.c.state.in_(("pending", "running", "parked")),
            or_(_O.c.state != "pending", _O.c.created_at < lately, _O.c.created_at > tx.now),
        )
        .order_by(_O.c.pk)
    )
    return [row.id for row in rows if not row.held or _has_died(row.owner)]


def claim(tx: Tx, operation: str, owner: str) -> Operation:
    """Take the operation for `owner`. Raises `OperationTaken` while another works on it, `OperationOver`."""
    found = find(tx, operation)
    if found.over:
        raise OperationOver(operation=operation, state=found.state, summary=found.summary)
    free = or_(_O.c.lease_until_ms <= now_ms(tx), _O.c.owner.is_(None))
    if _has_died(found.owner):
        free = or_(free, _O.c.owner == found.owner)
    taken = tx.connection.execute(
        update(_O)
        .where(_O.c.pk == found.pk, _O.c.fence == found.fence, free)
        .values(state="running", owner=owner, fence=found.fence + 1, lease_until_ms=now_ms(tx) + LEASE_MS)
    ).rowcount
    if taken != 1:
        raise OperationTaken(operation=operation, owner=found.owner or "another process", seconds=LEASE_MS // 1000)
    return find(tx, operation)


def again(tx: Tx, operation: Operation) -> Operation:
    """A claimed operation as it stands now. Raises `OperationTaken` when another has claimed it since: going on from
    what is read then would be going on under the other's claim."""
    now = find(tx, operation.id)
    if now.fence != operation.fence:
        raise OperationTaken(operation=operation.id, owner=now.owner or "another process", seconds=LEASE_MS // 1000)
    return now


def hold(tx: Tx, operation: Operation) -> None:
    """Renew the lease of a claimed operation. Raises `OperationTaken` when another has claimed it since."""
    held = tx.connection.execute(
        update(_O)
        .where(_O.c.pk == operation.pk, _O.c.fence == operation.fence)
        .values(lease_until_ms=now_ms(tx) + LEASE_MS)
    ).rowcount
    if held != 1:
        raise OperationTaken(operation=operation.id, owner="another process", seconds=LEASE_MS // 1000)


def begin(tx: Tx, operation: Operation, name: str) -> None:
    """Record that a step with an effect outside the store begins (again). Raises `OperationTaken`."""
    hold(tx, operation)
    if name in operation.steps:
        tx.connection.execute(
            update(_S)
            .where(_S.c.operation_pk == operation.pk, _S.c.name == name)
            .values(attempts=_S.c.attempts + 1, state="begun", began_at=tx.now)
        )
    else:
        _put(tx, operation.pk, name, "begun", {}, None)


def finish(
    tx: Tx, operation: Operation, name: str, state: StepState, detail: Mapping[str, Any], elapsed_ms: float
) -> None:
    """Record how a step ended, in the transaction of its effect. Raises `OperationTaken`."""
    hold(tx, operation)
    changed = tx.connection.execute(
        update(_S)
        .where(_S.c.operation_pk == operation.pk, _S.c.name == name)
        .values(state=state, detail=_json(detail), ended_at=tx.now, elapsed_ms=elapsed_ms)
    ).rowcount
    if changed == 0:
        _put(tx, operation.pk, name, state, detail, elapsed_ms)


def settle(tx: Tx, operation: Operation, state: State, *, summary: str = "", report: str = "") -> None:
    """Set what the operation is now, and let go of it unless it goes on. Raises `OperationTaken`."""
    hold(tx, operation)
    values: dict[str, Any] = {"state": state}
    if state != "running":
        values |= {"owner": None, "lease_until_ms": 0}
    if summary:
        values |= {"summary": summary, "report": report}
    if state in OVER:
        values["ended_at"] = tx.now
    if state == "failed":
        steps = [name for name, step in operation.steps.items() if step.state == "failed"]
        reason = f"failed at {', '.join(steps)}" if steps else "failed"
        audit.append(
            tx, operation.who, f"operation:{operation.kind}", f"operation/{operation.id}",
            result="failed", reason=reason, digest=operation.digest,
        )  # fmt: skip
    tx.connection.execute(update(_O).where(_O.c.pk == operation.pk).values(**values))


def ask(tx: Tx, who: Principal, operation: str, wish: Wish) -> Operation:
    """Record what a person wants of an operation: ``undo`` (also of one that is over) or ``keep``, and make it ready
    to be claimed. Raises `OperationOver` where nothing is left to be done so."""
    tx.connection.execute(select(_O.c.pk).where(_O.c.id == operation).with_for_update())  # its end waits, or is read
    found = find(tx, operation)
    undone = flow.is_undoing(found.steps)
    if (found.over and (wish != "undo" or undone or not _moved(found))) or (wish == "keep" and undone):
        raise OperationOver(operation=operation, state=found.state, summary=found.summary)
    values: dict[str, Any] = {"wish": wish}
    if found.over or found.state == "asking":
        values |= {"state": "parked", "ended_at": None}
    tx.connection.execute(update(_O).where(_O.c.pk == found.pk).values(**values))
    audit.append(tx, who, f"operation:{wish or 'resume'}", f"operation/{operation}")
    return find(tx, operation)


def _moved(operation: Operation) -> bool:
    step = operation.steps.get("move")
    return step is not None and step.state == "done"


def owner_name() -> str:
    """A name for a run of this process in leases: machine, process id, and something that no other run has."""
    return f"{_machine()}:{os.getpid()}:{random_id('', 4)}"


@cache
def _machine() -> str:
    """A name for the place in which process ids mean something: this start of this machine, and in it this container
    (hosts are often called the same)."""
    place = ""
    with suppress(OSError):  # Linux only
        place = _BOOT.read_text() + str(_PROCESSES.readlink())
    return f"{socket.gethostname()[:30]}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def _has_died(owner: str | None) -> bool:
    """Whether `owner` was a process of this machine that is gone: then its lease need not be waited for."""
    machine, _, rest = (owner or "").partition(":")
    number = rest.partition(":")[0]
    if machine != _machine() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _put(tx: Tx, pk: int, name: str, state: StepState, detail: Mapping[str, Any], elapsed_ms: float | None) -> None:
    tx.connection.execute(
        insert(_S),
        {
            "operation_pk": pk,
            "name": name,
            "state": state,
            "attempts": 1,
            "detail": _json(detail),
            "began_at": tx.now,
            "ended_at": None if state == "begun" else tx.now,
            "elapsed_ms": elapsed_ms,
        },
    )


def _json(detail: Mapping[str, Any]) -> str:
    return json.dumps(dict(detail), ensure_ascii=False)


def _operation(tx: Tx, row: Any) -> Operation:
    steps = {
        one.name: Step(
            one.name, one.state, one.attempts, json.loads(one.detail), one.began_at, one.ended_at, one.elapsed_ms
        )
        for one in tx.connection.execute(_STEPS, {"operation": row.pk})
    }
    columns = {name: getattr(row, name) for name in _COLUMNS}
    return Operation(plan=Plan.of_data(json.loads(row.plan)), steps=steps, **columns)
