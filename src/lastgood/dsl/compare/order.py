"""In which order to tell of nodes: what callers see first, then along the graph."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lastgood.dsl.compare.changes import EdgeChange, NodeChange
from lastgood.dsl.graph import TRIGGERS
from lastgood.dsl.index import id_of

ENTRIES: Final = TRIGGERS | {"start", "datasource"}
ENDS: Final = frozenset({"end", "answer"})

type Part = Sequence[Mapping[str, Any]]
type Rank = tuple[int, int]


class Order:
    """The order of a comparison's nodes and edges. `old` and `new` are the nodes and edges of the two graphs, the old
    ones under their present ids."""

    def __init__(self, old: tuple[Part, Part], new: tuple[Part, Part]) -> None:
        self._ranks: dict[str, Rank] = {node_id: (rank, 0) for rank, node_id in enumerate(_along(*new))}
        before = -1
        # Removed nodes have a rank of their own; without one there is nothing to seek.
        gone = any(id_of(node.get("id")) not in self._ranks for node in old[0])
        for rank, node_id in enumerate(_along(*old) if gone else (), start=1):
            if node_id not in self._ranks:
                self._ranks[node_id] = (before, rank)
            elif not self._ranks[node_id][1]:
                before = self._ranks[node_id][0]

    def of_node(self, change: NodeChange) -> tuple[int, Rank]:
        """Entries, ends and answers, then the others along the new graph, each removed one behind the node that it
        came after."""
        kind = change.type
        return 0 if kind in ENTRIES else 1 if kind in ENDS else 2, self._of(change.id)

    def of_edge(self, change: EdgeChange) -> tuple[Rank, str, bool, Rank]:
        """Along the graph, the removed edges of a handle before those added."""
        return self._of(change.source), change.handle, change.kind == "added", self._of(change.target)

    def _of(self, node_id: str) -> Rank:
        return self._ranks.get(node_id, (len(self._ranks), 0))


def _along(nodes: Part, edges: Part) -> list[str]:
    """The ids of the nodes, each after those that lead to it and the nodes of a container behind it; canvas order
    among equals and where edges go round."""
    parents = {id_of(node.get("id")): id_of(node.get("parentId")) for node in nodes}
    children: dict[str, list[str]] = defaultdict(list)
    for node_id, parent in parents.items():
        children[parent if parent in parents and parent != node_id else ""].append(node_id)
    targets: dict[str, list[str]] = defaultdict(list)
    for edge in edges:
        targets[id_of(edge.get("source"))].append(id_of(edge.get("target")))
    found: dict[str, None] = {}
    waiting = [iter(_sorted(children[""], targets))]
    while waiting:
        for node_id in waiting[-1]:
            if node_id not in found:
                found[node_id] = None
                if node_id and node_id in children:
                    waiting.append(iter(_sorted(children[node_id], targets)))
                    break
        else:
            waiting.pop()
    return list(found)


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
