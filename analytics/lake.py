"""Committed segments in, one lazy table out. The only file that opens the ledger.

Invariant: only objects named by a committed entry are read, and one `Snapshot` sees one state of the
ledger however long its report takes and whatever is sealed meanwhile. What the rows mean is left to
the measures and reports.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import polars as pl

from collector.ledger.entry import EVENTS, SegmentEntry
from collector.ledger.reader import Evidence
from schemas.errors import ConfigError
from schemas.tables import LEDGER_COLUMNS

_TYPES: dict[str, pl.DataType] = {"string": pl.String(), "int64": pl.Int64(), "bool": pl.Boolean()}
LEDGER_TYPES = pl.Schema({c.name: _TYPES[c.type] for c in LEDGER_COLUMNS})
LAKE_TYPES = pl.Schema({**LEDGER_TYPES, "writer": pl.String()})


class Segment(msgspec.Struct, frozen=True):
    """One committed object: whose it is, its last entry, the event times (Unix ns) in it."""

    writer: str
    last_seq: int
    first_time: int
    last_time: int
    path: Path


class Snapshot:
    """The segments committed at one moment, in order of writer and number."""

    def __init__(self, data_dir: Path) -> None:
        """Look at the ledger of a data directory.

        Raises `ConfigError` when there is no such directory, `Permanent` when an entry is missing or changed.
        """
        if not data_dir.is_dir():
            raise ConfigError(f"There is no data directory {data_dir}.", fix="Give the --data of `spanward serve`.")
        self.segments = _segments(data_dir / "store")

    def scan(self, *, from_ns: int | None = None, to_ns: int | None = None) -> pl.LazyFrame:
        """Ledger entries whose event time lies in [from_ns, to_ns), with the `writer` that sealed them."""
        overlapping = (
            segment
            for segment in self.segments
            if (to_ns is None or segment.first_time < to_ns) and (from_ns is None or segment.last_time >= from_ns)
        )
        entries = read(overlapping)
        if from_ns is not None:
            entries = entries.filter(pl.col("event_time") >= from_ns)
        return entries if to_ns is None else entries.filter(pl.col("event_time") < to_ns)


def read(segments: Iterable[Segment]) -> pl.LazyFrame:
    """All entries of some segments, with the `writer` that sealed them."""
    paths: dict[str, list[Path]] = {}
    for segment in segments:
        paths.setdefault(segment.writer, []).append(segment.path)
    if not paths:
        return pl.LazyFrame(schema=LAKE_TYPES)
    return pl.concat([_read(own, writer) for writer, own in paths.items()])


def scan(data_dir: Path, *, from_ns: int | None = None, to_ns: int | None = None) -> pl.LazyFrame:
    """Entries of a data directory's ledger as they are committed now, for notebooks and one-off questions."""
    return Snapshot(data_dir).scan(from_ns=from_ns, to_ns=to_ns)


def _read(paths: list[Path], writer: str) -> pl.LazyFrame:
    # A ledger outlives its software: columns added later are null in old objects, and unknown in new ones.
    entries = pl.scan_parquet(
        paths,
        schema=LEDGER_TYPES,
        missing_columns="insert",
        extra_columns="ignore",
        hive_partitioning=False,
        glob=False,
    )
    return entries.with_columns(pl.lit(writer).alias("writer"))


def _segments(store: Path) -> tuple[Segment, ...]:
    return tuple(_segment(entry, store) for entry in Evidence(store).entries())


def _segment(entry: SegmentEntry, store: Path) -> Segment:
    events = next(ref for ref in entry.objects if ref.role == EVENTS)
    return Segment(entry.origin.rpartition("/")[2], entry.seq[1], *entry.event_time, store / events.key)
