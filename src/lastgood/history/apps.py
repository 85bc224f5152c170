"""Apps on Dify servers: which channel each one runs, and what it was last seen to serve."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import batched
from typing import Any, Final, Literal

from sqlalchemy import bindparam, insert, select, update

from lastgood.db import audit, routing
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import AppTaken, InvalidRequest, UnknownApp
from lastgood.history import channels
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow

DIFY: Final = "dify"
Way = Literal["route", "publish", "restore", "database"]
_CHUNK = 500  # apps in one statement
WAYS: Final[tuple[Way, ...]] = ("route", "publish", "restore", "database")

_LIVE, _CONVERGE = t.version.alias("live"), t.version.alias("converge")
_FROM = (
    select(
        t.app.c.pk,
        t.app.c.app_id,
        t.app.c.name,
        t.app.c.mode,
        t.app.c.way,
        t.target.c.pk.label("target_pk"),
        t.target.c.name.label("target"),
        t.workflow.c.pk.label("workflow_pk"),
        t.workflow.c.id.label("workflow_id"),
        t.workflow.c.slug,
        t.channel.c.pk.label("channel_pk"),
        t.channel.c.name.label("channel"),
        t.app.c.live_id,
        t.app.c.live_pk,
        _LIVE.c.id.label("live"),
        t.app.c.live_since,
        t.app.c.live_by,
        t.app.c.converge_pk,
        _CONVERGE.c.id.label("converge"),
        t.app.c.read,
        t.app.c.seen_at,
        t.app.c.gone_at,
    )
    .join_from(t.app, t.target, t.app.c.target_pk == t.target.c.pk)
    .join(t.channel, t.app.c.channel_pk == t.channel.c.pk)
    .join(t.workflow, t.channel.c.workflow_pk == t.workflow.c.pk)
    .outerjoin(_LIVE, t.app.c.live_pk == _LIVE.c.pk)
    .outerjoin(_CONVERGE, t.app.c.converge_pk == _CONVERGE.c.pk)
)
_BY_PK = _FROM.where(t.app.c.pk == bindparam("pk"))
_BY_CHANNEL = _FROM.where(t.app.c.channel_pk == bindparam("channel"))
_BY_ID = _FROM.where(t.target.c.name == bindparam("target"), t.app.c.app_id == bindparam("app"))
_OF_TARGET = _FROM.where(t.target.c.name == bindparam("target")).order_by(t.app.c.pk)
_OF_WORKFLOW = _FROM.where(t.workflow.c.pk == bindparam("workflow")).order_by(t.app.c.pk)
_ADD = insert(t.app).returning(t.app.c.pk)


@dataclass(frozen=True, slots=True)
class App:
    """A Dify app and the channel that it runs. `app_id` and `live_id` are Dify's ids; `live` is the version of ours
    that it was last seen to serve, None for one that is not in history; `converge` the version that it is still to be
    given; `read` how far it was read (JSON values)."""

    pk: int
    app_id: str
    name: str
    mode: str
    way: Way
    target_pk: int
    target: str
    workflow_pk: int
    workflow_id: str
    slug: str
    channel_pk: int
    channel: str
    live_id: str | None
    live_pk: int | None
    live: str | None
    live_since: str | None
    live_by: str
    converge_pk: int | None
    converge: str | None
    read: Mapping[str, Any] = field(repr=False)
    seen_at: str | None
    gone_at: str | None

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "server": self.target,
            "app": self.app_id,
            "name": self.name,
            "mode": self.mode,
            "workflow": self.slug,
            "workflow_id": self.workflow_id,
            "channel": self.channel,
            "way": self.way,
            "live_id": self.live_id,
            "live": self.live,
            "live_since": self.live_since,
            "live_by": self.live_by,
            "converge": self.converge,
            "seen_at": self.seen_at,
            "gone_at": self.gone_at,
        }


def bind(
    tx: Tx,
    who: Principal,
    workflow: Workflow,
    channel: str,
    *,
    target: str,
    app: str,
    name: str,
    mode: str,
    way: Way = "publish",
) -> App:
    """Let `channel` of `workflow` (made where it is new) be what the Dify app `app` on `target` runs.

    Raises `AppTaken` where the app or the channel is bound already, `InvalidRequest` for an unknown target."""
    target_pk = tx.connection.execute(
        select(t.target.c.pk).where(
            t.target.c.workspace_pk == tx.workspace, t.target.c.name == target, t.target.c.kind == DIFY
        )
    ).scalar()
    if target_pk is None:
        raise InvalidRequest(where="server", reason=f"there is no Dify server {target!r}; connect it first")
    pointer = channels.ensure(tx, workflow, channel)
    for held in (of_channel(tx, pointer.pk), find(tx, target, app)):
        if held is not None:
            raise AppTaken(app=held.app_id, server=held.target, channel=held.channel, workflow=held.slug)
    row = {
        "target_pk": target_pk,
        "channel_pk": pointer.pk,
        "app_id": app,
        "name": name,
        "mode": mode,
        "way": way,
        "live_by": "",
        "read": "{}",
    }
    pk = tx.connection.execute(_ADD, row).scalar_one()
    reroute(tx, pointer.pk)
    resource = f"workflow/{workflow.id}/channel/{channel}"
    audit.append(tx, who, "target:bind", resource, server=target, app=app, way=way)
    return by_pk(tx, pk)


def reroute(tx: Tx, channel_pk: int) -> None:
    """Let gateway workers read the routes of a channel again, after something changed that stands in them."""
    tx.connection.execute(update(t.channel).where(t.channel.c.pk == channel_pk).values(revision=routing.bump(tx)))


def by_pk(tx: Tx, pk: int) -> App:
    """The app with the store key `pk`."""
    return _app(tx.connection.execute(_BY_PK, {"pk": pk}).one())


def of_channel(tx: Tx, channel_pk: int) -> App | None:
    """The app that runs a channel; None for one that runs on the embedded engine."""
    row = tx.connection.execute(_BY_CHANNEL, {"channel": channel_pk}).first()
    return _app(row) if row else None


def find(tx: Tx, target: str, app: str) -> App | None:
    """The app with Dify's id `app` on `target`, where it is bound."""
    row = tx.connection.execute(_BY_ID, {"target": target, "app": app}).first()
    return _app(row) if row else None


