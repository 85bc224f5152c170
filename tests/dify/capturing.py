"""A stand-in that is connected to a store, and what a test asks of the two."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from dify_server import FakeDify
from dify_server.rows import FakeApp
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.history import apps, channels, placements, versions, workflows
from lastgood.history.apps import App
from lastgood.history.versions import Version
from lastgood.targets.dify import AdminKey, Client, servers
from lastgood.targets.dify.capture import Captured, capture, is_changed, listed
from lastgood.targets.dify.source import Source
from lastgood.targets.dify.watch import Look, Memory, look

WHO = Principal("alice")
SERVER = "prod"


@dataclass
class Scene:
    """One stand-in, one store, one client."""

    dify: FakeDify
    store: Store
    client: Client
    memory: Memory = field(default_factory=Memory)
    clock: float = 0.0

    def __post_init__(self) -> None:
        self.memory.now = lambda: self.clock
        way = AdminKey("k", "w")
        self.store.write(lambda tx: servers.save(tx, WHO, SERVER, self.dify.url, way, facts={}))

    @property
    def source(self) -> Source:
        with self.store.read() as tx:
            return Source(self.store, self.client, servers.get(tx, SERVER), WHO)

    def capture(self, *, everything: bool = False) -> list[Captured]:
        """A capture of what changed, as the command makes it."""
        told: list[Captured] = []
        source = self.source
        found = list(listed(source))
        with self.store.read() as tx:
            held = {one.app_id: one for one in apps.of_target(tx, SERVER)}
        chosen = [one for one in found if everything or one.id not in held or is_changed(one, held[one.id])]
        capture(source, reversed(chosen), told.append, everything=everything)
        return told

    def look(self, requests: int | None = None, *, later: float = 1000.0) -> Look:
        """A look of the watch, `later` seconds after the one before."""
        self.clock += later
        return look(self.source, self.memory, requests=requests)

    def asked(self) -> list[str]:
        """The requests since this was asked last."""
        paths = [f"{one.method} {one.path}" for one in self.dify.requests]
        self.dify.requests.clear()
        return paths

    def app(self, app: FakeApp) -> App:
        with self.store.read() as tx:
            found = apps.find(tx, SERVER, app.id)
        assert found is not None
        return found

    def history(self, app: FakeApp) -> list[Version]:
        """Its versions, oldest first."""
        held = self.app(app)
        with self.store.read() as tx:
            return list(reversed(versions.page(tx, workflows.by_pk(tx, held.workflow_pk), limit=500)))

    def placed(self, app: FakeApp) -> list[placements.Placement]:
        with self.store.read() as tx:
            return placements.listing(tx, self.app(app))

    def channel(self, app: FakeApp) -> channels.Channel:
        held = self.app(app)
        with self.store.read() as tx:
            return channels.get(tx, workflows.by_pk(tx, held.workflow_pk), held.channel)

    def events(self, kind: str) -> list[dict[str, Any]]:
        import json

        with self.store.read() as tx:
            rows = tx.connection.execute(select(t.outbox.c.payload).where(t.outbox.c.type == kind)).scalars()
            return [json.loads(row) for row in rows]


def secret(name: str, value: str, id: str = "7f1b6a70-0000-4000-8000-000000000001") -> dict[str, Any]:
    """A secret variable."""
    return {"id": id, "name": name, "value": value, "value_type": "secret", "description": ""}
