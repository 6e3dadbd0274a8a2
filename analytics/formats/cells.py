"""Values in, what a person reads out: headings, numbers with thousands separators, short times.

Invariant: money and counts are shown exactly, and what is not known is a dash, never a zero. How
cells become lines is left to `analytics.formats.layout`.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from analytics.columns import ReportColumn
from analytics.formats.layout import printable
from analytics.query import Query
from schemas.money import format_usd

UNKNOWN = "–"
_CLOCKS = {"date": "%Y-%m-%d", "hour": "%Y-%m-%d %H:%M", "time": "%Y-%m-%d %H:%M:%S"}

Value = str | int | None
Row = dict[str, Value]


def readable(column: ReportColumn) -> pl.Expr:
    """The column with its times as short local text; everything else stays."""
    value = pl.col(column.name)
    return value.dt.strftime(_CLOCKS[column.type]) if column.type in _CLOCKS else value


def cell(value: Value, column: ReportColumn) -> str:
    """One value as it stands in a table."""
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return printable(value)
    if column.type == "int":
        return f"{value:,}"
    whole, _, fraction = format_usd(value).partition(".")
    return f"{'-' if value < 0 else ''}{abs(int(whole)):,}.{fraction}"


def heading(column: ReportColumn) -> str:
    """The column's name in words, without the unit that the page makes plain."""
    words = column.name.removesuffix("_tokens").removesuffix("_usd").replace("_calls", "").replace("_", " ")
    return f"{words} USD" if column.type == "usd" else words


def total(columns: tuple[ReportColumn, ...], rows: list[Row]) -> Row:
    """The sums of the number columns: over what is known, and unknown when that is nothing."""
    sums: Row = {}
    for column in columns:
        known = [value for row in rows if isinstance(value := row[column.name], int)]
        sums[column.name] = sum(known) if known else None
    return sums


def period(query: Query) -> str:
    """The asked range in words, in the query's time zone."""
    start, end = (None if ns is None else _moment(ns, query.time_zone) for ns in (query.from_ns, query.to_ns))
    if start is None and end is None:
        return "all time"
    words = " to ".join(filter(None, (start, end)))
    prefix = "" if start and end else ("since " if start else "before ")
    return f"{prefix}{words} {query.time_zone}"


def _moment(ns: int, time_zone: str) -> str:
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)).astimezone(ZoneInfo(time_zone))
    text = f"{local:%Y-%m-%d %H:%M:%S}"
    return text.removesuffix(":00").removesuffix(" 00:00")
