"""Two documents → their `Difference`."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from lastgood.dsl.canonical import foldable, folded
from lastgood.dsl.compare.branches import branch_of
from lastgood.dsl.compare.changes import Change, Difference, EdgeChange, NodeChange, Path, Step, VariableChange
from lastgood.dsl.compare.matching import Side, pair_nodes
from lastgood.dsl.compare.order import Order
from lastgood.dsl.compare.parts import Parts, identities, parts_of
from lastgood.dsl.compare.renames import renamer
from lastgood.dsl.compare.settling import Meant, settled, written
from lastgood.dsl.compare.values import IsSelector, compare_values
from lastgood.dsl.document import Document, node_data
from lastgood.dsl.index import id_of

_SPECIAL: Final = frozenset({"sys", "env", "conversation", "rag"})
_SHORTEST_SELECTOR: Final = 2
# Lists of texts that are no selectors, though a text may be the same as some node's id.
_PLAIN_LISTS: Final = frozenset(
    {"options", "allowed_file_types", "allowed_file_extensions", "allowed_file_upload_methods", "transfer_methods"}
    | {"suggested_questions", "dataset_ids", "topics", "stop"}
)


def compare(old: Document, new: Document, *, secrets_changed: frozenset[str] = frozenset()) -> Difference:
    """What differs between two documents, `old` and `new` each as `reader.parse` gives them.

    `secrets_changed` names the secret variables whose values differ, which only the store can tell. Raises
    `InvalidDocument` for what JSON cannot hold; broken graphs are compared like others."""
    before, after = parts_of(old), parts_of(new)
    pairs = pair_nodes(Side(before.nodes, before.edges), Side(after.nodes, after.edges))
    renames = {
        settled(before.nodes[i]["id"]): settled(after.nodes[j]["id"])
        for i, j in pairs.items()
        if before.nodes[i].get("id") != after.nodes[j].get("id")
    }
    rename = renamer(renames)
    is_selector = _selectors({id_of(node.get("id")) for node in (*before.nodes, *after.nodes)} | _SPECIAL)
    old_nodes, old_edges = list(map(rename, before.nodes)), list(map(rename, before.edges))
    titles = _titles(after.nodes)
    old_titles = titles | _titles(node for i, node in enumerate(old_nodes) if i not in pairs)
    nodes = list(_node_changes(before.nodes, old_nodes, after.nodes, pairs, is_selector))
    edges = list(_edge_changes(old_edges, after.edges))
    if nodes or edges:
        order = Order((old_nodes, old_edges), (after.nodes, after.edges))
        nodes.sort(key=order.of_node)
    if edges:
        edges.sort(key=order.of_edge)
        sides = [{id_of(node.get("id")): node for node in side} for side in (old_nodes, after.nodes)]
        edges = [
            _named(change, sides[change.new is not None], old_titles if change.new is None else titles)
            for change in edges
        ]
    return Difference(
        nodes=tuple(nodes),
        edges=tuple(edges),
        environment=_variable_changes(before.environment, after.environment, is_selector),
        conversation=_variable_changes(before.conversation, after.conversation, is_selector),
        features=_compared(before.features, after.features, is_selector),
        settings=_compared(rename(before.settings), after.settings, is_selector),
        secrets=tuple(sorted(secrets_changed)),
        app=_fact_changes(before, after, is_selector),
        dependencies=_dependency_changes(before, after, is_selector),
        old_titles=old_titles,
        new_titles=titles,
    )


def _selectors(ids: set[str]) -> IsSelector:
    """What tells selectors from other lists of texts: they begin with one of `ids`, and stand where one may."""

    def is_selector(value: list[Any], path: Path) -> bool:
        if len(value) < _SHORTEST_SELECTOR or not isinstance(value[0], str) or value[0] not in ids:
            return False
        texts = all(isinstance(item, str) for item in value)
        return texts and next(filter(_is_key, reversed(path)), "") not in _PLAIN_LISTS

    return is_selector


def _is_key(step: Step) -> bool:
    return isinstance(step, str)


def _titles(nodes: Iterable[dict[str, Any]]) -> dict[str, str]:
    titles = {id_of(node.get("id")): node_data(node).get("title") for node in nodes}
    return {node_id: title.strip() for node_id, title in titles.items() if isinstance(title, str) and title.strip()}


def _compared(old: Any, new: Any, is_selector: IsSelector) -> tuple[Change, ...]:
    """What differs between two values that need not be settled."""
    if written(old) == written(new):
        return ()
    return compare_values(settled(old), settled(new), is_selector)


def _node_changes(
    old: Sequence[dict[str, Any]],
    renamed: Sequence[dict[str, Any]],
    new: Sequence[dict[str, Any]],
    pairs: Mapping[int, int],
    is_selector: IsSelector,
) -> Iterator[NodeChange]:
    """`renamed` are the old nodes with the references to renamed ones rewritten."""
    kept = set(pairs.values())
    for i, (node, (_, copy)) in enumerate(zip(old, identities(old, "id"), strict=True)):
        if i not in pairs:
            yield NodeChange("removed", _meant(node), None, (), copy)
            continue
        twin = new[pairs[i]]
        ours, theirs = written(renamed[i]), written(twin)
        fields: tuple[Change, ...] = ()
        if ours != theirs:
            was, now = renamed[i], twin
            if foldable(ours) or foldable(theirs):
                was, now = settled(was), settled(now)
            fields = compare_values(was, now, is_selector)
        if fields or node.get("id") != twin.get("id"):
            yield NodeChange("changed", Meant(node), Meant(twin), fields, copy)
    for j, node in enumerate(new):
        if j not in kept:
            yield NodeChange("added", None, _meant(node))


def _meant(node: dict[str, Any]) -> Meant:
    """A node that stands alone, refused at once where JSON cannot hold it."""
    written(node)
    return Meant(node)


def _edge_changes(old: Iterable[dict[str, Any]], new: Iterable[dict[str, Any]]) -> Iterator[EdgeChange]:
    """Equal edges are counted; of the others those with the same ends and handle are one that changed."""
    before, after = list(map(written, old)), list(map(written, new))
    if before == after:
        return
    # Most are equal byte for byte; the others may be in other bytes.
    ours, theirs = Counter(before), Counter(after)
    left, right = (
        Counter(folded(orjson.loads(edge)) for edge in rest.elements()) for rest in (ours - theirs, theirs - ours)
    )
    gone: dict[bytes, list[Any]] = defaultdict(list)
    for edge in map(orjson.loads, (left - right).elements()):
        gone[_ends(edge)].append(edge)
    come = []
    for edge in map(orjson.loads, (right - left).elements()):
        twins = gone.get(_ends(edge))
        come.append(EdgeChange("changed", twins.pop(0), edge) if twins else EdgeChange("added", None, edge))
    yield from (EdgeChange("removed", edge, None) for edges in gone.values() for edge in edges)
    yield from come


def _named(change: EdgeChange, nodes: Mapping[str, dict[str, Any]], titles: Mapping[str, str]) -> EdgeChange:
    """The change with what names its nodes and its handle to people."""
    ends = [titles.get(end, end) for end in (change.source, change.target)]
    branch = branch_of(nodes.get(change.source, {}), change.handle)
    return replace(change, branch=branch, source_title=ends[0], target_title=ends[1])


def _ends(edge: Mapping[str, Any]) -> bytes:
    return folded([edge.get("source"), edge.get("sourceHandle"), edge.get("target")])


def _variable_changes(
    old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]], is_selector: IsSelector
) -> tuple[VariableChange, ...]:
    ours = dict(zip(identities(old, "name"), old, strict=True))
    theirs = dict(zip(identities(new, "name"), new, strict=True))
    found = []
    for name, item in theirs.items():
        twin = ours.get(name)
        if twin is None:
            found.append(VariableChange("added", None, settled(item)))
        elif fields := _compared(twin, item, is_selector):
            found.append(VariableChange("changed", settled(twin), settled(item), fields, name[1]))
    for name, item in ours.items():
        if name not in theirs:
            found.append(VariableChange("removed", settled(item), None, (), name[1]))
    return tuple(found)


def _fact_changes(before: Parts, after: Parts, is_selector: IsSelector) -> tuple[Change, ...]:
    """What both documents say of the app, and say otherwise."""
    whole = len(before.facts) > 1 and len(after.facts) > 1
    old, new = (parts.facts if whole else {"mode": parts.facts["mode"]} for parts in (before, after))
    return _compared(old, new, is_selector)


def _dependency_changes(before: Parts, after: Parts, is_selector: IsSelector) -> tuple[Change, ...]:
    """How the lists of dependencies differ, where both documents have one."""
    if before.dependencies is None or after.dependencies is None:
        return ()
    return _compared(before.dependencies, after.dependencies, is_selector)
