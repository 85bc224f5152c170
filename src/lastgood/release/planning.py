"""Making plans from how things stand, and accepting them: what is done is what was seen, or it is not done."""

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from lastgood.access import decisions
from lastgood.access.actions import FORCE
from lastgood.db import audit
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.dsl.rules import RuleSettings
from lastgood.errors import (
    AlreadyActive,
    ApprovalNeeded,
    ChannelMoved,
    Frozen,
    InvalidPlan,
    InvalidRequest,
    NothingLive,
    NothingToHeal,
    PlanRefused,
    PlanVoid,
)
from lastgood.history import channels, versions, workflows
from lastgood.history.channels import Channel
from lastgood.release import (
    approvals,
    declared,
    evidence,
    impact,
    journal,
    moves,
    numbering,
    paging,
    preflight,
    protection,
)
from lastgood.release.approvals import Approval
from lastgood.release.impact import Impact
from lastgood.release.journal import Operation
from lastgood.release.means import Means
from lastgood.release.placing import ways
from lastgood.release.placing.ways import Sight
from lastgood.release.plan import OURS_AGAIN, Finding, Kind, Plan, PlannedMove, news
from lastgood.release.protection import Passed
from lastgood.settings import Settings

MOST_MOVES = 1000
_EXAMINED: Final = frozenset({"rollback", "rehearsal"})  # a publish is checked by its move


@dataclass(frozen=True, slots=True)
class Wanted:
    """One channel to roll back or publish: to the version `to`, None for the last good one; `expected` is the
    generation that the caller saw, None for the present one."""

    workflow: str
    channel: str = channels.LIVE
    to: str | None = None
    expected: int | None = None


def draft(settings: Settings, **choices: Any) -> Plan:
    """A rollback without its moves, as `lastgood.toml` wants rollbacks done; `choices` (fields of `Plan`; those that
    are not None) win."""
    rules = settings.rollback
    plan = Plan(
        "rollback",
        (),
        pre_rollback_hook=rules.pre_hook,
        post_rollback_hook=rules.post_hook,
        on_verification_failure=rules.on_verification_failure,
        responsible=rules.responsible,
    )
    return replace(plan, **{name: value for name, value in choices.items() if value is not None})


def make(means: Means, kind: Kind, wanted: Sequence[Wanted], choices: Plan) -> Plan:
    """The plan for `wanted`, with findings, impact and evidence as things stand; all else is taken from `choices`.

    Changes nothing but what is known of Dify. Raises what `outline` does."""
    plan = outline(means, kind, wanted, choices)
    return affecting(plan, impact.assess(means, plan.moves)) if kind in _EXAMINED else plan


def affecting(plan: Plan, found: Impact) -> Plan:
    """`plan` with the services that its impact names; a publish names none."""
    return replace(plan, services=found.services) if plan.kind in _EXAMINED else plan


def outline(means: Means, kind: Kind, wanted: Sequence[Wanted], choices: Plan) -> Plan:
    """What `make` gives, but for the services that are affected: to read what a move reaches takes the most time.

    Raises `InvalidRequest`, `UnknownWorkflow`, `UnknownChannel`, `UnknownVersion`, `NothingGood`, `NothingLive`,
    `AlreadyActive`, `ChannelMoved`."""
    if not 0 < len(wanted) <= MOST_MOVES:
        raise InvalidRequest(where="moves", reason=f"a plan is for 1 to {MOST_MOVES} channels")
    seen = ways.sights(means, [(one.workflow, one.channel) for one in wanted])
    with means.store.read() as tx:
        both = [_planned(means, tx, kind, one, seen) for one in wanted]
    planned = [one for one, _ in both]
    if len({(one.workflow_id, one.channel) for one in planned}) != len(planned):
        raise InvalidRequest(where="moves", reason="a channel is named twice")
    plan = replace(choices, kind=kind, moves=tuple(planned))
    found = replace(plan, findings=tuple(_examined(means, plan, both, seen)))
    return found if kind in _EXAMINED else replace(found, services=())


def examine(means: Means, plan: Plan) -> list[Finding]:
    """What is found now of the moves of `plan`, as they were planned: of their ways on Dify, and of a rollback what
    speaks for and against it. A move that can no longer be made in its way is refused.

    Raises `UnknownWorkflow`, `UnknownVersion`, `StoreUnreachable`."""
    seen = ways.sights(means, [(one.workflow_id, one.channel) for one in plan.moves])
    both, changed = [], []
    with means.store.read() as tx:
        for one in plan.moves:
            workflow = workflows.find(tx, one.workflow_id)
            pointer = channels.present(tx, workflow, one.channel)
            both.append((one, pointer))
            if pointer.pk in seen:
                version = versions.find(tx, one.to_version, workflow)
                now = ways.choose(tx, one, pointer, seen[pointer.pk], version, plan.kind)
                if now.way != one.way and now.way == "publish":  # which any of the others may have to become
                    changed.append(ways.another(one, now.way))
    return [*changed, *_examined(means, plan, both, seen)]


