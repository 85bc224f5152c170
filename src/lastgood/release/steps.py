"""What each step of an operation does. A step that only changes the store is an effect: a function that takes the
open transaction in which its record is committed too. The others act outside, and must bear being run again."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, Final

from lastgood.db import audit, process
from lastgood.db.tx import Tx, parse_time, utc_now
from lastgood.dsl.rules import RuleSettings
from lastgood.errors import PlanVoid
from lastgood.history import apps, channels, versions, workflows
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow
from lastgood.release import declared, flow, hooks, listeners, moves, planning, report
from lastgood.release.checks import checklist, positions
from lastgood.release.checks.case import Case, Checked
from lastgood.release.doing import Doing, Result
from lastgood.release.journal import StepState
from lastgood.release.means import Direction, Notice, Told
from lastgood.release.output import server_secrets
from lastgood.release.placing import steps as placing
from lastgood.release.placing import ways
from lastgood.release.plan import PlannedMove, news

_FRESH = timedelta(seconds=60)
_DATA: Final = ("data", "positions")


def look_again(doing: Doing) -> Result:
    """Preflight. What was found when the plan was accepted counts while it is fresh; after a pause all is looked at
    again, what Dify serves included, and what is new and refuses makes the plan void."""
    plan = doing.operation.plan
    old = parse_time(utc_now()) - parse_time(doing.operation.created_at) > _FRESH
    if plan.kind not in ("rollback", "rehearsal") and not (old and any(one.way for one in plan.moves)):
        return Result("skipped", {"reason": f"a {plan.kind} is checked by the move itself"})
    findings = plan.findings
    if old:
        findings = tuple(planning.examine(doing.means, plan))
        new = [one for one in news(plan.findings, findings) if one.verdict == "refuse"]
        if ways.stopping(plan, new):
            raise PlanVoid(reasons="; ".join(one.sentence for one in new))
    return Result("done", {"findings": [asdict(one) for one in findings]})


def pre_hook(doing: Doing) -> Result:
    """The plan's hook before anything moves; its failure ends the operation there."""
    return _hook(doing, doing.operation.plan.pre_rollback_hook)


def post_hook(doing: Doing) -> Result:
    """The plan's hook after verification; its failure is reported, and changes nothing."""
    return _hook(doing, doing.operation.plan.post_rollback_hook)


def _hook(doing: Doing, name: str) -> Result:
    if not name:
        return Result("skipped", {"reason": "the plan names none"})
    first, *others = _notices(doing, "forward")
    notice = replace(first, others=tuple(others))
    hook = declared.hook(doing.means.settings, name, local=doing.operation.actor_kind == "local")
    ran = hooks.run(hook, notice, doing.name, secrets=server_secrets(doing.means.settings))
    return Result("done" if ran.good else "failed", {"hook": name, **ran.as_data()})


def backup(doing: Doing) -> Result:
    """The present state: which version stands where, that the one to go to can be read, and the numbers that
    verification will compare with."""
    before, baseline, plan = [], {}, doing.operation.plan
    for planned in plan.moves:
        with doing.means.store.read() as tx:
            workflow = workflows.find(tx, planned.workflow_id)
            versions.document_of(tx, versions.find(tx, planned.to_version, workflow), whole=True)
        before.append({"workflow": planned.workflow, "channel": planned.channel, "version": planned.from_version})
        if planned.from_version is not None and (plan.verify or plan.consumer_positions == "reset"):
            case = _case(doing, planned, planned.from_version, planned.expected_generation)
            baseline[_place(planned)] = checklist.record(case)
    return Result("done", {"before": before, "baseline": baseline})


def move(doing: Doing, tx: Tx) -> Result:
    """All moves of the plan, in one transaction: all or none."""
    operation, plan = doing.operation, doing.operation.plan
    made = []
    if plan.writes:
        placing.record(doing, tx)
    for planned in plan.moves:
        workflow = workflows.find(tx, planned.workflow_id)
        if plan.kind == "converge" or (plan.kind == "heal" and planned.adopts is None):
            # Our own pointer is there already.
            channels.let_go(tx, channels.get(tx, workflow, planned.channel), operation.id)
            continue
        adopted = _adopt(doing, tx, planned)
        common: dict[str, Any] = {
            "channel": planned.channel,
            "expected": planned.expected_generation + (adopted is not None),
            "reason": plan.reason,
            "force": plan.force,
            "operation": operation.id,
        }
        if plan.kind == "publish":
            moved = moves.publish(
                tx,
                operation.who,
                workflow,
                planned.to_version,
                semver=plan.semver,
                rules=RuleSettings(doing.means.settings.rules),
                kind="promote" if plan.promoted_from else "publish",
                **common,
            )
        else:
            kind: channels.Kind = "heal" if plan.kind == "heal" else "rollback"
            moved = moves.rollback(
                tx, operation.who, workflow, to=planned.to_version, why=planned.why, kind=kind, **common
            )
        made.append({**moves.public(moved), **({"adopted": adopted} if adopted else {})})
        if planned.way == "route":
            _converge(tx, workflow, planned.channel, moved.to)
    return Result("done", {"moves": made, "revision": tx.revision})


