"""What belongs to an app and is in none of its versions: keys, triggers, webhooks, the MCP server, tool bindings.

Recorded on 1.13.0 and 1.14.2, where nothing else is said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from lastgood.errors import DifyLacks
from lastgood.targets.dify.asking import API, Asker, list_of, uuid, words
from lastgood.targets.dify.fields import Fields
from lastgood.targets.dify.forms import Raw
from lastgood.targets.dify.refusal import refusal, saying
from lastgood.targets.dify.wire import Call


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of the Service API. Dify tells every member the whole of it."""

    id: str
    token: str = field(repr=False)
    created_at: datetime | None
    last_used_at: datetime | None

    @property
    def prefix(self) -> str:
        """So much of it as may be shown."""
        return self.token[:8]

    @classmethod
    def read(cls, data: object) -> Self:
        """From an item of ``…/api-keys``."""
        fields = Fields(data, "an API key")
        return cls(
            fields.text("id"), fields.text("token"), fields.moment("created_at"), fields.moment("last_used_at")
        )


@dataclass(frozen=True, slots=True)
class Trigger:
    """What starts a workflow: webhook, schedule or plugin."""

    id: str
    kind: str
    title: str
    node_id: str
    status: str
    created_at: datetime | None
    raw: Raw = field(repr=False)

    @property
    def enabled(self) -> bool:
        """Whether it starts anything."""
        return self.status == "enabled"

    @classmethod
    def read(cls, data: object) -> Self:
        """From an item of ``…/triggers``."""
        fields = Fields(data, "a trigger")
        return cls(
            fields.text("id"),
            fields.text("trigger_type"),
            fields.text_or("title"),
            fields.text("node_id"),
            fields.text_or("status"),
            fields.moment("created_at"),
            fields.data,
        )


@dataclass(frozen=True, slots=True)
class Webhook:
    """The address of a webhook node. Whoever knows it can start the workflow."""

    id: str
    node_id: str
    url: str = field(repr=False)
    created_at: datetime | None
    raw: Raw = field(repr=False)

    @classmethod
    def read(cls, data: object) -> Self:
        """From ``…/workflows/triggers/webhook``."""
        fields = Fields(data, "a webhook")
        return cls(
            fields.text("id"),
            fields.text("node_id"),
            fields.text("webhook_url"),
            fields.moment("created_at"),
            fields.data,
        )


@dataclass(frozen=True, slots=True)
class McpServer:
    """An app as an MCP server. `code` is the secret part of its address."""

    id: str
    name: str
    status: str
    description: str
    code: str = field(repr=False)
    raw: Raw = field(repr=False)

    @classmethod
    def read(cls, data: object) -> Self:
        """From ``…/server``."""
        fields = Fields(data, "the MCP server")
        return cls(
            fields.text("id"),
            fields.text_or("name"),
            fields.text_or("status"),
            fields.text_or("description"),
            fields.text_or("server_code"),
            fields.data,
        )


@dataclass(frozen=True, slots=True)
class WorkflowTool:
    """A workflow published as a tool. It runs the version it was saved with; `synced` tells whether its inputs are
    still those of the published one."""

    id: str
    app_id: str
    name: str
    label: str
    synced: bool | None
    raw: Raw = field(repr=False)

    @classmethod
    def read(cls, data: object) -> Self:
        """From ``…/tool-provider/workflow/get``."""
        fields = Fields(data, "a workflow tool")
        return cls(
            fields.text("workflow_tool_id"),
            fields.text("workflow_app_id"),
            fields.text_or("name"),
            fields.text_or("label"),
            fields.flag("synced"),
            fields.data,
        )


@dataclass(frozen=True, slots=True)
class ToolProvider:
    """A workflow tool in the workspace's list; `app_id` is empty where the server does not tell it."""

    id: str
    name: str
    app_id: str
    raw: Raw = field(repr=False)

    @classmethod
    def read(cls, data: object) -> Self:
        """From an item of ``/workspaces/current/tools/workflow``."""
        fields = Fields(data, "a tool provider")
        return cls(fields.text("id"), fields.text_or("name"), fields.text_or("workflow_app_id"), fields.data)


