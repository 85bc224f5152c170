"""References to nodes that have another id now."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

type Id = str | float

# The keys under which a node or an edge names a node by its id alone.
_ID_KEYS: Final = frozenset(
    {"id", "parentId", "source", "target", "iteration_id", "loop_id", "container_id", "start_node_id"}
    | {"belong_to_node_id", "node_id"}
)
_REFERENCE: Final = re.compile(r"(\{\{\s*#)([^.#{}\n]{1,200})(?=[.#])")


def renamer(renames: Mapping[Id, Id]) -> Callable[[Any], Any]:
    """A function that gives a copy of a node, an edge or another part of a document in which every reference to a
    node of `renames` (id before → id now) names its present id: id keys, selectors, and ``{{#…#}}`` in texts."""
    by_text = {str(old): str(new) for old, new in renames.items()}

    def text(found: re.Match[str]) -> str:
        return found[1] + by_text.get(found[2], found[2])

    def renamed(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: renamed(item, name) for name, item in value.items()}
        if isinstance(value, list):
            names_node = len(value) > 1 and all(isinstance(item, str) for item in value[:2]) and value[0] in by_text
            return [by_text[value[0]], *map(renamed, value[1:])] if names_node else [renamed(item) for item in value]
        if key in _ID_KEYS and isinstance(value, str | float | int) and not isinstance(value, bool):
            return renames.get(value, value)
        return _REFERENCE.sub(text, value) if isinstance(value, str) and "#" in value else value

    return renamed if renames else lambda value: value
