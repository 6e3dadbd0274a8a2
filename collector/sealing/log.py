"""Entries in, a signed log out: dense entries, and after each the checkpoint over all so far.

One code for a writer's segments and for the anchor, for normal running and for recovery. Invariant:
checkpoint `n` is put after entry `n`-1 and before entry `n`, so at most the newest entry is not signed.
What the tree remembers is kept in a file beside the data; it only saves time, because the newest
checkpoint must confirm it, and without it the entries are read again.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec

from collector.ledger import layout
from collector.ledger.entry import digest
from collector.ledger.note import Checkpoint, Signer, parse_checkpoint, sign
from collector.ledger.tree import Frontier, leaf_hash
from collector.stores.contract import Exists, ObjectStore
from schemas.errors import Fatal, Permanent

_Hash = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class _Remembered(msgspec.Struct, frozen=True):
    """How far the tree was when the last checkpoint was put."""

    size: int
    prev: str
    frontier: list[_Hash]


class Log:
    """The log `name` under the origin that its key is named after; owned by one thread.

    `retention` says from an entry until when (Unix ns) it and its checkpoint are kept.
    """

    def __init__(
        self, store: ObjectStore, signer: Signer, name: str, *, retention: Callable[[bytes], int], memory: Path
    ) -> None:
        self._store = store
        self._signer = signer
        self.name = name
        self._retention = retention
        self._memory = memory
        self._tree = Frontier()
        self.prev = ""

    @property
    def origin(self) -> str:
        """Deployment and log, as they stand in every entry and checkpoint."""
        return self._signer.vkey.name

    @property
    def size(self) -> int:
        """How many entries are in the store, each with its checkpoint."""
        return self._tree.size

    def resume(self, size: int | None = None) -> None:
        """Go on behind the entries that are there (or behind `size` of them), and sign what is not signed.

        Raises `Fatal` if an entry below `size` is gone.
        """
        if not self.size:
            self._recall(size)
        while size is None or self.size < size:
            key = layout.entry_key(self.name, self.size)
            raw = self._store.get(key)
            if raw is not None:
                self.signed(raw)
            elif size is None:
                return
            else:
                raise Fatal(
                    f"The store has no {key}, which was in it before.",
                    fix="The store has lost objects: put them back from a copy.",
                )

    def put(self, raw: bytes) -> None:
        """Put the next entry and its checkpoint. Raises `Exists` if another process was faster."""
        self._store.put_new(layout.entry_key(self.name, self.size), raw, self._retention(raw))
        # A crash here leaves an entry nobody signed yet: the next start signs it.
        self.signed(raw)

    def signed(self, raw: bytes) -> None:
        """Put the checkpoint over the entries so far and `raw`, the next one, which is in the store."""
        tree = Frontier(self.size, self._tree.hashes)
        tree.append(leaf_hash(raw))
        checkpoint = Checkpoint(self.origin, tree.size, tree.root())
        key = layout.checkpoint_key(self.name, tree.size)
        try:
            self._store.put_new(key, sign(checkpoint.text(), self._signer), self._retention(raw))
        except Exists:
            # An earlier key of this log may have signed it; what counts is what it says.
            if self._said(key) != checkpoint:
                raise fenced(key) from None
        self._tree, self.prev = tree, digest(raw)
        self._remember()

    def _said(self, key: str) -> Checkpoint | None:
        raw = self._store.get(key) or b""
        with suppress(Permanent):
            return parse_checkpoint(raw.rpartition(b"\n\n")[0] + b"\n")
        return None

    def _recall(self, size: int | None) -> None:
        try:
            known = msgspec.json.decode(self._memory.read_bytes(), type=_Remembered)
        except (FileNotFoundError, msgspec.DecodeError):
            return
        tree = Frontier(known.size, [bytes.fromhex(each) for each in known.frontier])
        confirmed = Checkpoint(self.origin, tree.size, tree.root())
        in_range = known.size > 0 and (size is None or known.size <= size)
        if in_range and self._said(layout.checkpoint_key(self.name, tree.size)) == confirmed:
            self._tree, self.prev = tree, known.prev

    def _remember(self) -> None:
        known = _Remembered(self.size, self.prev, [each.hex() for each in self._tree.hashes])
        fresh = self._memory.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(known))
        fresh.replace(self._memory)


def fenced(key: str) -> Fatal:
    """Somebody else wrote under this log's name: stop before anything is written over."""
    return Fatal(
        f"{key} in the store is not what this writer would put there.",
        fix="Another process wrote under this writer's name, or the deployment's name was changed: "
        "stop the other one, or put the name or the data directory back as it was.",
    )
