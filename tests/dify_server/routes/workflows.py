"""The console's routes of drafts and versions."""

from typing import Any

from dify_server import shapes
from dify_server.calls import Call, cut, malformed, route
from dify_server.refusals import Refuse, did_you_mean, forbidden, invalid, refuse
from dify_server.routes.service import start
from dify_server.rows import FakeApp, Row, clone, shown

MODES = ("workflow", "advanced-chat")
HERE = "/console/api/apps/<app>/workflows"
_ALIKE = {
    "/draft": ("draft", "draft/run", "~/console/api/apps/<uuid:app_id>/advanced-chat/workflows/draft/run"),
    "/publish": ("publish", "~/console/api/rag/pipelines/<uuid:pipeline_id>/workflows/publish"),
    "": ("",),
    "/draft/conversation-variables": (
        "draft/conversation-variables",
        "~/console/api/snippets/<uuid:snippet_id>/workflows/draft/conversation-variables",
        "draft/environment-variables",
    ),
}  # fmt: skip


def _alike(call: Call) -> str:
    """The other routes that a 404 under ``/workflows`` lists."""
    tail = call.request.path.split("/workflows", 1)[1]
    if tail not in _ALIKE:
        return ""
    base = "/console/api/apps/<uuid:app_id>/workflows"
    names = [one[1:] if one[:1] == "~" else f"{base}/{one}".rstrip("/") for one in _ALIKE[tail]]
    return did_you_mean(call.request.path, *names)


def _app(call: Call, *modes: str) -> FakeApp:
    """The app of the path, when its mode has workflows."""
    app = call.world.app(call.parts["app"], call.workspace, _alike(call))
    wanted = modes or MODES
    if app.mode not in wanted:
        told = "{" + ", ".join(f"'{one}'" for one in wanted) + "}"
        dot = "." if _alike(call) else ""
        told = f"App mode is not in the supported list: {told}{dot}{_alike(call)}"
        raise refuse(404, "app_not_found", told)
    return app


def _shape(call: Call, app: FakeApp, row: Row) -> dict[str, Any]:
    return shapes.row(call.world, row, app.tool is not None)


@route("GET", f"{HERE}/draft")
def draft(call: Call) -> Any:
    app = _app(call)
    call.editor()
    if app.draft is None:
        told = f"Draft workflow need to be initialized.{_alike(call)}"
        raise refuse(404, "draft_workflow_not_exist", told)
    return _shape(call, app, app.draft)


@route("POST", f"{HERE}/draft")
def sync(call: Call) -> Any:
    app = _app(call)
    call.editor()
    return _synced(call, call.world.sync(app, call.body, call.who))


def _synced(call: Call, row: Row) -> dict[str, Any]:
    return {"result": "success", "hash": call.world.hash(row), "updated_at": row.updated_at}


def _draft_of(call: Call) -> Row:
    row = _app(call).draft
    call.editor()
    if row is None:
        raise refuse(404, "draft_workflow_not_exist", "Draft workflow need to be initialized.")
    return row


@route("GET", f"{HERE}/draft/environment-variables")
def environment(call: Call) -> Any:
    """Shows secrets as they are, to who may edit."""
    items = [
        {
            "id": one["id"], "type": "env", "name": one["name"], "description": one["description"],
            "selector": ["env", one["name"]], "value_type": one["value_type"], "value": one["value"],
            "edited": False, "visible": True, "editable": True,
        }
        for one in shown(_draft_of(call).environment_variables)
    ]  # fmt: skip
    return {"items": items}


def _conversation(row: Row, whole: bool) -> list[dict[str, Any]]:
    items = []
    for one in row.conversation_variables:
        item = {
            "id": one.get("id"), "type": "conversation", "name": one["name"],
            "description": one.get("description", ""), "selector": ["conversation", one["name"]],
            "value_type": one.get("value_type"), "edited": False, "visible": True, "is_truncated": False,
        }  # fmt: skip
        items.append({**item, "value": one.get("value"), "full_content": None} if whole else item)
    return items


@route("GET", f"{HERE}/draft/conversation-variables")
def conversation(call: Call) -> Any:
    return {"items": _conversation(_draft_of(call), True)}


@route("GET", f"{HERE}/draft/system-variables")
def system(call: Call) -> Any:
    _draft_of(call)
    return {"items": []}


@route("GET", f"{HERE}/draft/variables")
def draft_variables(call: Call) -> Any:
    items = _conversation(_draft_of(call), False)
    return {"items": items, "total": len(items)}


@route("POST", f"{HERE}/draft/features", newer=True)
def draft_features(call: Call) -> Any:
    _draft_of(call).features = call.body["features"]
    return {"result": "success"}


@route("POST", f"{HERE}/draft/environment-variables", newer=True)
def draft_environment(call: Call) -> Any:
    row = _draft_of(call)
    sent = call.body["environment_variables"]
    call.world.editor_saves(_app(call), row.graph, environment=sent, by=call.who)
    return {"result": "success"}


