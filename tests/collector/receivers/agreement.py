"""Bodies in; out whether both decoders say the same of them, and how many rows the kernels read."""

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from collector.receivers.decode import Outcome, RowLimits, TableBuilder
from collector.receivers.decode_compiled import CompiledTableBuilder
from schemas.errors import Permanent
from tests.collector.receivers.odd_requests import NOW_NS, WANTED

LIMITS = RowLimits(max_attributes=4_096, max_value_bytes=65_536, max_future_ns=300 * 10**9)


def agree(
    bodies: Sequence[bytes], *, limits: RowLimits = LIMITS, wanted: Mapping[str, type] = WANTED
) -> tuple[int, pa.Table]:
    """Decode requests as one group with both decoders; the rows the kernels read, and the table."""
    reference, compiled = TableBuilder(wanted, limits, NOW_NS), CompiledTableBuilder(wanted, limits, NOW_NS)
    for number, body in enumerate(bodies):
        expected, said = (_said(builder.add_traces, number, body) for builder in (reference, compiled))
        assert said == expected, body.hex()
    expected_table, table = reference.table(), compiled.table()
    table.validate(full=True)
    same = table.schema.equals(expected_table.schema) and table.equals(expected_table)
    if not same and len(bodies) > 1:
        for body in bodies:
            agree([body], limits=limits, wanted=wanted)
    assert same, f"{[body.hex() for body in bodies]}\n{table.to_pylist()}\n{expected_table.to_pylist()}"
    return compiled.compiled_rows, table


def _said(add: Callable[[int, bytes], Outcome], number: int, body: bytes) -> object:
    try:
        outcome = add(number, body)
    except Permanent as error:
        return error.diagnostics()
    return outcome.received, outcome.rejected, outcome.warnings
