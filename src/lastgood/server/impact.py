"""The route that says who and what a move affects."""

from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Depends, Response

from lastgood.db.audit import Principal
from lastgood.history.channels import LIVE
from lastgood.release import impact
from lastgood.server.context import Served, may, record_read

router = APIRouter(prefix="/v1")


@router.get(
    "/workflows/{workflow}/impact", summary="Who and what a move affects; to the last good version by default"
)
def read_impact(
    workflow: str,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:read"))],
    channel: str = LIVE,
    to: str | None = None,
    format: Literal["json", "yaml", "markdown"] = "json",
) -> Response:
    record_read(served, who, "workflow:read", f"workflow/{workflow}/impact")
    found = impact.of_workflow(served.means(), workflow, channel=channel, to=to)
    if format == "yaml":
        return Response(found.yaml(), media_type="application/yaml")
    if format == "markdown":
        return Response(found.markdown(), media_type="text/markdown")
    return Response(orjson.dumps(found.as_data()), media_type="application/json")
