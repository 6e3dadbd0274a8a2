"""Entries → the audit trail: who did what to what, when, and how it ended.

Invariant: one row an entry of any kind, in order of event time, writer and number; nothing is
summed, and nothing left out but what the filters say.
"""

from typing import Literal

import polars as pl

from analytics.columns import ReportColumn
from analytics.measures import local_time
from analytics.query import FILTERS, Query
from analytics.report import Report
from schemas.tables import LEDGER_COLUMNS

_DOCS = {c.name: c.doc for c in LEDGER_COLUMNS}


def _recorded(name: str, table: Literal["always", "line", "never"] = "never") -> ReportColumn:
    return ReportColumn(name=name, type="text", doc=_DOCS[name], table=table)


COLUMNS: tuple[ReportColumn, ...] = (
    ReportColumn(name="time", type="time", doc=_DOCS["event_time"]),
    _recorded("kind", "always"),
    _recorded("org"),
    _recorded("tenant"),
    _recorded("agent", "always"),
    _recorded("actor"),
    _recorded("action"),
    _recorded("subject", "always"),
    _recorded("outcome", "always"),
    _recorded("message", "line"),
    ReportColumn(
        name="cost_usd",
        type="usd",
        unit="USD",
        doc="Cost of a call, or what a correction changes of it; null for what has none or none known.",
    ),
    _recorded("credential_id"),
    _recorded("trace_id"),
    _recorded("span_id"),
    _recorded("decision_id"),
    _recorded("findings"),
    _recorded("detail"),
    ReportColumn(name="writer", type="text", table="never", doc="Collector whose log holds the entry."),
    ReportColumn(name="seq", type="int", table="never", doc=_DOCS["seq"]),
    _recorded("entry_id"),
    _recorded("software_version"),
)


def plan(entries: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    """One row an entry, as recorded."""
    time = local_time(pl.col("event_time"), query.time_zone)
    in_order = entries.sort("event_time", "writer", "seq")
    return in_order.with_columns(time.alias("time"), pl.col("cost_nano_usd").alias("cost_usd")).select(
        c.name for c in COLUMNS
    )


ACTIVITY = Report(
    name="activity",
    title="Activity",
    question="Who did what to what, when, and how did it end?",
    filters=tuple(f.name for f in FILTERS),
    columns=COLUMNS,
    plan=plan,
)
