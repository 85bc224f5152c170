"""Small workflow documents."""

from typing import Any

from lastgood.dsl import Document


def document(
    text: str = "hello",
    *,
    name: str = "Greeter",
    mode: str = "workflow",
    secrets: dict[str, str | None] | None = None,
    x: int = 0,
) -> Document:
    """start → template → end, whose template says `text`. `secrets` are its secret variables (None: no value came);
    `x` is where the template stands on the canvas, which says nothing of what the workflow does."""
    last = _node("done", "end", outputs=[{"variable": "said", "value_selector": ["say", "output"]}])
    if mode == "advanced-chat":
        last = _node("done", "answer", answer="{{#say.output#}}")
    nodes = [
        _node("begin", "start", variables=[]),
        {**_node("say", "template-transform", template=text, variables=[]), "position": {"x": x, "y": 0}},
        last,
    ]
    ends = [("begin", "say"), ("say", "done")]
    edges = [
        {"id": f"{a}-{b}", "source": a, "target": b, "sourceHandle": "source", "targetHandle": "target"}
        for a, b in ends
    ]
    variables = [
        {"id": f"id-{key}", "name": key, "value_type": "secret", "value": value or "", "selector": ["env", key]}
        for key, value in (secrets or {}).items()
    ]
    return Document(
        {
            "app": {"mode": mode, "name": name},
            "kind": "app",
            "version": "0.6.0",
            "workflow": {
                "graph": {"nodes": nodes, "edges": edges},
                "features": {},
                "environment_variables": variables,
                "conversation_variables": [],
            },
        }
    )


def plain_chat(name: str = "Assistant") -> Document:
    """A document of an app mode that has no graph."""
    return Document(
        {
            "app": {"mode": "chat", "name": name},
            "kind": "app",
            "version": "0.6.0",
            "model_config": {"pre_prompt": "Be brief.", "model": {"name": "small", "provider": "any"}},
        }
    )


def _node(node_id: str, kind: str, **data: Any) -> dict[str, Any]:
    return {"id": node_id, "type": "custom", "data": {"type": kind, "title": kind.title(), **data}}
