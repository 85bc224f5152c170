"""App keys: what a client shows to the gateway. Stored as keyed hashes, shown once."""

import secrets
from collections.abc import Collection, Mapping
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
_BY_HASH = select(t.app_key.c.id, t.app_key.c.channel_pk, t.app_key.c.placed_id, t.app_key.c.revoked_at).where(
    t.app_key.c.hash == bindparam("hash")
)
_PLACED = select(t.app_key.c.id, t.app_key.c.placed_id).where(
    t.app_key.c.channel_pk == bindparam("channel"),
    t.app_key.c.placed_id.is_not(None),
    t.app_key.c.revoked_at.is_(None),
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
    tx.connection.execute(t.app_key.delete().where(t.app_key.c.hash.in_(tx.ring.lookups(value))))
    tx.connection.execute(insert(t.app_key), row)
    audit.append(tx, who, "key:create", f"workflow/{workflow.id}/key/{row['id']}", reason=name)
    shown = {k: v for k, v in row.items() if k not in {"channel_pk", "hash", "revision"}}
    return {**shown, "channel": channel, "key": value}


def adopt(
    tx: Tx, who: Principal, workflow_id: str, channel_pk: int, *, token: str, placed_id: str, name: str
) -> bool:
    """Let a key that Dify made for an app open the channel that the app runs; the key itself is not kept. False where
    it does so already, or `token` is no whole key (a server may show a part of it only)."""
    if not is_whole(token):
        return False
    hashed = tx.ring.lookup(token)
    rows = (tx.connection.execute(_BY_HASH, {"hash": one}).first() for one in tx.ring.lookups(token))
    held = next((row for row in rows if row is not None), None)
    if held is not None and held.revoked_at is None and (held.placed_id or held.channel_pk != channel_pk):
        return False  # somebody gave it to another channel, or it is known
    values = {
        "channel_pk": channel_pk,
        "placed_id": placed_id,
        "revoked_at": None,
        "revision": routing.bump(tx),
    }
    if held is not None:
        tx.connection.execute(update(t.app_key).where(t.app_key.c.id == held.id).values(**values, hash=hashed))
        id = held.id
    else:
        id = random_id("key-", 8)
        row = {"id": id, "name": name[:_LONGEST], "prefix": token[:8], "hash": hashed}
        tx.connection.execute(insert(t.app_key), {**row, **values, "created_at": tx.now, "created_by": who.name})
    audit.append(tx, who, "key:create", f"workflow/{workflow_id}/key/{id}", reason="Dify's key of the app")
    return True


def is_whole(token: str) -> bool:
    """Whether `token` can be a whole app key rather than the part of one that a server shows."""
    return token.startswith("app-") and len(token) >= 16 and token.isascii() and not set(token) & set("*.… ")


def revoke_placed(tx: Tx, who: Principal, workflow_id: str, channel_pk: int, keep: Collection[str]) -> int:
    """End the keys of a channel that are Dify's, but for those whose id there is in `keep`. Gives their number."""
    rows = tx.connection.execute(_PLACED, {"channel": channel_pk}).all()
    gone = [row for row in rows if row.placed_id not in keep]
    for row in gone:
        ended = {"revoked_at": tx.now, "revision": routing.bump(tx)}
        tx.connection.execute(update(t.app_key).where(t.app_key.c.id == row.id).values(**ended))
        audit.append(tx, who, "key:revoke", f"workflow/{workflow_id}/key/{row.id}", reason="it is gone in Dify")
    return len(gone)


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


def rehash(tx: Tx, seen: Mapping[bytes, bytes]) -> int:
    """Keep app keys that were `seen` (former hash → new one) under the hash that the ring's newest lookup key gives
    them. Gives how many were changed."""
    if not seen:
        return 0
    revision, changed = routing.bump(tx), 0
    for former, now in seen.items():
        values = {"hash": now, "revision": revision}
        changed += tx.connection.execute(
            update(t.app_key).where(t.app_key.c.hash == former).values(**values)
        ).rowcount
    return changed


def workflow_of(tx: Tx, key: str) -> str | None:
    """The id of the workflow that `key` opens, None for an unknown or revoked key."""
    for hashed in tx.ring.lookups(key):
        found: str | None = tx.connection.execute(_WORKFLOW, {"hash": hashed}).scalar()
        if found is not None:
            return found
    return None
