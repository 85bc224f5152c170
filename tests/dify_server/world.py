"""The stand-in's state, and what a test does to it: adds apps, edits and publishes as somebody else would."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from dify_server import triggers
from dify_server.graphs import graph
from dify_server.people import ADMIN_KEY, EMAIL, PASSWORD, TOKEN, Account, People
from dify_server.refusals import Refuse, invalid, refuse
from dify_server.rows import FEATURES, HIDDEN, KINDS, MASK, FakeApp, Row, Variables, clone, stored
from dify_server.runs import Run

__all__ = [
    "ADMIN_KEY", "EMAIL", "FEATURES", "HIDDEN", "MASK", "PASSWORD", "TOKEN", "FakeApp", "Refuse", "Row", "Timing",
    "World", "graph", "refuse",
]  # fmt: skip


@dataclass
class Timing:
    """Seconds. `latency` of a run, `linger` of a stream's socket after its last event, `hang` of a call that hangs,
    `ping` between pings; what a node sleeps is multiplied by `nap`."""

    latency: float = 0.0
    linger: float = 0.05
    hang: float = 300.0
    ping: float = 10.0
    nap: float = 0.01


class World:
    """Everything one stand-in knows. `newer` is 1.14.2, else 1.13.0. `lock` is held while a request is handled; the
    methods here take it too, so a test may call them at any time."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.newer = version != "1.13.0"
        self.openapi = self.newer
        self.ready = True  # set up
        self.tokens_in_body = False
        self.admin_key = ADMIN_KEY
        self.token_rate = 10_000  # calls of /openapi/v1 a minute and token
        self.url = "http://dify.test"
        self.timing = Timing()
        self.lock = threading.RLock()
        self.people = People()
        self.workspace_id = self.people.add_workspace("W")
        self.owner = self.people.add("Owner", EMAIL, self.workspace_id)
        self.people.tokens[TOKEN] = {"account": self.owner.id, "id": str(uuid4()), "label": "the fake's", "calls": 0}
        self.apps: dict[str, FakeApp] = {}
        self.imports: dict[str, dict[str, Any]] = {}
        self.end_users: dict[tuple[str, str], str] = {}
        self.going: dict[str, Run] = {}  # by task id
        self._time = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)

    # what older tests reach for

    access = property(lambda self: self.people.access)
    refresh = property(lambda self: self.people.refresh)
    csrf = property(lambda self: self.people.csrf)

    @property
    def plain_passwords(self) -> bool:
        return self.people.plain_passwords

    @plain_passwords.setter
    def plain_passwords(self, value: bool) -> None:
        self.people.plain_passwords = value

    @property
    def wrong_passwords(self) -> int:
        """How often one was tried."""
        return sum(self.people.wrong.values())

    @wrong_passwords.setter
    def wrong_passwords(self, value: int) -> None:
        self.people.wrong = {EMAIL: value}

    @property
    def account(self) -> dict[str, Any]:
        return self.owner.short

    def token(self, kind: str) -> str:
        return self.people.token(kind)

    def now(self) -> datetime:
        """A millisecond later each time."""
        self._time += timedelta(milliseconds=1)
        return self._time

    def seconds(self) -> int:
        return int(self.now().timestamp())

    def pass_time(self, seconds: float) -> None:
        """Lets the server's clock go on."""
        with self.lock:
            self._time += timedelta(seconds=seconds)

    def set_time(self, moment: datetime) -> None:
        """Sets the server's clock, which stands at a day of 2026 to begin with."""
        with self.lock:
            self._time = moment.astimezone(UTC)

    # what a test does

    def add_account(self, name: str, role: str = "editor", workspace: str = "") -> Account:
        """One more person, who signs in with ``<name>@example.com`` and `PASSWORD`."""
        with self.lock:
            return self.people.add(name, f"{name}@example.com", workspace or self.workspace_id, role)

    def add_app(
        self, name: str, *, mode: str = "workflow", output: str = "name", graph: dict[str, Any] | None = None,
        workspace: str = "",
    ) -> FakeApp:  # fmt: skip
        """An app with a draft: `graph`, or two nodes that answer the input under the name `output`."""
        with self.lock:
            app = self.new_app(name, mode, self.people.owner(workspace or self.workspace_id), workspace)
            content = graph if graph is not None else two_nodes(output)
            if mode in ("workflow", "advanced-chat"):
                self.store(app, self.owner, content, clone(FEATURES), [], [])
            return app

    def add_key(self, app: FakeApp) -> str:
        """A Service API key of an app."""
        with self.lock:
            token = self.token("app")
            app.keys.append({
                "id": str(uuid4()), "type": "app", "token": token, "last_used_at": None, "created_at": self.seconds(),
            })  # fmt: skip
            return token

    def editor_saves(
        self, app: FakeApp, graph: dict[str, Any] | None = None, *, environment: Variables | None = None,
        conversation: Variables | None = None, features: dict[str, Any] | None = None, by: Account | None = None,
    ) -> Row:  # fmt: skip
        """An editor's autosave, with the right hash: what is not given stays."""
        with self.lock:
            old = app.draft
            return self.store(
                app,
                by or self.owner,
                graph if graph is not None else clone(old.graph) if old else two_nodes("name"),
                features if features is not None else clone(old.features) if old else clone(FEATURES),
                environment if environment is not None else old.environment_variables if old else [],
                conversation if conversation is not None else old.conversation_variables if old else [],
            )

    def somebody_publishes(self, app: FakeApp, name: str = "", comment: str = "", by: Account | None = None) -> Row:
        """A publish in Dify's own editor."""
        return self.publish(app, name, comment, by)

    def somebody_deletes(self, app: FakeApp, row: Row) -> None:
        """A version deleted in Dify's own editor."""
        with self.lock:
            app.versions.remove(row)

    def point(self, app: FakeApp, row: Row) -> None:
        """Moves the app's pointer as an ``UPDATE`` in Dify's database would."""
        with self.lock:
            app.pointer = row.id

    # Dify's own doing

    def new_app(self, name: str, mode: str, by: Account, workspace: str = "") -> FakeApp:
        moment = self.seconds()
        app = FakeApp(
            str(uuid4()), name, mode, created_at=moment, updated_at=moment, tenant=workspace or self.workspace_id,
            created_by=by.id, updated_by=by.id,
        )  # fmt: skip
        app.site = {"code": uuid4().hex[:16], "title": name, "icon": app.icon, "icon_background": app.icon_background}
        self.apps[app.id] = app
        return app

    def app(self, app_id: str, workspace: str = "", more: str = "") -> FakeApp:
        found = self.apps.get(app_id)
        if found is None or (workspace and found.tenant != workspace):
            raise refuse(404, "app_not_found", f"App not found.{more}")
        return found

    def hash(self, row: Row) -> str:
        return row.hash(self.newer)

    def sync(self, app: FakeApp, body: dict[str, Any], by: Account | None = None) -> Row:
        """Saves the draft as a client asks."""
        for name in ("graph", "features"):
            if name not in body:
                raise invalid("SyncDraftWorkflowPayload", name, "Field required", "missing", body, self.newer)
            if not isinstance(body[name], dict):
                raise invalid(
                    "SyncDraftWorkflowPayload", name, "Input should be a valid dictionary", "dict_type", body[name],
                    self.newer,
                )  # fmt: skip
        for name in ("environment_variables", "conversation_variables"):
            if name in body and not isinstance(body[name], list):
                raise invalid(
                    "SyncDraftWorkflowPayload", name, "Input should be a valid list", "list_type", body[name],
                    self.newer,
                )  # fmt: skip
        if app.draft is not None and body.get("hash") != self.hash(app.draft):
            raise refuse(
                409,
                "draft_workflow_not_sync",
                "Workflow graph might have been modified, please refresh and resubmit.",
            )
        _check_variables([*(body.get("environment_variables") or []), *(body.get("conversation_variables") or [])])
        _check_features(body["features"], self.newer)
        return self.store(
            app, by or self.owner, body["graph"], body["features"], body.get("environment_variables") or [],
            body.get("conversation_variables") or [],
        )  # fmt: skip

    def store(
        self, app: FakeApp, by: Account, graph: dict[str, Any], features: dict[str, Any], environment: Variables,
        conversation: Variables, *, mask_kept: bool = True,
    ) -> Row:  # fmt: skip
        """Writes the draft. Name and icon of the app stay."""
        old, moment = app.draft, self.seconds()
        variables = stored(environment, old.environment_variables if old else [], self.newer, mask_kept)
        features = {**_WHOLE, **features}
        talking = [
            {"description": "", **{name: value for name, value in one.items() if name != "selector"}}
            for one in conversation
        ]
        app.draft = Row(
            old.id if old else str(uuid4()), "draft", graph, features, clone(variables), clone(talking),
            old.marked_name if old else "", old.marked_comment if old else "", old.created_at if old else moment,
            old.created_by if old else by.id, moment, by.id if old else "",
        )  # fmt: skip
        triggers.sync_webhooks(self, app, app.draft)
        return app.draft

    def publish(self, app: FakeApp, name: str = "", comment: str = "", by: Account | None = None) -> Row:
        """Makes a version of the draft, whoever wrote it last."""
        with self.lock:
            if app.draft is None:
                raise refuse(400, "invalid_param", "No valid workflow found.")
            triggers.check(app.draft)
            who, now = by or self.owner, self.now()
            row = app.draft.copy(
                id=str(uuid4()), version=now.strftime("%Y-%m-%d %H:%M:%S.%f"), marked_name=name,
                marked_comment=comment, created_at=int(now.timestamp()), created_by=who.id,
                updated_at=int(now.timestamp()), updated_by="",
            )  # fmt: skip
            app.versions.insert(0, row)
            app.pointer = row.id
            app.updated_by, app.updated_at = who.id, row.created_at
            triggers.sync_webhooks(self, app, row)
            triggers.sync_triggers(self, app, row)
            if app.tool:
                app.tool["synced"] = False  # it stays bound to the version it was made of
            return row

    # runs

    def begin(
        self, app: FakeApp, row: Row, inputs: dict[str, Any], user: str, *, triggered_from: str = "app-run",
        created_from: str = "service-api", **more: Any,
    ) -> Run:  # fmt: skip
        """A run about to go. Inputs that the start node does not ask for are left out."""
        wanted = [one["variable"] for one in row.inputs]
        given = {name: inputs[name] for name in wanted if name in inputs} if row.node("start") else dict(inputs)
        run = Run(app, row, given, user, triggered_from, created_from, self.seconds(), **more)
        self.end_user(run)
        return run

    def end_user(self, run: Run) -> str:
        return self.end_users.setdefault((run.app.tenant, f"{run.user_kind}:{run.user}"), str(uuid4()))

    def finished(self, run: Run) -> None:
        """Writes a run into the app's log."""
        if run.triggered_from != "workflow-tool":
            run.app.runs.insert(0, log_entry(run))

    def record(
        self, app: FakeApp, row: Row, triggered_from: str = "app-run", status: str = "succeeded"
    ) -> dict[str, Any]:
        """A run of a version, in the app's log, without running it."""
        with self.lock:
            run = self.begin(app, row, {}, "u", triggered_from=triggered_from)
            run.status, run.elapsed = status, 0.03
            app.runs.insert(0, log_entry(run))
            return app.runs[0]


