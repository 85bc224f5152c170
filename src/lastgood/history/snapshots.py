"""Snapshots kept by hand, and snapshots read by id."""

from typing import Any

from sqlalchemy import bindparam, or_, select

from lastgood import dsl
from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import row_dict
from lastgood.db.tx import Tx
from lastgood.errors import InvalidId, UnknownSnapshot
from lastgood.history import content, versions
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow
from lastgood.ids import is_snapshot

_FIND = select(t.snapshot).where(
    t.snapshot.c.workspace_pk == bindparam("workspace"), t.snapshot.c.id == bindparam("id")
)
_BY_PK = select(t.snapshot).where(t.snapshot.c.pk == bindparam("pk"))
_LIST = (
    select(
        t.snapshot.c.id,
        t.snapshot.c.created_at,
        t.snapshot.c.created_by,
        t.snapshot.c.note,
        t.snapshot.c.digest,
        t.snapshot.c.archived_at,
        t.snapshot.c.kept_version_pk,
        t.version.c.id.label("version"),
    )
    .join_from(
        t.snapshot,
        t.version,
        or_(t.version.c.snapshot_pk == t.snapshot.c.pk, t.version.c.pk == t.snapshot.c.kept_version_pk),
    )
    .where(t.version.c.workflow_pk == bindparam("workflow"))
    .order_by(t.snapshot.c.pk.desc(), t.version.c.pk.desc())
    .limit(bindparam("limit"))
)


def keep(tx: Tx, who: Principal, workflow: Workflow, version: Version, note: str) -> dict[str, Any]:
    """Keep the state of `version` by hand, under a snapshot id of its own. Gives the snapshot as `read` does."""
    pk = versions.add_snapshot(tx, who, version.digest, version.semantic_digest, kept=version, note=note)
    row = tx.connection.execute(_BY_PK, {"pk": pk}).one()
    resource = f"workflow/{workflow.id}/snapshot/{row.id}"
    audit.append(tx, who, "workflow:snapshot", resource, reason=note, after=version.digest)
    return read(tx, row.id)


def read(tx: Tx, id: str) -> dict[str, Any]:
    """The snapshot `id` with its whole document: ``{"snapshot_id", "created_at", "workflow_config": {"nodes": [id],
    "edges": [[source, target]]}, "document", …}``. Raises `UnknownSnapshot`, `InvalidId`, `DamagedContent`."""
    if not is_snapshot(id):
        raise InvalidId(kind="snapshot", value=id, example="snap_20241005_v1")
    row = tx.connection.execute(_FIND, {"workspace": tx.workspace, "id": id}).first()
    if row is None:
        raise UnknownSnapshot(snapshot=id)
    document = dsl.Document(content.read_content(tx, row.digest, row.id, whole=True))
    users = select(t.version.c.id).where(
        or_(t.version.c.snapshot_pk == row.pk, t.version.c.pk == row.kept_version_pk)
    )
    return {
        "snapshot_id": row.id,
        "created_at": row.created_at,
        "created_by": row.created_by,
        "note": row.note,
        "digest": row.digest,
        "semantic_digest": row.semantic_digest,
        "archived": row.archived_at is not None,
        "versions": [found.id for found in tx.connection.execute(users)],
        "workflow_config": dsl.outline(document),
        "document": document.data,
    }


def listing(tx: Tx, workflow: Workflow, *, limit: int = 50) -> list[dict[str, Any]]:
    """The newest snapshots of `workflow`, newest first: one row for each version that has it."""
    rows = tx.connection.execute(_LIST, {"workflow": workflow.pk, "limit": limit})
    found = []
    for row in rows:
        facts = row_dict(row)
        by_hand = facts.pop("kept_version_pk") is not None
        archived = facts.pop("archived_at") is not None
        found.append({"snapshot_id": facts.pop("id"), **facts, "kept_by_hand": by_hand, "archived": archived})
    return found
