"""Routes for what proves a version: smoke requests and marks; and for app keys."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import EngineMissing, InvalidRequest, LastgoodError
from lastgood.history import keys, smokes, versions, workflows
from lastgood.history.versions import Version
from lastgood.release.checks.recorded import request_of
from lastgood.release.verification import Check, Report, verify
from lastgood.server import asking
from lastgood.server.asking import Thing
from lastgood.server.context import Context, Served, may, record_read
from lastgood.targets import engine

router = APIRouter(prefix="/v1")


class Mark(BaseModel):
    """A person's word on a version."""

    state: Literal["stable", "failed", "candidate"]
    reason: str = Field(min_length=1, max_length=2000)


class NewSmoke(BaseModel):
    """A request that a good version answers as expected."""

    inputs: dict[str, Any] = {}
    query: str = Field("", description="the message, for a chatflow")
    expect: list[str] = Field([], description="JMESPath expressions that must be true", max_length=50)
    max_ms: int | None = Field(None, ge=1, le=86_400_000, description="slower is a failure")
    from_run: str | None = Field(None, max_length=64, description="send again what this run was sent")


class NewKey(BaseModel):
    """An app key for the gateway."""

    name: str
    channel: str = "live"
    key: str | None = Field(None, description="take over a key that Dify made")


@router.post("/versions/{version}/mark", summary="Say of a version that it is stable, failed or unproven")
def mark(
    version: str, body: Mark, served: Served, who: Annotated[Principal, Depends(may("workflow:mark"))]
) -> dict[str, Any]:
    def work(tx: Tx) -> Version:
        found = versions.find(tx, version)
        return versions.set_state(tx, who, found, body.state, kind="mark", reason=body.reason)

    return served.store.write(work).public()


@router.post("/versions/{version}/smoke", summary="Run the smoke requests on a version now")
def smoke(
    version: str, served: Served, who: Annotated[Principal, Depends(may("workflow:mark"))]
) -> dict[str, Any] | None:
    with served.store.read() as tx:
        found = versions.find(tx, version)
    return verified(served, who, found, condemn=True)


@router.get("/workflows/{workflow}/smokes", summary="The smoke requests of a workflow")
def list_smokes(
    workflow: str, served: Served, who: Annotated[Principal, Depends(may("workflow:read"))]
) -> dict[str, Any]:
    with served.store.read() as tx:
        return {"items": [s.public() for s in smokes.listing(tx, workflows.find(tx, workflow))], "next": None}


@router.post("/workflows/{workflow}/smokes", status_code=201, summary="Keep a smoke request")
def add_smoke(
    workflow: str, body: NewSmoke, served: Served, who: Annotated[Principal, Depends(may("workflow:push"))]
) -> dict[str, Any]:
    asked = body.model_dump(exclude={"from_run"})
    if body.from_run is not None:
        if body.inputs or body.query:
            raise InvalidRequest(where="from_run", reason="it brings its own inputs and query; leave the others out")
        with served.store.read() as tx:
            owner = workflows.find(tx, workflow)
        asking.require(served.store, who, Thing("workflow", workflow), "run:read")
        record_read(served, who, "run:read", f"workflow/{owner.id}/run/{body.from_run}")
        recorded = request_of(served.runs(), owner, body.from_run)
        asked |= {"inputs": recorded.inputs, "query": recorded.query}

    def work(tx: Tx) -> dict[str, Any]:
        return smokes.add(tx, who, workflows.find(tx, workflow), **asked).public()

    return served.store.write(work)


@router.delete("/workflows/{workflow}/smokes/{smoke}", status_code=204, summary="Forget a smoke request")
def remove_smoke(
    workflow: str, smoke: str, served: Served, who: Annotated[Principal, Depends(may("workflow:push"))]
) -> None:
    served.store.write(lambda tx: smokes.remove(tx, who, workflows.find(tx, workflow), smoke))


@router.get("/workflows/{workflow}/keys", summary="The app keys of a workflow, without the keys themselves")
def list_keys(
    workflow: str, served: Served, who: Annotated[Principal, Depends(may("workflow:read"))]
) -> dict[str, Any]:
    with served.store.read() as tx:
        return {"items": keys.listing(tx, workflows.find(tx, workflow)), "next": None}


@router.post("/workflows/{workflow}/keys", status_code=201, summary="A new app key, shown once")
def create_key(
    workflow: str, body: NewKey, served: Served, who: Annotated[Principal, Depends(may("key:create"))]
) -> dict[str, Any]:
    def work(tx: Tx) -> dict[str, Any]:
        found = workflows.find(tx, workflow)
        return keys.create(tx, who, found, name=body.name, channel=body.channel, key=body.key)

    return served.store.write(work)


@router.delete("/workflows/{workflow}/keys/{key}", status_code=204, summary="End an app key")
def revoke_key(
    workflow: str, key: str, served: Served, who: Annotated[Principal, Depends(may("key:revoke"))]
) -> None:
    served.store.write(lambda tx: keys.revoke(tx, who, workflows.find(tx, workflow), key))


def verified(served: Context, who: Principal, version: Version, *, condemn: bool) -> dict[str, Any] | None:
    """Verify `version` where it runs and give the report; None where this server cannot run it itself."""
    with served.store.read() as tx:
        workflow = workflows.by_pk(tx, version.workflow_pk)
        requests = smokes.listing(tx, workflow)
    if workflow.target != engine.NAME:
        return None
    if not requests:
        return Report("none", (), version.state).public()
    try:
        upstream = served.engine()
    except LastgoodError as error:
        if not isinstance(error, EngineMissing) and error.status < 500:
            raise
        return Report("inconclusive", (Check("-", None, str(error), 0.0),), version.state).public()
    return verify(served.store, who, version, upstream, condemn=condemn).public()
