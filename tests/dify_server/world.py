"""The fake's state and Dify's rules on it: drafts guarded by a hash, versions, secrets behind masks, sessions."""

import hashlib
import json
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

EMAIL = "owner@example.com"
PASSWORD = "correct horse 9"
ADMIN_KEY = "admin-key-of-the-fake"
TOKEN = "dfoa_token-of-the-fake"
MASK = "*" * 20
HIDDEN = "[__HIDDEN__]"
FEATURES: dict[str, Any] = {
    "opening_statement": "",
    "suggested_questions": [],
    "retriever_resource": {"enabled": True},
}


class Refuse(Exception):
    """Ends a request with a status and a body."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def refuse(status: int, code: str, message: str) -> Refuse:
    return Refuse(status, {"code": code, "message": message, "status": status})


@dataclass
class Row:
    """A row of Dify's workflow table: the draft or a version."""

    id: str
    version: str
    graph: dict[str, Any]
    features: dict[str, Any]
    environment_variables: list[dict[str, Any]]
    conversation_variables: list[dict[str, Any]]
    marked_name: str = ""
    marked_comment: str = ""
    created_at: int = 0


@dataclass
class FakeApp:
    """An app with its rows, keys and what belongs to no version."""

    id: str
    name: str
    mode: str = "workflow"
    draft: Row | None = None
    versions: list[Row] = field(default_factory=list)
    keys: list[dict[str, Any]] = field(default_factory=list)
    triggers: list[dict[str, Any]] = field(default_factory=list)
    webhooks: dict[str, dict[str, Any]] = field(default_factory=dict)
    mcp: dict[str, Any] | None = None
    tool: dict[str, Any] | None = None
    runs: list[dict[str, Any]] = field(default_factory=list)
    created_at: int = 1_795_454_310


