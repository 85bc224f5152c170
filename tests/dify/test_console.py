"""The client on a fake of each version: what it reads and writes, and where the versions differ."""

from uuid import uuid4

import pytest

from dify_server import FakeDify
from dify_server.graphs import chat
from dify_server.world import ADMIN_KEY, TOKEN, FakeApp, graph
from lastgood.errors import (
    DifyDraftChanged,
    DifyFailed,
    DifyLacks,
    DifyMissing,
    DifyRefused,
    InvalidRequest,
    MaskNotStored,
)
from lastgood.targets.dify import KEEP, MASK, AdminKey, Bearer, Client
from lastgood.targets.dify.forms import Workflow

from .conftest import Connect, admin

SECRET = {"id": "e1", "name": "KEY", "value_type": "secret", "value": "real-value", "description": ""}


def write(client: Client, app: FakeApp, draft: Workflow, value: str, **change: object) -> str:
    """Write `draft` back with `value` as its secret; gives the new hash."""
    return client.console.sync_draft(
        app.id,
        graph=draft.graph,
        features={**draft.features, **change},
        hash=draft.hash,
        environment_variables=[{**SECRET, "value": value}],
        conversation_variables=draft.conversation_variables,
    ).hash


def stored(app: FakeApp) -> object:
    assert app.draft
    return app.draft.environment_variables[0]["value"]


def test_who_and_where(dify: FakeDify, client_of: Connect) -> None:
    client = client_of(dify)
    assert client.console.account().email == "owner@example.com"
    assert client.console.workspace().role == "owner"
    assert [one.id for one in client.console.workspaces()] == [dify.world.workspace_id]


def test_an_admin_key_signs_in_nowhere(dify: FakeDify, client_of: Connect) -> None:
    app = dify.world.add_app("a")
    client = client_of(dify, admin(dify))
    client.console.publish(app.id, name="v1")
    assert client.console.account().name == "Owner"
    assert dify.asked("/console/api/login") == 0


def test_every_app_and_version_is_given_once_over_pages(dify: FakeDify, client_of: Connect) -> None:
    made = [dify.world.add_app(f"app {number}") for number in range(230)]
    client = client_of(dify)
    assert [app.id for app in client.console.every_app()] == [app.id for app in reversed(made)]
    for number in range(7):
        dify.world.publish(made[0], f"v{number}")
    listed = client.console.versions(made[0].id, limit=3)
    assert [one.is_draft for one in listed.items] == [True, False, False]
    found = list(client.console.every_version(made[0].id, limit=3))
    assert [one.marked_name for one in found] == [f"v{number}" for number in reversed(range(7))]
    assert all(one.published_at and one.created_by and one.created_by.name == "Owner" for one in found)


def test_a_page_that_promises_more_and_is_empty_ends_the_list(older: FakeDify, client_of: Connect) -> None:
    from dify_server import Answer

    def endless(request: object) -> Answer | None:
        return Answer(200, {"page": 1, "has_more": True, "data": []}) if request.path.endswith("/apps") else None  # type: ignore[attr-defined]  # the hook's Request

    older.hook = endless
    assert list(client_of(older).console.every_app()) == []


def test_what_a_newer_server_adds_is_kept(older: FakeDify, client_of: Connect) -> None:
    from dify_server import Answer

    app = older.world.add_app("a")
    detail = {"id": app.id, "name": "a", "mode": "agent-of-tomorrow", "novelty": {"x": 1}}
    older.hook = lambda request: Answer(200, detail) if request.path.endswith(app.id) else None
    read = client_of(older).console.app(app.id)
    assert read.mode == "agent-of-tomorrow"
    assert not read.has_versions
    assert read.raw["novelty"] == {"x": 1}


def test_before_the_first_publish_nothing_is_live(dify: FakeDify, client_of: Connect) -> None:
    app = dify.world.add_app("a")
    client = client_of(dify)
    assert client.console.published(app.id) is None
    assert list(client.console.every_version(app.id)) == []


def test_publish_tells_no_id_so_what_is_live_is_read(dify: FakeDify, client_of: Connect) -> None:
    app = dify.world.add_app("a")
    client = client_of(dify)
    client.console.publish(app.id, name="v1", comment="first")
    live = client.console.published(app.id)
    assert live is not None
    assert (live.marked_name, live.marked_comment, live.hash) == ("v1", "first", dify.world.hash(app.versions[0]))
    with pytest.raises(InvalidRequest, match="at most 20"):
        client.console.publish(app.id, name="x" * 21)
    assert len(app.versions) == 1


