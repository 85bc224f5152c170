"""JSON text → values, strictly: no key twice, no number that would lose digits, bounded depth.

The hot path is C code throughout; the scanner in Python runs only to say where something is wrong."""

import json
import re
from bisect import bisect
from collections.abc import Iterator
from typing import Any

import orjson

from lastgood.dsl.limits import Limits, shorten, too_many
from lastgood.errors import DocumentTooLarge, DuplicateKey, InvalidValue, NotJson

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_LONG_INTEGER = re.compile(rb"(?<![0-9.eE+-])-?[0-9]{19,}(?![0-9.eE])")
_ORJSON_DEPTH = 1024  # deeper than this, orjson itself stops
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class _Twice(Exception):
    """Some object holds a key twice."""


def load_json(text: str, source: str, limits: Limits) -> Any:
    """The value of `text`.

    Raises `NotJson`, `DuplicateKey`, `InvalidValue` or `DocumentTooLarge`, each naming the line."""
    data = text.encode()
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if "depth" in error.msg:
            raise _too_deep(source, error.lineno, _ORJSON_DEPTH + 1, limits) from None
        raise NotJson(source=source, line=error.lineno, column=error.colno, reason=error.msg) from None
    _check_size(value, text, source, limits)
    if orjson.dumps(value) == data:
        return value  # as orjson writes it, which writes no key twice and no number otherwise than it read it
    # `text` is sound JSON: on any other, this pattern would take quadratic time.
    bare = _STRING.sub(b"", data)
    if _LONG_INTEGER.search(bare):
        _refuse_long_integers(text, source)
    try:
        json.loads(text, object_pairs_hook=_once)
    except _Twice:
        _refuse_twice(text, source)
    return value


def _check_size(value: Any, text: str, source: str, limits: Limits) -> None:
    """Raises `DocumentTooLarge` when `value`, read from `text`, is too deep or holds too many values."""
    level, depth, values = [value] if isinstance(value, dict | list) else [], 0, 1
    while level:
        depth += 1
        if depth > limits.depth:
            raise _too_deep(source, _deep_line(text, limits.depth), depth, limits)
        values += sum(map(len, level))
        if values > limits.values:
            raise too_many(source, "the number of values", values, limits.values)
        parts = (part for item in level for part in (item.values() if isinstance(item, dict) else item))
        level = [part for part in parts if isinstance(part, dict | list)]


def _too_deep(source: str, line: int, depth: int, limits: Limits) -> DocumentTooLarge:
    return too_many(source, f"the depth of nesting on line {line}", depth, limits.depth, "levels")


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise _Twice


def tokens(text: str) -> Iterator[tuple[str, int]]:
    """The parts of a JSON text and their lines."""
    ends = [match.start() for match in re.finditer("\n", text)]
    for match in _TOKEN.finditer(text):
        yield match[0], bisect(ends, match.start()) + 1


def _deep_line(text: str, limit: int) -> int:
    """The line of the first bracket that is more than `limit` levels deep."""
    depth = 0
    for part, line in tokens(text):
        depth += _STEPS.get(ord(part), 0) if len(part) == 1 else 0
        if depth > limit:
            return line
    raise AssertionError("the caller saw one")


def _refuse_long_integers(text: str, source: str) -> None:
    for part, line in tokens(text):
        if part.lstrip("-").isdecimal() and (len(part) > 20 or not -(2**63) <= int(part) < 2**64):
            raise InvalidValue(source=source, line=line, reason="the number has more than 64 bits")


def _refuse_twice(text: str, source: str) -> None:
    """Raises `DuplicateKey` for the first key of `text`, which is valid JSON, that stands twice in an object."""
    stack: list[dict[str, int]] = []
    previous, previous_line = "", 0
    for part, line in tokens(text):
        if part in "{[":
            stack.append({})
        elif part in "}]":
            stack.pop()
        elif part == ":":
            key, seen = json.loads(previous), stack[-1]
            if key in seen:
                raise DuplicateKey(source=source, line=previous_line, key=shorten(key), first_line=seen[key])
            seen[key] = previous_line
        previous, previous_line = part, line
