"""Which nodes a run can reach, and whether a value has been produced by the time it is used."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

from lastgood.dsl.document import mappings
from lastgood.dsl.graph import TRIGGERS
from lastgood.dsl.index import (
    CONTAINERS,
    FAIL_BRANCH,
    INNER_STARTS,
    SOURCE,
    TIMEOUT,
    Edge,
    Index,
    Node,
    handles,
    id_of,
    text,
)
from lastgood.dsl.outputs import ERRORS, inner_values
from lastgood.dsl.references import Reference
from lastgood.dsl.runs import Around, Definition, Runs, Way

type Reason = Literal["", "branch", "failure", "success", "later", "apart", "inside", "itself"]

_ENTRIES: Final = TRIGGERS | {"start", "datasource"}


@dataclass(frozen=True, slots=True)
class Arrival:
    """Whether a value is there when it is used: ``always``, ``sometimes`` or ``never``.

    The reason for less than always: the run may take another `branch`; the node may end in `failure`, or in
    `success` where its error is asked for; the value is produced `later`, on a path `apart`, `inside` an iteration
    or loop that keeps it, or by the node `itself`."""

    certainty: Literal["always", "sometimes", "never"]
    reason: Reason = ""
    _around: tuple[Around, str] | None = field(default=None, repr=False, compare=False)

    @property
    def way(self) -> Way:
        """A run that comes without the value, for a reason of `branch`. Worked out when asked for."""
        around, place = self._around or (None, "")
        return (around.way(place) if around else None) or ()


_ALWAYS: Final = Arrival("always")


class Flow:
    """The runs that a graph allows. Each iteration or loop is a graph of its own; edges between two of these graphs
    are no edges. Circles, which no engine runs, are endured."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._graphs: dict[tuple[str, bool], Runs] = {}
        self._known: dict[tuple[str, bool, frozenset[Definition]], Around] = {}
        self._after: dict[Definition, frozenset[str]] = {}

    @cached_property
    def reachable(self) -> frozenset[str]:
        """The nodes that some run gets to."""
        found: set[str] = set()
        waiting = list(self._roots(""))
        while waiting:
            node_id = waiting.pop()
            if node_id not in found:
                found.add(node_id)
                waiting += self._targets(node_id)
                if self.index.nodes[node_id].type in CONTAINERS:
                    waiting += self._roots(node_id)
        return frozenset(found)

    def arrival(self, reference: Reference) -> Arrival:
        """Whether what `reference` names is there when its node runs. Nothing is missing where the reference is
        unresolved, the value needs no node, or the node never runs."""
        if reference.value is None or reference.node not in self.reachable:
            return _ALWAYS
        return self._arrival(reference)

    def never(self, reference: Reference) -> Reason:
        """Why what `reference` names is there on no run, ``""`` when it is on some; quicker than `arrival`."""
        producer = self.index.nodes.get(reference.selector[0]) if reference.selector else None
        if producer is None or reference.value is None or reference.node not in self.reachable:
            return ""
        if producer.parent == reference.node:
            arrival = self.arrival(reference)
            return arrival.reason if arrival.certainty == "never" else ""
        return self._never(reference.node, producer, reference.selector[1])

    def without(self, reader: str, selectors: Iterable[tuple[str, ...]]) -> Way | None:
        """A run that gets to the node `reader` and produces none of the values that `selectors` (all resolved)
        name, or None where no run does."""
        scope = self.index.nodes[reader].parent
        definitions = []
        for selector in selectors:
            producer = self.index.nodes.get(selector[0])
            if producer is None:
                return None
            if producer.parent != scope:
                if self._at(reader, producer, selector[1]).certainty == "always":
                    return None
            elif not self._never(reader, producer, selector[1]):
                definitions.append(self._definition(producer, selector[1]))
        return self._around(scope, definitions).way(reader)

    def past(self, ends: Iterable[str]) -> tuple[str, Way] | None:
        """A node that nothing follows, and a run that gets there past each of the nodes `ends`; None where there is
        none. A handle without an edge is not taken for an end."""
        around = self._around("", [(self._lifted(end, ""), None) for end in ends if end in self.index.nodes], True)
        leaves = (node.id for node in self.index.children("") if not self._targets(node.id))
        return next(((leaf, way) for leaf in leaves if (way := around.way(leaf)) is not None), None)

    def _arrival(self, reference: Reference) -> Arrival:
        reader, producer = self.index.nodes[reference.node], self.index.nodes.get(reference.selector[0])
        if producer is None:
            return _ALWAYS
        if producer.parent == reader.id and reader.type in CONTAINERS:
            return self._at_end_of_round(reader, producer, reference)
        return self._at(reader.id, producer, reference.selector[1])

    def _at(self, reader: str, producer: Node, name: str) -> Arrival:
        """Whether an output of `producer` is there when the node `reader` runs."""
        reason = self._never(reader, producer, name)
        place = self._lifted(reader, producer.parent)
        if reason or place == producer.id:
            return Arrival("never", reason) if reason else _ALWAYS
        definition = self._definition(producer, name)
        if name in ERRORS and producer.data.get("error_strategy") == "default-value":
            return Arrival("sometimes", "success")
        if definition[1] is None and self._runs(producer.parent, False).passes(producer.id, place):
            return _ALWAYS  # the usual case, and much the quickest to tell
        around = self._around(producer.parent, [definition])
        return Arrival("sometimes", "branch", (around, place)) if around.gets_to(place) else _ALWAYS

    def _never(self, reader: str, producer: Node, name: str) -> Reason:
        # Where the reader, or what it is in, stands among the siblings of the producer.
        place = self._lifted(reader, producer.parent)
        if place == producer.id:  # from the inside, or of oneself
            return "" if name in inner_values(producer) else "itself"
        if self.index.nodes[place].parent != producer.parent:
            return "inside"
        definition = self._definition(producer, name)
        if definition[1] is None and self._runs(producer.parent, False).passes(producer.id, place):
            return ""
        if self._leads(definition, place):
            return ""
        if self._leads((producer.id, None), place):
            return "success" if name in ERRORS else "failure"
        return "later" if self._leads((place, None), producer.id) else "apart"

    def _lifted(self, node_id: str, scope: str) -> str:
        """The node, or the container around it, that stands in `scope`; the node itself where none does."""
        place = node_id
        for parent in self.index.around(node_id):
            if parent == scope:
                return place
            place = parent
        return node_id

    def _definition(self, producer: Node, name: str) -> Definition:
        if not producer.fails_softly:
            return producer.id, None
        ways = frozenset({FAIL_BRANCH}) if name in ERRORS else frozenset(handles(producer)) - {FAIL_BRANCH}
        return producer.id, ways

    def _at_end_of_round(self, container: Node, producer: Node, reference: Reference) -> Arrival:
        """A container looks at what its nodes have produced when a round ends; a loop also looks before that, and
        then takes what is missing for not yet true."""
        if ".output_selector" not in reference.path:
            looks = container.type == "loop" and ".break_conditions" in reference.path
            return _ALWAYS if looks else Arrival("never", "inside")
        around = self._around(container.id, [self._definition(producer, reference.selector[1])])
        inside = self.index.children(container.id)
        last = next((n.id for n in inside if around.gets_to(n.id) and around.may_stop_at(n.id)), None)
        return Arrival("sometimes", "branch", (around, last)) if last else _ALWAYS

    def _leads(self, definition: Definition, node_id: str) -> bool:
        """Whether edges lead from `definition` to a node, its own node apart."""
        first, ways = definition
        waiting = [edge.target for edge in self._onward[first] if ways is None or edge.handle in ways]
        if node_id in waiting:
            return True
        if definition not in self._after:
            found: set[str] = set()
            while waiting:
                at = waiting.pop()
                if at not in found:
                    found.add(at)
                    waiting += self._targets(at)
            self._after[definition] = frozenset(found)
        return node_id in self._after[definition]

    def _targets(self, node_id: str) -> list[str]:
        """The nodes that edges lead to, also from handles that the node does not have: those are a mistake of their
        own, and what is behind them is not blamed for it."""
        return [edge.target for edge in self._onward[node_id]]

    @cached_property
    def _onward(self) -> Mapping[str, list[Edge]]:
        """Of each node the edges that stay in its container."""
        nodes = self.index.nodes
        return {
            node.id: [edge for edge in self.index.outgoing[node.id] if nodes[edge.target].parent == node.parent]
            for node in nodes.values()
        }

    @cached_property
    def _options(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """Of each node the ways to leave it, one of which a run takes, and where they lead."""
        options = {}
        for node in self.index.nodes.values():
            ways: dict[str, list[str]] = {"": []}
            if handles(node) != (SOURCE,):
                ways = {handle: [] for handle in handles(node)}
            for edge in self._onward[node.id]:
                way = "" if "" in ways else edge.handle
                if way in ways:
                    ways[way].append(edge.target)
            options[node.id] = {way: tuple(targets) for way, targets in ways.items()}
        return options

    def _roots(self, scope: str) -> tuple[str, ...]:
        """Where the graph of a container begins, or the whole (several: one of them starts a run)."""
        inside = [node for node in self.index.children(scope) if node.id != scope]
        if not scope:
            return tuple(node.id for node in inside if node.type in _ENTRIES)
        start = id_of(self.index.nodes[scope].data.get("start_node_id"))
        named = [node.id for node in inside if node.id == start]
        typed = [node.id for node in inside if node.type in INNER_STARTS or node.data.get("isIterationStart")]
        return tuple(named or typed[:1])

    def _around(self, scope: str, definitions: Iterable[Definition], dangling: bool = False) -> Around:
        """The runs of a scope that avoid `definitions`. With `dangling`, a handle without an edge is no option."""
        key = (scope, dangling, frozenset(definitions))
        if key not in self._known:
            self._known[key] = Around(self._runs(scope, dangling), key[2])
        return self._known[key]

    def _runs(self, scope: str, dangling: bool) -> Runs:
        if (scope, dangling) not in self._graphs:
            options = {node.id: self._options[node.id] for node in self.index.children(scope)}
            if dangling:
                options = {
                    node_id: {way: targets for way, targets in ways.items() if targets} or {"": ()}
                    for node_id, ways in options.items()
                }
            self._graphs[scope, dangling] = Runs(options, self._roots(scope))
        return self._graphs[scope, dangling]


def handle_name(node: Node, handle: str) -> str:
    """How to name a way out of a node to a person: ``IF``, ``ELIF 2``, ``ELSE``, a class, an action."""
    fixed = {FAIL_BRANCH: "its failure", TIMEOUT: "its timeout"}.get(handle)
    if fixed:
        return fixed
    if node.type == "if-else":
        cases = [id_of(case.get("case_id")) for case in mappings(node.data.get("cases"))] or ["true"]
        if handle in cases:
            return f"ELIF {cases.index(handle) + 1}" if cases.index(handle) else "IF"
        return "ELSE" if handle == "false" else handle
    part, key = {"question-classifier": ("classes", "name"), "human-input": ("user_actions", "title")}.get(
        node.type, ("", "")
    )
    names = {id_of(item.get("id")): text(item.get(key)) for item in mappings(node.data.get(part))}
    return " ".join((names.get(handle) or handle).split())[:40]
