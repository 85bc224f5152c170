"""What a card of a node says: the name of its type, one telling line, and further lines where there is room."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from lastgood.dsl.compare.hidden import shown_text
from lastgood.dsl.document import mappings
from lastgood.dsl.flow import handle_name
from lastgood.dsl.index import FAIL_BRANCH, SOURCE, TIMEOUT, Node, handles, id_of, mapping, text

_NAMES: Final = {
    "llm": "LLM",
    "if-else": "IF/ELSE",
    "http-request": "HTTP",
    "question-classifier": "Question classifier",
    "template-transform": "Template",
    "variable-assigner": "Variable aggregator",
    "assigner": "Variable assigner",
    "human-input": "Human input",
    "trigger-webhook": "Webhook trigger",
    "trigger-schedule": "Schedule trigger",
    "trigger-plugin": "Plugin trigger",
}
_BRANCHING: Final = frozenset({"if-else", "question-classifier", "human-input"})
_AGGREGATORS: Final = frozenset({"variable-aggregator", "variable-assigner"})
_KEPT: Final = frozenset({"sys", "env", "conversation"})
_REFERENCE: Final = re.compile(r"\{\{#([^#{}]*)#\}\}")
_READ: Final = 1000


@dataclass(frozen=True, slots=True)
class Branch:
    """A way out of a node: its handle, its name on the card, and what decides for it (``""`` where nothing said)."""

    handle: str
    name: str
    reason: str = ""


def type_name(node: Node) -> str:
    """A node's type as people call it."""
    return _NAMES.get(node.type) or node.type.replace("-", " ").capitalize() or "Node"


def telling(node: Node) -> str:
    """The one thing to know of a node beside its type: its model, its host, how many branches; ``""`` for nothing."""
    find = _TELLING.get(node.type)
    return _safe(find(node.data)) if find else ""


def details(node: Node, titles: Mapping[str, str]) -> str:
    """Further lines on a node: its outputs, its text, its description; `titles` names other nodes by id. No literal
    keys."""
    data = node.data
    if node.type == "start":
        return "\n".join(id_of(field.get("variable")) for field in mappings(data.get("variables")))
    if node.type == "end":
        outputs = mappings(data.get("outputs"))
        return "\n".join(
            f"{id_of(out.get('variable'))} ← {_joined(out.get('value_selector'), titles)}" for out in outputs
        )
    if node.type in _AGGREGATORS:
        selectors = data.get("variables")
        found = (_joined(selector, titles) for selector in (selectors if isinstance(selectors, list) else ()))
        return "\n".join(filter(None, found))
    return _safe(text(data.get("answer")) or text(data.get("desc")))


def branches(node: Node) -> list[Branch]:
    """The ways out of a node that its card names: none where it has only one."""
    ways = [way for way in handles(node) if way != SOURCE]
    fixed = {FAIL_BRANCH: "on failure", TIMEOUT: "on timeout"}
    reasons = {id_of(case.get("case_id")): _conditions(case) for case in mappings(node.data.get("cases"))} or {
        "true": _conditions(node.data)
    }
    if node.type != "if-else":
        reasons = {}
    return [Branch(way, fixed.get(way) or handle_name(node, way), _safe(reasons.get(way, ""))) for way in ways]


def is_branching(node: Node) -> bool:
    """Whether the ways out of a node stand in its card's body, instead of one at its head."""
    return node.type in _BRANCHING


def _conditions(case: Mapping[str, Any]) -> str:
    found = mappings(case.get("conditions"))
    if not found:
        return ""
    first = found[0]
    value = first.get("value")
    shown = value if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    parts = (_selector(first, "variable_selector"), text(first.get("comparison_operator")), str(shown))
    more = f" ({case.get('logical_operator') or 'and'} {len(found) - 1} more)" if len(found) > 1 else ""
    return " ".join(part for part in parts if part) + more


def _safe(said: str) -> str:
    """`said` without literal keys, references written short."""
    if not said:
        return ""
    return _REFERENCE.sub(lambda found: f"{{{_joined(found[1].split('.'))}}}", shown_text(said[:_READ]))


def _selector(data: Mapping[str, Any], key: str) -> str:
    return _joined(data.get(key))