def _examined(
    means: Means, plan: Plan, both: Sequence[tuple[PlannedMove, Channel]], seen: Mapping[int, Sight]
) -> Iterator[Finding]:
    for one, pointer in both:
        if pointer.pk in seen:
            yield from ways.findings(means, one, pointer.version, seen[pointer.pk], together=len(both) > 1)
    if plan.kind in _EXAMINED:
        for one, _ in both:
            yield from preflight.examine(means, one, force=plan.force)


def _planned(
    means: Means, tx: Tx, kind: Kind, wanted: Wanted, seen: Mapping[int, Sight]
) -> tuple[PlannedMove, Channel]:
    """What is planned for a channel, and the channel as it is."""
    workflow = workflows.find(tx, wanted.workflow)
    if kind == "publish":
        if wanted.to is None:
            raise InvalidRequest(where="to", reason="a publish names its version")
        pointer = channels.present(tx, workflow, wanted.channel)
    else:
        pointer = channels.get(tx, workflow, wanted.channel)
        if pointer.version is None:
            raise NothingLive(channel=pointer.name, workflow=workflow.slug)
    if wanted.expected is not None:
        channels.expect(tx, workflow, pointer, wanted.expected)
    sight = seen.get(pointer.pk)
    live = ways.served(pointer, sight, kind)
    wished = wanted.to or (pointer.version if kind in OURS_AGAIN else None)
    version, why = moves.choose(tx, workflow, live, wished)
    if kind in OURS_AGAIN and (sight is None or version.pk == sight.seen.app.live_pk):
        raise NothingToHeal(
            server=workflow.target, channel=pointer.name, workflow=workflow.slug, version=version.id, what=kind
        )
    if version.pk == live.version_pk and kind not in OURS_AGAIN:
        raise AlreadyActive(
            channel=pointer.name, workflow=workflow.slug, version=version.id, generation=pointer.generation
        )
    known = evidence.of(means, tx, workflow, version)
    if wanted.to is None:
        why = f"last good: {known.sentence()}"
    elif kind != "publish":
        note = f", “{version.note}”" if version.note else ""
        why = f"{version.state}, by {version.author}{note}; {known.sentence()}"
    planned = PlannedMove(
        workflow_id=workflow.id,
        workflow=workflow.slug,
        channel=pointer.name,
        from_version=live.version,
        to_version=version.id,
        expected_generation=pointer.generation,
        why=why,
        evidence=known.as_data(),
    )
    return (planned if sight is None else ways.choose(tx, planned, pointer, sight, version, kind)), pointer


def confirmation(means: Means, plan: Plan) -> str:
    """The token that says that this very plan was seen: bound to its digest, and to this installation."""
    return "cf_" + means.store.ring.fingerprint(f"plan {plan.digest}")[:40]


def check_again(means: Means, plan: Plan) -> tuple[Plan, list[str]]:
    """The plan as it would be made now with the same choices and services, and sentences on what is not as the plan
    says: a channel that moved, or a finding that is new. Raises what `outline` raises, but for those."""
    try:
        now = _again(means, plan)
    except (AlreadyActive, ChannelMoved, NothingLive) as error:
        return plan, [str(error)]
    return now, [f"new finding: {one.sentence}" for one in news(plan.findings, now.findings)]


def _again(means: Means, plan: Plan) -> Plan:
    wanted = [Wanted(one.workflow_id, one.channel, one.to_version, one.expected_generation) for one in plan.moves]
    now = outline(means, plan.kind, wanted, plan)
    kept = (replace(new, why=old.why) for old, new in zip(plan.moves, now.moves, strict=True))
    return replace(now, moves=tuple(kept))


def accept(
    means: Means,
    who: Principal,
    plan: Plan,
    *,
    shown: str | None = None,
    key: str | None = None,
    approval: str | None = None,
) -> Operation:
    """Enter the operation that does `plan`, as it was just made. With `shown` (the confirmation of what a person saw)
    the plan is checked again first. A protected channel asks for an approval: the one named, or the newest that fits.

    Raises `PlanVoid`, `PlanRefused`, `ChannelMoved`, `AlreadyActive`, `Denied`, `InvalidRequest`, `ApprovalNeeded`,
    `ApprovalVoid`, `Frozen`."""
    if plan.kind == "adopt":
        raise InvalidPlan(source="the plan", where="kind", reason="what is adopted is adopted at once, by `adopt`")
    if shown is not None:
        if not hmac.compare_digest(shown.encode(), confirmation(means, plan).encode()):
            raise PlanVoid(reasons="the confirmation belongs to another plan")
        new = news(plan.findings, _again(means, plan).findings)
        if new:
            raise PlanVoid(reasons="; ".join(one.sentence for one in new))
    declared.check(means.settings, plan, local=who.kind == "local")
    if plan.kind == "publish":
        with means.store.read() as tx:
            _check_publish(tx, who, plan, RuleSettings(means.settings.rules))
    refused = plan.refusals()
    if ways.stopping(plan, refused):
        _expect(means, plan)  # whoever moved the channel in between is the better reason
        raise PlanRefused(kind=plan.kind, reasons="; ".join(one.sentence for one in refused))
    if plan.force:
        if plan.kind in _EXAMINED and not plan.reason.strip():
            raise InvalidRequest(where="reason", reason="going back by force needs a reason")
        _require(means, who, plan, FORCE)

    def work(tx: Tx, passed: Passed) -> Operation:
        owners = {one.workflow_id: workflows.find(tx, one.workflow_id) for one in plan.moves}
        return journal.create(tx, who, plan, owners, key=key, facts=passed.facts())

    return guard(
        means,
        who,
        plan,
        work,
        approval=approval,
        operation=lambda entered: entered.id,
        before=lambda tx: journal.entered(tx, plan, key),
    )


