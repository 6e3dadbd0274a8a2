"""Received attributes → canonical columns, each record read with the table of the first dialect it speaks.

Invariant: where several keys feed one column the first that is present wins, and counts are never
added up. Attribute columns end here: what goes on is what every row has, and canonical columns.
"""

from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.columns import Bools, by_distinct, constant, is_one_of, numpy_of, replaced, some
from collector.dialects.dialect import (
    ECHO_OPERATION,
    SHARED_KEYS,
    TEXT_COLUMNS,
    TOKEN_COLUMNS,
    Dialect,
    wanted_keys,
)

AGENT_OPERATION = "invoke_agent"
_LONGEST_BLANK = 4


def by_dialect(received: pa.Table, dialects: tuple[Dialect, ...]) -> Iterator[tuple[pa.Table, Dialect | None]]:
    """The rows of each dialect that is spoken, then those of none, with all their columns."""
    claimed = np.zeros(len(received), np.bool_)
    scopes = _Distinct(received["scope_name"])
    is_log = is_one_of(received["signal"], ("logs",))
    events = _Distinct(received["name"].filter(pa.array(is_log)))
    for dialect in dialects:
        mine = _speaks(received, dialect, scopes) & ~claimed
        if dialect.events:
            mine[is_log] |= events.where(dialect.events.__contains__) & ~claimed[is_log]
        if mine.any():
            claimed |= mine
            yield some(received, mine), dialect
    if not claimed.all() or not len(received):
        yield some(received, ~claimed), None


def attribute_keys(dialects: tuple[Dialect, ...]) -> frozenset[str]:
    """The columns that are attributes; an emitter's key may bear the name of a canonical column."""
    return frozenset(wanted_keys(dialects))


def read(rows: pa.Table, dialect: Dialect | None, attributes: frozenset[str]) -> pa.Table:
    """One dialect's rows with canonical columns in place of attributes; rows of no dialect get nulls."""
    result = rows.select([name for name in rows.column_names if name not in attributes and "." not in name])
    for column in (*TEXT_COLUMNS, *TOKEN_COLUMNS):
        keys = dialect.keys(column) if dialect else SHARED_KEYS.get(column, ())
        kind = pa.int64() if column in TOKEN_COLUMNS else pa.string()
        result = result.append_column(column, _first(rows, keys, kind))
    if dialect is not None:
        result = replaced(result, "operation", _operation(result, dialect))
        if dialect.agent_from_span_name is not None:
            result = replaced(result, "claimed_agent", _agent(result, dialect.agent_from_span_name))
    return result.append_column("dialect", constant(dialect.name if dialect else None, len(rows)))


class _Distinct:
    """A column's distinct texts, and which rows have each."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        encoded = column.combine_chunks().dictionary_encode()
        self._texts: list[str] = encoded.dictionary.to_pylist()
        # Nulls get a number of their own, behind all others.
        self._numbers = numpy_of(pc.fill_null(encoded.indices, len(self._texts)))

    def where(self, test: Callable[[str], bool]) -> Bools:
        """The rows whose text passes; never those without."""
        passed = np.array([*(test(text) for text in self._texts), False], np.bool_)
        found: Bools = passed[self._numbers]
        return found


def _speaks(received: pa.Table, dialect: Dialect, scopes: _Distinct) -> Bools:
    speaks = scopes.where(lambda name: name.startswith(dialect.scopes)) if dialect.scopes else None
    speaks = np.zeros(len(received), np.bool_) if speaks is None else speaks
    for mark in dialect.marks:
        if mark in received.column_names:
            speaks |= numpy_of(pc.is_valid(received[mark]))
    return speaks


def _first(rows: pa.Table, keys: tuple[str, ...], kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    present = [rows[key] for key in keys if key in rows.column_names]
    if not present:
        return pa.nulls(len(rows), kind)
    if kind == pa.string():
        present = [_said(column) for column in present]
    first = present[0] if len(present) == 1 else pc.coalesce(*present)
    # MLflow writes each value as JSON, texts too.
    if kind == pa.string() and pc.any(pc.starts_with(first, '"')).as_py():
        return by_distinct(first, _unquoted)
    return first


def _said(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without blank texts: who writes one says nothing, and must not hide another key that says something."""
    shortest = pc.min(pc.binary_length(column)).as_py()
    if shortest is None or shortest > _LONGEST_BLANK:
        return column
    blank = pc.or_(pc.equal(column, ""), pc.utf8_is_space(column))
    return pc.if_else(blank, pa.scalar(None, pa.string()), column)


def _unquoted(text: str) -> str:
    try:
        return msgspec.json.decode(text, type=str)
    except (msgspec.DecodeError, UnicodeError):
        return text


def _operation(rows: pa.Table, dialect: Dialect) -> pa.Array | pa.ChunkedArray:
    """The record's own word in the conventions' words, else what its name stands for.

    A name that stands for a repetition is believed before the word: the log event that tells a call
    again carries the call's operation.
    """
    operation = rows["operation"]
    if dialect.operations and operation.null_count < len(rows):
        operation = by_distinct(operation, lambda word: dialect.operations.get(word, word))
    for signal, names in (("traces", dialect.span_names), ("logs", dialect.events)):
        if names:
            named = pc.if_else(pc.equal(rows["signal"], signal), by_distinct(rows["name"], names.get), None)
            repeated = pc.fill_null(pc.equal(named, ECHO_OPERATION), False)
            operation = pc.if_else(repeated, named, pc.coalesce(operation, named))
    return operation


def _agent(rows: pa.Table, suffixes: tuple[str, ...]) -> pa.Array | pa.ChunkedArray:
    """The agent's name, else of an agent's span its own name without the first suffix that fits."""
    agents = pc.equal(rows["operation"], AGENT_OPERATION)
    named = pc.if_else(pc.fill_null(agents, False), by_distinct(rows["name"], _without(suffixes)), None)
    return pc.coalesce(rows["claimed_agent"], named)


def _without(suffixes: tuple[str, ...]) -> Callable[[str], str | None]:
    def shortened(name: str) -> str | None:
        suffix = next((suffix for suffix in suffixes if name.endswith(suffix)), "")
        return name.removesuffix(suffix) or None

    return shortened
