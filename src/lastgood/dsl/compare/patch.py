"""A `Difference` and the old document → what the new one does."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from lastgood.dsl.canonical import folded
from lastgood.dsl.compare.changes import Change, Difference, Item, Step, VariableChange, path_text
from lastgood.dsl.compare.parts import FORMAT, Parts, identities, identity, is_unsaid, parts_of
from lastgood.dsl.compare.renames import renamer
from lastgood.dsl.compare.settling import same, settled
from lastgood.dsl.document import Document, is_note, node_data, node_type
from lastgood.dsl.index import mapping
from lastgood.errors import DoesNotFit

type _Data = dict[str, Any]
type _Rename = Callable[[Any], Any]

_ENVELOPE: Final = ("app", "kind", "version", "dependencies")


def apply(difference: Difference, old: Document) -> Document:
    """A document that does what the new one of the comparison does, and says the same of the app:
    ``compare(apply(compare(a, b), a), b)`` finds nothing. `old` may be any document that does what the compared one
    did.

    What the digest does not see stays as `old` has it (places on the canvas, secret values, ids of variables); nodes
    that come new have no place on the canvas. Raises `DoesNotFit` where `old` is not what was compared."""
    parts = parts_of(old)
    rename = renamer(difference.renames)
    base = old if old.has_graph else Document({key: old.data[key] for key in _ENVELOPE if key in old.data})
    settings = patched(settled(rename(parts.settings)), difference.settings)
    if "mode" in settings:
        base = Document({key: base.data[key] for key in _ENVELOPE if key in base.data})
        mode = settings.pop("mode")
        told = _told(difference, base, parts)
        return Document(told | settings | ({} if mode == Document(told | settings).mode else {"mode": mode}))
    graph = settings.get("graph", {})
    if "viewport" in base.graph:
        graph["viewport"] = base.graph["viewport"]
    graph["nodes"] = _nodes(difference, base, parts, rename)
    graph["edges"] = _edges(difference, base, parts, rename)
    workflow = {
        **base.workflow,
        "graph": graph,
        "features": _features(difference, base, parts),
        "environment_variables": _variables(difference.environment, base.environment_variables, parts.environment),
        "conversation_variables": _variables(
            difference.conversation, base.conversation_variables, parts.conversation
        ),
        "rag_pipeline_variables": settings.get("rag_pipeline_variables", []),
    }
    return Document(_told(difference, base, parts, workflow) | {"workflow": workflow})


def patched(value: Any, changes: Sequence[Change]) -> Any:
    """`value` (settled) with the `changes`, whose paths begin in it; `value` itself stays as it is. Raises
    `DoesNotFit`."""
    return _patched(value, [(change.path, change) for change in changes])


def _patched(value: Any, changes: Sequence[tuple[tuple[Step, ...], Change]]) -> Any:
    if not changes:
        return value
    if not changes[0][0]:
        return _replaced(value, changes[0][1])
    groups: dict[Step, list[tuple[tuple[Step, ...], Change]]] = {}
    for path, change in changes:
        groups.setdefault(path[0], []).append((path[1:], change))
    if isinstance(value, dict):
        return _patched_mapping(dict(value), groups)
    if isinstance(value, list):
        return _patched_list(value, groups)
    raise _unfit(changes[0][1])


def _patched_mapping(value: _Data, groups: dict[Step, list[tuple[tuple[Step, ...], Change]]]) -> _Data:
    for key, group in groups.items():
        path, change = group[0]
        if not isinstance(key, str) or (key in value) == (not path and change.kind == "added"):
            raise _unfit(change)
        if path or change.kind == "changed":
            value[key] = _patched(value[key], group)
        elif change.kind == "added":
            value[key] = change.new
        else:
            _replaced(value.pop(key), change)
    return value


def _patched_list(value: list[Any], groups: dict[Step, list[tuple[tuple[Step, ...], Change]]]) -> list[Any]:
    """Items that came or moved go to their new places; the others fill the places left, in their old order."""
    staying: dict[int, Any] = dict(enumerate(value))
    placed: dict[int, Any] = {}
    for item, group in groups.items():
        change = group[0][1]
        if not isinstance(item, Item) or (item.old is not None and item.old not in staying):
            raise _unfit(change)
        kinds = {change.kind for path, change in group if not path}
        inner = [(path, change) for path, change in group if path or change.kind == "changed"]
        if item.old is None and item.new is not None:
            placed[item.new] = change.new
        elif item.old is not None and "removed" in kinds:
            _replaced(staying.pop(item.old), change)
        elif item.old is not None:
            staying[item.old] = _patched(staying[item.old], inner)
            if "moved" in kinds and item.new is not None:
                placed[item.new] = staying.pop(item.old)
    rest = iter(staying.values())
    return [placed[place] if place in placed else next(rest, None) for place in range(len(staying) + len(placed))]


def _replaced(value: Any, change: Change) -> Any:
    if not same(value, change.old):
        raise _unfit(change)
    return change.new


def _unfit(change: Change) -> DoesNotFit:
    return DoesNotFit(where=path_text(change.path))


def _told(difference: Difference, base: Document, parts: Parts, workflow: _Data | None = None) -> _Data:
    """The data of `base` with the facts and dependencies of the new document."""
    data = dict(base.data)
    facts = patched(settled(parts.facts), difference.app)
    mode = facts.pop("mode")
    if mode != "rag_pipeline":
        data.pop("rag_pipeline", None)
    if difference.app:
        place = "rag_pipeline" if "rag_pipeline" in data and not data.get("app") else "app"
        unsaid = {key: value for key, value in mapping(data.get(place)).items() if is_unsaid(value)}
        if len(parts.facts) > 1:
            data |= {"version": facts.pop(FORMAT, ""), place: unsaid | facts}
    if difference.dependencies:
        data["dependencies"] = patched(settled(parts.dependencies), difference.dependencies)
    if Document(data | ({"workflow": workflow} if workflow else {})).mode != mode:
        app = data.get("app")
        data["app"] = {**(app if isinstance(app, dict) else {}), "mode": mode}
    return data


def _nodes(difference: Difference, base: Document, parts: Parts, rename: _Rename) -> list[_Data]:
    changes = {
        identity(change.old, "id", change.copy): change for change in difference.nodes if change.old is not None
    }
    raw = [node for node in base.nodes if not is_note(node)]
    found = []
    for whole, node, name in zip(raw, parts.nodes, identities(parts.nodes, "id"), strict=True):
        change = changes.pop(name, None)
        if change is None:
            found.append(rename(whole))
        elif change.new is not None:
            found.append(_drawn(whole, node, patched(settled(rename(node)), change.fields)))
    if changes:
        raise DoesNotFit(where=f"the node {next(iter(changes.values())).old_id}")
    added = [change.new for change in difference.nodes if change.new is not None and change.old is None]
    return [*found, *added, *(node for node in base.nodes if is_note(node))]


def _drawn(whole: _Data, old: _Data, new: _Data) -> _Data:
    """The node `new`, with what the canvas keeps of `whole`, whose meaning is `old`."""
    drawn = {key: item for key, item in whole.items() if key not in old} | new
    if node_type(new) and node_type(new) == node_type(old):
        aside = {key: item for key, item in node_data(whole).items() if key not in node_data(old)}
        drawn["data"] = aside | node_data(new)
    return drawn


def _edges(difference: Difference, base: Document, parts: Parts, rename: _Rename) -> list[_Data]:
    gone = Counter(folded(change.old) for change in difference.edges if change.old is not None)
    found = []
    for whole, edge in zip(base.edges, parts.edges, strict=True):
        written = folded(rename(edge))
        if gone[written]:
            gone[written] -= 1
        else:
            found.append(rename(whole))
    left = next(gone.elements(), None)
    if left is not None:
        edge = orjson.loads(left)
        raise DoesNotFit(where=f"the edge {edge.get('source')} → {edge.get('target')}")
    return [*found, *(change.new for change in difference.edges if change.new is not None)]


def _variables(changes: Sequence[VariableChange], raw: Sequence[_Data], meant: Sequence[_Data]) -> list[_Data]:
    by_name = {identity(change.old, "name", change.copy): change for change in changes if change.old is not None}
    found = []
    for whole, variable, name in zip(raw, meant, identities(meant, "name"), strict=True):
        change = by_name.pop(name, None)
        if change is None:
            found.append(whole)
        elif change.new is not None:
            new = patched(settled(variable), change.fields)
            found.append({key: item for key, item in whole.items() if key not in variable} | new)
            if new.get("value_type") == "secret" and variable.get("value") != whole.get("value"):
                found[-1]["value"] = whole.get("value")
    if by_name:
        raise DoesNotFit(where=f"the variable {next(iter(by_name.values())).name}")
    return [*found, *(change.new for change in changes if change.old is None and change.new is not None)]


def _features(difference: Difference, base: Document, parts: Parts) -> _Data:
    off = {name: feature for name, feature in base.features.items() if name not in parts.features}
    features: _Data = off | patched(settled(parts.features), difference.features)
    return features