def _joined(selector: Any, titles: Mapping[str, str] | None = None) -> str:
    """A selector to a person: with the node's title for its id, a number that tells nobody anything, or without."""
    parts = [id_of(part) for part in selector] if isinstance(selector, list) else []
    if len(parts) < 2 or parts[0] in _KEPT:
        return ".".join(parts)
    if titles and parts[0] in titles:
        return ".".join([titles[parts[0]], *parts[1:]])
    return ".".join(parts[1:])


def _model(data: Mapping[str, Any]) -> str:
    selector = data.get("model_selector")
    if isinstance(selector, list) and selector:
        return ".".join(map(id_of, selector))
    return text(mapping(data.get("model")).get("name"))


def _host(data: Mapping[str, Any]) -> str:
    url = text(data.get("url")).strip()
    try:
        host = urlsplit(url).netloc.rpartition("@")[2] or url.partition("?")[0]
    except ValueError:
        host = ""
    return f"{text(data.get('method')).upper()} {host}".strip()


def _count(key: str, one: str, many: str) -> Callable[[Mapping[str, Any]], str]:
    def count(data: Mapping[str, Any]) -> str:
        value = data.get(key)
        found = len(value) if isinstance(value, list) else 0
        return f"{found} {one if found == 1 else many}" if found else ""

    return count


def _loop(data: Mapping[str, Any]) -> str:
    rounds = data.get("loop_count")
    return f"at most {rounds} rounds" if isinstance(rounds, int) and 0 < rounds < 10**9 else ""


def _tool(data: Mapping[str, Any]) -> str:
    return text(data.get("tool_label")) or text(data.get("tool_name"))


def _schedule(data: Mapping[str, Any]) -> str:
    return text(data.get("cron_expression")) or text(data.get("frequency"))


def _assigned(data: Mapping[str, Any]) -> str:
    items = mappings(data.get("items"))
    first = _selector(items[0], "variable_selector") if items else _selector(data, "assigned_variable_selector")
    return f"{first} and {len(items) - 1} more" if len(items) > 1 else first


_TELLING: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "start": _count("variables", "input", "inputs"),
    "end": _count("outputs", "output", "outputs"),
    "llm": _model,
    "question-classifier": _model,
    "parameter-extractor": _model,
    "http-request": _host,
    "code": lambda data: text(data.get("code_language")),
    "tool": _tool,
    "agent": lambda data: text(data.get("agent_strategy_label")) or text(data.get("agent_strategy_name")),
    "knowledge-retrieval": _count("dataset_ids", "base", "bases"),
    "knowledge-index": lambda data: text(data.get("embedding_model")),
    "iteration": lambda data: f"over {_selector(data, 'iterator_selector')}".removesuffix("over "),
    "loop": _loop,
    "assigner": _assigned,
    "variable-aggregator": _count("variables", "variable", "variables"),
    "variable-assigner": _count("variables", "variable", "variables"),
    "template-transform": lambda data: text(data.get("template")),
    "document-extractor": lambda data: _selector(data, "variable_selector"),
    "list-operator": lambda data: _selector(data, "variable"),
    "datasource": lambda data: text(data.get("datasource_name")),
    "human-input": _count("user_actions", "action", "actions"),
    "trigger-webhook": lambda data: text(data.get("method")).upper(),
    "trigger-schedule": _schedule,
    "trigger-plugin": lambda data: text(data.get("event_name")),
}


def note_text(data: Mapping[str, Any]) -> str:
    """The plain text of a sticky note: its editor keeps a tree in JSON (Lexical), a line for each block; what is no
    such tree is taken as it is."""
    raw = text(data.get("text"))
    try:
        root = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    if not isinstance(root, dict):
        return raw
    said: list[str] = []
    waiting: list[Any] = [root.get("root")]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            said.append(part)
        elif isinstance(part, dict):
            children = part.get("children")
            if isinstance(part.get("text"), str):
                said.append(part["text"])
            elif part.get("type") == "linebreak":
                said.append("\n")
            elif isinstance(children, list):
                inline = part.get("type") in {"link", "autolink"}
                waiting.extend([*([] if inline else ["\n"]), *reversed(children)])
    return "".join(said).strip()
