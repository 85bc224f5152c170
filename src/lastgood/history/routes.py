"""What the gateway knows: app key → workflow → channel → version → target."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, String, bindparam, func, literal, or_, select, union_all

from lastgood.db import tables as t
from lastgood.db.ring import Lookup

type Identity = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests with one app key go, or those to one webhook: then `trigger` is the id of its node, and `key_id`
    is empty. `placement_id` is the version's identity on the target: its own id on the embedded engine, else that of
    Dify's row (None where it has none); `upstreams` are base URLs (empty for the embedded engine, whose addresses its
    supervisor knows); `key_id` is the id of the key; `app` the id of the Dify app, where one runs the channel."""

    workflow_id: str
    slug: str
    mode: str
    channel: str
    version_id: str | None
    generation: int
    placement_id: str | None
    target: str
    upstreams: tuple[str, ...]
    key_id: str
    trigger: str | None = None
    app: str | None = None

    @property
    def identity(self) -> Identity:
        """What stays the same when the hash that it is found by does not: of an app key, or of a webhook; empty of
        neither."""
        if self.key_id:
            return (self.key_id,)
        return (self.workflow_id, self.channel, self.trigger) if self.trigger is not None else ()


@dataclass(frozen=True, slots=True)
class RouteChanges:
    """The app keys and webhooks whose route changed since some revision: keyed hash → route, None for a revoked
    key. `revoked` names those keys too, because a reader may know one by a former hash."""

    revision: int
    keys: Mapping[bytes, Route | None]
    revoked: frozenset[Identity] = frozenset()


_REVISION = select(t.routing.c.revision)
# The row of an app's that holds the version now; a version that was published again has several.
_PLACED = (
    select(t.placement.c.placed_id)
    .where(
        t.placement.c.app_pk == t.app.c.pk,
        t.placement.c.version_pk == t.version.c.pk,
        t.placement.c.gone_at.is_(None),
    )
    .order_by(t.placement.c.label.desc(), t.placement.c.pk.desc())
    .limit(1)
    .scalar_subquery()
)
_FACTS = (
    t.workflow.c.id.label("workflow_id"),
    t.workflow.c.slug,
    t.workflow.c.mode,
    t.channel.c.name.label("channel"),
    t.version.c.id.label("version_id"),
    t.channel.c.generation,
    t.target.c.name.label("target"),
    t.target.c.base_url,
    t.app.c.app_id,
    _PLACED.label("placed_id"),
)
_TARGET = t.target.c.pk == func.coalesce(t.app.c.target_pk, t.workflow.c.target_pk)
_CHANGED = (
    select(
        t.app_key.c.hash,
        t.app_key.c.id.label("key_id"),
        t.app_key.c.revoked_at,
        literal(None, String).label("trigger"),
        *_FACTS,
    )
    .join_from(t.app_key, t.channel, t.app_key.c.channel_pk == t.channel.c.pk)
    .join(t.workflow, t.channel.c.workflow_pk == t.workflow.c.pk)
    .outerjoin(t.app, t.app.c.channel_pk == t.channel.c.pk)
    .join(t.target, _TARGET)
    .outerjoin(t.version, t.channel.c.version_pk == t.version.c.pk)
    .where(or_(t.app_key.c.revision > bindparam("since"), t.channel.c.revision > bindparam("since")))
)
# A webhook comes, and changes, with a move only.
_HOOKS = (
    select(
        t.trigger.c.hash,
        literal("").label("key_id"),
        literal(None, String).label("revoked_at"),
        t.trigger.c.node.label("trigger"),
        *_FACTS,
    )
    .join_from(t.trigger, t.channel, t.trigger.c.channel_pk == t.channel.c.pk)
    .join(t.workflow, t.channel.c.workflow_pk == t.workflow.c.pk)
    .outerjoin(t.app, t.app.c.channel_pk == t.channel.c.pk)
    .join(t.target, _TARGET)
    .outerjoin(t.version, t.channel.c.version_pk == t.version.c.pk)
    .where(t.trigger.c.kind == "webhook", t.channel.c.revision > bindparam("since"))
)
_EVERY = union_all(_CHANGED, _HOOKS)


def read_changes(connection: Connection, since: int) -> RouteChanges:
    """The routes that changed after revision `since` (0: all of them). Both reads must see one state: call it in a
    transaction, or with nothing else between."""
    revision = connection.execute(_REVISION).scalar_one()
    if revision <= since:
        return RouteChanges(revision, {})
    rows = connection.execute(_EVERY, {"since": since}).all()
    keys = {bytes(row.hash): _route(row) for row in rows}
    return RouteChanges(revision, keys, frozenset((row.key_id,) for row in rows if row.revoked_at is not None))


def _route(row: Row[*tuple[Any, ...]]) -> Route | None:
    if row.revoked_at is not None:
        return None
    return Route(
        workflow_id=row.workflow_id,
        slug=row.slug,
        mode=row.mode,
        channel=row.channel,
        version_id=row.version_id,
        generation=row.generation,
        placement_id=row.version_id if row.app_id is None else row.placed_id,
        target=row.target,
        upstreams=tuple(row.base_url.split()),
        key_id=row.key_id,
        trigger=row.trigger,
        app=row.app_id,
    )


def key_hash(lookup_key: Lookup, key: str) -> bytes:
    """The hash under which an app key is stored (the ring's `lookup`, for the request path)."""
    return lookup_key.hash(key)
