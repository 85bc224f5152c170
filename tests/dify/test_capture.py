"""Capture against the stand-in, on real stores: what there is comes into history once, and nothing of it is lost."""

import json
from typing import Any

import pytest

from dify_server.graphs import chat, graph
from dify_server.world import MASK
from lastgood import dsl
from lastgood.errors import DifyUnreachable
from lastgood.history import channels, drafts, integrations, versions, workflows
from lastgood.targets.dify.contents import document_of, secrets_of

from .capturing import SERVER, WHO, Scene, secret

# Both versions and both stores, not all four ways to put them together.
pytestmark = pytest.mark.parametrize(
    ("dify", "settings"), [("1.13.0", "postgres"), ("1.14.2", "sqlite")], indirect=True
)


def published(scene: Scene, name: str = "Invoice intake", times: int = 3, **more: Any) -> Any:
    app = scene.dify.world.add_app(name, **more)
    for number in range(times):
        scene.dify.world.editor_saves(app, graph(f"name_{number}"))
        scene.dify.world.somebody_publishes(app, f"v{number}", f"the {number}. one")
    return app


def test_every_version_comes_with_what_dify_says_of_it(scene: Scene) -> None:
    app = published(scene)
    outcome = scene.capture()
    assert [(one.versions, one.again, one.draft, one.problems) for one in outcome] == [(3, 0, True, ())]
    held = scene.history(app)
    assert [(one.origin, one.author, one.note, one.state) for one in held] == [
        ("capture", "Owner", f"v{number}: the {number}. one", "candidate") for number in range(3)
    ]
    rows = list(reversed(app.versions))
    assert [one.authored_at[:26] for one in held] == [row.version.replace(" ", "T") for row in rows]
    assert [one.parent for one in held] == [None, held[0].id, held[1].id]
    assert [(one.placed_id, one.label, one.name) for one in scene.placed(app)] == [
        (row.id, row.version, row.marked_name) for row in rows
    ]
    assert {one.workflow_id for one in held} == {scene.app(app).workflow_id}
    with scene.store.read() as tx:
        workflow = workflows.by_pk(tx, scene.app(app).workflow_pk)
    assert (workflow.slug, workflow.name, workflow.target) == ("invoice-intake", "Invoice intake", SERVER)


def test_the_channel_begins_where_dify_is(scene: Scene) -> None:
    app = published(scene)
    scene.dify.world.point(app, app.versions[1])  # older than the newest: moved in Dify's database
    scene.capture()
    held, channel = scene.history(app), scene.channel(app)
    assert (channel.version, channel.generation) == (held[1].id, 1)
    assert (scene.app(app).live, scene.app(app).live_id) == (held[1].id, app.versions[1].id)
    with scene.store.read() as tx:
        moves = channels.moves(tx, workflows.by_pk(tx, scene.app(app).workflow_pk))
    assert [(one.kind, one.actor, one.to_id) for one in moves] == [("adopt", "alice", held[1].id)]
    scene.dify.world.somebody_publishes(app)
    scene.capture()
    assert scene.channel(app).generation == 1  # what should be live is nobody's but ours
    assert scene.app(app).live_id == app.versions[0].id


def test_a_second_capture_asks_for_little_and_makes_nothing_new(scene: Scene) -> None:
    several = [published(scene, f"app {number}") for number in range(5)]
    scene.capture()
    before = [scene.history(app) for app in several]
    scene.asked()
    assert scene.capture() == []
    assert scene.asked() == ["GET /console/api/apps"]
    scene.dify.world.editor_saves(several[2], graph("new"))
    scene.dify.world.somebody_publishes(several[2])
    assert [one.versions for one in scene.capture()] == [1]
    assert scene.asked() == ["GET /console/api/apps", f"GET /console/api/apps/{several[2].id}/workflows"]
    assert [len(scene.history(app)) - len(old) for app, old in zip(several, before, strict=True)] == [0, 0, 1, 0, 0]
    assert [one.versions for one in scene.capture(everything=True)] == [0] * 5


