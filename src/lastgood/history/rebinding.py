"""Giving a bound app to another channel, of another workflow too: what history has of it goes along.

The versions of its former workflow become versions of the new one (each content once, states and secrets with them),
and Dify's rows, runs, draft states and keys are those of the new channel from then on. The former workflow keeps what
it has, and runs nowhere."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, select, update

from lastgood import dsl
from lastgood.db import audit, routing
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import AppTaken, InvalidRequest, StillApplying
from lastgood.history import apps, captured, channels, served, smokes, versions, workflows
from lastgood.history.apps import App
from lastgood.history.channels import Channel
from lastgood.history.served import Runs
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow

_VERSIONS = select(t.version.c.pk).where(t.version.c.workflow_pk == bindparam("workflow")).order_by(t.version.c.pk)
_OWN_KEYS = (
    select(t.app_key.c.name)
    .where(
        t.app_key.c.channel_pk == bindparam("channel"),
        t.app_key.c.placed_id.is_(None),
        t.app_key.c.revoked_at.is_(None),
    )
    .order_by(t.app_key.c.pk)
)
_SERVED = select(t.served).where(t.served.c.app_pk == bindparam("app")).order_by(t.served.c.pk)


@dataclass(frozen=True, slots=True)
class Rebound:
    """What came of it: the app as it is bound now, the workflow that it left, how many versions went along and how
    many of them its new workflow did not have, and how many smoke requests stay behind."""

    app: App
    left: str
    versions: int
    new: int
    smokes: int

    def public(self) -> dict[str, Any]:
        """Its JSON form: the app's, with ``moved`` beside it."""
        moved = {"from": self.left, "versions": self.versions, "new": self.new, "smoke_requests_left": self.smokes}
        return {**self.app.public(), "moved": moved}


def rebind(tx: Tx, who: Principal, app: App, workflow: Workflow, channel: str) -> Rebound:
    """Let `app` run `channel` of `workflow` (made where it is new) instead of the one that it runs now. A channel
    that points to nothing begins at what the app serves; any other stays where it is.

    Raises `AppTaken` where `channel` has an app, `StillApplying` while one of the two is moved, `InvalidRequest`
    where keys would stop to answer or the modes differ, and `DamagedContent` where a version cannot be read. Then
    nothing is changed."""
    former = workflows.by_pk(tx, app.workflow_pk)
    source, target = channels.get(tx, former, app.channel), channels.ensure(tx, workflow, channel)
    _may(tx, app, (former, source), (workflow, target))
    before = app.live_pk
    same = former.pk == workflow.pk
    mapped = {} if same else _carried(tx, who, former, workflow)
    new = sum(created for _, created in mapped.values())
    if not same:
        _point(tx, app, {old: version.pk for old, (version, _) in mapped.items()})
    tx.connection.execute(update(t.app).where(t.app.c.pk == app.pk).values(channel_pk=target.pk))
    tx.connection.execute(
        update(t.app_key)
        .where(t.app_key.c.channel_pk == source.pk, t.app_key.c.placed_id.is_not(None))
        .values(channel_pk=target.pk, revision=routing.bump(tx))
    )
    for one in (source.pk, target.pk):
        apps.reroute(tx, one)
    resource = f"workflow/{workflow.id}/channel/{channel}"
    facts = {"before": f"{former.slug}/{source.name}", "after": f"{workflow.slug}/{channel}"}
    audit.append(tx, who, "target:bind", resource, server=app.target, app=app.app_id, versions=len(mapped), **facts)
    now = apps.by_pk(tx, app.pk)
    if before is not None and target.version_pk is None and now.live_pk is not None:
        live = versions.by_pk(tx, now.live_pk)
        reason = f"what {app.target} serves when the app comes from {former.slug}"
        channels.move(tx, who, workflow, target, live, expected=target.generation, kind="adopt", reason=reason)
    behind = 0 if same else len(smokes.listing(tx, former))
    return Rebound(apps.by_pk(tx, app.pk), former.slug, len(mapped), new, behind)


def _may(tx: Tx, app: App, source: tuple[Workflow, Channel], target: tuple[Workflow, Channel]) -> None:
    """Refuses what would lose something, or run into something that is under way."""
    taken = apps.of_channel(tx, target[1].pk)
    if taken is not None:
        raise AppTaken(app=taken.app_id, server=taken.target, channel=taken.channel, workflow=taken.slug)
    for workflow, pointer in (source, target):
        if pointer.applying is not None:
            raise StillApplying(channel=pointer.name, workflow=workflow.slug, operation=pointer.applying)
    if source[0].mode != target[0].mode:
        reason = f"{app.name!r} is a {app.mode} app, and {target[0].slug} is a {target[0].mode} one"
        raise InvalidRequest(where="app", reason=reason)
    names = [str(name) for name in tx.connection.execute(_OWN_KEYS, {"channel": source[1].pk}).scalars()]
    if names:
        reason = (
            f"the keys {', '.join(names)} were made here for {source[1].name} of {source[0].slug} and would answer "
            f"for no app any more; revoke them (`lastgood key revoke {source[0].slug} …`), and make new ones after it"
        )
        raise InvalidRequest(where="app", reason=reason)


def _carried(tx: Tx, who: Principal, former: Workflow, workflow: Workflow) -> dict[int, tuple[Version, bool]]:
    """Versions of `workflow` that hold what those of `former` do, by the keys of these, the oldest first; and whether
    each was made for it."""
    for one in sorted((former, workflow), key=lambda one: one.pk):
        versions.take_turn(tx, one)
    found: dict[int, tuple[Version, bool]] = {}
    for pk in tx.connection.execute(_VERSIONS, {"workflow": former.pk}).scalars().all():
        old = versions.by_pk(tx, pk)
        document = versions.document_of(tx, old, whole=True)  # it gets another digest, which would hide damage
        # The name of the workflow is in its content, so that an app's new name in Dify makes no other.
        named = dsl.Document({**document.data, "app": {**document.data.get("app", {}), "name": workflow.name}})
        kept = captured.keep(
            tx, who, workflow, named, versions.secrets_of(tx, old), author=old.author, authored_at=old.authored_at,
            note=old.note, origin=old.origin,
        )  # fmt: skip
        version = kept.version
        if old.state != "candidate" and version.state == "candidate":
            reason = f"as {old.id} of {former.slug}, whose app came to {workflow.slug}"
            version = versions.set_state(tx, who, version, old.state, kind="mark", reason=reason)
        if old.pinned and not version.pinned:
            version = versions.set_pinned(tx, who, version, True)
        found[pk] = version, kept.created
    return found


def _point(tx: Tx, app: App, mapped: dict[int, int]) -> None:
    """Let everything that is known of `app` name the versions `mapped` instead."""
    for old, new in mapped.items():
        rows = (t.placement.c.app_pk == app.pk, t.placement.c.version_pk == old)
        tx.connection.execute(update(t.placement).where(*rows).values(version_pk=new))
    runs = tx.connection.execute(_SERVED, {"app": app.pk}).all()
    tx.connection.execute(delete(t.served).where(t.served.c.app_pk == app.pk))
    for row in runs:  # two of them may be one now
        counted = Runs(row.runs, row.failed, row.seconds, row.slowest, row.first_at, row.last_at)
        served.add(tx, app, mapped[row.version_pk], row.origin, counted)
    pointed = {
        "live_pk": mapped.get(app.live_pk) if app.live_pk is not None else None,
        "converge_pk": mapped.get(app.converge_pk) if app.converge_pk is not None else None,
    }
    tx.connection.execute(update(t.app).where(t.app.c.pk == app.pk).values(**pointed))
