"""Tables of received rows, as the commit group leaves them in the spool, made by hand."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from collector.dialects.dialect import Dialect, wanted_keys
from collector.pricing.names import Names
from collector.processors.normalise import normalise
from collector.receivers.decode import BASE_FIELDS

NOW_NS = 1_790_000_000_000_000_000
NAMES = Names()
IDENTITY = ("org", "tenant", "agent", "credential_id")

Row = Mapping[str, object]

PLAIN = Dialect(
    name="plain",
    title="Plain",
    source="https://example.org",
    marks=("op",),
    columns={
        "operation": ("op",),
        "provider": ("provider",),
        "request_model": ("asked",),
        "response_model": ("model", "answered"),
        "claimed_agent": ("who",),
        "emitted_cost": ("cost",),
        "input_tokens": ("in", "input_tokens"),
        "cache_read_tokens": ("in.read",),
        "cache_write_tokens": ("in.write",),
        "cache_write_1h_tokens": ("in.write.1h",),
        "input_audio_tokens": ("in.audio",),
        "output_tokens": ("out",),
        "reasoning_tokens": ("out.reasoning",),
        "output_audio_tokens": ("out.audio",),
    },
    operations={"talk": "chat", "again": "echo"},
    usage_documents=("usage", "usage.more"),
)


def received(rows: Sequence[Row], dialects: tuple[Dialect, ...] = (PLAIN,)) -> pa.Table:
    """Rows of a slab; what a row does not say is as in a finished span. Attribute columns are those some row has."""
    base: dict[str, object] = {
        "signal": "traces",
        "trace_id": b"t" * 16,
        "span_id": b"s" * 8,
        "name": "a span",
        "kind": 1,
        "start_time": NOW_NS - 10,
        "end_time": NOW_NS - 5,
        "status": 0,
        "service_name": "service",
        "scope_name": "tests",
        "received_time": NOW_NS,
    }
    types = {name: kind for name, kind in BASE_FIELDS if name != "request"}
    types |= dict.fromkeys(IDENTITY, pa.string()) | {"received_time": pa.int64()}
    given = {key for row in rows for key in row}
    for key, kind in wanted_keys(dialects).items():
        if key in given:
            types[key] = pa.int64() if kind is int else pa.string()
    assert given <= types.keys()
    return pa.table(
        {name: pa.array([(base | dict(row)).get(name) for row in rows], kind) for name, kind in types.items()}
    )


def read(*rows: Row, dialects: tuple[Dialect, ...] = (PLAIN,)) -> list[dict[str, object]]:
    """What `normalise` makes of rows, in their order as long as they are of one dialect."""
    made: list[dict[str, object]] = normalise(received(rows, dialects), dialects, NAMES).to_pylist()
    return made


def read_one(row: Row, dialects: tuple[Dialect, ...] = (PLAIN,)) -> dict[str, object]:
    """What `normalise` makes of one row."""
    return read(row, dialects=dialects)[0]
