"""Routes for workflows, their versions and snapshots: what is kept."""

import json
from contextlib import suppress
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from lastgood import dsl
from lastgood.access import decisions
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import InvalidRequest, UnknownWorkflow
from lastgood.history import channels, retention, snapshots, versions, workflows
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow
from lastgood.ids import is_workflow, slugify
from lastgood.release.promotion import record
from lastgood.server import asking
from lastgood.server.asking import Thing, slugs_of
from lastgood.server.context import Context, Served, may, record_read

router = APIRouter(prefix="/v1")

Limit = Annotated[int, Query(ge=1, le=500)]


class Push(BaseModel):
    """A document to keep: its text (YAML or JSON), or the JSON value itself."""

    document: str | dict[str, Any]
    note: str = ""
    author: str = ""
    authored_at: str | None = Field(None, description="ISO 8601; when it was made, if not now")
    id: str | None = Field(None, description="version id from elsewhere, v-YYYYMMDD-NN")
    workflow_id: str | None = Field(None, description="workflow id from elsewhere, for a new workflow")
    origin: Literal["push", "import"] = "push"
    create: bool = Field(True, description="make the workflow when there is none")
    target: str = Field("engine", description="where a new workflow runs")
    source: str = Field("document", max_length=255, description="what messages call the document")


class Keep(BaseModel):
    """A state to keep by hand."""

    note: str = Field("", max_length=2000)
    version: str | None = Field(None, description="the live version, else the newest, when left out")


