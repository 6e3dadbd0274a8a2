"""Entries → which calls of which emitter are measured, and what must be switched on for the others.

Invariant: every record of a model call, and every tool execution, is in exactly one row; an emitter
that shows agents at work and no call in their service has a row too, because silence about calls is
what this report is asked for. The numbers are those of `analytics.measures`.
"""

import msgspec
import polars as pl

from analytics.advice import Seen, advise
from analytics.columns import ReportColumn
from analytics.measures import (
    CALLS,
    FAILED_CALLS,
    IS_CALL,
    IS_CORRECTION,
    METERED_CALLS,
    UNMETERED_CALLS,
    UNPRICED_CALLS,
    counted,
    entries_with,
    has_finding,
    local_time,
    sum_of_known,
)
from analytics.metric_tokens import KEY_AGENT, TOLD_INPUT, with_metrics
from analytics.query import Query
from analytics.report import Report
from schemas.accounting import MERGED, Role, Rule
from schemas.tables import LEDGER_COLUMNS, EntryKind

ASSUMED = "cache_write_lifetime_assumed"
"""The finding on a call whose cache-write lifetime the emitter did not send."""
# The operation whose record says that an agent worked, which it does by calling models.
_RUN = "invoke_agent"

_DOCS = {c.name: c.doc for c in LEDGER_COLUMNS}
# Column of the report → column of the ledger.
_DIMENSIONS = {
    "org": "org",
    "tenant": "tenant",
    "agent": "agent",
    "emitter": "scope_name",
    "version": "scope_version",
    "dialect": "dialect",
}


def _count_column(name: str, doc: str, unit: str, *, detail: bool = True) -> ReportColumn:
    return ReportColumn(name=name, type="int", unit=unit, doc=doc, table="detail" if detail else "always")


_IS_RECORD = IS_CALL | (
    pl.col("accounting_role").is_in([Role.AGGREGATE, Role.ECHO]).fill_null(value=False) & ~IS_CORRECTION
)
_IS_TOOL = pl.col("kind").eq_missing(EntryKind.TOOL)
_IS_TOOL_CORRECTION = pl.col("kind").eq_missing(EntryKind.CORRECTION) & ~IS_CORRECTION
_IS_RUN = pl.col("operation").eq_missing(_RUN) & ~IS_CORRECTION
_MERGED = pl.col("accounting_rule").is_in(MERGED).fill_null(value=False)
_TOOL_COUNT = (
    pl.when(_IS_TOOL)
    .then(pl.col("call_count").fill_null(1))
    .when(_IS_TOOL_CORRECTION)
    .then(pl.col("call_count").fill_null(0))
    .otherwise(0)
)

# Each number of a row, with its definition.
_NUMBERS: tuple[tuple[ReportColumn, pl.Expr], ...] = (
    (
        _count_column("records", "Records of calls, of their sums and of their repetitions.", "records", detail=False),
        entries_with(_IS_RECORD),
    ),
    (_count_column("calls", CALLS.column.doc, "calls", detail=False), CALLS.expression),
    (_count_column("metered", METERED_CALLS.column.doc, "calls", detail=False), METERED_CALLS.expression),
    (_count_column("unmetered", UNMETERED_CALLS.column.doc, "calls", detail=False), UNMETERED_CALLS.expression),
    (
        _count_column("merged", "Records of a call that another record counts.", "records"),
        entries_with((IS_CALL & (pl.col("call_count") == 0) & _MERGED).fill_null(value=False))
        + entries_with((IS_CORRECTION & (pl.col("call_count") == -1) & _MERGED).fill_null(value=False)),
    ),
    (
        _count_column(
            "aggregate_only",
            "Those of `calls` that are sums over an agent's run, because nothing below is metered.",
            "calls",
        ),
        # Taken back under another rule, by role still the same.
        counted(
            pl.col("accounting_rule").eq_missing(Rule.AGGREGATE_ONLY)
            | pl.col("accounting_role").eq_missing(Role.AGGREGATE)
        ),
    ),
    (_count_column("unknown_model", UNPRICED_CALLS.column.doc, "calls"), UNPRICED_CALLS.expression),
    (_count_column("failed", FAILED_CALLS.column.doc, "calls"), FAILED_CALLS.expression),
    (
        _count_column("assumed", "Those of `calls` whose cache-write lifetime was not sent and is assumed.", "calls"),
        counted(has_finding(ASSUMED)),
    ),
    (
        _count_column("tool_calls", "Tool executions, each counted once.", "executions"),
        _TOOL_COUNT.sum().cast(pl.Int64),
    ),
)

