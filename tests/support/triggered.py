"""Documents that triggers start."""

from typing import Any

from lastgood.dsl import Document


def triggered(
    text: str = "v1",
    *,
    cron: str | None = "0 9 * * *",
    timezone: str = "UTC",
    hook: bool = True,
    answer: str = "",
    method: str = "post",
) -> Document:
    """A workflow that the webhook ``hook`` and the schedule ``every`` start (None, False: not it), and that says
    `text`; the webhook's field ``name`` is required."""
    nodes = [
        _node("say", "template-transform", template=text, variables=[]),
        _node(
            "done",
            "end",
            outputs=[
                {"variable": "said", "value_selector": ["say", "output"]},
                {"variable": "name", "value_selector": ["hook", "name"]},
            ],
        ),
    ]
    entries = []
    if hook:
        body = [{"name": "name", "type": "string", "required": True}]
        more = {"method": method, "content_type": "application/json", "response_body": answer}
        entries.append(_node("hook", "trigger-webhook", body=body, headers=[], params=[], **more))
    if cron is not None:
        entries.append(_node("every", "trigger-schedule", mode="cron", cron_expression=cron, timezone=timezone))
    if not entries:
        entries.append(_node("begin", "start", variables=[]))
    pairs = [*((entry["id"], "say") for entry in entries), ("say", "done")]
    edges = [{"id": f"{a}-{b}", "source": a, "target": b, "sourceHandle": "source"} for a, b in pairs]
    return Document(
        {
            "app": {"mode": "workflow", "name": "Triggered"},
            "kind": "app",
            "version": "0.6.0",
            "workflow": {
                "graph": {"nodes": [*entries, *nodes], "edges": edges},
                "features": {},
                "environment_variables": [],
                "conversation_variables": [],
            },
        }
    )


def _node(node_id: str, kind: str, **data: Any) -> dict[str, Any]:
    return {"id": node_id, "type": "custom", "data": {"type": kind, "title": node_id, **data}}
