"""App keys: what a client shows to the gateway. Stored as keyed hashes, shown once."""

import secrets
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from lastgood.db import audit, routing
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import row_dict
from lastgood.db.tx import Tx
from lastgood.errors import InvalidRequest, UnknownKey
from lastgood.history import channels
from lastgood.history.workflows import Workflow
from lastgood.ids import random_id

_COLUMNS = (
    t.app_key.c.id,
    t.app_key.c.name,
    t.app_key.c.prefix,
    t.channel.c.name.label("channel"),
    t.app_key.c.created_at,
    t.app_key.c.created_by,
    t.app_key.c.revoked_at,
)
_LIST = (
    select(*_COLUMNS)
    .join(t.channel, t.app_key.c.channel_pk == t.channel.c.pk)
    .where(t.channel.c.workflow_pk == bindparam("workflow"))
    .order_by(t.app_key.c.pk)
)
_WORKFLOW = (
    select(t.workflow.c.id)
    .join_from(t.app_key, t.channel, t.app_key.c.channel_pk == t.channel.c.pk)
    .join(t.workflow, t.channel.c.workflow_pk == t.workflow.c.pk)
    .where(t.app_key.c.hash == bindparam("hash"), t.app_key.c.revoked_at.is_(None))
)
_LONGEST = 63


def create(
    tx: Tx, who: Principal, workflow: Workflow, *, name: str, channel: str = channels.LIVE, key: str | None = None
) -> dict[str, Any]:
    """A new key for `channel` of `workflow`, in the field ``key`` of the answer and never again. `key` takes over
    one that Dify made (``app-…``). Raises `InvalidRequest`."""
    if not name.strip() or len(name) > _LONGEST or not name.isprintable():
        raise InvalidRequest(where="name", reason=f"a key needs a name of 1 to {_LONGEST} printable characters")
    value = key if key is not None else "app-" + secrets.token_urlsafe(24)
    if not value.startswith("app-") or not value.isascii() or len(value) < 16 or not value.isprintable():
        raise InvalidRequest(where="key", reason="an app key begins with app- and has at least 16 ASCII characters")
    hashed = tx.ring.lookup(value)
    if workflow_of(tx, value) is not None:
        raise InvalidRequest(where="key", reason="this app key is in use already")
    pointer = channels.ensure(tx, workflow, channel)
    row = {
        "channel_pk": pointer.pk,
        "id": random_id("key-", 8),
        "name": name,
        "prefix": value[:8],
        "hash": hashed,
        "revision": routing.bump(tx),
        "created_at": tx.now,
        "created_by": who.name,
        "revoked_at": None,
    }
    # A key that was revoked may come back; its hash is unique.
    tx.connection.execute(t.app_key.delete().where(t.app_key.c.hash == hashed))
    tx.connection.execute(insert(t.app_key), row)
    audit.append(tx, who, "key:create", f"workflow/{workflow.id}/key/{row['id']}", reason=name)
    shown = {k: v for k, v in row.items() if k not in {"channel_pk", "hash", "revision"}}
    return {**shown, "channel": channel, "key": value}


def listing(tx: Tx, workflow: Workflow) -> list[dict[str, Any]]:
    """The keys of `workflow`, without the keys themselves."""
    return [row_dict(row) for row in tx.connection.execute(_LIST, {"workflow": workflow.pk})]


def revoke(tx: Tx, who: Principal, workflow: Workflow, id: str) -> None:
    """End the key with id `id`, or all that have it as their name. Raises `UnknownKey`."""
    held = [row["id"] for row in listing(tx, workflow) if id in (row["id"], row["name"]) and not row["revoked_at"]]
    if not held:
        raise UnknownKey(workflow=workflow.slug, key=id)
    tx.connection.execute(
        update(t.app_key).where(t.app_key.c.id.in_(held)).values(revoked_at=tx.now, revision=routing.bump(tx))
    )
    for one in held:
        audit.append(tx, who, "key:revoke", f"workflow/{workflow.id}/key/{one}")


def workflow_of(tx: Tx, key: str) -> str | None:
    """The id of the workflow that `key` opens, None for an unknown or revoked key."""
    found: str | None = tx.connection.execute(_WORKFLOW, {"hash": tx.ring.lookup(key)}).scalar()
    return found
