"""What differs between two JSON values, mapping by mapping and item by item."""

from collections.abc import Callable
from typing import Any, Final

from lastgood.dsl.compare.changes import Change, Item, Path
from lastgood.dsl.compare.lists import items_of, moved, names_alike, names_of, pair_items
from lastgood.dsl.compare.settling import same, settled

_NOTHING: Final = object()

type IsSelector = Callable[[list[Any], Path], bool]
"""Whether the list at a path is a selector (``["node", "output"]``), which is one value."""


def compare_values(old: Any, new: Any, is_selector: IsSelector, path: Path = ()) -> tuple[Change, ...]:
    """The changes that make `new` of `old`, both settled, or as good as that: without a float that would be folded.
    None exactly when they are the same. Paths begin with `path`; keys of mappings come in their order, removed ones
    last."""
    found: list[Change] = []
    if not same(old, new):
        _changes(old, new, is_selector, path, found)
    return tuple(found)


def _changes(old: Any, new: Any, is_selector: IsSelector, path: Path, found: list[Change]) -> None:
    """Add to `found` the changes between two values that are not the same."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in _differing(old, new):
            if key in old:
                _changes(old[key], new[key], is_selector, (*path, key), found)
            else:
                found.append(Change((*path, key), "added", None, _own(new[key])))
        if not old.keys() <= new.keys():
            gone = (key for key in sorted(old) if key not in new)
            found += (Change((*path, key), "removed", _own(old[key]), None) for key in gone)
    elif isinstance(old, list) and isinstance(new, list) and not (is_selector(old, path) or is_selector(new, path)):
        _list_changes(old, new, is_selector, path, found)
    else:
        found.append(Change(path, "changed", _own(old), _own(new)))


def _differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The keys of `new`, sorted, under which `old` has something else or nothing."""
    found = []
    for key, value in new.items():
        was = old.get(key, _NOTHING)
        if was is value or (type(was) is type(value) is str and was == value) or same(was, value):
            continue
        found.append(key)
    return sorted(found) if len(found) > 1 else found


def _list_changes(old: list[Any], new: list[Any], is_selector: IsSelector, path: Path, found: list[Change]) -> None:
    if names_alike(old, new):
        names = names_of(new)
        for place, (was, value) in enumerate(zip(old, new, strict=True)):
            if not same(was, value):
                _changes(was, value, is_selector, (*path, Item(names[place], place, place)), found)
        return
    pairs = pair_items(old, new)
    elsewhere = moved(pairs)
    for item in items_of(old, new, pairs):
        here = (*path, item)
        if item.old is None and item.new is not None:
            found.append(Change(here, "added", None, _own(new[item.new])))
        elif item.new is None and item.old is not None:
            found.append(Change(here, "removed", _own(old[item.old]), None))
        elif item.old is not None and item.new is not None:
            if (item.old, item.new) in elsewhere:
                found.append(Change(here, "moved"))
            if not same(old[item.old], new[item.new]):
                _changes(old[item.old], new[item.new], is_selector, here, found)


def _own(value: Any) -> Any:
    """`value` as a change has it: its own, with sorted keys."""
    return settled(value) if isinstance(value, dict | list) else value
