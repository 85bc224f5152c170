"""Webhooks and triggers of an app, and when Dify makes and drops them."""

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from dify_server.refusals import refuse
from dify_server.rows import FakeApp, Row

if TYPE_CHECKING:
    from dify_server.world import World

KINDS = ("trigger-webhook", "trigger-schedule", "trigger-plugin")


def nodes(row: Row, *kinds: str) -> list[dict[str, Any]]:
    return [one for one in row.graph.get("nodes") or [] if one["data"].get("type") in kinds]


def check(row: Row) -> None:
    """Refuses a schedule that cannot be read, as publishing does."""
    for one in nodes(row, "trigger-schedule"):
        cron = one["data"].get("cron_expression")
        if one["data"].get("mode") == "cron" and cron and not cron.startswith("@") and len(cron.split()) != 5:
            raise refuse(
                400,
                "invalid_param",
                "Cron expression must have exactly 5 fields or be a predefined expression (@daily, @weekly, etc.). "
                f"Got {len(cron.split())} fields: '{cron}'",
            )


def sync_webhooks(world: "World", app: FakeApp, row: Row) -> None:
    """Gives each webhook node of `row` its URL and kills the URLs of nodes that it lacks. 1.13.0 does this whenever
    the draft is saved, 1.14.2 makes at the draft and kills at publish."""
    wanted = [one["id"] for one in nodes(row, "trigger-webhook")]
    for name in [one for one in app.webhooks if one not in wanted]:
        if not world.newer or row.version != "draft":
            del app.webhooks[name]
    for name in wanted:
        if name not in app.webhooks:
            app.webhooks[name] = _webhook(world, name)


def sync_triggers(world: "World", app: FakeApp, row: Row) -> None:
    """Brings the app's triggers to those of the version just published; those that stay keep id and status."""
    known = {one["node_id"]: one for one in app.triggers}
    wanted = nodes(row, *KINDS)
    fresh = [_trigger(world, one) for one in wanted if one["id"] not in known]
    kept = [one for one in app.triggers if one["node_id"] in {node["id"] for node in wanted}]
    app.triggers = [*reversed(fresh), *kept]


def _trigger(world: "World", node: dict[str, Any]) -> dict[str, Any]:
    moment = world.now().isoformat().removesuffix("+00:00")
    return {
        "id": str(uuid4()), "trigger_type": node["data"]["type"], "title": node["data"].get("title", node["id"]),
        "node_id": node["id"], "provider_name": "", "icon": "", "status": "enabled", "created_at": moment,
        "updated_at": moment,
    }  # fmt: skip


def _webhook(world: "World", node_id: str) -> dict[str, Any]:
    code = uuid4().hex[:24]
    return {
        "id": str(uuid4()), "webhook_id": code, "webhook_url": f"{world.url}/triggers/webhook/{code}",
        "webhook_debug_url": f"{world.url}/triggers/webhook-debug/{code}", "node_id": node_id,
        "created_at": world.now().isoformat().removesuffix("+00:00"),
    }  # fmt: skip
