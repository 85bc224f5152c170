"""Digests by which two lists of grants are compared without sending either: 256 buckets, by the first byte of the
SHA-256 of subject, role and resource (U+001F between them), as `Grant.bucket` says.

The digest of a bucket is the first 8 bytes (16 hex digits) of the SHA-256 of its grants, each as those three and a
line feed in UTF-8, sorted by their bytes. A bucket with nothing in it has the digest of nothing."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from lastgood.access.sync.events import Had

NUMBER: Final = 256
_HEX_DIGITS: Final = 16


def bucket_of(one: Had) -> int:
    """The bucket of a grant."""
    return hashlib.sha256("\x1f".join(one).encode()).digest()[0]


def digests(some: Iterable[Had]) -> list[str]:
    """The digests of all buckets."""
    lines: list[list[bytes]] = [[] for _ in range(NUMBER)]
    for one in some:
        line = "\x1f".join(one).encode()
        lines[hashlib.sha256(line).digest()[0]].append(line + b"\n")
    return [hashlib.sha256(b"".join(sorted(bucket))).hexdigest()[:_HEX_DIGITS] for bucket in lines]


def differing(ours: Sequence[str], theirs: Sequence[str]) -> list[int]:
    """The buckets whose digests are not the same."""
    return [number for number, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other]


def answer(some: Iterable[Had], query: Sequence[tuple[str, str]], as_of: int) -> dict[str, Any]:
    """What a source answers to ``?buckets=256`` (digests), ``?bucket=7&bucket=161`` (the grants in these), and to no
    query (all of them). What a source of your own must say is written down by this function."""
    if ("buckets", str(NUMBER)) in query:
        return {"as_of": as_of, "buckets": digests(some)}
    wanted = {int(value) for name, value in query if name == "bucket" and value.isdigit()}
    told = [one for one in some if not wanted or bucket_of(one) in wanted]
    return {"as_of": as_of, "grants": [{"user_id": a, "role": b, "resource": c} for a, b, c in sorted(told)]}
