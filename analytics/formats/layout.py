"""Cells in, lines of a terminal's width out.

Invariant: without a width nothing is shortened; with one, what had to go is named. Text that came
with a payload cannot move the cursor, colour the screen or reverse the writing direction. What is in
the cells is left to `analytics.formats.table`.
"""

import msgspec
from rich.cells import cell_len, set_cell_size

from analytics.columns import ReportColumn

GAP = "  "
# A text column is never narrower than this: enough to tell two names apart.
MIN_TEXT_CELLS = 8


class Grid(msgspec.Struct, frozen=True):
    """Columns that are shown, the width of each in terminal cells, and the names of those left out."""

    columns: tuple[ReportColumn, ...]
    widths: tuple[int, ...]
    left_out: tuple[str, ...]

    @property
    def width(self) -> int:
        """Terminal cells of a whole line."""
        return _line_width(self.widths)

    def line(self, cells: dict[str, str]) -> list[str]:
        """One row's cells padded or shortened to their columns' widths, numbers flush right."""
        return [
            _fit(cells[c.name], width, flush_right=c.is_number)
            for c, width in zip(self.columns, self.widths, strict=True)
        ]


def arrange(columns: tuple[ReportColumn, ...], natural: dict[str, int], width: int | None) -> Grid:
    """Choose columns and widths: details leave first, from the last; then the widest text is shortened."""
    shown, left_out = list(columns), list[str]()
    if width is not None:
        for column in reversed(columns):
            if column.table == "detail" and _line_width(tuple(natural[c.name] for c in shown)) > width:
                shown.remove(column)
                left_out.insert(0, column.name)
    widths = {c.name: natural[c.name] for c in shown}
    texts = [c.name for c in shown if c.type == "text"]
    while width is not None and texts and _line_width(tuple(widths.values())) > width:
        widest = max(texts, key=lambda name: widths[name])
        if widths[widest] <= MIN_TEXT_CELLS:
            break
        widths[widest] -= 1
    return Grid(tuple(shown), tuple(widths.values()), tuple(left_out))


def printable(text: str) -> str:
    """The text with everything a terminal could obey written as an escape sequence for reading."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _line_width(widths: tuple[int, ...]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _fit(text: str, width: int, *, flush_right: bool) -> str:
    missing = width - cell_len(text)
    if missing < 0:
        return set_cell_size(text, width - 1) + "…"
    return " " * missing + text if flush_right else text + " " * missing
