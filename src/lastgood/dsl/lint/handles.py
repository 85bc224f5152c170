"""Rules on edges and the handles they leave from."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from lastgood.dsl.document import mappings
from lastgood.dsl.flow import handle_name
from lastgood.dsl.index import FAIL_BRANCH, SOURCE, TIMEOUT, Edge, Node, handles, id_of
from lastgood.dsl.lint.rules import Problem, Rule, Subject, quoted

WITHOUT_EDGE: Final = Rule(
    "handle-without-edge",
    "warning",
    "A branch of a node leads nowhere.",
    "When a run takes it, what comes behind is silently left out. For an ELSE, and within an iteration or loop, this "
    "is often meant and only told as an info.",
    "a question classifier with three classes and edges for two of them",
)
UNKNOWN_HANDLE: Final = Rule(
    "edge-on-unknown-handle",
    "error",
    "An edge leaves from a handle that its node does not have.",
    "No run takes such an edge of a branching node. Of any other node each edge is taken whatever its handle says: "
    "harmless (an info), but not for a `fail-branch` of a node whose error strategy is not that, which then follows "
    "on success, too.",
    "`sourceHandle: case_3` on an `if-else` with the cases `case_1` and `case_2`",
)
NULL_HANDLE: Final = Rule(
    "edge-without-handle",
    "warning",
    "The handle of an edge is null or no text.",
    "Dify leaves such an edge out or refuses the graph. (An edge that does not mention a handle is sound.)",
    "`sourceHandle: null`",
)
ACROSS: Final = Rule(
    "edge-across-container",
    "error",
    "An edge leads into an iteration or loop, or out of it.",
    "Nodes in there run on their own, once a round; an edge across the border is never taken or refused.",
    "an edge from a node inside an iteration to the end node outside",
)
TWICE: Final = Rule(
    "duplicate-edge",
    "info",
    "Two edges lead from one handle to one node.",
    "The second does nothing, and a later change may be made to one only.",
    "two edges `a → b`",
)
SAME_HANDLE: Final = Rule(
    "duplicate-handle",
    "error",
    "Two cases, classes or actions of a node have one id.",
    "Their edges cannot be told apart, so that both branches run or the wrong one does.",
    "`user_actions: [{id: approve}, {id: approve}]`",
)
RULES: Final = (WITHOUT_EDGE, UNKNOWN_HANDLE, NULL_HANDLE, ACROSS, TWICE, SAME_HANDLE)

_LISTS: Final = {
    "if-else": ("cases", "case_id"),
    "question-classifier": ("classes", "id"),
    "human-input": ("user_actions", "id"),
}


def find(subject: Subject) -> Iterator[Problem]:
    """What the rules of this module find."""
    for node in subject.index.nodes.values():
        leaving = subject.index.outgoing[node.id]
        yield from _edges(subject, node, leaving)
        yield from _same(node)
        if node.id in subject.flow.reachable:
            yield from _open(node, {edge.handle for edge in leaving})


def _open(node: Node, taken: set[str]) -> Iterator[Problem]:
    own = handles(node)
    if own == (SOURCE,):
        return
    for handle in own:
        if handle in taken or handle == SOURCE:  # without an edge on success, the node is a last one
            continue
        name = handle_name(node, handle)
        meant = handle in ("false", TIMEOUT) or node.parent
        sentence = f"{name} of {quoted(node.title)} leads nowhere."
        if handle in (FAIL_BRANCH, TIMEOUT):
            happens = "fails" if handle == FAIL_BRANCH else "times out"
            sentence = f"{quoted(node.title)} takes a way of its own when it {happens}, and that leads nowhere."
        yield WITHOUT_EDGE.at(node, node.path, sentence, "info" if meant else None)


def _edges(subject: Subject, node: Node, leaving: list[Edge]) -> Iterator[Problem]:
    own, branching = handles(node), handles(node) != (SOURCE,)
    seen = Counter[tuple[str, str]]()
    for edge in leaving:
        target = subject.index.nodes[edge.target]
        way = f"the edge {quoted(node.title)} → {quoted(target.title)}"
        if target.parent != node.parent:
            yield ACROSS.at(node, edge.path, f"{_upper(way)} crosses the border of an iteration or loop.")
        elif not edge.handle:
            yield NULL_HANDLE.at(node, edge.path, f"{_upper(way)} has no handle.")
        elif edge.handle not in own and node.type:
            comes = "no run takes it" if branching else "every run takes it"
            sentence = f"{_upper(way)} leaves from the handle {quoted(edge.handle)}, which the node does not have: "
            harmless = not branching and edge.handle != FAIL_BRANCH
            yield UNKNOWN_HANDLE.at(node, edge.path, f"{sentence}{comes}.", "info" if harmless else None)
        seen[edge.handle, edge.target] += 1
        if seen[edge.handle, edge.target] == 2:
            yield TWICE.at(node, edge.path, f"{_upper(way)} is there twice.")


def _same(node: Node) -> Iterator[Problem]:
    part, key = _LISTS.get(node.type, ("", ""))
    ids = Counter(id_of(item.get(key)) for item in mappings(node.data.get(part)))
    for handle, count in ids.items():
        if handle and count > 1:
            yield SAME_HANDLE.at(node, f".{part}", f"{count} of the {part} have the id {quoted(handle)}.")


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
