"""A document's variables as graphon holds them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphon.variables.factory import TypeMismatchError, build_segment, build_segment_with_type
from graphon.variables.segments import Segment
from graphon.variables.types import SegmentType
from graphon.variables.variables import SecretVariable

_EMPTY: dict[str, Any] = {"string": "", "secret": "", "number": 0, "integer": 0, "float": 0.0, "boolean": False}


@dataclass(frozen=True, slots=True)
class Variable:
    """A conversation variable as the document declares it."""

    name: str
    value_type: str
    description: str
    segment: Segment


def environment(entry: Mapping[str, Any]) -> Segment:
    """The value of an environment variable as the document has it. Raises what makes it unusable."""
    kind, value = str(entry.get("value_type") or "string"), entry.get("value")
    name = str(entry["name"])
    if kind == "secret":
        return SecretVariable(name=name, value=str(value or ""), selector=["env", name])
    return typed(kind, value)


def conversation(entry: Mapping[str, Any]) -> Variable:
    """A conversation variable as the document declares it. Raises what makes it unusable."""
    kind = str(entry.get("value_type") or "string")
    return Variable(str(entry["name"]), kind, str(entry.get("description") or ""), typed(kind, entry.get("value")))


def typed(kind: str, value: Any) -> Segment:
    """`value` as a variable of Dify's type `kind`; what is empty becomes that type's empty value."""
    if value is None or (value == "" and kind not in {"string", "secret"}):
        value = _EMPTY.get(kind, [] if kind.startswith("array") else {})
    if kind in {"number", "integer", "float"} and isinstance(value, str):
        value = float(value) if "." in value or "e" in value.lower() else int(value)
    if kind == "string" and not isinstance(value, str):
        value = str(value)
    try:
        return build_segment_with_type(SegmentType(kind), value)
    except (ValueError, TypeMismatchError):
        return build_segment(value)
