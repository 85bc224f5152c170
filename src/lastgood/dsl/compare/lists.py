"""Which items of two lists are the same thing, and which of them moved."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

import orjson

from lastgood.dsl.compare.changes import Item

type Pair = tuple[int, int]
"""The place of an item in the old list, and in the new one."""

# What tells an item of a list from its neighbours, the surest first.
_KEYS: Final = (
    *("id", "case_id", "variable", "name", "key", "output_variable_name", "label", "group_name", "tool_name"),
    *("variable_selector", "role"),
)
# Keys that a person would name an item by; the others are for machines.
_NAMES: Final = ("role", "variable", "name", "key", "output_variable_name", "label", "group_name", "tool_name")
_NAMED_BY: Final = (*_NAMES, "case_id", "id")
_MACHINE_KEYS: Final = frozenset({"id", "case_id", "variable_selector", "role"})
# An id that a machine made: a UUID, a moment in digits.
_OPAQUE: Final = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?.*|\d{9,}.*", re.IGNORECASE | re.DOTALL)
_PLUGIN: Final = re.compile(r"[^:@]+")
_WORDS: Final = re.compile(r"\w+")
_ALIKE: Final = 0.5
_SHOWN: Final = 40
_TOO_MANY: Final = 1_000_000


def pair_items(old: Sequence[Any], new: Sequence[Any]) -> list[Pair]:
    """The items that stand in both lists, in the order of `old`: mappings by what names them, then equal items, then
    items much alike. An item is in at most one pair."""
    if not old or not new:
        return []
    cores, others = list(map(_core, old)), list(map(_core, new))
    present = {"id"}.union(*(core for core in (*cores, *others) if isinstance(core, dict)))
    named = []
    for key in (key for key in _KEYS if key in present):
        ours, theirs = _under(key, cores), _under(key, others)
        if _same_names(ours, theirs):
            return [(place, place) for place in range(len(old))]
        named.append((ours, theirs))
    pairs: dict[int, int] = {}
    for ours, theirs in named:
        _pair_unique(pairs, ours, theirs)
    _pair_equal(pairs, old, new)
    _pair_alike(pairs, old, new)
    return sorted(pairs.items())


def names_alike(old: Sequence[Any], new: Sequence[Any]) -> bool:
    """Whether two lists name the same things in the same order by one key of texts, so that `pair_items` would pair
    them place by place: found sooner, and not in every such case."""
    if not old or len(old) != len(new):
        return False
    for item in (*old, *new):
        # A mapping of one key may be named inside, and a plugin goes by another name than its id.
        if type(item) is not dict or len(item) < 2 or "current_identifier" in item:
            return False
    for key in _KEYS:
        if not old[0].get(key):
            continue
        ours = [item.get(key) for item in old]
        texts = ours == [item.get(key) for item in new] and set(map(type, ours)) == {str} and "" not in ours
        if texts and (key == "role" or len(set(ours)) == len(ours)):
            return True
    return False


def _same_names(old: Sequence[Hashable], new: Sequence[Hashable]) -> bool:
    """Whether two lists name the same things in the same order, each once."""
    return old == new and None not in old and len(set(old)) == len(old)


def moved(pairs: Iterable[Pair]) -> set[Pair]:
    """The fewest of the `pairs` (in the order of the old list) that must move for all to stand as in the new one."""
    tails: list[int] = []  # the smallest end of an increasing run of each length
    ends: list[int] = []  # which pair that is
    pairs = list(pairs)
    before: list[int] = []
    for i, (_, place) in enumerate(pairs):
        length = bisect_left(tails, place)
        before.append(ends[length - 1] if length else -1)
        if length == len(tails):
            tails.append(place)
            ends.append(i)
        else:
            tails[length], ends[length] = place, i
    staying = set()
    at = ends[-1] if ends else -1
    while at >= 0:
        staying.add(at)
        at = before[at]
    return {pair for i, pair in enumerate(pairs) if i not in staying}


def items_of(old: Sequence[Any], new: Sequence[Any], pairs: Iterable[Pair]) -> list[Item]:
    """A step of a path for every item of both lists: those of `new` in their order, each removed one before the items
    that came after it."""
    of_new = {j: i for i, j in pairs}
    items = [Item(name, of_new.get(j), j) for j, name in enumerate(names_of(new))]
    if len(of_new) == len(old):
        return items
    kept = set(of_new.values())
    old_names = names_of(old)
    places = {item.old: n for n, item in enumerate(items) if item.old is not None}
    gone: dict[int, list[Item]] = {}
    at = 0
    for i in range(len(old)):
        if i in kept:
            at = places[i] + 1
        else:
            gone.setdefault(at, []).append(Item(old_names[i], i, None))
    return [item for n in range(len(items) + 1) for item in (*gone.get(n, ()), *items[n : n + 1])]


def words_of(value: Any) -> set[str]:
    """The words of all texts and numbers in `value`, each with the key it stands under."""
    found: set[str] = set()
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        key, item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.items())
        elif isinstance(item, list):
            waiting.extend((key, part) for part in item)
        elif isinstance(item, str):
            found.update(f"{key} {word}" for word in _WORDS.findall(item))
        elif item is not None:
            found.add(f"{key} {item}")
    return found


def _bytes(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _core(item: Any) -> Any:
    """What carries the names of an item: a form field stands inside a mapping of one key, its type."""
    if isinstance(item, dict) and len(item) == 1:
        inner = next(iter(item.values()))
        return inner if isinstance(inner, dict) else item
    return item


def _under(key: str, cores: Sequence[Any]) -> list[Hashable]:
    """What every item of a list has under `key`; None where it has nothing."""
    if key == "id":
        plugins = [_plugin(core) for core in cores]
        if any(plugins):
            return plugins
    values = [_hashable(core.get(key)) if isinstance(core, dict) else None for core in cores]
    # Several messages have one role: their number among those tells them apart.
    return list(_numbered(values)) if key == "role" else values


def _plugin(core: Any) -> Hashable:
    """The plugin that an item of an export's `dependencies` names, its version left out."""
    value = core.get("value") if isinstance(core, dict) and "current_identifier" in core else None
    identifiers = [v for k, v in value.items() if k.endswith("unique_identifier")] if isinstance(value, dict) else []
    found = _PLUGIN.match(identifiers[0]) if identifiers and isinstance(identifiers[0], str) else None
    return found.group() if found else None


