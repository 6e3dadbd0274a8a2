"""Calls → what they cost, by who made them, of which model, when.

Invariant: every call that may have cost something is in exactly one row, so the rows add up to the
whole whatever they are grouped by. The numbers are those of `analytics.measures`.
"""

from collections.abc import Callable

import msgspec
import polars as pl

from analytics.columns import ReportColumn
from analytics.measures import ACCOUNT_KINDS, FAILED_CALLS, MEASURES, local_time
from analytics.query import Query
from analytics.report import Report
from schemas.tables import LEDGER_COLUMNS


class Dimension(msgspec.Struct, frozen=True):
    """Something calls can be grouped by: its column, and how to get it in a given time zone."""

    column: ReportColumn
    expression: Callable[[str], pl.Expr]


def _as_recorded(name: str) -> Dimension:
    doc = next(c.doc for c in LEDGER_COLUMNS if c.name == name)
    return Dimension(ReportColumn(name=name, type="text", doc=doc), lambda _: pl.col(name))


_AS_RECORDED = (
    *("org", "tenant", "agent", "claimed_agent", "service_name"),
    *("provider", "model", "operation", "service_tier", "region"),
)

DIMENSIONS: tuple[Dimension, ...] = (
    *(_as_recorded(name) for name in _AS_RECORDED),
    Dimension(
        ReportColumn(name="day", type="date", doc="Day of the call's own time, in --time-zone (UTC unless said)."),
        lambda time_zone: local_time(pl.col("event_time"), time_zone).dt.date(),
    ),
    Dimension(
        ReportColumn(name="hour", type="hour", doc="Start of the hour of the call's own time, in --time-zone."),
        lambda time_zone: local_time(pl.col("event_time"), time_zone).dt.truncate("1h"),
    ),
)
_EXPRESSIONS = {d.column.name: d.expression for d in DIMENSIONS}


def plan(entries: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    """One row a group, sorted by the columns of `--by`; what is not known sorts last."""
    keys = [_EXPRESSIONS[name](query.time_zone).alias(name) for name in query.by]
    calls = entries.filter(pl.col("kind").is_in(ACCOUNT_KINDS))
    groups = calls.group_by(keys).agg(m.expression.alias(m.name) for m in MEASURES)
    return groups.filter(_SPENT).sort(query.by, nulls_last=True)


# Calls that all failed, or were all taken back, cost nothing: they are in `activity`, and a row here
# would be noise to finance.
_SPENT = pl.any_horizontal((pl.col(m.name) != 0).fill_null(value=False) for m in MEASURES if m is not FAILED_CALLS)


SPEND = Report(
    name="spend",
    title="Spend",
    question="What did the calls cost, who made them, and of which model?",
    filters=("org", "tenant", "agent"),
    columns=tuple(m.column for m in MEASURES),
    dimensions=tuple(d.column for d in DIMENSIONS),
    default_by=("agent",),
    plan=plan,
)
