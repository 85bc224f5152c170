"""Two documents → their `Difference`."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from lastgood.dsl.canonical import folded, meaning
from lastgood.dsl.compare.changes import Change, Difference, EdgeChange, NodeChange, VariableChange
from lastgood.dsl.compare.matching import Side, pair_nodes
from lastgood.dsl.compare.order import ordered
from lastgood.dsl.compare.renames import renamer
from lastgood.dsl.compare.values import IsSelector, compare_values, settled
from lastgood.dsl.document import Document, node_data
from lastgood.dsl.index import id_of

_SPECIAL: Final = frozenset({"sys", "env", "conversation", "rag"})
_SHORTEST_SELECTOR: Final = 2
# Parts of a graph's meaning that are compared on their own.
_OWN: Final = frozenset({"nodes", "edges", "environment_variables", "conversation_variables", "features"})


def compare(old: Document, new: Document, *, secrets_changed: frozenset[str] = frozenset()) -> Difference:
    """What differs between two documents, `old` and `new` each as `reader.parse` gives them.

    `secrets_changed` names the secret variables whose values differ, which only the store can tell. Raises
    `InvalidDocument` for what JSON cannot hold; broken graphs are compared like others."""
    before, after = _parts(old), _parts(new)
    pairs = pair_nodes(Side(before["nodes"], before["edges"]), Side(after["nodes"], after["edges"]))
    renames = {
        before["nodes"][i]["id"]: after["nodes"][j]["id"]
        for i, j in pairs.items()
        if before["nodes"][i].get("id") != after["nodes"][j].get("id")
    }
    rename = renamer(renames)
    ids = {id_of(node.get("id")) for part in (before, after) for node in part["nodes"]} | _SPECIAL
    is_selector = _selectors(ids)
    old_edges = rename(before["edges"])
    nodes = list(_node_changes(before["nodes"], after["nodes"], pairs, rename, is_selector))
    if nodes:
        nodes = list(ordered(nodes, (rename(before["nodes"]), old_edges), (after["nodes"], after["edges"])))
    return Difference(
        nodes=tuple(nodes),
        edges=tuple(_edge_changes(old_edges, after["edges"])),
        environment=_variable_changes(before, after, "environment_variables", rename, is_selector),
        conversation=_variable_changes(before, after, "conversation_variables", rename, is_selector),
        features=_compared(before["features"], after["features"], rename, is_selector),
        settings=_compared(_rest(old, before), _rest(new, after), rename, is_selector),
        secrets=tuple(sorted(secrets_changed)),
        app=_compared(*_facts(old, new), _as_it_is, is_selector),
        dependencies=_compared(*_dependencies(old, new), _as_it_is, is_selector),
        titles={
            id_of(node.get("id")): title
            for part in (before, after)
            for node in part["nodes"]
            if isinstance(title := node_data(node).get("title"), str) and title.strip()
        },
    )


def _parts(document: Document) -> dict[str, Any]:
    """The meaning of a document, with the parts of a graph empty where it has none."""
    empty: dict[str, Any] = {"nodes": [], "edges": [], "features": {}}
    empty |= {"environment_variables": [], "conversation_variables": []}
    return empty | (meaning(document) if document.has_graph else {})


def _rest(document: Document, parts: Mapping[str, Any]) -> dict[str, Any]:
    """What is in the meaning of a document beside nodes, edges, variables and features."""
    if not document.has_graph:
        return meaning(document)
    return {key: item for key, item in parts.items() if key not in _OWN and item}


def _selectors(ids: set[str]) -> IsSelector:
    def is_selector(value: list[Any]) -> bool:
        texts = len(value) >= _SHORTEST_SELECTOR and all(isinstance(item, str) for item in value)
        return texts and value[0] in ids

    return is_selector


def _compared(old: Any, new: Any, rename: Callable[[Any], Any], is_selector: IsSelector) -> tuple[Change, ...]:
    if _written(old) == _written(new):
        return ()
    return compare_values(settled(rename(old)), settled(new), is_selector)


def _as_it_is(value: Any) -> Any:
    return value


def _written(value: Any) -> bytes:
    """Bytes that are equal only for equal values; where they differ, the values may still be the same."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return folded(value)  # raises, in words


