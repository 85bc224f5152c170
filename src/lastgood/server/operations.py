"""Routes for plans and operations: what would happen, doing it, watching it, taking it back."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from lastgood.access import actions
from lastgood.db.audit import Principal
from lastgood.errors import InvalidPlan, InvalidRequest
from lastgood.history import channels, workflows
from lastgood.release import declared, impact, journal, planfile, planning, rehearsal
from lastgood.release.journal import Operation
from lastgood.release.plan import Plan
from lastgood.release.planning import Wanted
from lastgood.server import asking
from lastgood.server.asking import Thing
from lastgood.server.context import Context, Served, may, record_read
from lastgood.server.documents import Limit
from lastgood.targets import engine

router = APIRouter(prefix="/v1")

Wait = Annotated[float, Query(ge=0, le=600, description="seconds to wait for the end, at most")]
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=128)]


class Part(BaseModel):
    """One channel to move: to the last good version when `to` is left out."""

    model_config = ConfigDict(extra="forbid")
    workflow: str
    channel: str = channels.LIVE
    to: str | None = None


class NewPlan(BaseModel):
    """What to plan: channels to move, or a plan file's text, and choices. A hook is one that the server's
    `lastgood.toml` names."""

    model_config = ConfigDict(extra="forbid")
    moves: list[Part] = Field([], max_length=planning.MOST_MOVES)
    file: str | None = Field(None, max_length=2**20, description="the text of a plan file")
    reason: str | None = Field(None, max_length=2000)
    force: bool | None = None
    verify: bool | None = None
    on_verification_failure: Literal["undo", "keep", "ask"] | None = None
    break_glass: bool | None = None


class Accepted(BaseModel):
    """A plan as it was shown, and the confirmation that came with it."""

    model_config = ConfigDict(extra="forbid")
    plan: dict[str, Any]
    confirmation: str
    approval: str | None = Field(None, max_length=32, description="an approval (ap-…); else the newest that fits")


@router.post("/plans", summary="What a rollback would do; changes nothing")
def make_plan(
    body: NewPlan, served: Served, who: Annotated[Principal, Depends(may("workflow:plan"))]
) -> dict[str, Any]:
    engine.warm()
    means = served.means()
    draft, wanted, complete = _draft(served, body)
    for one in wanted:
        asking.require(served.store, who, Thing("workflow", one.workflow), "workflow:plan")
    for one in wanted:  # what is found tells of definitions
        # A rollback begins with its plan, so on a full disk that too may use the space kept aside.
        record_read(served, who, "workflow:plan", f"workflow/{one.workflow}", emergency=True)
    differences: list[str] = []
    if complete:
        plan, differences = planning.check_again(means, draft)
    else:
        plan = planning.outline(means, "rollback", wanted, draft)
    found = impact.assess(means, plan.moves)
    plan = planning.affecting(plan, found)
    declared.check(served.store.settings, plan, local=who.kind == "local")
    return {**_shown(served, plan, found), "differences": differences}


@router.post("/operations", status_code=202, summary="Do a plan that was seen")
def begin(
    body: Accepted,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:plan"))],
    wait: Wait = 0,
    key: Key = None,
) -> dict[str, Any]:
    try:
        plan = Plan.of_data(body.plan)
    except (TypeError, KeyError, ValueError, AttributeError):
        reason = "it is not a plan as POST /v1/plans gives it"
        raise InvalidPlan(source="the request", where="plan", reason=reason) from None
    if plan.kind not in actions.OF_KIND:
        raise InvalidPlan(source="the request", where="plan.kind", reason=f"{plan.kind} is no operation")
    for one in plan.moves:
        asking.require(served.store, who, Thing("workflow", one.workflow_id), *_actions(plan.kind, [one.channel]))
    operation = planning.accept(served.means(), who, plan, shown=body.confirmation, key=key, approval=body.approval)
    return run(served, operation, wait)


@router.get("/operations", summary="Every operation, newest first")
def list_operations(
    served: Served,
    who: Annotated[Principal, Depends(may("operation:read"))],
    workflow: str | None = None,
    limit: Limit = 50,
    before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
) -> dict[str, Any]:
    """Those whose workflows the caller may all read."""
    if workflow:
        asking.require(served.store, who, Thing("workflow", workflow), "operation:read")
    with served.store.read() as tx:
        owner = workflows.find(tx, workflow) if workflow else None

        def read(before: int | None) -> list[Operation]:
            return journal.listing(tx, owner, limit=limit, before=before)

        found, following = asking.page(served.store, who, "operation:read", read, limit, before)
    items = [{key: value for key, value in one.as_data().items() if key != "steps"} for one in found]
    return {"items": items, "next": following}


@router.get("/operations/{operation}", summary="An operation with its steps")
def read_operation(
    operation: str, served: Served, who: Annotated[Principal, Depends(may("operation:read"))], wait: Wait = 0
) -> dict[str, Any]:
    if wait:
        served.operators.wait(operation, wait)
    return _found(served, operation)


@router.get("/operations/{operation}/report", summary="What it did, as Markdown")
def read_report(
    operation: str, served: Served, who: Annotated[Principal, Depends(may("operation:read"))]
) -> Response:
    with served.store.read() as tx:
        found = journal.find(tx, operation)
    text = found.report or f"{found.id} is {found.state}; its report comes at its end.\n"
    return Response(text, media_type="text/markdown; charset=utf-8")


@router.post("/operations/{operation}/resume", status_code=202, summary="Go on with it, or keep what it did")
def resume(
    operation: str, served: Served, who: Annotated[Principal, Depends(may("workflow:rollback"))], wait: Wait = 0
) -> dict[str, Any]:
    found = _may_move(served, who, operation)
    wish: journal.Wish = "keep" if found.state == "asking" else found.wish
    return run(served, served.store.write(lambda tx: journal.ask(tx, who, operation, wish)), wait)


@router.post("/operations/{operation}/undo", status_code=202, summary="Move its channels back to where they were")
def undo(
    operation: str, served: Served, who: Annotated[Principal, Depends(may("workflow:rollback"))], wait: Wait = 0
) -> dict[str, Any]:
    _may_move(served, who, operation)
    asked = served.store.write(lambda tx: journal.ask(tx, who, operation, "undo"), emergency=True)
    return run(served, asked, wait)


@router.post("/workflows/{workflow}/rehearse", summary="Roll a shadow channel back and forward again")
def rehearse(
    workflow: str,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:rehearse"))],
    channel: str = channels.LIVE,
) -> dict[str, Any]:
    engine.warm()
    done = rehearsal.rehearse(served.means(), who, workflow, channel)
    return {**done.as_data(), "report": done.report}


@router.get("/workflows/{workflow}/rehearsals", summary="When it was rehearsed, how long it took, what failed")
def list_rehearsals(
    workflow: str, served: Served, who: Annotated[Principal, Depends(may("workflow:read"))]
) -> dict[str, Any]:
    with served.store.read() as tx:
        return {"items": [one.as_data() for one in rehearsal.records(tx, workflow)], "next": None}


def _actions(kind: str, named: Iterable[str]) -> list[str]:
    """What an operation of `kind` on channels asks for; the shadow channel of rehearsals is nobody's."""
    moved = {asking.moving(channel) for channel in named} if kind != "rehearsal" else set()
    return [actions.OF_KIND[kind], *sorted(moved)]


