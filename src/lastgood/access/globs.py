"""The patterns of rules and grants: `*` stands for any text, `?` for any one character, all else for itself."""

import re
from collections.abc import Callable
from functools import lru_cache

_SPECIAL = re.compile(r"[*?]")


def is_plain(pattern: str) -> bool:
    """Whether `pattern` stands for itself alone."""
    return _SPECIAL.search(pattern) is None


def prefix_of(pattern: str) -> str | None:
    """``workflow:prod-`` of ``workflow:prod-*``; None for a pattern that is more than a beginning."""
    head = pattern[:-1]
    return head if pattern.endswith("*") and is_plain(head) else None


@lru_cache(maxsize=10_000)
def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text is what `pattern` stands for."""
    if is_plain(pattern):
        return pattern.__eq__
    head = prefix_of(pattern)
    if head is not None:
        return lambda text: text.startswith(head)
    # Runs of stars are one: a pattern such as ***** must not make the look slow.
    source = "".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in re.sub(r"\*+", "*", pattern))
    full = re.compile(source, re.DOTALL).fullmatch
    return lambda text: full(text) is not None


def begins(pattern: str, head: str) -> bool:
    """Whether some text that begins with `head` can be what `pattern` stands for."""
    found = _SPECIAL.search(pattern)
    if found is None:
        return pattern.startswith(head)
    literal = pattern[: found.start()]
    if len(literal) >= len(head) or pattern[found.start()] == "*":
        return literal.startswith(head) or head.startswith(literal)
    return head.startswith(literal)  # a question mark within the head: it may stand for what is there
