"""Entries of any number in, stretches of time that fit in memory out.

Invariant: the slices cover every entry exactly once, in order of event time, so that sorting one
slice after the other sorts them all. What is done with a slice is left to `analytics.report`.
"""

import msgspec
import polars as pl

# Entries are counted by this much of their own time: a year has three million such buckets, and at
# 100,000 entries a second one bucket, the smallest slice there can be, still fits in memory.
BUCKET_NS = 10 * 10**9
# A few hundred MB with every column of the audit trail, the copies made while sorting included.
SLICE_ROWS = 250_000


class Slice(msgspec.Struct, frozen=True):
    """The event times [from_ns, to_ns), which hold `rows` entries."""

    from_ns: int
    to_ns: int
    rows: int


def cut(entries: pl.LazyFrame, *, slice_rows: int = SLICE_ROWS) -> list[Slice]:
    """Slices of at most `slice_rows` entries (more only within one bucket), oldest first."""
    bucket = (pl.col("event_time") // BUCKET_NS).alias("bucket")
    counts = entries.group_by(bucket).len().sort("bucket").collect(engine="streaming")
    slices: list[Slice] = []
    for number, rows in counts.iter_rows():
        start, end = number * BUCKET_NS, (number + 1) * BUCKET_NS
        if slices and slices[-1].rows + rows <= slice_rows:
            slices[-1] = Slice(slices[-1].from_ns, end, slices[-1].rows + rows)
        else:
            slices.append(Slice(start, end, rows))
    return slices


def newest(slices: list[Slice], rows: int) -> tuple[list[Slice], int]:
    """The last slices that hold the newest `rows` entries, and how many of their first entries are too many."""
    chosen: list[Slice] = []
    held = 0
    while held < rows and len(chosen) < len(slices):
        chosen.insert(0, slices[-1 - len(chosen)])
        held += chosen[0].rows
    return chosen, max(0, held - rows)
