"""Workflows: one named history of versions each."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, insert, or_, select, update

from lastgood.db import audit, routing
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import IdTaken, InvalidRequest, UnknownWorkflow
from lastgood.ids import check_slug, check_workflow, random_id

_COLUMNS = (
    t.workflow.c.pk,
    t.workflow.c.id,
    t.workflow.c.slug,
    t.workflow.c.name,
    t.workflow.c.mode,
    t.workflow.c.created_at,
    t.workflow.c.created_by,
    t.target.c.name.label("target"),
)
_FROM = select(*_COLUMNS).join(t.target, t.workflow.c.target_pk == t.target.c.pk)
_FIND = _FROM.where(
    t.workflow.c.workspace_pk == bindparam("workspace"),
    or_(t.workflow.c.id == bindparam("ref"), t.workflow.c.slug == bindparam("ref")),
)
_BY_PK = _FROM.where(t.workflow.c.pk == bindparam("pk"))
_LIST = _FROM.where(t.workflow.c.workspace_pk == bindparam("workspace")).order_by(t.workflow.c.slug)
_COUNT = select(func.count()).select_from(t.workflow)
_TARGET = select(t.target.c.pk).where(
    t.target.c.workspace_pk == bindparam("workspace"), t.target.c.name == bindparam("name")
)
_INSERT = insert(t.workflow).returning(t.workflow.c.pk)


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow; `pk` is its key inside the store, `id` and `slug` name it for people."""

    pk: int
    id: str
    slug: str
    name: str
    mode: str
    created_at: str
    created_by: str
    target: str

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "id": self.id,
            "slug": self.slug,
            "name": self.name,
            "mode": self.mode,
            "target": self.target,
            "created_at": self.created_at,
            "created_by": self.created_by,
        }


def find(tx: Tx, ref: str) -> Workflow:
    """The workflow with the id or slug `ref`. Raises `UnknownWorkflow`."""
    row = tx.connection.execute(_FIND, {"workspace": tx.workspace, "ref": ref}).first()
    if row is None:
        raise UnknownWorkflow(workflow=ref)
    return Workflow(*row)


def by_pk(tx: Tx, pk: int) -> Workflow:
    """The workflow with the store key `pk`."""
    return Workflow(*tx.connection.execute(_BY_PK, {"pk": pk}).one())


def listing(tx: Tx) -> list[Workflow]:
    """All workflows by slug."""
    return [Workflow(*row) for row in tx.connection.execute(_LIST, {"workspace": tx.workspace})]


def create(
    tx: Tx, who: Principal, slug: str, *, name: str, mode: str, id: str | None = None, target: str = "engine"
) -> Workflow:
    """A new workflow. Raises `IdTaken`, `InvalidId`, `InvalidRequest` (unknown target)."""
    check_slug(slug)
    workflow_id = check_workflow(id) if id is not None else random_id("wf-")
    for kind, ref in (("workflow", workflow_id), ("workflow name", slug)):
        if tx.connection.execute(_FIND, {"workspace": tx.workspace, "ref": ref}).first() is not None:
            raise IdTaken(kind=kind, value=ref, by="")
    target_pk = tx.connection.execute(_TARGET, {"workspace": tx.workspace, "name": target}).scalar()
    if target_pk is None:
        raise InvalidRequest(where="target", reason=f"there is no target {target!r}")
    pk = tx.connection.execute(
        _INSERT,
        {
            "workspace_pk": tx.workspace,
            "id": workflow_id,
            "slug": slug,
            "name": name or slug,
            "mode": mode,
            "target_pk": target_pk,
            "created_at": tx.now,
            "created_by": who.name,
        },
    ).scalar_one()
    audit.append(tx, who, "workflow:create", f"workflow/{workflow_id}", slug=slug)
    return by_pk(tx, pk)


def set_target(tx: Tx, who: Principal, name: str, base_url: str) -> None:
    """Make or change the target `name`: an upstream that speaks Dify's Service API at `base_url` (several, parted
    by spaces, take turns)."""
    pk = tx.connection.execute(_TARGET, {"workspace": tx.workspace, "name": name}).scalar()
    if pk is None:
        values = {"workspace_pk": tx.workspace, "name": name, "kind": "service", "base_url": base_url}
        tx.connection.execute(insert(t.target), values)
    else:
        tx.connection.execute(update(t.target).where(t.target.c.pk == pk).values(base_url=base_url))
        channels = (select(t.channel.c.pk).join(t.workflow, t.channel.c.workflow_pk == t.workflow.c.pk)).where(
            t.workflow.c.target_pk == pk
        )
        tx.connection.execute(update(t.channel).where(t.channel.c.pk.in_(channels)).values(revision=routing.bump(tx)))
    audit.append(tx, who, "target:connect", f"target/{name}", base_url=base_url)


def count(tx: Tx) -> int:
    """How many workflows there are."""
    return int(tx.connection.execute(_COUNT).scalar_one())
