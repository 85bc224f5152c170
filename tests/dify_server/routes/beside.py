"""What belongs to no version: triggers and webhooks, workflow tools, the MCP server."""

import json
from typing import Any
from uuid import uuid4

from dify_server.calls import Call, Later, route
from dify_server.refusals import Refuse, did_you_mean, invalid, page, refuse
from dify_server.routes.service import entered
from dify_server.rows import FakeApp, Row
from dify_server.running import Machine

HERE = "/console/api/apps/<app>"
TOOLS = "/console/api/workspaces/current"
LANGUAGES = ("en_US", "zh_Hans", "pt_BR", "ja_JP")


@route("GET", f"{HERE}/triggers")
def triggers(call: Call) -> Any:
    return {"data": call.app.triggers}


@route("POST", f"{HERE}/trigger-enable")
def trigger_enable(call: Call) -> Any:
    """1.14.2 does it and answers 400."""
    call.editor()
    found = next((one for one in call.app.triggers if one["id"] == call.body["trigger_id"]), None)
    if found is None:
        raise refuse(404, "not_found", "Trigger not found")
    found["status"] = "enabled" if call.body["enable_trigger"] else "disabled"
    if call.world.newer:
        told = "Error extracting attribute: DetachedInstanceError"
        raise invalid("WorkflowTriggerResponse", "updated_at", told, "get_attribute_error", found, True)
    return found


@route("GET", f"{HERE}/workflows/triggers/webhook")
def webhook(call: Call) -> Any:
    found = call.app.webhooks.get(call.request.query.get("node_id", ""))
    if found is None:
        more = did_you_mean(call.request.path, "/console/api/apps/<uuid:app_id>/workflows/triggers/webhook")
        raise refuse(404, "not_found", f"Webhook trigger not found for this node.{more}")
    return found


@route("POST", "/triggers/webhook/<id>", "open")
def hook(call: Call) -> Any:
    """Runs the newest version, wherever the app's pointer stands."""
    code, world = call.parts["id"], call.world
    found = [
        (app, name) for app in world.apps.values() for name, one in app.webhooks.items() if one["webhook_id"] == code
    ]
    if not found:
        raise Refuse(404, page(text=f"Webhook not found: {code}"))
    app, name = found[0]
    trigger = next((one for one in app.triggers if one["node_id"] == name), None)
    if trigger is None:
        raise Refuse(404, page(text=f"App trigger not found for webhook {code}"))
    if trigger["status"] != "enabled":
        raise Refuse(404, page(text=f"Webhook trigger is disabled for webhook {code}"))
    row = app.versions[0]
    data = next(one["data"] for one in row.graph["nodes"] if one["id"] == name)
    inputs = {**call.body, "webhook_body": call.body}
    run = world.begin(app, row, inputs, "DEFAULT-USER", triggered_from="webhook", user_kind="trigger")
    for _ in Machine(world, run).steps():
        pass
    call.status = data.get("status_code", 200)
    if not data.get("response_body"):
        return {"status": "success", "message": "Webhook processed successfully"}
    try:
        return json.loads(data["response_body"])
    except ValueError:
        return {"message": data["response_body"]}


# workflow tools


def _spoken(text: str) -> dict[str, str]:
    return dict.fromkeys(LANGUAGES, text)


def _bound(app: FakeApp) -> Row | None:
    version = (app.tool or {}).get("version")
    return next((one for one in app.versions if one.version == version), None)


def _outputs(app: FakeApp) -> dict[str, Any]:
    row = _bound(app)
    end = row.node("end") if row else None
    names = {
        one["variable"]: {"type": one.get("value_type", "string"), "description": ""}
        for one in (end["data"].get("outputs") or [] if end else [])
    }
    return {"type": "object", "properties": names}


def _parameter(one: dict[str, Any], whole: bool) -> dict[str, Any]:
    made = {
        "name": one["name"], "label": _spoken(one["name"]), "placeholder": _spoken(""), "scope": None,
        "auto_generate": None, "template": None, "required": True, "default": None, "min": None, "max": None,
        "precision": None, "options": [], "type": "string", "human_description": _spoken(one["description"]),
        "form": one["form"], "llm_description": one["description"],
    }  # fmt: skip
    return {**made, "input_schema": None} if whole else made


def _inner(call: Call, app: FakeApp, whole: bool = True) -> dict[str, Any]:
    tool = app.tool or {}
    author = call.world.people.by_id(app.created_by)
    return {
        "author": author.name if author else "", "name": tool["name"], "label": _spoken(tool["label"]),
        "description": _spoken(tool.get("description", "")),
        "parameters": [_parameter(one, whole) for one in tool.get("parameters", [])], "labels": [],
        "output_schema": _outputs(app),
    }  # fmt: skip


def _tool_app(call: Call) -> FakeApp:
    query = call.request.query
    for app in call.world.apps.values():
        if (
            app.tool
            and app.tenant == call.workspace
            and (
                app.id == query.get("workflow_app_id")
                or app.tool["workflow_tool_id"] == query.get("workflow_tool_id")
            )
        ):
            return app
    raise refuse(400, "invalid_param", "Tool not found")


@route("GET", f"{TOOLS}/tool-provider/workflow/get")
def tool_get(call: Call) -> Any:
    app = _tool_app(call)
    tool = app.tool or {}
    return {
        "name": tool["name"], "label": tool["label"], "workflow_tool_id": tool["workflow_tool_id"],
        "workflow_app_id": app.id, "icon": tool.get("icon", {}), "description": tool.get("description", ""),
        "parameters": tool.get("parameters", []), "output_schema": _outputs(app), "tool": _inner(call, app),
        "synced": tool.get("synced", True), "privacy_policy": tool.get("privacy_policy", ""),
    }  # fmt: skip


