"""Dify's documents: an app's rows out as YAML, and YAML in as a draft."""

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import yaml

from dify_server import triggers
from dify_server.people import Account
from dify_server.refusals import broken, invalid, refuse
from dify_server.rows import FakeApp, Row, Variables
from dify_server.running import KNOWN

if TYPE_CHECKING:
    from dify_server.world import World

VERSION = "0.6.0"
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the quick one, where it was built
MODES = ("workflow", "advanced-chat", "chat", "agent-chat", "completion")


def export(world: "World", app: FakeApp, wanted: str, secrets: bool) -> str:
    """The document of the draft, or of the version `wanted`."""
    row = app.draft
    if wanted:
        try:
            UUID(wanted)
        except ValueError:
            raise broken() from None
        if app.draft is not None and wanted == app.draft.id:
            raise broken()
        row = next((one for one in app.versions if one.id == wanted), None)
    if row is None:
        if world.newer:
            raise broken()
        raise refuse(400, "invalid_param", "Missing draft workflow configuration, please check.")
    return yaml.dump(document(world, app, row, secrets), Dumper=_DUMPER, allow_unicode=True)


def document(world: "World", app: FakeApp, row: Row, secrets: bool) -> dict[str, Any]:
    about: dict[str, Any] = {
        "description": app.description, "icon": app.icon, "icon_background": app.icon_background, "mode": app.mode,
        "name": app.name, "use_icon_as_answer_icon": False,
    }  # fmt: skip
    if world.newer:
        about["icon_type"] = "emoji"
    workflow = {
        "conversation_variables": _selected("conversation", row.conversation_variables),
        "environment_variables": [
            {**one, "value": one["value"] if secrets or one.get("value_type") != "secret" else ""}
            for one in _selected("env", row.environment_variables)
        ],
        "features": row.features,
        "graph": _without_urls(row.graph),
        "rag_pipeline_variables": [],
    }
    return {"app": about, "dependencies": [], "kind": "app", "version": VERSION, "workflow": workflow}


def _selected(scope: str, variables: Variables) -> Variables:
    return [
        {
            "description": one.get("description", ""), "id": one.get("id"), "name": one["name"],
            "selector": [scope, one["name"]], "value": one.get("value"), "value_type": one.get("value_type"),
        }
        for one in variables
    ]  # fmt: skip


def _without_urls(graph: dict[str, Any]) -> dict[str, Any]:
    """Webhook URLs and the times of schedules are not exported."""
    nodes = []
    for one in graph.get("nodes") or []:
        kind, data = one["data"].get("type"), one["data"]
        if kind == "trigger-webhook":
            data = {**data, "webhook_url": "", "webhook_debug_url": ""}
        elif kind == "trigger-schedule":
            plain = {
                "frequency": "daily", "mode": "visual", "timezone": "UTC",
                "visual_config": {
                    "monthly_days": [1], "on_minute": 0, "time": "12:00 AM", "weekdays": ["sun"],
                },
            }  # fmt: skip
            data = {**data, "config": plain}
        nodes.append({**one, "data": data})
    return {**graph, "nodes": nodes} if "nodes" in graph else graph


