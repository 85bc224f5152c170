"""Values on their way out of a run: graphon's segments, files and models become plain JSON values, and the
values of secret variables become asterisks."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any
from urllib.parse import quote, quote_plus

from graphon.file import File
from graphon.variables.segments import Segment
from pydantic import BaseModel

MASK = "*" * 20
_SHORTEST_PART = 4  # a secret shorter than this is hidden only where it is the whole text: else it shreds words


class Mask:
    """Hides the values of secret variables wherever they stand in a text, written plainly or escaped."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        whole = {secret for secret in secrets if secret}
        parts = {form for secret in whole if len(secret) >= _SHORTEST_PART for form in _forms(secret)}
        self._whole = whole
        self._parts = sorted(parts, key=len, reverse=True)

    def text(self, value: str) -> str:
        """`value` with every secret replaced."""
        if value in self._whole:
            return MASK
        for part in self._parts:
            if part in value:
                value = value.replace(part, MASK)
        return value

    def __bool__(self) -> bool:
        return bool(self._whole)


def _forms(secret: str) -> set[str]:
    raw = secret.encode()
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        b64encode(raw).decode(),
    }


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
