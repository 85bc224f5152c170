"""The runs of one graph, and those of them that go around something.

A run takes one way of leaving a node that branches, and with it every edge of that way; a node waits until each
of its edges is taken or ruled out, and runs when one is taken. Whether some run gets to a node and around the
definitions of a value needs no enumeration of runs: a node *commits* when each of its ways leads to a definition
or to a node that commits, and the runs around the definitions are those which never enter a node that commits."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final

# A node, and one of the ways to leave it.
type _Step = tuple[str, str]
# The choices of a run that matter: a node, and the handle by which the run leaves it; for ``""``, the node it begins
# with.
type Way = tuple[_Step, ...]
# Where a value is produced: a node, and the handles by which a run leaves that node once it is (None: any).
type Definition = tuple[str, frozenset[str] | None]

_ROOT: Final = ""


class Runs:
    """All runs of a graph: of each node the ways to leave it, and the nodes that each way leads to. It begins at one
    of the `roots`. Circles are endured."""

    def __init__(self, options: Mapping[str, Mapping[str, tuple[str, ...]]], roots: Iterable[str]) -> None:
        self.options = {**options, _ROOT: {root: (root,) for root in roots}}
        self.leading: dict[str, list[_Step]] = defaultdict(list)
        for node_id, ways in self.options.items():
            for way, targets in ways.items():
                for target in targets:
                    self.leading[target].append((node_id, way))

    def passes(self, first: str, node_id: str) -> bool:
        """Whether every run that gets to `node_id` comes from `first`, as far as edges alone say it, whatever the
        ways; no for nodes on circles or behind them."""
        (a, b), (c, _) = self._spans.get(first, (0, -1)), self._spans.get(node_id, (-1, -1))
        return first != node_id and a <= c <= b

    @cached_property
    def _spans(self) -> dict[str, tuple[int, int]]:
        """The tree in which each node stands under the last one that all runs to it pass: the number of each node in
        it, and the last number under that."""
        order = self._order()
        above, depth = {_ROOT: _ROOT}, {_ROOT: 0}
        for node_id in order[1:]:
            comes = {source for source, _ in self.leading[node_id] if source in depth}
            while len(comes) > 1:  # up to where they all come from
                lowest = max(comes, key=lambda source: (depth[source], source))
                comes = (comes - {lowest}) | {above[lowest]}
            (above[node_id],) = comes
            depth[node_id] = depth[above[node_id]] + 1
        size = dict.fromkeys(order, 1)
        for node_id in reversed(order[1:]):
            size[above[node_id]] += size[node_id]
        number, free = {_ROOT: 0}, {_ROOT: 1}
        for node_id in order[1:]:
            number[node_id] = free[above[node_id]]
            free[above[node_id]] += size[node_id]
            free[node_id] = number[node_id] + 1
        return {node_id: (number[node_id], number[node_id] + size[node_id] - 1) for node_id in order}

    def _order(self) -> list[str]:
        """The nodes that a run may get to, each behind all those that lead to it."""
        reached, waiting = {_ROOT}, [_ROOT]
        while waiting:
            fresh = {target for targets in self.options[waiting.pop()].values() for target in targets} - reached
            reached |= fresh
            waiting += fresh
        left = {node_id: sum(source in reached for source, _ in self.leading[node_id]) for node_id in reached}
        order = [_ROOT]
        for node_id in order:
            for targets in self.options[node_id].values():
                for target in targets:
                    left[target] -= 1
                    if not left[target]:
                        order.append(target)
        return order


class Around:
    """The runs that go around some definitions."""

    def __init__(self, runs: Runs, definitions: Iterable[Definition]) -> None:
        self._runs = runs
        self._defining = [
            (node_id, way)
            for node_id, ways in definitions
            for way in runs.options.get(node_id, {})
            if ways is None or way in ways
        ]
        self._closed = self._close()

    def gets_to(self, node_id: str) -> bool:
        """Whether some run around the definitions gets to `node_id`."""
        return node_id in self._before

    def way(self, node_id: str) -> Way | None:
        """The choices of such a run, None where there is none."""
        if node_id not in self._before:
            return None
        chosen, at = {}, node_id
        while at != _ROOT:
            at, way = self._before[at]
            chosen[at] = way
        turns, seen, waiting = [], {_ROOT}, [_ROOT]
        for at in waiting:
            ways = self._runs.options[at]
            way = chosen.get(at) or next((way for way in ways if (at, way) not in self._closed), "")
            if self._matters(at, way):
                turns.append((at, way))
            # Behind a node that cannot lead to a definition no choice matters.
            fresh = {target: None for target in ways.get(way, ()) if target in self._nearing and target not in seen}
            seen.update(fresh)
            waiting += fresh
        return tuple(turns)

    def may_stop_at(self, node_id: str) -> bool:
        """Whether a run around the definitions may find nothing behind this node."""
        ways = self._runs.options[node_id].items()
        return any(not targets for way, targets in ways if (node_id, way) not in self._closed)

    def _matters(self, node_id: str, taken: str) -> bool:
        """Whether another way out of the node leads to a definition, or may, where the taken one cannot."""
        others = [(node_id, way) for way in self._runs.options[node_id]]
        if any(step in self._closed for step in others):
            return True
        return (node_id, taken) not in self._towards and any(step in self._towards for step in others)

    def _close(self) -> set[_Step]:
        """The ways that lead to a definition whatever follows."""
        closed: set[_Step] = set()
        left: dict[str, int] = {}
        waiting = list(self._defining)
        while waiting:
            step = waiting.pop()
            if step not in closed:
                closed.add(step)
                node_id = step[0]
                left[node_id] = left.get(node_id, len(self._runs.options[node_id])) - 1
                if not left[node_id]:
                    waiting += self._runs.leading[node_id]
        return closed

    @cached_property
    def _towards(self) -> set[_Step]:
        """The ways that may lead to a definition."""
        found: set[_Step] = set()
        waiting = list(self._defining)
        while waiting:
            step = waiting.pop()
            if step not in found:
                found.add(step)
                waiting += self._runs.leading[step[0]]
        return found

    @cached_property
    def _nearing(self) -> set[str]:
        """The nodes from which a definition may still come."""
        return {node_id for node_id, _ in self._towards}

    @cached_property
    def _before(self) -> dict[str, _Step]:
        """The nodes that a run around the definitions gets to, each with a step that leads there."""
        before: dict[str, _Step] = {}
        waiting = [_ROOT]
        for node_id in waiting:
            for way, targets in self._runs.options[node_id].items():
                if (node_id, way) not in self._closed:
                    fresh = [target for target in targets if target not in before]
                    before.update(dict.fromkeys(fresh, (node_id, way)))
                    waiting += fresh
        return before