def test_a_draft_changed_meanwhile_is_not_overwritten(dify: FakeDify, client_of: Connect) -> None:
    app = dify.world.add_app("a")
    client = client_of(dify)
    draft = client.console.draft(app.id)
    assert draft is not None
    app.draft.graph = graph("somebody else's")  # type: ignore[union-attr]  # add_app made it
    with pytest.raises(DifyDraftChanged, match="Read it again"):
        write(client, app, draft, "real-value")
    assert app.draft.graph == graph("somebody else's")  # type: ignore[union-attr]  # as above


def test_an_app_without_a_draft(older: FakeDify, client_of: Connect) -> None:
    app = older.world.add_app("a")
    app.draft = None
    client = client_of(older)
    assert client.console.draft(app.id) is None
    with pytest.raises(DifyMissing):
        client.console.draft(str(uuid4()))


def test_a_secret_is_kept_by_its_id_and_a_mask_is_never_sent(dify: FakeDify, client_of: Connect) -> None:
    app = dify.world.add_app("a")
    client = client_of(dify)
    draft = client.console.draft(app.id)
    assert draft is not None
    write(client, app, draft, "real-value")
    again = client.console.draft(app.id)
    assert again is not None
    assert again.environment_variables[0]["value"] == MASK
    asked = len(dify.requests)
    for mask in (MASK, "*" * 19, "sk-abc************yz"):
        with pytest.raises(MaskNotStored, match="asterisks"):
            write(client, app, again, mask)
    assert len(dify.requests) == asked
    write(client, app, again, KEEP)
    assert stored(app) == "real-value"
    assert "real-value" not in client.console.export(app.id)
    assert "real-value" in client.console.export(app.id, secrets=True)


def test_restore_brings_secrets_back_or_is_lacking(dify: FakeDify, client_of: Connect) -> None:
    app = dify.world.add_app("a")
    client = client_of(dify)
    draft = client.console.draft(app.id)
    assert draft is not None
    write(client, app, draft, "real-value")
    client.console.publish(app.id, name="v1")
    live, again = client.console.published(app.id), client.console.draft(app.id)
    assert live is not None
    assert again is not None
    write(client, app, again, "other")
    if dify.world.newer:
        assert client.console.restore(app.id, live.id).hash == live.hash
        assert stored(app) == "real-value"
        with pytest.raises(DifyMissing):
            client.console.restore(app.id, str(uuid4()))
        with pytest.raises(DifyRefused, match="must be published"):
            client.console.restore(app.id, again.id)
    else:
        with pytest.raises(DifyLacks, match="no such route"):
            client.console.restore(app.id, live.id)
        assert stored(app) == "other"


def test_an_unknown_version_to_export(dify: FakeDify, client_of: Connect) -> None:
    app = dify.world.add_app("a")
    with pytest.raises(DifyFailed if dify.world.newer else DifyMissing):
        client_of(dify).console.export(app.id, version=str(uuid4()))


@pytest.mark.parametrize("wrong", ["abc", "../../login", "", "draft", "2026-11-23 17:26:44.278179"])
def test_what_is_no_id_is_not_sent(older: FakeDify, client_of: Connect, wrong: str) -> None:
    client = client_of(older)
    with pytest.raises(InvalidRequest):
        client.console.app(wrong)
    with pytest.raises(InvalidRequest):
        client.console.restore(str(uuid4()), wrong)
    assert older.requests == []


def test_import_makes_an_app_and_tells_why_not(dify: FakeDify, client_of: Connect) -> None:
    app = dify.world.add_app("a")
    client = client_of(dify)
    made = client.console.import_document(client.console.export(app.id))
    assert made.status == "completed"
    assert dify.world.apps[made.app_id].draft
    failed = client.console.import_document("just text")
    assert (failed.status, failed.app_id) == ("failed", "")
    assert failed.error


def test_a_trigger_is_switched_whatever_the_answer_says(dify: FakeDify, client_of: Connect) -> None:
    app = dify.world.add_app("a")
    app.draft.graph = graph("x", trigger="webhook")  # type: ignore[union-attr]  # add_app made it
    dify.world.publish(app)
    client = client_of(dify)
    trigger = client.integration.triggers(app.id)[0]
    assert (trigger.kind, trigger.enabled) == ("trigger-webhook", True)
    assert not client.integration.enable_trigger(app.id, trigger.id, enabled=False).enabled
    hook = client.integration.webhook(app.id, "start")
    assert hook is not None
    assert "/triggers/webhook/" in hook.url
    assert hook.url not in repr(hook)
    assert client.integration.webhook(app.id, "end") is None


