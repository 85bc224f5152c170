"""What commands print: tables and colours in a terminal, plain aligned columns elsewhere, JSON when asked."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple, NoReturn

_FLOWING = frozenset({"note", "reason", "what", "detail", "todo", "expect", "inputs", "value", "evidence"})
_STATES = {
    "active": "green",
    "stable": "cyan",
    "candidate": "yellow",
    "failed": "red",
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
}
_CODES = {
    **{"green": "32", "cyan": "36", "yellow": "33", "red": "31", "bold": "1", "dim": "2", "": "0"},
    **{"green reversed": "32;7", "red reversed": "31;7"},
}
_SIGPIPE_CODE = 141
_GAP = 2
_LEAST_FLOWING = 16
_DIGEST_SHOWN = 12
_LONGEST_SECONDS = ((60, 1, "s"), (3600, 60, "min"), (48 * 3600, 3600, "h"), (60 * 86400, 86400, "d"))


class Cell(NamedTuple):
    """A text with a colour of its own."""

    text: str
    colour: str = ""


def state(text: str | None) -> Cell:
    """A state (or a doctor's verdict) in its colour."""
    return Cell(text or "-", _STATES.get(text or "", ""))


def is_terminal() -> bool:
    """Whether standard output is a terminal that can show more than plain text."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def is_coloured() -> bool:
    """Whether standard output is a terminal that wants colours."""
    return is_terminal() and not os.environ.get("NO_COLOR")


def table(headers: Sequence[str], rows: Sequence[Sequence[str | Cell]]) -> None:
    """Print `rows` under `headers`: a table in a terminal, else columns parted by two spaces, never cut."""
    cells = [[Cell(one) if isinstance(one, str) else one for one in row] for row in rows]
    clean = [[Cell(flat(one.text) or "-", one.colour) for one in row] for row in cells]
    if is_terminal():
        _rich_table(headers, clean)
        return
    lines = [list(headers), *([one.text for one in row] for row in clean)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        write("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def facts(pairs: Mapping[str, str | Cell]) -> None:
    """Print names and values, one a line; empty values are left out."""
    shown = {name: Cell(value) if isinstance(value, str) else value for name, value in pairs.items()}
    kept = {name: cell for name, cell in shown.items() if cell.text}
    width = max((len(name) for name in kept), default=0)
    for name, cell in kept.items():
        write(f"{name.ljust(width)}  {paint(flat(cell.text), cell.colour)}")


def items(found: Sequence[Mapping[str, Any]], as_json: bool, empty: str) -> bool:
    """Print a list as JSON when asked, or say on standard error that it is `empty`. False when rows are still to
    be printed."""
    if as_json:
        print_json(found)
    elif not found:
        warn(empty)
    return as_json or not found


def print_json(value: Any) -> None:
    """Print `value` as indented JSON."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    write(json.dumps(value, indent=2, ensure_ascii=not unicode))


def write(text: str, end: str = "\n") -> None:
    """Print a line of text on standard output. A reader that has gone ends the command quietly."""
    try:
        sys.stdout.write(text + end)
        if end != "\n":
            sys.stdout.flush()
    except BrokenPipeError:
        reader_has_gone()


def write_bytes(data: bytes) -> None:
    """Print bytes as they are."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        reader_has_gone()


def warn(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr)


def reader_has_gone() -> NoReturn:
    """End as a program does whose output nobody reads. Raises `SystemExit`."""
    # What is still buffered must go somewhere, or Python complains when it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(_SIGPIPE_CODE)


def paint(text: str, colour: str) -> str:
    """`text` in `colour`, in a terminal that wants colours."""
    if not colour or not is_coloured():
        return text
    return f"\033[{_CODES[colour]}m{text}\033[0m"


def flat(text: str) -> str:
    """`text` on one line, without the control characters that a stranger's note may hold."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def printable(text: str) -> str:
    """`text` with its lines, without the control characters that could steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def age(at: str | None, now: datetime | None = None) -> str:
    """How long ago the ISO time `at` was: ``12 s``, ``3 min``, ``7 h``, ``5 d``, and the day when longer ago."""
    if not at:
        return "-"
    seconds = max(0.0, ((now or datetime.now(UTC)) - datetime.fromisoformat(at)).total_seconds())
    for limit, unit, name in _LONGEST_SECONDS:
        if seconds < limit:
            return f"{int(seconds // unit)} {name}"
    return at[:10]


def moment(at: str | None, wide: bool) -> str:
    """When something was: its age, or with `wide` the UTC time to the second."""
    return f"{at[:19].replace('T', ' ')}Z" if wide and at else age(at)


def digest(value: str, wide: bool = False) -> str:
    """A digest, short unless `wide`."""
    return value if wide else value.removeprefix("sha256:")[:_DIGEST_SHOWN]


def count(number: int, noun: str) -> str:
    """``1 smoke request``, ``2 smoke requests``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Say in a terminal what is being waited for."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def _rich_table(headers: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    needed = 0
    for place, name in enumerate(headers):
        widest = max(len(name), *(len(row[place].text) for row in rows))
        least = min(widest, _LEAST_FLOWING) if name in _FLOWING else widest
        needed += least + _GAP
        shown.add_column(name, no_wrap=name not in _FLOWING, overflow="fold", min_width=least)
    for row in rows:
        shown.add_row(*(Text(cell.text, style=cell.colour) for cell in row))
    console = Console(highlight=False)
    # An id that is cut is of no use: on a narrow terminal the lines run over instead.
    console.width = max(console.width, needed)
    console.print(shown)
