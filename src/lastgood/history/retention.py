"""Retention: the newest versions of a workflow stay at hand, older ones are archived.

Archived is still listed and restorable, only packed tighter and out of the hot table. What a channel points to,
what is pinned, and what is the last good one of a channel is never archived, nor is content that any of them
shares."""

from sqlalchemy import bindparam, exists, select, update

from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.history import channels, content, versions
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow

_EDGE = (
    select(t.version.c.pk)
    .where(t.version.c.workflow_pk == bindparam("workflow"))
    .order_by(t.version.c.pk.desc())
    .offset(bindparam("keep"))
    .limit(1)
)
_OTHER = t.version.alias("other")
_POINTED = exists().where(t.channel.c.version_pk == _OTHER.c.pk)
# A shared snapshot is old when each of its versions is: none pinned, pointed to or, in this workflow, young.
_OLD = (
    select(t.version.c.pk, t.snapshot.c.pk.label("snapshot_pk"), t.snapshot.c.id, t.snapshot.c.digest)
    .join(t.snapshot, t.version.c.snapshot_pk == t.snapshot.c.pk)
    .where(
        t.version.c.workflow_pk == bindparam("workflow"),
        t.version.c.pk <= bindparam("edge"),
        t.snapshot.c.archived_at.is_(None),
        ~exists().where(
            _OTHER.c.snapshot_pk == t.snapshot.c.pk,
            (_OTHER.c.pk > bindparam("edge")) | _OTHER.c.pinned | _POINTED,
        ),
    )
    .order_by(t.version.c.pk.desc())
    .limit(bindparam("limit"))
)
_MARK = update(t.snapshot).where(t.snapshot.c.digest == bindparam("of")).values(archived_at=bindparam("at"))
_UNMARK = update(t.snapshot).where(t.snapshot.c.digest == bindparam("of")).values(archived_at=None)
_BATCH = 50


def archive_old(tx: Tx, who: Principal, workflow: Workflow, keep: int) -> list[str]:
    """Archive what is older than the newest `keep` versions of `workflow`, a batch at most, and give the ids of
    the versions concerned."""
    edge = tx.connection.execute(_EDGE, {"workflow": workflow.pk, "keep": keep}).scalar()
    if edge is None:
        return []
    good = {channels.last_good(tx, workflow, channel) for channel in channels.listing(tx, workflow)}
    kept = {version.digest for version in good if version}
    old = tx.connection.execute(_OLD, {"workflow": workflow.pk, "edge": edge, "limit": _BATCH + len(kept)}).all()
    archived = []
    for row in old:
        if row.digest in kept:
            continue
        content.archive_content(tx, row.digest, row.id)
        tx.connection.execute(_MARK, {"of": row.digest, "at": tx.now})
        archived.append(versions.by_pk(tx, row.pk).id)
    if archived:
        resource = f"workflow/{workflow.id}"
        audit.append(tx, who, "workflow:archive", resource, reason=f"retention keeps {keep}", versions=archived)
    return archived


def restore(tx: Tx, who: Principal, version: Version) -> Version:
    """Bring an archived version back to hand, pinned so that retention leaves it there."""
    content.restore_content(tx, version.digest)
    tx.connection.execute(_UNMARK, {"of": version.digest})
    tx.connection.execute(update(t.version).where(t.version.c.pk == version.pk).values(pinned=True))
    resource = f"workflow/{version.workflow_id}/version/{version.id}"
    audit.append(tx, who, "workflow:restore", resource, after=version.digest)
    return versions.by_pk(tx, version.pk)
