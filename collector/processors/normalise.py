"""Received attributes → canonical columns: what each record says, what it is to the account, how it counts.

Rows are split by dialect, each read with its own table, and joined again, so they come out in another
order; points of metrics speak no dialect and stand behind all others. Invariants: a count is never
the sum of two aliases; a token class never exceeds the class it is part of; a call without counts is
unmetered, never free. Which records are one call, and what it costs, is left to the steps after it.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.columns import constant, is_one_of, numpy_of, one, replaced, some
from collector.dialects.dialect import POINT_PREFIX, POINT_TEXTS, TOKEN_COLUMNS, Dialect
from collector.pricing.names import Names, Resolved
from collector.processors.dialect_columns import attribute_keys, by_dialect, read
from collector.processors.emitted_cost import with_emitted_cost
from collector.processors.roles import decide
from collector.processors.usage import settle
from schemas.tables import EntryKind

POINTS = "metrics"
"""The `signal` of rows that are points of metrics."""

_NOTHING = Resolved("", "", "")


def normalise(received: pa.Table, dialects: tuple[Dialect, ...], names: Names) -> pa.Table:
    """Replace attribute columns by canonical ones, and add what they mean."""
    attributes = attribute_keys(dialects)
    is_point = is_one_of(received["signal"], (POINTS,))
    told = some(received, ~is_point)
    parts = [_part(rows, dialect, attributes) for rows, dialect in by_dialect(told, dialects)]
    if is_point.any():
        points = some(received, is_point)
        parts.append(_points(_part(points, None, attributes), points))
    rows = parts[0] if len(parts) == 1 else pa.concat_tables(parts)
    rows = rows.append_column("event_time", _event_time(rows))
    return with_emitted_cost(_with_names(rows, names))


def _part(rows: pa.Table, dialect: Dialect | None, attributes: frozenset[str]) -> pa.Table:
    keys = dialect.usage_documents if dialect else ()
    documents = [rows[key] for key in keys if key in rows.column_names]
    return decide(settle(read(rows, dialect, attributes), dialect, documents), dialect)


def _points(rows: pa.Table, points: pa.Table) -> pa.Table:
    """The rows of no dialect that these points made, with what the points say.

    They have no role, no usage rule and no outcome, so that no step books, prices or joins them: what they
    count was spent by calls, and here only to be compared with them.
    """
    for name in (*POINT_TEXTS, *TOKEN_COLUMNS):
        rows = replaced(rows, name, points[f"{POINT_PREFIX}{name}"])
    rows = replaced(rows, "entry_kind", constant(EntryKind.METRIC, len(rows)))
    return replaced(rows, "outcome", constant(None, len(rows)))


def _event_time(rows: pa.Table) -> pa.ChunkedArray:
    """When it began, or a point was taken, never after its receipt: a clock ahead must not escape today's budget."""
    began = pc.if_else(pc.equal(rows["signal"], POINTS), rows["end_time"], rows["start_time"])
    claimed = pc.if_else(pc.equal(began, 0), rows["received_time"], began)
    return pc.min_element_wise(claimed, rows["received_time"])


def _with_names(rows: pa.Table, names: Names) -> pa.Table:
    """Canonical provider, model and region; names are resolved once a distinct combination."""
    stated = (rows["provider"], pc.coalesce(rows["response_model"], rows["request_model"]), rows["server_address"])
    texts, which = [], np.zeros(len(rows), np.int64)
    for column in stated:
        encoded = one(pc.fill_null(column, "")).dictionary_encode()
        texts.append(encoded.dictionary.to_pylist())
        which = which * max(1, len(texts[-1])) + numpy_of(encoded.indices)
    combinations = pa.array(which).dictionary_encode()
    found = [_resolve(names, number, texts) for number in combinations.dictionary.to_pylist()]
    for at, column in enumerate(Resolved._fields):
        values = pa.array([resolved[at] or None for resolved in found], pa.string()).take(combinations.indices)
        rows = replaced(rows, column, values) if column in rows.column_names else rows.append_column(column, values)
    return rows


def _resolve(names: Names, combination: int, texts: list[list[str]]) -> Resolved:
    """The combination's number is its texts' numbers as digits, the last one the lowest."""
    provider, model, server = texts
    combination, third = divmod(combination, len(server))
    first, second = divmod(combination, len(model))
    if not (provider[first] or model[second]):
        return _NOTHING
    return names.resolve(provider[first].lower(), model[second], server[third])
