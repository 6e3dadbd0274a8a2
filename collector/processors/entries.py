"""Priced rows → ledger columns (all but `seq`), and the sums a booking needs.

Column order and types are `schemas.tables.LEDGER_SCHEMA`; a column no step filled is null.
"""

import os
from collections.abc import Iterable, Mapping
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.columns import constant, mark, numpy_of
from collector.pricing.rate import MAX_TOKENS
from schemas.tables import LEDGER_SCHEMA, EntryKind

ENTRY_SCHEMA = pa.schema([field for field in LEDGER_SCHEMA if field.name != "seq"])
PRICE_COLUMNS = tuple(
    name
    for name in ENTRY_SCHEMA.names
    if name.endswith("_price") or name in {"cost_nano_usd", "pricing_basis", "price_source", "price_digest"}
)
"""What `processors.price` adds to a row."""
SOFTWARE_VERSION = version("spanward")
SLOT_NS = 15 * 60 * 1_000_000_000

_SPAN_KINDS = pa.array([None, "internal", "server", "client", "producer", "consumer"])
_STATUSES = pa.array(["unset", "ok", "error"])
_ACTIONS = {EntryKind.CALL: "llm.call", EntryKind.TOOL: "tool.call"}
_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), "S2")
_DASHES = (8, 13, 18, 23)


def entries(rows: pa.Table, conflict: npt.NDArray[np.bool_]) -> pa.Table:
    """One ledger row for each kept row."""
    count = len(rows)
    if conflict.any():
        rows = mark(rows, conflict, "conflicting_duplicate")
    kind = rows["entry_kind"].combine_chunks()
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        name: rows[name] for name in ENTRY_SCHEMA.names if name in rows.column_names
    }
    columns |= {
        "kind": kind,
        "actor": pc.binary_join_element_wise(
            pc.binary_join_element_wise("agent:", rows["org"], ""), rows["tenant"], rows["agent"], "/"
        ),
        "action": _actions(kind),
        "subject": pc.coalesce(rows["tool_name"], rows["model"]),
        "trace_id": _hex_column(rows["trace_id"], 16),
        "span_id": _hex_column(rows["span_id"], 8),
        "parent_span_id": _hex_column(rows["parent_span_id"], 8),
        "span_name": rows["name"],
        "span_kind": _SPAN_KINDS.take(_bounded(rows["kind"], 5)),
        "status": _STATUSES.take(_bounded(rows["status"], 2)),
        "software_version": constant(SOFTWARE_VERSION, count),
    }
    return _table(columns, count)


def row_entries(rows: Iterable[Mapping[str, object]]) -> pa.Table:
    """Ledger rows of what did not arrive as telemetry: events, and corrections of what did."""
    return pa.Table.from_pylist(list(rows), schema=ENTRY_SCHEMA)


def weighed(booked: pa.Table) -> pa.Table:
    """The rows with a known cost or billed tokens, and `tokens`: what budgets hear of. A reversal's are negative.

    Tokens are all input and all output; null when the emitter told of neither, or another row is billed.
    """
    billed = pc.not_equal(pc.fill_null(booked["call_count"], 0), 0)
    told = pc.and_(billed, pc.or_(pc.is_valid(booked["input_tokens"]), pc.is_valid(booked["output_tokens"])))
    tokens = pc.add(_bounded_tokens(booked["input_tokens"]), _bounded_tokens(booked["output_tokens"]))
    booked = booked.append_column("tokens", pc.if_else(told, tokens, None))
    return booked.filter(pc.or_(pc.is_valid(booked["cost_nano_usd"]), told))


