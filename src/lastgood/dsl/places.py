"""Where the parts of a document stand in the text that it was read from: a second pass over a text that `parse` took.

Nothing is built from the text but a tree of lines. An alias is one place, whatever it stands for, and no tag is
looked at, so that neither can make this large or do anything."""

import json
import re
from dataclasses import dataclass
from typing import Final

from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from lastgood.dsl.document import Document
from lastgood.dsl.jsontext import tokens
from lastgood.dsl.limits import PLAIN, Limits
from lastgood.dsl.reader import PARTS, is_json, parse, text_of
from lastgood.dsl.yamltext import PARSER

_STEP: Final = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


@dataclass(slots=True)
class _Place:
    """A value of the text: its line, and the values in it by key or by number, None where none can be."""

    line: int
    items: "dict[str | int, _Place] | None" = None


class Places:
    """The lines of a source text, from 1, by the paths of what stands there (``workflow.graph.nodes[3].data``). What
    has a key stands where that does."""

    def __init__(self, root: _Place) -> None:
        self._root = root

    def line(self, path: str) -> int:
        """The line of what is at `path` in the document; of what is around it where the text itself does not hold it
        (it is missing, or came by an alias or a merge key)."""
        place = self._root
        for index, key in _STEP.findall(path):
            inner = (place.items or {}).get(int(index) if index else key)
            if inner is None:
                break
            place = inner
        return place.line


def parse_with_places(
    data: bytes | str, *, source: str = "document", limits: Limits = PLAIN
) -> tuple[Document, Places]:
    """What `parse` makes of `data`, and where everything stands in it. Raises what `parse` does."""
    document = parse(data, source=source, limits=limits)  # holds the limits, and takes nothing that is not sound
    text = text_of(data, source, limits)
    return document, Places(_of_document(_of_json(text) if is_json(text) else _of_yaml(text)))


class _Tree:
    """A tree of places that is being built, value by value."""

    def __init__(self) -> None:
        self.root = _Place(1)
        self._open: list[tuple[_Place, bool]] = []  # with: is it a mapping?
        self._key: tuple[str, int] | None = None  # of the value that comes next, and its line

    def scalar(self, text: str, line: int) -> None:
        """A key or a value that holds no others. `text` counts for a key only."""
        if self._open and self._open[-1][1] and self._key is None:
            self._key = text, line
        else:
            self._put(_Place(line))

    def opened(self, is_mapping: bool, line: int) -> None:
        """A mapping or a list begins."""
        place = _Place(line, {})
        self._put(place)
        self._open.append((place, is_mapping))

    def closed(self) -> None:
        """The innermost mapping or list ends."""
        self._open.pop()

    def _put(self, place: _Place) -> None:
        if not self._open:
            self.root = place
            return
        items = self._open[-1][0].items
        assert items is not None  # noqa: S101 - it was opened with them
        if self._key is None:
            items[len(items)] = place
        else:
            key, place.line = self._key
            items[key] = place
            self._key = None


def _of_yaml(text: str) -> _Place:
    tree, next_event = _Tree(), PARSER(text).get_event
    while type(event := next_event()) is not StreamEndEvent:
        line = event.start_mark.line + 1
        if isinstance(event, ScalarEvent):
            tree.scalar(event.value, line)
        elif isinstance(event, AliasEvent):
            tree.scalar("", line)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            tree.opened(isinstance(event, MappingStartEvent), line)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            tree.closed()
    return tree.root


def _of_json(text: str) -> _Place:
    tree = _Tree()
    for part, line in tokens(text):
        if part in "{[":
            tree.opened(part == "{", line)
        elif part in "}]":
            tree.closed()
        elif part not in ":,":
            tree.scalar(json.loads(part) if part[0] == '"' else "", line)
    return tree.root


def _of_document(root: _Place) -> _Place:
    """The place of the envelope that `parse` makes of the text, where that is not the text's own root."""
    items = root.items or {}
    inner = items.get("document")
    if inner is not None and PARTS & (inner.items or {}).keys():
        return inner
    return _Place(root.line, {"workflow": root}) if "graph" in items and not PARTS & items.keys() else root
