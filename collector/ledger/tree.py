"""Leaf hashes in, Merkle root and proofs out: the hash tree of RFC 6962, section 2.1.

Pure functions over SHA-256. A leaf is hashed with 0x00 in front and a node with 0x01, so neither can
be passed off as the other.
"""

from collections.abc import Sequence
from hashlib import sha256

_HASH_BYTES = 32
_PAIR_BYTES = 2 * _HASH_BYTES


def leaf_hash(data: bytes) -> bytes:
    """The leaf of one record."""
    return sha256(b"\x00" + data).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of leaf hashes in their order."""
    if not leaves:
        return sha256(b"").digest()
    level = b"".join(leaves)
    while len(level) > _HASH_BYTES:
        paired = len(level) - len(level) % _PAIR_BYTES
        parents = [sha256(b"\x01" + level[at : at + _PAIR_BYTES]).digest() for at in range(0, paired, _PAIR_BYTES)]
        # The odd one out moves up unchanged: that is RFC 6962's split at the largest power of two.
        level = b"".join(parents) + level[paired:]
    return level


class Frontier:
    """A tree that grows leaf by leaf: the roots of its full subtrees are all it has to remember."""

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)

    def append(self, leaf: bytes) -> None:
        """Add the next leaf."""
        node, size = leaf, self.size
        while size & 1:
            node, size = _node(self.hashes.pop(), node), size >> 1
        self.hashes.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The Merkle tree hash of all leaves so far."""
        if not self.hashes:
            return root(())
        *lefts, node = self.hashes
        for left in reversed(lefts):
            node = _node(left, node)
        return node


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The sibling hashes that lead from leaf `index` to the root, lowest first."""
    path: list[bytes] = []
    level = list(leaves)
    while len(level) > 1:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        odd = level[len(level) - len(level) % 2 :]
        level = [_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)] + odd
        index >>= 1
    return path


def includes(tree_root: bytes, *, size: int, index: int, leaf: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` proves that `leaf` is number `index` of the `size` leaves under `tree_root`.

    The algorithm of RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        return False
    node, last, current = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            current = _node(sibling, current)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            current = _node(current, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and current == tree_root


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
