"""In which order to tell of nodes: what callers see first, then along the graph."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lastgood.dsl.compare.changes import NodeChange
from lastgood.dsl.document import node_type
from lastgood.dsl.graph import TRIGGERS
from lastgood.dsl.index import id_of

_FIRST: Final = TRIGGERS | {"start", "datasource"}
_SECOND: Final = frozenset({"end", "answer"})

type Part = Sequence[Mapping[str, Any]]


def ordered(changes: Sequence[NodeChange], old: tuple[Part, Part], new: tuple[Part, Part]) -> tuple[NodeChange, ...]:
    """`changes` in the order to tell them: entries, ends and answers, then the others along the new graph, removed
    ones behind the node that they came after. `old` and `new` are the nodes and edges of the two graphs, the old ones
    under their present ids."""
    ranks: dict[str, tuple[int, int]] = {node_id: (rank, 0) for rank, node_id in enumerate(_along(*new))}
    before = (-1, 0)
    for rank, node_id in enumerate(_along(*old), start=1):
        if node_id in ranks:
            before = ranks[node_id] if ranks[node_id][1] == 0 else before
        else:
            ranks[node_id] = (before[0], rank)

    def place(change: NodeChange) -> tuple[int, tuple[int, int]]:
        kind = node_type(change.node)
        return 0 if kind in _FIRST else 1 if kind in _SECOND else 2, ranks.get(change.id, (len(ranks), 0))

    return tuple(sorted(changes, key=place))


def _along(nodes: Part, edges: Part) -> list[str]:
    """The ids of the nodes, each after those that lead to it and the nodes of a container behind it; canvas order
    among equals and where edges go round."""
    children: dict[str, list[str]] = defaultdict(list)
    ids = {id_of(node.get("id")) for node in nodes}
    for node in nodes:
        parent = id_of(node.get("parentId"))
        children[parent if parent in ids and parent != node.get("id") else ""].append(id_of(node.get("id")))
    targets: dict[str, list[str]] = defaultdict(list)
    for edge in edges:
        targets[id_of(edge.get("source"))].append(id_of(edge.get("target")))
    found: list[str] = []
    told: set[str] = set()
    waiting = [iter(_sorted(children[""], targets))]
    while waiting:
        node_id = next(waiting[-1], None)
        if node_id is None:
            waiting.pop()
        elif node_id not in told:
            told.add(node_id)
            found.append(node_id)
            if node_id in children and node_id:
                waiting.append(iter(_sorted(children[node_id], targets)))
    return found


def _sorted(ids: Sequence[str], targets: Mapping[str, Sequence[str]]) -> list[str]:
    """`ids` with each after those of them that lead to it."""
    group = dict.fromkeys(ids)
    before = dict.fromkeys(group, 0)
    for node_id in group:
        for target in targets.get(node_id, ()):
            if target in before:
                before[target] += 1
    ready = [node_id for node_id in reversed(group) if not before[node_id]]
    found: list[str] = []
    while ready:
        node_id = ready.pop()
        found.append(node_id)
        for target in reversed(targets.get(node_id, ())):
            if target in before:
                before[target] -= 1
                if not before[target]:
                    ready.append(target)
    done = set(found)
    return [*found, *(node_id for node_id in group if node_id not in done)]
