"""Answer → a page for a person: what was asked, the rows, their sum, and how complete they are.

Invariant: the last line is the completeness of the report. Piped output is never shortened; on a
terminal the page fits its width. Exact bytes for machines are left to the other formats.
"""

import io
from collections.abc import Iterator
from itertools import islice

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from analytics.answer import Answer
from analytics.columns import ReportColumn
from analytics.formats.cells import UNKNOWN, Row, cell, heading, period, readable, total
from analytics.formats.destination import Destination
from analytics.formats.layout import GAP, Grid, arrange, printable

# A page is held in memory to be measured, and nobody reads a longer one.
MAX_ROWS = 10_000

_ALARMING = {"outcome": ("deny", "denied", "error", "blocked"), "verdict": ("shadow", "missing_on_bill", "differs")}
_UNMEASURED = ("unmetered_calls", "unmetered")
# Piped lines are as long as they are; rich wants a number.
_UNBOUNDED_CELLS = 1_000_000


def write(answer: Answer, to: Destination) -> None:
    """Print the page; styled and shortened only on a terminal, and in colour only without NO_COLOR."""
    page = _Page(to.width)
    by = f" by {', '.join(answer.query.by)}" if answer.query.by else ""
    page.line(Text(f"{answer.title}{by} · {period(answer.query)}", "bold"))
    page.line()
    rows = list(islice(_rows(answer), MAX_ROWS + 1))
    if rows:
        _print_rows(page, answer, rows[:MAX_ROWS], summed=answer.summed and len(rows) <= MAX_ROWS)
    else:
        page.line(Text("Nothing is recorded that matches.", "dim"))
    if len(rows) > MAX_ROWS:
        page.line(Text(f"The first {MAX_ROWS:,} rows; csv, json and parquet have all of them.", "dim"))
    page.line()
    page.folded(Text(answer.completeness.sentence(), "green" if answer.completeness.balanced else "bold red"))
    to.data.write(page.encode())


class _Page:
    """Lines of styled text on a terminal of `width` cells, or of any length without one."""

    def __init__(self, width: int | None) -> None:
        self.width = width
        self._text = io.StringIO()
        self._console = Console(
            file=self._text, width=width or _UNBOUNDED_CELLS, force_terminal=width is not None, highlight=False
        )

    def line(self, text: Text | str = "") -> None:
        self._console.print(text, no_wrap=True, overflow="ignore", crop=False)

    def folded(self, text: Text, *, indent: str = "") -> None:
        """As many lines as the words need."""
        room = _UNBOUNDED_CELLS if self.width is None else max(20, self.width - len(indent))
        for part in text.wrap(self._console, room):
            part.rstrip()
            self.line(Text(indent) + part)

    def encode(self) -> bytes:
        return self._text.getvalue().encode()


def _rows(answer: Answer) -> Iterator[Row]:
    cells = [readable(column) for column in answer.columns]
    for batch in answer.batches:
        yield from batch.select(cells).iter_rows(named=True)


def _print_rows(page: _Page, answer: Answer, rows: list[Row], *, summed: bool) -> None:
    columns = tuple(c for c in answer.columns if c.table == "always" or (c.table == "detail" and _speaks(c, rows)))
    notes = [c.name for c in answer.columns if c.table == "line"]
    header = {c.name: heading(c) for c in columns}
    body = [{c.name: cell(row[c.name], c) for c in columns} for row in rows]
    sums = [_sums(columns, rows)] if summed and len(rows) > 1 else []
    grid = arrange(
        columns, {c.name: max(cell_len(r[c.name]) for r in (header, *body, *sums)) for c in columns}, page.width
    )
    rule = Text("─" * grid.width, "dim")
    page.line(Text(GAP.join(grid.line(header)).rstrip(), "bold"))
    page.line(rule)
    for row, cells in zip(rows, body, strict=True):
        page.line(_styled(grid, cells))
        for name in notes:
            if row[name]:
                page.folded(Text(printable(str(row[name])), "dim"), indent=" " * (grid.widths[0] + len(GAP)))
    for cells in sums:
        page.line(rule)
        page.line(Text(GAP.join(grid.line(cells)).rstrip(), "bold"))
    if grid.left_out:
        page.folded(Text(f"Not shown at this width: {', '.join(grid.left_out)}.", "dim"))


def _speaks(column: ReportColumn, rows: list[Row]) -> bool:
    return any(row[column.name] for row in rows)


def _sums(columns: tuple[ReportColumn, ...], rows: list[Row]) -> dict[str, str]:
    sums = total(columns, rows)
    cells = {c.name: cell(sums[c.name], c) if c.is_number else "" for c in columns}
    return cells | {columns[0].name: "total"}


def _styled(grid: Grid, cells: dict[str, str]) -> Text:
    line = Text()
    for column, shown in zip(grid.columns, grid.line(cells), strict=True):
        line.append(shown, _style(column, cells[column.name]))
        line.append(GAP)
    line.rstrip()
    return line


def _style(column: ReportColumn, text: str) -> str | None:
    """Colour is for what somebody should look at; everything else is plain."""
    if text == UNKNOWN:
        return "dim"
    if text in _ALARMING.get(column.name, ()):
        return "red"
    return "yellow" if column.name in _UNMEASURED and text != "0" else None
