"""The ledger in, what it says a provider bills by day and model out.

Invariant: the numbers are those of `spend`, so that a bill that agrees with this agrees with every
report. A call whose provider nobody named is kept apart: it may be on this bill or on another.
"""

from datetime import date
from typing import NamedTuple

import msgspec
import polars as pl

from analytics.lake import Snapshot
from analytics.measures import (
    ACCOUNT_KINDS,
    CACHE_READ_TOKENS,
    CACHE_WRITE_TOKENS,
    CALLS,
    COST_USD,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    UNMETERED_CALLS,
    UNPRICED_CALLS,
    Measure,
    local_time,
)
from analytics.query import Query
from analytics.report import matching

_MEASURES: dict[str, Measure] = {
    "calls": CALLS,
    "input": INPUT_TOKENS,
    "cache_read": CACHE_READ_TOKENS,
    "cache_write": CACHE_WRITE_TOKENS,
    "output": OUTPUT_TOKENS,
    "cost": COST_USD,
    "unmetered": UNMETERED_CALLS,
    "unpriced": UNPRICED_CALLS,
}


class Recorded(msgspec.Struct):
    """What the ledger knows of a group of calls; an amount nobody knows is not in `amounts`. Money is nano-USD."""

    amounts: dict[str, int]
    unmetered: int = 0
    unpriced: int = 0

    def add(self, other: "Recorded") -> None:
        """Count another group too."""
        for name, value in other.amounts.items():
            self.amounts[name] = self.amounts.get(name, 0) + value
        self.unmetered += other.unmetered
        self.unpriced += other.unpriced


class Sold(NamedTuple):
    """Whose calls of which model on which day; `None` where the ledger does not know."""

    day: date
    provider: str | None
    model: str | None


def recorded(snapshot: Snapshot, query: Query) -> dict[Sold, Recorded]:
    """Everything the entries of a query's range and filters say, by day of its time zone."""
    entries = matching(snapshot.scan(from_ns=query.from_ns, to_ns=query.to_ns), query)
    day = local_time(pl.col("event_time"), query.time_zone).dt.date()
    calls = entries.filter(pl.col("kind").is_in(ACCOUNT_KINDS))
    groups = calls.group_by(day.alias("day"), pl.col("provider"), pl.col("model")).agg(
        measure.expression.alias(f"_{name}") for name, measure in _MEASURES.items()
    )
    found: dict[Sold, Recorded] = {}
    for row in groups.collect(engine="streaming").iter_rows(named=True):
        numbers = {name: row[f"_{name}"] for name in _MEASURES}
        unmetered, unpriced = numbers.pop("unmetered"), numbers.pop("unpriced")
        amounts = {name: value for name, value in numbers.items() if value is not None}
        if any(amounts.values()):
            found[Sold(row["day"], row["provider"], row["model"])] = Recorded(amounts, unmetered, unpriced)
    return found
