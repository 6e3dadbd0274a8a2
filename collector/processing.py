"""Received rows → everything one booking writes: ledger rows, corrections, spend, dedupe keys.

The steps between the spool and the journal, in their order: normalise, drop repeats, account, price,
shape. Points of metrics are attributed and shaped, nothing else: what they count was spent by calls.
Nothing is remembered until `commit`, so that a booking that failed is made again from the same
rows. What is durable when is left to the pipeline.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from collector.accounting.account import Account, Plan, attributed
from collector.accounting.records import Row
from collector.columns import is_one_of, some
from collector.dialects import DIALECTS
from collector.ledger.rows import align
from collector.pricing.book import PriceBook
from collector.processors.dedupe import DedupeWindow, blob
from collector.processors.entries import (
    ENTRY_SCHEMA,
    PRICE_COLUMNS,
    entries,
    entry_ids,
    metered_calls,
    row_entries,
    spends,
    weighed,
)
from collector.processors.normalise import POINTS, normalise
from collector.processors.price import price
from collector.processors.sightings import sightings

_NOTHING = ENTRY_SCHEMA.empty_table()


class Entries(NamedTuple):
    """What a slab of received rows makes. `stored` and `duplicate` count its rows by signal.

    `rows` are those of spans and log records, `points` those of metrics.
    """

    rows: pa.Table
    points: pa.Table
    reversals: pa.Table
    rebookings: pa.Table
    stored: dict[str, int]
    duplicate: dict[str, int]
    dedupe: bytes
    plan: Plan | None
    sightings: bytes = b""

    def all(self) -> pa.Table:
        """All ledger rows of it."""
        return pa.concat_tables([self.rows, self.points, self.reversals, self.rebookings])

    def spends(self) -> bytes:
        """What budgets hear of (`schemas.booking.Booking.spends`)."""
        return spends(weighed(self.all()))

    def metered_calls(self) -> bytes:
        """The metered calls that are booked for the first time: those that were decided on, or should have been."""
        rows, again = weighed(self.rows), weighed(self.rebookings)
        if self.plan and self.plan.known_use:
            known = tuple(self.plan.known_use)
            rows = some(rows, ~is_one_of(rows["entry_id"], known))
            again = some(again, ~is_one_of(again["corrects"], known))
        return metered_calls(pa.concat_tables([rows, again]))


NOTHING = Entries(_NOTHING, _NOTHING, _NOTHING, _NOTHING, {}, {}, b"", None)


class Processing:
    """The steps and what they remember. Owned by the booker thread."""

    def __init__(self, window: DedupeWindow, account: Account, book: PriceBook, clock: Callable[[], int]) -> None:
        self._window, self._account, self._book = window, account, book
        self._clock = clock

    def process(self, received: pa.Table) -> Entries:
        """What these rows of the spool make; nothing is remembered."""
        if not len(received):
            return NOTHING
        normalised = normalise(received, DIALECTS, self._book.names)
        verdicts = self._window.judge(normalised)
        kept = some(normalised, verdicts.keep)
        conflict = verdicts.conflict[verdicts.keep]
        numbered = kept.append_column("entry_id", entry_ids(len(kept), self._clock()))
        is_point = is_one_of(kept["signal"], (POINTS,))
        plan = self._account.plan(some(numbered, ~is_point))
        rows = entries(price(plan.rows, self._book), conflict[~is_point])
        points = entries(attributed(some(numbered, is_point)), conflict[is_point]) if is_point.any() else _NOTHING
        return Entries(
            rows=rows,
            points=points,
            reversals=row_entries(plan.reversals),
            rebookings=self._priced_again(row_entries(self._account.rebookings(plan, rows))),
            stored=_by_signal(kept["signal"]),
            duplicate=_by_signal(normalised["signal"].filter(pa.array(~verdicts.keep))),
            dedupe=blob(verdicts),
            plan=plan,
            sightings=sightings(some(kept, ~is_point)),
        )

    def commit(self, made: Entries, events: Iterable[Row] = ()) -> None:
        """These entries are booked, and so are these, which did not arrive as telemetry."""
        self._window.remember([made.dedupe])
        if made.plan is not None:
            self._account.commit(made.plan, made.rows, made.rebookings)
        self._account.rerated(events)

    def _priced_again(self, rebookings: pa.Table) -> pa.Table:
        if not len(rebookings):
            return rebookings
        return align(price(rebookings.drop_columns(list(PRICE_COLUMNS)), self._book), ENTRY_SCHEMA)


def _by_signal(signals: pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(signals)
    return {item["values"]: item["counts"] for item in counted.to_pylist()}