def test_what_belongs_to_no_version(dify: FakeDify, client_of: Connect) -> None:
    app = dify.world.add_app("a")
    client = client_of(dify)
    assert client.integration.tool(app.id) is None
    assert client.integration.mcp_server(app.id) is None
    with pytest.raises(DifyMissing):
        client.integration.mcp_server(str(uuid4()))
    app.tool = {"workflow_tool_id": "t", "workflow_app_id": app.id, "name": "n", "label": "l", "synced": False}
    app.mcp = {"id": "m", "name": "n", "server_code": "code-of-mcp", "status": "active"}
    app.keys.append({"id": "k", "type": "app", "token": "app-abcdefghijkl", "created_at": 1})
    tool, server, keys = client.integration.tool(app.id), client.integration.mcp_server(app.id), None
    assert tool is not None
    assert tool.synced is False
    client.integration.update_tool({"workflow_tool_id": "t"})
    assert app.tool["synced"] is True
    assert [one.app_id for one in client.integration.tools()] == [app.id]
    assert server is not None
    assert server.code == "code-of-mcp"
    keys = client.integration.api_keys(app.id)
    assert keys[0].prefix == "app-abcd"
    shown = repr(keys) + repr(server) + repr(client.console.app(app.id))
    assert not any(secret in shown for secret in ("app-abcdefghijkl", "code-of-mcp", "site-code"))


def test_who_is_editing(dify: FakeDify, client_of: Connect) -> None:
    app = dify.world.add_app("a")
    client = client_of(dify)
    if dify.world.newer:
        assert client.integration.editors([app.id]) == {app.id: ()}
    else:
        with pytest.raises(DifyLacks):
            client.integration.editors([app.id])


def test_runs_tell_their_version_and_what_started_them(dify: FakeDify, client_of: Connect) -> None:
    app = dify.world.add_app("a")
    row = dify.world.publish(app)
    dify.world.record(app, row)
    dify.world.record(app, row, "webhook")
    client = client_of(dify)
    logged = client.runs.logs(app.id)
    assert [entry.run.triggered_from for entry in logged.items] == ["webhook", "app-run"]
    assert {entry.run.version for entry in logged.items} == {row.version}
    assert logged.total == 2
    assert [run.version for run in client.runs.runs(app.id).items] == [row.version]
    with pytest.raises(DifyRefused):
        client.runs.runs(app.id, triggered_from="webhook")


def test_the_service_api_of_an_app(dify: FakeDify, client_of: Connect) -> None:
    app = dify.world.add_app("a")
    first = dify.world.publish(app)
    app.draft.graph = graph("renamed")  # type: ignore[union-attr]  # add_app made it
    second = dify.world.publish(app)
    app.keys.append({"id": "k", "token": "app-key-1"})
    service = client_of(dify).service("app-key-1")
    assert service.info().name == "a"
    assert service.parameters().inputs[0]["variable"] == "name"
    done = service.run({"name": "bob"}, "u")
    assert (done.workflow_id, done.status, dict(done.outputs)) == (second.id, "succeeded", {"renamed": "bob"})
    assert service.run({"name": "bob"}, "u", version=first.id).workflow_id == first.id
    with pytest.raises(DifyRefused, match="name is required"):
        service.run({}, "u")
    with pytest.raises(DifyMissing):
        service.run({"name": "x"}, "u", version=str(uuid4()))
    with pytest.raises(InvalidRequest):
        service.run({"name": "x"}, "u", version="../run")


def test_a_message_to_a_chatflow(dify: FakeDify, client_of: Connect) -> None:
    app = dify.world.add_app("talk", mode="advanced-chat", graph=chat("A {{#sys.query#}}"))
    row = dify.world.publish(app)
    answered = client_of(dify).service(dify.world.add_key(app)).chat("hello", "u")
    assert answered.answer == "A hello"
    assert answered.run is not None
    assert answered.run.workflow_id == row.id
    assert answered.conversation_id


def test_the_routes_for_tools(newer: FakeDify, client_of: Connect) -> None:
    app = newer.world.add_app("a")
    client = client_of(newer, Bearer(TOKEN))
    space = client.openapi.workspaces()[0]
    assert [one.id for one in client.openapi.apps(space.id).items] == [app.id]
    assert "graph" in client.openapi.export(app.id)
    with pytest.raises(DifyFailed):
        client_of(newer, Bearer("dfoa_unknown")).openapi.workspaces()


def test_a_key_of_another_workspace_is_refused_once(older: FakeDify, client_of: Connect) -> None:
    from lastgood.errors import DifySignInRefused

    client = client_of(older, AdminKey(ADMIN_KEY, str(uuid4())))
    for _ in range(3):
        with pytest.raises(DifySignInRefused, match="Invalid token"):
            client.console.account()
    assert len(older.requests) == 1
