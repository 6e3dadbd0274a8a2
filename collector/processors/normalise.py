"""Received attributes → the canonical columns of calls and tool executions.

Rows are split by dialect, each read with its own table, and joined again. Invariants: a count is
never the sum of two aliases; a token class never exceeds the class it is part of; a call without
counts is unmetered, never free.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.dialects.dialect import (
    CALL_OPERATIONS,
    SHARED_KEYS,
    TEXT_COLUMNS,
    TOKEN_COLUMNS,
    TOOL_OPERATION,
    Dialect,
)
from collector.pricing.rate import MAX_TOKENS
from schemas.tables import EntryKind

Bools = npt.NDArray[np.bool_]

_ERROR_STATUS = 2

# The conventions' provider names for spellings that differ by more than case.
_PROVIDER_ALIASES = {
    "azure": "azure.ai.openai",
    "aws": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "vertexai": "gcp.vertex_ai",
}


def normalise(received: pa.Table, dialects: tuple[Dialect, ...]) -> pa.Table:
    """Replace attribute-key columns by canonical ones, and add what they mean: kind, event_time, metered, rule."""
    claimed = np.zeros(len(received), np.bool_)
    parts = []
    for dialect in dialects:
        mine = _speaks(received, dialect) & ~claimed
        claimed |= mine
        if mine.any():
            parts.append(_read(received.filter(pa.array(mine)), dialect))
    if not claimed.all() or not parts:
        parts.append(_read(received.filter(pa.array(~claimed)), None))
    return _account(pa.concat_tables(parts))


def _speaks(received: pa.Table, dialect: Dialect) -> Bools:
    speaks = np.zeros(len(received), np.bool_)
    for mark in dialect.marks:
        if mark in received.column_names:
            speaks |= _numpy(pc.is_valid(received[mark]))
    for prefix in dialect.scopes:
        speaks |= _numpy(pc.fill_null(pc.starts_with(received["scope_name"], prefix), False))
    return speaks


def _read(rows: pa.Table, dialect: Dialect | None) -> pa.Table:
    """One dialect's rows with canonical columns; rows of no dialect get nulls."""
    names = [name for name in rows.column_names if "." not in name]
    result = rows.select(names)
    for column in (*TEXT_COLUMNS, *TOKEN_COLUMNS):
        kind = pa.int64() if column in TOKEN_COLUMNS else pa.string()
        keys = dialect.keys(column) if dialect else SHARED_KEYS.get(column, ())
        present = [rows[key] for key in keys if key in rows.column_names]
        value = pc.coalesce(*present) if present else pa.nulls(len(rows), kind)
        result = result.append_column(column, value)
    if dialect is None:
        return result.append_column("dialect", pa.nulls(len(rows), pa.string()))
    result = _set(result, "operation", _renamed(result["operation"], dialect.operations))
    result = _set(result, "provider", _renamed(pc.utf8_lower(result["provider"]), _PROVIDER_ALIASES))
    return result.append_column("dialect", pa.array([dialect.name]).take(pa.array(np.zeros(len(rows), np.int64))))


def _account(rows: pa.Table) -> pa.Table:
    """Decide what each row is, make its token classes consistent, and name the rule that did."""
    kind, rule = _kinds(rows)
    rows, adjusted = _consistent_tokens(rows)
    is_call = kind == EntryKind.CALL
    counted = _sum_positive(rows, "input_tokens") | _sum_positive(rows, "output_tokens")
    believed = counted & ~_numpy(pc.fill_null(pc.match_substring(rows["findings"], "token_count_out_of_range"), False))
    failed = _numpy(pc.equal(rows["status"], _ERROR_STATUS)) | _numpy(pc.is_valid(rows["error_type"]))
    metered = pa.array(believed, mask=~is_call | (failed & ~counted))
    rule = np.where(is_call & ~believed & ~failed, "no_usage", np.where(is_call & (adjusted != ""), adjusted, rule))
    rows = rows.append_column("entry_kind", pa.array(kind, pa.string()))
    rows = rows.append_column("outcome", pa.array(np.where(failed, "error", "ok"), pa.string()))
    rows = rows.append_column("metered", metered)
    rows = rows.append_column("accounting_rule", pa.array(rule, pa.string(), mask=rule == ""))
    rows = rows.append_column("event_time", _event_time(rows))
    model = pc.coalesce(rows["response_model"], rows["request_model"])
    return rows.append_column("model", model)


