"""Health, set-up, signing in, the account, the workspace and its members."""

from typing import Any
from urllib.parse import quote
from uuid import uuid4

from dify_server.calls import Call, cookies, route
from dify_server.people import Account
from dify_server.refusals import Refuse, invalid

API = "/console/api"


@route("GET", "/health", "open")
def health(call: Call) -> Any:
    return {"pid": 1, "status": "ok", "version": call.world.version}


@route("GET", f"{API}/setup", "open")
def setup(call: Call) -> Any:
    if not call.world.ready:
        return {"step": "not_started", "setup_at": None}
    return {"step": "finished", "setup_at": "2026-11-23T17:00:00"}


@route("POST", f"{API}/setup", "open")
def set_up(call: Call) -> Any:
    if call.world.ready:
        raise Refuse(403, {"error": {"type": "authorization_error", "message": "Forbidden", "status": 403}})
    if len(call.body["password"]) < 8:
        told = "Validation error for parameter 'payload'"
        raise Refuse(422, {"error": {"type": "validation_error", "message": told, "status": 422, "details": told}})
    call.world.ready, call.status = True, 201
    return {"result": "success"}


@route("GET", f"{API}/init", "open")
def init(call: Call) -> Any:
    return {"status": "finished"}


@route("GET", f"{API}/version", "open")
def version(call: Call) -> Any:
    off = {"can_replace_logo": False, "model_load_balancing_enabled": False}
    return {
        "version": call.world.version, "release_date": "", "release_notes": "", "can_auto_update": False,
        "features": off,
    }  # fmt: skip


@route("GET", f"{API}/system-features", "open")
def features(call: Call) -> Any:
    none = {"enabled": False}
    return {
        "sso_enforced_for_signin": False, "sso_enforced_for_signin_protocol": "", "enable_marketplace": False,
        "max_plugin_package_size": 15728640, "enable_email_code_login": False, "enable_email_password_login": True,
        "enable_social_oauth_login": False, "is_allow_register": False, "is_allow_create_workspace": False,
        "is_email_setup": False,
        "license": {"status": "none", "expired_at": "", "workspaces": {**none, "size": 0, "limit": 0}},
        "branding": {**none, "application_title": "", "login_page_logo": "", "workspace_logo": "", "favicon": ""},
        "webapp_auth": {
            **none, "allow_sso": False, "sso_config": {"protocol": ""}, "allow_email_code_login": False,
            "allow_email_password_login": False,
        },
        "plugin_installation_permission": {"plugin_installation_scope": "all", "restrict_to_marketplace_only": False},
        "enable_change_email": True, "plugin_manager": none, "trial_models": [], "enable_trial_app": False,
        "enable_explore_banner": False,
    }  # fmt: skip


@route("GET", f"{API}/features")
def workspace_features(call: Call) -> Any:
    def room(limit: int) -> dict[str, int]:
        return {"size": 0, "limit": limit}

    used = {"usage": 0, "reset_date": 0}
    return {
        "billing": {"enabled": False, "subscription": {"plan": "sandbox", "interval": ""}},
        "education": {"enabled": False, "activated": False}, "members": room(1), "apps": room(10),
        "vector_space": room(5), "knowledge_rate_limit": 10, "annotation_quota_limit": room(10),
        "documents_upload_quota": room(50), "docs_processing": "standard", "can_replace_logo": False,
        "model_load_balancing_enabled": False, "dataset_operator_enabled": False, "webapp_copyright_enabled": False,
        "workspace_members": {"enabled": False, **room(0)}, "is_allow_transfer_workspace": True,
        "trigger_event": {**used, "limit": 3000}, "api_rate_limit": {**used, "limit": 5000},
        "human_input_email_delivery_enabled": True, "knowledge_pipeline": {"publish_enabled": False},
        "next_credit_reset_date": 0,
    }  # fmt: skip


@route("POST", f"{API}/login", "open")
def login(call: Call) -> Any:
    email = call.body.get("email", "")
    if "@" not in email:
        told = f"Value error, {email} is not a valid email."
        raise invalid("LoginPayload", "email", told, "value_error", email, call.world.newer)
    account = call.world.people.sign_in(email, call.body["password"])
    account.signed_in_at = call.world.seconds()
    return _session(call, account)


