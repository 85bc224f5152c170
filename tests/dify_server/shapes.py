"""Dify's shapes of what the stand-in keeps."""

from typing import TYPE_CHECKING, Any

from dify_server.rows import FakeApp, Row, masked
from dify_server.runs import Run

if TYPE_CHECKING:
    from dify_server.world import World

# What `created_by_end_user` calls the kinds of users.
USERS = {"service-api": "service-api", "web-app": "browser", "trigger": "trigger"}


def account(world: "World", account_id: str) -> dict[str, Any] | None:
    found = world.people.by_id(account_id)
    return found.short if found else None


def row(world: "World", found: Row, tool: bool = False) -> dict[str, Any]:
    return {
        "id": found.id, "graph": found.graph, "features": found.features, "hash": world.hash(found),
        "version": found.version, "marked_name": found.marked_name, "marked_comment": found.marked_comment,
        "created_by": account(world, found.created_by), "created_at": found.created_at,
        "updated_by": account(world, found.updated_by), "updated_at": found.updated_at or found.created_at,
        "tool_published": tool, "environment_variables": masked(found.environment_variables),
        "conversation_variables": found.conversation_variables, "rag_pipeline_variables": [],
    }  # fmt: skip


def no_row() -> dict[str, Any]:
    """What 1.13.0 answers in place of a row that is not there."""
    names = (
        "id", "graph", "features", "hash", "version", "marked_name", "marked_comment", "created_at", "updated_by",
        "updated_at", "tool_published", "environment_variables", "conversation_variables", "rag_pipeline_variables",
    )  # fmt: skip
    return {**dict.fromkeys(names), "created_by": {"id": None, "name": None, "email": None}}


def _base(app: FakeApp) -> dict[str, Any]:
    return {
        "id": app.id, "name": app.name, "description": app.description, "mode": app.mode, "icon": app.icon,
        "icon_background": app.icon_background, "use_icon_as_answer_icon": False, "created_by": app.created_by,
        "created_at": app.created_at, "updated_by": app.updated_by, "updated_at": app.updated_at,
        "access_mode": None, "tags": [],
    }  # fmt: skip


def pointer(app: FakeApp) -> dict[str, Any] | None:
    live = app.live
    if live is None:
        return None
    return {
        "id": live.id, "created_by": live.created_by, "created_at": live.created_at,
        "updated_by": live.updated_by or None, "updated_at": live.updated_at or live.created_at,
    }  # fmt: skip


def listed(world: "World", app: FakeApp) -> dict[str, Any]:
    """An app in the list."""
    author = world.people.by_id(app.created_by)
    return {
        **_base(app), "max_active_requests": app.max_active_requests, "icon_type": "emoji",
        "model_config": model_config(app, world.newer), "workflow": pointer(app), "create_user_name": None,
        "author_name": author.name if author else None, "has_draft_trigger": False, "icon_url": None,
    }  # fmt: skip


def made(app: FakeApp, newer: bool = False) -> dict[str, Any]:
    """An app just made or switched."""
    return {
        **_base(app), "enable_site": True, "enable_api": app.enable_api, "model_config": model_config(app, newer),
        "workflow": pointer(app), "tracing": None,
    }  # fmt: skip


def detail(world: "World", app: FakeApp) -> dict[str, Any]:
    return {
        **made(app, world.newer), "icon_type": "emoji", "api_base_url": f"{world.url}/v1",
        "max_active_requests": app.max_active_requests, "deleted_tools": [], "site": site(world, app),
        "icon_url": None, **({"bound_agent_id": None} if world.newer else {}),
    }  # fmt: skip