class Integration(Asker):
    """An app's ties to what is around it, through one session."""

    def api_keys(self, app: str) -> tuple[ApiKey, ...]:
        """The app's keys of the Service API, whole."""
        return self.get(
            f"/apps/{uuid(app)}/api-keys", f"list the API keys of app {app}", list_of("data", ApiKey.read)
        )

    def triggers(self, app: str) -> tuple[Trigger, ...]:
        """What starts the published workflow."""
        return self.get(
            f"/apps/{uuid(app)}/triggers", f"list the triggers of app {app}", list_of("data", Trigger.read)
        )

    def webhook(self, app: str, node_id: str) -> Webhook | None:
        """The address of a webhook node; None where it has none."""
        call = Call(
            "GET",
            f"{API}/apps/{uuid(app)}/workflows/triggers/webhook",
            f"read a webhook of app {app}",
            {"node_id": node_id},
        )
        return self.maybe(call, Webhook.read)

    def enable_trigger(self, app: str, trigger: str, *, enabled: bool) -> Trigger:
        """Switch a trigger, and read it back: 1.14.2 answers 400 although it does it. Raises `DifyRefused` where it
        stayed as it was."""
        call = Call(
            "POST",
            f"{API}/apps/{uuid(app)}/trigger-enable",
            f"switch a trigger of app {app}",
            json={"trigger_id": trigger, "enable_trigger": enabled},
            writes=True,
        )
        reply = self.caller.reply(call, take=(400,))
        found = next((one for one in self.triggers(app) if one.id == trigger), None)
        if found is None or found.enabled != enabled:
            if reply.status < 400:
                raise self.caller.wire.unreadable(call, "it was accepted, and the trigger did not change")
            raise refusal(call, reply, self.caller.wire.url)
        return found

    def mcp_server(self, app: str) -> McpServer | None:
        """The app's MCP server; None where it has none (what Dify then answers is documented, not recorded)."""

        def read(data: Any) -> McpServer | None:
            return None if not data or not Fields(data, "it").data.get("id") else McpServer.read(data)

        return self.maybe(Call("GET", f"{API}/apps/{uuid(app)}/server", f"read the MCP server of app {app}"), read)

    def tools(self) -> tuple[ToolProvider, ...]:
        """The workspace's workflow tools."""

        def read(data: Any) -> tuple[ToolProvider, ...]:
            return Fields({"tools": data}, "it").each("tools", ToolProvider.read)

        return self.get("/workspaces/current/tools/workflow", "list the workflow tools", read)

    def tool(self, app: str) -> WorkflowTool | None:
        """The tool that an app is published as; None where it is none (Dify answers 400 then)."""
        call = Call(
            "GET",
            f"{API}/workspaces/current/tool-provider/workflow/get",
            f"read the tool of app {app}",
            {"workflow_app_id": uuid(app)},
        )
        reply = self.caller.reply(call, take=(400, 404))
        if reply.status >= 400:
            if "not found" in saying(reply)[1].lower():
                return None
            raise refusal(call, reply, self.caller.wire.url)
        try:
            data = reply.json()
            return None if not data else WorkflowTool.read(data)
        except ValueError as error:
            raise self.caller.wire.unreadable(call, words(error)) from None

    def update_tool(self, body: Mapping[str, Any]) -> None:
        """Save a tool again, which binds it to the version that is live now. `body` is what the tool's page sends."""
        path = f"{API}/workspaces/current/tool-provider/workflow/update"
        self.read(Call("POST", path, "save a workflow tool", json=dict(body), writes=True), lambda data: None)

    def editors(self, apps: Sequence[str]) -> Mapping[str, tuple[Mapping[str, Any], ...]]:
        """Who has the editor open, by app id. Raises `DifyLacks` on servers without it (1.13.0)."""
        call = Call(
            "POST", f"{API}/apps/workflows/online-users", "tell who is editing", json={"app_ids": [*map(uuid, apps)]}
        )
        reply = self.caller.reply(call, take=(404, 405))
        if reply.status >= 400:
            raise DifyLacks(server=self.caller.wire.url, what="tell who is editing")
        try:
            found = Fields(reply.json(), "it").mappings("data")
            return {Fields(one, "it").text("app_id"): Fields(one, "it").mappings("users") for one in found}
        except ValueError as error:
            raise self.caller.wire.unreadable(call, words(error)) from None
