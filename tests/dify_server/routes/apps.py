"""The console's routes of apps, their keys and their documents."""

from typing import Any
from uuid import uuid4

from dify_server import documents, shapes
from dify_server.calls import Call, cut, route
from dify_server.refusals import Refuse, did_you_mean, refuse
from dify_server.rows import FakeApp

HERE = "/console/api/apps/<app>"


@route("GET", "/console/api/apps")
def apps(call: Call) -> Any:
    if call.number("limit", 20) > 100:
        raise refuse(400, "invalid_param", "1 validation error for AppListQuery\nlimit")
    query, world = call.request.query, call.world
    found = [one for one in reversed(world.apps.values()) if one.tenant == call.workspace]
    if query.get("name"):
        found = [one for one in found if query["name"].lower() in one.name.lower()]
    if query.get("mode", "all") != "all":
        found = [one for one in found if one.mode == query["mode"]]
    answer = cut(call, "data", [lambda one=one: shapes.listed(world, one) for one in found])
    return {**answer, "total": len(found)}


@route("POST", "/console/api/apps")
def create(call: Call) -> Any:
    call.editor()
    app = call.world.new_app(call.body["name"], call.body["mode"], call.who, call.workspace)
    app.icon, app.icon_background = call.body.get("icon"), call.body.get("icon_background")
    call.status = 201
    return shapes.made(app, call.world.newer)


@route("GET", HERE)
def detail(call: Call) -> Any:
    return shapes.detail(call.world, call.app)


@route("PUT", HERE)
def change(call: Call) -> Any:
    call.editor()
    app, body = call.app, call.body
    app.name = body.get("name", app.name)
    app.description = body.get("description", app.description)
    app.icon, app.icon_background = body.get("icon", app.icon), body.get("icon_background", app.icon_background)
    app.max_active_requests = body.get("max_active_requests") or 0
    app.updated_by, app.updated_at = call.who.id, call.world.seconds()
    return shapes.detail(call.world, app)


@route("DELETE", HERE)
def delete(call: Call) -> Any:
    call.editor()
    del call.world.apps[call.app.id]
    call.status = 204


@route("POST", f"{HERE}/copy")
def copy(call: Call) -> Any:
    """Copies the draft alone."""
    call.editor()
    old, world = call.app, call.world
    made = world.new_app(call.body.get("name") or old.name, old.mode, call.who, call.workspace)
    made.icon, made.icon_background, made.description = old.icon, old.icon_background, old.description
    made.site.update(icon=old.icon, icon_background=old.icon_background)
    if old.draft:
        world.store(
            made, call.who, old.draft.graph, old.draft.features, old.draft.environment_variables,
            old.draft.conversation_variables, mask_kept=False,
        )  # fmt: skip
    call.status = 201
    return shapes.detail(world, made)


@route("POST", f"{HERE}/api-enable")
def api_enable(call: Call) -> Any:
    call.manager()
    call.app.enable_api = call.body["enable_api"]
    call.app.updated_by, call.app.updated_at = call.who.id, call.world.seconds()
    return shapes.made(call.app, call.world.newer)


@route("GET", f"{HERE}/export")
def export(call: Call) -> Any:
    call.editor()
    query = call.request.query
    secrets = query.get("include_secret") == "true"
    return {"data": documents.export(call.world, call.app, query.get("workflow_id", ""), secrets)}


@route("POST", "/console/api/apps/imports")
def imports(call: Call) -> Any:
    call.editor()
    call.status, body = documents.import_document(call.world, call.who, call.workspace, call.body)
    return body


@route("POST", "/console/api/apps/imports/<id>/confirm")
def confirm(call: Call) -> Any:
    call.editor()
    call.status, body = documents.confirm(call.world, call.parts["id"])
    return body


@route("GET", "/console/api/apps/imports/<id>/check-dependencies")
def dependencies(call: Call) -> Any:
    return {"leaked_dependencies": []}


def _keys(call: Call) -> FakeApp:
    """The app whose keys are asked for; this route's 404 has a shape of its own."""
    app = call.world.apps.get(call.parts["app"])
    if app is None or app.tenant != call.workspace:
        more = did_you_mean(call.request.path, "/console/api/apps/<uuid:resource_id>/api-keys")
        raise Refuse(404, {"message": f"App not found.{more}"})
    return app


@route("GET", f"{HERE}/api-keys")
def api_keys(call: Call) -> Any:
    return {"data": _keys(call).keys}


@route("POST", f"{HERE}/api-keys")
def new_key(call: Call) -> Any:
    app = _keys(call)
    call.editor()
    if len(app.keys) >= 10:
        told = "Cannot create more than 10 API keys for this resource type."
        raise Refuse(400, {"custom": "max_keys_exceeded", "message": told})
    key = {
        "id": str(uuid4()), "type": "app", "token": call.world.token("app"), "last_used_at": None,
        "created_at": call.world.seconds(),
    }  # fmt: skip
    app.keys.append(key)
    call.status = 201
    return key


@route("DELETE", f"{HERE}/api-keys/<id>")
def delete_key(call: Call) -> Any:
    app = _keys(call)
    call.manager()
    if not any(one["id"] == call.parts["id"] for one in app.keys):
        raise Refuse(404, {"message": "API key not found"})
    app.keys[:] = [one for one in app.keys if one["id"] != call.parts["id"]]
    call.status = 204
