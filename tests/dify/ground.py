"""A connected and captured stand-in: one app with a good version and a bad one live, and a draft with work in it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dify_server import FakeDify
from dify_server.rows import FakeApp, Row
from dify_server.world import ADMIN_KEY
from lastgood.catalogue import Dify
from lastgood.db.store import Store, open_store
from lastgood.history import apps, channels, drafts, placements, versions, workflows
from lastgood.history.apps import App, Way
from lastgood.history.channels import Channel
from lastgood.history.versions import Version
from lastgood.release import journal, operation, planning
from lastgood.release.journal import Operation
from lastgood.release.means import Means
from lastgood.release.placing import standing
from lastgood.release.plan import Kind, Plan
from lastgood.release.planning import Wanted
from lastgood.release.verification import Upstream
from lastgood.targets.dify import AdminKey, Limits, connect, learn, servers
from lastgood.targets.dify.capture import capture, listed
from lastgood.targets.dify.source import Source
from support.scene import ALICE
from support.stores import clean_settings, copy_sqlite

QUICK = Limits(per_second=100_000, whole_seconds=5, connect_seconds=2, tries=1)
SERVER = "prod"
SECRET = [{"id": "11111111-1111-4111-8111-111111111111", "name": "TOKEN", "value_type": "secret", "value": "one"}]
PLAIN = [{"id": "22222222-2222-4222-8222-222222222222", "name": "REGION", "value_type": "string", "value": "eu"}]
TALK = [{"id": "33333333-3333-4333-8333-333333333333", "name": "count", "value_type": "number", "value": 1}]


def no_engine() -> Upstream:
    raise AssertionError("these tests run on Dify alone")


def variables(secret: str, region: str = "eu") -> list[dict[str, Any]]:
    """Environment variables: one secret, one plain."""
    return [{**SECRET[0], "value": secret}, {**PLAIN[0], "value": region}]


def two(output: str, **more: Any) -> dict[str, Any]:
    """A graph that answers under the name `output`."""
    value = {"variable": output, "value_selector": ["start", "name"]}
    start = {"type": "start", "title": "start", "variables": [
        {"variable": "name", "label": "name", "type": "text-input", "required": True}
    ]}  # fmt: skip
    return {
        "nodes": [
            {"id": "start", "type": "custom", "position": {"x": 0, "y": 0}, "data": start},
            {"id": "end", "type": "custom", "position": {"x": 300, "y": 0},
             "data": {"type": "end", "title": "end", "outputs": [value]}},
        ],
        "edges": [{"id": "e", "source": "start", "target": "end", "sourceHandle": "source"}],
        **more,
    }  # fmt: skip


def graph_with(node: dict[str, Any], output: str) -> dict[str, Any]:
    """The same with one more node."""
    made = two(output)
    made["nodes"].append(node)
    return made


@dataclass(frozen=True)
class Moment:
    """A store and an app of the stand-in as they were once."""

    database: bytes
    fake: dict[str, Any]


@dataclass
class Ground:
    """A stand-in, a store that captured it, and what operations work with."""

    dify: FakeDify
    fake: FakeApp
    store: Store
    means: Means
    good: str = ""
    bad: str = ""

    @property
    def app(self) -> App:
        with self.store.read() as tx:
            (found,) = apps.of_target(tx, SERVER)
        return found

    @property
    def channel(self) -> Channel:
        with self.store.read() as tx:
            return channels.get(tx, workflows.by_pk(tx, self.app.workflow_pk))

    @property
    def workflow(self) -> str:
        return self.app.slug

    def version(self, id: str) -> Version:
        with self.store.read() as tx:
            return versions.find(tx, id)

    def moment(self) -> Moment:
        """What is there now, of the store only what is committed."""
        with closing(sqlite3.connect(self.store.settings.home / "lastgood.db")) as file, self.dify.world.lock:
            database = file.serialize()
            # Bytes 18 and 19 say that it is in WAL, which one in memory cannot be.
            return Moment(database[:18] + b"\1\1" + database[20:], deepcopy(self.fake.__dict__))

    def go_back(self, moment: Moment) -> None:
        """Let it be as it was then."""
        place = self.store.settings.home / "lastgood.db"
        with closing(sqlite3.connect(place)) as file, closing(sqlite3.connect(":memory:")) as then:
            then.deserialize(moment.database)
            then.backup(file)
        with self.dify.world.lock:
            self.fake.__dict__.update(deepcopy(moment.fake))

    def capture(self) -> None:
        """Read everything that is new."""
        client = self.means.dify(SERVER)
        with self.store.read() as tx:
            server = servers.get(tx, SERVER)
        told: list[Any] = []
        capture(
            Source(self.store, client, server, ALICE), listed(Source(self.store, client, server, ALICE)), told.append
        )
        assert not [one for one in told if one.failed or one.problems], told

    def set_way(self, way: Way) -> None:
        self.store.write(lambda tx: apps.set_way(tx, ALICE, self.app, way))

    def enter(self, kind: Kind = "rollback", to: str | None = None, **choices: Any) -> str:
        """Plan and enter an operation."""
        choices = {"verify": False, "reason": "wrong totals", **choices}
        draft = planning.draft(self.means.settings, **choices) if kind == "rollback" else Plan(kind, (), **choices)
        plan = planning.make(self.means, kind, [Wanted(self.workflow, to=to)], draft)
        return planning.accept(self.means, ALICE, plan).id

    def run(self, kind: Kind = "rollback", to: str | None = None, **choices: Any) -> Operation:
        """Plan an operation, enter it and run it to its end."""
        return operation.run(self.means, self.enter(kind, to, **choices)).operation

    def undo(self, id: str) -> Operation:
        self.store.write(lambda tx: journal.ask(tx, ALICE, id, "undo"))
        return operation.run(self.means, id).operation

    def placed(self, row: Row | None) -> str | None:
        """The version of ours that a row of Dify's holds."""
        with self.store.read() as tx:
            found = placements.find(tx, self.app, row.id) if row else None
        return found.version if found else None

    def stands(self) -> str:
        """How the app stands to its channel, as it was last seen."""
        with self.store.read() as tx:
            return standing.of(tx, self.app, self.channel).state

    def forbid_correction(self) -> None:
        """As `[dify] correct = false`."""
        self.store.settings = self.store.settings.model_copy(update={"dify": Dify.model_validate({"correct": False})})

    def draft_ids(self) -> list[str]:
        """The states of the draft that are kept."""
        with self.store.read() as tx:
            return [one.id for one in drafts.listing(tx, workflows.by_pk(tx, self.app.workflow_pk), 100)]

    def graphs_kept(self) -> list[Any]:
        """The graphs of every draft state and version that is kept."""
        with self.store.read() as tx:
            workflow = workflows.by_pk(tx, self.app.workflow_pk)
            found = [drafts.document_of(tx, one).graph for one in drafts.listing(tx, workflow, 1000)]
            found += [versions.document_of(tx, one).graph for one in versions.page(tx, workflow, limit=1000)]
        return found

    def secrets_kept(self) -> set[str]:
        """Every secret value that is kept of drafts and versions."""
        with self.store.read() as tx:
            workflow = workflows.by_pk(tx, self.app.workflow_pk)
            found = [drafts.secrets_of(tx, one) for one in drafts.listing(tx, workflow, 1000)]
            found += [versions.secrets_of(tx, one) for one in versions.page(tx, workflow, limit=1000)]
        return {value for values in found for value in values.values()}