def site(world: "World", app: FakeApp) -> dict[str, Any]:
    code = app.site.get("code", "site-code")
    return {
        "access_token": code, "code": code, "title": app.site.get("title", app.name), "icon_type": "emoji",
        "icon": app.site.get("icon"), "icon_background": app.site.get("icon_background"), "description": None,
        "default_language": "en-US", "chat_color_theme": None, "chat_color_theme_inverted": False,
        "customize_domain": None, "copyright": None, "privacy_policy": None, "custom_disclaimer": "",
        "customize_token_strategy": "not_allow", "prompt_public": False, "app_base_url": world.url,
        "show_workflow_steps": True, "use_icon_as_answer_icon": False, "created_by": app.created_by,
        "created_at": app.created_at, "updated_by": app.created_by, "updated_at": app.created_at, "icon_url": None,
    }  # fmt: skip


def model_config(app: FakeApp, newer: bool = False) -> dict[str, Any] | None:
    """Only apps without a workflow have one."""
    if app.mode in ("workflow", "advanced-chat"):
        return None
    off = {"enabled": False}
    avoidance = {"enabled": False, "type": "", **({"config": {}} if newer else {"configs": []})}
    model = {"provider": "openai", "name": "gpt-4o"} if newer else {"provider": None, "name": None}
    return {
        "opening_statement": None, "suggested_questions": [], "suggested_questions_after_answer": off,
        "speech_to_text": off, "text_to_speech": off, "retriever_resource": {"enabled": True},
        "annotation_reply": off, "more_like_this": off,
        "sensitive_word_avoidance": avoidance, "external_data_tools": [],
        "model": {**model, "mode": "chat", "completion_params": {}}, "user_input_form": [],
        "dataset_query_variable": None, "pre_prompt": None,
        "agent_mode": {"enabled": False, "strategy": None, "tools": [], "prompt": None}, "prompt_type": "simple",
        "chat_prompt_config": {}, "completion_prompt_config": {}, "dataset_configs": {"retrieval_model": "multiple"},
        "file_upload": {
            "image": {
                "enabled": False, "number_limits": 3, "detail": "high",
                "transfer_methods": ["remote_url", "local_file"],
            },
        },
        "created_by": app.created_by, "created_at": app.created_at, "updated_by": app.created_by,
        "updated_at": app.created_at,
    }  # fmt: skip


def parameters(live: Row) -> dict[str, Any]:
    """What ``/v1/parameters`` says of a version."""
    off, features = {"enabled": False}, live.features
    files = features.get("file_upload") or {}
    return {
        "opening_statement": features.get("opening_statement", ""),
        "suggested_questions": features.get("suggested_questions", []),
        **{
            name: features.get(name) or off
            for name in ("suggested_questions_after_answer", "speech_to_text", "text_to_speech", "retriever_resource",
                         "annotation_reply", "more_like_this")
        },
        "user_input_form": [{one["type"]: one} for one in live.inputs],
        "sensitive_word_avoidance": features.get("sensitive_word_avoidance") or off,
        "file_upload": {
            "enabled": bool(files.get("enabled")), "allowed_file_types": files.get("allowed_file_types", ["image"]),
            "allowed_file_extensions": files.get("allowed_file_extensions", []),
            "allowed_file_upload_methods": files.get("allowed_file_upload_methods", ["local_file", "remote_url"]),
            "number_limits": files.get("number_limits", 3),
        },
        "system_parameters": {
            "image_file_size_limit": 10, "video_file_size_limit": 100, "audio_file_size_limit": 50,
            "file_size_limit": 15, "workflow_file_upload_limit": 10,
        },
    }  # fmt: skip


def end_user(world: "World", run: Run) -> dict[str, Any] | None:
    if run.user_kind == "account":
        return None
    return {
        "id": world.end_user(run), "type": USERS.get(run.user_kind, run.user_kind), "is_anonymous": False,
        "session_id": run.user,
    }  # fmt: skip


SUMMARY = (
    "id", "version", "status", "triggered_from", "error", "elapsed_time", "total_tokens", "total_steps", "created_at",
    "finished_at", "exceptions_count",
)  # fmt: skip


def summary(entry: dict[str, Any]) -> dict[str, Any]:
    """A run in a log."""
    return {name: entry.get(name) for name in SUMMARY}