def get(tx: Tx, workflow: Workflow, channel: str) -> App:
    """The app that `channel` of `workflow` runs on. Raises `UnknownChannel`, `UnknownApp`."""
    found = of_channel(tx, channels.get(tx, workflow, channel).pk)
    if found is None:
        raise UnknownApp(channel=channel, workflow=workflow.slug)
    return found


def of_target(tx: Tx, target: str) -> list[App]:
    """The bound apps of a Dify server."""
    return [_app(row) for row in tx.connection.execute(_OF_TARGET, {"target": target})]


def of_workflow(tx: Tx, workflow: Workflow) -> list[App]:
    """The apps that channels of `workflow` run on."""
    return [_app(row) for row in tx.connection.execute(_OF_WORKFLOW, {"workflow": workflow.pk})]


def set_way(tx: Tx, who: Principal, app: App, way: Way) -> App:
    """Choose how the app's pointer is moved."""
    tx.connection.execute(update(t.app).where(t.app.c.pk == app.pk).values(way=way))
    audit.append(
        tx, who, "target:bind", f"workflow/{app.workflow_id}/channel/{app.channel}", before=app.way, after=way
    )
    return by_pk(tx, app.pk)


def saw_live(tx: Tx, app: App, live_id: str | None, version: Version | None, *, since: str | None, by: str) -> None:
    """Keep what the app was seen to serve: Dify's id, the version of ours, since when (stored time) and by whom."""
    values = {"live_id": live_id, "live_pk": version.pk if version else None, "live_since": since, "live_by": by}
    tx.connection.execute(update(t.app).where(t.app.c.pk == app.pk).values(seen_at=tx.now, gone_at=None, **values))


def set_converge(tx: Tx, app: App, version: Version | None) -> None:
    """Keep which version the app itself is still to be given; None: none."""
    pk = version.pk if version else None
    tx.connection.execute(update(t.app).where(t.app.c.pk == app.pk).values(converge_pk=pk))


def set_read(tx: Tx, app: App, **read: Any) -> None:
    """Keep how far the app was read: `read` (JSON values) replaces the parts of that name."""
    now = tx.connection.execute(select(t.app.c.read).where(t.app.c.pk == app.pk)).scalar_one()
    merged = json.dumps({**json.loads(now), **read})
    tx.connection.execute(update(t.app).where(t.app.c.pk == app.pk).values(read=merged))


def rename(tx: Tx, app: App, name: str) -> None:
    """Keep what the app is called now."""
    tx.connection.execute(update(t.app).where(t.app.c.pk == app.pk).values(name=name))


def set_seen(tx: Tx, app_pks: Collection[int]) -> None:
    """Keep that these apps were seen just now, whatever they serve."""
    for some in batched(app_pks, _CHUNK):
        tx.connection.execute(update(t.app).where(t.app.c.pk.in_(some)).values(seen_at=tx.now))


def set_gone(tx: Tx, app: App) -> None:
    """Keep that the server has the app no more; seeing it again takes that back."""
    tx.connection.execute(update(t.app).where(t.app.c.pk == app.pk, t.app.c.gone_at.is_(None)).values(gone_at=tx.now))


def _app(row: Any) -> App:
    return App(**{**row._mapping, "read": json.loads(row.read)})
