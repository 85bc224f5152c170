"""A captured app that is given to a channel of another workflow: all that history has of it goes along."""

from typing import Any

import pytest

from dify_server.graphs import graph
from dify_server.rows import FakeApp
from lastgood.errors import AppTaken, InvalidRequest, LastgoodError, StillApplying
from lastgood.history import apps, channels, drafts, keys, placements, rebinding, served, versions, workflows
from lastgood.history.rebinding import Rebound
from lastgood.history.workflows import Workflow
from lastgood.release.placing import standing

from .capturing import WHO, Scene, secret
from .test_capture import published

# Both versions and both stores, not all four ways to put them together.
pytestmark = pytest.mark.parametrize(
    ("dify", "settings"), [("1.13.0", "postgres"), ("1.14.2", "sqlite")], indirect=True
)


def captured(scene: Scene) -> tuple[FakeApp, FakeApp, str]:
    """Two captured apps: the second has an own history with a secret, runs and a key of a client."""
    world = scene.dify.world
    live, other = published(scene, "Invoice"), published(scene, "Invoice (staging)", 1)
    world.editor_saves(other, graph("only here"), environment=[secret("TOKEN", "the staging token")])
    world.somebody_publishes(other)
    world.editor_saves(other, graph("work"))
    for _ in range(60):
        world.record(other, other.versions[0])
    token = world.add_key(other)
    scene.capture()
    return live, other, token


def rebind(scene: Scene, app: FakeApp, to: str, channel: str) -> Rebound:
    return scene.store.write(lambda tx: rebinding.rebind(tx, WHO, scene.app(app), workflows.find(tx, to), channel))


def workflow_of(scene: Scene, app: FakeApp) -> Workflow:
    with scene.store.read() as tx:
        return workflows.by_pk(tx, scene.app(app).workflow_pk)


def test_its_history_goes_along(scene: Scene) -> None:
    live, other, token = captured(scene)
    former = workflow_of(scene, other)
    before = [(one.digest, one.state) for one in scene.history(other)]
    rows = [(one.placed_id, one.label) for one in scene.placed(other)]
    kept = len(scene.history(live))
    found = rebind(scene, other, "invoice", "staging")
    assert (found.left, found.versions, found.new) == (former.slug, 2, 1)  # they have the first one in common
    home = workflow_of(scene, live)
    assert workflow_of(scene, other).id == home.id and len(scene.history(live)) == kept + 1
    assert [(one.placed_id, one.label) for one in scene.placed(other)] == rows
    newest = scene.history(live)[-1]
    assert scene.channel(other).version == scene.app(other).live == newest.id
    assert newest.state == "stable" == before[-1][1], "what proved it there counts here"
    with scene.store.read() as tx:
        assert versions.secrets_of(tx, newest) == {"TOKEN": "the staging token"}
        assert "only here" in str(versions.document_of(tx, newest).graph)
        runs = served.total(tx, newest)
        assert runs is not None and runs.runs == 60
        states = drafts.listing(tx, home)
        assert "staging" in {one.channel for one in states}
        assert keys.workflow_of(tx, token) == home.id
        assert standing.of(tx, scene.app(other), scene.channel(other)).state == "in step"
        assert [one.pk for one in apps.of_workflow(tx, former)] == []
        assert len(versions.page(tx, former)) == 2, "the one that it left keeps what it has"
    scene.look()
    scene.dify.world.somebody_publishes(other)
    scene.look()
    assert len(scene.history(live)) == kept + 2 and scene.app(other).live == scene.history(live)[-1].id
    with scene.store.read() as tx:
        assert len(versions.page(tx, former)) == 2


def test_back_again_makes_nothing_new(scene: Scene) -> None:
    _, other, _ = captured(scene)
    former = workflow_of(scene, other)
    before = [one.id for one in scene.history(other)]
    rebind(scene, other, "invoice", "staging")
    back = rebind(scene, other, former.slug, "live")
    assert back.left == "invoice"
    history = [one.id for one in scene.history(other)]
    assert history[:2] == before, "its own versions are known again"
    assert scene.app(other).live == before[-1] == scene.channel(other).version


def test_a_channel_of_the_same_workflow(scene: Scene) -> None:
    _, other, token = captured(scene)
    home = workflow_of(scene, other)
    found = rebind(scene, other, home.slug, "staging")
    assert (found.versions, found.app.channel) == (0, "staging")
    assert scene.channel(other).version == scene.app(other).live
    with scene.store.read() as tx:
        assert keys.workflow_of(tx, token) == home.id


def _applying(tx: Any, channel: channels.Channel, workflow: Workflow) -> None:
    channels.hold(tx, workflow, channel, expected=channel.generation, operation="op-abcdefghij")


@pytest.mark.parametrize("why", ["taken", "applying", "own key", "mode"])
def test_what_would_lose_something_is_refused_and_changes_nothing(scene: Scene, why: str) -> None:
    live, other, _ = captured(scene)
    home, former = workflow_of(scene, live), workflow_of(scene, other)
    to, channel = "invoice", "staging"
    error: type[LastgoodError] = InvalidRequest
    said = "were made here"
    if why == "taken":
        channel, error, said = "live", AppTaken, "--move"
    elif why == "applying":
        scene.store.write(lambda tx: _applying(tx, scene.channel(other), former))
        error, said = StillApplying, "op-abcdefghij"
    elif why == "own key":
        scene.store.write(lambda tx: keys.create(tx, WHO, former, name="mine"))
    else:
        scene.store.write(
            lambda tx: workflows.create(tx, WHO, "talk", name="Talk", mode="advanced-chat", target="prod")
        )
        to, said = "talk", "advanced-chat"
    placed = scene.placed(other)
    with pytest.raises(error, match=said):
        rebind(scene, other, to, channel)
    with scene.store.read() as tx:
        assert placements.listing(tx, scene.app(other)) == placed
        assert len(versions.page(tx, home)) == 3
    assert scene.app(other).workflow_id == former.id
