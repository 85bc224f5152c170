"""The nodes and edges of a document, looked up by id: what every question about a graph starts from."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lastgood.dsl.document import Document, is_note, mappings, node_data, node_type

CONTAINERS: Final = frozenset({"iteration", "loop"})
INNER_STARTS: Final = frozenset({"iteration-start", "loop-start"})
SOURCE: Final = "source"
FAIL_BRANCH: Final = "fail-branch"
TIMEOUT: Final = "__timeout"


@dataclass(frozen=True, slots=True)
class Node:
    """A node in its place: `path` leads to it in the document, `parent` is the id of the iteration or loop around
    it (``""`` for none), `type` its real type."""

    id: str
    type: str
    data: Mapping[str, Any]
    path: str
    parent: str

    @property
    def title(self) -> str:
        """The title that people gave the node, else its id."""
        return text(self.data.get("title")).strip() or self.id

    @property
    def fails_softly(self) -> bool:
        """Whether a failure of the node takes an edge of its own."""
        return self.data.get("error_strategy") == FAIL_BRANCH


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge between two nodes that exist; `handle` is where it leaves its source, ``""`` for an explicit null."""

    source: str
    handle: str
    target: str
    path: str


class Index:
    """A document's graph by id. Sticky notes, nodes without an id and edges that lead nowhere are left out
    (`graph.check` names them); of several nodes with one id the first counts."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.nodes: dict[str, Node] = {}
        raw = {}
        for path, node in _listed(document, "nodes"):
            node_id = id_of(node.get("id"))
            if node_id and node_id not in raw and not is_note(node):
                raw[node_id] = (path, node)
        edges = [
            (id_of(edge.get("source")), text(edge.get("sourceHandle", SOURCE)), id_of(edge.get("target")), path)
            for path, edge in _listed(document, "edges")
        ]
        parents = _Parents({i: node for i, (_, node) in raw.items()}, [(edge[0], edge[2]) for edge in edges])
        for node_id, (path, node) in raw.items():
            parent = parents.of(node_id)
            self.nodes[node_id] = Node(node_id, node_type(node), node_data(node), path, parent)
        self.edges: list[Edge] = []
        self.outgoing: dict[str, list[Edge]] = defaultdict(list)
        self.incoming: dict[str, list[Edge]] = defaultdict(list)
        for found in itertools.starmap(Edge, edges):
            if found.source in self.nodes and found.target in self.nodes:
                self.edges.append(found)
                self.outgoing[found.source].append(found)
                self.incoming[found.target].append(found)

    def of_type(self, *types: str) -> Iterator[Node]:
        """The nodes of these types, in canvas order."""
        return (node for node in self.nodes.values() if node.type in types)

    def children(self, container: str) -> Iterator[Node]:
        """The nodes directly inside an iteration or loop; at the top level for ``""``."""
        return (node for node in self.nodes.values() if node.parent == container)

    def around(self, node_id: str) -> Iterator[str]:
        """The containers around a node, from the nearest outward, and ``""`` for the top level in the end."""
        seen = set()
        while node_id in self.nodes and node_id not in seen:
            seen.add(node_id)
            node_id = self.nodes[node_id].parent
            yield node_id


def handles(node: Node) -> tuple[str, ...]:
    """The handles that a node's edges may leave from; a run takes exactly one of several. Those of an `if-else` are
    its cases and ``false``, of a classifier its classes, of a form its actions and its timeout."""
    if node.type == "if-else":
        cases = node.data.get("cases")
        own = [id_of(case.get("case_id")) for case in mappings(cases)] if cases is not None else ["true"]
        own.append("false")
    elif node.type == "question-classifier":
        own = [id_of(item.get("id")) for item in mappings(node.data.get("classes"))]
    elif node.type == "human-input":
        own = [id_of(action.get("id")) for action in mappings(node.data.get("user_actions"))]
        own.append(TIMEOUT)
    else:
        own = [SOURCE]
    if node.fails_softly:
        own.append(FAIL_BRANCH)
    return tuple(dict.fromkeys(handle for handle in own if handle))


def id_of(value: Any) -> str:
    """An id as text: some tools write numbers. ``""`` for anything that is no id."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(value)


def text(value: Any) -> str:
    """`value` if it is text, else ``""``."""
    return value if isinstance(value, str) else ""


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def step(path: str, key: str | int) -> str:
    """The path of what stands under `key` at `path`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if key.isidentifier() else f'{path}["{key}"]'


def _listed(document: Document, part: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The mappings in a list of the graph, each with its path."""
    items = document.graph.get(part) if document.has_graph else None
    for i, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            yield f"workflow.graph.{part}[{i}]", item


class _Parents:
    """Which container each node is in. The canvas says it by `parentId`, old formats by the data's `iteration_id` or
    `loop_id`: of two the inner one is meant, and none where an edge joins the node with one outside (a node that was
    copied out of a container keeps these)."""

    def __init__(self, nodes: Mapping[str, dict[str, Any]], edges: list[tuple[str, str]]) -> None:
        self._containers = {node_id for node_id, node in nodes.items() if node_type(node) in CONTAINERS}
        self._certain = {node_id: self._known(_canvas_parent(node)) for node_id, node in nodes.items()}
        self._named = {
            node_id: self._certain[node_id] or self._known(*_data_parents(node)) for node_id, node in nodes.items()
        }
        self._joined: dict[str, set[str]] = defaultdict(set)
        for source, target in edges:
            if source in nodes and target in nodes:
                self._joined[source].add(target)
                self._joined[target].add(source)

    def of(self, node_id: str) -> str:
        named = [owner for owner in self._named[node_id] if owner != node_id]
        if not self._certain[node_id]:
            named = [owner for owner in named if all(owner in self._named[other] for other in self._joined[node_id])]
        if len(named) < 2:
            return named[0] if named else ""
        return next((owner for owner in named if set(named) - {owner} <= self._above(owner)), named[0])

    def _known(self, *owners: str) -> list[str]:
        return [owner for owner in dict.fromkeys(owners) if owner in self._containers]

    def _above(self, node_id: str) -> set[str]:
        above: set[str] = set()
        waiting = [node_id]
        while waiting:
            fresh = set(self._named[waiting.pop()]) - above
            above |= fresh
            waiting.extend(fresh)
        return above


def _canvas_parent(node: dict[str, Any]) -> str:
    return id_of(node_data(node).get("container_id")) or id_of(node.get("parentId"))


def _data_parents(node: dict[str, Any]) -> tuple[str, str]:
    return id_of(node_data(node).get("iteration_id")), id_of(node_data(node).get("loop_id"))
