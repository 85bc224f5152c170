"""What the changed nodes of a workflow touch outside it: hosts, queues, caches, databases, models, knowledge bases,
tools and triggers."""

import re
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from lastgood.dsl import Document
from lastgood.dsl.compare import Difference
from lastgood.dsl.dependencies import dependencies
from lastgood.dsl.index import Index, Node, handles, text
from lastgood.dsl.keys import known
from lastgood.dsl.lint import strings
from lastgood.dsl.references import References

Kind = Literal["host", "queue", "cache", "database", "model", "knowledge base", "tool", "trigger"]
How = Literal["changed", "fed", "any"]
Side = Literal["both", "before", "after"]

HOWS: Final[tuple[How, ...]] = ("changed", "any", "fed")
KINDS: Final[tuple[Kind, ...]] = (
    *("host", "queue", "cache", "database"),
    *("model", "knowledge base", "tool", "trigger"),
)
ADDRESSES: Final[frozenset[Kind]] = frozenset({"host", "queue", "cache", "database"})
_SCHEMES: Final[dict[str, Kind]] = {
    **dict.fromkeys(("amqp", "amqps", "kafka", "nats", "mqtt", "mqtts", "pulsar", "stomp"), "queue"),
    **dict.fromkeys(("redis", "rediss", "memcached", "valkey"), "cache"),
    **dict.fromkeys(("postgres", "postgresql", "mysql", "mariadb", "mongodb", "mssql", "oracle"), "database"),
    **dict.fromkeys(("clickhouse", "cassandra", "db2", "cockroachdb"), "database"),
}
# `postgresql+psycopg://user:password@host:5432/name`: only the host is taken, whatever the password holds.
_ADDRESS: Final = re.compile(
    rf"\b({'|'.join(_SCHEMES)})(?:\+[a-z0-9]+)?://(?:[^\s\"'<>]*@)?(\[[0-9a-f:.]+\]|[\w.-]+)(:\d{{1,5}}\b)?",
    re.IGNORECASE,
)
_LONGEST: Final = 100_000  # of a text that may hold addresses
_APP: Final = ""  # stands for an app without a graph


@dataclass(frozen=True, slots=True)
class Touched:
    """Something outside that changed nodes touch. `nodes` are their titles. `how` they matter: they ``changed``
    themselves; they are ``fed``, so what they are given, or whether they run at all, hangs on a changed one; or
    ``any``, because what changes is not known. `side` says which version
    touches it; `services` are the declared ones that it is part of."""

    kind: Kind
    name: str
    nodes: tuple[str, ...]
    how: How = "changed"
    side: Side = "both"
    services: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "kind": self.kind,
            "name": self.name,
            "nodes": list(self.nodes),
            "how": self.how,
            "side": self.side,
            "services": list(self.services),
        }


def touched(
    old: Document | None, new: Document | None, difference: Difference | None, *, certain: bool = True
) -> tuple[Touched, ...]:
    """What differs between `old` and `new` reaches outside, by kind and name. Without a `difference` (one of the two
    is not there) every node counts as changed; where it is not even `certain` what changes, as ``any``."""
    found: dict[tuple[Kind, str], list[Touched]] = defaultdict(list)
    sides: tuple[tuple[Side, Document | None], ...] = (("before", old), ("after", new))
    for (side, document), nodes in zip(sides, _changed(difference), strict=True):
        for one in _of_one(document, nodes, difference, certain) if document is not None else ():
            found[one.kind, one.name].append(replace(one, side=side))
    merged = map(_merged, found.values())
    return tuple(sorted(merged, key=lambda one: (KINDS.index(one.kind), HOWS.index(one.how), one.name)))


def _merged(pieces: list[Touched]) -> Touched:
    # What a changed node touches in one version counts, though in the other one that node is only fed.
    how = min((one.how for one in pieces), key=HOWS.index)
    nodes = tuple(dict.fromkeys(title for one in pieces if one.how == how for title in one.nodes))
    one_side = len({one.side for one in pieces}) == 1
    return replace(pieces[0], nodes=nodes, how=how, side=pieces[0].side if one_side else "both")


def _changed(difference: Difference | None) -> tuple[frozenset[str] | None, frozenset[str] | None]:
    """The ids of the nodes that are changed, in the old document and in the new one; None for all."""
    if difference is None:
        return None, None
    before = {one.old_id for one in difference.nodes if one.kind != "added"}
    after = {one.id for one in difference.nodes if one.kind != "removed"}
    new_to_old = {str(new): str(old) for old, new in difference.renames.items()}
    # A node that is reached another way runs at other times, though it is the same.
    for edge in difference.edges:
        if edge.new is not None:
            after.add(edge.target)
        if edge.old is not None:
            before.add(new_to_old.get(edge.target, edge.target))
    if difference.settings:
        before.add(_APP)
        after.add(_APP)
    return frozenset(before), frozenset(after)


