"""Retention: the newest versions of a workflow stay at hand, older ones are archived.

Archived is still listed and restorable, only packed tighter and out of the hot table. What a channel points to,
what is pinned, and what is the last good one of a channel is never archived, nor is content that any of them
shares."""

from sqlalchemy import ColumnElement, bindparam, exists, func, select, update

from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.history import channels, content, versions, workflows
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow

_BEYOND, _OTHER = t.version.alias("beyond"), t.version.alias("other")


def _edge(workflow: ColumnElement[int]) -> ColumnElement[int]:
    """The newest version of `workflow` that is not among its newest `keep`, 0 where it has no more than these."""
    beyond = select(_BEYOND.c.pk).where(_BEYOND.c.workflow_pk == workflow).order_by(_BEYOND.c.pk.desc())
    return func.coalesce(beyond.offset(bindparam("keep")).limit(1).scalar_subquery(), 0)


# A shared snapshot is old when each of its versions is: none pinned, pointed to or among the newest of its workflow.
_OLD = (
    select(t.version.c.pk, t.version.c.id, t.version.c.snapshot_pk, t.snapshot.c.digest)
    .join(t.snapshot, t.version.c.snapshot_pk == t.snapshot.c.pk)
    .where(
        t.version.c.workflow_pk == bindparam("workflow"),
        t.version.c.at_hand.is_(True),
        t.version.c.pk <= _edge(bindparam("workflow")),
        ~exists().where(
            _OTHER.c.snapshot_pk == t.version.c.snapshot_pk,
            _OTHER.c.pinned
            | exists().where(t.channel.c.version_pk == _OTHER.c.pk)
            | (_OTHER.c.pk > _edge(_OTHER.c.workflow_pk)),
        ),
    )
    .order_by(t.version.c.pk.desc())
)
_SHARERS = select(t.version.c.workflow_pk).where(t.version.c.snapshot_pk == bindparam("snapshot")).distinct()
_PIN = update(t.version).where(t.version.c.pk == bindparam("version")).values(pinned=True)
_BATCH = 50


def archive_old(tx: Tx, who: Principal, workflow: Workflow, keep: int) -> list[str]:
    """Archive what is older than the newest `keep` versions of `workflow`, a batch at most, and give the ids of
    the versions concerned."""
    archived: list[str] = []
    last_good: dict[int, set[str]] = {}
    for row in tx.connection.execute(_OLD, {"workflow": workflow.pk, "keep": keep}).all():
        if len(archived) == _BATCH:
            break
        if _is_last_good(tx, row.snapshot_pk, row.digest, last_good):
            continue
        content.archive_content(tx, row.digest, row.id)
        versions.mark_archived(tx, row.digest, tx.now)
        archived.append(row.id)
    if archived:
        resource = f"workflow/{workflow.id}"
        audit.append(tx, who, "workflow:archive", resource, reason=f"retention keeps {keep}", versions=archived)
    return archived


def _is_last_good(tx: Tx, snapshot_pk: int, digest: str, known: dict[int, set[str]]) -> bool:
    """Whether a snapshot is the last good one of any channel of any workflow that has it. `known`: the digests of
    the last good versions by workflow, filled as they are asked for."""
    for pk in tx.connection.execute(_SHARERS, {"snapshot": snapshot_pk}).scalars().all():
        if pk not in known:
            owner = workflows.by_pk(tx, pk)
            found = [channels.last_good(tx, owner, channel) for channel in channels.listing(tx, owner)]
            known[pk] = {version.digest for version in found if version}
        if digest in known[pk]:
            return True
    return False


def bring_back(tx: Tx, version: Version) -> None:
    """Have the content of `version` at hand again; the next retention may archive it unless something needs it."""
    content.restore_content(tx, version.digest)
    versions.mark_archived(tx, version.digest, None)


def restore(tx: Tx, who: Principal, version: Version) -> Version:
    """Bring an archived version back to hand, pinned so that retention leaves it there."""
    bring_back(tx, version)
    tx.connection.execute(_PIN, {"version": version.pk})
    resource = f"workflow/{version.workflow_id}/version/{version.id}"
    audit.append(tx, who, "workflow:restore", resource, after=version.digest)
    return versions.by_pk(tx, version.pk)
