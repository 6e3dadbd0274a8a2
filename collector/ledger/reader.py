"""Store folder in, committed segments out: how everybody but the writer opens the ledger.

Invariant: only what an entry names is shown. A data object without an entry is a segment that was not
committed, or was forged, and does not exist here. Entries are dense, chained and canonical, or
reading stops with `Permanent`. Hashing the data and checking signatures is left to verification.
"""

from collections.abc import Iterator
from pathlib import Path

from collector.ledger import layout
from collector.ledger.entry import SegmentEntry, digest, parse
from collector.ledger.store_directory import DirectoryStore
from schemas.errors import Permanent


class Evidence:
    """The ledger below the store folder `root`, as far as it is committed now."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._store = DirectoryStore(root)

    def entries(self) -> Iterator[SegmentEntry]:
        """Every committed segment, writer by writer, each writer's in the order of their numbers."""
        next_k, next_seq, prev, current = 0, 0, "", ""
        for key in self._store.list(layout.LOGS):
            place = layout.parse_entry_key(key)
            if place is None:
                continue
            writer, k = place
            if writer != current:
                next_k, next_seq, prev, current = 0, 0, "", writer
            if k != next_k:
                raise _damaged(f"{layout.entry_key(writer, next_k)} is missing")
            raw = self._store.get(key) or b""
            entry = parse(raw, writer=writer, k=k)
            if entry.seq[0] != next_seq or entry.prev != prev:
                raise _damaged(f"{key} does not follow the entry before it")
            next_k, next_seq, prev = k + 1, entry.seq[1] + 1, digest(raw)
            yield entry

    def objects(self, from_ns: int, to_ns: int) -> list[Path]:
        """Data files with rows that may have happened or been received in `[from_ns, to_ns)` (Unix ns).

        A row's own times decide whether it counts; some rows of these files lie outside.
        """
        return [
            self._root / ref.key for entry in self.entries() if entry.overlaps(from_ns, to_ns) for ref in entry.objects
        ]


def _damaged(what: str) -> Permanent:
    return Permanent(f"The ledger is not whole: {what}.", fix="Run `spanward verify`, and put it back from a copy.")
