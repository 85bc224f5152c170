"""A planned move examined as it stands in the stores, on both databases."""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text, update

from dsl.documents import node
from lastgood.catalogue import Middleware, Rollback
from lastgood.db import runs as r
from lastgood.db import tables as t
from lastgood.db.store import Store, open_runs, open_store
from lastgood.db.tx import Tx
from lastgood.dsl import Document
from lastgood.errors import UnknownVersion, UnknownWorkflow
from lastgood.history import keys, smokes, versions
from lastgood.history.versions import Version
from lastgood.release import preflight
from lastgood.release.means import Means
from lastgood.release.plan import Finding, PlannedMove
from lastgood.release.preflight import probes
from lastgood.release.preflight.evidence import outputs_in
from lastgood.release.verification import Upstream
from lastgood.settings import Settings
from support.documents import document
from support.scene import ALICE, Scene, scene
from support.stores import on_sqlite

from .small import field, flow, tool, variable


def no_engine() -> Upstream:
    raise AssertionError("a preflight runs nothing")


@dataclass
class Place:
    """A store with a workflow in it, and what the gateway and the engine recorded."""

    means: Means
    runs: Engine
    scene: Scene

    def two(self, old: Document, new: Document, **more: Any) -> tuple[Version, Version]:
        """Two versions, both proven, the newer one live."""
        first, second = (self.scene.push(one, **more).version for one in (old, new))
        self.scene.move(self.scene.mark(second, "stable"))
        return self.scene.mark(first, "stable"), second

    def examine(self, to: Version | str, *, force: bool = False) -> list[Finding]:
        workflow = self.scene.workflow
        id = to if isinstance(to, str) else to.id
        planned = PlannedMove(workflow.id, workflow.slug, "live", None, id, 1)
        return preflight.examine(self.means, planned, force=force)

    def says(self, to: Version, check: str, **more: Any) -> tuple[str, str]:
        """The worst that a check says: verdict and sentence."""
        found = [one for one in self.examine(to, **more) if one.check == check]
        worst = max(found, key=lambda one: ("pass", "warn", "refuse").index(one.verdict))
        return worst.verdict, worst.sentence

    def called(
        self, key: str, agent: str, shape: str, *, kind: str = "inputs", requests: int = 10, pins: bool = False
    ) -> None:
        """Requests by `key` through live, with that shape (JSON)."""
        now = time.time()
        with self.runs.begin() as connection:
            row = {"workflow_id": self.scene.workflow.id, "key_id": key, "user_agent": agent}
            caller = connection.execute(insert(r.caller).values(row).returning(r.caller.c.pk)).scalar_one()
            counts = dict.fromkeys(("requests", "errors", "refused", "unseen", "lost"), 0) | {"requests": requests}
            connection.execute(
                insert(r.calls).values(
                    caller_pk=caller,
                    at=int(now) // 60 * 60,
                    span=60,
                    channel="live",
                    version_id="v",
                    generation=1,
                    pins=pins,
                    total_ms=1.0,
                    max_ms=1.0,
                    last_at=now,
                    **counts,
                    **{f"bucket_{number}": 0 for number in range(r.LATENCY_BUCKETS)},
                )
            )
            made = {"workflow_id": row["workflow_id"], "kind": kind, "digest": uuid.uuid4().bytes, "shape": shape}
            shape_pk = connection.execute(insert(r.call_shape).values(made).returning(r.call_shape.c.pk)).scalar_one()
            seen = {"requests": requests, "refused": 0, "version_id": "v", "first_at": now, "last_at": now}
            connection.execute(insert(r.caller_shape).values(caller_pk=caller, shape_pk=shape_pk, **seen))

    def talk(self, **variables: str) -> None:
        """An open conversation that holds variables of these types."""
        id, now = str(uuid.uuid4()), time.time()
        texts = dict.fromkeys(("user", "name", "inputs"), "{}")
        row = {"id": id, "workflow_id": self.scene.workflow.id, "dialogue_count": 1, "created_at": now, **texts}
        with self.runs.begin() as connection:
            connection.execute(insert(r.conversation).values(updated_at=now, introduction="", **row))
            for name, kind in variables.items():
                held = {
                    "id": str(uuid.uuid4()),
                    "conversation_id": id,
                    "name": name,
                    "value_type": kind,
                    "value": "1",
                }
                connection.execute(
                    insert(r.conversation_variable).values(description="", created_at=now, updated_at=now, **held)
                )


