"""A `Difference` as JSON values."""

from collections.abc import Iterable
from typing import Any

from lastgood.dsl.compare.changes import Change, Difference, EdgeChange, Item, NodeChange, Path, VariableChange
from lastgood.dsl.compare.hidden import HIDDEN, shown
from lastgood.dsl.compare.stat import summary
from lastgood.dsl.compare.text import line_diff


def as_data(difference: Difference) -> dict[str, Any]:
    """The difference in JSON values, for machines: stable, whole, and without a key or secret.

    - ``same``: whether both documents do the same; ``summary``: a line.
    - ``nodes``: ``kind`` (added, removed, changed), ``id``, ``title``, ``type``, ``parent`` (id of the container, or
      null), ``old_id`` (where it is another, else null), ``changes``, and for one that came or went ``node``, its
      meaning.
    - ``edges``: ``kind``, ``source``, ``handle``, ``target`` (ids and handle), ``branch``, ``source_title``,
      ``target_title``, and for a changed one ``old`` and ``new``.
    - ``environment_variables``, ``conversation_variables``: ``kind``, ``name``, ``secret``, ``changes``, and for one
      that came or went ``variable``.
    - ``features``, ``settings``, ``app``, ``dependencies``: changes. ``secrets``: names.

    A change: ``path`` (keys; a step into a list is ``{"key", "old", "new"}``, its name and its places, null where it
    does not stand), ``where`` (the path to a person), ``kind`` (added, removed, changed, moved), ``old`` and ``new``
    unless it was moved (null where there is none), ``hidden`` (true where a key was taken out of them), and for texts
    of several lines ``lines``: ``{"role", "text", "marks"}``, role removed, added, context or gap."""
    return {
        "same": difference.same,
        "summary": summary(difference),
        "nodes": [_node(node) for node in difference.nodes],
        "edges": [_edge(edge) for edge in difference.edges],
        "environment_variables": [_variable(variable) for variable in difference.environment],
        "conversation_variables": [_variable(variable) for variable in difference.conversation],
        "features": _changes(difference.features),
        "settings": _changes(difference.settings),
        "secrets": list(difference.secrets),
        "app": _changes(difference.app),
        "dependencies": _changes(difference.dependencies),
    }


def _node(node: NodeChange) -> dict[str, Any]:
    data = {
        "kind": node.kind,
        "id": node.id,
        "title": node.title,
        "type": node.type,
        "parent": node.node.get("parentId"),
        "old_id": node.old_id if node.renamed else None,
        "changes": _changes(node.fields),
    }
    return data if node.kind == "changed" else data | {"node": shown(node.node)}


def _edge(edge: EdgeChange) -> dict[str, Any]:
    data = {
        "kind": edge.kind,
        "source": edge.source,
        "handle": edge.handle,
        "target": edge.target,
        "branch": edge.branch,
        "source_title": edge.source_title,
        "target_title": edge.target_title,
    }
    return data | {"old": shown(edge.old), "new": shown(edge.new)} if edge.kind == "changed" else data


def _variable(variable: VariableChange) -> dict[str, Any]:
    data = {"kind": variable.kind, "name": variable.name, "secret": variable.secret}
    data["changes"] = [_change(change, variable.name, secret=variable.secret) for change in variable.fields]
    if variable.kind == "changed":
        return data
    side = shown(variable.new if variable.new is not None else variable.old, (variable.name,))
    return data | {"variable": side | ({"value": HIDDEN} if variable.secret else {})}


def _changes(changes: Iterable[Change]) -> list[dict[str, Any]]:
    return [_change(change) for change in changes]


def _change(change: Change, owner: str = "", *, secret: bool = False) -> dict[str, Any]:
    data: dict[str, Any] = {"path": _path(change.path), "where": change.where, "kind": change.kind}
    if change.kind == "moved":
        return data
    path = (owner, *change.path) if owner else change.path
    secret = secret and change.path[:1] == ("value",)
    old, new = (HIDDEN if secret and side is not None else shown(side, path) for side in (change.old, change.new))
    data |= {"old": old, "new": new, "hidden": (old, new) != (change.old, change.new)}
    if all(isinstance(side, str) for side in (old, new)) and "\n" in old + new:
        data["lines"] = [
            {"role": line.role, "text": line.text, "marks": [list(mark) for mark in line.marks]}
            for line in line_diff(old, new)
        ]
    return data


def _path(path: Path) -> list[Any]:
    return [{"key": step.key, "old": step.old, "new": step.new} if isinstance(step, Item) else step for step in path]
