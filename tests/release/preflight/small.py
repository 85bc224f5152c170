"""Small documents and facts for the checks: what is not said is as it is when all is well."""

from itertools import pairwise
from typing import Any

from dsl.documents import edge, graph, node
from lastgood.dsl import Document
from lastgood.release.preflight.content import Content, content_of
from lastgood.release.preflight.examination import CHECKS, judge
from lastgood.release.preflight.facts import Calls, Engine, Facts, Inventory, Side, Target, Unknown

DIFY = Target("dify", embedded=False)
EMBEDDED = Target(
    "the embedded engine",
    embedded=True,
    inventory=Inventory(
        {"knowledge_bases": frozenset(), "tools": frozenset()}, {"plugins": "the embedded engine does without them"}
    ),
)
OLD, NEW = "v-20261101-01", "v-20261102-01"


def field(name: str, kind: str = "text-input", **more: Any) -> dict[str, Any]:
    """An input of the start node."""
    return {"variable": name, "label": name, "type": kind, **more}


def flow(
    *parts: dict[str, Any],
    inputs: tuple[dict[str, Any], ...] = (),
    outputs: tuple[str, ...] = (),
    version: str | None = "0.6.0",
    mode: str = "workflow",
    **more: Any,
) -> Document:
    """start → each of `parts` → end; the outputs are texts that the start's `text` feeds."""
    last = node("done", "end", outputs=[{"variable": name, "value_selector": ["begin", "text"]} for name in outputs])
    if mode == "advanced-chat":
        last = node("done", "answer", answer="hi")
    ids = ["begin", *(part["id"] for part in parts), "done"]
    edges = [edge(a, b) for a, b in pairwise(ids)]
    start = node("begin", "start", variables=[field("text"), *inputs] if outputs else list(inputs))
    data = graph(start, *parts, last, *edges, mode=mode, **more).data
    if version is None:
        return Document({key: value for key, value in data.items() if key != "version"})
    return Document({**data, "version": version})


def variable(name: str, kind: str, value: Any = "") -> dict[str, Any]:
    """An environment or conversation variable."""
    return {"id": f"id-{name}", "name": name, "value_type": kind, "value": value}


def tool(provider_type: str, **data: Any) -> dict[str, Any]:
    """A tool node."""
    said = {"provider_type": provider_type, "provider_id": "p", "provider_name": "p", "tool_name": "t", **data}
    return node(said.get("id", "use"), "tool", **said)


def side(document: Document | Content | Unknown, version: str, **more: Any) -> Side:
    """A version with that content."""
    content = content_of(document) if isinstance(document, Document) else document
    held = frozenset() if isinstance(content, Unknown) else frozenset(content.secrets)
    return Side(**{"version": version, "state": "stable", "content": content, "held": held, **more})


def facts(
    to: Document | Side | None = None, now: Document | Side | None = None, *, target: Target = DIFY, **more: Any
) -> Facts:
    """A move from `now` to `to`; without `now` the same document is in service."""
    to = flow() if to is None else to
    before = to if now is None else now
    after = to if isinstance(to, Side) else side(to, OLD)
    running = side(before, NEW) if isinstance(before, Document) else before
    if running is after:
        running = Side(NEW, "stable", after.content, held=after.held)
    base: dict[str, Any] = {"workflow": "greet", "channel": "live", "pointed": NEW, "engine": Engine()}
    return Facts(**{**base, "to": after, "now": running, "target": target, "calls": Calls((), (), 100), **more})


def found(check: str, given: Facts) -> list[tuple[str, str]]:
    """What one check says: verdict and sentence."""
    return [(one.verdict, one.sentence) for one in judge(given, {check: CHECKS[check]})]


def verdicts(check: str, given: Facts) -> str:
    """The verdicts of one check, as words."""
    return " ".join(verdict for verdict, _ in found(check, given))


def told(check: str, given: Facts) -> str:
    """All that one check says."""
    return " ".join(sentence for _, sentence in found(check, given))