def test_content_that_comes_again_is_a_placement_and_no_version(scene: Scene) -> None:
    app = published(scene, times=2)
    scene.dify.world.somebody_publishes(app, "again")
    scene.dify.world.editor_saves(app, graph("name_0"))
    scene.dify.world.somebody_publishes(app, "back to the first")
    (outcome,) = scene.capture()
    assert (outcome.versions, outcome.again) == (2, 2)
    first, second = scene.history(app)
    assert [one.version for one in scene.placed(app)] == [first.id, second.id, second.id, first.id]
    assert scene.channel(app).version == first.id
    scene.dify.world.somebody_publishes(app, "once more")
    assert [(one.versions, one.again) for one in scene.capture()] == [(0, 1)]


def test_more_than_a_page_of_versions(scene: Scene) -> None:
    app = published(scene, times=230)
    assert [one.versions for one in scene.capture()] == [230]
    held = scene.history(app)
    assert [one.note.partition(":")[0] for one in held] == [f"v{number}" for number in range(230)]
    for number in range(7):
        scene.dify.world.editor_saves(app, graph(f"more_{number}"))
        scene.dify.world.somebody_publishes(app, f"more {number}")
    assert [one.versions for one in scene.capture()] == [7]
    assert [one.note for one in scene.history(app)[230:]] == [f"more {number}" for number in range(7)]


def test_secrets_are_sealed_and_stand_nowhere_else(scene: Scene) -> None:
    plain = ("s3cr3t-value-one", "s3cr3t-value-two", "s3cr3t-of-the-draft")
    app = scene.dify.world.add_app("secret")
    for value in plain[:2]:
        scene.dify.world.editor_saves(app, environment=[secret("KEY", value)])
        scene.dify.world.somebody_publishes(app)
    scene.dify.world.editor_saves(app, environment=[secret("KEY", plain[2])])
    token = scene.dify.world.add_key(app)
    (outcome,) = scene.capture()
    assert (outcome.versions, outcome.secrets_missing, outcome.problems) == (2, (), ())
    held = scene.history(app)
    with scene.store.read() as tx:
        assert [versions.secrets_of(tx, one) for one in held] == [{"KEY": plain[0]}, {"KEY": plain[1]}]
        (kept,) = drafts.listing(tx, workflows.by_pk(tx, scene.app(app).workflow_pk))
        assert drafts.secrets_of(tx, kept) == {"KEY": plain[2]}
        assert drafts.document_of(tx, kept).environment_variables[0]["value"] == ""
        assert drafts.secrets_changed(tx, kept, held[1]) == {"KEY"}
    assert not any(value in repr(outcome) for value in plain)
    stored = everything_stored(scene)
    for value in (*plain, token, app.site["code"]):
        assert value.encode() not in stored and value not in repr(stored)


def everything_stored(scene: Scene) -> bytes:
    """All that the store holds, as bytes."""
    from sqlalchemy import select

    from lastgood.db import tables

    if not scene.store.postgres:
        files = [scene.store.settings.home / name for name in ("lastgood.db", "lastgood.db-wal")]
        return b"".join(file.read_bytes() for file in files if file.exists())
    with scene.store.read() as tx:
        rows = [list(tx.connection.execute(select(table))) for table in tables.metadata.sorted_tables]
    return repr(rows).encode()


def test_secrets_that_may_not_be_read_stay_missing_and_masks_are_never_stored(scene: Scene) -> None:
    app = scene.dify.world.add_app("secret")
    for value in ("one", "two"):
        scene.dify.world.editor_saves(app, environment=[secret("KEY", value)])
        scene.dify.world.somebody_publishes(app)
    denied = {"code": "forbidden", "message": "You don't have the permission.", "status": 403}
    scene.dify.faults.fail("GET /export", 403, denied, times=100)
    (outcome,) = scene.capture()
    assert outcome.secrets_missing == ("KEY",) and not outcome.failed
    assert any("does not let this account" in problem for problem in outcome.problems)
    assert len([one for one in scene.asked() if one.endswith("/export")]) == 1  # a refusal is not asked for again
    with scene.store.read() as tx:
        # Nothing but the secret's value tells them apart, and that is not known.
        (version,) = scene.history(app)
        assert versions.secrets_of(tx, version) == {}
        assert MASK not in json.dumps(versions.document_of(tx, version).data)
    assert [one.version for one in scene.placed(app)] == [version.id] * 2


