"""Routes for channels and moves: what is live, and changing it."""

from time import perf_counter
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from lastgood.access import decisions
from lastgood.db import process
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import NothingGood
from lastgood.history import channels, workflows
from lastgood.release import moves
from lastgood.release.moves import Moved
from lastgood.server.context import Context, Expected, Served, may
from lastgood.server.documents import Limit
from lastgood.server.proofs import verified
from lastgood.targets import engine

router = APIRouter(prefix="/v1")

SEMVER = r"^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$"


class Publish(BaseModel):
    """A version to point the channel to."""

    version: str
    reason: str = Field("", max_length=2000)
    semver: str | None = Field(None, pattern=SEMVER, max_length=64)
    force: bool = Field(False, description="also to a failed version; needs a reason")
    verify: bool = Field(True, description="run the smoke requests afterwards")


class Rollback(BaseModel):
    """Where to go back to: the last good version when `to` is left out."""

    to: str | None = None
    reason: str = Field("", max_length=2000)
    force: bool = Field(False, description="also to a failed version; needs a reason")
    verify: bool = Field(True, description="run the smoke requests afterwards")


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
    who: Annotated[Principal, Depends(may("workflow:publish"))],
    expected: Expected,
) -> dict[str, Any]:
    def work(tx: Tx) -> Moved:
        return moves.publish(
            tx,
            who,
            workflows.find(tx, workflow),
            body.version,
            channel=channel,
            expected=expected,
            reason=body.reason,
            semver=body.semver,
            force=body.force,
        )

    _may_force(served, who, workflow, body.force)
    engine.warm()  # the check of the target must not import for a second while it holds the store
    began = perf_counter()
    return _finish(served, who, served.store.write(work), began, verify=body.verify, condemn=True)


@router.post("/workflows/{workflow}/channels/{channel}/rollback", summary="Point a channel back to a good version")
def rollback(
    workflow: str,
    channel: str,
    body: Rollback,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:rollback"))],
    expected: Expected,
) -> dict[str, Any]:
    def work(tx: Tx) -> Moved:
        return moves.rollback(
            tx,
            who,
            workflows.find(tx, workflow),
            to=body.to,
            channel=channel,
            expected=expected,
            reason=body.reason,
            force=body.force,
        )

    _may_force(served, who, workflow, body.force)
    if body.to is not None:
        engine.warm()
    began = perf_counter()
    moved = served.store.write(work, emergency=True)
    # Smoke requests of a rollback prove, and never condemn: the cause may lie outside the version.
    return _finish(served, who, moved, began, verify=body.verify, condemn=False)


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
        decisions.require(served.store, who, "rollback:force", f"workflow/{workflow}")


def _finish(
    served: Context, who: Principal, moved: Moved, began: float, *, verify: bool, condemn: bool
) -> dict[str, Any]:
    """Wait until no worker serves the old version, then verify: the answer of a move."""
    confirmation = process.confirm(served.store, moved.revision)
    took = (perf_counter() - began) * 1000
    report = verified(served, who, moved.to, condemn=condemn) if verify else None
    bump = moved.bump
    version = moved.to.public() if report is None else {**moved.to.public(), "proven": report["state"]}
    return {
        "move": moves.public(moved),
        "version": version,
        "unconfirmed": list(confirmation.unconfirmed),
        "took_ms": round(took, 2),
        "verification": report,
        "semver": None
        if bump is None
        else {"version": bump.version, "kind": bump.kind, "because": list(bump.because)},
    }