def copies(items: Sequence[dict[str, Any]], key: str) -> Iterator[int]:
    """For each item, how many before it have the same `key`; broken documents have several. They are counted in an
    order of their own, so that the same numbers come of any order of `items`."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        groups[_identity(item, key)].append(place)
    numbers = [0] * len(items)
    for group in groups.values():
        if len(group) > 1:
            for number, place in enumerate(sorted(group, key=lambda place: folded(items[place]))):
                numbers[place] = number
    return iter(numbers)


def _identity(item: Mapping[str, Any], key: str) -> bytes:
    value = item.get(key)
    return value.encode() if isinstance(value, str) else b"\0" + folded([value] if key in item else [])


def _node_changes(
    old: Sequence[dict[str, Any]],
    new: Sequence[dict[str, Any]],
    pairs: Mapping[int, int],
    rename: Callable[[Any], Any],
    is_selector: IsSelector,
) -> Iterator[NodeChange]:
    kept = set(pairs.values())
    for i, (node, copy) in enumerate(zip(old, copies(old, "id"), strict=True)):
        if i not in pairs:
            yield NodeChange("removed", settled(node), None, (), copy)
            continue
        twin = new[pairs[i]]
        if _written(node) != _written(twin):
            fields = compare_values(settled(rename(node)), settled(twin), is_selector)
            if fields or node.get("id") != twin.get("id"):
                yield NodeChange("changed", settled(node), settled(twin), fields, copy)
    for j, node in enumerate(new):
        if j not in kept:
            yield NodeChange("added", None, settled(node))


def _edge_changes(old: Iterable[dict[str, Any]], new: Iterable[dict[str, Any]]) -> Iterator[EdgeChange]:
    """Edges are told by their ends and handle; equal ones are counted, and what is left of one kind goes in pairs."""
    ours, theirs = Counter(map(folded, old)), Counter(map(folded, new))
    gone: dict[bytes, list[Any]] = defaultdict(list)
    for written in sorted((ours - theirs).elements()):
        edge = orjson.loads(written)
        gone[_ends(edge)].append(edge)
    come = []
    for written in sorted((theirs - ours).elements()):
        edge = orjson.loads(written)
        twins = gone.get(_ends(edge))
        come.append(EdgeChange("changed", twins.pop(0), edge) if twins else EdgeChange("added", None, edge))
    yield from (EdgeChange("removed", edge, None) for edges in gone.values() for edge in edges)
    yield from come


def _ends(edge: Mapping[str, Any]) -> bytes:
    return folded([edge.get("source"), edge.get("sourceHandle"), edge.get("target")])


def _variable_changes(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    part: str,
    rename: Callable[[Any], Any],
    is_selector: IsSelector,
) -> tuple[VariableChange, ...]:
    old, new = before[part], after[part]
    ours = {(_identity(item, "name"), n): item for item, n in zip(old, copies(old, "name"), strict=True)}
    theirs = {(_identity(item, "name"), n): item for item, n in zip(new, copies(new, "name"), strict=True)}
    found = []
    for (name, copy), item in theirs.items():
        twin = ours.get((name, copy))
        if twin is None:
            found.append(VariableChange("added", None, settled(item)))
        elif fields := _compared(twin, item, rename, is_selector):
            found.append(VariableChange("changed", settled(twin), settled(item), fields, copy))
    for (name, copy), item in ours.items():
        if (name, copy) not in theirs:
            found.append(VariableChange("removed", settled(item), None, (), copy))
    return tuple(found)


def _facts(old: Document, new: Document) -> tuple[dict[str, Any], dict[str, Any]]:
    """What both documents say of the app and of their format, where both say something."""
    sides = []
    for document in (old, new):
        app = document.data.get("app") or document.data.get("rag_pipeline")
        facts = dict(app) if isinstance(app, dict) else {}
        sides.append({**facts, "mode": document.mode})
    if not (_exported(old) and _exported(new)):
        return {"mode": sides[0]["mode"]}, {"mode": sides[1]["mode"]}
    for document, facts in zip((old, new), sides, strict=True):
        facts["format version"] = document.dsl_version
    return sides[0], sides[1]


def _exported(document: Document) -> bool:
    """Whether a document is an app's export: the API's answer knows no name."""
    return bool(document.name)


def _dependencies(old: Document, new: Document) -> tuple[dict[str, Any], dict[str, Any]]:
    """The lists of dependencies, where both documents have one."""
    lists = [document.data.get("dependencies") for document in (old, new)]
    if not all(isinstance(listed, list) for listed in lists):
        return {}, {}
    return {"dependencies": lists[0]}, {"dependencies": lists[1]}
