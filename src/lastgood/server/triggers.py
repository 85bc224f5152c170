"""The route that lists a workflow's triggers."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from lastgood.db.audit import Principal
from lastgood.history import apptriggers, triggers, workflows
from lastgood.server.context import Served, may, record_read
from lastgood.settings import Settings

router = APIRouter(prefix="/v1")


@router.get("/workflows/{workflow}/triggers", summary="What starts the workflow: its webhooks and schedules")
def read_triggers(
    workflow: str, served: Served, who: Annotated[Principal, Depends(may("trigger:read"))]
) -> dict[str, Any]:
    """Whoever knows the address of a webhook may call it, so that reading them is audited. Of a channel that a Dify
    app runs: what was last seen there, with the address that a webhook had `before`, where it changed."""
    with served.store.read() as tx:
        found = workflows.find(tx, workflow)
    record_read(served, who, "trigger:read", f"workflow/{found.id}")
    gateway = str(served.facts.get("gateway") or _address(served.store.settings))
    with served.store.read() as tx:
        items = [bound.public(gateway) for bound in triggers.of_workflow(tx, found)]
        ties = [one.public() for one in apptriggers.of_workflow(tx, found)]
    enabled = list(served.store.settings.trigger_channels)
    bound = [{**item, "enabled": item["channel"] in enabled} for item in items]
    return {"items": [*bound, *ties], "next": None}


def _address(settings: Settings) -> str:
    return f"http://{settings.gateway_host}:{settings.gateway_port}"