@pytest.fixture
def make(settings: Settings) -> Iterator[Callable[..., Place]]:
    """Makes the place, with these settings."""
    opened: list[tuple[Store, Engine]] = []

    def made(target: str = "dify", mode: str = "workflow", **declared: Any) -> Place:
        probes._answers.clear()
        store = open_store(settings.model_copy(update=declared))
        runs = open_runs(settings)
        opened.append((store, runs))
        return Place(Means(store, no_engine, lambda: runs), runs, scene(store, target=target, mode=mode))

    yield made
    for store, runs in opened:
        store.close()
        runs.dispose()


def test_a_way_back_on_which_nothing_stands(make: Callable[..., Place]) -> None:
    place = make("engine")
    old, _ = place.two(document("one"), document("two"))
    found = place.examine(old)
    assert {one.check for one in found} == set(preflight.CHECKS)
    assert [one for one in found if one.verdict != "pass"] == []
    assert place.says(old, "state") == (
        "pass",
        f"{old.id} is stable ({'marked stable'} (seen to be stable) on {_day(place, old)} UTC, by alice).",
    )
    assert place.says(old, "evidence")[1].endswith("can read of it: 1 mark.")
    assert place.says(old, "callers")[1].startswith("Nothing recorded")


def _day(place: Place, version: Version) -> str:
    with place.means.store.read() as tx:
        at: str = versions.evidence_of(tx, version)[0]["at"]
    return at[:16].replace("T", " ")


def test_states(make: Callable[..., Place]) -> None:
    place = make()
    old, new = place.two(document("one"), document("two"))
    assert place.says(new, "state")[0] == "refuse"
    failed = place.scene.mark(old, "failed")
    verdict, sentence = place.says(failed, "state")
    assert verdict == "refuse"
    assert "seen to be failed, by alice" in sentence
    assert place.says(failed, "state", force=True)[0] == "warn"


def test_secrets_are_told_by_name_only(make: Callable[..., Place]) -> None:
    place = make("engine")
    reads = node("call", "http-request", method="get", url="https://x.test", headers="k:{{#env.KEY#}}")

    def with_key(value: str, other: str = "same-value") -> Document:
        held = [variable("KEY", "secret", value), variable("OTHER", "secret", other)]
        return flow(reads, environment_variables=[*held, variable("PLAIN", "string", value)])

    old, _ = place.two(with_key("old-value"), with_key("new-value"))
    found = place.examine(old)
    assert place.says(old, "secrets") == (
        "warn",
        f"The secret “KEY” changed since {old.id}, and its older value comes back: where it was rotated, push the "
        "version again with the new one.",
    )
    assert "changed: “PLAIN”" in place.says(old, "environment")[1]
    assert "-value" not in repr(found)


def test_a_secret_without_a_value_is_refused(make: Callable[..., Place]) -> None:
    place = make("engine")
    reads = node("call", "http-request", method="get", url="https://x.test", headers="k:{{#env.KEY#}}")
    lacks = flow(reads, environment_variables=[variable("KEY", "secret")])
    old, _ = place.two(lacks, document("two"))
    verdict, sentence = place.says(old, "secrets")
    assert (verdict, "“KEY”" in sentence) == ("refuse", True)


