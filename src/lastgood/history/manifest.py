"""How a document is cut into parts that versions share, and how the list of its parts is written. Pure.

The rule of the cut: the parts of ``workflow.graph`` (one for each item of ``nodes``), the parts of ``workflow`` and
the parts of the envelope are cut out where they are objects or lists with something in them. What remains is the
*skeleton*: canonical JSON with a hole for each part, which is the same for nearly all versions. Holes are filled in
the order of the text, so the skeleton and the parts give back the canonical document, byte for byte."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import orjson
import zstandard

from lastgood import dsl

# Canonical JSON escapes these two bytes, so they never stand in it: one part, and any number with commas between.
_HOLE, _HOLES = b"\0", b"\1"
_ONE, _MANY = orjson.Fragment(_HOLE), orjson.Fragment(b"[" + _HOLES + b"]")
_WAY: Final = ("workflow", "graph")
_PLAIN, _PACKED = b"\0", b"\1"
_CHECK = 4  # bytes of checksum
_LEVEL = 9
_SHORT = 4096  # bytes of a skeleton that is worth remembering
_MOST = 2**24  # bytes of a list of ids; no document of `dsl.Limits` reaches it


def split(data: dict[str, Any]) -> list[bytes]:
    """The skeleton of a document, and then its parts."""
    parts: list[bytes] = []
    skeleton = dsl.canonical(_cut(data, _WAY, parts))
    return [skeleton, *parts]


def _cut(value: dict[str, Any], way: tuple[str, ...], parts: list[bytes]) -> dict[str, Any]:
    """`value` with holes. The member called as `way` begins is cut up in turn; at its end stands the graph."""
    kept: dict[str, Any] = {}
    for key in sorted(value):
        item = value[key]
        if not item or not isinstance(item, dict | list):
            kept[key] = item
        elif way and key == way[0] and isinstance(item, dict):
            kept[key] = _cut(item, way[1:], parts)
        elif not way and key == "nodes" and isinstance(item, list):
            parts += map(dsl.canonical, item)
            kept[key] = _MANY
        else:
            parts.append(dsl.canonical(item))
            kept[key] = _ONE
    return kept


def join(parts: Sequence[bytes]) -> bytes:
    """What `split` has cut. Raises `ValueError` where parts and holes do not fit."""
    between = _known(parts[0], len(parts)) if len(parts[0]) <= _SHORT else _between(parts[0], len(parts))
    if len(between) != len(parts):
        raise ValueError("the parts do not fit their skeleton")
    whole = [b""] * (2 * len(parts) - 1)
    whole[::2] = between
    whole[1::2] = parts[1:]
    return b"".join(whole)


def _between(skeleton: bytes, number: int) -> tuple[bytes, ...]:
    """What stands between the parts, of which there are `number` with the skeleton."""
    nodes = node_places(skeleton, number)
    return tuple(skeleton.replace(_HOLES, b",".join([_HOLE] * len(nodes))).split(_HOLE))


_known = lru_cache(maxsize=64)(_between)  # nearly all documents have one of a few skeletons


def node_places(skeleton: bytes, number: int) -> range:
    """Which of `number` parts, the skeleton among them, are nodes."""
    before, mark, after = skeleton.partition(_HOLES)
    return range(1 + before.count(_HOLE), number - after.count(_HOLE)) if mark else range(0)


def pack(ids: Sequence[int]) -> bytes:
    """A list of blob keys as bytes: a checksum, the form, and the differences as zigzag varints, compressed where
    that is shorter."""
    written = bytearray()
    last = 0
    for one in ids:
        step = one - last
        last = one
        left = step << 1 if step >= 0 else (-step << 1) - 1
        while left > 127:
            written.append(left & 127 | 128)
            left >>= 7
        written.append(left)
    plain = bytes(written)
    packed = zstandard.compress(plain, _LEVEL)
    body = _PACKED + packed if len(packed) < len(plain) else _PLAIN + plain
    return _checksum(body) + body


def unpack(packed: bytes) -> list[int]:
    """The blob keys of `packed`. Raises `ValueError` when its bytes have changed."""
    body = packed[_CHECK:]
    if len(body) < 2 or packed[:_CHECK] != _checksum(body):
        raise ValueError("the checksum of the manifest is wrong")
    if body[:1] == _PACKED:
        if zstandard.frame_content_size(body[1:]) > _MOST:
            raise ValueError("the manifest is too long")
        written = zstandard.decompress(body[1:], max_output_size=_MOST)
    else:
        written = body[1:]
    ids: list[int] = []
    last = value = shift = 0
    for byte in written:
        if byte > 127:
            value += byte - 128 << shift
            shift += 7
        else:
            value += byte << shift
            last += -(value + 1 >> 1) if value & 1 else value >> 1
            ids.append(last)
            value = shift = 0
    return ids


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECK]
