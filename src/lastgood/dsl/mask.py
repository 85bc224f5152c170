"""A mask for secret values that are known: none of them stands in a text that went through it."""

import json
from base64 import b64encode
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "*" * 20
_SHORTEST_PART = 4  # a secret shorter than this is hidden only where it is the whole text: else it shreds words


class Mask:
    """Hides the values that are given it wherever they stand in a text, written plainly or escaped."""

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

    def uncut(self, head: str, tail: str) -> tuple[str, str]:
        """`head` and `tail`, between which something was left out, without the pieces of a secret that the cut went
        through."""
        ends = max((_overlap(head, part) for part in self._parts), default=0)
        starts = max((_overlap(part, tail) for part in self._parts), default=0)
        return head[: len(head) - ends], tail[starts:]

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


def _overlap(left: str, right: str) -> int:
    """How many characters `left` ends with that `right` begins with."""
    most = min(len(left), len(right))
    return next((n for n in range(most, 0, -1) if left.endswith(right[:n])), 0)
