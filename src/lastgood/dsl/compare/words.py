"""How the words that changed within a line are pointed out: by a style where there is one, else by signs."""

import re
from collections.abc import Sequence
from typing import Final

from lastgood.dsl.compare.text import Span

_SIGNS: Final = {"removed": ("[-", "-]"), "added": ("{+", "+}")}  # as git writes a diff by words
_WORD: Final = re.compile(r"\w")


def runs(text: str, marks: Sequence[Span]) -> list[tuple[str, bool]]:
    """`text` in pieces, each with whether it is marked. Where no word is left unmarked, nothing is: the line as a
    whole says as much."""
    pieces: list[tuple[str, bool]] = []
    at = 0
    for start, end in marks:
        pieces += [(text[at:start], False), (text[start:end], True)]
        at = end
    pieces = [(piece, is_marked) for piece, is_marked in (*pieces, (text[at:], False)) if piece]
    if any(_WORD.search(piece) for piece, is_marked in pieces if not is_marked):
        return pieces
    return [(text, False)] if text else []


def signed(text: str, marks: Sequence[Span], role: str) -> str:
    """A removed or added line with signs around its marked words: ``Say [-two-] things``, ``Say {+three+} things``.
    It stays as it is where a sign might be the text's own."""
    before, after = _SIGNS.get(role, ("", ""))
    pieces = runs(text, marks)
    count = sum(is_marked for _, is_marked in pieces)
    told = "".join(f"{before}{piece}{after}" if is_marked else piece for piece, is_marked in pieces)
    own = any(sign in text for signs in _SIGNS.values() for sign in signs)
    return text if own or not count or {told.count(before), told.count(after)} != {count} else told
