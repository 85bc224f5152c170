"""A protected channel that a Dify app runs: what Dify serves moves it neither by adoption nor by healing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lastgood.access import tokens
from lastgood.catalogue import Protected
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import ApprovalNeeded
from lastgood.history.apps import App
from lastgood.release import approvals, converging, operation
from lastgood.server.app import make_app
from lastgood.server.operators import JOBS
from server.conftest import Client
from support.scene import ALICE, BOB

from .ground import Ground, ground, two

LOCAL = "lg_local-token-of-this-start"


@pytest.fixture
def here(sqlite_template: Path, home: Path) -> Iterator[Ground]:
    with ground("1.14.2", sqlite_template, home, protected={"prod": Protected(workflows=("*",))}) as made:
        yield made


def published_elsewhere(here: Ground) -> None:
    """Somebody publishes in Dify, and the watch sees it."""
    here.dify.world.editor_saves(here.fake, two("theirs"))
    here.dify.world.somebody_publishes(here.fake, "theirs")
    here.capture()
    assert here.stands() == "ahead"


def ask(here: Ground, what: str, **body: Any) -> Any:
    app = make_app(here.store, local_token=LOCAL)
    try:
        client = Client(app, {"Authorization": f"Bearer {LOCAL}"})
        at = {"If-Match": f'"{here.channel.generation}"'}
        return client.post(f"/v1/workflows/{here.workflow}/channels/live/{what}", json=body, headers=at)
    finally:
        app.state.context.close()


@pytest.mark.parametrize("what", ["adopt", "heal"])
def test_what_dify_serves_is_taken_over_by_two(here: Ground, what: str) -> None:
    published_elsewhere(here)
    before = (here.channel.version, here.fake.live)
    refused = ask(here, what, reason="agreed")
    assert refused.status_code == 409, refused.text
    assert refused.json()["type"].endswith("approval-needed")
    assert (here.channel.version, here.fake.live) == before
    id = refused.json()["approval"]
    here.store.write(lambda tx: approvals.approve(tx, BOB, id))
    assert ask(here, what, reason="agreed").status_code == 200
    with here.store.read() as tx:
        assert approvals.find(tx, id).state == "used"
    assert here.stands() == "in step"


def test_the_job_that_heals_waits_for_somebody(here: Ground) -> None:
    published_elsewhere(here)
    before = here.channel.generation
    with pytest.raises(ApprovalNeeded):
        entered(here, JOBS, here.app)
    assert here.channel.generation == before
    with here.store.read() as tx:
        (asked,) = approvals.listing(tx, waiting=True)
    assert asked.asked_by == "service:jobs"
    here.store.write(lambda tx: approvals.approve(tx, BOB, asked.id))
    assert entered(here, JOBS, here.app) == "succeeded"


def entered(here: Ground, who: Principal, app: App) -> str:
    made = converging.enter(here.means, who, app, "heal")
    assert made is not None
    return operation.run(here.means, made.id).operation.state


def test_a_rollback_and_its_convergence_wait_for_nobody(here: Ground) -> None:
    """Also where it adopts first what Dify serves, and where the app gets it later."""
    published_elsewhere(here)
    here.set_way("route")
    assert here.run("rollback").state == "succeeded"
    assert here.channel.version == here.good
    made = converging.enter(here.means, JOBS, here.app, "converge")
    assert made is not None
    assert operation.run(here.means, made.id).operation.state == "succeeded"


def test_publishing_there_waits(here: Ground) -> None:
    here.run("rollback")
    with pytest.raises(ApprovalNeeded):
        here.enter("publish", here.bad)


def test_an_app_and_its_keys_leave_a_protected_channel_by_two(here: Ground) -> None:
    channel = here.channel
    body = {"server": "prod", "app": here.fake.id, "move": True}
    app = make_app(here.store, local_token=LOCAL)
    try:
        client = Client(app, {"Authorization": f"Bearer {LOCAL}"})
        refused = client.post("/v1/workflows/elsewhere/apps", json=body)
    finally:
        app.state.context.close()
    assert refused.status_code == 409, refused.text
    assert refused.json()["type"].endswith("approval-needed")
    assert here.channel == channel


def test_an_app_leaves_no_workflow_by_who_may_not_bind_there(here: Ground) -> None:
    def work(tx: Tx) -> str:
        return tokens.create(tx, ALICE, "limited", role="admin", resources=("workflow:elsewhere", "target:*"))

    token = here.store.write(work)
    body = {"server": "prod", "app": here.fake.id, "move": True}
    app = make_app(here.store, local_token=LOCAL)
    try:
        client = Client(app, {"Authorization": f"Bearer {token}"})
        refused = client.post("/v1/workflows/elsewhere/apps", json=body)
    finally:
        app.state.context.close()
    assert refused.status_code == 403, refused.text
    assert f"target:connect on workflow:{here.workflow}" in refused.text
