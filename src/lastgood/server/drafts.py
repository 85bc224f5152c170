"""Routes for the kept states of drafts."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from lastgood import dsl
from lastgood.db.audit import Principal
from lastgood.dsl.rules import RuleSettings
from lastgood.dsl.telling import tell
from lastgood.history import drafts, versions, workflows
from lastgood.server.context import Served, may, record_read
from lastgood.server.documents import Limit, current

router = APIRouter(prefix="/v1")
Reader = Annotated[Principal, Depends(may("workflow:read"))]


@router.get("/workflows/{workflow}/drafts", summary="Kept states of the drafts of a workflow's apps, newest first")
def list_drafts(workflow: str, served: Served, who: Reader, limit: Limit = 50) -> dict[str, Any]:
    with served.store.read() as tx:
        found = drafts.listing(tx, workflows.find(tx, workflow), limit)
    return {"items": [draft.public() for draft in found], "next": None}


@router.get("/drafts/{draft}", summary="A kept state of a draft with its whole document")
def read_draft(draft: str, served: Served, who: Reader) -> dict[str, Any]:
    record_read(served, who, "workflow:read", f"draft/{draft}")
    with served.store.read() as tx:
        found = drafts.get(tx, draft)
        document = drafts.document_of(tx, found)
    return {
        **found.public(),
        "secrets": list(dsl.secret_names(document)),
        "workflow_config": dsl.outline(document),
        "document": document.data,
        "yaml": dsl.to_yaml(document),
    }


@router.get("/drafts/{draft}/diff", summary="What a draft state changes in a version; in the live one by default")
def read_draft_difference(draft: str, served: Served, who: Reader, version: str | None = None) -> dict[str, Any]:
    record_read(served, who, "workflow:read", f"draft/{draft}/diff")
    with served.store.read() as tx:
        found = drafts.get(tx, draft)
        owner = workflows.by_pk(tx, found.workflow_pk)
        base = versions.find(tx, version, owner) if version else current(tx, owner)
        told = tell(
            versions.document_of(tx, base),
            drafts.document_of(tx, found),
            drafts.secrets_changed(tx, found, base),
            RuleSettings(served.store.settings.rules),
        )
    return {"old": base.public(), "new": found.public(), **told}
