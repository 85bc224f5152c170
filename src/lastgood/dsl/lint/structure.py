"""Rules on the graph as a whole: broken parts, nodes that never run, runs that end without an answer."""

import re
from collections.abc import Iterator
from typing import Final

from lastgood.dsl.graph import TRIGGERS, check
from lastgood.dsl.index import FAIL_BRANCH, Node
from lastgood.dsl.lint.rules import Problem, Rule, Subject, listed, quoted
from lastgood.dsl.lint.ways import when

_BROKEN: Final = {
    "empty-graph": ("The graph has no nodes.", "There is nothing to run.", "`nodes: []`"),
    "not-a-node": ("An item of the node list is not a mapping.", "Dify cannot import it.", "`nodes: [1]`"),
    "node-without-id": ("A node has no id.", "Dify cannot import it.", "`nodes: [{data: {type: llm}}]`"),
    "duplicate-node-id": ("Two nodes have one id.", "References to it are ambiguous.", "`nodes: [{id: a}, {id: a}]`"),
    "node-without-data": ("A node has no data.", "Its type is unknown.", "`nodes: [{id: a}]`"),
    "node-without-type": ("A node's data has no type.", "Dify cannot run it.", "`data: {title: Ask}`"),
    "node-id-not-text": (
        "The id of a node is a number.",
        "References are text, and may not find it in tools that tell the two apart.",
        "`id: 1700000000001` without quotes",
    ),
    "not-an-edge": ("An item of the edge list is not a mapping.", "Dify cannot import it.", "`edges: [1]`"),
    "edge-without-end": ("An edge has no source or no target.", "It leads nowhere.", "`{source: a}`"),
    "edge-to-nowhere": (
        "An edge names a node that is not there.",
        "The engine refuses the graph.",
        "`{target: gone}`",
    ),
    "no-start": ("There is no start node and no trigger.", "No run can begin.", "only an `llm` and an `end`"),
    "several-starts": (
        "There are several start nodes.",
        "The engine refuses the graph.",
        "two nodes of type `start`",
    ),
    "start-and-trigger": ("A start node and a trigger stand together.", "Dify refuses it.", "`start` and a webhook"),
    "type-not-in-mode": (
        "A node's type does not go with the app's mode.",
        "Dify refuses it.",
        "an `answer` node in a workflow",
    ),
    "unknown-parent": (
        "A node is inside an iteration or loop that is not there.",
        "It never runs.",
        "`parentId: gone`",
    ),
    "cycle": ("Edges go round in a circle.", "The engine refuses the graph.", "`a → b → a`"),
}
_WARNED: Final = "node-id-not-text"
BROKEN: Final = {
    code: Rule(code, "warning" if code == _WARNED else "error", *words) for code, words in _BROKEN.items()
}
UNREACHABLE: Final = Rule(
    "unreachable-node",
    "warning",
    "No run gets to a node.",
    "No edge leads to it from a start node or trigger, or from the beginning of the iteration or loop it is in. "
    "Neither Dify nor its engine says so.",
    "a template that somebody disconnected and left on the canvas",
)
NO_END: Final = Rule(
    "no-end",
    "warning",
    "No run gets to an end node or answer.",
    "A workflow without an end gives its caller nothing, and a chatflow without an answer says nothing. Workflows "
    "that triggers start are left alone.",
    "`start → llm`, and nothing behind it",
)
PATH_WITHOUT_END: Final = Rule(
    "path-without-end",
    "info",
    "A run can stop at a node that is no end or answer, without having passed one.",
    "That run succeeds and gives nothing. In a chatflow this is a warning: the user gets no reply. Handles without "
    "an edge are another rule's business.",
    "an `if-else` whose ELSE leads to an HTTP request, and whose IF leads to the end",
)
UNUSED_RESULT: Final = Rule(
    "unused-result",
    "info",
    "Nothing uses what a node computes.",
    "The node costs time, and a model costs money, for nothing. Only nodes that do nothing else are looked at: "
    "models, code, templates, retrievals, extractors, list operators, aggregators.",
    "an `llm` whose text appears in no later node",
)
RULES: Final = (*BROKEN.values(), UNREACHABLE, NO_END, PATH_WITHOUT_END, UNUSED_RESULT)

