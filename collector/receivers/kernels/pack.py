"""Cells of the wanted values → Arrow buffers, in kernels that Numba compiles.

Invariant: a column's part of the buffer is written by the cells of that column alone, and a column
without cells takes none. What a cell is, is said in `walk`. Importing this module compiles it.
"""

from collections.abc import Callable

import numpy as np

from collector.receivers.kernels import plain, walk
from collector.receivers.kernels.plain import Grid, Vector, kernel
from collector.receivers.kernels.walk import (
    COLUMN_BITS,
    FIRST,
    LENGTH_BITS,
    NUMBERS,
    ROWS,
    SLACK_BYTES,
    USED,
    column_of,
    size_of,
)

# What is known of a column once it is laid out: its cells and bytes of text; where in the buffer its offsets, validity
# bits and values begin; the first row and the first byte of text not yet written.
CELLS, BYTES, OFFSETS, BITS, VALUES, _NEXT_ROW, _NEXT_BYTE, _LAYOUT = range(8)


@kernel
def _place(sheet: Grid, layout: Grid) -> int:
    """Count the columns' cells and give each column its parts of a buffer, whose size is returned."""
    for cell in range(sheet[FIRST, 0], sheet[USED, 0]):
        column = column_of(sheet[cell, 0])
        layout[column, CELLS] += 1
        if column < sheet[NUMBERS, 0]:
            layout[column, BYTES] += size_of(sheet[cell, 1])
    rows, at = sheet[ROWS, 0], 0
    for column in range(layout.shape[0]):
        if layout[column, CELLS] == 0:
            continue
        layout[column, BITS] = at
        at += (rows + 63) // 64 * 8
        if column < sheet[NUMBERS, 0]:
            layout[column, OFFSETS] = at
            at += (rows + 2) // 2 * 8
        layout[column, VALUES] = at
        at += (layout[column, BYTES] + SLACK_BYTES + 7) // 8 * 8 if column < sheet[NUMBERS, 0] else 8 * rows
    return at


@kernel
def _spread(sheet: Grid, arena: Vector, layout: Grid, buffer: Vector) -> None:
    """Write every cell to its column's parts of the buffer, which is all zeros."""
    for cell in range(sheet[FIRST, 0], sheet[USED, 0]):
        column, row, value = column_of(sheet[cell, 0]), sheet[cell, 0] >> COLUMN_BITS, sheet[cell, 1]
        buffer[layout[column, BITS] + (row >> 3)] |= 1 << (row & 7)
        if column < sheet[NUMBERS, 0]:
            _pad(layout, column, row, buffer)
            size, at = size_of(value), layout[column, _NEXT_BYTE]
            plain.copy(arena, value >> LENGTH_BITS, size, buffer, layout[column, VALUES] + at)
            layout[column, _NEXT_BYTE] = at + size
            _pad(layout, column, row + 1, buffer)
        else:
            plain.put(buffer, layout[column, VALUES] + 8 * row, value, 8)
    for column in range(sheet[NUMBERS, 0]):
        if layout[column, CELLS] > 0:
            _pad(layout, column, sheet[ROWS, 0], buffer)


@kernel
def _pad(layout: Grid, column: int, end: int, buffer: Vector) -> None:
    """Offsets of the rows up to `end` that have none yet: their text ends where the last one ended."""
    for row in range(layout[column, _NEXT_ROW], end):
        plain.put(buffer, layout[column, OFFSETS] + 4 * (row + 1), layout[column, _NEXT_BYTE], 4)
    layout[column, _NEXT_ROW] = end


def _entry(stamp: int) -> Callable[[int, Grid, Vector], tuple[Vector, Grid]]:
    def pack(columns: int, sheet: Grid, arena: Vector) -> tuple[Vector, Grid]:
        """All cells as Arrow buffers: one block of bytes, and by column where in it what lies."""
        _ = stamp
        layout = np.zeros((columns, _LAYOUT), np.int64)
        buffer = np.zeros(_place(sheet, layout), np.uint8)
        _spread(sheet, arena, layout, buffer)
        return buffer, layout

    return plain.entry("Tuple((uint8[::1], int64[:, ::1]))(int64, int64[:, ::1], uint8[::1])", pack)


pack = _entry(plain.stamp(plain, walk))
