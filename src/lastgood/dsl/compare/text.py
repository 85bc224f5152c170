"""What differs between two texts: lines, and the words in them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final, Literal

type Span = tuple[int, int]
"""From which character to which, the last not among them."""

type Block = tuple[str, int, int, int, int]

_CONTEXT: Final = 2
# So many times as many lines must have changed around empty ones for these to count as changed.
_ISLAND: Final = 3
# A word, a run of spaces, or a sign; of scripts without spaces every character.
_TOKEN: Final = re.compile(r"[^\W\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+|\s+|.", re.DOTALL)
# So many lines left out at the beginning of a text are worth a word.
_FAR: Final = 10
_SHORT_BLOCK: Final = 12
_SIGNS: Final = re.compile(r"[\W_]+")
_WORD: Final = re.compile(r"\w")
_ALIKE: Final = 0.5
_MOST_TOKENS: Final = 4_000
_MOST_CELLS: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of a text diff. `marks` are the words of a removed or added line that are others in its counterpart;
    `old` and `new` are its places in the two texts, from 0. A ``gap`` stands for lines that are left out; its
    places are those of the line behind it."""

    role: Literal["removed", "added", "context", "gap"]
    text: str
    old: int | None = None
    new: int | None = None
    marks: tuple[Span, ...] = ()


def line_diff(old: str, new: str, context: int = _CONTEXT) -> tuple[TextLine, ...]:
    """The lines that make `new` of `old`, with so many lines of `context` around them; none when they are equal."""
    ours, theirs = old.split("\n"), new.split("\n")
    lines: list[TextLine] = []
    blocks = _without_islands(_blocks(ours, theirs), ours)
    for n, (kind, i, i_end, j, j_end) in enumerate(blocks):
        if kind == "equal":
            head = context if n else 0
            tail = context if n < len(blocks) - 1 else 0
            lines += _context(ours, i, i_end, j, head, tail)
        else:
            lines += _block(ours, theirs, (i, i_end), (j, j_end))
    return tuple(lines)


