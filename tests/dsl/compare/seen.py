"""A difference in few words, for tables of cases."""

from typing import Any

import orjson

from lastgood.dsl.compare import Change, Difference

SIGNS = {"added": "+", "removed": "-", "changed": "~", "moved": "^"}


def fields(changes: tuple[Change, ...]) -> list[str]:
    """``~ model.name: "a" → "b"`` and the like."""
    return [_field(change) for change in changes]


def seen(difference: Difference) -> list[str]:
    """All that a difference holds, a line each; what a node came with is left out."""
    found = []
    for node in difference.nodes:
        was = f" (was {node.old_id})" if node.renamed else ""
        found.append(f"{SIGNS[node.kind]} {node.id}{was}")
        found += [f"  {line}" for line in fields(node.fields)]
    for edge in difference.edges:
        found.append(f"edge {SIGNS[edge.kind]} {edge.source}.{edge.handle} > {edge.target}")
    for part in ("environment", "conversation"):
        for variable in getattr(difference, part):
            found.append(f"{part} {SIGNS[variable.kind]} {variable.name}")
            found += [f"  {line}" for line in fields(variable.fields)]
    for part in ("features", "settings", "app", "dependencies"):
        found += [f"{part} {line}" for line in fields(getattr(difference, part))]
    return found + [f"secret {name}" for name in difference.secrets]


def _field(change: Change) -> str:
    told = f"{SIGNS[change.kind]} {change.where}"
    if change.kind == "added":
        return f"{told}: {_value(change.new)}"
    if change.kind == "removed":
        return f"{told}: {_value(change.old)}"
    if change.kind == "changed":
        return f"{told}: {_value(change.old)} → {_value(change.new)}"
    return told


def _value(value: Any) -> str:
    return orjson.dumps(value).decode()