class World:
    """Everything one fake server knows. `newer` is 1.14.2, else 1.13.0."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.newer = version != "1.13.0"
        self.openapi = self.newer
        self.plain_passwords = False
        self.tokens_in_body = False
        self.workspace_id = str(uuid4())
        self.account = {"id": str(uuid4()), "name": "Owner", "email": EMAIL}
        self.apps: dict[str, FakeApp] = {}
        self.access: set[str] = set()
        self.refresh: set[str] = set()
        self.csrf: set[str] = set()
        self.wrong_passwords = 0
        self.number = 0
        self._time = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)

    def now(self) -> datetime:
        self._time += timedelta(milliseconds=1)
        return self._time

    def token(self, kind: str) -> str:
        self.number += 1
        return f"{kind}-{self.number}-{uuid4().hex}"

    def add_app(self, name: str, *, mode: str = "workflow", output: str = "name") -> FakeApp:
        """An app with a draft of two nodes."""
        app = FakeApp(str(uuid4()), name, mode)
        app.draft = Row(str(uuid4()), "draft", graph(output), deepcopy(FEATURES), [], [], created_at=app.created_at)
        self.apps[app.id] = app
        return app

    def app(self, app_id: str) -> FakeApp:
        if app_id not in self.apps:
            raise refuse(404, "app_not_found", "App not found.")
        return self.apps[app_id]

    def hash(self, row: Row) -> str:
        content: dict[str, Any] = {"graph": row.graph}
        if not self.newer:
            content["features"] = row.features
        return hashlib.sha256(f"{json.dumps(content, sort_keys=True)}None".encode()).hexdigest()

    def sync(self, app: FakeApp, body: dict[str, Any]) -> Row:
        for name in ("graph", "features"):
            if not isinstance(body.get(name), dict):
                raise refuse(400, "invalid_param", f"1 validation error\n{name}\n  Field required [type=missing]")
        for name in ("environment_variables", "conversation_variables"):
            if name in body and not isinstance(body[name], list):
                raise refuse(400, "invalid_param", f"1 validation error\n{name}\n  Input should be a valid list")
        if app.draft is not None and body.get("hash") != self.hash(app.draft):
            raise refuse(409, "draft_workflow_not_sync", "The graph might have been modified, refresh and resubmit.")
        stored = {item["id"]: item.get("value") for item in (app.draft.environment_variables if app.draft else [])}
        variables = deepcopy(body.get("environment_variables") or [])
        for item in variables:
            item.pop("selector", None)  # made of the name when it is asked for
            if item.get("value_type") == "secret":
                item["value"] = self._secret(item, stored)
        app.draft = Row(
            app.draft.id if app.draft else str(uuid4()),
            "draft",
            body["graph"],
            body["features"],
            variables,
            body.get("conversation_variables") or [],
        )
        return app.draft

    def _secret(self, item: dict[str, Any], stored: dict[str, Any]) -> Any:
        value, known = item.get("value"), item["id"] in stored
        if value == HIDDEN and known:
            return stored[item["id"]]
        if self.newer and value == MASK:
            return stored[item["id"]] if known else HIDDEN
        return value

    def publish(self, app: FakeApp, name: str = "", comment: str = "") -> Row:
        if app.draft is None:
            raise refuse(400, "invalid_param", "No valid workflow found.")
        row = deepcopy(app.draft)
        now = self.now()
        row.id, row.version = str(uuid4()), now.strftime("%Y-%m-%d %H:%M:%S.%f")
        row.marked_name, row.marked_comment, row.created_at = name, comment, int(now.timestamp())
        app.versions.insert(0, row)
        kinds = {"trigger-webhook", "trigger-schedule", "trigger-plugin"}
        app.triggers = [
            next((one for one in app.triggers if one["node_id"] == node["id"]), self._trigger(node))
            for node in row.graph.get("nodes", [])
            if node["data"].get("type") in kinds
        ]
        for trigger in app.triggers:
            if trigger["trigger_type"] == "trigger-webhook":
                app.webhooks.setdefault(trigger["node_id"], self._webhook(trigger["node_id"]))
        if app.tool:
            app.tool["synced"] = False
        return row

    def record(self, app: FakeApp, row: Row, triggered_from: str = "app-run") -> dict[str, Any]:
        """A run of a version, in the app's log."""
        run = {
            "id": str(uuid4()), "version": row.version, "status": "succeeded", "triggered_from": triggered_from,
            "error": None, "elapsed_time": 0.03, "total_tokens": 0, "total_steps": 2, "created_at": 1_795_454_320,
            "finished_at": 1_795_454_320, "exceptions_count": 0,
        }  # fmt: skip
        app.runs.insert(0, run)
        return run

    def sign_in(self, email: str, sent: str) -> None:
        if self.wrong_passwords >= 6:
            raise refuse(429, "email_code_login_limit", "Too many wrong passwords.")
        if not self.plain_passwords:
            sent = decoded(sent)
        if (email, sent) != (EMAIL, PASSWORD):
            self.wrong_passwords += 1
            raise refuse(401, "authentication_failed", "Invalid email or password.")

    def open(self) -> tuple[str, str, str]:
        """A new session's tokens."""
        access, refresh, csrf = self.token("access"), self.token("refresh"), self.token("csrf")
        self.access.add(access)
        self.refresh.add(refresh)
        self.csrf.add(csrf)
        return access, refresh, csrf

    def _trigger(self, node: dict[str, Any]) -> dict[str, Any]:
        moment = self.now().isoformat().removesuffix("+00:00")
        return {
            "id": str(uuid4()), "trigger_type": node["data"]["type"], "title": node["id"], "node_id": node["id"],
            "provider_name": "", "icon": "", "status": "enabled", "created_at": moment, "updated_at": moment,
        }  # fmt: skip

    def _webhook(self, node_id: str) -> dict[str, Any]:
        code = self.token("hook")
        return {
            "id": str(uuid4()), "webhook_id": code, "webhook_url": f"http://dify.test/triggers/webhook/{code}",
            "webhook_debug_url": f"http://dify.test/triggers/webhook-debug/{code}", "node_id": node_id,
            "created_at": self.now().isoformat().removesuffix("+00:00"),
        }  # fmt: skip


def decoded(sent: str) -> str:
    import base64

    try:
        return base64.b64decode(sent, validate=True).decode()
    except ValueError:
        raise refuse(401, "authentication_failed", "Invalid encrypted data") from None


def graph(output: str, *, trigger: str = "") -> dict[str, Any]:
    """A graph of two nodes, whose answer is its input under the name `output`."""
    kind = f"trigger-{trigger}" if trigger else "start"
    start: dict[str, Any] = {"type": kind, "title": "start"}
    if not trigger:
        start["variables"] = [{"variable": "name", "label": "name", "type": "text-input", "required": True}]
    value = {"variable": output, "value_selector": ["start", "name"]}
    return {
        "nodes": [
            {"id": "start", "data": start},
            {"id": "end", "data": {"type": "end", "title": "end", "outputs": [value]}},
        ],
        "edges": [{"id": "e1", "source": "start", "target": "end"}],
    }