def test_a_server_that_breaks_off_in_the_middle_loses_nothing(scene: Scene) -> None:
    several = [published(scene, f"app {number}", 4) for number in range(4)]
    scene.dify.faults.fail("GET /workflows", 500, nth=2, times=1)
    outcome = scene.capture()
    assert [one.failed for one in outcome].count(True) == 1
    scene.dify.faults.clear()
    scene.dify.faults.drop("GET /workflows", times=1000, took_effect=False)
    assert [one.failed for one in scene.capture()] == [True]  # it may be this app that is too much for it
    with pytest.raises(DifyUnreachable):
        scene.capture(everything=True)  # several are the server
    scene.dify.faults.clear()
    assert [one.failed for one in scene.capture()] == [False]
    assert [len(scene.history(app)) for app in several] == [4] * 4
    assert [scene.channel(app).generation for app in several] == [1] * 4


def test_names_in_chinese_and_names_that_are_taken(scene: Scene) -> None:
    names = ("发票处理", "发票处理", "Invoice", "invoice!", "Ünïcode")
    several = [published(scene, name, 1) for name in names]
    scene.capture()
    slugs = [scene.app(app).slug for app in several]
    short = [app.id.replace("-", "")[:8] for app in several]
    assert len(set(slugs)) == 5
    assert slugs[0] == f"app-{short[0]}" and slugs[1] == f"app-{short[1]}" and slugs[4] == f"app-{short[4]}"
    assert sorted(slugs[2:4]) in (
        sorted(["invoice", f"invoice-{short[3]}"]),
        sorted(["invoice", f"invoice-{short[2]}"]),
    )
    with scene.store.read() as tx:
        assert workflows.find(tx, slugs[0]).name == "发票处理"
    several[0].name, several[0].updated_at = "Bills", several[0].updated_at + 5
    scene.capture()
    assert (scene.app(several[0]).slug, scene.app(several[0]).name) == (slugs[0], "Bills")
    scene.dify.world.somebody_publishes(several[0])
    assert [(one.versions, one.again) for one in scene.capture()] == [(0, 1)]  # a new name is no new content


def test_a_broken_graph_is_kept_with_its_findings(scene: Scene) -> None:
    broken = graph("x")
    broken["edges"].append({**broken["edges"][0], "id": "e2", "target": "nowhere"})
    app = scene.dify.world.add_app("broken", graph=broken)
    scene.dify.world.somebody_publishes(app)
    (outcome,) = scene.capture()
    assert outcome.versions == 1 and not outcome.failed
    (version,) = scene.history(app)
    with scene.store.read() as tx:
        (piece,) = versions.evidence_of(tx, version)
    assert (piece["kind"], piece["verdict"]) == ("capture", "broken")
    assert "nowhere" in piece["detail"]["findings"][0]["sentence"]


def test_apps_without_versions_are_left_out_and_those_without_a_publish_keep_their_draft(scene: Scene) -> None:
    world = scene.dify.world
    world.add_app("assistant", mode="chat")
    app = world.add_app("not yet")
    (outcome,) = scene.capture()
    assert (outcome.name, outcome.versions, outcome.draft) == ("not yet", 0, True)
    assert scene.channel(app).version is None and scene.history(app) == []
    scene.asked()
    assert scene.capture() == [] and len(scene.asked()) == 1
    world.somebody_publishes(app)
    scene.capture()
    assert scene.channel(app).version == scene.history(app)[0].id


def test_an_app_that_is_deleted_meanwhile_hinders_no_other(scene: Scene) -> None:
    app, other = published(scene, "gone"), published(scene, "stays")
    scene.dify.faults.before("GET /workflows", lambda: scene.dify.world.apps.pop(app.id, None), times=1)
    outcome = {one.name: one for one in scene.capture()}
    assert "it is gone" in outcome["gone"].problems[0] and not outcome["gone"].failed
    assert len(scene.history(other)) == 3


