"""Compared groups → documented columns that every report format can write.

Invariant: what a side does not state is null; a difference is the bill less the ledger, so what is
positive was paid for and not seen.
"""

from collections.abc import Sequence

import polars as pl

from analytics.columns import ReportColumn
from analytics.reconcile.compare import Group
from analytics.reconcile.shapes import QUANTITIES

PLACE_COLUMNS: tuple[ReportColumn, ...] = (
    ReportColumn(name="day", type="date", doc="Day of the usage; UTC's but for a generic export in --time-zone."),
    ReportColumn(name="model", type="text", doc="Model in the ledger's spelling, where the ledger has it."),
    ReportColumn(name="key", type="text", doc="Provider key, of the rows that list what each key was billed."),
)

_UNITS = {"calls": "calls", "cost": "USD"}
_WORDS = {"cache_read": "Cached input", "cache_write": "Input written to the cache", "cost": "Cost"}


def _sides(quantity: str) -> tuple[ReportColumn, ...]:
    unit, word = _UNITS.get(quantity, "tokens"), _WORDS.get(quantity, quantity.capitalize())
    is_money = quantity == "cost"

    def column(side: str, doc: str) -> ReportColumn:
        name = f"{quantity}_{side}{'_usd' if is_money else ''}"
        return ReportColumn(name=name, type="usd" if is_money else "int", unit=unit, doc=doc, table="detail")

    return (
        column("billed", f"{word} on the bill; null when the export does not state it."),
        column("recorded", f"{word} in the ledger, as in `spend`; null when it is known of no call."),
        column("difference", f"{word} on the bill less that in the ledger; null when the export does not state it."),
    )


COLUMNS: tuple[ReportColumn, ...] = (
    ReportColumn(name="verdict", type="text", doc="explained, shadow, missing_on_bill, differs or not_compared."),
    *_sides("cost"),
    *(column for quantity in QUANTITIES if quantity != "cost" for column in _sides(quantity)),
    ReportColumn(
        name="unmetered_calls",
        type="int",
        unit="calls",
        doc="Calls of the ledger whose usage was not sent: on the bill, and not in the tokens recorded.",
        table="detail",
    ),
    ReportColumn(
        name="unpriced_calls",
        type="int",
        unit="calls",
        doc="Calls of the ledger without a known price: on the bill, and not in the cost recorded.",
        table="detail",
    ),
    ReportColumn(
        name="reason", type="text", doc="Likely reason of a difference, where the numbers show it.", table="line"
    ),
)

_POLARS = {"text": pl.String(), "date": pl.Date(), "int": pl.Int64(), "usd": pl.Int128()}


def columns_of(by: tuple[str, ...]) -> tuple[ReportColumn, ...]:
    """The columns of an answer by these places, in order."""
    places = {column.name: column for column in PLACE_COLUMNS}
    return (*(places[name] for name in by), *COLUMNS)


def frame(groups: Sequence[Group], by: tuple[str, ...]) -> pl.DataFrame:
    """The groups as rows."""
    columns = columns_of(by)
    rows = [_row(group) for group in groups]
    return pl.DataFrame(
        {c.name: pl.Series([row[c.name] for row in rows], dtype=_POLARS[c.type]) for c in columns},
        schema={c.name: _POLARS[c.type] for c in columns},
    )


def _row(group: Group) -> dict[str, object]:
    row: dict[str, object] = {"day": group.day, "model": group.model, "key": group.key}
    row |= {"verdict": group.verdict, "reason": group.reason or None}
    recorded = None if group.recorded is None else group.recorded.amounts
    differences = group.differences
    for quantity in QUANTITIES:
        billed, known, difference = (column.name for column in _sides(quantity))
        row[billed] = group.billed.get(quantity)
        row[known] = None if recorded is None else recorded.get(quantity, 0 if quantity == "calls" else None)
        row[difference] = differences.get(quantity)
    row["unmetered_calls"] = None if group.recorded is None else group.recorded.unmetered
    row["unpriced_calls"] = None if group.recorded is None else group.recorded.unpriced
    return row