def _may_move(served: Context, who: Principal, operation: str) -> Operation:
    """The operation, if `who` may move its channels: the door has asked for the rest. Raises `Denied`."""
    with served.store.read() as tx:
        found = journal.find(tx, operation)
    for one in found.plan.moves:
        moved = _actions(found.kind, [one.channel])[1:]
        asking.require(served.store, who, Thing("workflow", one.workflow_id), *moved)
    return found


def run(served: Context, operation: Operation, wait: float) -> dict[str, Any]:
    """Start the operation unless it is over, wait so long at most, and give it as it stands then."""
    if not operation.over:
        served.operators.start(operation.id)
        served.operators.wait(operation.id, wait)
    return _found(served, operation.id)


def _found(served: Context, operation: str) -> dict[str, Any]:
    with served.store.read() as tx:
        found = journal.find(tx, operation)
    return {**found.as_data(), "report": found.report}


def _draft(served: Context, body: NewPlan) -> tuple[Plan, list[Wanted], bool]:
    """The choices that the request makes, the channels that it names, and whether it is a plan made before."""
    settings = served.store.settings
    choices = {"reason": body.reason, "force": body.force, "verify": body.verify}
    choices["break_glass"] = body.break_glass
    choices["on_verification_failure"] = body.on_verification_failure
    named = [Wanted(one.workflow, one.channel, one.to) for one in body.moves]
    if body.file is None:
        return planning.draft(settings, **choices), named, False
    read = planfile.read(body.file)
    if read.named and named:
        raise InvalidRequest(where="moves", reason="the plan file names its own")
    draft = read.plan
    if not read.policy:
        draft = replace(draft, on_verification_failure=settings.rollback.on_verification_failure)
    named = named or [
        Wanted(one.workflow_id or one.workflow, one.channel, one.to_version or None) for one in draft.moves
    ]
    changes: Mapping[str, Any] = {name: value for name, value in choices.items() if value is not None}
    return replace(draft, **changes), named, read.complete


def _shown(served: Context, plan: Plan, found: impact.Impact) -> dict[str, Any]:
    return {
        "plan": plan.as_data(),
        "digest": plan.digest,
        "verdict": plan.verdict,
        "confirmation": planning.confirmation(served.means(), plan),
        "file": planfile.write(plan),
        "impact": found.as_data(),
        "findings": [asdict(one) for one in planfile.findings_of(plan)],
        "protection": planning.protections(served.means(), plan),
    }
