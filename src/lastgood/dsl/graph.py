"""What is broken in a graph, and its outline."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from lastgood.dsl.document import Document, is_note, node_data, node_type
from lastgood.errors import BrokenGraph

TRIGGERS = frozenset({"trigger-webhook", "trigger-schedule", "trigger-plugin"})
# A knowledge pipeline begins at its data sources.
_ENTRIES = TRIGGERS | {"start", "datasource"}
_FOREIGN = {
    "workflow": (frozenset({"answer"}), "only a chatflow (advanced-chat) may have"),
    "advanced-chat": (TRIGGERS | {"end"}, "only a workflow may have"),
}
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a graph: a stable `code`, where it is (`path`; `node` is its title or id, or
    ``""``), and a sentence. With an error Dify does not import or run the graph; with a warning it does."""

    code: str
    severity: Literal["error", "warning"]
    path: str
    node: str
    sentence: str


def outline(document: Document) -> dict[str, Any]:
    """The graph's bare shape: ``{"nodes": [id, …], "edges": [[source, target], …]}``, sticky notes left out."""
    return {
        "nodes": [_id(node.get("id")) for node in document.nodes if not is_note(node)],
        "edges": [[_id(edge.get("source")), _id(edge.get("target"))] for edge in document.edges],
    }


def require_sound(document: Document, source: str = "document") -> None:
    """Raises `BrokenGraph` with the first errors that `check` finds; warnings pass."""
    errors = [finding.sentence for finding in check(document) if finding.severity == "error"]
    if errors:
        more = f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
        raise BrokenGraph(source=source, summary="; ".join(errors[:_SHOWN]) + more)


def check(document: Document) -> tuple[Finding, ...]:
    """What is wrong with the graph, errors before warnings; nothing for an app without a graph."""
    if not document.has_graph:
        return ()
    nodes = {
        f"workflow.graph.nodes[{i}]": node
        for i, node in enumerate(document.graph.get("nodes") or [])
        if not (isinstance(node, dict) and is_note(node))
    }
    if not nodes:
        return (_error("empty-graph", "workflow.graph.nodes", "the graph has no nodes"),)
    found = [*_node_findings(nodes), *_edge_findings(document)]
    sound = {path: node for path, node in nodes.items() if isinstance(node, dict)}
    found += [*_entry_findings(sound), *_mode_findings(document.mode, sound), *_parent_findings(document, sound)]
    found += _cycle_findings(document)
    return tuple(sorted(found, key=lambda finding: finding.severity))


def label(node: dict[str, Any]) -> str:
    """How to name a node to a person: its title and id."""
    title, node_id = node_data(node).get("title"), node.get("id")
    return f"{title} ({node_id})" if title and title != node_id else f"{node_id}"


def _id(value: Any) -> str:
    return "" if value is None else str(value)


def _error(code: str, path: str, sentence: str, node: str = "") -> Finding:
    return Finding(code, "error", path, node, sentence)


def _node_findings(nodes: dict[str, Any]) -> Iterator[Finding]:
    seen: dict[Any, str] = {}
    for path, node in nodes.items():
        if not isinstance(node, dict):
            yield _error("not-a-node", path, f"{path} is not a mapping")
            continue
        node_id, name = node.get("id"), label(node)
        if node_id in (None, "") or isinstance(node_id, dict | list):
            yield _error("node-without-id", path, f"{path} has no id")
        elif node_id in seen:
            sentence = f"the node id {node_id} stands twice (at {seen[node_id]} and {path})"
            yield _error("duplicate-node-id", path, sentence, name)
        else:
            seen[node_id] = path
            if not isinstance(node_id, str):
                sentence = f"the id of the node {name} is a number, not text"
                yield Finding("node-id-not-text", "warning", path, name, sentence)
        if not isinstance(node.get("data"), dict):
            yield _error("node-without-data", path, f"the node {name} has no `data`", name)
        elif not node_type(node):
            yield _error("node-without-type", path, f"the node {name} has no `data.type`", name)


def _edge_findings(document: Document) -> Iterator[Finding]:
    ids = {_id(node.get("id")) for node in document.nodes if not is_note(node)}
    for i, edge in enumerate(document.graph.get("edges") or []):
        path = f"workflow.graph.edges[{i}]"
        if not isinstance(edge, dict):
            yield _error("not-an-edge", path, f"{path} is not a mapping")
            continue
        for end in ("source", "target"):
            node_id = _id(edge.get(end))
            if not node_id:
                yield _error("edge-without-end", path, f"{path} has no {end}")
            elif node_id not in ids:
                sentence = f"the edge {_edge_name(edge)} has the {end} {node_id}, and no node has this id"
                yield _error("edge-to-nowhere", path, sentence)


def _edge_name(edge: dict[str, Any]) -> str:
    return f"{edge.get('source')} → {edge.get('target')}"


def _entry_findings(nodes: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    entries = {path: node for path, node in nodes.items() if node_type(node) in _ENTRIES}
    starts = {path: node for path, node in entries.items() if node_type(node) == "start"}
    if not entries:
        yield _error("no-start", "workflow.graph.nodes", "there is no start node and no trigger")
    if len(starts) > 1:
        names = ", ".join(label(node) for node in starts.values())
        yield _error("several-starts", list(starts)[1], f"there are {len(starts)} start nodes ({names})")
    if starts and any(node_type(node) in TRIGGERS for node in entries.values()):
        path, node = next(iter(starts.items()))
        sentence = "a start node and a trigger stand together, and a workflow has one or the other"
        yield _error("start-and-trigger", path, sentence, label(node))


def _mode_findings(mode: str, nodes: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    foreign, who = _FOREIGN.get(mode, (frozenset(), ""))
    for path, node in nodes.items():
        kind = node_type(node)
        if kind in foreign:
            sentence = f"the node {label(node)} is of type {kind}, which {who}, and this is a {mode} app"
            yield _error("type-not-in-mode", path, sentence, label(node))


def _parent_findings(document: Document, nodes: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    ids = {_id(node.get("id")) for node in document.nodes}
    for path, node in nodes.items():
        parent = _id(node.get("parentId"))
        if parent and parent not in ids:
            sentence = f"the node {label(node)} is inside {parent}, and no node has this id"
            yield _error("unknown-parent", path, sentence, label(node))


def _cycle_findings(document: Document) -> Iterator[Finding]:
    """One finding where edges go round, naming one of the rounds. (A loop repeats without an edge that goes back.)"""
    targets: dict[str, set[str]] = defaultdict(set)
    for source, target in outline(document)["edges"]:
        if source and target:
            targets[source].add(target)
    waiting = Counter(target for after in targets.values() for target in after)
    ready = [source for source in targets if not waiting[source]]
    while ready:
        for target in targets.pop(ready.pop(), ()):
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    # What is left lies on a round or behind one, so walking back from anywhere ends on a round.
    left = {target: source for source, after in targets.items() for target in after}
    if left:
        walk = [next(iter(left))]
        while walk[-1] not in walk[:-1]:
            walk.append(left[walk[-1]])
        round_ = walk[walk.index(walk[-1]) :][::-1]
        titles = {_id(node.get("id")): label(node) for node in document.nodes}
        shown = " → ".join(titles.get(node_id, node_id) for node_id in round_[:6])
        yield _error("cycle", "workflow.graph.edges", f"the edges go round in a circle: {shown}", round_[0])
