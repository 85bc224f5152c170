"""What the cases are made of."""

import itertools
from dataclasses import dataclass
from typing import Any, Final

from dsl.documents import edge, graph, node
from lastgood.dsl import Document


@dataclass(frozen=True)
class Case:
    """A rule, a document that breaks it once, one that keeps it, words of the finding and its place."""

    rule: str
    bad: Document
    good: Document
    says: str
    at: str
    severity: str = ""


def inside(parent: str, part: dict[str, Any]) -> dict[str, Any]:
    return {**part, "parentId": parent}


def chain(*ids: str) -> list[dict[str, Any]]:
    return [edge(a, b) for a, b in itertools.pairwise(ids)]


MODEL: Final = {"provider": "openai", "name": "gpt-4o", "mode": "chat"}
START: Final = node("s", "start", variables=[{"variable": "q", "label": "q", "type": "paragraph", "required": True}])
UUID: Final = "2516f4a8-9329-4845-a914-7965090ee2e2"
KEYS: Final = {
    "environment_variables": [{"name": "KEY", "value_type": "secret", "value": ""}],
    "conversation_variables": [{"name": "seen", "value_type": "array[string]"}],
}


def llm(node_id: str = "m", prompt: str = "{{#s.q#}}", **data: Any) -> dict[str, Any]:
    return node(node_id, "llm", **({"model": MODEL, "prompt_template": [{"role": "user", "text": prompt}]} | data))


def code(body: str = "return {'a': q}", node_id: str = "c", **data: Any) -> dict[str, Any]:
    given = {
        "code_language": "python3",
        "code": f"def main(q):\n    {body}\n",
        "variables": [{"variable": "q", "value_selector": ["s", "q"]}],
        "outputs": {"a": {"type": "string"}},
    }
    return node(node_id, "code", **(given | data))


def end(node_id: str = "e", **outputs: list[str]) -> dict[str, Any]:
    listed = [{"variable": name, "value_selector": selector} for name, selector in outputs.items()]
    return node(node_id, "end", outputs=listed or [{"variable": "q", "value_selector": ["s", "q"]}])


def answer(text: str = "{{#s.q#}}", node_id: str = "x") -> dict[str, Any]:
    return node(node_id, "answer", answer=text)


def http(**data: Any) -> dict[str, Any]:
    given = {
        "url": "https://api.shop.io/{{#s.q#}}",
        "method": "get",
        "authorization": {"type": "no-auth"},
        "timeout": {"read": 10},
    }
    return node("h", "http-request", **(given | data))


def retrieval(**data: Any) -> dict[str, Any]:
    return node("k", "knowledge-retrieval", **({"query_variable_selector": ["s", "q"], "dataset_ids": [UUID]} | data))


def branch(node_id: str = "b", *cases: str) -> dict[str, Any]:
    condition = {"variable_selector": ["s", "q"], "comparison_operator": "is", "value": "x"}
    made = [{"case_id": name, "conditions": [condition]} for name in cases or ("yes",)]
    return node(node_id, "if-else", cases=made)


def flow(*parts: dict[str, Any], **workflow: Any) -> Document:
    """start → each of these nodes → end, with the edges among `parts` beside."""
    nodes = [part for part in parts if "source" not in part]
    ids = [part["id"] for part in nodes if not part.get("parentId") and part.get("type") != "custom-note"]
    last = [] if "e" in ids else ["e"]
    ends = [] if "e" in ids else [end()]
    return graph(START, *parts, *ends, *chain("s", *ids, *last), **workflow)


def chat(*parts: dict[str, Any], **workflow: Any) -> Document:
    """start → each of these nodes → answer, as a chatflow."""
    ids = [part["id"] for part in parts if "source" not in part]
    ends = [] if "x" in ids else [answer()]
    return graph(START, *parts, *ends, *chain("s", *ids, *(["x"] if ends else [])), mode="advanced-chat", **workflow)


def form(**more: Any) -> Document:
    asked = {"variable": "q", "type": "text-input", **more}
    return graph(node("s", "start", variables=[asked]), end(), *chain("s", "e"))


def joined(*second: dict[str, Any]) -> Document:
    """start → branch → (code or `second`) → end."""
    edges = [edge("s", "b"), edge("b", "c", sourceHandle="yes"), edge("c", "e")]
    return graph(START, branch(), code(), *second, *edges)


def two_ends(**outputs: list[str]) -> Document:
    edges = [edge("s", "c"), edge("c", "b"), edge("b", "e", sourceHandle="yes"), edge("b", "f", sourceHandle="false")]
    typed = code("return {'a': q, 'n': 1}", outputs={"a": {"type": "string"}, "n": {"type": "number"}})
    return graph(START, typed, branch(), end(a=["c", "a"]), end("f", **outputs), *edges)


def container(kind: str = "iteration", *children: dict[str, Any], **data: Any) -> list[dict[str, Any]]:
    """A container `i` with its start `is` and these nodes in a row."""
    edges = [part for part in children if "source" in part]
    nodes = [part for part in children if "source" not in part]
    given = {"start_node_id": "is", "iterator_selector": ["l", "rows"], "output_selector": ["i", "item"]}
    loops = {"start_node_id": "is", "loop_count": 3, "loop_variables": []}
    first = inside("i", node("is", f"{kind}-start"))
    return [
        node("i", kind, **((given if kind == "iteration" else loops) | data)),
        *(first, *(inside("i", part) for part in nodes)),
        *(*chain("is", *(part["id"] for part in nodes)), *edges),
    ]


ROWS: Final = code("return {'rows': [q]}", "l", outputs={"rows": {"type": "array[string]"}})


def rounds(*parts: dict[str, Any], **workflow: Any) -> Document:
    """start → code that makes a list → container `i` → end."""
    tail = [] if any(part.get("id") == "e" for part in parts) else [end()]
    return graph(START, ROWS, *parts, *tail, *chain("s", "l", "i", "e"), **workflow)


def plain(prompt: str, *fields: dict[str, Any]) -> Document:
    config = {"pre_prompt": prompt, "user_input_form": [{"text-input": field} for field in fields], "model": MODEL}
    return Document({"app": {"mode": "chat", "name": "x"}, "model_config": config})


def listing(document: Document, *identifiers: str) -> Document:
    items = [{"type": "package", "value": {"plugin_unique_identifier": each}} for each in identifiers]
    return Document({**document.data, "dependencies": items})


def raw(nodes: list[Any], edges: list[Any]) -> Document:
    return Document({"app": {"mode": "workflow"}, "workflow": {"graph": {"nodes": nodes, "edges": edges}}})


SOUND: Final = flow(code(), node("e", "end", outputs=[{"variable": "a", "value_selector": ["c", "a"]}]))
