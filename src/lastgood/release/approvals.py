"""Requests for approval: a plan that waits for another identity, who answered it, and what used it.

A request is bound to what its plan would do (`Plan.intent`), generations included, so a channel that moves makes it
void. It is used once, in the transaction that enters what it was given for."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from sqlalchemy import bindparam, insert, select, update

from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx, parse_time, utc_text
from lastgood.errors import ApprovalVoid, SameIdentity, UnknownApproval
from lastgood.history import channels, workflows
from lastgood.ids import random_id
from lastgood.release.plan import Plan

State = Literal["waiting", "approved", "rejected", "used"]
_WAIT: Final = timedelta(hours=24)  # how long a request waits at least
_SKEW: Final = timedelta(minutes=5)  # by which the clocks of two machines may differ
_NEWEST: Final = (2**63) - 1
_MOST_FITTING: Final = 50

_A = t.approval
_FIND = select(_A).where(_A.c.id == bindparam("id"), _A.c.workspace_pk == bindparam("workspace"))
_OF_INTENT = (
    select(_A)
    .where(_A.c.digest == bindparam("digest"), _A.c.workspace_pk == bindparam("workspace"))
    .where(_A.c.state.in_(("approved", "waiting")))
    .order_by(_A.c.pk.desc())
    .limit(_MOST_FITTING)
)
_LIST = (
    select(_A)
    .where(_A.c.workspace_pk == bindparam("workspace"), _A.c.pk < bindparam("before"))
    .order_by(_A.c.pk.desc())
    .limit(bindparam("limit"))
)
_WAITING = _LIST.where(_A.c.state == "waiting", _A.c.expires_at > bindparam("now"))
_ADD = insert(_A)
_ANSWER = (
    update(_A)
    .where(_A.c.pk == bindparam("row"), _A.c.state == "waiting", _A.c.answers == bindparam("before"))
    .values(state=bindparam("to"), answers=bindparam("after"), expires_at=bindparam("until"))
)
_USE = (
    update(_A)
    .where(_A.c.pk == bindparam("row"), _A.c.state == "approved")
    .values(state="used", operation=bindparam("by_operation"))
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody said: `subject` as grants call them, `name` as people do."""

    subject: str
    name: str
    at: str
    said: Literal["approved", "rejected"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """A request as it stands. `needed` answers must agree; the approval then counts for `hours`."""

    pk: int
    id: str
    intent: str
    plan: Plan
    state: State
    asked_by: str
    asked_at: str
    needed: int
    hours: float
    answers: tuple[Answer, ...]
    expires_at: str
    operation: str | None

    def fresh(self, now: str) -> bool:
        """Whether it still counts at `now`: neither over, nor of a future that a clock jumped back from."""
        last = max([self.asked_at, *(one.at for one in self.answers)])
        return parse_time(now) < parse_time(self.expires_at) and parse_time(now) > parse_time(last) - _SKEW

    def public(self, now: str) -> dict[str, Any]:
        """Its JSON form at `now`."""
        over = self.state in ("waiting", "approved") and not self.fresh(now)
        return {
            "id": self.id,
            "state": "expired" if over else self.state,
            "kind": self.plan.kind,
            "moves": [
                {
                    "workflow": one.workflow,
                    "workflow_id": one.workflow_id,
                    "channel": one.channel,
                    "from": one.from_version,
                    "to": one.to_version,
                    "expected_generation": one.expected_generation,
                }
                for one in self.plan.moves
            ],
            "force": self.plan.force,
            "reason": self.plan.reason,
            "digest": self.intent,
            "asked_by": self.asked_by,
            "asked_at": self.asked_at,
            "needed": self.needed,
            "answers": [asdict(one) for one in self.answers],
            "expires_at": self.expires_at,
            "operation": self.operation,
        }


def ask(tx: Tx, who: Principal, plan: Plan, *, needed: int, hours: float) -> Approval:
    """Keep a request for the approval of `plan`, and give it."""
    id = random_id("ap-")
    until = utc_text(parse_time(tx.now) + max(_WAIT, timedelta(hours=hours)))
    tx.connection.execute(
        _ADD,
        {
            "workspace_pk": tx.workspace,
            "id": id,
            "digest": plan.intent,
            "plan": json.dumps(plan.as_data()),
            "state": "waiting",
            "asked_by": who.subject,
            "asked_at": tx.now,
            "needed": needed,
            "hours": hours,
            "answers": "[]",
            "expires_at": until,
            "operation": None,
        },
    )
    _tell(tx, who, "approval:ask", id, plan, plan.reason)
    return find(tx, id)


def find(tx: Tx, id: str) -> Approval:
    """The request `id`. Raises `UnknownApproval`."""
    row = tx.connection.execute(_FIND, {"id": id, "workspace": tx.workspace}).first()
    if row is None:
        raise UnknownApproval(approval=id)
    return _approval(row)


def of_intent(tx: Tx, intent: str) -> list[Approval]:
    """Those that are approved or wait and are bound to `intent`, newest first."""
    return [
        _approval(row) for row in tx.connection.execute(_OF_INTENT, {"digest": intent, "workspace": tx.workspace})
    ]


def listing(tx: Tx, *, waiting: bool = False, limit: int = 50, before: int | None = None) -> list[Approval]:
    """The newest requests, or those that still wait, newest first, before the number `before` if given."""
    values = {"workspace": tx.workspace, "limit": limit, "before": before or _NEWEST}
    rows = (
        tx.connection.execute(_WAITING, {**values, "now": tx.now})
        if waiting
        else tx.connection.execute(_LIST, values)
    )
    return [_approval(row) for row in rows]


def approve(tx: Tx, who: Principal, id: str, reason: str = "") -> Approval:
    """Let `who` agree. With the last answer that is needed it counts, from now on for its hours.

    Raises `UnknownApproval`, `SameIdentity`, and `ApprovalVoid` where it is answered, over, or bound to a channel
    that moved since."""
    found = _open(tx, who, id)
    for one in found.plan.moves:
        workflow = workflows.find(tx, one.workflow_id)
        pointer = channels.present(tx, workflow, one.channel)
        if pointer.generation != one.expected_generation:
            where = f"{one.channel} of {workflow.slug}"
            reason = f"{where} moved since it was asked for (generation {pointer.generation})"
            raise ApprovalVoid(approval=id, reason=reason)
    answers = (*found.answers, Answer(who.subject, who.name, tx.now, "approved", reason))
    last = len(answers) >= found.needed
    until = utc_text(parse_time(tx.now) + timedelta(hours=found.hours)) if last else found.expires_at
    return _answer(tx, who, found, answers, "approved" if last else "waiting", until, reason)


def reject(tx: Tx, who: Principal, id: str, reason: str) -> Approval:
    """Let `who` disagree, which ends it; whoever asked may take it back so. Raises what `approve` does but for
    `SameIdentity`."""
    found = _open(tx, who, id, own=True)
    answers = (*found.answers, Answer(who.subject, who.name, tx.now, "rejected", reason))
    return _answer(tx, who, found, answers, "rejected", found.expires_at, reason)


def use(tx: Tx, approval: Approval, operation: str | None) -> None:
    """Mark it as used, by `operation` where one was entered. Raises `ApprovalVoid` where another was quicker."""
    if tx.connection.execute(_USE, {"row": approval.pk, "by_operation": operation}).rowcount != 1:
        raise ApprovalVoid(approval=approval.id, reason="somebody else has just used it")


def _open(tx: Tx, who: Principal, id: str, *, own: bool = False) -> Approval:
    """The request `id` if `who` may still answer it."""
    found = find(tx, id)
    if not own and who.subject == found.asked_by:
        raise SameIdentity(
            actor=who.subject, action="plan:approve", resource=id, reason="it is their own", approval=id
        )
    if found.state != "waiting":
        by = ", ".join(one.subject for one in found.answers)
        raise ApprovalVoid(approval=id, reason=f"it was {found.state} already" + (f" (by {by})" if by else ""))
    if not found.fresh(tx.now):
        raise ApprovalVoid(approval=id, reason=f"it waited until {found.expires_at[:19]}Z")
    if who.subject in (one.subject for one in found.answers):
        raise ApprovalVoid(approval=id, reason=f"{who.subject} approved it already, and {found.needed} must")
    return found


def _answer(
    tx: Tx, who: Principal, found: Approval, answers: Sequence[Answer], state: State, until: str, reason: str
) -> Approval:
    values = {"row": found.pk, "before": _written(found.answers), "after": _written(answers)}
    if tx.connection.execute(_ANSWER, {**values, "to": state, "until": until}).rowcount != 1:
        raise ApprovalVoid(approval=found.id, reason="somebody else has just answered it")
    action = "plan:reject" if state == "rejected" else "plan:approve"
    _tell(tx, who, action, found.id, found.plan, reason)
    return find(tx, found.id)


def _tell(tx: Tx, who: Principal, action: str, id: str, plan: Plan, reason: str) -> None:
    """Audit what happened to a request, once for each workflow that it moves, and tell subscribers of it."""
    for one in plan.moves:
        resource = f"workflow/{one.workflow_id}/channel/{one.channel}"
        audit.append(tx, who, action, resource, reason=reason, approval=id, digest=plan.intent, to=one.to_version)
    what = {"approval:ask": "asked", "plan:approve": "approved", "plan:reject": "rejected"}[action]
    moves = [[one.workflow, one.channel, one.to_version] for one in plan.moves]
    audit.emit(tx, f"approval.{what}", id, {"by": who.subject, "reason": reason, "kind": plan.kind, "moves": moves})


def _written(answers: Sequence[Answer]) -> str:
    return json.dumps([asdict(one) for one in answers])


def _approval(row: Any) -> Approval:
    return Approval(
        pk=row.pk,
        id=row.id,
        intent=row.digest,
        plan=Plan.of_data(json.loads(row.plan)),
        state=row.state,
        asked_by=row.asked_by,
        asked_at=row.asked_at,
        needed=row.needed,
        hours=row.hours,
        answers=tuple(Answer(**one) for one in json.loads(row.answers)),
        expires_at=row.expires_at,
        operation=row.operation,
    )