def _event_time(rows: pa.Table) -> pa.ChunkedArray:
    """When it happened, never after it was received: a clock that is ahead must not escape today's budget."""
    claimed = pc.if_else(pc.equal(rows["start_time"], 0), rows["received_time"], rows["start_time"])
    return pc.min_element_wise(claimed, rows["received_time"])


def _kinds(rows: pa.Table) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_]]:
    operation = rows["operation"]
    is_log = _numpy(pc.equal(rows["signal"], "logs"))
    calls = _numpy(pc.fill_null(pc.is_in(operation, pa.array(CALL_OPERATIONS)), False)) & ~is_log
    tools = _numpy(pc.fill_null(pc.equal(operation, TOOL_OPERATION), False)) & ~is_log
    # First-generation emitters name a model and count tokens without saying which operation it was.
    has_model = _numpy(pc.or_(pc.is_valid(rows["request_model"]), pc.is_valid(rows["response_model"])))
    has_usage = _numpy(pc.or_(pc.is_valid(rows["input_tokens"]), pc.is_valid(rows["output_tokens"])))
    implied = _numpy(pc.is_null(operation)) & has_model & has_usage & ~is_log
    kind = np.select(
        [calls | implied, tools, is_log], [EntryKind.CALL, EntryKind.TOOL, EntryKind.LOG], default=EntryKind.SPAN
    )
    return kind, np.select([calls, implied], ["span_usage", "usage_without_operation"], default="")


def _consistent_tokens(rows: pa.Table) -> tuple[pa.Table, npt.NDArray[np.str_]]:
    """Add a part to its whole where an emitter counts them apart (more cached than input), and mark the row.

    The conventions make cached tokens part of the input and reasoning part of the output; a part that
    is larger than its whole shows an emitter that does not.
    """
    counts = {name: _numpy(pc.fill_null(rows[name], 0)).astype(np.int64) for name in TOKEN_COLUMNS}
    absurd = np.zeros(len(rows), np.bool_)
    for values in counts.values():
        absurd |= values > MAX_TOKENS
    cached = np.where(absurd, 0, counts["cache_read_tokens"] + counts["cache_write_tokens"])
    add_cache = cached > counts["input_tokens"]
    add_reasoning = ~absurd & (counts["reasoning_tokens"] > counts["output_tokens"])
    rule = np.select(
        [add_cache & add_reasoning, add_cache, add_reasoning],
        ["cache_and_reasoning_added", "cache_added_to_input", "reasoning_added_to_output"],
        default="",
    )
    for whole, part, applies in (
        ("input_tokens", cached, add_cache),
        ("output_tokens", counts["reasoning_tokens"], add_reasoning),
    ):
        if applies.any():
            sums = np.where(applies, counts[whole] + part, counts[whole])
            missing = _numpy(pc.is_null(rows[whole])) & ~applies
            rows = _set(rows, whole, pa.array(sums, pa.int64(), mask=missing))
    if absurd.any():
        for name in TOKEN_COLUMNS:
            rows = _set(rows, name, pc.if_else(pa.array(absurd), pa.scalar(None, pa.int64()), rows[name]))
        rows = mark(rows, absurd, "token_count_out_of_range")
    return rows, rule


def mark(rows: pa.Table, where: Bools, finding: str) -> pa.Table:
    """Add a finding's name to the `findings` column of some rows."""
    joined = pc.binary_join_element_wise(rows["findings"], finding, ",", null_handling="skip")
    return _set(rows, "findings", pc.if_else(pa.array(where), joined, rows["findings"]))


def _sum_positive(rows: pa.Table, column: str) -> Bools:
    return _numpy(pc.greater(pc.fill_null(rows[column], 0), 0))


def _renamed(column: pa.ChunkedArray, names: Mapping[str, str]) -> pa.ChunkedArray:
    """Known words replaced, others kept."""
    if not names or column.null_count == len(column):
        return column
    known = pc.index_in(column, pa.array(list(names)))
    return pc.coalesce(pa.array(list(names.values())).take(known.combine_chunks()), column)


def _set(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def _numpy(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    chunk = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    array: npt.NDArray[Any] = chunk.to_numpy(zero_copy_only=False)
    return array
