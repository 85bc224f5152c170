"""Reading what a server answered: each field by name and kind, or a `Misshapen` that says which one is wrong.

A field that older or newer servers leave out has a default; one that nothing works without has none."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any


class Misshapen(ValueError):
    """An answer without a field it must have, or with one of another kind. Its words hold no value."""


class Fields:
    """The fields of one JSON object; `where` names it in a `Misshapen`."""

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, Mapping):
            raise Misshapen(f"{where} is {_kind(data)}, not an object")
        self.data: Mapping[str, Any] = data
        self.where = where

    def text(self, name: str) -> str:
        """A text that must be there."""
        return self._of(name, str, "a text")

    def text_or(self, name: str, default: str = "") -> str:
        """A text; `default` where it is missing or null."""
        return default if self.data.get(name) is None else self.text(name)

    def flag(self, name: str, default: bool | None = None) -> bool | None:
        """True or false; `default` where it is missing or null."""
        return default if self.data.get(name) is None else self._of(name, bool, "true or false")

    def number(self, name: str, default: float | None = None) -> float | None:
        """A number; `default` where it is missing or null."""
        value = self.data.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number", value)
        return value

    def count(self, name: str, default: int | None = None) -> int | None:
        """A whole number; `default` where it is missing or null."""
        value = self.number(name)
        if value is None:
            return default
        if isinstance(value, float) and not value.is_integer():
            raise self._wrong(name, "a whole number", value)
        return int(value)

    def moment(self, name: str) -> datetime | None:
        """A time, in seconds since 1970 or as ISO text (UTC where it names no zone); None where it is missing."""
        value = self.data.get(name)
        if value is None or value == "":
            return None
        try:
            if isinstance(value, str):
                return _utc(datetime.fromisoformat(value))
            if isinstance(value, int | float) and not isinstance(value, bool):
                return datetime.fromtimestamp(value, UTC)
        except (ValueError, OverflowError, OSError):
            pass
        raise self._wrong(name, "a time", value)

    def mapping(self, name: str) -> Mapping[str, Any]:
        """An object that must be there."""
        value = self.data.get(name)
        if not isinstance(value, Mapping):
            raise self._wrong(name, "an object", value)
        return value

    def mapping_or_none(self, name: str) -> Mapping[str, Any] | None:
        """An object; None where it is missing or null."""
        return None if self.data.get(name) is None else self.mapping(name)

    def mappings(self, name: str) -> tuple[Mapping[str, Any], ...]:
        """A list of objects; empty where it is missing or null."""
        return self.each(name, lambda item: Fields(item, f"an item of {name}").data)

    def each[T](self, name: str, read: Callable[[Any], T]) -> tuple[T, ...]:
        """What `read` makes of each item of a list; empty where it is missing or null."""
        value = self.data.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self._wrong(name, "a list", value)
        return tuple(read(item) for item in value)

    def _of[T](self, name: str, kind: type[T], words: str) -> T:
        value = self.data.get(name)
        if not isinstance(value, kind):
            raise self._wrong(name, words, value)
        return value

    def _wrong(self, name: str, wanted: str, value: object) -> Misshapen:
        return Misshapen(f"{name} of {self.where} is {_kind(value)}, not {wanted}")


def _kind(value: object) -> str:
    return "missing" if value is None else f"of the kind {type(value).__name__}"


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
