"""Answer → RFC 4180 bytes a spreadsheet can open without running anything.

Invariant: a text cell never begins as a formula; numbers, dates and times are ours and need no guard,
so a negative cost stays a number. Completeness goes beside the data, because CSV has no place for it.
"""

import polars as pl

from analytics.answer import Answer
from analytics.columns import ReportColumn, as_text
from analytics.formats.destination import Destination

# OWASP "CSV Injection": what spreadsheets take for the start of a formula, with the full-width forms
# that some of them fold to ASCII.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

# A few MB of text at once.
_PART_ROWS = 10_000


def write(answer: Answer, to: Destination) -> None:
    """Header, rows, CRLF line ends; an unknown value is an empty cell and empty text a quoted one."""
    cells = [_cell(column) for column in answer.columns]
    header = pl.DataFrame(schema={c.name: pl.String for c in answer.columns})
    to.data.write(header.write_csv(line_terminator="\r\n").encode())
    for batch in answer.batches:
        # Written by us and not by the data frame library, which loses what went wrong with a file.
        for part in batch.iter_slices(_PART_ROWS):
            to.data.write(part.select(cells).write_csv(include_header=False, line_terminator="\r\n").encode())
    # On a terminal both go to the same screen, in this order.
    to.data.flush()
    to.notes.write(answer.completeness.sentence() + "\n")


def _cell(column: ReportColumn) -> pl.Expr:
    text = as_text(column)
    if column.type != "text":
        return text
    starts = pl.any_horizontal(*(text.str.starts_with(start) for start in FORMULA_STARTS))
    return pl.when(starts).then(pl.concat_str(pl.lit("'"), text)).otherwise(text).alias(column.name)
