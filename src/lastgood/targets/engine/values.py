"""Values on their way out of a run: graphon's segments, files and models become plain JSON values, and the
values of secret variables become asterisks."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from graphon.file import File
from graphon.variables.segments import Segment
from pydantic import BaseModel

from lastgood.dsl.mask import Mask

NO_MASK = Mask()


def plain(value: Any, mask: Mask = NO_MASK) -> Any:
    """`value` as JSON can hold it: dicts, lists, strings, numbers, booleans and None."""
    if isinstance(value, str):
        return mask.text(str(value)) if mask else str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_key(key, mask): plain(item, mask) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, mask) for item in value]
    return plain(_unwrapped(value), mask)


def _key(key: Any, mask: Mask) -> str:
    return mask.text(str(key)) if mask else str(key)


def _unwrapped(value: Any) -> Any:
    for kind, unwrap in _UNWRAP.items():
        if isinstance(value, kind):
            return unwrap(value)
    return str(value)


_UNWRAP: Mapping[type, Callable[[Any], Any]] = {
    Segment: lambda value: value.value,
    # Not `to_dict`: that asks the file runtime for the URL, which only the threads of a run have.
    File: lambda value: {**value.model_dump(mode="json"), "related_id": value.related_id, "url": value.remote_url},
    BaseModel: lambda value: value.model_dump(mode="python"),
    Enum: lambda value: value.value,
    datetime: lambda value: int(value.timestamp()),
    bytes: lambda value: f"<{len(value)} bytes>",
}