@route("POST", f"{API}/refresh-token", "open")
def refresh(call: Call) -> Any:
    people = call.world.people
    sent = cookies(call.request).get("refresh_token")
    sent = call.body.get("refresh_token") if call.world.tokens_in_body else sent
    if not sent:
        raise Refuse(401, {"result": "fail", "message": "No refresh token provided"})
    account = people.by_id(people.refresh.get(sent, ""))
    if account is None:
        raise Refuse(401, {"result": "fail", "message": "Invalid refresh token"})
    people.refresh.pop(sent, None)
    return _session(call, account)


@route("POST", f"{API}/logout")
def logout(call: Call) -> Any:
    """Kills the refresh token; the access token lives on until it ends."""
    call.world.people.refresh.pop(cookies(call.request).get("refresh_token", ""), None)
    for name in ("access_token", "refresh_token", "csrf_token"):
        call.headers.append(("Set-Cookie", f"{name}=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; SameSite=Lax"))
    return {"result": "success"}


def _session(call: Call, account: Account) -> Any:
    tokens = call.world.people.open(account)
    if call.world.tokens_in_body:
        return {"result": "success", "data": {"access_token": tokens[0], "refresh_token": tokens[1]}}
    for name, value in zip(("access_token", "refresh_token", "csrf_token"), tokens, strict=True):
        call.headers.append(("Set-Cookie", f"{name}={value}; Max-Age=3600; Path=/; SameSite=Lax"))
    return {"result": "success"}


@route("GET", f"{API}/account/profile")
def profile(call: Call) -> Any:
    return {
        "avatar": None, **call.who.short, "is_password_set": True, "interface_language": "en-US",
        "interface_theme": "light", "timezone": "America/New_York", "last_login_at": call.who.signed_in_at,
        "last_login_ip": "127.0.0.1", "created_at": 1, "avatar_url": None,
    }  # fmt: skip


@route("GET", f"{API}/workspaces")
def workspaces(call: Call) -> Any:
    people = call.world.people
    return {
        "workspaces": [
            {
                "id": one, "name": people.workspaces[one], "plan": "sandbox", "status": "normal", "created_at": 1,
                "current": one == call.workspace,
            }
            for one in call.who.roles
        ],
    }  # fmt: skip


@route("POST", f"{API}/workspaces/current")
def workspace(call: Call) -> Any:
    names = (
        "in_trial", "trial_end_reason", "custom_config", "trial_credits", "trial_credits_used",
        "next_credit_reset_date",
    )  # fmt: skip
    known = {"plan": "basic", "status": "normal", "created_at": 1, "role": call.role}
    return {
        "id": call.workspace, "name": call.world.people.workspaces[call.workspace], **known, **dict.fromkeys(names),
    }  # fmt: skip


@route("GET", f"{API}/workspaces/current/members")
def members(call: Call) -> Any:
    return {
        "accounts": [
            {
                "avatar": None, **one.short, "last_login_at": one.signed_in_at, "last_active_at": 1, "created_at": 1,
                "role": one.roles[call.workspace], "status": one.status, "avatar_url": None,
            }
            for one in call.world.people.accounts
            if call.workspace in one.roles
        ],
    }  # fmt: skip


@route("POST", f"{API}/workspaces/current/members/invite-email")
def invite(call: Call) -> Any:
    call.manager()
    people, told = call.world.people, []
    for email in call.body["emails"]:
        token = str(uuid4())
        people.invitations[token] = people.add(email.split("@")[0], email, call.workspace, call.body["role"])
        people.invitations[token].status = "pending"
        url = f"{call.world.url}/activate?email={quote(email, safe='')}&token={token}"
        told.append({"status": "success", "email": email, "url": url})
    call.status = 201
    return {"result": "success", "invitation_results": told, "tenant_id": call.workspace}


@route("POST", f"{API}/activate", "open")
def activate(call: Call) -> Any:
    account = call.world.people.invitations.pop(call.body["token"])
    account.name, account.status = call.body["name"], "active"
    return {"result": "success"}
