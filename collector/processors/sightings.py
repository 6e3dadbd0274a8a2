"""Received rows → who used which agent's key, and from which host (`schemas.booking.Booking.sightings`).

One row for each key and user, however many records there are. A tenant's key is made to be used by
many and is left out. Names count on their own level: the agent that a span without a parent names (a
span below may name an agent within the agent), the one its resource names, the service. What is a
shared key is left to the owner.
"""

import pyarrow as pa
import pyarrow.compute as pc

SIGHTINGS = pa.schema(
    [(name, pa.string()) for name in ("credential_id", "agent", "what", "user")]
    + [(name, pa.int64()) for name in ("first", "last")]
)
_COLUMNS = {"process agent": "resource_agent", "service": "service_name", "host": "resource_host"}
# What an SDK says for want of a name: https://opentelemetry.io/docs/specs/semconv/resource/#service
_UNKNOWN_SERVICE = "unknown_service"


def sightings(rows: pa.Table) -> bytes:
    """The users of agents' keys in normalised rows that know nothing of their relatives yet."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SIGHTINGS) as writer:
        rows = rows.filter(pc.is_valid(rows["agent"]))
        if len(rows):
            writer.write_table(pa.concat_tables(_tables(rows)))
    return bytes(sink.getvalue())


def _tables(rows: pa.Table) -> list[pa.Table]:
    known = pc.invert(pc.starts_with(rows["service_name"], _UNKNOWN_SERVICE))
    parts = [_users(rows.filter(pc.is_null(rows["parent_span_id"])), "agent", "claimed_agent")]
    for what, column in _COLUMNS.items():
        # Frames of an older version have no host.
        if column in rows.column_names:
            parts.append(_users(rows.filter(known) if what == "service" else rows, what, column))
    return parts


def _users(rows: pa.Table, what: str, column: str) -> pa.Table:
    rows = rows.filter(pc.is_valid(rows[column]))
    keys = ["credential_id", "org", "tenant", "agent", column]
    used = rows.group_by(keys).aggregate([("event_time", "min"), ("event_time", "max")])
    path = pc.binary_join_element_wise(used["org"], used["tenant"], used["agent"], "/")
    columns = [
        used["credential_id"], path, pa.repeat(pa.scalar(what), len(used)), used[column], used["event_time_min"],
        used["event_time_max"],
    ]  # fmt: skip
    return pa.table(columns, schema=SIGHTINGS)