def test_callers_of_the_channel(make: Callable[..., Place]) -> None:
    place = make()
    old, _ = place.two(flow(inputs=(field("a", required=True),)), flow(inputs=(field("b", required=True),)))
    made = place.means.store.write(lambda tx: keys.create(tx, ALICE, place.scene.workflow, name="billing"))
    place.called(made["id"], "curl", '{"b":"string"}')
    verdict, sentence = place.says(old, "callers")
    assert verdict == "refuse"
    assert "every recorded request (10, by “billing”): a is required" in sentence
    place.called(made["id"], "other", '{"a":"string","b":"string"}', requests=30)
    verdict, sentence = place.says(old, "callers")
    assert verdict == "warn"
    assert "would refuse 10 of 40 recorded requests (25%) by billing" in sentence
    place.means.store.write(lambda tx: keys.revoke(tx, ALICE, place.scene.workflow, "billing"))
    assert place.says(old, "callers")[1].startswith("Nothing recorded")
    place.called("key-x", "curl", '{"b":"string"}', pins=True)
    assert any("Not affected" in one.sentence and "“key-x”" in one.sentence for one in place.examine(old))


def test_callers_are_not_looked_at_when_the_settings_say_so(make: Callable[..., Place]) -> None:
    place = make(rollback=Rollback(callers=0))
    old, _ = place.two(document("one"), document("two"))
    assert place.says(old, "callers")[1].startswith("Callers are not looked at")


def test_open_conversations(make: Callable[..., Place]) -> None:
    place = make("engine", mode="advanced-chat")

    def chat(kind: str) -> Document:
        return flow(mode="advanced-chat", conversation_variables=[variable("total", kind, 0)])

    old, _ = place.two(chat("string"), chat("number"))
    assert place.says(old, "conversations") == ("pass", "No conversation of greet is open.")
    place.talk(total="number", memo="string")
    place.talk(total="number")
    place.talk()
    warned = [one.sentence for one in place.examine(old) if one.check == "conversations"]
    assert len(warned) == 2
    assert warned[0].startswith("1 of 3 open conversations holds “memo”")
    assert warned[1].startswith(
        f"2 of 3 open conversations hold “total” as number, and {old.id} declares it as string"
    )


def test_a_workflow_tool_that_is_kept_here(make: Callable[..., Place]) -> None:
    place = make()
    billing = scene(place.means.store, "billing")
    uses = flow(tool("workflow", provider_id=billing.workflow.id, tool_name="billing"))
    old, _ = place.two(uses, document("two"))
    assert "has no live version" in place.says(old, "workflow-tools")[1]
    version = billing.push(flow(inputs=(field("total", required=True),))).version
    billing.move(version)
    verdict, sentence = place.says(old, "workflow-tools")
    assert verdict == "refuse"
    assert f"calls billing ({version.id}), and that would refuse it: total is required" in sentence
    billing.move(billing.push(flow(inputs=(field("total"),))).version)
    assert place.says(old, "workflow-tools")[0] == "pass"


def test_what_the_embedded_engine_does_not_run(make: Callable[..., Place]) -> None:
    place = make("engine")
    old, _ = place.two(flow(tool("builtin", provider_id="time", tool_name="now")), document("two"))
    verdicts = {one.check: one.verdict for one in place.examine(old)}
    assert (verdicts["nodes"], verdicts["tools"], verdicts["engine"]) == ("refuse", "refuse", "pass")


def test_middleware_of_the_workflow(make: Callable[..., Place], tmp_path: Path) -> None:
    file = tmp_path / "data.db"
    file.touch()
    place = make(
        middleware={
            "data": Middleware(kind="sqlite", url=f"sqlite:///{file}", range=">=3", workflows=("gr*",)),
            "cache": Middleware(version="6.2", range=">=7", workflows=("greet",)),
            "queue": Middleware(version="1", range=">=7", workflows=("other",)),
        }
    )
    old, _ = place.two(document("one"), document("two"))
    found = {one.subject: one.verdict for one in place.examine(old) if one.check == "middleware"}
    assert found == {"greet/live data": "pass", "greet/live cache": "refuse"}


def test_smoke_requests_that_the_version_cannot_answer(make: Callable[..., Place]) -> None:
    place = make()
    old, _ = place.two(flow(outputs=("said",)), flow(outputs=("said", "vat")))
    place.means.store.write(
        lambda tx: smokes.add(tx, ALICE, place.scene.workflow, inputs={"text": "x"}, expect=("outputs.vat == 'x'",))
    )
    verdict, sentence = place.says(old, "evidence")
    assert verdict == "warn"
    assert "“vat”" in sentence


