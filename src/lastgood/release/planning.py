"""Making plans from how things stand, and accepting them: what is done is what was seen, or it is not done."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lastgood.access import decisions
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import AlreadyActive, InvalidRequest, NothingLive, PlanRefused, PlanVoid
from lastgood.history import channels, workflows
from lastgood.release import declared, evidence, impact, journal, moves, preflight
from lastgood.release.journal import Operation
from lastgood.release.means import Means
from lastgood.release.plan import Kind, Plan, PlannedMove, news

MOST_MOVES = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """One channel to roll back or publish: to the version `to`, None for the last good one; `expected` is the
    generation that the caller saw, None for the present one."""

    workflow: str
    channel: str = channels.LIVE
    to: str | None = None
    expected: int | None = None


def make(means: Means, kind: Kind, wanted: Sequence[Wanted], draft: Plan) -> Plan:
    """The plan for `wanted`, with findings, impact and evidence as things stand; all else is taken from `draft`.

    Changes nothing. Raises `InvalidRequest`, `UnknownWorkflow`, `UnknownChannel`, `UnknownVersion`, `NothingGood`,
    `NothingLive`, `AlreadyActive`, `ChannelMoved`."""
    if not 0 < len(wanted) <= MOST_MOVES:
        raise InvalidRequest(where="moves", reason=f"a plan is for 1 to {MOST_MOVES} channels")
    with means.store.read() as tx:
        planned = [_planned(means, tx, kind, one) for one in wanted]
    if len({(one.workflow_id, one.channel) for one in planned}) != len(planned):
        raise InvalidRequest(where="moves", reason="a channel is named twice")
    plan = replace(draft, kind=kind, moves=tuple(planned))
    if kind == "publish":
        return replace(plan, findings=(), services=())
    findings = [finding for one in planned for finding in preflight.examine(means, one, force=plan.force)]
    return replace(plan, findings=tuple(findings), services=impact.assess(means, planned).services)


def _planned(means: Means, tx: Tx, kind: Kind, wanted: Wanted) -> PlannedMove:
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
    version, why = moves.choose(tx, workflow, pointer, wanted.to)
    if version.pk == pointer.version_pk:
        raise AlreadyActive(
            channel=pointer.name, workflow=workflow.slug, version=version.id, generation=pointer.generation
        )
    known = evidence.of(means, tx, workflow, version)
    if wanted.to is None:
        why = f"last good: {known.sentence()}"
    return PlannedMove(
        workflow_id=workflow.id,
        workflow=workflow.slug,
        channel=pointer.name,
        from_version=pointer.version,
        to_version=version.id,
        expected_generation=pointer.generation,
        why=why,
        evidence=known.as_data(),
    )


def confirmation(means: Means, plan: Plan) -> str:
    """The token that says that this very plan was seen: bound to its digest, and to this installation."""
    return "cf_" + means.store.ring.fingerprint(f"plan {plan.digest}")[:40]


def check_again(means: Means, plan: Plan) -> tuple[Plan, list[str]]:
    """The plan as it would be made now with the same choices, and sentences on what is not as the plan says: a
    generation, or a finding that is new. Raises what `make` raises, but for `ChannelMoved` and `AlreadyActive`."""
    wanted = [Wanted(one.workflow_id, one.channel, one.to_version) for one in plan.moves]
    try:
        now = make(means, plan.kind, wanted, plan)
    except (AlreadyActive, NothingLive) as error:
        return plan, [str(error)]
    said = []
    for old, new in zip(plan.moves, now.moves, strict=True):
        if (old.expected_generation, old.from_version) != (new.expected_generation, new.from_version):
            said.append(
                f"{new.channel} of {new.workflow} is at generation {new.expected_generation} and serves "
                f"{new.from_version}, where the plan says {old.expected_generation} and {old.from_version}"
            )
    said += [f"new finding: {one.sentence}" for one in news(plan.findings, now.findings)]
    return now, said


def accept(
    means: Means, who: Principal, plan: Plan, *, shown: str | None = None, key: str | None = None
) -> Operation:
    """Enter the operation that does `plan`, as it was just made. With `shown` (the confirmation of what a person saw)
    the plan is checked again first.

    Raises `PlanVoid`, `PlanRefused`, `Denied`, `InvalidRequest`."""
    if shown is not None:
        if not hmac.compare_digest(shown.encode(), confirmation(means, plan).encode()):
            raise PlanVoid(reasons="the confirmation belongs to another plan")
        _, said = check_again(means, plan)
        if said:
            raise PlanVoid(reasons="; ".join(said))
    declared.check(means.settings, plan, local=who.kind == "local")
    refused = plan.refusals()
    if refused and not plan.force:
        raise PlanRefused(kind=plan.kind, reasons="; ".join(one.sentence for one in refused))
    if refused:
        if not plan.reason.strip():
            raise InvalidRequest(where="reason", reason="going against a refusal by force needs a reason")
        for one in plan.moves:
            decisions.require(means.store, who, "rollback:force", f"workflow/{one.workflow_id}")

    def work(tx: Tx) -> Operation:
        owners = {one.workflow_id: workflows.find(tx, one.workflow_id) for one in plan.moves}
        return journal.create(tx, who, plan, owners, key=key)

    return means.store.write(work, emergency=True)
