"""The bodies of Dify's answers about what was kept: a row in, a dictionary out."""

import json
import uuid
from typing import Any

from sqlalchemy import Row

from lastgood.targets.engine.prepared import Prepared
from lastgood.targets.engine.service import end_user


def run_body(row: Row[Any]) -> dict[str, Any]:
    """``GET /v1/workflows/run/{id}``."""
    return {
        "id": row.id,
        "workflow_id": row.version_id,
        "status": row.status,
        "inputs": row.inputs,
        "outputs": json.loads(row.outputs),
        "error": row.error,
        "total_steps": row.total_steps,
        "total_tokens": row.total_tokens,
        "created_at": int(row.created_at),
        "finished_at": int(row.finished_at) if row.finished_at else None,
        "elapsed_time": row.elapsed_time,
    }


def log_body(row: Row[Any]) -> dict[str, Any]:
    """One item of ``GET /v1/workflows/logs``."""
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, row.id)),
        "workflow_run": {
            "id": row.id,
            "version": row.version_id,
            "status": row.status,
            "triggered_from": "app-run",
            "error": row.error,
            "elapsed_time": row.elapsed_time,
            "total_tokens": row.total_tokens,
            "total_steps": row.total_steps,
            "created_at": int(row.created_at),
            "finished_at": int(row.finished_at) if row.finished_at else None,
            "exceptions_count": row.exceptions_count,
        },
        "details": None,
        "created_from": "service-api",
        "created_by_role": "end_user",
        "created_by_account": None,
        "created_by_end_user": {
            "id": end_user(row.workflow_id, row.user),
            "type": "service-api",
            "is_anonymous": False,
            "session_id": row.user,
        },
        "created_at": int(row.finished_at or row.created_at),
    }


def conversation_body(row: Row[Any]) -> dict[str, Any]:
    """One item of ``GET /v1/conversations``."""
    return {
        "id": row.id,
        "name": row.name,
        "inputs": json.loads(row.inputs),
        "status": "normal",
        "introduction": row.introduction,
        "created_at": int(row.created_at),
        "updated_at": int(row.updated_at),
    }


def message_body(row: Row[Any]) -> dict[str, Any]:
    """One item of ``GET /v1/messages``."""
    return {
        "id": row.id,
        "conversation_id": row.conversation_id,
        "parent_message_id": "00000000-0000-0000-0000-000000000000",
        "inputs": json.loads(row.inputs),
        "query": row.query,
        "answer": row.answer,
        "feedback": None,
        "retriever_resources": [],
        "created_at": int(row.created_at),
        "agent_thoughts": [],
        "message_files": [],
        "status": row.status,
        "error": row.error,
        "extra_contents": [],
    }


def variable_body(row: Row[Any]) -> dict[str, Any]:
    """One item of ``GET /v1/conversations/{id}/variables``."""
    value = json.loads(row.value)
    return {
        "id": row.id,
        "name": row.name,
        "value_type": row.value_type,
        "value": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),
        "description": row.description,
        "created_at": int(row.created_at),
        "updated_at": int(row.updated_at),
    }


def site_body(prepared: Prepared) -> dict[str, Any]:
    """``GET /v1/site``."""
    app = prepared.document.data.get("app") or {}
    return {
        "title": prepared.runnable.name,
        "chat_color_theme": None,
        "chat_color_theme_inverted": False,
        "icon_type": "emoji",
        "icon": app.get("icon"),
        "icon_background": app.get("icon_background"),
        "description": app.get("description") or None,
        "copyright": None,
        "privacy_policy": None,
        "custom_disclaimer": "",
        "default_language": "en-US",
        "show_workflow_steps": True,
        "use_icon_as_answer_icon": bool(app.get("use_icon_as_answer_icon")),
        "icon_url": None,
    }
