"""Rows with an operation and counts → what each is to the account: a call, a sum of calls, a repetition, a tool.

Invariant: a call without counts is unmetered, never free. Which records are one call is left to the
account.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.columns import Bools, constant, is_one_of, numpy_of
from collector.dialects.dialect import (
    CALL_OPERATIONS,
    ECHO_OPERATION,
    STORED_RESPONSE_OPERATION,
    TOOL_OPERATION,
    Dialect,
)
from schemas.accounting import Role, Rule
from schemas.tables import EntryKind

_ERROR_STATUS = 2

# Roles as numbers while they are decided.
_NO_ROLE, _CALL, _AGGREGATE, _ECHO, _TOOL = range(5)
_ROLES = pa.array([None, Role.CALL, Role.AGGREGATE, Role.ECHO, Role.TOOL], pa.string())
_KINDS = pa.array([EntryKind.SPAN, EntryKind.LOG, EntryKind.CALL, EntryKind.TOOL], pa.string())
_OUTCOMES = pa.array(["ok", "error"], pa.string())

Codes = npt.NDArray[np.int8]


def decide(rows: pa.Table, dialect: Dialect | None) -> pa.Table:
    """Add what one dialect's rows are: accounting_role, accounting_rule, entry_kind, outcome and metered."""
    is_log = is_one_of(rows["signal"], ("logs",))
    role = _roles(rows, is_log, dialect) if dialect else np.zeros(len(rows), np.int8)
    failed = numpy_of(pc.equal(rows["status"], _ERROR_STATUS)) | numpy_of(pc.is_valid(rows["error_type"]))
    counted = _positive(rows, "input_tokens") | _positive(rows, "output_tokens")
    billable = (role == _CALL) | (role == _AGGREGATE)
    kind = np.where(role == _CALL, 2, np.where(role == _TOOL, 3, is_log)).astype(np.int8)
    columns = {
        "accounting_role": _ROLES.take(pa.array(role)),
        "accounting_rule": _stored(rows),
        "entry_kind": _KINDS.take(pa.array(kind)),
        "outcome": _OUTCOMES.take(pa.array(failed.astype(np.int8))),
        "metered": pa.array(counted, mask=~billable | (failed & ~counted)),
    }
    for name, values in columns.items():
        rows = rows.append_column(name, values)
    return rows


def _roles(rows: pa.Table, is_log: Bools, dialect: Dialect) -> Codes:
    operation = rows["operation"]
    silent = numpy_of(pc.is_null(operation))
    # First-generation emitters name a model and count tokens without saying which operation it was.
    has_model = numpy_of(pc.or_(pc.is_valid(rows["request_model"]), pc.is_valid(rows["response_model"])))
    has_usage = numpy_of(pc.or_(pc.is_valid(rows["input_tokens"]), pc.is_valid(rows["output_tokens"])))
    calls = is_one_of(operation, CALL_OPERATIONS) | (silent & has_model & has_usage)
    tools, echoes = is_one_of(operation, (TOOL_OPERATION,)), is_one_of(operation, (ECHO_OPERATION,))
    sums = has_usage & ~is_one_of(operation, (STORED_RESPONSE_OPERATION,))
    # A dialect is billed by one signal; on the other it repeats itself.
    echoes |= calls & ~is_log if dialect.books == "logs" else (calls | tools | sums) & is_log
    role = np.full(len(rows), _NO_ROLE, np.int8)
    for where, code in ((sums, _AGGREGATE), (tools, _TOOL), (calls, _CALL), (echoes, _ECHO)):
        role[where] = code
    return role


def _stored(rows: pa.Table) -> pa.Array:
    stored = is_one_of(rows["operation"], (STORED_RESPONSE_OPERATION,))
    return pc.if_else(pa.array(stored), Rule.STORED_RESPONSE, constant(None, len(rows)))


def _positive(rows: pa.Table, column: str) -> Bools:
    return numpy_of(pc.fill_null(pc.greater(rows[column], 0), False))
