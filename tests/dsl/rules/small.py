"""Small documents for the change rules: a workflow of start → something → end, and what a change of it must mean."""

from dataclasses import dataclass, field
from typing import Any

from dsl.documents import edge, graph, node
from lastgood.dsl import Document
from lastgood.dsl.rules import RuleSettings, judge
from lastgood.dsl.semver import next_version


@dataclass(frozen=True)
class Case:
    """Two documents, the rules that must find something (and no others), and the kind of the next version."""

    name: str
    old: Document
    new: Document
    rules: frozenset[str]
    bump: str
    settings: RuleSettings = field(default_factory=RuleSettings)

    def check(self) -> None:
        changes = judge(self.old, self.new, settings=self.settings)
        found = {change.rule.id for change in changes}
        assert found == self.rules, [change.sentence for change in changes]
        assert next_version("1.2.3", changes).kind == self.bump


def case(name: str, old: Document, new: Document, rules: str, bump: str) -> Case:
    return Case(name, old, new, frozenset(rules.split()), bump)


def field_of(name: str, kind: str = "text-input", **more: Any) -> dict[str, Any]:
    """An input of the start node."""
    return {"variable": name, "label": name, "type": kind, "required": False, **more}


def takes(*fields: dict[str, Any], **more: Any) -> Document:
    """A workflow with these inputs."""
    return with_node("code", {"code": "x", "outputs": {"out": {"type": "string"}}}, *fields, **more)


def with_node(kind: str, data: dict[str, Any], *fields: dict[str, Any], **more: Any) -> Document:
    """A workflow of three: start, a node of this kind, and an end that gives `out` from it."""
    out = [{"variable": "out", "value_selector": ["n", "out"], "value_type": "string"}]
    return graph(
        node("s", "start", variables=list(fields)),
        node("n", kind, **{"title": "Work", **data}),
        node("e", "end", outputs=out),
        edge("s", "n"),
        edge("n", "e"),
        **more,
    )


def gives(*outputs: tuple[str, str, str], **more: Any) -> Document:
    """A workflow whose end gives these outputs: name, node and output that feed it. There are a code node `c` with
    the outputs text, total and items, and an LLM `m`."""
    declared = {"text": {"type": "string"}, "total": {"type": "number"}, "items": {"type": "array[string]"}}
    listed = [{"variable": name, "value_selector": [source, key]} for name, source, key in outputs]
    return graph(
        node("s", "start", variables=[]),
        node("c", "code", code="x", outputs=declared),
        node("m", "llm", model={"provider": "p", "name": "m"}, prompt_template=[{"role": "user", "text": "Go"}]),
        node("e", "end", outputs=listed),
        edge("s", "c"),
        edge("c", "m"),
        edge("m", "e"),
        **more,
    )


def chat(features: dict[str, Any] | None = None, *fields: dict[str, Any], searches: bool = False) -> Document:
    """A chatflow with these features."""
    middle = (
        node("k", "knowledge-retrieval", dataset_ids=["d1"])
        if searches
        else node("k", "template-transform", template="x")
    )
    return graph(
        node("s", "start", variables=list(fields)),
        middle,
        node("a", "answer", answer="{{#k.output#}}"),
        edge("s", "k"),
        edge("k", "a"),
        mode="advanced-chat",
        features=features or {},
    )


def hooked(node_id: str = "h", **data: Any) -> Document:
    """A workflow that a webhook starts."""
    stated = {"method": "POST", "content_type": "application/json", "headers": [], "params": [], "body": [], **data}
    return graph(node(node_id, "trigger-webhook", **stated), node("e", "end", outputs=[]), edge(node_id, "e"))


def config(**model_config: Any) -> Document:
    """A chat app without a graph."""
    return Document(
        {"app": {"mode": "chat", "name": "x"}, "kind": "app", "version": "0.6.0", "model_config": model_config}
    )


def environment(*variables: tuple[str, str, Any]) -> Document:
    """A workflow with these environment variables: name, type, value."""
    listed = [{"id": name, "name": name, "value_type": kind, "value": value} for name, kind, value in variables]
    return takes(environment_variables=listed)


def listing(*plugins: str, **more: Any) -> Document:
    """A workflow that lists these plugins."""
    document = takes(**more)
    listed = [
        {"type": "marketplace", "current_identifier": None, "value": {"marketplace_plugin_unique_identifier": plugin}}
        for plugin in plugins
    ]
    return Document({**document.data, "dependencies": listed})
