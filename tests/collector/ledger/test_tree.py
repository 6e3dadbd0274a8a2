"""The hash tree against the published vectors of Certificate Transparency and against the recursive definition."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ledger import tree

# Leaf data and roots of sizes 1 to 8, and paths as (index, size): the reference vectors of the
# certificate-transparency project for RFC 6962, used by every implementation since.
LEAF_DATA = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
LEAVES = [tree.leaf_hash(bytes.fromhex(text)) for text in LEAF_DATA]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_equal_the_published_vectors(size: int) -> None:
    assert tree.root(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_the_empty_tree_is_the_hash_of_nothing() -> None:
    assert tree.root([]) == sha256(b"").digest()


@pytest.mark.parametrize(("index", "size"), PATHS)
def test_paths_equal_the_published_vectors_and_are_accepted(index: int, size: int) -> None:
    path = tree.inclusion_path(LEAVES[:size], index)
    assert [each.hex() for each in path] == PATHS[index, size]
    assert tree.includes(tree.root(LEAVES[:size]), size=size, index=index, leaf=LEAVES[index], path=path)


def recursive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + recursive_root(leaves[:split]) + recursive_root(leaves[split:])).digest()


def recursive_path(leaves: list[bytes], index: int) -> list[bytes]:
    """RFC 6962, section 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*recursive_path(leaves[:split], index), recursive_root(leaves[split:])]
    return [*recursive_path(leaves[split:], index - split), recursive_root(leaves[:split])]


@pytest.mark.parametrize("size", range(1, 70))
def test_every_leaf_of_every_small_tree_proves_itself_and_nothing_else(size: int) -> None:
    leaves = [tree.leaf_hash(b"%d" % number) for number in range(size)]
    top = tree.root(leaves)
    assert top == recursive_root(leaves)
    for index in range(size):
        path = tree.inclusion_path(leaves, index)
        assert path == recursive_path(leaves, index)
        assert tree.includes(top, size=size, index=index, leaf=leaves[index], path=path)
        assert not tree.includes(top, size=size, index=index, leaf=tree.leaf_hash(b"other"), path=path)
        assert not tree.includes(top, size=size, index=index, leaf=leaves[index], path=[*path, top])
        assert not path or not tree.includes(top, size=size, index=index, leaf=leaves[index], path=path[:-1])
        for wrong in {-1, index + 1, size} - {index}:
            assert not tree.includes(top, size=size, index=wrong, leaf=leaves[index], path=path)


@given(size=st.integers(1, 300), index=st.integers(0, 299), bit=st.integers(0, 10**6))
def test_no_altered_path_is_accepted(size: int, index: int, bit: int) -> None:
    index %= size
    leaves = [tree.leaf_hash(b"%d" % number) for number in range(size)]
    altered = bytearray(b"".join(tree.inclusion_path(leaves, index)))
    if altered:
        altered[bit % (8 * len(altered)) // 8] ^= 1 << bit % 8
        path = [bytes(altered[at : at + 32]) for at in range(0, len(altered), 32)]
        assert not tree.includes(tree.root(leaves), size=size, index=index, leaf=leaves[index], path=path)
