"""What proves a version on a Dify app, and what is done with the proof: smoke requests of a chatflow, runs in Dify's
logs, and drift that is put back without being asked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from dify.ground import Ground, ground, two
from dify_server.graphs import chat
from lastgood.catalogue import Dify
from lastgood.db import tables as t
from lastgood.history import smokes, workflows
from lastgood.release import planning
from lastgood.release.placing import looking
from lastgood.release.planning import Wanted
from lastgood.server.operators import JOBS, Operators
from lastgood.targets.dify import logs
from support.scene import ALICE

VERSIONS = ("1.13.0", "1.14.2")


@pytest.fixture(params=VERSIONS)
def here(request: pytest.FixtureRequest, sqlite_template: Path, home: Path) -> Iterator[Ground]:
    with ground(request.param, sqlite_template, home) as made:
        yield made


@pytest.fixture(params=VERSIONS)
def talk(request: pytest.FixtureRequest, sqlite_template: Path, home: Path) -> Iterator[Ground]:
    """A chatflow whose good version says what it was told, and whose bad one does not."""
    with ground(request.param, sqlite_template, home, mode="advanced-chat") as made:
        world = made.dify.world
        for text in ("You said {{#sys.query#}}", "I did not listen"):
            world.editor_saves(made.fake, chat(text))
            world.somebody_publishes(made.fake)
        made.capture()
        made.good, made.bad = (made.placed(row) or "" for row in (made.fake.versions[1], made.fake.versions[0]))
        world.add_key(made.fake)
        made.store.write(
            lambda tx: smokes.add(
                tx,
                ALICE,
                workflows.find(tx, made.workflow),
                inputs={},
                query="hi",
                expect=["answer == 'You said hi'"],
            )
        )
        yield made


def smoked(done: Any) -> list[tuple[str, str]]:
    items = done.steps["verification"].detail["items"]
    return [(one["verdict"], one["found"]) for one in items if one["check"] == "smoke"]


def test_a_chatflow_is_asked_by_stream_and_proven(talk: Ground) -> None:
    talk.dify.requests.clear()
    done = talk.run(to=talk.good, verify=True)
    assert done.state == "succeeded", done.report
    assert smoked(done) == [("pass", "as expected")]
    assert talk.version(talk.good).state == "stable"
    (asked,) = (one for one in talk.dify.requests if one.path == "/v1/chat-messages")
    assert (asked.json["response_mode"], asked.json["query"]) == ("streaming", "hi")
    assert talk.placed(next(row for row in talk.fake.versions if row.id == asked.json["workflow_id"])) == talk.good


def test_a_chatflow_that_answers_otherwise_condemns_no_rollback_and_says_why(talk: Ground) -> None:
    talk.run(to=talk.good)
    done = talk.run(to=talk.bad, verify=True)
    ((verdict, found),) = smoked(done)
    assert verdict == "fail"
    assert "I did not listen" in found
    assert talk.version(talk.bad).state == "candidate"
    done = talk.run(to=talk.good)
    done = talk.run("publish", to=talk.bad, verify=True)
    assert smoked(done)[0][0] == "fail"
    assert talk.version(talk.bad).state == "failed"


@pytest.mark.parametrize("status", [401, 500])
def test_a_chatflow_that_cannot_be_asked_is_not_judged(talk: Ground, status: int) -> None:
    talk.dify.faults.fail("POST /v1/chat-messages", status, {"code": "x", "message": "no"}, times=10)
    done = talk.run(to=talk.good, verify=True)
    assert [verdict for verdict, _ in smoked(done)] == ["unknown"]
    assert talk.version(talk.good).state == "candidate"


@pytest.mark.parametrize("heal", [True, False])
def test_drift_is_put_back_where_the_setting_says_so(here: Ground, heal: bool) -> None:
    here.run()
    here.dify.world.editor_saves(here.fake, two("theirs"))
    here.dify.world.somebody_publishes(here.fake)
    looking.look(here.means, here.app)
    assert here.stands() == "ahead"
    theirs = here.app.live
    here.store.settings = here.store.settings.model_copy(update={"dify": Dify.model_validate({"heal": heal})})
    operators = Operators(here.means)
    operators._give_apps()
    entered = healing(here)
    assert len(entered) == heal
    for id in entered:
        operators.wait(id, 60)
    assert here.stands() == ("in step" if heal else "ahead")
    assert here.placed(here.fake.live) == (here.good if heal else theirs)
    assert here.channel.version == here.good
    operators._give_apps()  # nothing is left to do
    assert healing(here) == entered


def healing(here: Ground) -> list[str]:
    """The operations that put drift back, by whom nobody asked."""
    columns = select(t.operation.c.id).where(t.operation.c.kind == "heal", t.operation.c.actor == JOBS.name)
    with here.store.read() as tx:
        return list(tx.connection.execute(columns).scalars())


def test_what_dify_served_proves_the_version_that_a_plan_goes_back_to(here: Ground) -> None:
    world = here.dify.world
    world.editor_saves(here.fake, two("better"))
    better = world.somebody_publishes(here.fake)
    world.editor_saves(here.fake, two("broken"))
    broken = world.somebody_publishes(here.fake)
    here.capture()
    draft = planning.draft(here.means.settings, verify=False)
    wanted = [Wanted(here.workflow)]
    assert planning.make(here.means, "rollback", wanted, draft).moves[0].to_version == here.good

    for number in range(60):
        world.record(here.fake, better, "webhook" if number % 2 else "app-run", "succeeded" if number else "failed")
        world.record(here.fake, broken, status="failed" if number % 3 else "succeeded")
    proven = here.placed(better)
    assert logs.read(looking.source_of(here.means, here.app), here.fake.id) == [proven]
    (move,) = planning.make(here.means, "rollback", wanted, draft).moves
    assert move.to_version == proven
    assert "served 60 requests, 1.7 % failed (at most " in move.why
    assert "60 requests, 1.7 % errors" in move.why
    assert (move.evidence["requests"], move.evidence["error_rate"]) == (60, 1 / 60)
    done = here.run()
    assert done.state == "succeeded", done.report
    assert here.channel.version == proven
    assert here.placed(here.fake.live) == proven
