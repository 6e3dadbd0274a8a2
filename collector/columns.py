"""Columns of Arrow tables → other columns, without a Python step for each row.

Invariant: a function that Python must run is asked once a distinct value. What columns mean is left
to the steps.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def one(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def numpy_of(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """A column without nulls, as NumPy has it."""
    array: npt.NDArray[Any] = one(values).to_numpy(zero_copy_only=False)
    return array


def replaced(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The table with other values in a column it has."""
    return table.set_column(table.column_names.index(name), name, values)


def constant(text: str | None, count: int) -> pa.Array:
    """A column that says the same in every row."""
    return pa.repeat(pa.scalar(text, pa.string()), count)


def some(table: pa.Table, where: Bools) -> pa.Table:
    """The rows there; the table itself where that is all of them."""
    return table if where.all() else table.filter(pa.array(where))


def is_one_of(column: pa.Array | pa.ChunkedArray, words: tuple[str, ...]) -> Bools:
    """Where a text is one of these."""
    return numpy_of(pc.is_in(column, pa.array(words, pa.string())))


def by_distinct(
    column: pa.Array | pa.ChunkedArray, ask: Callable[[str], object], kind: pa.DataType | None = None
) -> pa.Array:
    """What a function answers to each text; it is asked once a distinct text, and null stays null."""
    encoded = one(column).dictionary_encode()
    answers = pa.array([ask(text) for text in encoded.dictionary.to_pylist()], kind or pa.string())
    return answers.take(encoded.indices)


def stirred(words: Words) -> Words:
    """Words whose every bit hangs on all bits (the finaliser of splitmix64: Steele, Lea, Flood 2014; variant 13)."""
    words = (words ^ (words >> np.uint64(30))) * _MULTIPLIERS[0]
    words = (words ^ (words >> np.uint64(27))) * _MULTIPLIERS[1]
    return words ^ (words >> np.uint64(31))


def mark(rows: pa.Table, where: Bools, finding: str) -> pa.Table:
    """Add a finding's name to the `findings` column of some rows."""
    if not where.any():
        return rows
    joined = pc.binary_join_element_wise(rows["findings"], finding, ",", null_handling="skip")
    return replaced(rows, "findings", pc.if_else(pa.array(where), joined, rows["findings"]))