def import_document(world: "World", by: Account, workspace: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Takes a document in, as a new app or over one. Status and answer."""
    mode = body.get("mode")
    if mode is None:
        raise invalid("AppImportPayload", "mode", "Field required", "missing", body, world.newer)
    if mode not in ("yaml-content", "yaml-url"):
        raise refuse(400, "invalid_param", f"Invalid import_mode: {mode}")
    name = mode.replace("-", "_") if mode == "yaml-url" else "yaml_content"
    if not body.get(name):
        return _failed(f"{name} is required when import_mode is {mode}")
    content = "{}" if mode == "yaml-url" else body["yaml_content"]
    try:
        read = yaml.safe_load(content)
    except yaml.YAMLError as error:
        return _failed(f"Invalid YAML format: {error}")
    if not isinstance(read, dict):
        return _failed("Invalid YAML format: content must be a mapping")
    version = read.get("version") or "0.1.0"
    if not isinstance(version, str):
        return _failed(f"Invalid version type, expected str, got {type(version)}")
    if not read.get("app"):
        return _failed("Missing app data in YAML content")
    numbers = _numbers(version)
    if numbers is None:
        return _failed(f"Invalid version: '{version}'")
    made: dict[str, Any] = {
        "id": str(uuid4()), "status": "pending", "app_id": None, "app_mode": None, "current_dsl_version": VERSION,
        "imported_dsl_version": version, "error": "",
    }  # fmt: skip
    target = body.get("app_id")
    if target and (target not in world.apps or world.apps[target].tenant != workspace):
        return _failed("App not found")
    mine = _numbers(VERSION) or (0,)
    if numbers > mine or numbers[0] != mine[0]:
        world.imports[made["id"]] = {"read": read, "body": body, "version": version, "by": by, "workspace": workspace}
        return 202, made
    return _completed(world, by, workspace, read, body, made, numbers[:2] < mine[:2])


def confirm(world: "World", import_id: str) -> tuple[int, dict[str, Any]]:
    """Takes in what was pending."""
    kept = world.imports.pop(import_id, None)
    if kept is None:
        status, answer = _failed("Import information expired or does not exist")
        return status, {**answer, "id": import_id}
    made = {
        "id": import_id, "status": "completed", "app_id": None, "app_mode": None, "current_dsl_version": VERSION,
        "imported_dsl_version": kept["version"], "error": "",
    }  # fmt: skip
    return _completed(world, kept["by"], kept["workspace"], kept["read"], kept["body"], made, False)


def _completed(
    world: "World", by: Account, workspace: str, read: dict[str, Any], body: dict[str, Any], made: dict[str, Any],
    warned: bool,
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    about = read["app"]
    mode = about.get("mode", "workflow")
    if mode not in MODES:
        return _failed(f"'{mode}' is not a valid AppMode")
    app = world.apps.get(body.get("app_id") or "")
    fresh = app is None
    if app is None:
        app = world.new_app(body.get("name") or about.get("name", ""), mode, by, workspace)
        app.icon, app.icon_background = about.get("icon"), about.get("icon_background")
        app.site.update(icon=app.icon, icon_background=app.icon_background)
    why = _wrong(world, read)
    if why:
        if fresh and world.newer:  # 1.13.0 leaves an empty app behind
            del world.apps[app.id]
        return _failed(why)
    workflow = read["workflow"]
    if not fresh:
        app.name, app.icon = body.get("name") or about.get("name", app.name), about.get("icon", app.icon)
        app.icon_background = about.get("icon_background", app.icon_background)
        app.description = about.get("description", app.description)
        app.updated_by, app.updated_at = by.id, world.seconds()
    world.store(
        app, by, workflow.get("graph") or {}, workflow.get("features") or {},
        workflow.get("environment_variables") or [], workflow.get("conversation_variables") or [], mask_kept=False,
    )  # fmt: skip
    status = "completed-with-warnings" if warned else "completed"
    return 200, {**made, "status": status, "app_id": app.id, "app_mode": app.mode}


def _wrong(world: "World", read: dict[str, Any]) -> str:
    if not read.get("workflow"):
        return "Missing workflow data for workflow/advanced chat app"
    nodes = (read["workflow"].get("graph") or {}).get("nodes") or []
    kinds = [one["data"].get("type") for one in nodes]
    unknown = next((kind for kind in kinds if kind not in KNOWN), None)
    if unknown and not world.newer:
        return f"'{unknown}' is not a valid NodeType"
    if "start" in kinds and any(kind in triggers.KINDS for kind in kinds):
        return "Start node and trigger nodes cannot coexist in the same workflow"
    return ""


def _failed(why: str) -> tuple[int, dict[str, Any]]:
    return 400, {
        "id": str(uuid4()), "status": "failed", "app_id": None, "app_mode": None, "current_dsl_version": VERSION,
        "imported_dsl_version": "", "error": why,
    }  # fmt: skip


def _numbers(version: str) -> tuple[int, ...] | None:
    try:
        return tuple(int(part) for part in version.split("."))
    except ValueError:
        return None
