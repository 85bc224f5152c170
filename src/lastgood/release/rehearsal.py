"""A drill: a shadow channel is rolled back to the last good version and forward again, as a real rollback would be,
while nobody is served by it. Hooks and listeners stay out of it: they act on the world."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from lastgood.db.audit import Principal
from lastgood.db.tx import Tx, parse_time
from lastgood.errors import NothingGood, NothingLive
from lastgood.history import channels, versions, workflows
from lastgood.release import journal, operation, planning
from lastgood.release.journal import Operation
from lastgood.release.means import Means
from lastgood.release.plan import Plan
from lastgood.release.planning import Wanted

SHADOW = channels.SHADOW
_RECOVERY = ("preflight", "backup", "move", "listeners", "data-checks", "verification")
_MOST = 200


@dataclass(frozen=True, slots=True)
class Record:
    """A rehearsal that was done: `seconds` from the first step to the verified rollback, and what failed (``""``:
    nothing)."""

    operation: str
    at: str
    to: str
    seconds: float
    failed: str

    def as_data(self) -> dict[str, Any]:
        """Its JSON form."""
        return asdict(self)


def rehearse(means: Means, who: Principal, ref: str, channel: str = channels.LIVE) -> Operation:
    """Roll the shadow of `channel` back and forward again, and give the operation that did.

    Raises `NothingLive`, `NothingGood`, `UnknownWorkflow`, `UnknownChannel`, `PlanRefused`."""
    wanted = means.store.write(lambda tx: _shadow(tx, who, ref, channel))
    draft = Plan(
        "rehearsal",
        (),
        reason=f"rehearsal of {channel}",
        listeners=(),
        on_verification_failure="keep",
        responsible=means.settings.rollback.responsible,
    )
    plan = planning.make(means, "rehearsal", [wanted], draft)
    begun = planning.accept(means, who, plan)
    operation.run(means, begun.id)
    with means.store.read() as tx:
        done = journal.find(tx, begun.id)
    if done.state not in ("succeeded", "kept"):
        return done
    means.store.write(lambda tx: journal.ask(tx, who, done.id, "undo"))
    return operation.run(means, done.id).operation


def _shadow(tx: Tx, who: Principal, ref: str, channel: str) -> Wanted:
    """Let the shadow channel point where `channel` does, and say where a rollback of that would go."""
    workflow = workflows.find(tx, ref)
    pointer = channels.get(tx, workflow, channel)
    if pointer.version_pk is None:
        raise NothingLive(channel=channel, workflow=workflow.slug)
    good = channels.last_good(tx, workflow, pointer)
    if good is None:
        raise NothingGood(workflow=workflow.slug)
    shadow = channels.ensure(tx, workflow, SHADOW)
    expected = shadow.generation
    if shadow.version_pk != pointer.version_pk:
        live = versions.by_pk(tx, pointer.version_pk)
        expected = channels.move(
            tx, who, workflow, shadow, live, expected=expected, kind="publish", reason=f"the shadow of {channel}"
        )
    return Wanted(workflow.id, SHADOW, good.id, expected)


def records(tx: Tx, ref: str) -> list[Record]:
    """The rehearsals of a workflow, newest first."""
    done = journal.listing(tx, workflows.find(tx, ref), limit=_MOST)
    return [_record(one) for one in done if one.kind == "rehearsal" and _both_ways(one)]


def due(tx: Tx, hours: float) -> list[str]:
    """The ids of the workflows that are live and were not rehearsed for `hours`."""
    found = []
    for workflow in workflows.listing(tx):
        pointer = channels.present(tx, workflow)
        if pointer.version_pk is None or channels.last_good(tx, workflow, pointer) is None:
            continue
        last = next((one for one in journal.listing(tx, workflow, limit=_MOST) if one.kind == "rehearsal"), None)
        if last is None or parse_time(tx.now) - parse_time(last.created_at) >= timedelta(hours=hours):
            found.append(workflow.id)
    return found


def _both_ways(done: Operation) -> bool:
    """Whether it went back and forward again, or nothing moved: between the two it is over for a moment."""
    return done.over and (done.state == "failed" or "undo" in done.steps)


def _record(done: Operation) -> Record:
    took = sum(done.steps[name].elapsed_ms or 0 for name in _RECOVERY if name in done.steps) / 1000
    failed = [step.name for step in done.steps.values() if step.state == "failed"]
    return Record(done.id, done.created_at, done.plan.moves[0].to_version, took, ", ".join(failed))
