"""Protected channels: which moves of a plan need the approval of another identity, and which a freeze refuses.

| what it does to a protected channel             | approval                  | freeze |
|--------------------------------------------------|---------------------------|--------|
| publish, promote, adopt                          | yes                       | yes    |
| rollback by force, or to what was never there    | yes                       | yes    |
| rollback to a version that was there             | `rollback_needs_approval` | no     |
| heal that moves the channel                      | yes                       | no     |
| heal or convergence that gives the app its own   | no                        | no     |

An undo goes back to where its own operation came from, so it belongs to what let that operation pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, exists, func, literal, or_, select

from lastgood.catalogue import Freeze, Protected, matches
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx, parse_time
from lastgood.errors import ApprovalVoid, Frozen
from lastgood.history import channels, versions, workflows
from lastgood.history.workflows import Workflow
from lastgood.release import approvals
from lastgood.release.approvals import Approval
from lastgood.release.plan import OURS_AGAIN, Plan, PlannedMove, news
from lastgood.settings import Settings
from lastgood.windows import joined

# A version was there when the channel pointed to it, or when it stood on the channel's app before we moved anything.
_FIRST_MOVE = select(func.min(t.move.c.at)).where(t.move.c.channel_pk == bindparam("channel")).scalar_subquery()
_WAS_THERE = select(
    or_(
        exists(literal(1)).where(t.move.c.channel_pk == bindparam("channel"), t.move.c.to_pk == bindparam("version")),
        exists(literal(1)).where(
            t.app.c.channel_pk == bindparam("channel"),
            t.placement.c.app_pk == t.app.c.pk,
            t.placement.c.version_pk == bindparam("version"),
            t.placement.c.placed_at < _FIRST_MOVE,
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Protection:
    """What protects a channel, all rules that name it taken together: the most approvals, the shortest time."""

    names: tuple[str, ...]
    approvals: int
    hours: float
    rollback: bool
    freezes: tuple[tuple[str, Freeze], ...]

    def frozen(self, now: datetime) -> tuple[datetime, str, str] | None:
        """Until when it gets nothing new, the rule that says so and why; None outside its freezes."""
        until = joined([one.window() for _, one in self.freezes], now)
        if until is None:
            return None
        name, first = next((name, one) for name, one in self.freezes if one.window().until(now) is not None)
        return until, name, first.reason


@dataclass(frozen=True, slots=True)
class Guarded:
    """A move of a plan that a protection stands before: whether it must be approved, and until when it is frozen."""

    move: PlannedMove
    protection: Protection
    approval: bool
    frozen: tuple[datetime, str, str] | None

    @property
    def where(self) -> str:
        """``live of prod-invoice``."""
        return f"{self.move.channel} of {self.move.workflow}"

    def sentences(self) -> list[str]:
        """What a person is told of it beforehand."""
        found = []
        if self.frozen is not None:
            until, rule, reason = self.frozen
            found.append(f"{self.where} gets nothing new until {told(until)} (protected.{rule}: {reason})")
        if self.approval:
            rule = named(self.protection.names)
            found.append(f"{self.where} is protected ({rule}): it needs the approval of {counted(self.protection)}")
        return found


@dataclass(frozen=True, slots=True)
class Passed:
    """How a plan passed: by which approval, and what it broke through by break-glass (sentences)."""

    approval: Approval | None = None
    broken: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """The same as JSON values, for the journal and the audit log; empty where nothing stood in the way."""
        found: dict[str, Any] = {}
        if self.approval is not None:
            found["approval"] = self.approval.id
            found["approved_by"] = [one.subject for one in self.approval.answers]
        if self.broken:
            found["break_glass"] = list(self.broken)
        return found


def of(settings: Settings, workflow: str, channel: str) -> Protection | None:
    """What protects `channel` of the workflow with this slug, None for one that is not protected."""
    if channel == channels.SHADOW:
        return None
    found: list[tuple[str, Protected]] = [
        (name, one)
        for name, one in sorted(settings.protected.items())
        if matches(one.workflows, workflow) and matches(one.channels, channel)
    ]
    if not found:
        return None
    return Protection(
        tuple(name for name, _ in found),
        max(one.approvals for _, one in found),
        min(one.approval_hours for _, one in found),
        any(one.rollback_needs_approval for _, one in found),
        tuple((name, freeze) for name, one in found for freeze in one.freezes),
    )


def guarded(tx: Tx, settings: Settings, plan: Plan) -> list[Guarded]:
    """The moves of `plan` that cannot be made just so, as things stand. Raises `UnknownWorkflow`,
    `UnknownVersion`."""
    found: list[Guarded] = []
    if not settings.protected:
        return found
    for one in plan.moves:
        workflow = workflows.find(tx, one.workflow_id or one.workflow)
        protection = of(settings, workflow.slug, one.channel)
        if protection is None:
            continue
        approval, freezes = _asks(tx, plan, one, workflow, protection)
        frozen = protection.frozen(parse_time(tx.now)) if freezes else None
        if frozen is not None or approval:
            found.append(Guarded(one, protection, approval, frozen))
    return found


def foretell(settings: Settings, workflow: str, channel: str) -> list[str]:
    """What a person is told who will bring something new to this channel."""
    protection = of(settings, workflow, channel)
    if protection is None:
        return []
    coming = PlannedMove("", workflow, channel, None, "", 0)
    frozen = protection.frozen(datetime.now(UTC))
    return Guarded(coming, protection, protection.approvals > 0, frozen).sentences()


def let_through(
    tx: Tx, who: Principal, settings: Settings, plan: Plan, *, approval: str | None = None
) -> Passed | Approval:
    """How `plan` passes what protects its channels; or, where it must wait, the request for its approval, which is
    then kept. `approval` names the one to pass by; else the newest that fits is taken.

    Whoever enters the plan marks the approval as used, in this same transaction. Raises `Frozen`, `ApprovalVoid`,
    `UnknownApproval`."""
    found = guarded(tx, settings, plan)
    if plan.break_glass:
        return Passed(broken=tuple(sentence for one in found for sentence in one.sentences()))
    for one in found:
        if one.frozen is not None:
            until, rule, reason = one.frozen
            raise Frozen(
                channel=one.move.channel,
                workflow=one.move.workflow,
                until=told(until),
                rule=f"protected.{rule}",
                reason=reason,
            )
    if not found:
        return Passed()
    needed = max(one.protection.approvals for one in found)
    held = _named(tx, who, plan, needed, approval) if approval is not None else _fitting(tx, who, plan, needed)
    if held is not None:
        return Passed(held) if held.state == "approved" else held
    hours = min(one.protection.hours for one in found)
    return approvals.ask(tx, who, plan, needed=needed, hours=hours)


def _named(tx: Tx, who: Principal, plan: Plan, needed: int, approval: str) -> Approval:
    """The approval that was named, if it lets `plan` pass or still waits to. Raises `ApprovalVoid`."""
    held = approvals.find(tx, approval)
    if held.state == "waiting" and held.intent == plan.intent and held.needed >= needed and held.fresh(tx.now):
        return held
    if void := _void(tx, who, plan, needed, held):
        raise ApprovalVoid(approval=held.id, reason=void)
    return held


def _fitting(tx: Tx, who: Principal, plan: Plan, needed: int) -> Approval | None:
    """The newest approval that lets `plan` pass, else the request of `who` for it that waits."""
    bound = (one for one in approvals.of_intent(tx, plan.intent) if one.needed >= needed)
    fitting = [one for one in bound if not news(one.plan.findings, plan.findings)]
    passing = (one for one in fitting if not _void(tx, who, plan, needed, one))
    waiting = (one for one in fitting if one.state == "waiting" and one.asked_by == who.subject and one.fresh(tx.now))
    return next(passing, next(waiting, None))


def told(at: datetime) -> str:
    """``2027-01-04 00:00 UTC``."""
    return at.strftime("%Y-%m-%d %H:%M UTC")


def named(names: Sequence[str]) -> str:
    """``protected.prod``."""
    return ", ".join(f"protected.{name}" for name in names)


def counted(protection: Protection) -> str:
    """``another identity``, ``2 other identities``."""
    return "another identity" if protection.approvals == 1 else f"{protection.approvals} other identities"


def _asks(tx: Tx, plan: Plan, one: PlannedMove, workflow: Workflow, protection: Protection) -> tuple[bool, bool]:
    """Whether a move of a protected channel asks for an approval, and whether freezes refuse it."""
    pointer = channels.present(tx, workflow, one.channel)
    needs = protection.approvals > 0
    if plan.kind in OURS_AGAIN and one.to_version == pointer.version:
        return needs and one.adopts is not None, False
    if plan.kind == "rollback" and not plan.force:
        version = versions.find(tx, one.to_version, workflow)
        if tx.connection.execute(_WAS_THERE, {"channel": pointer.pk, "version": version.pk}).scalar():
            return needs and protection.rollback, False
    return needs, True


def _void(tx: Tx, who: Principal, plan: Plan, needed: int, held: Approval) -> str:
    """Why an approval does not let `who` do `plan` now, empty when it does."""
    if held.intent != plan.intent:
        return "it was given for another plan, or the channel moved since"
    if held.needed < needed:
        return f"{held.needed} had to agree when it was asked for, and {needed} must now"
    if held.state != "approved":
        return {"waiting": "nobody has answered it yet", "used": f"{held.operation or 'a move'} used it"}.get(
            held.state, f"it was {held.state} by {', '.join(one.subject for one in held.answers)}"
        )
    if not held.fresh(tx.now):
        return f"it counted until {held.expires_at[:19]}Z"
    if who.subject in (one.subject for one in held.answers):
        return f"{who.subject} gave it, and who approves a plan does not do it"
    new = news(held.plan.findings, plan.findings)
    return f"new finding: {new[0].sentence}" if new else ""
