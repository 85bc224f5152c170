"""Which nodes of two graphs are the same: by id, and where ids were made anew by title, content and neighbours."""

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from functools import cached_property
from typing import Any, Final

from lastgood.dsl.canonical import folded
from lastgood.dsl.compare.lists import words_of
from lastgood.dsl.compare.settling import settled
from lastgood.dsl.document import node_data, node_type
from lastgood.dsl.index import INNER_STARTS, id_of

type Neighbour = tuple[str, str, int]

# Of these a container or a workflow has one, so that it is recognised however much it changed.
_SINGLE: Final = INNER_STARTS | {"start"}
_OFTEN_SINGLE: Final = ("end", "answer")
_REFERENCE: Final = re.compile(r"\{\{#[^.#{}]+(?=\.)")
_ALIKE: Final = 0.5
_SOMEWHAT_ALIKE: Final = 0.2
_ALL_BUT_THE_SAME: Final = 0.8
_MOST_PAIRS: Final = 10_000
_ROUNDS: Final = 4


class Side:
    """One of the two graphs: the meanings of its nodes and edges."""

    def __init__(self, nodes: Sequence[dict[str, Any]], edges: Sequence[dict[str, Any]]) -> None:
        self.nodes, self._edges = nodes, edges
        self.types = [node_type(node) for node in nodes]
        self.titles = [_title(node) for node in nodes]
        ids = list(map(_proper_id, nodes))
        often = Counter(ids)
        self.places: dict[str | float, int] = {}
        for place, node_id in enumerate(ids):
            if node_id is not None and often[node_id] == 1:
                self.places[node_id] = place
        self._words: dict[int, frozenset[str]] = {}

    @cached_property
    def neighbours(self) -> list[set[Neighbour]]:
        """For each node its edges and its container, as (direction, handle, the other's place)."""
        found: list[set[Neighbour]] = [set() for _ in self.nodes]
        for edge in self._edges:
            source, target = self._place(edge.get("source")), self._place(edge.get("target"))
            if source is not None and target is not None:
                handle = id_of(edge.get("sourceHandle"))
                found[source].add(("out", handle, target))
                found[target].add(("in", handle, source))
        for place, node in enumerate(self.nodes):
            parent = self._place(node.get("parentId"))
            if parent is not None:
                found[place].add(("inside", "", parent))
        return found

    def is_proper(self, place: int) -> bool:
        """Whether a node has an id that no other has."""
        node_id = _proper_id(self.nodes[place])
        return node_id is not None and node_id in self.places

    def words(self, place: int) -> frozenset[str]:
        """The words of a node, ids left out."""
        if place not in self._words:
            self._words[place] = frozenset(words_of(self.bare(place)))
        return self._words[place]

    def bare(self, place: int) -> dict[str, Any]:
        """A node's data without its title and the ids of other nodes."""
        data = node_data(self.nodes[place])
        bare: dict[str, Any] = self._without_ids({k: v for k, v in data.items() if k not in {"title", "type"}})
        return bare

    def _place(self, node_id: Any) -> int | None:
        return self.places.get(node_id) if isinstance(node_id, str | int | float) else None

    def _without_ids(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._without_ids(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._without_ids(item) for item in value]
        if isinstance(value, str):
            return "" if value in self.places else _REFERENCE.sub("{{#", value)
        return value


def pair_nodes(old: Side, new: Side) -> dict[int, int]:
    """The places of the nodes that are in both graphs. Paired nodes have the same id, or both have an id that no
    other node of their graph has; a node of another type is another node."""
    return _Pairing(old, new).pairs


class _Pairing:
    def __init__(self, old: Side, new: Side) -> None:
        self.old, self.new = old, new
        self.pairs: dict[int, int] = {}
        self.taken: set[int] = set()
        self._by_id()
        if not (len(old.places) == len(old.nodes) and len(new.places) == len(new.nodes)):
            self._copies()
        self.kept_ids = len(self.pairs) * 2 >= min(len(old.nodes), len(new.nodes))
        if len(self.pairs) < min(len(old.nodes), len(new.nodes)):
            # Where a title alone decides, content would say the same or nothing; so only the others are asked for it.
            if not self.kept_ids:
                self._by_title()
            self._by_content()
            if not self.kept_ids:
                self._by_title()
            for _ in range(_ROUNDS):
                before = len(self.pairs)
                self._singles()
                self._by_likeness()
                if len(self.pairs) == before:
                    break

    def _pair(self, i: int, j: int) -> None:
        self.pairs[i] = j
        self.taken.add(j)

    def _by_id(self) -> None:
        """Nodes of one id and type; where titles speak for others (somebody numbered the nodes anew), content
        decides."""
        unsure = []
        for node_id, i in self.old.places.items():
            j = self.new.places.get(node_id)
            if j is None or self.old.types[i] != self.new.types[j]:
                continue
            if self.old.titles[i] == self.new.titles[j]:
                self._pair(i, j)
            else:
                unsure.append((i, j))
        if not unsure:
            return
        elsewhere_old = self._titled(self.old, self.pairs)
        elsewhere_new = self._titled(self.new, self.taken)
        for i, j in unsure:
            rivals = [
                (i, other) for other in elsewhere_new.get((self.old.types[i], self.old.titles[i]), ()) if other != j
            ]
            rivals += [
                (other, j) for other in elsewhere_old.get((self.new.types[j], self.new.titles[j]), ()) if other != i
            ]
            if all(self._likeness(i, j) >= self._likeness(*rival) for rival in rivals):
                self._pair(i, j)

    def _copies(self) -> None:
        """Nodes that share their id with others of their graph, or have none: equal ones, then those of one type."""
        for equal in (True, False):
            waiting: dict[Hashable, list[int]] = defaultdict(list)
            for j in range(len(self.new.nodes)):
                if j not in self.taken:
                    waiting[_copy_key(self.new, j, equal)].append(j)
            for i in range(len(self.old.nodes)):
                there = waiting.get(_copy_key(self.old, i, equal)) if i not in self.pairs else None
                if there and not (self.old.is_proper(i) and self.new.is_proper(there[0])):
                    self._pair(i, there.pop(0))

    def _left(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """The nodes without a pair that may get one, by type."""
        left: dict[str, list[int]] = defaultdict(list)
        right: dict[str, list[int]] = defaultdict(list)
        for place in self.old.places.values():
            if place not in self.pairs:
                left[self.old.types[place]].append(place)
        for place in self.new.places.values():
            if place not in self.taken:
                right[self.new.types[place]].append(place)
        return left, right

    def _by_content(self) -> None:
        """Pair the nodes left of which each graph has one with this type, title and content."""
        ours, theirs = (
            self._grouped(side, places) for side, places in zip((self.old, self.new), self._left(), strict=True)
        )
        for key, group in ours.items():
            others = theirs.get(key, [])
            if len(group) == len(others) == 1:
                self._pair(group[0], others[0])

    def _by_title(self) -> None:
        """Pair the nodes left of which each graph has one with this type and title."""
        ours, theirs = (self._titled(side, taken) for side, taken in ((self.old, self.pairs), (self.new, self.taken)))
        for key, group in ours.items():
            others = theirs.get(key, [])
            if len(group) == len(others) == 1:
                self._pair(group[0], others[0])

    @staticmethod
    def _grouped(side: Side, left: dict[str, list[int]]) -> dict[Hashable, list[int]]:
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for kind, places in left.items():
            for place in places:
                groups[kind, side.titles[place], folded(side.bare(place))].append(place)
        return groups

    def _singles(self) -> None:
        """Pair the starts, one of a workflow and one of each container, and a graph's only end or answer."""
        left, right = self._left()
        for kind in (*_SINGLE, *_OFTEN_SINGLE):
            if kind in _OFTEN_SINGLE and not (self.old.types.count(kind) == self.new.types.count(kind) == 1):
                continue
            for i in left.get(kind, ()):
                found = [j for j in right.get(kind, ()) if j not in self.taken and self._same_container(i, j)]
                if len(found) == 1:
                    self._pair(i, found[0])

    def _same_container(self, i: int, j: int) -> bool:
        ours = {place for way, _, place in self.old.neighbours[i] if way == "inside"}
        theirs = {place for way, _, place in self.new.neighbours[j] if way == "inside"}
        return {self.pairs.get(place) for place in ours} == theirs

    def _by_likeness(self) -> None:
        """Pair the nodes left of each type, the likest first, as far as title, content or neighbours speak for it."""
        left, right = self._left()
        found = []
        for kind, places in left.items():
            others = right.get(kind, [])
            if kind in _SINGLE or len(places) * len(others) > _MOST_PAIRS:
                continue
            for i in places:
                for j in others:
                    likeness = self._likeness(i, j)
                    company = 0.0 if self.kept_ids else self._company(i, j)
                    titled = bool(self.old.titles[i]) and self.old.titles[i] == self.new.titles[j]
                    if self._enough(likeness, company, titled):
                        found.append((-(likeness + company + titled), i, j))
        for _, i, j in sorted(found):
            if i not in self.pairs and j not in self.taken:
                self._pair(i, j)

    def _enough(self, likeness: float, company: float, titled: bool) -> bool:
        """Whether so much in common makes one node of two. Where ids were kept, another id is another node, unless it
        is all but the same; where they were made anew, title or content or neighbours tell."""
        if self.kept_ids:
            return likeness >= _ALL_BUT_THE_SAME or (titled and likeness >= _ALIKE)
        if titled:
            return likeness >= _SOMEWHAT_ALIKE or company > 0
        return likeness >= _ALIKE or (likeness >= _SOMEWHAT_ALIKE and company == 1.0)

    def _likeness(self, i: int, j: int) -> float:
        ours, theirs = self.old.words(i), self.new.words(j)
        return len(ours & theirs) / len(ours | theirs) if ours and theirs else 0.0

    def _company(self, i: int, j: int) -> float:
        """How far the neighbours of two nodes agree, from 0 to 1."""
        ours = {(way, handle, self.pairs.get(place, -1)) for way, handle, place in self.old.neighbours[i]}
        theirs = self.new.neighbours[j]
        return len(ours & theirs) / len(ours | theirs) if ours or theirs else 0.0

    @staticmethod
    def _titled(side: Side, taken: Iterable[int]) -> dict[tuple[str, str], list[int]]:
        taken = set(taken)
        found: dict[tuple[str, str], list[int]] = defaultdict(list)
        for place in side.places.values():
            if place not in taken and side.titles[place]:
                found[side.types[place], side.titles[place]].append(place)
        return found


def _copy_key(side: Side, place: int, equal: bool) -> Hashable:
    node = side.nodes[place]
    return folded(node) if equal else (folded(node.get("id")), "id" in node, side.types[place])


def _proper_id(node: dict[str, Any]) -> str | float | None:
    """The id of a node, None when it is none that others can refer to."""
    node_id = node.get("id")
    if type(node_id) is str:
        return node_id or None
    if isinstance(node_id, float) and node_id.is_integer():
        node_id = settled(node_id)
    return node_id if isinstance(node_id, int) and not isinstance(node_id, bool) else None


def _title(node: dict[str, Any]) -> str:
    title = node_data(node).get("title")
    return title.strip() if isinstance(title, str) else ""