def _adopt(doing: Doing, tx: Tx, planned: PlannedMove) -> str | None:
    """Where Dify serves another version than the channel points to: point it there first, so that its log tells what
    was live, and a rollback goes from there."""
    if planned.adopts is None:
        return None
    workflow = workflows.find(tx, planned.workflow_id)
    moves.adopt(
        tx,
        doing.operation.who,
        workflow,
        planned.adopts,
        channel=planned.channel,
        expected=planned.expected_generation,
        reason=f"what Dify served when {doing.operation.id} began",
        operation=doing.operation.id,
    )
    return planned.adopts


def _converge(tx: Tx, workflow: Workflow, channel: str, to: Version) -> None:
    """The app itself is still to be given what the gateway serves from now on."""
    app = apps.get(tx, workflow, channel)
    apps.set_converge(tx, app, None if app.live_pk == to.pk else to)


def undo(doing: Doing, tx: Tx) -> Result:
    """Each channel back to where it was, in one transaction, as new moves."""
    operation = doing.operation
    forward = doing.detail("move")["moves"]
    for one in forward:  # before the first move: what a step returns is committed
        if one["from"] is None:
            reason = f"{one['channel']} of {one['workflow']} pointed to nothing before, and cannot again"
            return Result("failed", {"problem": {"detail": reason}})
    made = []
    if operation.plan.writes:
        placing.record(doing, tx)
    for one in reversed(forward):
        workflow = workflows.find(tx, one["workflow_id"])
        moved = moves.undo(
            tx,
            operation.who,
            workflow,
            one["from"],
            channel=one["channel"],
            expected=one["generation"],
            reason=f"undoing {operation.id}",
            operation=operation.id,
        )
        made.append(moves.public(moved))
        if any(planned.way == "route" and planned.workflow_id == workflow.id for planned in operation.plan.moves):
            _converge(tx, workflow, one["channel"], moved.to)
    return Result("done", {"moves": made, "revision": tx.revision})


def tell(doing: Doing) -> Result:
    """Everyone who must learn of the moves: gateway workers first, because requests wait for nobody."""
    if not doing.done:
        return Result("skipped", {"reason": "nothing was moved"})
    revision = doing.detail("undo" if doing.undoing else "move")["revision"]
    confirmation = process.confirm(doing.means.store, revision)
    told: list[Told] = []
    for notice in _notices(doing, "undo" if doing.undoing else "forward"):
        chosen = listeners.for_move(doing.means.settings, notice, doing.operation.plan.listeners)
        told += listeners.tell_all(chosen, notice, secrets=server_secrets(doing.means.settings))
    consumers = _reset_positions(doing)
    reset = not any("problem" in one for some in consumers.values() for one in some.values())
    state: StepState = "done" if reset and all(one.good for one in told) else "failed"
    return Result(
        state,
        {
            "unconfirmed": list(confirmation.unconfirmed),
            "waited_ms": confirmation.waited_ms,
            "told": [asdict(one) for one in told],
            "positions": consumers,
        },
    )


def _reset_positions(doing: Doing) -> dict[str, dict[str, Any]]:
    """Set the consumers of event queues to where they stood before, where the plan says so; by place what was set."""
    if doing.operation.plan.consumer_positions != "reset" or doing.undoing:
        return {}
    return {
        _place(planned): positions.reset(_case(doing, planned, made["to"], made["generation"]))
        for planned, made in zip(_in_order(doing), doing.done, strict=True)
    }


def data_checks(doing: Doing) -> Result:
    """The numbers that must not have changed."""
    wanted = tuple(
        name for name in _DATA if not doing.operation.plan.verification or name in doing.operation.plan.verification
    )
    if not wanted or not doing.operation.plan.data_consistency_check:
        return Result("skipped", {"reason": "the plan wants no check of data"})
    return _verified(doing, lambda case: checklist.run(case, only=wanted))


def verification(doing: Doing) -> Result:
    """The checklist, without what `data_checks` looks at; after an undo all of it."""
    wanted = doing.operation.plan.verification
    rest = tuple(name for name in wanted or checklist.names() if doing.undoing or name not in _DATA)
    if not rest:
        return Result("skipped", {"reason": "the plan wants no other check"})
    return _verified(doing, lambda case: checklist.run(case, only=rest))


def _verified(doing: Doing, look: Callable[[Case], Iterable[Checked]]) -> Result:
    if not doing.operation.plan.verify:
        return Result("skipped", {"reason": "the plan asks for no verification"})
    if not doing.done:
        return Result("skipped", {"reason": "nothing was moved"})
    items: list[dict[str, Any]] = []
    checked: list[Checked] = []
    for planned, made in zip(_in_order(doing), doing.done, strict=True):
        case = _case(doing, planned, made["to"], made["generation"])
        found = list(look(case))
        checked += found
        items += [{"workflow": planned.workflow, "channel": planned.channel, **one.as_data()} for one in found]
    if not checked:
        return Result("skipped", {"reason": "nothing of the kind is declared"})
    verdict = checklist.verdict(checked)
    return Result("failed" if verdict == "failed" else "done", {"verdict": verdict, "items": items})