@route("GET", f"{TOOLS}/tool-provider/workflow/tools")
def tool_list(call: Call) -> Any:
    return [_inner(call, _tool_app(call))]


@route("GET", f"{TOOLS}/tools/workflow")
@route("GET", f"{TOOLS}/tool-providers")
def tools(call: Call) -> Any:
    whole = call.request.path.endswith("/tools/workflow")
    found = []
    for app in call.world.apps.values():
        if not app.tool or app.tenant != call.workspace:
            continue
        author = call.world.people.by_id(app.created_by)
        one = {
            "id": app.tool["workflow_tool_id"], "author": author.name if author else "", "name": app.tool["label"],
            "plugin_id": None, "plugin_unique_identifier": None,
            "description": _spoken(app.tool.get("description", "")), "icon": app.tool.get("icon", {}),
            "icon_dark": "", "label": _spoken(app.tool["label"]), "type": "workflow", "team_credentials": {},
            "is_team_authorization": True, "allow_delete": True, "tools": [_inner(call, app, False)] if whole else [],
            "labels": [],
        }  # fmt: skip
        found.append({**one, "workflow_app_id": app.id} if whole else one)
    return found


@route("POST", f"{TOOLS}/tool-provider/workflow/create")
def tool_create(call: Call) -> Any:
    call.manager()
    body = call.body
    if not body["name"].replace("_", "").isalnum():
        told = f"Value error, {body['name']} is not a valid alphanumeric value"
        raise invalid("WorkflowToolCreatePayload", "name", told, "value_error", body["name"], call.world.newer)
    app = call.world.app(body["workflow_app_id"], call.workspace)
    if app.tool:
        told = f"Tool with name {body['name']} or app_id {app.id} already exists"
        raise refuse(400, "invalid_param", told)
    if app.live is None:
        raise refuse(400, "invalid_param", f"Workflow not found for app {app.id}")
    _bind(app, body, str(uuid4()))
    return {"result": "success"}


@route("POST", f"{TOOLS}/tool-provider/workflow/update")
def tool_update(call: Call) -> Any:
    """Binds a tool to what its app serves now."""
    call.manager()
    wanted = call.body["workflow_tool_id"]
    for app in call.world.apps.values():
        if app.tool and app.tool["workflow_tool_id"] == wanted and app.tenant == call.workspace:
            _bind(app, call.body, wanted)
            return {"result": "success"}
    raise refuse(400, "invalid_param", f"Tool {wanted} not found")


def _bind(app: FakeApp, body: dict[str, Any], tool_id: str) -> None:
    names = ("name", "label", "description", "icon", "parameters", "privacy_policy", "labels")
    kept = {name: body[name] for name in names if name in body}
    live = app.live
    app.tool = {
        **(app.tool or {}), **kept, "workflow_tool_id": tool_id, "workflow_app_id": app.id,
        "version": live.version if live else "", "synced": True,
    }  # fmt: skip


@route("POST", f"{TOOLS}/tool-provider/workflow/delete")
def tool_delete(call: Call) -> Any:
    call.manager()
    for app in call.world.apps.values():
        if app.tool and app.tool["workflow_tool_id"] == call.body["workflow_tool_id"]:
            app.tool = None
    return {"result": "success"}


# the MCP server


@route("GET", f"{HERE}/server")
def mcp(call: Call) -> Any:
    if call.app.mcp is None:
        raise refuse(404, "not_found", "Not found")
    return call.app.mcp


@route("POST", f"{HERE}/server")
def mcp_create(call: Call) -> Any:
    call.editor()
    moment = call.world.seconds()
    call.app.mcp = {
        "id": str(uuid4()), "name": call.app.name, "server_code": uuid4().hex[:16],
        "description": call.body.get("description") or call.app.description, "status": "active",
        "parameters": call.body.get("parameters", {}), "created_at": moment, "updated_at": moment,
    }  # fmt: skip
    call.status = 201 if call.world.newer else 200
    return call.app.mcp


@route("POST", "/mcp/server/<id>/mcp", "open")
def mcp_call(call: Call) -> Any:
    """Follows what the app serves."""
    found = [one for one in call.world.apps.values() if one.mcp and one.mcp["server_code"] == call.parts["id"]]
    if not found:
        raise refuse(404, "not_found", "Server Not Found")
    app, body = found[0], call.body
    config = app.mcp or {}
    head = {"jsonrpc": "2.0", "id": body.get("id")}
    if body.get("method") == "initialize":
        about = {
            "protocolVersion": "2024-11-05", "capabilities": {"tools": {"listChanged": False}},
            "serverInfo": {"name": "Dify", "version": call.world.version}, "instructions": config["description"],
        }  # fmt: skip
        return {**head, "result": about}
    live = app.live
    if live is None:
        return {**head, "error": {"code": -32600, "message": "App is unavailable"}}
    if body.get("method") == "tools/list":
        told = config["parameters"]
        names = {
            one["variable"]: {"description": told.get(one["variable"], ""), "type": "string"} for one in live.inputs
        }
        needed = [one["variable"] for one in live.inputs if one.get("required")]
        schema = {"type": "object", "properties": names, "required": needed}
        tool = {"name": app.name, "description": config["description"], "inputSchema": schema}
        return {**head, "result": {"tools": [tool]}}
    given = (body.get("params") or {}).get("arguments") or {}
    run = call.world.begin(app, live, given.get("inputs") or given, "mcp", created_from="service-api")
    release = entered(app)

    def result() -> dict[str, Any]:
        text = json.dumps(run.outputs, ensure_ascii=False)
        return {**head, "result": {"content": [{"type": "text", "text": text}], "isError": run.status != "succeeded"}}

    return Later((wait for wait, _ in Machine(call.world, run).steps()), result, release)