def log_entry(run: Run) -> dict[str, Any]:
    """A run as the log keeps it; ``run`` is the run itself."""
    return {
        "id": run.id, "version": run.row.version, "status": run.status, "triggered_from": run.triggered_from,
        "error": run.error, "elapsed_time": run.elapsed, "total_tokens": 0, "total_steps": len(run.nodes),
        "created_at": run.created_at, "finished_at": run.created_at,
        "exceptions_count": 1 if run.status == "failed" else 0, "run": run, "log_id": str(uuid4()),
    }  # fmt: skip


def two_nodes(output: str) -> dict[str, Any]:
    return graph(output)


# What Dify adds to features that lack it.
_WHOLE: dict[str, Any] = {
    "file_upload": {}, "text_to_speech": {"enabled": False, "voice": "", "language": ""},
    "sensitive_word_avoidance": {"enabled": False},
}  # fmt: skip


def _check_variables(variables: Variables) -> None:
    for one in variables:
        kind = str(one.get("value_type", ""))
        if not kind.startswith("array") and kind not in KINDS:
            raise refuse(400, "invalid_param", f"not supported value type {kind}")


def _check_features(features: dict[str, Any], newer: bool) -> None:
    limit = (features.get("file_upload") or {}).get("number_limits", 0)
    if isinstance(limit, str) and not limit.isdigit():
        raise invalid(
            "FileUploadConfig", "number_limits",
            "Input should be a valid integer, unable to parse string as an integer", "int_parsing", limit, newer,
        )  # fmt: skip