def test_a_chatflow(scene: Scene) -> None:
    app = scene.dify.world.add_app("talk", mode="advanced-chat", graph=chat("You said {{#sys.query#}}"))
    scene.dify.world.editor_saves(
        app, conversation=[{"id": "c1", "name": "seen", "value_type": "string", "value": ""}]
    )
    scene.dify.world.somebody_publishes(app)
    (outcome,) = scene.capture()
    assert (outcome.versions, outcome.problems) == (1, ())
    with scene.store.read() as tx:
        document = versions.document_of(tx, scene.history(app)[0])
    assert document.mode == "advanced-chat" and document.conversation_variables[0]["name"] == "seen"


def test_the_document_means_what_an_export_of_it_means(scene: Scene) -> None:
    app = scene.dify.world.add_app("secret", graph=graph("x", trigger="webhook"))
    scene.dify.world.editor_saves(app, environment=[secret("KEY", "s3cr3t-A")])
    row = scene.dify.world.somebody_publishes(app)
    told = scene.client.console.published(app.id)
    assert told is not None
    export = scene.client.console.export(app.id, version=row.id, secrets=True)
    document = document_of(app, told, secrets_of(export))
    assert dsl.semantic_digest(document) == dsl.semantic_digest(dsl.parse(export))
    assert dsl.take_secrets(document)[1] == {"KEY": "s3cr3t-A"}
    assert dsl.take_secrets(document_of(app, told))[1] == {}
    assert document_of(app, told).environment_variables[0]["value"] == ""


def test_what_is_around_an_app(scene: Scene) -> None:
    world = scene.dify.world
    app = world.add_app("hooked", graph=graph("x", trigger="webhook"))
    world.somebody_publishes(app)
    token = world.add_key(app)
    scene.capture()
    held = scene.app(app)
    with scene.store.read() as tx:
        parts = {part.kind: part for part in integrations.listing(tx, held)}
        url = integrations.secret_of(tx, held, parts["webhook"])
    assert url == app.webhooks["start"]["webhook_url"]
    assert {"switches", "site", "api-key", "trigger", "webhook"} <= parts.keys()
    assert parts["trigger"].state["status"] == "enabled"
    assert parts["api-key"].state["prefix"] == token[:8]
    assert not any(url in json.dumps(part.public()) or token in json.dumps(part.public()) for part in parts.values())
    assert scene.events("integration.changed") == []


def test_clients_keys_open_the_channel_until_dify_has_them_no_more(scene: Scene) -> None:
    from lastgood.history import keys, routes

    app = published(scene, times=1)
    token = scene.dify.world.add_key(app)
    scene.capture()
    with scene.store.read() as tx:
        assert keys.workflow_of(tx, token) == scene.app(app).workflow_id
        changes = routes.read_changes(tx.connection, 0)
    route = changes.keys[routes.key_hash(scene.store.ring.lookup_key, token)]
    assert route is not None
    assert (route.app, route.placement_id, route.upstreams) == (app.id, app.versions[0].id, (scene.dify.url,))
    app.keys.clear()
    other = scene.dify.world.add_key(app)
    found = scene.look()
    assert found.changes == 2
    assert {(one["name"] == app.keys[0]["id"], one["change"]) for one in scene.events("integration.changed")} == {
        (True, "new"), (False, "gone"),
    }  # fmt: skip
    with scene.store.read() as tx:
        assert keys.workflow_of(tx, token) is None
        assert keys.workflow_of(tx, other) == scene.app(app).workflow_id


def test_a_workflow_bound_before_takes_the_app_on_its_channel(scene: Scene) -> None:
    from lastgood.history import apps

    live, other = published(scene, "Invoice"), published(scene, "Invoice (staging)", 2)

    def bind(tx: Any) -> None:
        workflow = workflows.create(tx, WHO, "prod-invoice", name="Invoice", mode="workflow", target=SERVER)
        for app, channel in ((live, "live"), (other, "staging")):
            apps.bind(tx, WHO, workflow, channel, target=SERVER, app=app.id, name=app.name, mode=app.mode)

    scene.store.write(bind)
    scene.capture()
    with scene.store.read() as tx:
        assert [one.slug for one in workflows.listing(tx)] == ["prod-invoice"]
    assert len(scene.history(live)) == 3  # both have the first two
    assert scene.channel(other).version == scene.history(live)[1].id
    assert scene.channel(live).version == scene.history(live)[2].id