def guard[T](
    means: Means,
    who: Principal,
    plan: Plan,
    work: Callable[[Tx, Passed], T],
    *,
    approval: str | None = None,
    operation: Callable[[T], str | None] = lambda _: None,
    before: Callable[[Tx], T | None] = lambda _: None,
) -> T:
    """Do `work` in one transaction if nothing protects the channels of `plan`, or by what lets it pass: an approval,
    which is used in that transaction (`operation` names what `work` entered), or break-glass, which pages. Where
    `before` gives what an earlier attempt did, that is given.

    Whatever moves a channel at somebody's wish comes through here. Raises `ApprovalNeeded`, `ApprovalVoid`, `Frozen`,
    `Denied`, `InvalidRequest`, and what `work` does."""
    if plan.break_glass:
        if not plan.reason.strip():
            raise InvalidRequest(where="reason", reason="--break-glass needs a --reason")
        _require(means, who, plan, "channel:break-glass")
    broken: list[str] = []

    def whole(tx: Tx) -> T | Approval:
        broken.clear()
        if (done := before(tx)) is not None:
            return done
        passed = protection.let_through(tx, who, means.settings, plan, approval=approval)
        if isinstance(passed, Approval):
            return passed
        made = work(tx, passed)
        if passed.approval is not None:
            approvals.use(tx, passed.approval, operation(made))
        if passed.broken:
            broken.extend(passed.broken)
            paging.record(tx, who, plan, operation(made), passed.broken)
        return made

    try:
        made = means.store.write(whole, emergency=plan.kind in ("rollback", "heal"))
    except Frozen as frozen:
        sentence = str(frozen)

        def refused(tx: Tx) -> None:
            for one in plan.moves:
                resource = f"workflow/{one.workflow_id}/channel/{one.channel}"
                audit.append(tx, who, f"operation:{plan.kind}", resource, result="denied", reason=sentence)

        means.store.write(refused)
        raise
    if isinstance(made, Approval):
        raise _needed(means, made)
    if broken:
        paging.page(means, who, plan, operation(made), broken)
    return made


def _require(means: Means, who: Principal, plan: Plan, action: str) -> None:
    """Raise `Denied` unless `who` may do `action` on every workflow that `plan` moves."""
    with means.store.read() as tx:
        slugs = {workflows.find(tx, one.workflow_id).slug for one in plan.moves}
    for slug in sorted(slugs):
        decisions.require(means.store, who, action, f"workflow:{slug}")


def protections(means: Means, plan: Plan) -> list[str]:
    """What a person is told of the protection of the channels of `plan`; nothing where it passes just so."""
    with means.store.read() as tx:
        found = protection.guarded(tx, means.settings, plan)
    return [sentence for one in found for sentence in one.sentences()]


def _needed(means: Means, asked: Approval) -> ApprovalNeeded:
    with means.store.read() as tx:
        found = protection.guarded(tx, means.settings, asked.plan)
    needing = [one for one in found if one.approval]
    left = asked.needed - len(asked.answers)
    return ApprovalNeeded(
        kind=asked.plan.kind,
        channels=" and ".join(one.where for one in needing),
        rule=protection.named(sorted({name for one in needing for name in one.protection.names})),
        who="another identity" if left == 1 else f"{left} other identities",
        approval=asked.id,
        expires_at=asked.expires_at,
    )


def _expect(means: Means, plan: Plan) -> None:
    """Raise `ChannelMoved` where a channel is not at the generation that the plan expects."""
    with means.store.read() as tx:
        for one in plan.moves:
            workflow = workflows.find(tx, one.workflow_id)
            pointer = channels.present(tx, workflow, one.channel)
            channels.expect(tx, workflow, pointer, one.expected_generation)


def _check_publish(tx: Tx, who: Principal, plan: Plan, rules: RuleSettings) -> None:
    """Refuse a publish that its move would refuse, before anything is entered. Raises what `moves.publish` does."""
    for one in plan.moves:
        workflow = workflows.find(tx, one.workflow_id)
        version = moves.check_publish(
            tx, who, workflow, one.to_version, force=plan.force, reason=plan.reason, channel=one.channel
        )
        if plan.semver is not None:
            numbering.take(tx, version, plan.semver, force=plan.force, reason=plan.reason, rules=rules)
