"""Ledger columns in, one expression per number out.

Invariant: a number is defined here once and nowhere else; every report that shows it uses this
expression. What is not known is null, never zero. How rows are grouped is left to the reports.
"""

import msgspec
import polars as pl

from analytics.columns import ReportColumn
from schemas.tables import EntryKind


class Measure(msgspec.Struct, frozen=True):
    """A number of a group of ledger entries, and the column that documents it."""

    column: ReportColumn
    expression: pl.Expr

    @property
    def name(self) -> str:
        """Name of the column."""
        return self.column.name


# An aggregate may be asked of any entries, so each condition says "call" itself.
_IS_CALL = pl.col("kind").eq_missing(EntryKind.CALL)
_METERED = _IS_CALL & pl.col("metered").eq_missing(True)
# The provider bills what it answered, and reports usage only for what it bills.
_BILLED = _METERED | (_IS_CALL & pl.col("outcome").eq_missing("ok"))


def _count(condition: pl.Expr) -> pl.Expr:
    return condition.sum().cast(pl.Int64)


def _sum_of_known(values: pl.Expr) -> pl.Expr:
    # Every part is an aggregate the streaming engine knows; `filter` inside the choice would collect the groups.
    return pl.when(values.count() > 0).then(values.sum())


def _tokens(name: str, doc: str) -> Measure:
    # A class that the emitter of a metered call did not name has no tokens.
    metered = pl.when(_METERED).then(pl.col(name).fill_null(0))
    column = ReportColumn(name=name, type="int", unit="tokens", doc=doc, table="always" if name in _PLAIN else "detail")
    return Measure(column, _sum_of_known(metered))


_PLAIN = ("input_tokens", "output_tokens")

CALLS = Measure(
    ReportColumn(
        name="calls",
        type="int",
        unit="calls",
        doc="Calls the provider answered or sent usage for, and so bills as far as one can know.",
    ),
    _count(_BILLED),
)
UNMETERED_CALLS = Measure(
    ReportColumn(
        name="unmetered_calls",
        type="int",
        unit="calls",
        doc="Those of `calls` whose usage the emitter did not send: tokens and cost are unknown and in no sum.",
    ),
    _count(_BILLED & ~_METERED),
)
INPUT_TOKENS = _tokens("input_tokens", "All input of metered calls, cached included; null when no call was metered.")
CACHE_READ_TOKENS = _tokens("cache_read_tokens", "Part of `input_tokens` read from the provider's cache.")
CACHE_WRITE_TOKENS = _tokens("cache_write_tokens", "Part of `input_tokens` written to the provider's cache.")
OUTPUT_TOKENS = _tokens(
    "output_tokens", "All output of metered calls, reasoning included; null when no call was metered."
)
REASONING_TOKENS = _tokens("reasoning_tokens", "Part of `output_tokens` that was reasoning.")
COST_USD = Measure(
    ReportColumn(
        name="cost_usd",
        type="usd",
        unit="USD",
        doc="Cost of the calls whose cost is known, exact to the nano-USD; null when it is known of none.",
    ),
    # 128 bits, because a sum of 64-bit costs may not fit 64 bits.
    _sum_of_known(pl.when(_IS_CALL).then(pl.col("cost_nano_usd").cast(pl.Int128))),
)
UNPRICED_CALLS = Measure(
    ReportColumn(
        name="unpriced_calls",
        type="int",
        unit="calls",
        doc="Those of `calls` with usage but without a known price: their cost is in no sum.",
        table="detail",
    ),
    _count(_METERED & pl.col("cost_nano_usd").is_null()),
)
FAILED_CALLS = Measure(
    ReportColumn(
        name="failed_calls",
        type="int",
        unit="calls",
        doc="Calls that failed without usage; not in `calls`.",
        table="detail",
    ),
    _count(_IS_CALL & ~_BILLED),
)

MEASURES: tuple[Measure, ...] = (
    CALLS,
    UNMETERED_CALLS,
    INPUT_TOKENS,
    CACHE_READ_TOKENS,
    CACHE_WRITE_TOKENS,
    OUTPUT_TOKENS,
    REASONING_TOKENS,
    COST_USD,
    UNPRICED_CALLS,
    FAILED_CALLS,
)