def test_what_was_learnt_on_the_newer_version_stays_as_it_is(make: Callable[..., Place]) -> None:
    place = make()
    old, new = place.two(document("one"), document("two"))
    detail = {"reason": "seen", "field-of-a-later-release": {"deep": [1, None, "é"]}}

    def add(tx: Tx) -> None:
        versions.add_evidence(tx, ALICE, new, kind="later", verdict="odd", detail=detail)

    place.means.store.write(add)
    place.scene.move(old, kind="rollback")
    with place.means.store.read() as tx:
        assert versions.evidence_of(tx, new)[0]["detail"] == detail
    assert place.says(old, "evidence")[1].endswith("can read of it: 1 later, 1 mark.")


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("outputs.total == `1`", {"total"}),
        ("outputs.lines[0].sum > `1` && status == 'succeeded'", {"lines"}),
        ("length(outputs.a) == length(outputs.b)", {"a", "b"}),
        ("answer == 'x'", set()),
        ("contains(keys(outputs), 'a')", set()),
        ("outputs.lines[?sum > `1`].sum | [0]", {"lines"}),
        ("outputs.lines[0:2] && (outputs | total)", {"lines", "total"}),
        ("inner.outputs.total == `1`", set()),
    ],
)
def test_the_outputs_of_an_expectation(expression: str, names: set[str]) -> None:
    assert set(outputs_in(expression)) == names


def test_damaged_content_is_refused(make: Callable[..., Place]) -> None:
    place = make()
    old, _ = place.two(document("one"), document("two"))

    def damage(tx: Tx) -> None:
        tx.connection.execute(update(t.content).where(t.content.c.digest == old.digest).values(body=b"x"))

    place.means.store.write(damage)
    verdict, sentence = place.says(old, "content")
    assert verdict == "refuse"
    assert "lastgood fsck" in sentence
    assert {one.verdict for one in place.examine(old) if one.check == "models"} == {"warn"}


def test_a_store_of_runs_that_cannot_be_read_only_warns(make: Callable[..., Place]) -> None:
    place = make("engine")
    old, _ = place.two(document("one"), document("two"))
    with place.runs.begin() as connection:
        connection.execute(text("DROP TABLE caller_shape"))
    assert place.says(old, "callers") == (
        "warn",
        f"The check callers of {old.id} says nothing: it could not be looked at "
        f"({'ProgrammingError' if place.means.store.postgres else 'OperationalError'}). Look at this yourself before "
        "you go on.",
    )


@on_sqlite
def test_nothing_that_is_examined_is_changed(make: Callable[..., Place]) -> None:
    place = make("engine")
    old, _ = place.two(document("one"), document("two"))
    before = (place.scene.channel(), place.scene.find(old.id), _count(place))
    place.examine(old)
    assert (place.scene.channel(), place.scene.find(old.id), _count(place)) == before


def _count(place: Place) -> list[int]:
    with place.means.store.read() as tx:
        return [
            int(tx.connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one())
            for name in ("audit", "outbox", "evidence", "move")
        ]


@on_sqlite
def test_what_does_not_exist(make: Callable[..., Place]) -> None:
    place = make()
    place.two(document("one"), document("two"))
    with pytest.raises(UnknownVersion):
        place.examine("v-20200101-01")
    with pytest.raises(UnknownWorkflow):
        preflight.examine(
            place.means, PlannedMove("wf-none00", "none", "live", None, "v-20200101-01", 1), force=False
        )


@on_sqlite
def test_a_first_publish_has_nothing_to_compare_with(make: Callable[..., Place]) -> None:
    place = make()
    only = place.scene.push(document("one")).version
    assert {one.check for one in place.examine(only)} == set(preflight.CHECKS)
    assert "refuse" not in {one.verdict for one in place.examine(only)}
