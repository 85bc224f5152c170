"""The routes for tools, ``/openapi/v1``, which 1.14.2 has when it is told to."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from dify_server import documents, shapes
from dify_server.calls import Call, Stream, cut, route
from dify_server.people import EDITORS, Account
from dify_server.refusals import Refuse, refuse
from dify_server.routes.service import live_of, start, version_of
from dify_server.rows import FakeApp

API = "/openapi/v1"
DEVICE = f"{API}/oauth/device"


@route("GET", f"{API}/_version", "open")
def version(call: Call) -> Any:
    return {"version": call.world.version, "edition": "SELF_HOSTED"}


@route("GET", f"{API}/_health", "open")
def health(call: Call) -> Any:
    return {"ok": True}


# signing a device in


def _device(call: Call, name: str) -> dict[str, Any] | None:
    wanted = call.body.get(name) or call.request.query.get(name)
    return next((one for one in call.world.people.devices if one[name] == wanted), None)


def _error(code: str, status: int = 400) -> Refuse:
    return Refuse(status, {"error": code})


@route("POST", f"{DEVICE}/code", "open")
def device_code(call: Call) -> Any:
    missing = [name for name in ("client_id", "device_label") if name not in call.body]
    if missing:
        lines = "".join(
            f"\n{name}\n  Field required [type=missing, input_value={call.body!r}, input_type=dict]\n"
            "    For further information visit https://errors.pydantic.dev/2.12/v/missing"
            for name in missing
        )
        told = f"{len(missing)} validation errors for DeviceCodeRequest{lines}"
        raise refuse(400, "bad_request", told)
    if call.body["client_id"] != "difyctl":
        raise _error("unsupported_client")
    code = uuid4().hex.upper()
    made = {
        "device_code": call.world.token("device"), "user_code": f"{code[:4]}-{code[4:8]}", "state": "pending",
        "label": call.body["device_label"], "polled": False, "account": None,
    }  # fmt: skip
    call.world.people.devices.append(made)
    return {
        "device_code": made["device_code"], "user_code": made["user_code"],
        "verification_uri": f"{call.world.url}/device", "expires_in": 900, "interval": 5,
    }  # fmt: skip


@route("GET", f"{DEVICE}/lookup", "open")
def device_lookup(call: Call) -> Any:
    found = _device(call, "user_code")
    if found is None:
        return {"valid": False, "expires_in_remaining": 0, "client_id": None}
    return {"valid": True, "expires_in_remaining": 900, "client_id": "difyctl"}


@route("POST", f"{DEVICE}/approve", "approver")
@route("POST", f"{DEVICE}/deny", "approver")
def device_decide(call: Call) -> Any:
    found = _device(call, "user_code")
    if found is None or found["state"] != "pending":
        raise _error("expired_or_unknown", 404)
    approved = call.request.path.endswith("approve")
    found["state"], found["account"] = ("approved" if approved else "denied"), call.who.id
    return {"status": found["state"]}


@route("POST", f"{DEVICE}/token", "open")
def device_token(call: Call) -> Any:
    """Polled. A second poll at once is told to slow down, whatever became of the code."""
    people, found = call.world.people, _device(call, "device_code")
    if found is None:
        raise _error("expired_token")
    if found["state"] == "consumed" or (found["state"] == "pending" and found["polled"]):
        raise _error("slow_down")
    found["polled"] = True
    if found["state"] == "pending":
        raise _error("authorization_pending")
    if found["state"] == "denied":
        raise _error("access_denied")
    found["state"] = "consumed"
    account = people.by_id(found["account"])
    assert account is not None
    token, moment = f"dfoa_{uuid4().hex}", call.world.now()
    ends = moment + timedelta(days=14)
    people.tokens[token] = {
        "account": account.id, "id": str(uuid4()), "label": found["label"], "calls": 0,
        "created_at": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }  # fmt: skip
    return {
        "token": token, "expires_at": ends.isoformat(), "subject_type": "account",
        "account": {"id": account.id, "email": account.email, "name": account.name},
        "workspaces": _spaces(call, account), "default_workspace_id": account.home,
        "token_id": people.tokens[token]["id"],
    }  # fmt: skip


def _spaces(call: Call, account: Account) -> list[dict[str, Any]]:
    names = call.world.people.workspaces
    return [{"id": one, "name": names[one], "role": role} for one, role in account.roles.items()]


# the account


@route("GET", f"{API}/account", "openapi")
def account(call: Call) -> Any:
    who = call.who
    return {
        "subject_type": "account", "subject_email": who.email, "subject_issuer": None,
        "account": {"id": who.id, "email": who.email, "name": who.name}, "workspaces": _spaces(call, who),
        "default_workspace_id": who.home,
    }  # fmt: skip


@route("GET", f"{API}/account/sessions", "openapi")
def sessions(call: Call) -> Any:
    mine = [
        {
            "id": one["id"], "prefix": "dfoa_", "client_id": "difyctl", "device_label": one["label"],
            "created_at": one.get("created_at"), "last_used_at": None, "expires_at": one.get("expires_at"),
        }
        for one in reversed(call.world.people.tokens.values())
        if one["account"] == call.who.id
    ]  # fmt: skip
    return {"page": 1, "limit": 100, "total": len(mine), "has_more": False, "data": mine}


@route("DELETE", f"{API}/account/sessions/self", "openapi")
def revoke(call: Call) -> Any:
    call.world.people.tokens.pop(call.request.headers["authorization"].removeprefix("Bearer "))
    return {"status": "revoked"}


def _space(call: Call, wanted: str) -> str:
    if wanted not in call.who.roles:
        raise refuse(404, "not_found", "workspace not found")
    return wanted


@route("GET", f"{API}/workspaces", "openapi")
def workspaces(call: Call) -> Any:
    return {
        "workspaces": [{**one, "status": "normal", "current": True} for one in _spaces(call, call.who)],
    }


@route("GET", f"{API}/workspaces/<id>", "openapi")
def workspace(call: Call) -> Any:
    wanted = _space(call, call.parts["id"])
    one = next(one for one in _spaces(call, call.who) if one["id"] == wanted)
    return {**one, "status": "normal", "current": True, "created_at": "2026-11-23T17:00:00"}


@route("GET", f"{API}/workspaces/<id>/members", "openapi")
def members(call: Call) -> Any:
    wanted = _space(call, call.parts["id"])
    found = [
        {**one.short, "role": one.roles[wanted], "status": one.status, "avatar": None}
        for one in call.world.people.accounts
        if wanted in one.roles
    ]
    return {"page": 1, "limit": 20, "total": len(found), "has_more": False, "data": found}


# apps


def _moment(app: FakeApp) -> str:
    return f"2026-11-23T17:00:{app.updated_at % 60:02d}"


@route("GET", f"{API}/apps", "openapi")
def apps(call: Call) -> Any:
    query = call.request.query
    space = _space(call, query.get("workspace_id", ""))
    if call.number("limit", 20) > 200:
        told = [{"type": "less_than_equal", "loc": ["limit"], "msg": "Input should be less than or equal to 200"}]
        raise _invalid(told)
    people = call.world.people
    found = [
        one
        for one in reversed(call.world.apps.values())
        if one.tenant == space
        and one.enable_api
        and (not query.get("mode") or one.mode == query["mode"])
        and query.get("name", "").lower() in one.name.lower()
    ]

    def shape(app: FakeApp) -> Callable[[], dict[str, Any]]:
        author = people.by_id(app.created_by)
        return lambda: {
            "id": app.id, "name": app.name, "description": app.description, "mode": app.mode, "tags": [],
            "updated_at": _moment(app), "created_by_name": author.name if author else None, "workspace_id": space,
            "workspace_name": people.workspaces[space],
        }  # fmt: skip

    return {**cut(call, "data", [shape(one) for one in found]), "total": len(found)}


def _invalid(details: list[dict[str, Any]]) -> Refuse:
    told = {"code": "invalid_param", "message": "Request validation failed", "status": 422}
    return Refuse(422, {**told, "details": details})


def _app(call: Call) -> FakeApp:
    wanted = call.parts["id"]
    try:
        app = call.world.apps.get(str(UUID(wanted)))
    except ValueError:
        app = None
    if app is None or app.tenant not in call.who.roles:
        raise refuse(404, "not_found", "app not found")
    if not app.enable_api:
        raise refuse(403, "forbidden", "service_api_disabled")
    call.found, call.workspace = app, app.tenant
    return app


def _editor(call: Call) -> None:
    if call.role not in EDITORS:
        raise refuse(403, "forbidden", "insufficient workspace role")


@route("GET", f"{API}/apps/<id>/describe", "openapi")
def describe(call: Call) -> Any:
    app = _app(call)
    wanted = call.request.query.get("fields", "info,parameters,input_schema").split(",")
    author, live = call.world.people.by_id(app.created_by), app.live
    about: dict[str, Any] = {
        "id": app.id, "name": app.name, "description": app.description, "mode": app.mode,
        "author": author.name if author else None, "tags": [], "updated_at": _moment(app),
        "service_api_enabled": app.enable_api, "is_agent": False,
    }  # fmt: skip
    return {
        "info": about if "info" in wanted else None,
        "parameters": shapes.parameters(live) if live and "parameters" in wanted else None,
        "input_schema": _schema(app) if live and "input_schema" in wanted else None,
    }


def _schema(app: FakeApp) -> dict[str, Any]:
    inputs = app.live.inputs if app.live else []
    names = {
        one["variable"]: {"type": "string", "title": one["label"], "maxLength": one.get("max_length", 256)}
        for one in inputs
    }
    needed = [one["variable"] for one in inputs if one.get("required")]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
        "properties": {
            "inputs": {"type": "object", "properties": names, "required": needed, "additionalProperties": False},
        },
        "required": ["inputs"],
    }  # fmt: skip


@route("GET", f"{API}/apps/<id>/export", "openapi")
def export(call: Call) -> Any:
    app = _app(call)
    _editor(call)
    query = call.request.query
    wanted, secrets = query.get("workflow_id", ""), query.get("include_secret") == "true"
    if wanted and all(one.id != wanted for one in app.versions):
        raise Refuse(404, "Missing draft workflow configuration, please check.")
    return {"data": documents.export(call.world, app, wanted, secrets)}


@route("GET", f"{API}/apps/<id>/check-dependencies", "openapi")
def dependencies(call: Call) -> Any:
    _app(call)
    return {"leaked_dependencies": []}


_IMPORT = (
    "mode",
    "yaml_content",
    "yaml_url",
    "name",
    "description",
    "icon_type",
    "icon",
    "icon_background",
    "app_id",
)


@route("POST", f"{API}/workspaces/<id>/apps/imports", "openapi")
def imports(call: Call) -> Any:
    call.workspace = _space(call, call.parts["id"])
    _editor(call)
    body = call.body
    more = [name for name in body if name not in _IMPORT]
    if more:
        raise _invalid(
            [{"type": "extra_forbidden", "loc": [one], "msg": "Extra inputs are not permitted"} for one in more]
        )
    if body.get("mode") == "yaml-content" and "yaml_content" not in body:
        told = "Value error, yaml_content is required when mode is 'yaml-content'"
        raise _invalid([{"type": "value_error", "loc": [], "msg": told}])
    call.status, answer = documents.import_document(call.world, call.who, call.workspace, body)
    return answer


@route("POST", f"{API}/workspaces/[^/]+/apps/imports/<id>/confirm", "openapi")
def confirm(call: Call) -> Any:
    _editor(call)
    call.status, answer = documents.confirm(call.world, call.parts["id"])
    return answer


@route("POST", f"{API}/apps/<id>/run", "openapi")
def run(call: Call) -> Any:
    """Streams always."""
    app, body = _app(call), call.body
    if "query" in body and app.mode == "workflow":
        raise refuse(422, "invalid_param", "query_not_supported_for_workflow")
    if body.get("workflow_id"):
        row = version_of(app, body["workflow_id"])
    elif app.live is None:
        raise refuse(500, "internal_server_error", "Internal Server Error")
    else:
        row = live_of(call)
    made = start(call, row, call.who.id, streaming=True, plain=True, created_from="openapi", user_kind="account")
    assert isinstance(made, Stream)
    return made
