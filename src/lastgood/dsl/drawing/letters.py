"""Text in a picture: measured without a font, cut and wrapped to a width, and made safe for XML."""

import html
import re
import unicodedata
from functools import cache
from typing import Final

# Widths in em by what the letter looks like: those of a wide sans-serif, so that no font in use needs more.
_SHAPES: Final = (
    ("iljI.,:;'|![]()`", 0.33),
    ('frt-/\\"· ', 0.4),
    ("mwMW@%—…←", 0.95),
    ("ABCDEGHKNOPQRUVXYZ&_<>+=~#", 0.71),
)
_WIDTHS: Final = {letter: width for letters, width in _SHAPES for letter in letters}
_OTHER: Final = 0.58
_FULL: Final = 1.0  # no letter is wider
# What XML 1.0 does not take, and marks that turn the reading direction of all that follows.
_UNFIT: Final = re.compile(
    "[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u007f-\u009f\u202a-\u202e\u2066-\u2069]"
)
# No card shows more, and a title of a megabyte must not be measured.
_READ: Final = 2000


def escape(text: str) -> str:
    """`text` for element content or an attribute."""
    return html.escape(_fit_for_xml(text))


def measure(text: str, size: float) -> float:
    """How wide `text` is at most, in the unit of `size` (the font's)."""
    return size * sum(map(_width, text))


def cut(text: str, width: float, size: float) -> str:
    """The first line of `text` that is not blank, as much of it as fits, with ``…`` where it is cut."""
    return next(iter(wrap(" ".join(text[:_READ].split()), width, size, 1)), "")


def wrap(text: str, width: float, size: float, lines: int) -> list[str]:
    """`text` in at most `lines` lines of that `width`, broken at spaces and where there are none within words; the
    last ends with ``…`` where it is cut. Blank lines are left out."""
    room = width / size
    broken: list[str] = []
    for line in _fit_for_xml(text[:_READ]).splitlines():
        rest = " ".join(line.split())
        while rest and len(broken) <= lines:
            end = _fitting(rest, room)
            if end < len(rest) and len(broken) + 1 < lines:
                space = rest.rfind(" ", 0, end + 1)
                end = space if space > end // 2 else max(end, 1)
            broken.append(rest[: max(end, 1)].rstrip())
            rest = rest[max(end, 1) :].lstrip()
    if len(broken) > lines:
        broken = broken[:lines]
        if broken:
            last = broken[-1]
            broken[-1] = last[: _fitting(last, room - _width("…"))].rstrip() + "…"
    return broken


def _fit_for_xml(text: str) -> str:
    return text if text.isascii() and text.isprintable() else _UNFIT.sub("", text)


def _fitting(text: str, room: float) -> int:
    """How many characters of `text` fit into `room` em."""
    if len(text) * _FULL <= room:
        return len(text)
    for i, letter in enumerate(text):
        room -= _width(letter)
        if room < 0:
            return i
    return len(text)


@cache
def _width(letter: str) -> float:
    if letter in _WIDTHS:
        return _WIDTHS[letter]
    if unicodedata.combining(letter):
        return 0.0
    return _FULL if unicodedata.east_asian_width(letter) in {"W", "F", "A"} else _OTHER
