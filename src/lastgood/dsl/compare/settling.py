"""Values as the semantic digest sees them."""

from typing import Any

import orjson

from lastgood.dsl.canonical import foldable, folded


def settled(value: Any) -> Any:
    """`value` as the semantic digest sees it: a copy, its keys sorted, in which 3.0 is 3."""
    try:
        data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        data = folded(value)  # raises, in words
    # Only such a float may be another value when folded; how others are spelled is forgotten when they are read.
    return orjson.loads(folded(value) if foldable(data) else data)


def written(value: Any) -> bytes:
    """Bytes that are equal only for equal values, quickly; where they differ the values may still be the same."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return folded(value)  # raises, in words


def same(old: Any, new: Any) -> bool:
    """Whether two settled values are one to the digest: 1, true and "1" are three."""
    if old is new:
        return True
    kind = type(old)
    if kind is not type(new) or old != new:
        return False
    # Python finds [1], [true] and [1.0] equal.
    plain = (kind is not dict and kind is not list) or not old
    return plain or written(old) == written(new) or folded(old) == folded(new)


class Meant:
    """A part of a document, settled when that is first asked for: most comparisons need only a little of it."""

    __slots__ = ("_settled", "raw")

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self._settled: dict[str, Any] | None = None

    @property
    def settled(self) -> dict[str, Any]:
        """The part, settled; every time the same copy."""
        if self._settled is None:
            self._settled = settled(self.raw)
        return self._settled

    @property
    def id(self) -> Any:
        """The settled `id` of the part."""
        value = self.raw.get("id")
        return value if type(value) is str else settled(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Meant) and self.settled == other.settled

    __hash__ = None  # type: ignore[assignment]  # as a dict's
