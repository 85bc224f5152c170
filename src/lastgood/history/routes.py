"""What the gateway knows: app key → workflow → channel → version → target."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, or_, select

from lastgood.db import tables as t


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests with one app key go. `placement_id` is the version's identity on the target; `upstreams` are
    base URLs (empty for the embedded engine, whose addresses its supervisor knows); `key_id` is the id of the key."""

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


@dataclass(frozen=True, slots=True)
class RouteChanges:
    """The app keys whose route changed since some revision: keyed hash → route, None for a revoked key."""

    revision: int
    keys: Mapping[bytes, Route | None]


_REVISION = select(t.routing.c.revision)
_CHANGED = (
    select(
        t.app_key.c.hash,
        t.app_key.c.id.label("key_id"),
        t.app_key.c.revoked_at,
        t.workflow.c.id.label("workflow_id"),
        t.workflow.c.slug,
        t.workflow.c.mode,
        t.channel.c.name.label("channel"),
        t.version.c.id.label("version_id"),
        t.channel.c.generation,
        t.target.c.name.label("target"),
        t.target.c.base_url,
    )
    .join_from(t.app_key, t.channel, t.app_key.c.channel_pk == t.channel.c.pk)
    .join(t.workflow, t.channel.c.workflow_pk == t.workflow.c.pk)
    .join(t.target, t.workflow.c.target_pk == t.target.c.pk)
    .outerjoin(t.version, t.channel.c.version_pk == t.version.c.pk)
    .where(or_(t.app_key.c.revision > bindparam("since"), t.channel.c.revision > bindparam("since")))
)


def read_changes(connection: Connection, since: int) -> RouteChanges:
    """The routes that changed after revision `since` (0: all of them). Both reads must see one state: call it in a
    transaction, or with nothing else between."""
    revision = connection.execute(_REVISION).scalar_one()
    if revision <= since:
        return RouteChanges(revision, {})
    keys = {bytes(row.hash): _route(row) for row in connection.execute(_CHANGED, {"since": since})}
    return RouteChanges(revision, keys)


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
        placement_id=row.version_id,
        target=row.target,
        upstreams=tuple(row.base_url.split()),
        key_id=row.key_id,
    )


def key_hash(lookup_key: bytes, key: str) -> bytes:
    """The hash under which an app key is stored (the ring's `lookup`, for the request path)."""
    return hmac.digest(lookup_key, key.encode(), "sha256")