def _of_one(
    document: Document, nodes: frozenset[str] | None, difference: Difference | None, certain: bool
) -> Iterator[Touched]:
    """What the `nodes` of one document touch, and what those touch that hang on them."""
    index = Index(document)
    references = References(index)
    changed = frozenset((*index.nodes, _APP)) if nodes is None else nodes | _readers(references, difference)
    fed = _onward(index, references, changed) - changed
    for kind, name, users in _needs(document, index, references):
        itself: How = "changed" if certain else "any"
        ways: list[tuple[How, list[str]]] = [
            (itself, [one for one in users if one in changed]),
            ("fed", [one for one in users if one in fed]),
        ]
        for how, hit in ways:
            if hit:
                titles = tuple(_title(index.nodes[one]) for one in hit if one in index.nodes)
                yield Touched(kind, name, titles, how)
                break


def _title(node: Node) -> str:
    return "(hidden)" if known(node.title) else node.title


def _readers(references: References, difference: Difference | None) -> frozenset[str]:
    """The nodes that read a variable or secret whose value changed."""
    if difference is None:
        return frozenset()
    named = [("env", one.name) for one in difference.environment]
    named += [("env", name) for name in difference.secrets]
    named += [("conversation", one.name) for one in difference.conversation]
    return frozenset(use.node for selector in named for use in references.users(*selector) if use.active)


def _onward(index: Index, references: References, changed: frozenset[str]) -> frozenset[str]:
    """The nodes that are given what the `changed` ones produce, over any number of nodes between, and those that run
    or do not run by what one of them decides."""
    readers: dict[str, set[str]] = defaultdict(set)
    writers: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for one in references.all:
        if one.active and one.form == "written":
            writers[one.selector].add(one.node)
        elif one.active and one.selector:
            readers[one.selector[0]].add(one.node)
    for selector, nodes in writers.items():  # what is written to a chat's variable reaches whoever reads it
        for node in nodes:
            readers[node] |= {use.node for use in references.users(*selector) if use.form != "written"}
    found: set[str] = set()
    waiting = deque((node, False) for node in changed)
    decided: set[str] = set()
    while waiting:
        node, is_decided = waiting.popleft()
        onward = set(readers.get(node, ()))
        decides = node in index.nodes and len(handles(index.nodes[node])) > 1
        if is_decided or decides:
            for edge in index.outgoing.get(node, ()):
                if edge.target not in decided:
                    decided.add(edge.target)
                    found.add(edge.target)
                    waiting.append((edge.target, True))
        for reader in onward - found - changed:
            found.add(reader)
            waiting.append((reader, False))
    return frozenset(found)


def _needs(document: Document, index: Index, references: References) -> Iterator[tuple[Kind, str, list[str]]]:
    """All that a document touches: kind, name, and the nodes."""
    app = [] if document.has_graph else [_APP]
    needs = dependencies(document)
    for one in needs["hosts"]:
        yield "host", one["host"], one["nodes"]
    for one in needs["models"]:
        provider = f" of {one['provider']}" if one["provider"] else ""
        yield "model", f"{one['name']}{provider}", one["nodes"] or app
    for one in needs["knowledge_bases"]:
        yield "knowledge base", one["id"], one["nodes"] or app
    for one in needs["tools"]:
        provider = one.get("provider_name") or one["provider"]
        yield "tool", f"{one['tool']} of {provider}" if provider else one["tool"], one["nodes"] or app
    for one in needs["triggers"]:
        yield "trigger", one["event"] or one["title"] or one["type"], one["nodes"]
    found: dict[tuple[Kind, str], list[str]] = defaultdict(list)
    for node_id, value in _texts(document, index, references):
        for scheme, host, port in _ADDRESS.findall(value[:_LONGEST]):
            key = (_SCHEMES[scheme.lower()], (host + port).lower())
            if node_id not in found[key]:
                found[key].append(node_id)
    for (kind, name), nodes in found.items():
        yield kind, name, nodes


def _texts(document: Document, index: Index, references: References) -> Iterator[tuple[str, str]]:
    """Each text that a node holds or reads from an environment variable, with the node's id."""
    for node in index.nodes.values():
        yield from ((node.id, value) for _, _, value in strings(node.data, ""))
    for item in document.environment_variables:
        name, value = text(item.get("name")), text(item.get("value"))
        if name and value and item.get("value_type") == "string":
            yield from ((use.node, value) for use in references.users("env", name) if use.active)