@route("POST", f"{HERE}/draft/conversation-variables", newer=True)
def draft_conversation(call: Call) -> Any:
    app = _app(call, "advanced-chat")
    call.world.editor_saves(app, conversation=call.body["conversation_variables"], by=call.who)
    return {"result": "success"}


@route("POST", f"{HERE}/draft/run")
def draft_run(call: Call) -> Any:
    row = _draft_of(call)
    return start(
        call, row, call.who.id, streaming=True, triggered_from="debugging", created_from="explore",
        user_kind="account",
    )  # fmt: skip


@route("GET", f"{HERE}/publish")
def published(call: Call) -> Any:
    app = _app(call)
    call.editor()
    if app.live is not None:
        return _shape(call, app, app.live)
    return None if call.world.newer else shapes.no_row()


def _texts(call: Call, payload: str) -> None:
    for name, most in (("marked_name", 20), ("marked_comment", 100)):
        text = call.body.get(name)
        if isinstance(text, str) and len(text) > most:
            told = f"String should have at most {most} characters"
            raise invalid(payload, name, told, "string_too_long", text, call.world.newer)


@route("POST", f"{HERE}/publish")
def publish(call: Call) -> Any:
    app = _app(call)
    call.editor()
    _texts(call, "PublishWorkflowPayload")
    body = call.body
    row = call.world.publish(app, body.get("marked_name") or "", body.get("marked_comment") or "", call.who)
    return {"result": "success", "created_at": row.created_at}


@route("GET", HERE)
def versions(call: Call) -> Any:
    app = _app(call)
    call.editor()
    query = call.request.query
    if call.number("limit", 10) > 100:
        told = "Input should be less than or equal to 100"
        shown = query["limit"]
        raise invalid("WorkflowListQuery", "limit", told, "less_than_equal", shown, call.world.newer)
    if query.get("user_id") and query["user_id"] != call.who.id:
        raise forbidden()
    rows = app.rows if app.versions else []
    if query.get("named_only") == "true":
        rows = [one for one in rows if one.marked_name]
    answer = cut(call, "items", [lambda one=one: _shape(call, app, one) for one in rows])
    return {name: answer[name] for name in ("items", "page", "limit", "has_more")}


@route("PATCH", f"{HERE}/<id>")
def rename(call: Call) -> Any:
    """The version is looked for in the workspace, not in the app of the path."""
    _app(call)
    call.editor()
    _texts(call, "WorkflowUpdatePayload")
    changes = {name: call.body[name] for name in ("marked_name", "marked_comment") if call.body.get(name) is not None}
    if not changes:
        raise Refuse(400, shapes.no_row())
    app, row = _anywhere(call, "Workflow not found")
    for name, value in changes.items():
        setattr(row, name, value)
    row.updated_by, row.updated_at = call.who.id, call.world.seconds()
    return _shape(call, app, row)


def _anywhere(call: Call, missing: str) -> tuple[FakeApp, Row]:
    malformed(call.parts["id"])
    for app in call.world.apps.values():
        for row in app.rows if app.tenant == call.workspace else ():
            if row.id == call.parts["id"]:
                return app, row
    raise refuse(404, "not_found", missing)


@route("DELETE", f"{HERE}/<id>")
def delete(call: Call) -> Any:
    _app(call)
    call.editor()
    app, row = _anywhere(call, f"Workflow with ID {call.parts['id']} not found")
    if row is app.draft:
        raise refuse(400, "bad_request", "Cannot delete draft workflow versions")
    if row is app.live:
        raise refuse(400, "bad_request", f"Cannot delete workflow that is currently in use by app '{app.id}'")
    if app.tool and app.tool.get("version") == row.version:
        raise refuse(400, "bad_request", "Cannot delete workflow that is published as a tool")
    app.versions.remove(row)
    call.status = 204


@route("POST", f"{HERE}/<id>/restore", newer=True)
def restore(call: Call) -> Any:
    """Makes the draft what a version holds, secrets included. Publishes nothing and asks for no hash."""
    app = _app(call)
    call.editor()
    malformed(call.parts["id"])
    row = next((one for one in app.rows if one.id == call.parts["id"]), None)
    if row is None:
        raise refuse(404, "not_found", "Workflow not found.")
    if row is app.draft:
        raise refuse(400, "bad_request", "source workflow must be published")
    made = call.world.store(
        app, call.who, clone(row.graph), clone(row.features), row.environment_variables,
        row.conversation_variables, mask_kept=False,
    )  # fmt: skip
    return _synced(call, made)


@route("POST", "/console/api/apps/workflows/online-users", newer=True)
def online_users(call: Call) -> Any:
    return {"data": [{"app_id": one, "users": []} for one in call.body["app_ids"]]}
