"""Placements: a version's identity on a Dify app, which is the id of one of Dify's own rows."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.history import apps
from lastgood.history.apps import App
from lastgood.history.versions import Version

_FROM = select(
    t.placement.c.pk,
    t.placement.c.app_pk,
    t.placement.c.version_pk,
    t.version.c.id.label("version"),
    t.placement.c.placed_id,
    t.placement.c.label,
    t.placement.c.hash,
    t.placement.c.name,
    t.placement.c.comment,
    t.placement.c.author,
    t.placement.c.placed_at,
    t.placement.c.operation,
    t.placement.c.gone_at,
).join_from(t.placement, t.version, t.placement.c.version_pk == t.version.c.pk)
_OF_APP = _FROM.where(t.placement.c.app_pk == bindparam("app")).order_by(t.placement.c.label, t.placement.c.pk)
_BY_ID = _FROM.where(t.placement.c.app_pk == bindparam("app"), t.placement.c.placed_id == bindparam("placed"))
_CURRENT = (
    _FROM.where(
        t.placement.c.app_pk == bindparam("app"),
        t.placement.c.version_pk == bindparam("version"),
        t.placement.c.gone_at.is_(None),
    )
    .order_by(t.placement.c.label.desc(), t.placement.c.pk.desc())
    .limit(1)
)
_ADD = insert(t.placement)
_GONE = update(t.placement).where(t.placement.c.gone_at.is_(None))
_THERE = update(t.placement).where(t.placement.c.gone_at.is_not(None)).values(gone_at=None)
_POINTER = select(t.channel.c.version_pk).where(t.channel.c.pk == bindparam("channel"))


@dataclass(frozen=True, slots=True)
class Placement:
    """One of Dify's rows: `placed_id` is its id, `label` its version string, and `version` the version of ours that
    it holds. `operation` is the one that made it; `gone_at` says that somebody deleted it in Dify, until it is seen
    again."""

    pk: int
    app_pk: int
    version_pk: int
    version: str
    placed_id: str
    label: str
    hash: str
    name: str
    comment: str
    author: str
    placed_at: str
    operation: str | None
    gone_at: str | None

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "version": self.version,
            "placed_id": self.placed_id,
            "label": self.label,
            "name": self.name,
            "comment": self.comment,
            "author": self.author,
            "placed_at": self.placed_at,
            "operation": self.operation,
            "gone_at": self.gone_at,
        }


def add(
    tx: Tx,
    app: App,
    version: Version,
    placed_id: str,
    *,
    label: str,
    hash: str,
    name: str = "",
    comment: str = "",
    author: str = "",
    placed_at: str | None = None,
    operation: str | None = None,
) -> Placement:
    """Keep that Dify's row `placed_id` of `app` holds `version`; one that is known already stays as it is."""
    known = find(tx, app, placed_id)
    if known is not None:
        return known
    row = {
        "app_pk": app.pk,
        "version_pk": version.pk,
        "placed_id": placed_id,
        "label": label,
        "hash": hash,
        "name": name,
        "comment": comment,
        "author": author,
        "placed_at": placed_at or tx.now,
        "operation": operation,
    }
    tx.connection.execute(_ADD, row)
    apps.reroute(tx, app.channel_pk)
    return _placement(tx.connection.execute(_BY_ID, {"app": app.pk, "placed": placed_id}).one())


def find(tx: Tx, app: App, placed_id: str) -> Placement | None:
    """The placement with Dify's id `placed_id`."""
    row = tx.connection.execute(_BY_ID, {"app": app.pk, "placed": placed_id}).first()
    return _placement(row) if row else None


def current(tx: Tx, app: App, version: Version) -> Placement | None:
    """The newest row of `app` that holds `version` and is still there; None where it has none."""
    return _current(tx, app, version.pk)


def _current(tx: Tx, app: App, version_pk: int) -> Placement | None:
    row = tx.connection.execute(_CURRENT, {"app": app.pk, "version": version_pk}).first()
    return _placement(row) if row else None


def listing(tx: Tx, app: App) -> list[Placement]:
    """The rows of `app`, oldest first."""
    return [_placement(row) for row in tx.connection.execute(_OF_APP, {"app": app.pk})]


def set_gone(tx: Tx, who: Principal, app: App, placement: Placement) -> None:
    """Keep that somebody deleted a row in Dify, and raise the alarm: whoever finds it out first tells of it, once. A
    row that is known to be gone stays as it is."""
    gone = _GONE.where(t.placement.c.pk == placement.pk).values(gone_at=tx.now)
    if tx.connection.execute(gone).rowcount != 1:
        return
    apps.reroute(tx, app.channel_pk)
    serves = tx.connection.execute(_POINTER, {"channel": app.channel_pk}).scalar() == placement.version_pk
    other = _current(tx, app, placement.version_pk)
    facts: dict[str, Any] = {
        "version": placement.version,
        "placed_id": placement.placed_id,
        "pinned": serves and app.way == "route",
        "should_be_live": serves,
        "elsewhere": other.placed_id if other else None,
    }
    resource = f"workflow/{app.workflow_id}/version/{placement.version}"
    audit.append(tx, who, "placement:gone", resource, server=app.target, app=app.app_id, **facts)
    payload = {"server": app.target, "app": app.app_id, "channel": app.channel, **facts}
    audit.emit(tx, "placement.gone", app.workflow_id, payload)


def set_there(tx: Tx, who: Principal, app: App, placement: Placement) -> None:
    """Keep that a row which was gone was seen again, as after a restore of Dify's own backup, and tell of it: it may
    be named by its id again. A row that is known to be there stays as it is."""
    if tx.connection.execute(_THERE.where(t.placement.c.pk == placement.pk)).rowcount != 1:
        return
    apps.reroute(tx, app.channel_pk)
    facts: dict[str, Any] = {
        "version": placement.version,
        "placed_id": placement.placed_id,
        "gone_since": placement.gone_at,
    }
    resource = f"workflow/{app.workflow_id}/version/{placement.version}"
    audit.append(tx, who, "placement:back", resource, server=app.target, app=app.app_id, **facts)
    payload = {"server": app.target, "app": app.app_id, "channel": app.channel, **facts}
    audit.emit(tx, "placement.back", app.workflow_id, payload)


def _placement(row: Any) -> Placement:
    return Placement(**row._mapping)
