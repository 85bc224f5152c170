"""YAML text → JSON values, read as `yaml.safe_load` reads it, and stricter.

PyYAML gives the events and the values are built here without recursion, so that depth, size and aliases are checked
before anything is built from them. Where this differs from `yaml.safe_load` (besides being faster):

- a key that stands twice, a tag that makes other than plain values and an alias inside its own anchor are refused;
- so is what JSON cannot hold: not-a-number, infinity, integers of more than 64 bits, mappings as keys;
- dates, and the lone words ``=`` and ``<<``, stay the text that was written;
- keys that are numbers, booleans or null become the text that JSON writes for them (``1: a`` is ``"1": a``), which
  is also what becomes of them in Dify, where a graph is kept as JSON.

Merge keys (``<<: *base``) are resolved as YAML 1.1 says: keys of the mapping itself win, then earlier bases."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import orjson
import yaml
from yaml.constructor import SafeConstructor
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)
from yaml.nodes import ScalarNode
from yaml.resolver import Resolver

from lastgood.dsl.limits import Limits, shorten, too_many
from lastgood.errors import DuplicateKey, InvalidValue, NotADocument, NotYaml, UnsafeYaml

# libyaml where PyYAML was built with it (five times as fast), else PyYAML's own parser; both give the same events.
PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG: Final = "tag:yaml.org,2002:"
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NUMBER_STARTS: Final = frozenset("0123456789+-.")
_COMMON_INT: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_COMMON_FLOAT: Final = re.compile(r"-?[0-9]{1,300}\.[0-9]{1,300}")
# Longer numbers are refused unread; no number of a workflow comes near this.
_MOST_DIGITS: Final = 4_000
_MOST_DIRECTIVES: Final = 20
_NO_KEY: Final = object()
_MERGE: Final = object()


@dataclass(slots=True)
class _Frame:
    """A collection that is being built."""

    value: Any
    is_mapping: bool
    anchor: str | None
    key: Any = _NO_KEY
    lines: dict[str, int] = field(default_factory=dict)
    bases: list[dict[str, Any]] = field(default_factory=list)


def load_yaml(text: str, source: str, limits: Limits) -> Any:
    """The one document in `text` as JSON values.

    Raises `NotYaml`, `UnsafeYaml`, `DuplicateKey`, `InvalidValue`, `DocumentTooLarge` or `NotADocument` (no
    document, or several), each naming the line."""
    if text.count("\n%TAG") > _MOST_DIRECTIVES:  # libyaml compares each with all before it
        line = text.count("\n", 0, text.index("\n%TAG")) + 2
        raise UnsafeYaml(source=source, line=line, reason="there are too many %TAG directives")
    try:
        return _Builder(text, source, limits).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        reason = str(error.problem or error.context or "it cannot be read")
        raise NotYaml(source=source, line=line, column=column, reason=reason) from None
    except YAMLError as error:  # the reader's: a character that YAML does not allow
        at = getattr(error, "position", 0)
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        reason = str(getattr(error, "reason", error))
        raise NotYaml(source=source, line=line, column=column, reason=reason) from None


class _Builder:
    """Builds the values of one text, collection by collection."""

    def __init__(self, text: str, source: str, limits: Limits) -> None:
        self.next_event: Callable[[], Any] = PARSER(text).get_event
        self.source = source
        self.limits = limits
        self.size = len(text)  # with every alias written out
        self.values = 0
        self.aliases = 0
        self.anchors: dict[str, Any] = {}
        self.costs: dict[str, tuple[int, int, int]] = {}
        self.stack: list[_Frame] = []

    def document(self) -> Any:
        self.next_event()  # the start of the stream
        if type(self.next_event()) is not DocumentStartEvent:
            raise NotADocument(source=self.source, reason="it is empty")
        root = self._root()
        self.next_event()  # the end of the document
        event = self.next_event()
        if type(event) is not StreamEndEvent:
            reason = f"a second YAML document begins on line {_line(event)}"
            raise NotADocument(source=self.source, reason=reason)
        return root

    def _root(self) -> Any:  # noqa: PLR0912 (one loop on purpose: every event of a document passes here)
        next_event, stack, most_values = self.next_event, self.stack, self.limits.values
        frame: _Frame | None = None
        while True:
            event = next_event()
            kind = type(event)
            if kind is ScalarEvent:
                value = event.value
                if event.tag is not None:
                    value = self._tagged(event)
                elif event.implicit[0]:
                    if value in _WORDS:
                        value = _WORDS[value]
                    elif value[0] in _NUMBER_STARTS:
                        value = self._number(event)
                if event.anchor is not None:
                    self._keep(event.anchor, value, event)
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                closed = stack.pop()
                value = closed.value
                for base in closed.bases:
                    for key, item in base.items():
                        value.setdefault(key, item)
                if closed.anchor is not None:
                    self._keep(closed.anchor, value, event)
                frame = stack[-1] if stack else None
            elif kind is AliasEvent:
                value = self._repeated(event)
            else:
                frame = self._opened(event)
                continue

            self.values += 1
            if self.values > most_values:
                raise too_many(
                    self.source, f"the number of values (up to line {_line(event)})", self.values, most_values
                )
            if frame is None:
                return value
            if not frame.is_mapping:
                frame.value.append(value)
            elif frame.key is _NO_KEY:
                frame.key = self._key(frame, value, event)
            else:
                if frame.key is _MERGE:
                    self._merge(frame, value, event)
                else:
                    frame.value[frame.key] = value
                frame.key = _NO_KEY

    def _opened(self, event: Any) -> _Frame:
        """The new innermost frame, for a mapping or sequence that starts."""
        is_mapping = type(event) is MappingStartEvent
        if event.tag not in (None, "!", _TAG + ("map" if is_mapping else "seq")):
            self._refuse_tag(event)
        frame = _Frame({} if is_mapping else [], is_mapping, event.anchor)
        self.stack.append(frame)
        self._check_depth(len(self.stack), event)
        return frame

    def _check_depth(self, depth: int, event: Any) -> None:
        if depth > self.limits.depth:
            raise too_many(
                self.source, f"the depth of nesting on line {_line(event)}", depth, self.limits.depth, "levels"
            )

    def _key(self, frame: _Frame, value: Any, event: Any) -> Any:
        """The key that `value` makes in the mapping of `frame`, which has none like it yet."""
        line = _line(event)
        if isinstance(value, dict | list):
            raise InvalidValue(source=self.source, line=line, reason="a mapping or list is used as a key")
        if not isinstance(value, str):
            value = orjson.dumps(value).decode()
        if value in frame.lines:
            first_line = frame.lines[value]
            raise DuplicateKey(source=self.source, line=line, key=shorten(value), first_line=first_line)
        frame.lines[value] = line
        plain = type(event) is ScalarEvent and event.implicit[0] and event.tag is None
        return _MERGE if value == "<<" and plain else value

    def _merge(self, frame: _Frame, value: Any, event: Any) -> None:
        bases = value if isinstance(value, list) else [value]
        if not all(isinstance(base, dict) for base in bases):
            reason = "`<<` merges mappings only, and something else follows it"
            raise InvalidValue(source=self.source, line=_line(event), reason=reason)
        frame.bases.extend(bases)

    def _keep(self, anchor: str, value: Any, event: Any) -> None:
        if anchor in self.anchors:
            self._refuse(event, f"the anchor &{shorten(anchor)} stands twice")
        self.anchors[anchor] = value

    def _repeated(self, event: Any) -> Any:
        """A copy of what the alias `event` stands for, if there is room for it."""
        name, line = event.anchor, _line(event)
        if name not in self.anchors:
            if any(frame.anchor == name for frame in self.stack):
                raise UnsafeYaml(
                    source=self.source, line=line, reason=f"the alias *{shorten(name)} is part of itself"
                )
            self._refuse(event, f"the alias *{shorten(name)} has no anchor before it")
        if name not in self.costs:
            self.costs[name] = _cost(self.anchors[name])
        size, values, height = self.costs[name]
        limits = self.limits
        self.aliases += 1
        self.size += size
        self.values += values - 1
        if self.aliases > limits.aliases:
            raise too_many(self.source, f"the number of aliases (up to line {line})", self.aliases, limits.aliases)
        if self.size > limits.bytes:
            what = f"the size with its aliases written out (up to line {line})"
            raise too_many(self.source, what, self.size, limits.bytes, "characters")
        if self.values <= limits.values:
            self._check_depth(len(self.stack) + height, event)
            value = self.anchors[name]
            # A copy, so that no part of a document is two places of it.
            return orjson.loads(orjson.dumps(value)) if isinstance(value, dict | list) else value
        return None  # too many values, which the caller refuses

    def _tagged(self, event: Any) -> Any:
        """The value of a scalar with a tag of its own, such as `!!str 12`."""
        if event.tag in ("!", _TAG + "str"):
            return event.value
        value = _WORDS[event.value] if event.value in _WORDS else self._number(event)
        if event.tag == _TAG + "float" and type(value) is int:
            return float(value)
        expected = {_TAG + "null": type(None), _TAG + "bool": bool, _TAG + "int": int, _TAG + "float": float}
        if type(value) is not expected.get(event.tag):
            self._refuse_tag(event)
        return value

    def _refuse_tag(self, event: Any) -> NoReturn:
        tag = "!!" + event.tag.removeprefix(_TAG) if event.tag.startswith(_TAG) else event.tag
        raise UnsafeYaml(source=self.source, line=_line(event), reason=f"the tag {shorten(tag)} is not accepted here")

    def _refuse(self, event: Any, reason: str) -> NoReturn:
        mark = event.start_mark
        raise NotYaml(source=self.source, line=mark.line + 1, column=mark.column + 1, reason=reason)

    def _number(self, event: Any) -> Any:
        """The number that a plain scalar is, or its text when it is none (a date, an address, `-`)."""
        text: str = event.value
        if _COMMON_INT.fullmatch(text):
            return int(text)
        if _COMMON_FLOAT.fullmatch(text):
            return float(text)
        value = _rare_number(text)
        # The number itself stays out of the errors: it may be somebody's secret.
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            raise InvalidValue(source=self.source, line=_line(event), reason="the number has more than 64 bits")
        if isinstance(value, float) and not math.isfinite(value):
            reason = "not-a-number, infinity and what is larger than a float are no values of JSON"
            raise InvalidValue(source=self.source, line=_line(event), reason=reason)
        return value


def _rare_number(text: str) -> Any:
    """The number that YAML 1.1 sees in `text` (octal, hexadecimal, base sixty, underscores, …), or `text`."""
    for tag, pattern in Resolver.yaml_implicit_resolvers.get(text[:1], ()):
        construct = _NUMBERS.get(tag)
        if construct is not None and pattern.match(text):
            if len(text) > _MOST_DIGITS:  # the construction takes quadratic time
                return math.inf
            try:
                return construct(SafeConstructor(), ScalarNode(tag, text))
            except ValueError:  # `0x_` and the like, on which it stumbles
                return text
            except OverflowError:
                return math.inf
    return text


_NUMBERS: Final = {
    _TAG + "int": SafeConstructor.construct_yaml_int,
    _TAG + "float": SafeConstructor.construct_yaml_float,
}


def _cost(value: Any) -> tuple[int, int, int]:
    """What one more copy of `value` adds: characters, values, levels."""
    size = values = height = 0
    todo = [(value, 0)]
    while todo:
        item, level = todo.pop()
        values += 1
        if isinstance(item, dict):
            size += sum(map(len, item))
            todo.extend((child, level + 1) for child in item.values())
        elif isinstance(item, list):
            todo.extend((child, level + 1) for child in item)
        else:
            size += len(item) if isinstance(item, str) else 1
            continue
        height = max(height, level + 1)
    return size + values, values, height


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
