"""Routes for channels that Dify apps run: drift, adopting what Dify serves, putting ours back, restoring drafts."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.dsl.rules import RuleSettings
from lastgood.dsl.telling import tell
from lastgood.errors import NothingToHeal
from lastgood.history import apps, channels, versions, workflows
from lastgood.history.apps import App
from lastgood.release import moves
from lastgood.release.placing import looking, redraft, standing
from lastgood.release.placing.looking import Seen
from lastgood.release.plan import Plan
from lastgood.release.planning import Wanted
from lastgood.server.context import Context, Expected, Served, may, record_read
from lastgood.server.operations import Key
from lastgood.server.pointers import do

router = APIRouter(prefix="/v1")


class Why(BaseModel):
    """Why it is done."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field("", max_length=2000)


class Heal(Why):
    """How ours is put back."""

    verify: bool = Field(True, description="run the verification checklist afterwards")


class Restore(BaseModel):
    """A draft state (dr-…) or a version (v-…) for the draft in Dify."""

    model_config = ConfigDict(extra="forbid")
    what: str = Field(min_length=1, max_length=32)
    channel: str = channels.LIVE


@router.get(
    "/workflows/{workflow}/channels/{channel}/drift", summary="What Dify serves now against what the channel says"
)
def read_drift(
    workflow: str, channel: str, served: Served, who: Annotated[Principal, Depends(may("workflow:read"))]
) -> dict[str, Any]:
    record_read(served, who, "workflow:read", f"workflow/{workflow}/drift")
    app = _app(served, workflow, channel)
    seen = looking.look(served.means(), app)
    with served.store.read() as tx:
        owner = workflows.by_pk(tx, app.workflow_pk)
        pointer = channels.get(tx, owner, channel)
        stands = standing.of(tx, apps.by_pk(tx, app.pk), pointer)
        told: dict[str, Any] = {"summary": "", "lines": [], "changes": [], "difference": None, "stat": []}
        if pointer.version_pk is not None and seen.version is not None and pointer.version_pk != seen.version.pk:
            ours = versions.by_pk(tx, pointer.version_pk)
            told = tell(
                versions.document_of(tx, ours),
                versions.document_of(tx, seen.version),
                versions.secrets_changed(tx, ours, seen.version),
                RuleSettings(served.store.settings.rules),
            )
    return {
        **stands.public(),
        "generation": pointer.generation,
        "expected": stands.state in ("converging", "applying"),
        "problem": str(seen.problem) if seen.problem else None,
        **told,
    }


@router.post("/workflows/{workflow}/channels/{channel}/adopt", summary="Take what Dify serves as what should be live")
def adopt(
    workflow: str,
    channel: str,
    body: Why,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:publish", moves=True))],
    expected: Expected,
) -> dict[str, Any]:
    app = _app(served, workflow, channel)
    seen = looking.look(served.means(), app)
    if seen.problem is not None:
        raise seen.problem
    found = seen.version
    if found is None:
        with served.store.read() as tx:
            pointer = channels.get(tx, workflows.by_pk(tx, app.workflow_pk), channel)
        raise NothingToHeal(
            server=app.target, channel=channel, workflow=app.slug, version=pointer.version or "nothing", what="adopt"
        )

    reason = body.reason or f"what {app.target} serves"

    def work(tx: Tx) -> dict[str, Any]:
        owner = workflows.by_pk(tx, app.workflow_pk)
        moved = moves.adopt(
            tx,
            who,
            owner,
            found.id,
            channel=channel,
            expected=expected,
            reason=reason,
        )
        apps.set_converge(tx, app, None)
        return moves.public(moved)

    return {"move": served.store.write(work), "standing": _standing(served, seen, channel)}


@router.post("/workflows/{workflow}/channels/{channel}/heal", summary="Give Dify what the channel says again")
def heal(
    workflow: str,
    channel: str,
    body: Heal,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:rollback", moves=True))],
    expected: Expected,
    key: Key = None,
) -> dict[str, Any]:
    draft = Plan("heal", (), reason=body.reason, verify=body.verify)
    return do(served, who, Wanted(workflow, channel, None, expected), draft, key)


@router.post("/workflows/{workflow}/draft", summary="Put a kept state or a version into the draft in Dify")
def restore_draft(
    workflow: str, body: Restore, served: Served, who: Annotated[Principal, Depends(may("draft:restore"))]
) -> dict[str, Any]:
    return redraft.restore(served.means(), who, workflow, body.what, body.channel).public()


def _app(served: Context, workflow: str, channel: str) -> App:
    with served.store.read() as tx:
        return apps.get(tx, workflows.find(tx, workflow), channel)


def _standing(served: Context, seen: Seen, channel: str) -> dict[str, Any]:
    with served.store.read() as tx:
        owner = workflows.by_pk(tx, seen.app.workflow_pk)
        return standing.of(tx, apps.by_pk(tx, seen.app.pk), channels.get(tx, owner, channel)).public()