_METRICS = tuple(
    ReportColumn(
        name=f"metric_{kind}_tokens",
        type="int",
        unit="tokens",
        doc=f"{what} tokens that the emitter's metrics tell of, to compare: in no sum of calls. Metrics name no agent,"
        " so they stand once, at the one of the service that tells of most; null without such metrics.",
        table="detail",
    )
    for kind, what in (("input", "Input"), ("output", "Output"))
)

COLUMNS: tuple[ReportColumn, ...] = (
    *(column for column, _ in _NUMBERS),
    *_METRICS,
    ReportColumn(name="first_seen", type="time", doc="Time of the first record.", table="never"),
    ReportColumn(name="last_seen", type="time", doc="Time of the last record.", table="detail"),
    ReportColumn(
        name="advice",
        type="text",
        doc="What is not fully measured, and what to change in the emitter's set-up.",
        table="line",
    ),
)


_ADVICE = (
    pl.struct(*Seen.__struct_fields__)
    .map_elements(lambda row: advise(msgspec.convert(row, Seen)), return_dtype=pl.String)
    .alias("advice")
)


def plan(entries: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    """One row a group, sorted by the columns of `--by`; what is not known sorts last."""
    emitters = with_metrics(_emitters(entries), entries, query).with_columns(
        pl.col(*(column.name for column, _ in _NUMBERS), "_runs").fill_null(0)
    )
    silent = (pl.col("records").sum().over("org", "tenant", "service_name") == 0) & (pl.col("_runs") > 0)
    seen = emitters.with_columns(pl.when(silent).then("_runs").otherwise(0).alias("uncalled")).filter(
        pl.any_horizontal(pl.col(name) != 0 for name in ("records", "calls", "merged", "tool_calls", "uncalled"))
        | pl.any_horizontal(pl.col(column.name) > 0 for column in _METRICS).fill_null(value=False)
    )
    groups = seen.group_by(query.by).agg(
        *(pl.col(column.name).sum() for column, _ in _NUMBERS),
        *(sum_of_known(pl.col(column.name)) for column in _METRICS),
        pl.col("uncalled", "untold").sum(),
        pl.col("dialect").unique().sort().alias("dialects"),
        local_time(pl.col("_first").min(), query.time_zone).alias("first_seen"),
        local_time(pl.col("_last").max(), query.time_zone).alias("last_seen"),
    )
    advised = groups.with_columns(_ADVICE)
    return advised.select(*query.by, *(c.name for c in COLUMNS)).sort(query.by, nulls_last=True)


def _emitters(entries: pl.LazyFrame) -> pl.LazyFrame:
    """The numbers of each emitter in each service of an agent."""
    keys = [pl.col(source).alias(name) for name, source in _DIMENSIONS.items()]
    seen = entries.filter(_IS_RECORD | _IS_TOOL | _IS_RUN | pl.col("kind").eq_missing(EntryKind.CORRECTION))
    return seen.group_by(*keys, KEY_AGENT, "service_name").agg(
        TOLD_INPUT,
        *(expression.alias(column.name) for column, expression in _NUMBERS),
        entries_with(_IS_RUN).alias("_runs"),
        pl.col("event_time").min().alias("_first"),
        pl.col("event_time").max().alias("_last"),
    )


COVERAGE = Report(
    name="coverage",
    title="Coverage",
    question="Which calls of which emitter are measured, and what must be switched on?",
    filters=("org", "tenant", "agent"),
    columns=COLUMNS,
    dimensions=tuple(ReportColumn(name=name, type="text", doc=_DOCS[source]) for name, source in _DIMENSIONS.items()),
    default_by=tuple(_DIMENSIONS),
    plan=plan,
)
