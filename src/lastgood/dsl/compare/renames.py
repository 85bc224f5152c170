"""References to nodes that have another id now."""

import re
from collections.abc import Callable, Mapping
from operator import is_
from typing import Any, Final

from lastgood.dsl.compare.settling import written

type Id = str | float

# The keys under which a node or an edge names a node by its id alone.
_ID_KEYS: Final = frozenset(
    {"id", "parentId", "source", "target", "iteration_id", "loop_id", "container_id", "start_node_id"}
    | {"belong_to_node_id", "node_id"}
)
_FEW: Final = 20
_IDS: Final = frozenset({str, int, float})
_REFERENCE: Final = re.compile(r"(\{\{\s*#)([^.#{}\n]{1,200})(?=[.#])")
_REFERRED: Final = re.compile(r"\{\{\s*#([^.#{}\n]{1,200})(?=[.#])")


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
        if by_text.keys().isdisjoint(_REFERRED.findall(value)):
            return value
        parts = _REFERENCE.split(value)
        parts[2::3] = [by_text.get(name, name) for name in parts[2::3]]
        return "".join(parts)

    def mapping(value: dict[str, Any]) -> dict[str, Any]:
        rewritten = value
        for key, item in value.items():
            kind = type(item)
            now = item
            if kind is dict:
                now = mapping(item)
            elif kind is list:
                now = sequence(item)
            elif key in _ID_KEYS:
                now = renames.get(item, item) if kind in _IDS else item
            elif kind is str and "{{" in item:
                now = text(item)
            if now is not item:
                if rewritten is value:
                    rewritten = dict(value)
                rewritten[key] = now
        return rewritten

    def sequence(value: list[Any]) -> list[Any]:
        names_node = len(value) > 1 and type(value[0]) is type(value[1]) is str and value[0] in by_text
        if names_node:
            return [by_text[value[0]], *map(one, value[1:])]
        rewritten = [*map(one, value)]
        return value if all(map(is_, value, rewritten)) else rewritten

    def one(value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return text(value) if "{{" in value else value
        return mapping(value) if kind is dict else sequence(value) if kind is list else value

    return one
