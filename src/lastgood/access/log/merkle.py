"""The Merkle tree of RFC 6962 section 2.1 in the tiles of C2SP tlog-tiles: pure functions on hashes.

A tile holds up to 256 hashes. Those of level 0 are the leaves' hashes; each hash of a tile above is the tree hash of
one *full* tile below. So any hash of the tree comes from one tile by at most seven rounds of hashing, and a proof
reads a few tiles per level, O(log n) altogether.

`Read` gives the bytes of the tile (level, number), at least as far as the tree of the asked size fills it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256

type Read = Callable[[int, int], bytes]
type Tile = tuple[int, int]

HASH = 32
WIDTH = 256
HEIGHT = 8  # of a tile: 2 ** 8 hashes
EMPTY = sha256(b"").digest()


class Wrong(ValueError):
    """A proof that does not prove, or sizes that no tree has. Its text says why."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of the leaf `data`."""
    return sha256(b"\x00" + data).digest()


def pair_hash(left: bytes, right: bytes) -> bytes:
    """The hash over two hashes."""
    return sha256(b"\x01" + left + right).digest()


def tiles_of(size: int) -> Iterable[tuple[int, int, int]]:
    """Each tile of a tree of `size` leaves: level, number, and how many hashes it holds."""
    level, hashes = 0, size
    while hashes:
        yield from ((level, number, min(WIDTH, hashes - number * WIDTH)) for number in range(-(-hashes // WIDTH)))
        level, hashes = level + 1, hashes // WIDTH


def tile_path(level: int, number: int, width: int = WIDTH) -> str:
    """The path of a tile under ``tile/``: ``0/x001/x234/067``, with ``.p/W`` when it is partial."""
    digits = f"{number:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([str(level), *(f"x{group}" for group in groups[:-1]), groups[-1]])
    return path if width == WIDTH else f"{path}.p/{width}"


def extend(size: int, leaves: Sequence[bytes], read: Read) -> dict[Tile, bytes]:
    """The tiles that change when leaves with the hashes `leaves` are added to a tree of `size`, with all that they
    hold then. `read` is asked for the partial tiles at the right edge only."""
    changed: dict[Tile, bytes] = {}
    level, begin, added = 0, size, b"".join(leaves)
    while added:
        number, held = divmod(begin, WIDTH)
        hashes = (read(level, number)[: held * HASH] if held else b"") + added
        above = []
        for at in range(0, len(hashes), WIDTH * HASH):
            tile = hashes[at : at + WIDTH * HASH]
            changed[level, number] = tile
            number += 1
            if len(tile) == WIDTH * HASH:
                above.append(fold(tile))
        level, begin, added = level + 1, begin // WIDTH, b"".join(above)
    return changed


def fold(hashes: bytes) -> bytes:
    """The tree hash over a power of two of `hashes`."""
    row = [hashes[at : at + HASH] for at in range(0, len(hashes), HASH)]
    while len(row) > 1:
        row = [sha256(b"\x01" + row[at] + row[at + 1]).digest() for at in range(0, len(row), 2)]
    return row[0]


def root(size: int, read: Read) -> bytes:
    """The root of the tree of the first `size` leaves."""
    return _range(0, size, read) if size else EMPTY


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaves with the hashes `leaves`."""
    return root(len(leaves), reader(extend(0, leaves, nothing)))


def reader(tiles: Mapping[Tile, bytes]) -> Read:
    """Reads from a mapping."""
    return lambda level, number: tiles[level, number]


def nothing(level: int, number: int) -> bytes:
    """The tiles of an empty tree."""
    return b""


def inclusion(place: int, size: int, read: Read) -> list[bytes]:
    """The audit path of the leaf at `place` in the tree of `size` (RFC 6962 2.1.1). Raises `Wrong`."""
    if not 0 <= place < size:
        raise Wrong(f"a tree of {size} has no place {place}")
    path, begin, end = [], 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if place < middle:
            path.append(_range(middle, end, read))
            end = middle
        else:
            path.append(_range(begin, middle, read))
            begin = middle
    return path[::-1]


def consistency(old: int, new: int, read: Read) -> list[bytes]:
    """The proof that the tree of `new` begins with the tree of `old` (RFC 6962 2.1.2). Raises `Wrong`."""
    if not 0 <= old <= new:
        raise Wrong(f"a tree of {new} cannot extend one of {old}")
    if old in (0, new):
        return []
    path, begin, end, whole = [], 0, new, True
    while old != end:
        middle = begin + _split(end - begin)
        if old <= middle:
            path.append(_range(middle, end, read))
            end = middle
        else:
            path.append(_range(begin, middle, read))
            begin, whole = middle, False
    return ([] if whole else [_range(begin, end, read)]) + path[::-1]


def check_inclusion(leaf: bytes, place: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf with the hash `leaf` is at `place` of the tree of `size` with that root (RFC 9162 2.1.3.2).

    Raises `Wrong`."""
    if not 0 <= place < size:
        raise Wrong(f"a tree of {size} has no place {place}")
    found = leaf
    for one, left in _upwards(place, size - 1, proof):
        found = pair_hash(one, found) if left else pair_hash(found, one)
    if found != root:
        raise Wrong("the proof leads to another root")


def check_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Check that the tree of `new` with the root `new_root` begins with the one of `old` with `old_root`
    (RFC 9162 2.1.4.2). Raises `Wrong`."""
    if not 0 <= old <= new:
        raise Wrong(f"a tree of {new} cannot extend one of {old}")
    if old in (0, new):
        if proof:
            raise Wrong("the proof is too long")
        if old_root != (new_root if old else EMPTY):
            raise Wrong("there are two roots for one size")
        return
    path = [*([old_root] if old & (old - 1) == 0 else []), *proof]
    if not path:
        raise Wrong("the proof is too short")
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for one, left in _upwards(at, last, path[1:]):
        first = pair_hash(one, first) if left else first
        second = pair_hash(one, second) if left else pair_hash(second, one)
    if first != old_root:
        raise Wrong("the proof leads to another root than the older one")
    if second != new_root:
        raise Wrong("the proof leads to another root than the newer one")


def _upwards(at: int, last: int, proof: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each hash of a `proof`, and whether it stands to the left, on the way to the root from the place `at` in a row
    of hashes that ends at `last` (the steps that RFC 9162 has in 2.1.3.2 and 2.1.4.2). Raises `Wrong`."""
    for one in proof:
        if last == 0:
            raise Wrong("the proof is too long")
        left = at & 1 == 1 or at == last
        yield one, left
        while left and not at & 1 and at:
            at, last = at >> 1, last >> 1
        at, last = at >> 1, last >> 1
    if last:
        raise Wrong("the proof is too short")


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _range(begin: int, end: int, read: Read) -> bytes:
    """The tree hash over the leaves from `begin` to `end`; `begin` is a multiple of the power of two that holds
    them."""
    count = end - begin
    if count & (count - 1) == 0:
        return _perfect(count.bit_length() - 1, begin, read)
    middle = begin + _split(count)
    return pair_hash(_range(begin, middle, read), _range(middle, end, read))


def _perfect(height: int, begin: int, read: Read) -> bytes:
    level, rounds = divmod(height, HEIGHT)
    number, at = divmod(begin >> level * HEIGHT, WIDTH)
    hashes = read(level, number)[at * HASH : (at + (1 << rounds)) * HASH]
    if len(hashes) != HASH << rounds:
        raise Wrong(f"tile {tile_path(level, number)} holds too few hashes")
    return fold(hashes)
