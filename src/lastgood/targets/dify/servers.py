"""The Dify servers that this installation is connected to: their addresses, the sealed way in, what they can do."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from lastgood.db import audit, envelope, routing
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import IdTaken, InvalidSetting, UnknownServer
from lastgood.history.apps import DIFY
from lastgood.ids import check_slug
from lastgood.targets.dify.client import Client, connect
from lastgood.targets.dify.signin import AdminKey, Bearer, Password, Way
from lastgood.targets.dify.wire import Limits, address

_COLUMNS = (
    t.target.c.pk,
    t.target.c.name,
    t.target.c.console_url,
    t.target.c.base_url,
    t.target.c.facts,
    t.target.c.sealed,
)
_ALL = select(*_COLUMNS).where(t.target.c.workspace_pk == bindparam("workspace"), t.target.c.kind == DIFY)
_BY_NAME = _ALL.where(t.target.c.name == bindparam("name"))
_CAPTURED = "captured_at"
_WAYS: Mapping[str, type[Way]] = {"password": Password, "admin-key": AdminKey, "bearer": Bearer}


@dataclass(frozen=True, slots=True)
class Server:
    """A connected Dify server. `url` is its console's address, `service_url` where its Service API is (the gateway's
    upstream); `facts` what was learnt of it (``version``, ``abilities``, ``workspace_id``, ``ca_file``, …)."""

    pk: int
    name: str
    url: str
    service_url: str
    facts: Mapping[str, Any]
    sealed: bytes = field(repr=False)

    @property
    def captured(self) -> bool:
        """Whether all of it was captured once: until then apps can be bound, and the watch takes up no new ones."""
        return _CAPTURED in self.facts

    def public(self) -> dict[str, Any]:
        """Its JSON form, without the way in."""
        return {"name": self.name, "url": self.url, "service_url": self.service_url, **self.facts}


def save(
    tx: Tx, who: Principal, name: str, url: str, way: Way, *, facts: Mapping[str, Any], service_url: str = ""
) -> Server:
    """Keep a server and the way into it, or change what is kept of one. Raises `IdTaken` where a target of another
    kind has the name, `InvalidId`, `InvalidSetting`."""
    check_slug(name)
    known = tx.connection.execute(
        select(t.target.c.pk, t.target.c.kind, t.target.c.facts).where(
            t.target.c.workspace_pk == tx.workspace, t.target.c.name == name
        )
    ).first()
    if known is not None and known.kind != DIFY:
        raise IdTaken(kind="target", value=name, by="")
    at = address(url)
    before = {} if known is None else json.loads(known.facts)
    kept = {_CAPTURED: before[_CAPTURED]} if _CAPTURED in before else {}
    values = {
        "base_url": service_url or at,
        "console_url": at,
        "facts": json.dumps({**kept, **facts}),
        "sealed": envelope.seal(tx, _written(way), f"target/{name}"),
    }
    if known is None:
        row = {"workspace_pk": tx.workspace, "name": name, "kind": DIFY, **values}
        tx.connection.execute(insert(t.target), row)
    else:
        tx.connection.execute(update(t.target).where(t.target.c.pk == known.pk).values(**values))
        bound = select(t.app.c.channel_pk).where(t.app.c.target_pk == known.pk)
        tx.connection.execute(update(t.channel).where(t.channel.c.pk.in_(bound)).values(revision=routing.bump(tx)))
    audit.append(tx, who, "target:connect", f"target/{name}", url=at)
    return get(tx, name)


def get(tx: Tx, name: str) -> Server:
    """The server `name`. Raises `UnknownServer`."""
    row = tx.connection.execute(_BY_NAME, {"workspace": tx.workspace, "name": name}).first()
    if row is None:
        raise UnknownServer(server=name)
    return _server(row)


def listing(tx: Tx) -> list[Server]:
    """Every connected server, by name."""
    rows = tx.connection.execute(_ALL.order_by(t.target.c.name), {"workspace": tx.workspace})
    return [_server(row) for row in rows]


def set_captured(tx: Tx, server: Server) -> None:
    """Keep that all of `server` was captured."""
    facts = json.dumps({**get(tx, server.name).facts, _CAPTURED: tx.now})
    tx.connection.execute(update(t.target).where(t.target.c.pk == server.pk).values(facts=facts))


def way_of(tx: Tx, server: Server) -> Way:
    """The way into `server`, opened. Raises `Unsealable`."""
    written = json.loads(envelope.unseal(tx, server.sealed, f"target/{server.name}"))
    return _WAYS[written.pop("way")](**written)


class Clients:
    """One `Client` for each server of `store`, opened when first asked for and again when its entry changed, so that
    all threads of this process keep to the server's limits together."""

    def __init__(self, store: Store, limits: Limits | None = None) -> None:
        self._store = store
        self._limits = limits
        self._open: dict[str, tuple[bytes, Client]] = {}
        self._lock = threading.Lock()

    def __call__(self, name: str) -> Client:
        """The client of the server `name`. Raises `UnknownServer`, `Unsealable`, `InvalidSetting`."""
        with self._store.read() as tx:
            server = get(tx, name)
            way = way_of(tx, server)
        with self._lock:
            held = self._open.get(name)
            if held is None or held[0] != server.sealed:
                client = connect(server.url, way, self._limits, ca_file=server.facts.get("ca_file") or None)
                self._open[name] = held = (server.sealed, client)
                # The former client is left to the threads that still use it.
            return held[1]

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            for _, client in self._open.values():
                client.close()
            self._open.clear()


def _written(way: Way) -> str:
    for name, kind in _WAYS.items():
        if isinstance(way, kind):
            return json.dumps({"way": name, **{part: getattr(way, part) for part in kind.__slots__}})
    raise InvalidSetting(name="the way into Dify", value="…", reason="it is of no known kind")


def _server(row: Any) -> Server:
    return Server(row.pk, row.name, row.console_url, row.base_url, json.loads(row.facts), bytes(row.sealed))
