"""How a document is cut into parts that versions share, and how the list of its parts is written. Pure.

The rule of the cut: the items of ``workflow.graph.nodes``, and the members of ``workflow.graph``, ``workflow`` and
the envelope that are objects or lists of some length, are cut out. What remains is the *skeleton*: canonical JSON
with a hole for each part, which is the same for nearly all versions. Holes are filled in the order of the text, so
the skeleton and the parts give back the canonical document, byte for byte. The ``viewport``, where on the canvas an
editor last looked, is another in each version: it stands in the manifest itself, and has a hole of its own."""

import hashlib
import re
import struct
from collections.abc import Sequence
from itertools import accumulate, islice, pairwise
from typing import Any, Final, NamedTuple

import orjson
import zstandard

from lastgood import dsl

# Canonical JSON escapes these bytes, so they never stand in it: one part, any number with commas between, the view.
_HOLE, _HOLES, _VIEW = b"\0", b"\1", b"\2"
_MARKS: Final = re.compile(b"([\0-\2])")
_ONE, _MANY, _SEEN = orjson.Fragment(_HOLE), orjson.Fragment(b"[" + _HOLES + b"]"), orjson.Fragment(_VIEW)
_WAY: Final = ("workflow", "graph")
_LENGTH = 256  # bytes from which on a member is cut out, and below which the view is one
_PLAIN, _PACKED = b"\2", b"\3"  # 0 and 1 were the forms before revision 0007 of the store
_CHECK = 4  # bytes of checksum
_HEAD = struct.Struct("<QBI")
_WORD = 8  # bytes of the longest step
_LEVEL = 9
_WORTH = 0.75  # of its length, from which on a compressed one costs more time than it saves room
_MOST = 2**24  # bytes of a manifest; no document of `dsl.Limits` reaches it


class Manifest(NamedTuple):
    """The keys of the blobs of a document, its skeleton first, and its view as JSON (nothing where it has none)."""

    keys: list[int]
    view: bytes


def split(data: dict[str, Any]) -> tuple[list[bytes], bytes]:
    """The parts of a document, its skeleton first, and its view."""
    parts: list[bytes] = []
    views: list[bytes] = []
    skeleton = dsl.canonical(_cut(data, _WAY, parts, views))
    return [skeleton, *parts], b"".join(views)


def _cut(value: dict[str, Any], way: tuple[str, ...], parts: list[bytes], views: list[bytes]) -> dict[str, Any]:
    """`value` with holes. The member called as `way` begins is cut up in turn; at its end stands the graph."""
    kept: dict[str, Any] = {}
    for key in sorted(value):
        item = value[key]
        if not item or not isinstance(item, dict | list):
            kept[key] = item
        elif way and key == way[0] and isinstance(item, dict):
            kept[key] = _cut(item, way[1:], parts, views)
        elif not way and key == "nodes" and isinstance(item, list):
            parts += map(dsl.canonical, item)
            kept[key] = _MANY
        elif len(part := dsl.canonical(item)) >= _LENGTH:
            parts.append(part)
            kept[key] = _ONE
        elif not way and key == "viewport":
            views.append(part)
            kept[key] = _SEEN
        else:
            kept[key] = item
    return kept


def join(parts: Sequence[bytes], view: bytes) -> bytes:
    """What `split` has cut. Raises `ValueError` where parts and holes do not fit."""
    pieces = _MARKS.split(parts[0])  # text, mark, text, mark, …, text
    marks = pieces[1::2]
    nodes = len(parts) - 1 - marks.count(_HOLE)
    if nodes < 0 or (nodes and _HOLES not in marks):
        raise ValueError("the parts do not fit their skeleton")
    left = iter(parts)
    next(left)
    for place, mark in enumerate(marks):
        some = islice(left, nodes if mark == _HOLES else 1)
        pieces[2 * place + 1] = view if mark == _VIEW else b",".join(some)
    return b"".join(pieces)


def node_places(skeleton: bytes, number: int) -> range:
    """Which of `number` parts, the skeleton among them, are nodes."""
    before, mark, after = skeleton.partition(_HOLES)
    return range(1 + before.count(_HOLE), number - after.count(_HOLE)) if mark else range(0)


def pack(manifest: Manifest) -> bytes:
    """`manifest` as bytes: a checksum, the form, and then, compressed where that pays: the least key, how many bytes
    a step takes, how many keys there are, the step from the least key to the first, from there to the next, and so on
    (the lowest byte of each, the next of each, …), the view. A step back wraps round. Raises `struct.error` for keys
    that are negative or do not fit in 64 bits."""
    keys, view = manifest
    least = min(keys)
    width = max(1, ((max(keys) - least).bit_length() + 7) // 8)
    steps = [key - last & _mask(width) for last, key in pairwise((least, *keys))]
    words = struct.pack(f"<{len(steps)}Q", *steps)
    plain = b"".join([_HEAD.pack(least, width, len(keys)), *(words[at::_WORD] for at in range(width)), view])
    packed = zstandard.compress(plain, _LEVEL)
    body = _PACKED + packed if len(packed) < _WORTH * len(plain) else _PLAIN + plain
    return _checksum(body) + body


def unpack(packed: bytes) -> Manifest:
    """The manifest that `pack` made `packed` of. Raises `ValueError` when its bytes have changed."""
    form, body = packed[_CHECK : _CHECK + 1], packed[_CHECK + 1 :]
    if packed[:_CHECK] != _checksum(form + body) or form not in (_PLAIN, _PACKED):
        raise ValueError("the checksum of the manifest is wrong")
    if form == _PACKED:
        if zstandard.frame_content_size(body) > _MOST:
            raise ValueError("the manifest is too long")
        body = zstandard.decompress(body, max_output_size=_MOST)
    least, width, number = _HEAD.unpack_from(body.ljust(_HEAD.size, b"\0"))
    end = _HEAD.size + width * number
    if not 0 < width <= _WORD or end > len(body):
        raise ValueError("the manifest is too short")
    words = bytearray(_WORD * number)
    for at in range(width):
        start = _HEAD.size + at * number
        words[at::_WORD] = body[start : start + number]
    mask = _mask(width)
    far = accumulate(struct.unpack(f"<{number}Q", words))
    return Manifest([least + (steps & mask) for steps in far], body[end:])


def _mask(width: int) -> int:
    return (1 << 8 * width) - 1


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECK]