_ENDS: Final = ("end", "answer")
_PURE: Final = (
    *("llm", "code", "template-transform", "knowledge-retrieval", "parameter-extractor", "document-extractor"),
    *("list-operator", "variable-aggregator", "variable-assigner"),
)
_NUMBER: Final = re.compile(r"nodes\[(\d+)\]")


def find(subject: Subject) -> Iterator[Problem]:
    """What the rules of this module find."""
    if not subject.document.has_graph:
        return
    yield from _broken(subject)
    if not any(subject.flow.reachable):
        return
    yield from _unreachable(subject)
    yield from _ends(subject)
    yield from _unused(subject)


def _broken(subject: Subject) -> Iterator[Problem]:
    by_path = {node.path: node for node in subject.index.nodes.values()}
    for found in check(subject.document):
        sentence = found.sentence[:1].upper() + found.sentence[1:] + "."
        yield BROKEN[found.code].at(by_path.get(found.path), found.path, sentence, found.severity)


def _unreachable(subject: Subject) -> Iterator[Problem]:
    """One finding for each place where a region without a way in begins."""
    index, reachable = subject.index, subject.flow.reachable
    lost = {node.id for node in index.nodes.values() if node.id not in reachable and node.type}
    lost -= {node_id for node_id in lost if index.nodes[node_id].parent in lost}
    left = set(lost)
    # A region is told where nothing of it comes before; one that is a circle, at its first node.
    first = [node_id for node_id in index.nodes if node_id in lost and not _before(subject, node_id) & lost]
    for node_id in [*first, *(node_id for node_id in index.nodes if node_id in lost)]:
        if node_id not in left:
            continue
        region = _behind(subject, node_id, left)
        left -= region
        node, more = index.nodes[node_id], len(region) - 1
        also = f", nor to the {more} behind it" if more > 1 else ", nor to the one behind it" if more else ""
        yield UNREACHABLE.at(node, node.path, f"No run gets to {quoted(node.title)}{also}.")


def _before(subject: Subject, node_id: str) -> set[str]:
    return {edge.source for edge in subject.index.incoming[node_id]} - {node_id}


def _behind(subject: Subject, node_id: str, within: set[str]) -> set[str]:
    found: set[str] = set()
    waiting = [node_id]
    while waiting:
        at = waiting.pop()
        if at in within and at not in found:
            found.add(at)
            waiting += [edge.target for edge in subject.index.outgoing[at]]
    return found


def _ends(subject: Subject) -> Iterator[Problem]:
    mode = subject.document.mode
    ends = [node.id for node in subject.running(*_ENDS)]
    triggered = any(True for _ in subject.running(*TRIGGERS))
    if mode == "rag_pipeline" or (triggered and not ends):
        return
    if not ends:
        what = "an answer" if mode == "advanced-chat" else "an end node"
        yield NO_END.at(None, "workflow.graph.nodes", f"No run gets to {what}, so that callers get nothing back.")
        return
    found = subject.flow.past(ends)
    if found and not triggered:
        node = subject.index.nodes[found[0]]
        what = "an answer" if mode == "advanced-chat" else "an end node"
        sentence = f"A run can stop here without having passed {what}{when(subject.index, found[1])}."
        yield PATH_WITHOUT_END.at(node, node.path, sentence, "warning" if mode == "advanced-chat" else None)


def _unused(subject: Subject) -> Iterator[Problem]:
    used = {
        found.selector[0] for found in subject.references.all if found.selector and found.node != found.selector[0]
    }
    for node in subject.running(*_PURE):
        if node.id not in used and not _selected(subject, node):
            names = listed(sorted(subject.references.outputs(node.id).values))
            outputs = f" ({names})" if names else ""
            yield UNUSED_RESULT.at(node, node.path, f"No node uses what {quoted(node.title)} gives{outputs}.")


def _selected(subject: Subject, node: Node) -> bool:
    """Whether the node chooses the further way: a failure of it is then used."""
    return any(edge.handle == FAIL_BRANCH for edge in subject.index.outgoing[node.id])