def _bounded_tokens(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Counts that add up inside 64 bits, however many a forged span claims."""
    return pc.max_element_wise(pc.min_element_wise(pc.fill_null(column, 0), MAX_TOKENS), -MAX_TOKENS)


def spends(calls: pa.Table) -> bytes:
    """Sums of cost and tokens by agent and 15-minute slot of the call's own time (`schemas.booking.Booking`).

    Every time zone's days begin on a multiple of 15 minutes UTC, so the owner can place a slot in any
    tenant's window without seeing the calls.
    """
    slot = pc.multiply(pc.divide(calls["event_time"], SLOT_NS), SLOT_NS)
    by = ["org", "tenant", "agent", "slot_time"]
    calls = calls.append_column("slot_time", slot).select([*by, "cost_nano_usd", "tokens"])
    for place, name in enumerate(("cost_nano_usd", "tokens"), start=len(by)):
        calls = calls.set_column(place, name, pc.fill_null(calls[name], 0))
    summed = calls.group_by(by).aggregate([("cost_nano_usd", "sum"), ("tokens", "sum"), ("tokens", "count")])
    renamed = summed.select([*by, "cost_nano_usd_sum", "tokens_sum", "tokens_count"])
    return _stream(renamed.rename_columns([*by, "cost_nano_usd", "tokens", "calls"]))


def metered_calls(calls: pa.Table) -> bytes:
    """One row a call that was weighed, for the owner to hold against its decisions (`schemas.booking.Booking`)."""
    owner, ids, times = (
        ["org", "tenant", "agent"],
        ["decision_id", "entry_id", "trace_id"],
        ["event_time", "received_time"],
    )
    columns = [*owner, "provider", "model", "request_model", *ids, *times, "cost_nano_usd", "tokens"]
    end = pc.add(calls["event_time"], calls["duration_ns"])
    table = calls.select(columns).append_column("end_time", end)
    return _stream(
        table.rename_columns(["start_time" if name == "event_time" else name for name in table.column_names])
    )


def entry_ids(count: int, time_ns: int) -> pa.Array:
    """`count` UUIDv7 texts (RFC 9562 section 5.7), made together."""
    raw = np.frombuffer(os.urandom(16 * count), np.uint8).reshape(count, 16).copy()
    raw[:, :6] = np.frombuffer((time_ns // 1_000_000).to_bytes(6, "big"), np.uint8)
    raw[:, 6] = 0x70 | (raw[:, 6] & 0x0F)
    raw[:, 8] = 0x80 | (raw[:, 8] & 0x3F)
    digits = _HEX[raw].view("S1").reshape(count, 32)
    text = np.full((count, 36), b"-", "S1")
    text[:, [column for column in range(36) if column not in _DASHES]] = digits
    return _fixed_text(text)


def _actions(kind: pa.Array) -> pa.Array:
    names = pa.array(list(_ACTIONS))
    return pa.array(list(_ACTIONS.values())).take(pc.index_in(kind, names))


def _bounded(column: pa.ChunkedArray, most: int) -> pa.Array:
    """An enum's number as an index; a number the enum does not have is 0, its unspecified member."""
    known = pc.and_(pc.greater_equal(column, 0), pc.less_equal(column, most))
    return pc.if_else(known, column, 0).combine_chunks()


def _hex_column(column: pa.ChunkedArray, size: int) -> pa.Array:
    """Ids of `size` bytes as hex text, null where absent or of another length."""
    values = column.combine_chunks()
    fits = pc.fill_null(pc.equal(pc.binary_length(values), size), False)
    whole = values.filter(fits)
    raw = np.frombuffer(b"".join(whole.to_pylist()), np.uint8).reshape(len(whole), size)
    text = _fixed_text(_HEX[raw].view("S1").reshape(len(whole), size * 2))
    fits_np = numpy_of(fits)
    if fits_np.all():
        return text
    where = np.where(fits_np, np.cumsum(fits_np) - 1, -1)
    return text.take(pa.array(where, mask=where < 0))


def _fixed_text(characters: npt.NDArray[np.bytes_]) -> pa.Array:
    """A matrix of single ASCII characters as one text a row, without a Python object each."""
    count, width = characters.shape
    offsets = np.arange(count + 1, dtype=np.int32) * width
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(characters.tobytes()))


def _table(columns: dict[str, pa.Array | pa.ChunkedArray], count: int) -> pa.Table:
    return pa.table(
        [columns[field.name] if field.name in columns else pa.nulls(count, field.type) for field in ENTRY_SCHEMA],
        schema=ENTRY_SCHEMA,
    )


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
