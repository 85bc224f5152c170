"""Hashes and proofs, held to the published vectors of Certificate Transparency and to a second, recursive reading of
RFC 6962."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.access.log import merkle
from lastgood.access.log.merkle import Wrong

# Inputs and hashes of google/certificate-transparency's own tests (also transparency-dev/merkle).
LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
LEAVES.append(bytes(range(0x60, 0x70)))
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
INCLUSION = {  # RFC 6962 2.1.3 draws these paths
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def hashes(count: int) -> list[bytes]:
    return [merkle.leaf_hash(str(number).encode()) for number in range(count)]


def tree(leaves: Sequence[bytes]) -> bytes:
    """The recursive definition, word for word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256().digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + tree(leaves[:k]) + tree(leaves[k:])).digest()


def reading(leaves: Sequence[bytes]) -> merkle.Read:
    return merkle.reader(merkle.extend(0, leaves, merkle.nothing))


READ = reading(hashes(70_000))


def test_published_roots() -> None:
    for size, root in enumerate(ROOTS):
        assert merkle.root_of([merkle.leaf_hash(leaf) for leaf in LEAVES[:size]]).hex() == root


@pytest.mark.parametrize(("sizes", "proof"), CONSISTENCY.items())
def test_published_consistency(sizes: tuple[int, int], proof: list[str]) -> None:
    old, new = sizes
    read = reading([merkle.leaf_hash(leaf) for leaf in LEAVES])
    found = merkle.consistency(old, new, read)
    assert [one.hex() for one in found] == proof
    merkle.check_consistency(old, new, found, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]))


@pytest.mark.parametrize(("asked", "proof"), INCLUSION.items())
def test_published_inclusion(asked: tuple[int, int], proof: list[str]) -> None:
    place, size = asked
    read = reading([merkle.leaf_hash(leaf) for leaf in LEAVES])
    found = merkle.inclusion(place, size, read)
    assert [one.hex() for one in found] == proof
    merkle.check_inclusion(merkle.leaf_hash(LEAVES[place]), place, size, found, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 511, 512, 700, 65_535, 65_536, 65_537, 70_000])
def test_tiles_give_the_same_root_as_the_definition(size: int) -> None:
    assert merkle.root(size, READ) == tree(hashes(size))


@settings(deadline=None)
@given(st.lists(st.integers(1, 400), max_size=6))
def test_a_tree_grown_in_parts_is_the_tree_grown_at_once(parts: list[int]) -> None:
    leaves, size = hashes(sum(parts)), 0
    tiles: dict[merkle.Tile, bytes] = {}
    for part in parts:
        tiles |= merkle.extend(size, leaves[size : size + part], merkle.reader(dict(tiles)))
        size += part
    assert tiles == merkle.extend(0, leaves, merkle.nothing)
    assert {(level, number, len(tile) // 32) for (level, number), tile in tiles.items()} == set(merkle.tiles_of(size))


@settings(deadline=None, max_examples=50)
@given(size=st.integers(1, 70_000), data=st.data())
def test_every_proof_holds_and_no_changed_one_does(size: int, data: st.DataObject) -> None:
    place, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    root, before = merkle.root(size, READ), merkle.root(old, READ)
    leaf = merkle.leaf_hash(str(place).encode())
    path, proof = merkle.inclusion(place, size, READ), merkle.consistency(old, size, READ)
    merkle.check_inclusion(leaf, place, size, path, root)
    merkle.check_consistency(old, size, proof, before, root)
    assert len(path) <= 17
    assert len(proof) <= 18
    for wrong in broken(path, data):
        with pytest.raises(Wrong):
            merkle.check_inclusion(leaf, place, size, wrong, root)
    for wrong in broken(proof, data):
        with pytest.raises(Wrong):
            merkle.check_consistency(old, size, wrong, before, root)
    with pytest.raises(Wrong):
        merkle.check_inclusion(merkle.leaf_hash(b"other"), place, size, path, root)
    with pytest.raises(Wrong):
        merkle.check_consistency(old, size, proof, merkle.leaf_hash(b"other"), root)


def broken(proof: list[bytes], data: st.DataObject) -> list[list[bytes]]:
    at = data.draw(st.integers(0, len(proof)))
    found = [[*proof[:at], b"\x11" * 32, *proof[at:]], [*proof, b"\x00" * 32]]
    if at < len(proof):
        found += [[*proof[:at], *proof[at + 1 :]], [*proof[:at], b"\x22" * 32, *proof[at + 1 :]]]
    return found


def test_a_proof_reads_few_tiles() -> None:
    asked: list[tuple[int, int]] = []

    def read(level: int, number: int) -> bytes:
        asked.append((level, number))
        return READ(level, number)

    merkle.inclusion(12_345, 70_000, read)
    merkle.consistency(12_345, 70_000, read)
    assert len(set(asked)) <= 8


@pytest.mark.parametrize(
    ("sizes", "old_root", "proof"),
    [
        ((0, 5), b"x" * 32, []),
        ((3, 3), b"x" * 32, []),
        ((3, 3), None, [b"y" * 32]),
        ((5, 3), None, []),
        ((2, 3), None, []),
    ],
)
def test_consistency_of_odd_sizes_is_refused(
    sizes: tuple[int, int], old_root: bytes | None, proof: list[bytes]
) -> None:
    old, new = sizes
    with pytest.raises(Wrong):
        merkle.check_consistency(old, new, proof, old_root or merkle.root(old, READ), merkle.root(new, READ))


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        ((0, 0), "0/000"),
        ((0, 273, 112), "0/273.p/112"),
        ((1, 1234067), "1/x001/x234/067"),
        ((2, 1000, 1), "2/x001/000.p/1"),
    ],
)
def test_tiles_are_where_the_specification_says(tile: tuple[int, ...], path: str) -> None:
    assert merkle.tile_path(*tile) == path


def test_a_tree_of_70000_has_the_tiles_of_the_specifications_example() -> None:
    found = list(merkle.tiles_of(70_000))
    assert sum(width == 256 for level, _, width in found if level == 0) == 273
    assert [one for one in found if one[2] < 256] == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert list(merkle.tiles_of(256)) == [(0, 0, 256), (1, 0, 1)]