class NewTarget(BaseModel):
    """An upstream that speaks Dify's Service API."""

    name: str = Field(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    base_url: str = Field(pattern=r"^https?://[^\s]+( https?://[^\s]+)*$")


@router.get("/workflows", summary="All workflows that the caller may read")
def list_workflows(
    served: Served, who: Annotated[Principal, Depends(may("workflow:read"))], limit: Limit = 500
) -> dict[str, Any]:
    shown = decisions.visible(served.store, who, "workflow:read")
    with served.store.read() as tx:
        items = []
        found = [one for one in workflows.listing(tx) if shown(f"workflow:{one.slug}")]
        for workflow in found[:limit]:
            newest = next(iter(versions.page(tx, workflow, limit=1)), None)
            pointers = [channel.public() for channel in channels.listing(tx, workflow)]
            items.append({**workflow.public(), "channels": pointers, "newest": newest.id if newest else None})
    return {"items": items, "next": None}


@router.get("/workflows/{workflow}", summary="A workflow's whole definition: the live version, else the newest")
def read_workflow(
    workflow: str, served: Served, who: Annotated[Principal, Depends(may("workflow:read"))]
) -> dict[str, Any]:
    record_read(served, who, "workflow:read", f"workflow/{workflow}")
    with served.store.read() as tx:
        found = workflows.find(tx, workflow)
        version = current(tx, found)
        document = versions.document_of(tx, version, whole=True)
        return {
            **found.public(),
            "version": version.public(),
            "channels": [channel.public() for channel in channels.listing(tx, found)],
            "workflow_config": dsl.outline(document),
            "document": document.data,
        }


@router.post("/push", status_code=201, summary="Keep a document under the workflow it names")
def push_document(
    body: Push, served: Served, who: Annotated[Principal, Depends(may("workflow:push"))], response: Response
) -> dict[str, Any]:
    document = _parse(body)
    named = _named_in(body, document)
    asking.require(served.store, who, Thing("workflow", named), "workflow:push")
    return _push(served, who, named, body, document, response)


@router.post("/workflows/{workflow}/versions", status_code=201, summary="Keep a document as the newest version")
def push_version(
    workflow: str,
    body: Push,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:push"))],
    response: Response,
) -> dict[str, Any]:
    return _push(served, who, workflow, body, _parse(body), response)


@router.get("/workflows/{workflow}/versions", summary="A page of versions, newest first")
def list_versions(
    workflow: str,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:read"))],
    limit: Limit = 50,
    before: str | None = None,
) -> dict[str, Any]:
    with served.store.read() as tx:
        found = versions.page(tx, workflows.find(tx, workflow), limit=limit, before=before)
    return {"items": [v.public() for v in found], "next": found[-1].id if len(found) == limit else None}


@router.get("/versions/{version}", summary="A version, its evidence and its outline")
def read_version(
    version: str, served: Served, who: Annotated[Principal, Depends(may("workflow:read"))]
) -> dict[str, Any]:
    record_read(served, who, "workflow:read", f"version/{version}")
    with served.store.read() as tx:
        found = versions.find(tx, version)
        document = versions.document_of(tx, found)
        return {
            **found.public(),
            "evidence": versions.evidence_of(tx, found),
            "promoted_from": record.promoted_from(tx, found),
            "workflow_config": dsl.outline(document),
            "secrets": list(dsl.secret_names(document)),
        }


@router.get("/versions/{version}/document", summary="The document as a file that Dify imports")
def export_version(
    version: str,
    served: Served,
    who: Annotated[Principal, Depends(may("workflow:export"))],
    format: Literal["yaml", "json"] = "yaml",
) -> Response:
    record_read(served, who, "workflow:export", f"version/{version}")
    with served.store.read() as tx:
        document = versions.document_of(tx, versions.find(tx, version), whole=True)
    if format == "json":
        return Response(dsl.to_json(document), media_type="application/json")
    return Response(dsl.to_yaml(document), media_type="application/yaml")


@router.post("/versions/{version}/restore", summary="Bring an archived version back to hand")
def restore_version(
    version: str, served: Served, who: Annotated[Principal, Depends(may("workflow:archive"))]
) -> dict[str, Any]:
    return served.store.write(lambda tx: retention.restore(tx, who, versions.find(tx, version))).public()


@router.get("/workflows/{workflow}/snapshots", summary="Snapshots, newest first")
def list_snapshots(
    workflow: str, served: Served, who: Annotated[Principal, Depends(may("workflow:read"))], limit: Limit = 50
) -> dict[str, Any]:
    with served.store.read() as tx:
        return {"items": snapshots.listing(tx, workflows.find(tx, workflow), limit=limit), "next": None}


@router.post("/workflows/{workflow}/snapshots", status_code=201, summary="Keep a state by hand")
def keep_snapshot(
    workflow: str, body: Keep, served: Served, who: Annotated[Principal, Depends(may("workflow:push"))]
) -> dict[str, Any]:
    def work(tx: Tx) -> dict[str, Any]:
        found = workflows.find(tx, workflow)
        version = versions.find(tx, body.version, found) if body.version else current(tx, found)
        return snapshots.keep(tx, who, found, version, body.note)

    return served.store.write(work)


@router.get("/snapshots/{snapshot}", summary="A snapshot with its whole document")
def read_snapshot(
    snapshot: str, served: Served, who: Annotated[Principal, Depends(may("workflow:read"))]
) -> dict[str, Any]:
    record_read(served, who, "workflow:read", f"snapshot/{snapshot}")
    shown = decisions.visible(served.store, who, "workflow:read")
    with served.store.read() as tx:
        found = snapshots.read(tx, snapshot)
        # Stored once, it may be of several workflows, and not all of them are for the caller to know of.
        owners = {id: versions.find(tx, id).slug for id in found["versions"]}
    return found | {"versions": [id for id in found["versions"] if shown(f"workflow:{owners[id]}")]}


@router.post("/targets", status_code=201, summary="Make or change a target")
def set_target(
    body: NewTarget, served: Served, who: Annotated[Principal, Depends(may("target:connect"))]
) -> dict[str, Any]:
    decisions.require(served.store, who, "target:connect", f"target:{body.name}")
    if body.name == "engine":
        raise InvalidRequest(where="name", reason="engine is the embedded engine and cannot be changed")
    served.store.write(lambda tx: workflows.set_target(tx, who, body.name, body.base_url))
    return body.model_dump()


def current(tx: Tx, workflow: Workflow) -> Version:
    """The version that `live` points to, else the newest. Raises `NothingKept`."""
    for channel in channels.listing(tx, workflow):
        if channel.name == channels.LIVE and channel.version_pk is not None:
            return versions.by_pk(tx, channel.version_pk)
    return versions.newest(tx, workflow)


def _parse(body: Push) -> dsl.Document:
    # Written so that whatever JSON should not hold (not-a-number, half a surrogate) comes before the reader.
    text = body.document if isinstance(body.document, str) else json.dumps(body.document)
    document = dsl.parse(text, source=body.source)
    dsl.require_sound(document, source=body.source)
    return document


def _named_in(body: Push, document: dsl.Document) -> str:
    """The workflow that a document names: a definition read from this API says it; else the app's name does."""
    value: Any = body.document
    if isinstance(value, str) and value.lstrip().startswith("{"):
        with suppress(orjson.JSONDecodeError):  # else it is YAML in its flow style
            value = orjson.loads(value)
    if isinstance(value, dict) and "document" in value and isinstance(value.get("slug"), str):
        return str(value["slug"])
    slug = slugify(document.name)
    if not slug:
        reason = f"no workflow name can be made of the app's name {document.name!r}; give one with --workflow NAME"
        raise InvalidRequest(where="workflow", reason=reason)
    return slug


def _push(
    served: Context, who: Principal, ref: str, body: Push, document: dsl.Document, response: Response
) -> dict[str, Any]:
    if body.workflow_id is not None:
        with served.store.read() as tx:
            taken = slugs_of(tx, Thing("workflow", body.workflow_id))
        about = body.workflow_id if taken else _new_slug(ref, document)
        if about != ref and taken != [ref]:
            asking.require(served.store, who, Thing("workflow", about), "workflow:push")

    def work(tx: Tx) -> dict[str, Any]:
        workflow = _find_or_create(tx, who, ref, body, document)
        pushed = versions.push(
            tx,
            who,
            workflow,
            document,
            id=body.id,
            author=body.author,
            authored_at=body.authored_at,
            note=body.note,
            origin=body.origin,
        )
        archived = retention.archive_old(tx, who, workflow, served.store.settings.retention)
        return {
            "version": pushed.version.public(),
            "created": pushed.created,
            "secrets_missing": list(pushed.secrets_missing),
            "archived": archived,
            "workflow": workflow.public(),
        }

    answer = served.store.write(work)
    response.status_code = 201 if answer["created"] else 200
    return answer


def _new_slug(ref: str, document: dsl.Document) -> str:
    """What a new workflow is called that is pushed under `ref`: an id names none, so the app's name does."""
    return slugify(document.name) or f"app-{ref[3:]}" if is_workflow(ref) else ref


def _find_or_create(tx: Tx, who: Principal, ref: str, body: Push, document: dsl.Document) -> Workflow:
    try:
        found = workflows.find(tx, body.workflow_id or ref)
    except UnknownWorkflow:
        if not body.create or (is_workflow(ref) and body.workflow_id is None):
            raise
        slug = _new_slug(ref, document)
        return workflows.create(
            tx, who, slug, name=document.name, mode=document.mode, id=body.workflow_id, target=body.target
        )
    if body.workflow_id is not None and ref not in (found.id, found.slug):
        raise InvalidRequest(where="workflow_id", reason=f"{found.id} is the workflow {found.slug}, not {ref}")
    if document.mode != found.mode:
        raise InvalidRequest(
            where="document", reason=f"it is a {document.mode} app, and {found.slug} is a {found.mode} one"
        )
    return found
