"""One log's entries and checkpoints in, the entries that are proven out, with what is wrong.

The same for a writer's log and for the anchor: dense numbers, a checkpoint after every entry, signed
by a key that the trust chain names for that size, its root that of the entries so far.
"""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import msgspec

from collector.ledger import layout
from collector.ledger.audit.bucket import Bucket
from collector.ledger.entry import digest
from collector.ledger.note import Checkpoint, parse_checkpoint, verified
from collector.ledger.tree import Frontier, leaf_hash
from collector.ledger.trust import TrustDocument
from schemas.errors import Permanent

# A crash leaves the newest entry without checkpoint or anchor until the next start.
GRACE_NS = 120 * 10**9

Entry = TypeVar("Entry", bound=msgspec.Struct)


class SignedLog(Generic[Entry]):
    """The log `name`. `parse` reads entry k; `times` says when it was committed and until when it is kept."""

    def __init__(
        self,
        bucket: Bucket,
        trust: TrustDocument,
        name: str,
        parse: Callable[[bytes, int], Entry],
        times: Callable[[Entry], tuple[int, int]],
    ) -> None:
        self._bucket = bucket
        self._trust = trust
        self.name = name
        self.origin = trust.origin(name)
        self._parse = parse
        self._times = times
        self._folder = layout.entry_key(name, 0).rpartition("entry/")[0]
        self.size = 1 + max(self._numbers("entry/", 0), default=-1)
        self.digests: list[str] = []
        self.heads: list[Checkpoint] = []
        self.newest_note = b""

    def entries(self, now: int) -> Iterator[tuple[str, Entry, str]]:
        """Key, entry and the digest of the one before it, as far as the log can be followed."""
        tree = Frontier()
        while True:
            k = tree.size
            key = layout.entry_key(self.name, k)
            raw = self._bucket.read(key)
            if raw is None:
                break
            try:
                entry = self._parse(raw, k)
            except Permanent as error:
                self._bucket.finding("altered", key, error.what)
                break
            tree.append(leaf_hash(raw))
            committed_at, until = self._times(entry)
            self._bucket.must_keep(key, until)
            head = Checkpoint(self.origin, tree.size, tree.root())
            self._checkpoint(head, until, now - committed_at)
            self.heads.append(head)
            yield key, entry, self.digests[-1] if self.digests else ""
            self.digests.append(digest(raw))
        self._beyond(tree.size)

    def _checkpoint(self, expected: Checkpoint, until: int, age_ns: int) -> None:
        key = layout.checkpoint_key(self.name, expected.size)
        note = self._bucket.read(key, expected=True)
        self._bucket.must_keep(key, until)
        newest = expected.size == self.size
        if note is None and newest and age_ns <= GRACE_NS:
            self._bucket.notice("pending", key, "the newest entry is not signed yet")
        elif note is None:
            self._bucket.finding("missing", key, f"no checkpoint of {expected.size} entries")
        else:
            self._judge(key, note, expected)

    def _judge(self, key: str, note: bytes, expected: Checkpoint) -> None:
        try:
            said = parse_checkpoint(verified(note, self._trust.vkeys(self.name, expected.size)))
        except Permanent as error:
            self._bucket.finding("signature", key, error.what)
            return
        if said[:2] != expected[:2]:
            self._bucket.finding("chain", key, f"it is the checkpoint of {said.origin}, size {said.size}")
        elif said != expected:
            self._bucket.finding("history", key, "its root is not that of the entries")
        self.newest_note = note

    def _beyond(self, size: int) -> None:
        """What is there beyond the last entry that could be followed: one finding stands for all of it."""
        key = layout.entry_key(self.name, size)
        later = [
            f"{self._folder}{folder}{n:012d}"
            for folder, first in (("entry/", size), ("checkpoint/", size + 1))
            for n in self._numbers(folder, first)
        ]
        if later and key not in later:
            self._bucket.finding("missing", key, f"{len(later)} later names of this log are there, as {later[-1]}")
        for name in later:
            self._bucket.leave(name)

    def _numbers(self, folder: str, first: int) -> list[int]:
        numbers = map(layout.number, self._bucket.names(f"{self._folder}{folder}"))
        return [n for n in numbers if n is not None and n >= first]