def notify(doing: Doing) -> Result:
    """The alert webhook, where one is set and something moved."""
    url = doing.means.settings.alert_webhook
    if not url or not doing.done:
        return Result("skipped", {"reason": "nobody is to be alerted" if doing.done else "nothing was moved"})
    direction: Direction = "undo" if doing.undoing else "forward"
    secrets = server_secrets(doing.means.settings)
    told = [listeners.alert(url, notice, secrets=secrets) for notice in _notices(doing, direction)]
    return Result("done", {"alert": [asdict(one) for one in told]})


def conclude(doing: Doing, tx: Tx) -> Result:
    """The report, kept with the operation, and the event for subscribers."""
    operation = doing.operation
    said = report.of(operation)
    event = {
        "operation": operation.id,
        "kind": operation.kind,
        "outcome": flow.ended(operation.steps),
        "moves": list(doing.done),
        "reason": operation.reason,
        "summary": said.summary,
    }
    audit.emit(tx, "operation.ended", operation.plan.moves[0].workflow_id, event)
    return Result("done", {}, said.summary, said.markdown)


def _place(planned: PlannedMove) -> str:
    return f"{planned.workflow_id}/{planned.channel}"


def _in_order(doing: Doing) -> list[PlannedMove]:
    planned = list(doing.operation.plan.moves)
    return planned[::-1] if doing.undoing else planned


def _case(doing: Doing, planned: PlannedMove, version: str, generation: int) -> Case:
    plan, settings = doing.operation.plan, doing.means.settings
    with doing.means.store.read() as tx:
        workflow = workflows.find(tx, planned.workflow_id)
        found = versions.find(tx, version, workflow)
    return Case(
        means=doing.means,
        who=doing.operation.who,
        workflow=workflow,
        channel=planned.channel,
        version=found,
        generation=generation,
        baseline=_baseline(doing, _place(planned)),
        told=tuple(doing.detail("undo-listeners" if doing.undoing else "listeners").get("told", ())),
        data_checks=plan.data_checks,
        positions="keep" if doing.undoing else plan.consumer_positions,
        proven_lately=plan.kind != "publish" and proven_lately(planned, settings.rollback.window_minutes),
        condemn=plan.kind == "publish" and not doing.undoing,
    )


def _baseline(doing: Doing, place: str) -> dict[str, Any]:
    """What was recorded before the move; of consumers that were set since, where to."""
    recorded = dict(doing.detail("backup").get("baseline", {}).get(place, {}))
    were_set = doing.detail("listeners").get("positions", {}).get(place, {})
    return {**recorded, "positions": {**recorded.get("positions", {}), **were_set}}


def proven_lately(planned: PlannedMove, window_minutes: int) -> bool:
    """Whether the evidence for the version is younger than the rollback window."""
    at = planned.evidence.get("verified_at")
    if not at or window_minutes == 0:
        return False
    return parse_time(utc_now()) - parse_time(str(at)) <= timedelta(minutes=window_minutes)


def _notices(doing: Doing, direction: Direction) -> list[Notice]:
    """What is told of each channel: of the moves made, or before them of those planned."""
    operation = doing.operation
    made = doing.done or [
        {
            "workflow_id": one.workflow_id,
            "workflow": one.workflow,
            "channel": one.channel,
            "from": one.from_version,
            "to": one.to_version,
            "generation": one.expected_generation,
        }
        for one in operation.plan.moves
    ]
    return [
        Notice(
            operation=operation.id,
            key=f"{operation.id}/{doing.name}/{one['workflow_id']}/{one['channel']}",
            kind=operation.kind,
            direction=direction,
            workflow_id=one["workflow_id"],
            workflow=one["workflow"],
            channel=one["channel"],
            from_version=one["from"],
            to_version=one["to"],
            generation=one["generation"],
            actor=operation.actor,
            reason=operation.reason,
        )
        for one in made
    ]


EFFECTS: Final[Mapping[str, Callable[[Doing, Tx], Result]]] = {
    **placing.EFFECTS,
    "move": move,
    "undo": undo,
    "report": conclude,
    "undo-report": conclude,
}
ACTIONS: Final[Mapping[str, Callable[[Doing], Result]]] = {
    **placing.ACTIONS,
    "preflight": look_again,
    "pre-hook": pre_hook,
    "backup": backup,
    "listeners": tell,
    "data-checks": data_checks,
    "verification": verification,
    "post-hook": post_hook,
    "notify": notify,
    "undo-listeners": tell,
    "undo-verification": verification,
    "undo-notify": notify,
}
