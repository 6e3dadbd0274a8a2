"""Rows of a table → one fixed-size record each: all that linking them needs, as numbers.

Names and ids become 64-bit hashes of this process (Python's keyed SipHash, so that no sender can make
two collide): they are compared with each other and never stored. A log record is a leaf of the tree
of spans: its parent is the span it was written in. A record without a trace is alone in a trace of its own.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.columns import numpy_of, one, stirred
from schemas.accounting import Role, Rule

Row = dict[str, Any]
"""One row of a table, or one ledger entry, by column."""

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]

NO_ROLE, CALL, AGGREGATE, ECHO, TOOL = range(5)
_ROLES = pa.array([Role.CALL, Role.AGGREGATE, Role.ECHO, Role.TOOL])

RECORD = np.dtype(
    [
        ("trace", "u8"),
        ("node", "u8"),
        ("parent", "u8"),
        ("response", "u8"),
        ("tool_call", "u8"),
        ("tool_name", "u8"),
        ("service", "u8"),
        ("credential", "u8"),
        ("scope", "u8"),
        ("model", "u8"),
        ("start", "i8"),
        ("end", "i8"),
        ("input", "i8"),
        ("output", "i8"),
        ("role", "i1"),
        ("log", "?"),
        ("embeds", "?"),
        ("metered", "?"),
        ("failed", "?"),
        ("claims", "?"),
        ("stored", "?"),
        ("state", "u8"),
    ]
)

# What `records` reads of a row, under these names in the ledger too.
COLUMNS = (
    "tenant", "org", "signal", "trace_id", "span_id", "parent_span_id", "response_id", "tool_call_id", "tool_name",
    "service_name", "scope_name", "model", "event_time", "duration_ns", "input_tokens", "output_tokens",
    "accounting_role", "operation", "metered", "outcome", "claimed_agent", "claim_source", "entry_id", "credential_id",
    "accounting_rule",
)  # fmt: skip

# What emitters write for "none", and the numbers Ollama draws from 0 to 998: they meet by chance.
_NO_ID = r"(?i)^\s*$|^(none|null|nil|unknown|undefined|n/a)$|^\d{1,11}$|^(chatcmpl|cmpl|resp|msg|call)[-_]?\d{1,6}$"
_MIN_ID = 6
# Shorter ids of tool calls are none across traces: local models number theirs in each.
_MIN_GLOBAL_TOOL_ID = 12


def records(rows: pa.Table) -> Records:
    """One record a row of `COLUMNS`; ids may be bytes or hex text, as long as they always are the same."""
    made = np.zeros(len(rows), RECORD)
    if not len(rows):
        return made
    owner = _texts(pc.binary_join_element_wise(rows["org"], rows["tenant"], "/"))
    trace, span, parent = (_distinct(rows[name]) for name in ("trace_id", "span_id", "parent_span_id"))
    made["log"] = numpy_of(pc.equal(rows["signal"], "logs"))
    own = _hashes(rows["entry_id"])
    in_trace = mix(owner, trace)
    made["trace"] = np.where(trace == 0, own, in_trace)
    made["node"] = np.where(made["log"] | (span == 0), own, mix(in_trace, span))
    above = np.where(made["log"], span, parent)
    made["parent"] = np.where((above == 0) | (trace == 0), 0, mix(in_trace, above))
    response = _distinct(_unique_ids(rows["response_id"]))
    made["response"] = np.where(response == 0, 0, mix(owner, response))
    made["service"] = mix(owner, _texts(rows["service_name"]))
    made["credential"] = _texts(rows["credential_id"])
    made["scope"] = _texts(rows["scope_name"])
    made["model"] = _texts(_undated(rows["model"]))
    _tools(made, rows, owner)
    _facts(made, rows)
    return made


def mix(first: Hashes, second: Hashes) -> Hashes:
    """Two hashes as one; never 0."""
    return stirred((first * np.uint64(0x9E3779B97F4A7C15)) ^ second) | np.uint64(1)


def _tools(made: Records, rows: pa.Table, owner: Hashes) -> None:
    if rows["tool_name"].null_count == rows["tool_call_id"].null_count == len(rows):
        return
    call = _distinct(_unique_ids(rows["tool_call_id"]))
    long = numpy_of(pc.greater_equal(pc.fill_null(pc.utf8_length(rows["tool_call_id"]), 0), _MIN_GLOBAL_TOOL_ID))
    made["tool_call"] = np.where(call == 0, 0, mix(np.where(long, owner, made["trace"]), call))
    made["tool_name"] = _texts(rows["tool_name"])


def _facts(made: Records, rows: pa.Table) -> None:
    role = pc.fill_null(pc.index_in(rows["accounting_role"], _ROLES), -1)
    made["role"] = numpy_of(role) + 1
    made["metered"] = numpy_of(pc.fill_null(rows["metered"], False))
    made["failed"] = numpy_of(pc.fill_null(pc.equal(rows["outcome"], "error"), False)) & ~made["metered"]
    made["embeds"] = numpy_of(pc.fill_null(pc.equal(rows["operation"], "embeddings"), False))
    made["stored"] = numpy_of(pc.fill_null(pc.equal(rows["accounting_rule"], Rule.STORED_RESPONSE), False))
    made["start"] = numpy_of(rows["event_time"])
    made["end"] = made["start"] + numpy_of(pc.fill_null(rows["duration_ns"], 0))
    made["input"] = numpy_of(pc.fill_null(rows["input_tokens"], -1))
    made["output"] = numpy_of(pc.fill_null(rows["output_tokens"], -1))
    # Inherited names are not the record's own: what it inherits is decided anew whenever the tree grows.
    own = pc.fill_null(pc.equal(rows["claim_source"], "span"), False)
    made["claims"] = numpy_of(pc.and_(own, pc.is_valid(rows["claimed_agent"])))


def _unique_ids(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """The ids that can tell one call from another; the others are none."""
    if ids.null_count == len(ids):
        return ids
    short = pc.less(pc.utf8_length(ids), _MIN_ID)
    none = pc.or_(short, pc.match_substring_regex(ids, _NO_ID))
    return pc.if_else(none, pa.scalar(None, pa.string()), ids)


def _undated(model: pa.ChunkedArray) -> pa.ChunkedArray:
    """A model's name without its date: one side often knows only what was asked for."""
    encoded = pc.dictionary_encode(model.combine_chunks())
    bare = pc.replace_substring_regex(encoded.dictionary, r"[-@]\d{4}-?\d{2}-?\d{2}(-v\d+(:\d+)?)?$", "")
    return bare.take(encoded.indices)


def _texts(column: pa.Array | pa.ChunkedArray) -> Hashes:
    """Hashes of a column whose values repeat; 0 for null."""
    encoded = one(column).dictionary_encode()
    known = np.append(_hashes(encoded.dictionary), np.uint64(0))
    found: Hashes = known[numpy_of(pc.fill_null(encoded.indices, len(known) - 1))]
    return found


def _distinct(column: pa.ChunkedArray) -> Hashes:
    """Hashes of a column whose values seldom repeat; 0 for null."""
    if column.null_count == len(column):
        return np.zeros(len(column), np.uint64)
    return _hashes(column)


def _hashes(column: pa.Array | pa.ChunkedArray) -> Hashes:
    values = column.to_pylist()
    found = np.fromiter(map(hash, values), np.int64, len(values)).view(np.uint64) | np.uint64(1)
    if column.null_count:
        found[~numpy_of(pc.is_valid(column))] = 0
    return found
