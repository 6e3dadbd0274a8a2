"""Ledger columns in, one expression per number out.

Invariant: a number is defined here once and nowhere else; every report that shows it uses this
expression. An entry is *effective* when it counts a call, takes one back or corrects what one cost;
calls, tokens and money are signed sums over the effective entries, so their order does not matter.
What is not known is null, never zero. How rows are grouped is left to the reports.
"""

from typing import Literal

import msgspec
import polars as pl

from analytics.columns import ReportColumn
from schemas.accounting import PRICE_FOUND, Role, Rule
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
IS_CALL = pl.col("kind").eq_missing(EntryKind.CALL)
IS_CORRECTION = pl.col("kind").eq_missing(EntryKind.CORRECTION) & pl.col("accounting_role").ne_missing(Role.TOOL)
_METERED = pl.col("metered").eq_missing(True)
# Ledgers from before calls were counted one by one: the provider bills what it answered, and reports
# usage only for what it bills.
_BILLED_BEFORE = (_METERED | pl.col("outcome").eq_missing("ok")).cast(pl.Int64)
COUNT = (
    pl.when(IS_CORRECTION)
    .then(pl.col("call_count").fill_null(0))
    .when(IS_CALL)
    .then(pl.coalesce("call_count", _BILLED_BEFORE))
    .otherwise(0)
)
"""Calls that an entry counts: 1, 0, or -1 when it takes one back."""
_FAILED = (
    pl.when(IS_CORRECTION)
    .then(pl.col("failed_count").fill_null(0))
    .when(IS_CALL & pl.col("failed_count").is_not_null())
    .then(pl.col("failed_count"))
    .when(IS_CALL)
    .then(pl.col("accounting_rule").eq_missing(Rule.FAILED) | (pl.col("call_count").is_null() & (_BILLED_BEFORE == 0)))
    .otherwise(0)
)
EFFECTIVE = IS_CORRECTION | (COUNT != 0)
_HAS_USAGE = EFFECTIVE & _METERED
_COST = pl.when(EFFECTIVE).then(pl.col("cost_nano_usd").cast(pl.Int128))


ACCOUNT_KINDS = (EntryKind.CALL, EntryKind.CORRECTION)
"""The kinds of entries that calls and money are summed over."""


def local_time(unix_ns: pl.Expr, time_zone: str) -> pl.Expr:
    """A time of the entries in a time zone."""
    return unix_ns.cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(time_zone)


def counted(condition: pl.Expr) -> pl.Expr:
    """Calls of the entries that meet a condition, less those taken back."""
    return pl.when(condition).then(COUNT).otherwise(0).sum().cast(pl.Int64)


def has_finding(name: str) -> pl.Expr:
    """Whether an entry bears a finding."""
    return pl.col("findings").str.split(",").list.contains(name).fill_null(value=False)


def entries_with(condition: pl.Expr) -> pl.Expr:
    """Number of entries that meet a condition."""
    return condition.sum().cast(pl.Int64)


def sum_of_known(values: pl.Expr) -> pl.Expr:
    """The sum of what is known, null when that is nothing."""
    # Every part is an aggregate the streaming engine knows; `filter` inside the choice would collect the groups.
    return pl.when(values.count() > 0).then(values.sum())


def _tokens(name: str, doc: str) -> Measure:
    # A class that the emitter of a metered call did not name has no tokens.
    metered = pl.when(_HAS_USAGE).then(pl.col(name).fill_null(0))
    column = ReportColumn(name=name, type="int", unit="tokens", doc=doc, table="always" if name in _PLAIN else "detail")
    return Measure(column, sum_of_known(metered))


def _calls(name: str, doc: str, expression: pl.Expr, *, detail: bool = False) -> Measure:
    table: Literal["always", "detail"] = "detail" if detail else "always"
    return Measure(ReportColumn(name=name, type="int", unit="calls", doc=doc, table=table), expression)


_PLAIN = ("input_tokens", "output_tokens")

CALLS = _calls(
    "calls",
    "Calls the provider answered or sent usage for, each counted once, and so bills as far as one can know.",
    counted(EFFECTIVE),
)
METERED_CALLS = _calls("metered", "Those of `calls` whose usage the emitter sent.", counted(_METERED))
UNMETERED_CALLS = _calls(
    "unmetered_calls",
    "Those of `calls` whose usage the emitter did not send: their tokens are unknown and in no sum, and so is "
    "their cost unless it is estimated.",
    counted(~_METERED),
)
INPUT_TOKENS = _tokens("input_tokens", "All input of metered calls, cached included; null when no call was metered.")
CACHE_READ_TOKENS = _tokens("cache_read_tokens", "Part of `input_tokens` read from the provider's cache.")
CACHE_WRITE_TOKENS = _tokens("cache_write_tokens", "Part of `input_tokens` written to the provider's cache.")
CACHE_WRITE_1H_TOKENS = _tokens(
    "cache_write_1h_tokens", "Part of `cache_write_tokens` that the provider keeps for an hour."
)
INPUT_AUDIO_TOKENS = _tokens("input_audio_tokens", "Part of `input_tokens` that was audio.")
OUTPUT_TOKENS = _tokens(
    "output_tokens", "All output of metered calls, reasoning included; null when no call was metered."
)
REASONING_TOKENS = _tokens("reasoning_tokens", "Part of `output_tokens` that was reasoning.")
OUTPUT_AUDIO_TOKENS = _tokens("output_audio_tokens", "Part of `output_tokens` that was audio.")
COST_USD = Measure(
    ReportColumn(
        name="cost_usd",
        type="usd",
        unit="USD",
        doc="Cost of the calls whose cost is known, exact to the nano-USD; null when it is known of none.",
    ),
    # 128 bits, because a sum of 64-bit costs may not fit 64 bits.
    sum_of_known(_COST),
)
ESTIMATED_USD = Measure(
    ReportColumn(
        name="estimated_usd",
        type="usd",
        unit="USD",
        doc="Part of `cost_usd` that is an estimate, for calls without usage; null when `cost_usd` is.",
        table="detail",
    ),
    pl.when(_COST.count() > 0).then(
        pl.when(pl.col("pricing_basis").eq_missing("estimated")).then(_COST).otherwise(0).sum()
    ),
)
UNPRICED_CALLS = _calls(
    "unpriced_calls",
    "Those of `calls` with usage but without a known price: their cost is in no sum.",
    counted(_METERED & pl.col("cost_nano_usd").is_null()) - entries_with(has_finding(PRICE_FOUND)),
    detail=True,
)
FAILED_CALLS = _calls(
    "failed_calls",
    "Calls that failed without usage; not in `calls`.",
    _FAILED.sum().cast(pl.Int64),
    detail=True,
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
    CACHE_WRITE_1H_TOKENS,
    INPUT_AUDIO_TOKENS,
    OUTPUT_AUDIO_TOKENS,
    ESTIMATED_USD,
    UNPRICED_CALLS,
    FAILED_CALLS,
)
