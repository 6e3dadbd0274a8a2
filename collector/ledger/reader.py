"""Store folder in, committed segments out: how everybody but the writer opens the ledger.

Invariant: only what an entry names is shown. A data object without an entry is a segment that was not
committed, or was forged, and does not exist here. Entries are dense, chained and canonical, or
reading stops with `Permanent`. Hashing the data and checking signatures is left to verification.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from collector.ledger import layout
from collector.ledger.entry import SegmentEntry, digest, parse
from collector.ledger.rows import align, from_parquet
from collector.stores.directory import DirectoryStore
from schemas.errors import Permanent
from schemas.tables import LEDGER_SCHEMA


class Evidence:
    """The ledger below the store folder `root`, as far as it is committed now."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._store = DirectoryStore(root)

    def entries(self) -> Iterator[SegmentEntry]:
        """Every committed segment, writer by writer, each writer's in the order of their numbers."""
        # A listing made while segments are sealed may show an entry and not the one before it, so it
        # only says how far each log goes.
        places = [place for key in self._store.list(layout.LOGS) if (place := layout.parse_entry_key(key))]
        for writer, newest in sorted(dict(places).items()):
            next_seq, prev = 0, ""
            for k in range(newest + 1):
                key = layout.entry_key(writer, k)
                raw = self._store.get(key)
                if raw is None:
                    raise _damaged(f"{key} is missing")
                entry = parse(raw, writer=writer, k=k)
                if entry.seq[0] != next_seq or entry.prev != prev:
                    raise _damaged(f"{key} does not follow the entry before it")
                next_seq, prev = entry.seq[1] + 1, digest(raw)
                yield entry

    def newest_rows(self, writer: str, newest: int, wanted: int) -> list[pa.Table]:
        """Rows of a writer's segments up to number `newest`, oldest first: at least `wanted`, or all there are."""
        tables: list[pa.Table] = []
        for k in range(newest, -1, -1):
            if sum(map(len, tables)) >= wanted:
                break
            raw = self._store.get(layout.entry_key(writer, k))
            if raw is None:
                raise _damaged(f"{layout.entry_key(writer, k)} is missing")
            for ref in parse(raw, writer=writer, k=k).objects:
                tables.insert(0, align(from_parquet(self._store.get(ref.key) or b""), LEDGER_SCHEMA))
        return tables

    def objects(self, from_ns: int, to_ns: int) -> list[Path]:
        """Data files with rows that may have happened or been received in `[from_ns, to_ns)` (Unix ns).

        A row's own times decide whether it counts; some rows of these files lie outside.
        """
        return [
            self._root / ref.key for entry in self.entries() if entry.overlaps(from_ns, to_ns) for ref in entry.objects
        ]


def _damaged(what: str) -> Permanent:
    return Permanent(f"The ledger is not whole: {what}.", fix="Run `spanward verify`, and put it back from a copy.")
