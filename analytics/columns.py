"""One documented column in, its form in every output format out.

Invariant: a column has one type, and the type alone decides how it is written: money stays an
integer number of nano-USD in frames and becomes text only through `schemas.money`. Which columns a
report has is left to `analytics.reports`.
"""

from typing import Literal

import msgspec
import polars as pl
import pyarrow as pa

from schemas.money import format_usd

ColumnType = Literal["text", "int", "usd", "date", "hour", "time"]

ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "usd": pa.decimal128(38, 9),
    "date": pa.date32(),
    "hour": pa.timestamp("ns", tz="UTC"),
    "time": pa.timestamp("ns", tz="UTC"),
}

# RFC 3339 writes UTC as Z; strftime only knows +00:00.
_CLOCK_FORMATS = {"hour": "%Y-%m-%dT%H:%M:%S%:z", "time": "%Y-%m-%dT%H:%M:%S%.9f%:z"}


class ReportColumn(msgspec.Struct, frozen=True, kw_only=True):
    """One documented column of a report.

    `table` is its place in the table format, the only one without room for everything: always there;
    `detail` when it says something and fits; `line` below its row; or never. All other formats have it.
    """

    name: str
    type: ColumnType
    doc: str
    unit: str = ""
    table: Literal["always", "detail", "line", "never"] = "always"

    @property
    def is_number(self) -> bool:
        """Numbers are set flush right and can be added up."""
        return self.type in ("int", "usd")


def as_text(column: ReportColumn) -> pl.Expr:
    """The column as CSV and JSON show it: nine decimal places of USD, ISO dates, RFC 3339 times; integers stay."""
    value = pl.col(column.name)
    if column.type == "usd":
        return value.map_elements(format_usd, return_dtype=pl.String)
    if column.type == "date":
        return value.dt.to_string("%Y-%m-%d")
    if column.type in _CLOCK_FORMATS:
        return value.dt.strftime(_CLOCK_FORMATS[column.type]).str.replace("+00:00", "Z", literal=True)
    return value


def to_arrow(frame: pl.DataFrame, columns: tuple[ReportColumn, ...]) -> pa.Table:
    """The frame under `arrow_schema(columns)`, exactly: no number passes through a float."""
    arrays = [_arrow_array(frame[c.name], c) for c in columns]
    return pa.Table.from_arrays(arrays, schema=arrow_schema(columns))


def arrow_schema(columns: tuple[ReportColumn, ...]) -> pa.Schema:
    """Typed, with each column's description and unit as field metadata."""
    return pa.schema(
        [pa.field(c.name, ARROW_TYPES[c.type], metadata={"description": c.doc, "unit": c.unit}) for c in columns]
    )


def _arrow_array(values: pl.Series, column: ReportColumn) -> pa.Array:
    if column.type != "usd":
        return values.to_arrow().cast(ARROW_TYPES[column.type])
    # Nano-USD with scale 0 and USD with scale 9 have the same 128-bit words, so only the type changes.
    nano = values.cast(pl.Decimal(38, 0)).to_arrow()
    return pa.Array.from_buffers(ARROW_TYPES["usd"], len(nano), nano.buffers(), offset=nano.offset)
