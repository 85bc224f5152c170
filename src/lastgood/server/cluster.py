"""The route that lists Lastgood's own processes."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from lastgood.db import process
from lastgood.db.audit import Principal
from lastgood.server.context import Served, may

router = APIRouter(prefix="/v1")


@router.get("/cluster", summary="Lastgood's own processes: release, capabilities, heartbeat")
def read_cluster(
    served: Served, who: Annotated[Principal, Depends(may("cluster:read", on="server:cluster"))]
) -> dict[str, Any]:
    with served.store.read() as tx:
        items = process.listing(tx)
    versions = sorted({str(one["version"]) for one in items if one["state"] != "gone"})
    return {"items": items, "next": None, "versions": versions, "mixed": len(versions) > 1}