def _hashable(value: Any) -> Hashable:
    if value in (None, "", []):
        return None
    return value if isinstance(value, str) else _bytes(value)


def _numbered(values: Iterable[Hashable]) -> Iterator[Hashable]:
    seen: dict[Hashable, int] = {}
    for value in values:
        seen[value] = seen.get(value, 0) + 1
        yield None if value is None else (value, seen[value])


def _pair_unique(pairs: dict[int, int], old: Sequence[Hashable], new: Sequence[Hashable]) -> None:
    """Pair what has the same key, where no other of its list has it; what has a pair keeps it."""
    taken = set(pairs.values())
    places = {key: j for j, key in enumerate(new) if key is not None}
    often, often_new = Counter(old), Counter(new)
    for i, key in enumerate(old):
        j = places.get(key)
        if j is not None and i not in pairs and j not in taken and often[key] == often_new[key] == 1:
            pairs[i] = j


def _pair_equal(pairs: dict[int, int], old: Sequence[Any], new: Sequence[Any]) -> None:
    """Pair equal items, first in their order, then wherever they stand."""
    taken = set(pairs.values())
    left = [i for i in range(len(old)) if i not in pairs]
    right = [j for j in range(len(new)) if j not in taken]
    ours, theirs = [_bytes(old[i]) for i in left], [_bytes(new[j]) for j in right]
    if len(ours) * len(theirs) <= _TOO_MANY:
        for start, other, size in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks():
            for n in range(size):
                pairs[left[start + n]] = right[other + n]
    taken = set(pairs.values())
    places: dict[bytes, list[int]] = {}
    for j, written in zip(reversed(right), reversed(theirs), strict=True):
        if j not in taken:
            places.setdefault(written, []).append(j)
    for i, written in zip(left, ours, strict=True):
        if i not in pairs and places.get(written):
            pairs[i] = places[written].pop()


def _pair_alike(pairs: dict[int, int], old: Sequence[Any], new: Sequence[Any]) -> None:
    """Pair items that nothing names and that are much alike, in their order, between neighbours that stayed."""
    taken = set(pairs.values())
    known = sorted(pairs.items())
    fixed = [pair for pair in known if pair not in moved(known)]
    for (i, j), (i_end, j_end) in zip([(-1, -1), *fixed], [*fixed, (len(old), len(new))], strict=True):
        left = [n for n in range(i + 1, i_end) if n not in pairs and _nameless(old[n])]
        right = [n for n in range(j + 1, j_end) if n not in taken and _nameless(new[n])]
        if left and right and len(left) * len(right) <= _TOO_MANY // 100:
            pairs.update(_alike_pairs(old, new, left, right))


def _alike_pairs(old: Sequence[Any], new: Sequence[Any], left: Sequence[int], right: Sequence[int]) -> Iterator[Pair]:
    theirs = {j: words_of(new[j]) for j in right}
    for i in left:
        ours = words_of(old[i])
        for j in right:
            common = len(ours & theirs[j])
            if type(old[i]) is type(new[j]) and common and common >= _ALIKE * len(ours | theirs[j]):
                yield i, j
                right = [later for later in right if later > j]
                break


def _nameless(item: Any) -> bool:
    """Whether an item may be another one and still be the same thing: a text of some length, or a mapping that has
    no name."""
    core = _core(item)
    if isinstance(core, dict):
        return not any(core.get(key) for key in _KEYS if key not in _MACHINE_KEYS)
    return isinstance(core, str) and len(core) > 12


def names_of(items: Sequence[Any]) -> list[str]:
    """How to name each item to a person."""
    names = [_name(_core(item)) for item in items]
    if "" not in names and len(set(names)) == len(names):
        return names
    often = Counter(names)
    return [
        name if name and often[name] == 1 else f"{name} #{place}".lstrip()
        for place, name in enumerate(names, start=1)
    ]


def _name(core: Any) -> str:
    if not isinstance(core, dict):
        return ""
    plugin = _plugin(core) if "current_identifier" in core else None
    if isinstance(plugin, str):
        return plugin
    for key in _NAMED_BY:
        value = core.get(key)
        if isinstance(value, str) and value.strip() and not (key in _MACHINE_KEYS and _OPAQUE.fullmatch(value)):
            return value.strip()[:_SHOWN]
    return ""
