"""Routes for channels and moves: what is live, and changing it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from lastgood.access.actions import FORCE
from lastgood.db.audit import Principal
from lastgood.errors import NothingGood, OperationOver, Unavailable
from lastgood.history import channels, versions, workflows
from lastgood.release import moves, operation, planning
from lastgood.release.journal import Operation
from lastgood.release.plan import Plan
from lastgood.release.planning import Wanted
from lastgood.server import asking
from lastgood.server.asking import Thing
from lastgood.server.context import Context, Expected, Served, may
from lastgood.server.documents import Limit
from lastgood.server.operations import Key
from lastgood.targets import engine

router = APIRouter(prefix="/v1")

SEMVER = r"^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$"


class Publish(BaseModel):
    """A version to point the channel to."""

    version: str
    reason: str = Field("", max_length=2000)
    semver: str | None = Field(None, pattern=SEMVER, max_length=64)
    force: bool = Field(False, description="also to a failed version; needs a reason")
    verify: bool = Field(True, description="run the verification checklist afterwards")
    on_verification_failure: Literal["undo", "keep", "ask"] = "keep"


class Rollback(BaseModel):
    """Where to go back to: the last good version when `to` is left out."""

    to: str | None = None
    reason: str = Field("", max_length=2000)
    force: bool = Field(False, description="also to a failed version; needs a reason")
    verify: bool = Field(True, description="run the verification checklist afterwards")
    on_verification_failure: Literal["undo", "keep", "ask"] | None = None


@router.get("/workflows/{workflow}/channels", summary="The channels of a workflow")
def list_channels(
    workflow: str, served: Served, who: Annotated[Principal, Depends(may("workflow:read"))]
) -> dict[str, Any]:
    with served.store.read() as tx:
        found = channels.listing(tx, workflows.find(tx, workflow))
    return {"items": [channel.public() for channel in found], "next": None}


@router.get("/workflows/{workflow}/channels/{channel}", summary="A channel; its ETag is its generation")
def read_channel(
    workflow: str,
    channel: str,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:read"))],
    response: Response,
) -> dict[str, Any]:
    with served.store.read() as tx:
        owner = workflows.find(tx, workflow)
        found = channels.get(tx, owner, channel)
        try:
            version, why = moves.choose(tx, owner, found)
            last_good: dict[str, Any] | None = {"version": version.id, "evidence": why}
        except NothingGood:
            last_good = None
    response.headers["ETag"] = found.etag
    return {**found.public(), "last_good": last_good}


@router.post("/workflows/{workflow}/channels/{channel}/publish", summary="Point a channel to a version")
def publish(
    workflow: str,
    channel: str,
    body: Publish,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:publish", moves=True))],
    expected: Expected,
    key: Key = None,
) -> dict[str, Any]:
    _may_force(served, who, workflow, body.force)
    engine.warm()  # the check of the target must not import for a second while it holds the store
    draft = Plan(
        "publish",
        (),
        reason=body.reason,
        force=body.force,
        semver=body.semver,
        verify=body.verify,
        on_verification_failure=body.on_verification_failure,
    )
    return do(served, who, Wanted(workflow, channel, body.version, expected), draft, key)


@router.post("/workflows/{workflow}/channels/{channel}/rollback", summary="Point a channel back to a good version")
def rollback(
    workflow: str,
    channel: str,
    body: Rollback,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:rollback", moves=True))],
    expected: Expected,
    key: Key = None,
) -> dict[str, Any]:
    _may_force(served, who, workflow, body.force)
    engine.warm()
    draft = planning.draft(
        served.store.settings,
        reason=body.reason,
        force=body.force,
        verify=body.verify,
        on_verification_failure=body.on_verification_failure,
    )
    return do(served, who, Wanted(workflow, channel, body.to, expected), draft, key)


@router.get("/workflows/{workflow}/moves", summary="Every move of every channel, newest first")
def list_moves(
    workflow: str,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:read"))],
    limit: Limit = 50,
    before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
) -> dict[str, Any]:
    with served.store.read() as tx:
        found = channels.moves(tx, workflows.find(tx, workflow), limit=limit, before=before)
    return {"items": [one.public() for one in found], "next": found[-1].pk if len(found) == limit else None}


def _may_force(served: Context, who: Principal, workflow: str, force: bool) -> None:
    """Going to a failed version asks for a permission of its own: here, before the move's transaction, so that a
    refusal is kept."""
    if force:
        asking.require(served.store, who, Thing("workflow", workflow), FORCE)


def do(served: Context, who: Principal, wanted: Wanted, draft: Plan, key: str | None) -> dict[str, Any]:
    """Plan one move, do it in this thread, and give its answer. Raises what refused it; then nothing was moved."""
    means = served.means()
    plan = planning.make(means, draft.kind, [wanted], draft)
    begun = planning.accept(means, who, plan, key=key)
    outcome = operation.run(means, begun.id) if not begun.over else operation.Outcome(begun)
    if outcome.error is not None and outcome.operation.state == "failed":
        raise outcome.error
    return _answer(served, outcome.operation)


def _answer(served: Context, done: Operation) -> dict[str, Any]:
    """What an operation on one channel did: its move, who has not confirmed it, and its verification."""
    detail = {name: step.detail for name, step in done.steps.items()}
    if "moves" not in detail.get("move", {}):
        if done.over:  # the same Idempotency-Key came before, and nothing was moved then
            raise OperationOver(operation=done.id, state=done.state, summary=done.summary)
        raise Unavailable(detail=f"{done.id} was parked, because the server ends; it goes on at the next start.")
    made = detail["move"]["moves"]
    move = made[0] if made else _unmoved(done)
    told = detail.get("listeners", {})
    with served.store.read() as tx:
        version = versions.find(tx, move["to"])
    return {
        "operation": done.id,
        "state": done.state,
        "summary": done.summary,
        "move": {name: value for name, value in move.items() if name != "semver"},
        "version": version.public(),
        "unconfirmed": told.get("unconfirmed", []),
        "took_ms": round((done.steps["move"].elapsed_ms or 0) + told.get("waited_ms", 0), 2),
        "verification": _verification(detail, version.state),
        "semver": move["semver"],
    }


def _unmoved(done: Operation) -> dict[str, Any]:
    """What an operation did that gave an app what its channel says already."""
    planned = done.plan.moves[0]
    return {
        "workflow_id": planned.workflow_id,
        "workflow": planned.workflow,
        "channel": planned.channel,
        "from": planned.from_version,
        "to": planned.to_version,
        "generation": planned.expected_generation,
        "kind": done.kind,
        "why": planned.why,
        "semver": None,
    }


def _verification(detail: Mapping[str, Mapping[str, Any]], state: str) -> dict[str, Any] | None:
    """The checklist of both steps that look; None when none was wanted. ``checks`` are the smoke requests."""
    looked = [detail.get(name, {}) for name in ("data-checks", "verification")]
    items = [item for one in looked for item in one.get("items", [])]
    verdicts = [one["verdict"] for one in looked if "verdict" in one]
    if not verdicts:
        return None
    passed = {"pass": True, "fail": False}
    return {
        "verdict": next((one for one in ("failed", "inconclusive", "passed") if one in verdicts), "none"),
        "checks": [
            {
                "smoke": item["subject"],
                "passed": passed.get(item["verdict"]),
                "detail": item["found"],
                "elapsed_ms": item["elapsed_ms"],
            }
            for item in items
            if item["check"] == "smoke" and item["verdict"] != "skipped"
        ],
        "items": items,
        "state": state,
    }