def word_marks(old: str, new: str) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The words of `old` that are not in `new` at their place, and those of `new` that are not in `old`."""
    ours, theirs = _TOKEN.findall(old), _TOKEN.findall(new)
    if len(ours) > _MOST_TOKENS or len(theirs) > _MOST_TOKENS:
        return (), ()
    gone: list[Span] = []
    come: list[Span] = []
    places, others = _offsets(ours), _offsets(theirs)
    free = 0, 0  # from where on tokens are in no span yet
    for kind, i, i_end, j, j_end in _blocks(ours, theirs):
        if kind != "equal":
            left, right = (i, i_end), (j, j_end)
            if kind == "insert":
                right = _slid(theirs, right, free[1])
            elif kind == "delete":
                left = _slid(ours, left, free[0])
            free = i_end, j_end
            mine, its = (places[left[0]], places[left[1]]), (others[right[0]], others[right[1]])
            if i < i_end:
                gone.append(mine if j < j_end else _trimmed(old, mine))
            if j < j_end:
                come.append(its if i < i_end else _trimmed(new, its))
    return _joined(old, gone), _joined(new, come)


def likeness(old: str, new: str) -> float:
    """How much two lines have in common, from 0 to 1."""
    matcher = SequenceMatcher(None, _TOKEN.findall(old), _TOKEN.findall(new), autojunk=False)
    return matcher.ratio() if matcher.real_quick_ratio() >= _ALIKE <= matcher.quick_ratio() else 0.0


def _blocks(old: Sequence[str], new: Sequence[str]) -> list[Block]:
    """The blocks of `difflib`, found between the beginning and the end that both have in common."""
    shortest = min(len(old), len(new))
    head = next((n for n in range(shortest) if old[n] != new[n]), shortest)
    tail = next((n for n in range(shortest - head) if old[-1 - n] != new[-1 - n]), shortest - head)
    ours, theirs = old[head : len(old) - tail], new[head : len(new) - tail]
    blocks: list[Block] = [("equal", 0, head, 0, head)] if head else []
    if len(ours) * len(theirs) > _MOST_CELLS:
        blocks.append(("replace", head, len(old) - tail, head, len(new) - tail))
    else:
        matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
        blocks += [
            (kind, i + head, i_end + head, j + head, j_end + head)
            for kind, i, i_end, j, j_end in matcher.get_opcodes()
        ]
    if tail:
        blocks.append(("equal", len(old) - tail, len(old), len(new) - tail, len(new)))
    return blocks


def _without_islands(blocks: Sequence[Block], lines: Sequence[str]) -> list[Block]:
    """The blocks, with empty lines that happen to stand in both texts amid rewritten ones counted as rewritten."""
    joined: list[Block] = []
    for n, block in enumerate(blocks):
        kind, i, i_end, _, j_end = block
        around = [*joined[-1:], *blocks[n + 1 : n + 2]]
        amid = len(around) == 2 and all(other[0] != "equal" for other in around)
        changed = sum(other[2] - other[1] + other[4] - other[3] for other in around)
        if kind == "equal" and amid and changed > _ISLAND * (i_end - i) and not "".join(lines[i:i_end]).strip():
            kind = "replace"
        if kind != "equal" and joined and joined[-1][0] != "equal":
            before = joined.pop()
            joined.append(("replace", before[1], i_end, before[3], j_end))
        else:
            joined.append((kind, *block[1:]))
    return joined


def _context(lines: Sequence[str], i: int, i_end: int, j: int, head: int, tail: int) -> list[TextLine]:
    """The first and last of lines that both texts have, and a gap where many are left out before others."""
    count = i_end - i
    if head and tail and count <= head + tail + 1:  # a gap would save nothing
        head, tail = count, 0
    first, last = min(head, count), max(count - tail, 0)
    gap = [TextLine("gap", "", i + last, j + last)] if tail and last - first >= (1 if head else _FAR) else []
    shown = [TextLine("context", lines[i + n], i + n, j + n) for n in (*range(first), *range(last, count))]
    return [*shown[:first], *gap, *shown[first:]]


def _block(old: Sequence[str], new: Sequence[str], ours: Span, theirs: Span) -> list[TextLine]:
    """A block of lines that were replaced: those removed, then those added, words marked where one became the other.
    A long block is told run by run, so that what became what stands together."""
    twins = _twins(old[slice(*ours)], new[slice(*theirs)])
    pairs = [(ours[0] + i, theirs[0] + j) for i, j in twins]
    lines: list[TextLine] = []
    for (i, i_end), (j, j_end) in _runs(pairs, ours, theirs):
        here = [(left, right) for left, right in pairs if i <= left < i_end]
        marks = {pair: word_marks(old[pair[0]], new[pair[1]]) for pair in here}
        gone = {left: found[0] for (left, _), found in marks.items()}
        come = {right: found[1] for (_, right), found in marks.items()}
        lines += [TextLine("removed", old[n], n, None, gone.get(n, ())) for n in range(i, i_end)]
        lines += [TextLine("added", new[n], None, n, come.get(n, ())) for n in range(j, j_end)]
    return lines


def _runs(pairs: Sequence[Span], ours: Span, theirs: Span) -> list[tuple[Span, Span]]:
    """The parts of a block to tell one after the other: a short one whole, a long one by runs of lines that became
    the next ones each, and what is between those."""
    if ours[1] - ours[0] + theirs[1] - theirs[0] <= _SHORT_BLOCK:
        return [(ours, theirs)]
    runs: list[tuple[Span, Span]] = []
    i, j = ours[0], theirs[0]
    for left, right in pairs:
        if runs and (left, right) == (i, j):
            (start, _), (other, _) = runs.pop()
            runs.append(((start, left + 1), (other, right + 1)))
        else:
            if left > i or right > j:
                runs.append(((i, left), (j, right)))
            runs.append(((left, left + 1), (right, right + 1)))
        i, j = left + 1, right + 1
    return [*runs, ((i, ours[1]), (j, theirs[1]))]


def _twins(old: Sequence[str], new: Sequence[str]) -> list[Span]:
    """Which lines became which, in their order: those of the same words, whatever signs and numbers are before them,
    and between these those that are alike."""
    if len(old) == len(new) == 1:
        return [(0, 0)] if old[0].strip() and new[0].strip() else []
    twins: list[Span] = []
    i = j = 0
    for left, right in [*_same_words(old, new), (len(old), len(new))]:
        twins += [(i + n, j + m) for n, m in _alike(old[i:left], new[j:right])]
        twins.append((left, right))
        i, j = left + 1, right + 1
    return twins[:-1]


def _same_words(old: Sequence[str], new: Sequence[str]) -> list[Span]:
    if len(old) * len(new) > _MOST_CELLS:
        return []
    ours, theirs = (
        [_bare(line) or f"\n{side}{n}" for n, line in enumerate(lines)] for side, lines in enumerate((old, new))
    )
    blocks = SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
    return [(block.a + n, block.b + n) for block in blocks for n in range(block.size)]


def _bare(line: str) -> str:
    """A line without signs, spaces and the number it may begin with."""
    return _SIGNS.sub("", line).lstrip("0123456789")


def _alike(old: Sequence[str], new: Sequence[str]) -> list[Span]:
    if len(old) * len(new) > _MOST_TOKENS // 10:
        return []
    twins: list[Span] = []
    start = 0
    for i, line in enumerate(old):
        found = [(likeness(line, new[j]), -j) for j in range(start, len(new))] if line.strip() else []
        best, place = max(found, default=(0.0, 0))
        if best >= _ALIKE:
            twins.append((i, -place))
            start = 1 - place
    return twins


def _offsets(tokens: Sequence[str]) -> list[int]:
    places = [0]
    for token in tokens:
        places.append(places[-1] + len(token))
    return places


def _slid(tokens: Sequence[str], span: Span, least: int) -> Span:
    """The place of tokens that came or went, shifted to the left (not beyond `least`) to where a word begins, if that
    leaves the same text: of ``{% a %}{{ b }}`` came ``{% a %}`` rather than ``% a %}{``."""
    start, end = span
    while start > least and tokens[start - 1] == tokens[end - 1]:
        start, end = start - 1, end - 1
        if not start or tokens[start - 1].isspace():
            return start, end
    return span


def _joined(text: str, spans: Sequence[Span]) -> tuple[Span, ...]:
    """`spans` as few: two with no word between them are one."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and not _WORD.search(text, joined[-1][1], start):
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return tuple(joined)


def _trimmed(text: str, span: Span) -> Span:
    """A span without the space around its words, which goes with the words that came or went."""
    start, end = span
    inner = text[start:end]
    if not inner.strip():
        return span
    return end - len(inner.lstrip()), start + len(inner.rstrip())


def windowed(text: str, marks: Sequence[Span], width: int) -> tuple[str, tuple[Span, ...]]:
    """A long line cut to what is around its `marks`, at most about `width` characters, with the marks at their new
    places; without marks its beginning and how long it is."""
    if len(text) <= width:
        return text, tuple(marks)
    if not marks:
        return cut(text, width), ()
    around = max(width // (4 * len(marks)), 15)
    shown, end = "", 0
    moved: list[Span] = []
    for n, (start, stop) in enumerate(marks):
        if len(shown) > width:
            return f"{shown} … and {len(marks) - n} more", tuple(moved)
        begin = max(start - around, end)
        shown += "…" if begin > end else ""
        shown += text[begin:start]
        word = text[start:stop] if stop - start <= width else text[start : start + width // 2] + " … "
        moved.append((len(shown), len(shown) + len(word)))
        shown += word
        following = marks[n + 1][0] if n + 1 < len(marks) else len(text)
        end = min(stop + around, following)
        shown += text[stop:end]
    return shown + ("…" if end < len(text) else ""), tuple(moved)


def cut(text: str, width: int) -> str:
    """`text` if it is short, else its beginning and its length."""
    return text if len(text) <= width else f"{text[: width - 20].rstrip()}… ({len(text):,} characters)"
