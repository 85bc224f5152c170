"""What is around an app and in none of its versions, read and kept as integration state."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from lastgood.db.tx import Tx
from lastgood.errors import DifyBusy, DifyError, DifyMissing, DifySignInRefused, DifyUnreachable
from lastgood.history import apps, integrations, keys
from lastgood.history.integrations import Changed, Kind, Seen
from lastgood.targets.dify import forms
from lastgood.targets.dify.client import Client
from lastgood.targets.dify.integration import ApiKey, McpServer, Trigger, WorkflowTool
from lastgood.targets.dify.source import Source

Found = Mapping[Kind, Mapping[str, Seen]]
# Counters, times and what is drawn: they change without anything having changed.
_NOISE = frozenset(
    {
        "updated_at",
        "updated_by",
        "created_at",
        "created_by",
        "last_used_at",
        "icon_url",
        "icon",
        "access_token",
        "code",
    }
)
_OF_TOOL = ("description", "parameters", "output_schema", "privacy_policy")
_LONGEST = 255


def observe(source: Source, app_id: str) -> list[Changed]:
    """Read what is around an app, keep it, and give what changed. A part that the server does not tell (an older
    one, a role that may not) is left as it was. Raises `DifyUnreachable`, `DifyMissing` where the app is gone."""
    with source.store.read() as tx:
        held = source.app(tx, app_id)
    if held is None:
        return []
    found, tokens = read(source.client, app_id, held.mode)

    def work(tx: Tx) -> list[Changed]:
        app = apps.by_pk(tx, held.pk)
        first = "around" not in app.read
        changes: list[Changed] = []
        for kind, seen in found.items():
            changes += integrations.observe(tx, source.who, app, kind, seen, first=first)
        if tokens is not None:
            for key in tokens:
                keys.adopt(
                    tx, source.who, app.workflow_id, app.channel_pk,
                    token=key.token, placed_id=key.id, name=f"{app.target}: {key.prefix}…",
                )  # fmt: skip
            ids = {key.id for key in tokens}
            keys.revoke_placed(tx, source.who, app.workflow_id, app.channel_pk, ids)
        apps.set_read(tx, app, around=tx.now)
        return changes

    return source.store.write(work)


def read(client: Client, app_id: str, mode: str) -> tuple[Found, Collection[ApiKey] | None]:
    """What is around an app by kind and name, kinds that the server does not tell left out; and its API keys, which
    nothing but their hashes may be made of (None: not told)."""
    found: dict[Kind, Mapping[str, Seen]] = {}
    detail = client.console.app(app_id)  # that the app is there is asked first, so that no 404 below means it
    found["switches"] = {"": Seen(_switches(detail))}
    if detail.site is not None:
        found["site"] = {"": Seen(_plain(detail.site.raw), detail.site.code)}
    tokens = _maybe(lambda: client.integration.api_keys(app_id))
    if tokens is not None:
        found["api-key"] = {
            key.id: Seen({"prefix": key.prefix, "created_at": _text(key)}, key.token) for key in tokens
        }
    if mode == "workflow":
        triggers = _maybe(lambda: client.integration.triggers(app_id))
        if triggers is not None:
            found["trigger"] = {f"{one.kind}/{one.node_id}"[:_LONGEST]: Seen(_trigger(one)) for one in triggers}
            hooks = _maybe(lambda: _webhooks(client, app_id, triggers))
            if hooks is not None:
                found["webhook"] = hooks
    servers = _maybe(lambda: (client.integration.mcp_server(app_id),))
    if servers is not None:
        found["mcp"] = {one.id: _mcp(one) for one in servers if one is not None}
    tools = _maybe(lambda: (client.integration.tool(app_id),))
    if tools is not None:
        found["tool"] = {one.id: _tool(one) for one in tools if one is not None}
    return found, tokens


def _maybe[T](ask: Callable[[], T]) -> T | None:
    """The answer, or None where the server has none for this account, or none at all."""
    try:
        return ask()
    except (DifyUnreachable, DifyBusy, DifySignInRefused):
        raise
    except DifyMissing as error:
        if error.data.get("code") == "app_not_found":
            raise
        return None
    except DifyError:
        return None


def _webhooks(client: Client, app_id: str, triggers: Collection[Trigger]) -> dict[str, Seen]:
    found = {}
    for trigger in triggers:
        if "webhook" in trigger.kind:
            hook = client.integration.webhook(app_id, trigger.node_id)
            if hook is not None:
                found[trigger.node_id[:_LONGEST]] = Seen({"node": trigger.node_id, "id": hook.id}, hook.url)
    return found


def _switches(app: forms.App) -> dict[str, Any]:
    return {
        "enable_site": app.enable_site,
        "enable_api": app.enable_api,
        "max_active_requests": app.max_active_requests,
        "api_base_url": app.api_base_url,
    }


def _plain(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in raw.items() if name not in _NOISE}


def _trigger(one: Trigger) -> dict[str, Any]:
    # Its id is another after each publish without the node, and tells nothing.
    return {"kind": one.kind, "node": one.node_id, "title": one.title, "status": one.status}


def _mcp(one: McpServer) -> Seen:
    # What clients are told of the inputs is the server's own, and follows no version.
    told = {"name": one.name, "status": one.status, "description": one.description}
    return Seen({**told, "parameters": one.raw.get("parameters")}, one.code)


def _tool(one: WorkflowTool) -> Seen:
    told = {name: one.raw.get(name) for name in _OF_TOOL if name in one.raw}
    return Seen({"id": one.id, "name": one.name, "label": one.label, "synced": one.synced, **told})


def _text(key: ApiKey) -> str | None:
    return key.created_at.isoformat() if key.created_at else None
