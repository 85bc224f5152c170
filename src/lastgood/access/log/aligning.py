"""What differs between the rows that a log must have and those that are there: which was altered, dropped, put in or
moved. Pure functions on hashes."""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

type Kind = Literal["altered", "dropped", "inserted", "moved"]


@dataclass(frozen=True, slots=True)
class Difference:
    """`place` is where a row of the log belongs (None for one that is none of it), `at` where among the rows that are
    there it was found (None for one that was not)."""

    kind: Kind
    place: int | None
    at: int | None


def compare(expected: Sequence[bytes], found: Sequence[bytes]) -> list[Difference]:
    """How `found` differs from `expected`, both hashes of rows in their order; in the order of the places.

    Rows that both have and that stand in another order are told with as few moves as will do. A row that is not of
    the log is *altered* where it stands in the place of one that is missing, else *inserted*."""
    begin = 0
    most = min(len(expected), len(found))
    while begin < most and expected[begin] == found[begin]:
        begin += 1
    behind = 0
    while behind < most - begin and expected[-1 - behind] == found[-1 - behind]:
        behind += 1
    left = range(begin, len(expected) - behind)
    right = range(begin, len(found) - behind)
    places: defaultdict[bytes, deque[int]] = defaultdict(deque)
    for place in left:
        places[expected[place]].append(place)
    pairs = [(at, places[found[at]].popleft()) for at in right if places.get(found[at])]
    keeping = _longest_rising([place for _, place in pairs])
    kept = [pair for number, pair in enumerate(pairs) if number in keeping]
    moved = [pair for number, pair in enumerate(pairs) if number not in keeping]
    known, there = {at for at, _ in pairs}, {place for _, place in pairs}
    differences = [Difference("moved", place, at) for at, place in moved]
    # Between two rows that stand as they should, what is strange takes the place of what is missing, one by one.
    after, before = (begin - 1, begin - 1), (len(found) - behind, len(expected) - behind)
    for (at, place), (next_at, next_place) in zip([after, *kept], [*kept, before], strict=True):
        strange = [one for one in range(at + 1, next_at) if one not in known]
        missing = [one for one in range(place + 1, next_place) if one not in there]
        both = min(len(strange), len(missing))
        differences += [Difference("altered", there_, here) for here, there_ in zip(strange, missing, strict=False)]
        differences += [Difference("inserted", None, one) for one in strange[both:]]
        differences += [Difference("dropped", one, None) for one in missing[both:]]
    return sorted(differences, key=lambda one: (one.place if one.place is not None else one.at or 0, one.kind))


def _longest_rising(values: Sequence[int]) -> set[int]:
    """The indices of a longest rising part of `values` (patience sorting)."""
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, value in enumerate(values):
        at = bisect_left(tails, value)
        before.append(ends[at - 1] if at else -1)
        tails[at : at + 1] = [value]
        ends[at : at + 1] = [index]
    found: set[int] = set()
    index = ends[-1] if ends else -1
    while index >= 0:
        found.add(index)
        index = before[index]
    return found
