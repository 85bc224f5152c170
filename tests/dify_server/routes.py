"""The fake's routes: which request does what, and in which shape Dify answers it."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import yaml

from dify_server.world import ADMIN_KEY, MASK, TOKEN, FakeApp, Refuse, Row, World, refuse

if TYPE_CHECKING:
    from dify_server.server import Request

Headers = list[tuple[str, str]]
Given = tuple[int, Any, Headers]
Act = Callable[["Call"], Any]

NOT_FOUND_PAGE = b"<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n"
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ROUTES: list[tuple[str, re.Pattern[str], Act, str]] = []


class Call:
    """A request on its way: the world, the parts of its path, and the cookies to answer with."""

    def __init__(self, world: World, request: "Request", parts: dict[str, str]) -> None:
        self.world, self.request, self.parts = world, request, parts
        self.headers: Headers = []
        self.status = 200

    @property
    def app(self) -> FakeApp:
        return self.world.app(self.parts["app"])

    @property
    def body(self) -> dict[str, Any]:
        return self.request.json or {}


def route(method: str, path: str, door: str = "console") -> Callable[[Act], Act]:
    pattern = re.compile(path.replace("<app>", f"(?P<app>{_UUID})").replace("<id>", "(?P<id>[^/]+)") + "$")

    def add(act: Act) -> Act:
        _ROUTES.append((method, pattern, act, door))
        return act

    return add


def answer(world: World, request: "Request") -> Given:
    """Status, body and headers of the answer."""
    found = [
        (method, act, door, match) for method, pattern, act, door in _ROUTES if (match := pattern.match(request.path))
    ]
    if not world.newer:
        found = [one for one in found if one[1] not in _NEWER]
    if request.path.startswith("/openapi/v1") and not world.openapi:
        found = []
    if not found:
        return 404, NOT_FOUND_PAGE, []
    for method, act, door, match in found:
        if method == request.method:
            call = Call(world, request, match.groupdict())
            try:
                _DOORS[door](call)
                body = act(call)
                return call.status, body, call.headers
            except Refuse as refused:
                return refused.status, refused.body, call.headers
    return 405, {"code": "method_not_allowed", "message": "The method is not allowed.", "status": 405}, []


# doors


def _open(call: Call) -> None:
    pass


def _console(call: Call) -> None:
    world, headers = call.world, call.request.headers
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    cookies = dict(part.strip().split("=", 1) for part in headers.get("cookie", "").split(";") if "=" in part)
    if bearer:
        if bearer == ADMIN_KEY and headers.get("x-workspace-id") == world.workspace_id:
            return
        if world.tokens_in_body and bearer in world.access:
            return
        raise refuse(401, "unauthorized", "Invalid token.")
    token = cookies.get("access_token", "")
    if not token:
        raise refuse(401, "unauthorized", "Invalid Authorization token.")
    if "/workflows/draft" not in call.request.path:
        csrf = cookies.get("csrf_token")
        if not csrf or csrf not in world.csrf or headers.get("x-csrf-token") != csrf:
            raise refuse(401, "unauthorized", "CSRF token is missing or invalid.")
    if token not in world.access:
        raise refuse(401, "unauthorized", "Token has expired.")


def _service(call: Call) -> None:
    sent = call.request.headers.get("authorization", "")
    if not sent:
        raise refuse(401, "unauthorized", "The header must be there and start with 'Bearer'")
    for app in call.world.apps.values():
        if any(sent == f"Bearer {key['token']}" for key in app.keys):
            call.parts["app"] = app.id
            return
    raise refuse(401, "unauthorized", "Access token is invalid")


def _openapi(call: Call) -> None:
    sent = call.request.headers.get("authorization", "")
    if not sent:
        raise refuse(401, "unauthorized", "bearer required")
    if sent != f"Bearer {TOKEN}":
        raise refuse(500, "internal_server_error", "Internal Server Error")


_DOORS: dict[str, Callable[[Call], None]] = {
    "open": _open, "console": _console, "service": _service, "openapi": _openapi,
}  # fmt: skip


# signing in


@route("GET", "/console/api/system-features", "open")
def features(call: Call) -> Any:
    return {"enable_email_password_login": True}


@route("POST", "/console/api/login", "open")
def login(call: Call) -> Any:
    call.world.sign_in(call.body["email"], call.body["password"])
    return _session(call)


@route("POST", "/console/api/refresh-token", "open")
def refresh(call: Call) -> Any:
    world, cookie = call.world, call.request.headers.get("cookie", "")
    sent = dict(part.strip().split("=", 1) for part in cookie.split(";") if "=" in part).get("refresh_token")
    sent = call.body.get("refresh_token") if world.tokens_in_body else sent
    if not sent:
        raise Refuse(401, {"result": "fail", "message": "No refresh token provided"})
    if sent not in world.refresh:
        raise Refuse(401, {"result": "fail", "message": "Invalid refresh token"})
    world.refresh.discard(sent)
    return _session(call)


def _session(call: Call) -> Any:
    tokens = call.world.open()
    if call.world.tokens_in_body:
        return {"result": "success", "data": {"access_token": tokens[0], "refresh_token": tokens[1]}}
    for name, value in zip(("access_token", "refresh_token", "csrf_token"), tokens, strict=True):
        call.headers.append(("Set-Cookie", f"{name}={value}; Max-Age=3600; Path=/; SameSite=Lax"))
    return {"result": "success"}


@route("GET", "/console/api/account/profile")
def profile(call: Call) -> Any:
    rest = {
        "avatar": None, "is_password_set": True, "interface_language": "en-US", "interface_theme": "light",
        "timezone": "UTC", "last_login_at": 1, "last_login_ip": "127.0.0.1", "created_at": 1, "avatar_url": None,
    }  # fmt: skip
    return {**call.world.account, **rest}


@route("GET", "/console/api/workspaces")
def workspaces(call: Call) -> Any:
    one = {
        "id": call.world.workspace_id, "name": "W", "plan": "sandbox", "status": "normal", "created_at": 1,
        "current": True,
    }  # fmt: skip
    return {"workspaces": [one]}


@route("POST", "/console/api/workspaces/current")
def workspace(call: Call) -> Any:
    nothing = dict.fromkeys(
        ("in_trial", "trial_end_reason", "custom_config", "trial_credits", "trial_credits_used",
         "next_credit_reset_date")
    )  # fmt: skip
    known = {"plan": "basic", "status": "normal", "created_at": 1, "role": "owner"}
    return {"id": call.world.workspace_id, "name": "W", **known, **nothing}


# apps


@route("GET", "/console/api/apps")
def apps(call: Call) -> Any:
    everything = list(reversed(call.world.apps.values()))
    more = {"create_user_name": None, "author_name": "Owner", "has_draft_trigger": False, "icon_url": None}
    return {**_cut(call, "data", [{**_app(call.world, app), **more} for app in everything]), "total": len(everything)}


@route("GET", "/console/api/apps/<app>")
def app_detail(call: Call) -> Any:
    who = call.world.account["id"]
    site = {
        "access_token": "site-code", "code": "site-code", "title": call.app.name, "app_base_url": "http://dify.test",
        "icon_type": "emoji", "icon": "x", "icon_background": "#fff", "description": None,
        "default_language": "en-US", "chat_color_theme": None, "chat_color_theme_inverted": False,
        "customize_domain": None, "copyright": None,
        "privacy_policy": None, "custom_disclaimer": "", "customize_token_strategy": "not_allow",
        "prompt_public": False, "show_workflow_steps": True, "use_icon_as_answer_icon": False, "created_by": who,
        "created_at": 1, "updated_by": who, "updated_at": 1, "icon_url": None,
    }  # fmt: skip
    more: dict[str, Any] = {
        "enable_site": True, "enable_api": True, "tracing": None, "api_base_url": "http://dify.test/v1",
        "deleted_tools": [], "site": site, "icon_url": None,
    }  # fmt: skip
    return {**_app(call.world, call.app), **more}


def _app(world: World, app: FakeApp) -> dict[str, Any]:
    who = world.account["id"]
    return {
        "id": app.id, "name": app.name, "max_active_requests": None, "description": "", "mode": app.mode,
        "icon_type": "emoji", "icon": "x", "icon_background": "#fff", "model_config": None, "workflow": None,
        "use_icon_as_answer_icon": False, "created_by": who, "created_at": app.created_at, "updated_by": who,
        "updated_at": app.created_at, "tags": [], "access_mode": None,
    }  # fmt: skip


@route("GET", "/console/api/apps/<app>/export")
def export(call: Call) -> Any:
    wanted, secrets = call.request.query.get("workflow_id"), call.request.query.get("include_secret") == "true"
    row = call.app.draft
    if wanted:
        _uuid_or_500(wanted)
        row = next((one for one in call.app.versions if one.id == wanted), None)
    if row is None:
        if call.world.newer:
            raise _broken()
        raise refuse(400, "invalid_param", "Missing draft workflow configuration, please check.")
    variables = [
        {**item, "value": item["value"] if secrets or item.get("value_type") != "secret" else ""}
        for item in row.environment_variables
    ]
    workflow = {
        "graph": row.graph, "features": row.features, "environment_variables": variables,
        "conversation_variables": row.conversation_variables,
    }  # fmt: skip
    document = {"app": {"name": call.app.name, "mode": call.app.mode}, "kind": "app", "version": "0.6.0"}
    return {"data": yaml.safe_dump({**document, "workflow": workflow})}


@route("POST", "/console/api/apps/imports")
def imports(call: Call) -> Any:
    result: dict[str, Any] = {
        "id": str(uuid4()), "status": "completed", "app_id": None, "app_mode": None, "current_dsl_version": "0.6.0",
        "imported_dsl_version": "", "error": "",
    }  # fmt: skip
    try:
        document = yaml.safe_load(call.body["yaml_content"])
        name, mode, version = document["app"]["name"], document["app"]["mode"], document["version"]
    except (yaml.YAMLError, TypeError, KeyError):
        call.status = 400
        return {**result, "status": "failed", "error": "Invalid YAML format"}
    app = call.world.app(call.body["app_id"]) if call.body.get("app_id") else call.world.add_app(name, mode=mode)
    workflow, old = document["workflow"], app.draft
    variables = workflow.get("environment_variables") or []
    app.draft = Row(
        old.id if old else str(uuid4()), "draft", workflow["graph"], workflow["features"], variables,
        workflow.get("conversation_variables") or [],
    )  # fmt: skip
    return {**result, "app_id": app.id, "app_mode": mode, "imported_dsl_version": version}


@route("GET", "/console/api/apps/<app>/api-keys")
def api_keys(call: Call) -> Any:
    return {"data": call.app.keys}


@route("POST", "/console/api/apps/<app>/api-keys")
def new_key(call: Call) -> Any:
    key = {
        "id": str(uuid4()), "type": "app", "token": call.world.token("app"), "last_used_at": None, "created_at": 1,
    }  # fmt: skip
    call.app.keys.append(key)
    call.status = 201
    return key


# drafts and versions


@route("GET", "/console/api/apps/<app>/workflows/draft")
def draft(call: Call) -> Any:
    if call.app.draft is None:
        raise refuse(404, "draft_workflow_not_exist", "The draft needs to be initialized.")
    return _row(call.world, call.app.draft)


@route("POST", "/console/api/apps/<app>/workflows/draft")
def sync(call: Call) -> Any:
    return _synced(call.world, call.world.sync(call.app, call.body))


@route("GET", "/console/api/apps/<app>/workflows/draft/environment-variables")
def environment(call: Call) -> Any:
    assert call.app.draft
    more = {"type": "env", "edited": False, "visible": True, "editable": True}
    items = [
        {**_masked(item), "selector": ["env", item["name"]], **more} for item in call.app.draft.environment_variables
    ]
    return {"items": items}


@route("POST", "/console/api/apps/<app>/workflows/draft/features")
def draft_features(call: Call) -> Any:
    assert call.app.draft
    call.app.draft.features = call.body["features"]
    return {"result": "success"}


@route("GET", "/console/api/apps/<app>/workflows/publish")
def published(call: Call) -> Any:
    if call.app.versions:
        return _row(call.world, call.app.versions[0])
    return None if call.world.newer else _no_row()


@route("POST", "/console/api/apps/<app>/workflows/publish")
def publish(call: Call) -> Any:
    name, comment = call.body.get("marked_name") or "", call.body.get("marked_comment") or ""
    for text, field, most in ((name, "marked_name", 20), (comment, "marked_comment", 100)):
        if len(text) > most:
            quoted = f"[type=string_too_long, input_value='{text}', input_type=str]"
            raise refuse(400, "invalid_param", f"1 validation error\n{field}\n  At most {most} characters {quoted}")
    row = call.world.publish(call.app, name, comment)
    return {"result": "success", "created_at": row.created_at}


@route("GET", "/console/api/apps/<app>/workflows")
def versions(call: Call) -> Any:
    rows = [*([call.app.draft] if call.app.draft and call.app.versions else []), *call.app.versions]
    return _cut(call, "items", [_row(call.world, row) for row in rows])


@route("GET", "/console/api/apps/<app>/workflows/triggers/webhook")
def webhook(call: Call) -> Any:
    found = call.app.webhooks.get(call.request.query.get("node_id", ""))
    if found is None:
        raise refuse(404, "not_found", f"No webhook for this node. You have requested this URI [{call.request.path}]")
    return found


@route("PATCH", "/console/api/apps/<app>/workflows/<id>")
def rename(call: Call) -> Any:
    row = _version(call, "Workflow not found")
    row.marked_name = call.body.get("marked_name", row.marked_name)
    row.marked_comment = call.body.get("marked_comment", row.marked_comment)
    return _row(call.world, row)


@route("DELETE", "/console/api/apps/<app>/workflows/<id>")
def delete(call: Call) -> Any:
    row = _version(call, f"Workflow with ID {call.parts['id']} not found")
    if row is call.app.draft or row is call.app.versions[0]:
        raise refuse(400, "bad_request", "It is in use.")
    call.app.versions.remove(row)
    call.status = 204


@route("POST", "/console/api/apps/<app>/workflows/<id>/restore")
def restore(call: Call) -> Any:
    row = _version(call, "Workflow not found.")
    if row is call.app.draft:
        raise refuse(400, "bad_request", "source workflow must be published")
    assert call.app.draft
    call.app.draft = Row(
        call.app.draft.id, "draft", row.graph, row.features, list(row.environment_variables),
        row.conversation_variables,
    )  # fmt: skip
    return _synced(call.world, call.app.draft)


@route("POST", "/console/api/apps/workflows/online-users")
def online_users(call: Call) -> Any:
    return {"data": [{"app_id": one, "users": []} for one in call.body["app_ids"]]}


# beside the versions


@route("GET", "/console/api/apps/<app>/triggers")
def triggers(call: Call) -> Any:
    return {"data": call.app.triggers}


@route("POST", "/console/api/apps/<app>/trigger-enable")
def trigger_enable(call: Call) -> Any:
    found = next(one for one in call.app.triggers if one["id"] == call.body["trigger_id"])
    found["status"] = "enabled" if call.body["enable_trigger"] else "disabled"
    if call.world.newer:
        raise refuse(400, "invalid_param", "1 validation error\nupdated_at\n  [type=get_attribute_error]")
    return found


@route("GET", "/console/api/apps/<app>/server")
def mcp(call: Call) -> Any:
    if call.app.mcp is None:
        raise refuse(404, "not_found", "Not found")
    return call.app.mcp


@route("GET", "/console/api/workspaces/current/tools/workflow")
def tools(call: Call) -> Any:
    found = [app.tool for app in call.world.apps.values() if app.tool]
    return [
        {"id": tool["workflow_tool_id"], "name": tool["label"], "workflow_app_id": tool["workflow_app_id"]}
        for tool in found
    ]


@route("GET", "/console/api/workspaces/current/tool-provider/workflow/get")
def tool_get(call: Call) -> Any:
    app = call.world.apps.get(call.request.query.get("workflow_app_id", ""))
    if app is None or app.tool is None:
        raise refuse(400, "invalid_param", "Tool not found")
    return app.tool


@route("POST", "/console/api/workspaces/current/tool-provider/workflow/update")
def tool_update(call: Call) -> Any:
    for app in call.world.apps.values():
        if app.tool and app.tool["workflow_tool_id"] == call.body["workflow_tool_id"]:
            app.tool["synced"] = True
    return {"result": "success"}


@route("GET", "/console/api/apps/<app>/workflow-app-logs")
def logs(call: Call) -> Any:
    user = {"id": str(uuid4()), "type": "service-api", "is_anonymous": False, "session_id": "u"}
    entries = [
        {
            "id": str(uuid4()), "workflow_run": run, "details": None, "created_from": "service-api",
            "created_by_role": "end_user", "created_by_account": None, "created_by_end_user": user, "created_at": 1,
        }
        for run in call.app.runs
    ]  # fmt: skip
    return {**_cut(call, "data", entries), "total": len(entries)}


@route("GET", "/console/api/apps/<app>/workflow-runs")
def runs(call: Call) -> Any:
    wanted = call.request.query.get("triggered_from", "debugging")
    if wanted not in ("debugging", "app-run"):
        raise refuse(400, "invalid_param", "1 validation error\ntriggered_from")
    kept = [run for run in call.app.runs if run["triggered_from"] == wanted]
    left_out = ("triggered_from", "error")
    items = [
        {**{k: v for k, v in run.items() if k not in left_out}, "created_by_account": None, "retry_index": None}
        for run in kept
    ]
    limit = int(call.request.query.get("limit", 20))
    return {"limit": limit, "has_more": len(items) > limit, "data": items[:limit]}


# the Service API


@route("GET", "/v1/info", "service")
def info(call: Call) -> Any:
    return {"name": call.app.name, "description": "", "tags": [], "mode": call.app.mode, "author_name": "Owner"}


@route("GET", "/v1/parameters", "service")
def parameters(call: Call) -> Any:
    row = _live(call, "app_unavailable", "App unavailable, please check your app configurations.")
    form = [{one["type"]: one} for one in row.graph["nodes"][0]["data"].get("variables", [])]
    off = ("annotation_reply", "more_like_this", "suggested_questions_after_answer", "speech_to_text",
           "text_to_speech", "retriever_resource", "sensitive_word_avoidance", "file_upload")  # fmt: skip
    rest = {name: {"enabled": False} for name in off}
    return {**rest, **row.features, "user_input_form": form, "system_parameters": {}}


@route("POST", "/v1/workflows/run", "service")
def run(call: Call) -> Any:
    return _run(call, _live(call, "invalid_param", "Workflow not published"))


@route("POST", "/v1/workflows/<id>/run", "service")
def run_by_id(call: Call) -> Any:
    wanted = call.parts["id"]
    try:
        UUID(wanted)
    except ValueError:
        raise refuse(400, "bad_request", f"Invalid workflow_id format: '{wanted}'. ") from None
    if call.app.draft and call.app.draft.id == wanted:
        raise refuse(400, "bad_request", "A draft cannot be run.")
    row = next((one for one in call.app.versions if one.id == wanted), None)
    if row is None:
        raise refuse(404, "not_found", f"Workflow not found with id: {wanted}")
    return _run(call, row)


@route("POST", "/v1/chat-messages", "service")
def chat(call: Call) -> Any:
    import json

    row = _live(call, "app_unavailable", "App unavailable")
    run = call.world.record(call.app, row)
    talk = {"conversation_id": call.body.get("conversation_id") or str(uuid4()), "message_id": str(uuid4())}
    data = {**run, "workflow_id": row.id, "outputs": {"answer": "A q"}}
    events = [
        {"event": "workflow_started", **talk},
        {"event": "message", **talk, "answer": "A "},
        {"event": "message", **talk, "answer": call.body["query"]},
        {"event": "workflow_finished", **talk, "workflow_run_id": run["id"], "task_id": str(uuid4()), "data": data},
        {"event": "message_end", **talk, "metadata": {}},
    ]
    return ("event: ping\n\n", *(f"data: {json.dumps(event)}\n\n" for event in events))


def _run(call: Call, row: Row) -> Any:
    if "user" not in call.body:
        raise refuse(400, "invalid_param", "Arg user must be provided.")
    for one in row.graph["nodes"][0]["data"].get("variables", []):
        if one.get("required") and one["variable"] not in call.body["inputs"]:
            raise refuse(400, "invalid_param", f"{one['variable']} is required in input form")
    found = call.world.record(call.app, row)
    name = row.graph["nodes"][1]["data"]["outputs"][0]["variable"]
    data = {
        "id": found["id"], "workflow_id": row.id, "status": "succeeded",
        "outputs": {name: call.body["inputs"].get("name")}, "error": None, "elapsed_time": 0.03, "total_tokens": 0,
        "total_steps": 2, "created_at": 1, "finished_at": 1,
    }  # fmt: skip
    return {"task_id": str(uuid4()), "workflow_run_id": found["id"], "data": data}


# the routes for tools


@route("GET", "/openapi/v1/_version", "open")
def openapi_version(call: Call) -> Any:
    return {"version": call.world.version, "edition": "SELF_HOSTED"}


@route("GET", "/openapi/v1/account", "openapi")
def openapi_account(call: Call) -> Any:
    known = call.world.account
    return {
        "subject_type": "account", "subject_email": known["email"], "subject_issuer": None, "account": known,
        "workspaces": [{"id": call.world.workspace_id, "name": "W", "role": "owner"}],
        "default_workspace_id": call.world.workspace_id,
    }  # fmt: skip


@route("GET", "/openapi/v1/apps", "openapi")
def openapi_apps(call: Call) -> Any:
    found = [
        {
            "id": app.id, "name": app.name, "description": "", "mode": app.mode, "tags": [],
            "updated_at": "2026-11-23T18:20:06.222924", "created_by_name": "Owner",
            "workspace_id": call.world.workspace_id, "workspace_name": "W",
        }
        for app in call.world.apps.values()
    ]  # fmt: skip
    return {**_cut(call, "data", found), "total": len(found)}


_ROUTES.append(("GET", re.compile(f"/openapi/v1/apps/(?P<app>{_UUID})/export$"), export, "openapi"))
_NEWER = {restore, draft_features, online_users}


# shapes


def _row(world: World, row: Row) -> dict[str, Any]:
    return {
        "id": row.id, "graph": row.graph, "features": row.features, "hash": world.hash(row), "version": row.version,
        "marked_name": row.marked_name, "marked_comment": row.marked_comment, "created_by": world.account,
        "created_at": row.created_at, "updated_by": None, "updated_at": row.created_at, "tool_published": False,
        "environment_variables": [_masked(item) for item in row.environment_variables],
        "conversation_variables": row.conversation_variables, "rag_pipeline_variables": [],
    }  # fmt: skip


def _no_row() -> dict[str, Any]:
    names = (
        "id", "graph", "features", "hash", "version", "marked_name", "marked_comment", "created_at", "updated_by",
        "updated_at", "tool_published", "environment_variables", "conversation_variables", "rag_pipeline_variables",
    )  # fmt: skip
    return {**dict.fromkeys(names), "created_by": {"id": None, "name": None, "email": None}}


def _masked(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "value": MASK} if item.get("value_type") == "secret" else item


def _synced(world: World, row: Row) -> dict[str, Any]:
    return {"result": "success", "hash": world.hash(row), "updated_at": 1}


def _cut(call: Call, name: str, items: list[Any]) -> dict[str, Any]:
    page, limit = (int(call.request.query.get(key, default)) for key, default in (("page", 1), ("limit", 20)))
    if limit > 100:
        raise refuse(400, "invalid_param", "1 validation error\nlimit")
    begin = (page - 1) * limit
    return {
        "page": page, "limit": limit, "has_more": begin + limit < len(items), name: items[begin : begin + limit],
    }  # fmt: skip


def _version(call: Call, missing: str) -> Row:
    _uuid_or_500(call.parts["id"])
    rows = [*([call.app.draft] if call.app.draft else []), *call.app.versions]
    found = next((row for row in rows if row.id == call.parts["id"]), None)
    if found is None:
        raise refuse(404, "not_found", missing)
    return found


def _live(call: Call, code: str, message: str) -> Row:
    if not call.app.versions:
        raise refuse(400, code, message)
    return call.app.versions[0]


def _uuid_or_500(value: str) -> None:
    try:
        UUID(value)
    except ValueError:
        raise _broken() from None


def _broken() -> Refuse:
    return refuse(500, "unknown", "Internal Server Error")
