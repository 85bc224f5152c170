"""Which services a move reaches: callers and what they are part of, workflows that use it as a tool, what its changed
nodes call, and what depends on those, as `lastgood.toml` declares it."""

from collections import defaultdict, deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lastgood.catalogue import Middleware, Service, matches
from lastgood.dsl.rules import listed
from lastgood.history.channels import LIVE
from lastgood.release.impact.dependants import Dependant
from lastgood.release.impact.touched import ADDRESSES, Touched

Relation = Literal["calls", "uses as a tool", "touches", "is part of", "depends on"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls a channel: an app key and a user agent (``""`` where it did not call), how often in the last 24 hours
    and 7 days (None where nobody counts), and when last (ISO). `revoked` keys called and can no more;
    `pinned` are versions that the caller names itself, in requests that no move reaches;
    `services` are the declared ones that it is part of."""

    workflow: str
    channel: str
    key: str
    name: str
    user_agent: str
    day: int | None
    week: int | None
    last_at: str | None = None
    revoked: bool = False
    pinned: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "workflow": self.workflow,
            "channel": self.channel,
            "key": self.key,
            "name": self.name,
            "user_agent": self.user_agent,
            "requests_24h": self.day,
            "requests_7d": self.week,
            "last_at": self.last_at,
            "revoked": self.revoked,
            "pinned": list(self.pinned),
            "services": list(self.services),
        }


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known around one channel: its workflow's slug, who calls that workflow and those that use it as a
    tool (by slug; None where nobody counts requests), these workflows, and what changed nodes touch."""

    workflow: str
    channel: str
    callers: Mapping[str, Sequence[Caller]]
    counted: bool
    dependants: Sequence[Dependant] = ()
    touched: Sequence[Touched] = ()
    services: Mapping[str, Service] | None = None
    middleware: Mapping[str, Middleware] | None = None

    @property
    def catalogue(self) -> Mapping[str, Service]:
        """The declared services by name."""
        return self.services or {}


@dataclass(frozen=True, slots=True)
class Reach:
    """How a move comes to a service: over `steps` (1: directly), in the words of `how`, which follow on its name.
    `calls`: it uses the workflow, over whatever others; else the workflow calls it. `day` and `week` are its
    requests, None where nobody counts them. `module` is what people call its part of the business."""

    service: str
    calls: bool
    steps: int
    how: str
    module: str
    day: int | None = None
    week: int | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """One line of the graph of dependants: `source` has `relation` to `target`."""

    source: str
    relation: Relation
    target: str


def reached(scene: Scene) -> tuple[list[Reach], list[Edge]]:
    """Every way in which a move comes to a service, and the lines of the graph between them. What the catalogue does
    not know stands for itself, by its own name."""
    ways = _Ways(scene)
    ways.calls(scene.workflow, scene.channel, 1, f"calls {scene.workflow}")
    for one in scene.dependants:
        ways.uses(one)
    for thing in scene.touched:
        ways.touches(thing)
    ways.depend()
    return ways.found, list(dict.fromkeys(ways.edges))


class _Ways:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.found: list[Reach] = []
        self.edges: list[Edge] = []

    def calls(self, workflow: str, channel: str, steps: int, how: str) -> None:
        """The services that call a channel of `workflow`, and the callers that are no declared service's."""
        groups: dict[str, list[Caller]] = defaultdict(list)
        for caller in self.scene.callers.get(workflow, ()):
            if caller.channel == channel:
                groups[caller.name].append(caller)
        owned: dict[str, list[Caller]] = defaultdict(list)
        for name, group in groups.items():
            owners = [] if all(one.revoked for one in group) else list(self._owners(name, group))
            for owner in owners:
                owned[owner] += group
                if owner != name:
                    self.edges.append(Edge(name, "is part of", owner))
            if owners:
                self.edges.append(Edge(name, "calls", workflow))
        for service, group in owned.items():
            self.add(service, True, steps, how, workflow, group)
        if channel != LIVE:
            return
        # Which of the calls are theirs nobody knows, unless there were none.
        silent = not any(one.week for group in groups.values() for one in group)
        for service, declared in self.scene.catalogue.items():
            if service not in owned and matches(declared.workflows, workflow):
                self.edges.append(Edge(service, "calls", workflow))
                self.add(service, True, steps, how, workflow, () if silent else None)

    def uses(self, one: Dependant) -> None:
        """A workflow that uses the changed one as a tool, over others or not, and who calls that in turn."""
        origin = self.scene.workflow
        used = one.through[-2] if one.steps > 1 else origin
        self.edges.append(Edge(one.slug, "uses as a tool", used))
        callers = [caller for caller in self.scene.callers.get(one.slug, ()) if caller.channel == LIVE]
        how = f"uses {used} as a tool" + (f", which comes to {origin}" if one.steps > 1 else "")
        self.add(one.slug, True, one.steps, how, one.slug, callers)
        which = f"calls {one.slug}, which uses {origin} as a tool"
        if one.steps > 1:
            which = f"calls {one.slug}, which comes to {origin} over {_and(one.through[-2::-1])}"
        self.calls(one.slug, LIVE, one.steps + 1, which)

    def touches(self, thing: Touched) -> None:
        """What nodes of the changed workflow call; only addresses are somebody's service."""
        origin = self.scene.workflow
        names = self._named(thing)
        for name in names:
            self.edges.append(Edge(origin, "touches", name))
            if name != thing.name:
                self.edges.append(Edge(thing.name, "is part of", name))
        if thing.kind not in ADDRESSES:
            return
        nodes = f"“{origin}”" if not thing.nodes else listed(thing.nodes)
        changed = "changed " if thing.how == "changed" else ""
        how = f"is called at {thing.name} by the {changed}{_nodes(thing)} {nodes}"
        if thing.how == "fed":
            how += ", after a changed node"
        own = [one for one in self.scene.callers.get(origin, ()) if one.channel == self.scene.channel]
        for name in names:
            owners = [s for s, declared in self.scene.catalogue.items() if _at(declared.hosts, thing.name)]
            for owner in owners:
                if owner != name:
                    self.edges.append(Edge(name, "is part of", owner))
            for service in owners or [name]:
                self.add(service, False, 2 if thing.how == "fed" else 1, how, origin, own)

    def depend(self) -> None:
        """What depends on a service that is reached, over any number of others; circles end."""
        nearest: dict[str, Reach] = {}
        for reach in sorted(self.found, key=lambda one: (not one.calls, one.steps)):
            nearest.setdefault(reach.service, reach)
        waiting = deque(sorted(nearest.values(), key=lambda one: one.steps))
        while waiting:
            below = waiting.popleft()
            for service, declared in self.scene.catalogue.items():
                if below.service not in declared.depends_on:
                    continue
                self.edges.append(Edge(service, "depends on", below.service))
                if service not in nearest:
                    how = f"depends on {below.service}"
                    self.add(service, below.calls, below.steps + 1, how, below.module, None)
                    nearest[service] = self.found[-1]
                    waiting.append(self.found[-1])

    def add(
        self, service: str, calls: bool, steps: int, how: str, module: str, callers: Sequence[Caller] | None
    ) -> None:
        """Note a way to a service; `callers` are those whose requests are its own, None where nobody knows."""
        declared = self.scene.catalogue.get(service)
        day = week = None
        if self.scene.counted and callers is not None:
            day, week = sum(one.day or 0 for one in callers), sum(one.week or 0 for one in callers)
        named = (declared.module if declared else "") or module
        self.found.append(Reach(service, calls, steps, how, named, day, week))

    def _owners(self, name: str, group: Sequence[Caller]) -> Iterator[str]:
        """The services that call with a key of this name; the name itself where there is none."""
        names = {name, *(one.key for one in group)}
        owners = [s for s, declared in self.scene.catalogue.items() if any(matches(declared.keys, n) for n in names)]
        yield from owners or [name]

    def _named(self, thing: Touched) -> list[str]:
        """What the catalogue calls an address; else the address itself."""
        declared = self.scene.middleware or {}
        named = [n for n, one in declared.items() if thing.kind in ADDRESSES and _at(one.hosts, thing.name)]
        return named or [thing.name]


def parts_of(name: str, edges: Iterable[Edge], between: Container[str] = ()) -> tuple[str, ...]:
    """The services that a caller or an address is part of, by the lines of the graph; those `between` (declared
    middleware) stand for the services that they are part of in turn."""
    above: dict[str, list[str]] = defaultdict(list)
    for one in edges:
        if one.relation == "is part of":
            above[one.source].append(one.target)
    tops = (top for one in above[name] for top in (one in between and above[one]) or [one])
    return tuple(dict.fromkeys(tops))


def _at(patterns: Iterable[str], address: str) -> bool:
    """Whether one of `patterns` is that of a host, with its port or without."""
    host = address.rpartition(":")[0] if address.rpartition(":")[2].isdigit() else address
    lower = [pattern.lower() for pattern in patterns]
    return matches(lower, address) or matches(lower, host)


def _nodes(thing: Touched) -> str:
    return "nodes" if len(thing.nodes) > 1 else "node" if thing.nodes else "app"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