def content(row: Row | None) -> Any:
    """All that a row holds."""
    assert row is not None
    return deepcopy((row.graph, row.features, row.environment_variables, row.conversation_variables))


@contextmanager
def ground(version: str, template: Path, home: Path, *, mode: str = "workflow", **settings: Any) -> Iterator[Ground]:
    """A good version (stable), a bad one live, and a draft with more work in it."""
    copy_sqlite(template, home)
    with FakeDify(version) as dify:
        fake = dify.world.add_app("invoices", mode=mode, graph=two("total"))
        dify.world.editor_saves(fake, environment=variables("one"), conversation=TALK)
        good = dify.world.somebody_publishes(fake)
        dify.world.editor_saves(
            fake, two("sum"), environment=variables("two", "us"), conversation=[{**TALK[0], "value": 2}]
        )
        bad = dify.world.somebody_publishes(fake)
        work = graph_with({"id": "new", "data": {"type": "answer2", "title": "work"}}, "sum")
        dify.world.editor_saves(fake, work, environment=variables("three"))
        store = open_store(clean_settings(home, **settings))
        client = connect(dify.url, AdminKey(ADMIN_KEY, dify.world.workspace_id), QUICK)
        facts = {"abilities": learn(client).as_data()}
        store.write(
            lambda tx: servers.save(
                tx, ALICE, SERVER, dify.url, AdminKey(ADMIN_KEY, dify.world.workspace_id), facts=facts
            )
        )
        made = Ground(dify, fake, store, Means(store, no_engine, dify=lambda _: client))
        try:
            made.capture()
            made.good, made.bad = made.placed(good) or "", made.placed(bad) or ""
            store.write(
                lambda tx: versions.set_state(
                    tx, ALICE, versions.find(tx, made.good), "stable", kind="mark", reason="it is good"
                )
            )
            yield made
        finally:
            client.close()
            store.close()
