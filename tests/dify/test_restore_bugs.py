"""The six ways in which going back in Dify itself goes wrong. Ours has none of the first four, and tells of the last
two; on both servers, and by each way that writes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dify.ground import Ground, content, ground, two
from dify_server.rows import HIDDEN, MASK
from lastgood.history import apptriggers, workflows
from lastgood.history.apps import Way
from lastgood.release.placing import looking
from lastgood.targets.dify import around

PUBLISH, RESTORE = ("1.13.0", "publish"), ("1.14.2", "restore")
HOOK = {"id": "hook", "type": "custom", "data": {"type": "trigger-webhook", "title": "hook", "method": "post"}}


@pytest.fixture(params=[PUBLISH, ("1.14.2", "publish"), RESTORE], ids="-".join)
def here(request: pytest.FixtureRequest, sqlite_template: Path, home: Path) -> Iterator[Ground]:
    version, way = request.param
    with ground(version, sqlite_template, home) as made:
        chosen: Way = way
        made.set_way(chosen)
        yield made


def test_features_variables_secrets_and_the_draft_come_through(here: Ground) -> None:
    """Features wiped, masks stored as secrets, conversation variables skipped, the draft destroyed: none of it."""
    before, good = content(here.fake.draft), content(here.fake.versions[1])
    done = here.run()
    assert done.state == "succeeded", done.report
    graph, features, environment, talk = content(here.fake.live)
    assert features == good[1]
    secrets = [one["value"] for one in environment if one["value_type"] == "secret"]
    assert secrets == ["one"]
    assert not {MASK, HIDDEN, ""} & set(secrets)
    assert talk == good[3]
    assert talk[0]["value"] == 1
    assert graph == good[0]
    assert content(here.fake.draft) == before
    assert before[2][0]["value"] == "three"


def test_features_that_only_the_old_version_has_come_back(here: Ground) -> None:
    world = here.dify.world
    world.editor_saves(here.fake, two("other"), features={"opening_statement": "Hello", "suggested_questions": ["?"]})
    old = world.somebody_publishes(here.fake)
    world.editor_saves(here.fake, two("newest"), features={"opening_statement": ""})
    world.somebody_publishes(here.fake)
    here.capture()
    done = here.run(to=here.placed(old), force=True)
    assert done.state == "succeeded", done.report
    assert here.fake.live is not None
    assert here.fake.live.features["opening_statement"] == "Hello"
    assert here.fake.live.features["suggested_questions"] == ["?"]


def told(done: Any, word: str) -> list[str]:
    items = [one for step in done.steps.values() for one in step.detail.get("items", [])]
    return [f"{one['verdict']} {one['found']}" for one in items if one["check"] == "app" and word in one["subject"]]


def test_a_webhook_with_another_address_is_told(here: Ground) -> None:
    """The version in between had no such node, so Dify made a new address."""
    world = here.dify.world
    with_hook = {**two("hooked"), "nodes": [HOOK, two("hooked")["nodes"][1]]}
    world.editor_saves(here.fake, with_hook)
    hooked = world.somebody_publishes(here.fake)
    here.capture()
    around.observe(looking.source_of(here.means, here.app), here.fake.id)  # as the watch does
    first = here.fake.webhooks["hook"]["webhook_url"]
    world.editor_saves(here.fake, two("no hook"))
    world.somebody_publishes(here.fake)
    here.capture()
    done = here.run(to=here.placed(hooked), force=True, verify=True)
    assert done.state in ("succeeded", "kept"), done.report
    now = here.fake.webhooks["hook"]["webhook_url"]
    if not here.dify.world.newer:  # it ties addresses to the draft, and the former one has no such node
        assert "so it was not put back" in done.report
    assert now != first
    assert told(done, "webhook")
    assert all(one.startswith("fail") for one in told(done, "webhook")), done.report
    assert all("`lastgood triggers invoices` shows" in one for one in told(done, "webhook"))
    with here.store.read() as tx:
        (hook,) = apptriggers.of_workflow(tx, workflows.find(tx, "invoices"))
    assert (hook.url, hook.before.secret if hook.before else None) == (now, first)
    for url in (first, now):
        assert url.rpartition("/")[2] not in str(done.as_data()) + done.report


def test_a_tool_that_still_runs_another_version_is_told(here: Ground) -> None:
    live = here.fake.live
    assert live is not None
    here.fake.tool = {
        "workflow_tool_id": here.fake.id, "workflow_app_id": here.fake.id, "name": "invoices", "label": "Invoices",
        "version": live.version, "synced": True, "parameters": [],
    }  # fmt: skip
    here.dify.faults.after("POST /workflows/publish", lambda: (here.fake.tool or {}).update(synced=False))
    done = here.run(verify=True)
    assert done.state in ("succeeded", "kept"), done.report
    assert [one for one in told(done, "tool") if one.startswith("fail it still runs the version")], done.report
