"""Points of metrics that count tokens → the canonical columns of every row.

Invariant: a point has no role, no usage of its own and no outcome, so that no step books, prices or
joins it: what it counts was spent by calls, and here only to be compared with them.
"""

import pyarrow as pa
import pyarrow.compute as pc

from collector.dialects.token_metrics import METRIC_TOKENS, POINT_PREFIX, TEXT_KEYS
from collector.processors.columns import constant, replaced
from schemas.tables import EntryKind

SIGNAL = "metrics"


def canonical(rows: pa.Table, points: pa.Table) -> pa.Table:
    """The rows of no dialect that these points made, with what the points say."""
    for name in (*TEXT_KEYS, *METRIC_TOKENS):
        rows = replaced(rows, name, points[f"{POINT_PREFIX}{name}"])
    rows = replaced(rows, "entry_kind", constant(EntryKind.METRIC, len(rows)))
    return replaced(rows, "outcome", constant(None, len(rows)))


def without_points(entries: pa.Table) -> pa.Table:
    """Ledger rows less those of metrics: what an account remembers, and they must not push calls out of it."""
    return entries.filter(pc.fill_null(pc.not_equal(entries["signal"], SIGNAL), True))
