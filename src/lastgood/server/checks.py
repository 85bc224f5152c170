"""The route that verifies what is live now."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from lastgood.db.audit import Principal
from lastgood.errors import NothingLive
from lastgood.history import channels, versions, workflows
from lastgood.release.checks import checklist, report
from lastgood.release.checks.case import Case
from lastgood.server.context import Served, may, record_read

router = APIRouter(prefix="/v1")


@router.post("/workflows/{workflow}/verify", summary="Hold the checklist against what a channel serves now")
def verify(
    workflow: str,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:verify"))],
    channel: str = channels.LIVE,
) -> dict[str, Any]:
    with served.store.read() as tx:
        owner = workflows.find(tx, workflow)
        pointer = channels.get(tx, owner, channel)
        if pointer.version_pk is None:
            raise NothingLive(channel=channel, workflow=owner.slug)
        version = versions.by_pk(tx, pointer.version_pk)
    record_read(served, who, "workflow:verify", f"workflow/{owner.id}/channel/{channel}")
    # What fails now passed before, or was never asked: the cause may lie outside the version.
    case = Case(served.means(), who, owner, channel, version, pointer.generation, condemn=False)
    found = checklist.run(case)
    data = report.as_data(
        found,
        checklist.verdict(found),
        workflow=owner.slug,
        channel=channel,
        version=version.id,
        generation=pointer.generation,
    )
    with served.store.read() as tx:
        state = versions.by_pk(tx, version.pk).state
    return {**data, "state": state, "markdown": report.markdown(data)}
