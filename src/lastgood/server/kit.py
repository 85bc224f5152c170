"""The route that makes an emergency kit."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from lastgood.db.audit import Principal
from lastgood.history import channels, workflows
from lastgood.release.kit import making
from lastgood.server.context import Served, may, record_read

router = APIRouter(prefix="/v1")


@router.get("/workflows/{workflow}/emergency-kit", summary="Files that roll the Dify app back without Lastgood")
def emergency_kit(
    workflow: str,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:export"))],
    channel: str = channels.LIVE,
    to: str | None = None,
) -> dict[str, Any]:
    # It may be wanted when the disk is full.
    record_read(served, who, "workflow:export", f"workflow/{workflow}", emergency=True)
    with served.store.read() as tx:
        kit = making.make(tx, workflows.find(tx, workflow), channel, to)
    return {
        "version": kit.version.public(),
        "app": kit.app.public(),
        "files": dict(kit.files),
        "warnings": list(kit.warnings),
    }
