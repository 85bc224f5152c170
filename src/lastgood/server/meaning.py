"""Routes that say what documents mean: difference, interface, dependencies, lint; pins and tags."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from lastgood import dsl
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.dsl import lint
from lastgood.dsl.compare import compare
from lastgood.dsl.dependencies import dependencies
from lastgood.dsl.drawing import draw, draw_comparison
from lastgood.dsl.rules import RuleSettings
from lastgood.dsl.schema import input_schema, output_schema
from lastgood.dsl.telling import tell
from lastgood.history import channels, versions, workflows
from lastgood.history.blame import blame
from lastgood.history.fsck import fsck
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow
from lastgood.server import asking
from lastgood.server.asking import Thing
from lastgood.server.context import Context, Served, may, record_read
from lastgood.server.pointers import SEMVER

router = APIRouter(prefix="/v1")

Reader = Annotated[Principal, Depends(may("workflow:read"))]


class Pin(BaseModel):
    """Whether retention leaves a version at hand."""

    pinned: bool


class Tag(BaseModel):
    """The SemVer of a version."""

    semver: str = Field(pattern=SEMVER, max_length=64)


@router.get("/workflows/{workflow}/diff", summary="What differs between two versions; live against newest by default")
def read_difference(
    workflow: str, served: Served, who: Reader, old: str | None = None, new: str | None = None
) -> dict[str, Any]:
    record_read(served, who, "workflow:read", f"workflow/{workflow}/diff")
    with served.store.read() as tx:
        owner = workflows.find(tx, workflow)
        first = _before(tx, owner) if old is None else versions.find(tx, old, owner)
        second = versions.newest(tx, owner) if new is None else versions.find(tx, new, owner)
        found = tell(
            versions.document_of(tx, first),
            versions.document_of(tx, second),
            versions.secrets_changed(tx, first, second),
            RuleSettings(served.store.settings.rules),
        )
    return {"old": first.public(), "new": second.public(), **found}


@router.get("/versions/{version}/interface", summary="Inputs and outputs as JSON Schema")
def read_interface(version: str, served: Served, who: Reader) -> dict[str, Any]:
    document = _document(served, who, version)
    return {"inputs": input_schema(document), "outputs": output_schema(document)}


@router.get("/versions/{version}/dependencies", summary="Models, plugins, tools, hosts, variables, secrets (names) …")
def read_dependencies(version: str, served: Served, who: Reader) -> dict[str, Any]:
    return dependencies(_document(served, who, version))


@router.get("/versions/{version}/lint", summary="What Dify and its engine do not find")
def read_lint(version: str, served: Served, who: Reader) -> dict[str, Any]:
    return lint.as_json(lint.lint(_document(served, who, version)), version)


@router.get("/workflows/{workflow}/blame", summary="For each node and field: the version that last changed it")
def read_blame(workflow: str, served: Served, who: Reader, node: str | None = None) -> dict[str, Any]:
    with served.store.read() as tx:
        return {"items": [asdict(row) for row in blame(tx, workflows.find(tx, workflow), node)], "next": None}


@router.get("/versions/{version}/drawing", summary="The canvas as SVG, alone or beside another version")
def read_drawing(version: str, served: Served, who: Reader, against: str | None = None) -> Response:
    record_read(served, who, "workflow:read", f"version/{version}/drawing")
    if against is not None:
        asking.require(served.store, who, Thing("version", against), "workflow:read")
    with served.store.read() as tx:
        new = versions.find(tx, version)
        document = versions.document_of(tx, new)
        if against is None:
            return Response(draw(document), media_type="image/svg+xml")
        old = versions.find(tx, against)
        before = versions.document_of(tx, old)
        found = compare(before, document, secrets_changed=versions.secrets_changed(tx, old, new))
    return Response(draw_comparison(before, document, found), media_type="image/svg+xml")


@router.get("/fsck", summary="Whether everything stored reads as it was written")
def check_store(
    served: Served, who: Annotated[Principal, Depends(may("cluster:read", on="server:fsck"))]
) -> dict[str, Any]:
    with served.store.read() as tx:
        return fsck(tx).public()


@router.post("/versions/{version}/pin", summary="Keep a version at hand, or let retention have it")
def pin(
    version: str, body: Pin, served: Served, who: Annotated[Principal, Depends(may("workflow:archive"))]
) -> dict[str, Any]:
    def work(tx: Tx) -> Version:
        return versions.set_pinned(tx, who, versions.find(tx, version), body.pinned)

    return served.store.write(work).public()


@router.post("/versions/{version}/tag", summary="Give a version its SemVer")
def tag(
    version: str, body: Tag, served: Served, who: Annotated[Principal, Depends(may("workflow:publish"))]
) -> dict[str, Any]:
    def work(tx: Tx) -> Version:
        found = versions.find(tx, version)
        versions.set_semver(tx, who, found, body.semver)
        return versions.by_pk(tx, found.pk)

    return served.store.write(work).public()


def _before(tx: Tx, workflow: Workflow) -> Version:
    """The version that `live` points to; the newest but one where nothing is live."""
    for channel in channels.listing(tx, workflow):
        if channel.name == channels.LIVE and channel.version_pk is not None:
            return versions.by_pk(tx, channel.version_pk)
    versions.newest(tx, workflow)  # says so when there is no version at all
    return versions.page(tx, workflow, limit=2)[-1]


def _document(served: Context, who: Principal, version: str) -> dsl.Document:
    record_read(served, who, "workflow:read", f"version/{version}")
    with served.store.read() as tx:
        return versions.document_of(tx, versions.find(tx, version))
