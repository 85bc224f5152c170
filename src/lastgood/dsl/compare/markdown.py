"""A `Difference` as Markdown, for release notes and pull requests."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from lastgood.dsl.compare.changes import Difference
from lastgood.dsl.compare.lines import Line, lines
from lastgood.dsl.compare.words import signed

_NOTHING: Final = "Nothing has changed.\n"
_WORDS: Final = frozenset({"added", "removed", "changed", "moved"})
_TICKS: Final = re.compile(r"`+")


def markdown(difference: Difference, level: int = 3) -> str:
    """What differs as Markdown (GitHub's): a heading of `level` for each section, a list of changes, texts as diffs
    in fences with signs around the words that changed. What the documents say stands in code spans and fences, and
    marks nothing up."""
    told = lines(difference)
    if not told:
        return _NOTHING
    return "\n".join(_written(told, "#" * level)).lstrip("\n") + "\n"


def _written(told: Sequence[Line], hashes: str) -> Iterator[str]:
    for is_block, group in groupby(told, key=lambda line: line.block):
        if is_block:
            yield from _fence(list(group))
            continue
        for line in group:
            if line.role == "heading":
                yield f"\n{hashes} {line.text}\n"
            else:
                yield "  " * line.indent + "- " + _item(line)


def _item(line: Line) -> str:
    name = line.text.removesuffix(":")
    detail = f" {code(line.detail)}" if line.detail else ""
    if line.role not in _WORDS:
        return f"{line.text}{detail}"
    colon = ":" if line.text.endswith(":") and detail else ""
    return f"{line.role} {code(name)}{colon}{detail}"


def _fence(block: Sequence[Line]) -> Iterator[str]:
    longest = max((len(ticks) for line in block for ticks in _TICKS.findall(line.text)), default=0)
    margin = "  " * block[0].indent
    fence = "`" * max(3, longest + 1)
    yield f"{margin}{fence}diff"
    for line in block:
        if line.role == "changed":  # in nothing that may be shown
            yield f"{margin}! {line.text}  {line.detail}"
        else:
            text = signed(line.text, line.marks, line.role)
            yield f"{margin}{line.sign if line.role != 'context' else ' '} {text}".rstrip()
    yield f"{margin}{fence}"


def code(text: str) -> str:
    """`text` as a code span, whatever is in it."""
    text = text.replace("\n", "⏎")
    ticks = "`" * (1 + max((len(found) for found in _TICKS.findall(text)), default=0))
    space = " " if text[:1] in ("`", " ") or text[-1:] in ("`", " ") else ""
    return f"{ticks}{space}{text}{space}{ticks}"
