"""Whatever starts a run in Dify, past the gateway too, is evidence; and changes of what is around an app are told."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dify.asking import Client
from dify_server import FakeDify
from dify_server.graphs import chat, graph
from dify_server.rows import FakeApp
from lastgood.history import integrations, served
from lastgood.targets.dify import logs

from .capturing import Scene

# Both versions and both stores, not all four ways to put them together.
pytestmark = pytest.mark.parametrize(
    ("dify", "settings"), [("1.13.0", "sqlite"), ("1.14.2", "postgres")], indirect=True
)


@pytest.fixture
def client(dify: FakeDify) -> Iterator[Any]:
    """Makes clients of apps."""
    made: list[Client] = []

    def of(app: FakeApp) -> Client:
        made.append(Client(dify, app))
        return made[-1]

    yield of
    for one in made:
        one.http.close()


def origins(scene: Scene, app: FakeApp) -> dict[str, tuple[int, int]]:
    with scene.store.read() as tx:
        return {
            origin: runs for version in scene.history(app) for origin, runs in served.by_origin(tx, version).items()
        }


def test_runs_of_the_api_the_web_app_webhooks_and_mcp(scene: Scene, client: Any) -> None:
    world = scene.dify.world
    app, hooked = world.add_app("plain"), world.add_app("hooked", graph=graph("x", trigger="webhook"))
    for one in (app, hooked):
        world.somebody_publishes(one)
    asked = client(app)
    asked.run()
    sent = {"inputs": {"name": "n"}, "response_mode": "streaming"}
    asked.http.post("/api/workflows/run", json=sent, headers={"X-App-Code": app.site["code"]}).read()
    asked.console("POST", "/workflows/draft/run", {"inputs": {"name": "n"}})  # an editor's try is no evidence
    code = asked.console("POST", "/server", {"description": "d", "parameters": {}}).json()["server_code"]
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "plain", "arguments": {"name": "n"}},
    }
    asked.http.post(f"/mcp/server/{code}/mcp", json=call)
    asked.http.post(hooked.webhooks["start"]["webhook_url"], json={"name": "n"})
    scene.capture()
    assert origins(scene, app) == {"service-api": (2, 0), "web-app": (1, 0)}
    assert origins(scene, hooked) == {"webhook": (1, 0)}
    asked.run()
    scene.look()
    scene.look()
    assert origins(scene, app)["service-api"] == (3, 0), "each is counted once"


@pytest.mark.parametrize("missing", ["", "/advanced-chat/workflow-runs", "/workflow-runs"])
def test_runs_of_a_chatflow_by_the_route_that_the_server_has(scene: Scene, client: Any, missing: str) -> None:
    world = scene.dify.world
    app = world.add_app("talk", mode="advanced-chat", graph=chat("You said {{#sys.query#}}"))
    world.somebody_publishes(app)
    asked = client(app)
    list(asked.events("/v1/chat-messages", query="hi"))
    sent = {"inputs": {}, "query": "hi", "response_mode": "streaming"}
    asked.http.post("/api/chat-messages", json=sent, headers={"X-App-Code": app.site["code"]}).read()
    if missing:
        gone = {"code": "app_not_found", "message": "App not found", "status": 404}
        exact = f"/console/api/apps/{app.id}{missing}"
        scene.dify.faults.fail(lambda request: request.path == exact, 404, gone, times=100)
    scene.capture()
    assert origins(scene, app) == {"app-run": (2, 0)}
    assert logs.read(scene.source, app.id) == []
    assert origins(scene, app) == {"app-run": (2, 0)}


def test_mcp_server_and_workflow_tool_are_kept_without_their_secrets_and_changes_are_told(
    scene: Scene, client: Any
) -> None:
    world = scene.dify.world
    app = world.add_app("sub", graph=graph("x"))
    world.somebody_publishes(app)
    asked = client(app)
    code = asked.console("POST", "/server", {"description": "d", "parameters": {"name": "who"}}).json()["server_code"]
    body = {
        "workflow_app_id": app.id, "name": "sub", "label": "Sub", "description": "d", "labels": [],
        "parameters": [{"name": "name", "description": "who", "form": "llm"}],
        "icon": {"content": "x", "background": "#fff"}, "privacy_policy": "",
    }  # fmt: skip
    path = "/console/api/workspaces/current/tool-provider/workflow"
    assert asked.console("POST", f"{path}/create", body).status_code < 300
    scene.capture()

    def parts() -> dict[str, integrations.Part]:
        with scene.store.read() as tx:
            return {part.kind: part for part in integrations.listing(tx, scene.app(app))}

    held = parts()
    assert held["mcp"].state == {"name": "sub", "status": "active", "description": "d", "parameters": {"name": "who"}}
    assert (held["tool"].state["synced"], held["tool"].state["description"]) == (True, "d")
    assert code not in json.dumps([part.public() for part in held.values()])
    with scene.store.read() as tx:
        assert integrations.secret_of(tx, scene.app(app), held["mcp"]) == code
    assert scene.events("integration.changed") == []

    assert app.mcp is not None
    app.mcp |= {"status": "inactive", "parameters": {"name": "whom", "city": ""}}
    world.editor_saves(app, graph("other"))
    world.somebody_publishes(app)  # the tool stays on what it was made of
    scene.look()
    told = {one["integration"]: (one["change"], one["fields"]) for one in scene.events("integration.changed")}
    assert told["mcp"] == ("changed", ["parameters", "status"])
    assert told["tool"] == ("changed", ["synced"])
    app.mcp["server_code"] = "another-code"
    app.tool = None
    scene.look()
    last = {one["integration"]: (one["change"], one["fields"]) for one in scene.events("integration.changed")[-2:]}
    assert last == {"mcp": ("changed", ["secret"]), "tool": ("gone", [])}
