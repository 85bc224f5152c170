"""Routes for approvals: plans for protected channels that wait for another identity."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from lastgood.db import audit
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.dsl.rules import RuleSettings
from lastgood.dsl.telling import tell
from lastgood.errors import SameIdentity
from lastgood.history import versions, workflows
from lastgood.release import approvals, planfile, report
from lastgood.release.approvals import Approval
from lastgood.release.plan import PlannedMove
from lastgood.server import asking
from lastgood.server.asking import Thing
from lastgood.server.context import Context, Served, may, record_read
from lastgood.server.documents import Limit

router = APIRouter(prefix="/v1")


class Answer(BaseModel):
    """Why somebody agrees."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field("", max_length=2000)


class Rejection(BaseModel):
    """Why somebody does not agree."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(min_length=1, max_length=2000)


@router.get("/approvals", summary="Plans that wait for another identity, or did, newest first")
def list_approvals(
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:read"))],
    waiting: Annotated[bool, Query(description="only those that still wait")] = False,
    limit: Limit = 50,
    before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
) -> dict[str, Any]:
    """Those whose workflows the caller may all read."""
    with served.store.read() as tx:

        def read(before: int | None) -> list[Approval]:
            return approvals.listing(tx, waiting=waiting, limit=limit, before=before)

        found, following = asking.page(served.store, who, "workflow:read", read, limit, before)
        return {"items": [one.public(tx.now) for one in found], "next": following}


@router.get("/approvals/{approval}", summary="What it is asked for: what would move, what was found, what differs")
def read_approval(
    approval: str, served: Served, who: Annotated[Principal, Depends(may("workflow:read"))]
) -> dict[str, Any]:
    with served.store.read() as tx:
        found = approvals.find(tx, approval)
    _may(served, who, "workflow:read", found)
    for one in found.plan.moves:  # what differs tells of definitions
        record_read(served, who, "workflow:read", f"workflow/{one.workflow}")
    return _whole(served, found)


@router.post("/approvals/{approval}/approve", summary="Agree to it, as another identity than the one that asked")
def approve(
    approval: str, body: Answer, served: Served, who: Annotated[Principal, Depends(may("plan:approve"))]
) -> dict[str, Any]:
    _may_answer(served, who, approval)
    try:
        done = served.store.write(lambda tx: approvals.approve(tx, who, approval, body.reason))
    except SameIdentity as same:
        sentence = str(same)
        served.store.write(
            lambda tx: audit.append(tx, who, "plan:approve", f"approval/{approval}", result="denied", reason=sentence)
        )
        raise
    return _public(served, done)


@router.post("/approvals/{approval}/reject", summary="Do not agree to it, which ends it")
def reject(
    approval: str, body: Rejection, served: Served, who: Annotated[Principal, Depends(may("plan:approve"))]
) -> dict[str, Any]:
    _may_answer(served, who, approval)
    return _public(served, served.store.write(lambda tx: approvals.reject(tx, who, approval, body.reason)))


def _may_answer(served: Context, who: Principal, approval: str) -> None:
    """Who answers for a plan must be allowed to on every workflow that it moves."""
    with served.store.read() as tx:
        found = approvals.find(tx, approval)
    _may(served, who, "plan:approve", found)


def _may(served: Context, who: Principal, action: str, found: Approval) -> None:
    for one in found.plan.moves:
        asking.require(served.store, who, Thing("workflow", one.workflow_id), action)


def _public(served: Context, found: Approval) -> dict[str, Any]:
    with served.store.read() as tx:
        return found.public(tx.now)


def _whole(served: Context, found: Approval) -> dict[str, Any]:
    rules = RuleSettings(served.store.settings.rules)
    with served.store.read() as tx:
        differences = [_difference(tx, one, rules) for one in found.plan.moves]
        public = found.public(tx.now)
    return {
        **public,
        "sentences": list(report.foretold(found.plan)),
        "findings": [asdict(one) for one in planfile.findings_of(found.plan)],
        "differences": differences,
        "plan": found.plan.as_data(),
    }


def _difference(tx: Tx, one: PlannedMove, rules: RuleSettings) -> dict[str, Any]:
    """What the version that it goes to has different from the one that it comes from."""
    told: dict[str, Any] = {"summary": "nothing was there before", "lines": []}
    if one.from_version is not None:
        workflow = workflows.find(tx, one.workflow_id)
        old, new = (versions.find(tx, id, workflow) for id in (one.from_version, one.to_version))
        changed = versions.secrets_changed(tx, old, new)
        found = tell(versions.document_of(tx, old), versions.document_of(tx, new), changed, rules)
        told = {"summary": found["summary"], "lines": found["lines"]}
    return {"workflow": one.workflow, "channel": one.channel, **told}
