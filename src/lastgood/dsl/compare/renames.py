"""References to nodes that have another id now."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from lastgood.dsl.compare.values import written

type Id = str | float

# The keys under which a node or an edge names a node by its id alone.
_ID_KEYS: Final = frozenset(
    {"id", "parentId", "source", "target", "iteration_id", "loop_id", "container_id", "start_node_id"}
    | {"belong_to_node_id", "node_id"}
)
_FEW: Final = 20
_REFERENCE: Final = re.compile(r"(\{\{\s*#)([^.#{}\n]{1,200})(?=[.#])")


def renamer(renames: Mapping[Id, Id]) -> Callable[[Any], Any]:
    """A function that gives a node, an edge or another part of a document with every reference to a node of `renames`
    (id before → id now) naming its present id: id keys, selectors, and ``{{#…#}}`` in texts. The part itself stays as
    it is."""
    if not renames:
        return lambda value: value
    rewritten = _rewriter(renames)
    if len(renames) > _FEW:
        return rewritten
    # Most parts name none of a few nodes, which a search in their bytes tells much sooner.
    named = re.compile(b"|".join(re.escape(written(old).strip(b'"')) for old in renames))
    return lambda value: rewritten(value) if named.search(written(value)) else value


def _rewriter(renames: Mapping[Id, Id]) -> Callable[[Any], Any]:
    by_text = {str(old): str(new) for old, new in renames.items()}

    def text(value: str) -> str:
        parts = _REFERENCE.split(value)
        parts[2::3] = [by_text.get(name, name) for name in parts[2::3]]
        return "".join(parts)

    def rewritten(value: Any, key: str = "") -> Any:
        kind = type(value)
        if key in _ID_KEYS and kind in (str, int, float):
            return renames.get(value, value)
        if kind is str:
            return text(value) if "{{" in value else value
        if kind is dict:
            return {
                k: v if type(v) is str and k not in _ID_KEYS and "{{" not in v else rewritten(v, k)
                for k, v in value.items()
            }
        if kind is list:
            names_node = len(value) > 1 and type(value[0]) is type(value[1]) is str and value[0] in by_text
            return [by_text[value[0]], *map(rewritten, value[1:])] if names_node else [*map(rewritten, value)]
        return value

    return rewritten
