"""What differs between two JSON values, mapping by mapping and item by item."""

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from lastgood.dsl.canonical import folded
from lastgood.dsl.compare.changes import Change, Path
from lastgood.dsl.compare.lists import items_of, moved, pair_items

type IsSelector = Callable[[list[Any], Path], bool]
"""Whether the list at a path is a selector (``["node", "output"]``), which is one value."""


def settled(value: Any) -> Any:
    """`value` as the semantic digest sees it: a copy in which 3.0 is 3."""
    try:
        data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        data = folded(value)  # raises, in words
    # Only such a float may be another value when folded; how others are spelled is forgotten when they are read.
    return orjson.loads(folded(value) if b".0" in data else data)


def written(value: Any) -> bytes:
    """Bytes that are equal only for equal values, quickly; where they differ the values may still be the same."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return folded(value)  # raises, in words


def same(old: Any, new: Any) -> bool:
    """Whether two settled values are one to the digest: 1, true and "1" are three."""
    if type(old) is not type(new) or old != new:
        return False
    # Python finds [1], [true] and [1.0] equal.
    return not isinstance(old, dict | list) or written(old) == written(new) or folded(old) == folded(new)


def compare_values(old: Any, new: Any, is_selector: IsSelector, path: Path = ()) -> tuple[Change, ...]:
    """The changes that make `new` of `old`, both settled; none exactly when they are the same. Paths begin with
    `path`; keys of mappings come in their order in `new`, removed ones last."""
    return () if same(old, new) else tuple(_changes(old, new, is_selector, path))


def _changes(old: Any, new: Any, is_selector: IsSelector, path: Path) -> Iterator[Change]:
    """The changes between two values that are not the same."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in new.items():
            if key not in old:
                yield Change((*path, key), "added", None, value)
            elif not same(old[key], value):
                yield from _changes(old[key], value, is_selector, (*path, key))
        for key, value in old.items():
            if key not in new:
                yield Change((*path, key), "removed", value, None)
    elif isinstance(old, list) and isinstance(new, list) and not (is_selector(old, path) or is_selector(new, path)):
        yield from _list_changes(old, new, is_selector, path)
    else:
        yield Change(path, "changed", old, new)


def _list_changes(old: list[Any], new: list[Any], is_selector: IsSelector, path: Path) -> Iterator[Change]:
    pairs = pair_items(old, new)
    elsewhere = moved(pairs)
    for item in items_of(old, new, pairs):
        here = (*path, item)
        if item.old is None and item.new is not None:
            yield Change(here, "added", None, new[item.new])
        elif item.new is None and item.old is not None:
            yield Change(here, "removed", old[item.old], None)
        elif item.old is not None and item.new is not None:
            if (item.old, item.new) in elsewhere:
                yield Change(here, "moved")
            if not same(old[item.old], new[item.new]):
                yield from _changes(old[item.old], new[item.new], is_selector, here)
