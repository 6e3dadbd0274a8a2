"""OTLP requests → one Arrow table of the wanted attributes. The seam a compiled decoder would replace.

Invariants: a request that does not parse raises for itself only and harms no neighbour; a row is
rejected only when it cannot be identified (trace or span id of the wrong length or all zero);
everything else that is wrong with a row becomes a finding on it and it is kept. What a span means is
left to the dialects: this module knows keys and types, not vocabularies.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError

from collector.receivers.content_id import SUFFIX, content_id, content_key
from collector.receivers.wire import LogsRequest, TracesRequest
from schemas.errors import Permanent

MAX_TIME_NS = 2**63 - 1

# Message classes are made from `wire`'s descriptor at run time: there is nothing to type them with.
Wire = Any

BASE_FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    ("request", pa.int32()),
    ("signal", pa.string()),
    ("trace_id", pa.binary()),
    ("span_id", pa.binary()),
    ("parent_span_id", pa.binary()),
    ("content_key", pa.binary()),
    ("name", pa.string()),
    ("kind", pa.int64()),
    ("start_time", pa.int64()),
    ("end_time", pa.int64()),
    ("status", pa.int64()),
    ("service_name", pa.string()),
    ("resource_agent", pa.string()),
    ("resource_host", pa.string()),
    ("scope_name", pa.string()),
    ("scope_version", pa.string()),
    ("findings", pa.string()),
)
_WIDTH = len(BASE_FIELDS)

SERVICE_KEY = "service.name"
AGENT_KEYS = ("gen_ai.main_agent.name", "gen_ai.main_agent.id")
"""Attributes of a resource that name the process's agent; the first that says something counts."""
HOST_KEYS = ("host.name", "host.id", "k8s.pod.uid", "container.id", "service.instance.id")
"""Attributes of a resource that tell one host from another; the first that says something counts.

Names as in https://opentelemetry.io/docs/specs/semconv/registry/attributes/; in a container `host.name` is the
container's. An instance stands last, because every worker process of one host has another.
"""


class RowLimits(msgspec.Struct, frozen=True):
    """What one row may carry before the rest is cut and the row is marked."""

    max_attributes: int
    max_value_bytes: int
    max_future_ns: int


class Outcome:
    """What became of one request's rows: how many were read, kept out, which were refused, what to warn about."""

    __slots__ = ("not_stored", "received", "rejected", "warnings")

    def __init__(self) -> None:
        self.received = 0
        self.not_stored = 0
        self.rejected: dict[str, int] = {}
        self.warnings: list[str] = []

    def reject(self, reason: str, message: str) -> None:
        """Count a refused row; only the first few are described, the count is exact."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
        self.warn(message)

    def warn(self, message: str) -> None:
        """Something the sender should mend; at most eight sentences a request."""
        if len(self.warnings) < 8:
            self.warnings.append(message)


class _Resource(NamedTuple):
    """What every row under one resource and scope shares."""

    service: str | None
    agent: str | None
    host: str | None
    scope: str | None
    version: str | None


class TableBuilder:
    """Rows of one commit group, column by column. Filled request by request, then `table()` once.

    Attribute columns are sparse (row numbers and values), so a key no span carries costs nothing.
    """

    def __init__(self, wanted: Mapping[str, type], limits: RowLimits, now_ns: int) -> None:
        self._wanted = {key: kind for key, kind in wanted.items() if not key.endswith(SUFFIX)}
        self._content = {content_key(column): column for column in wanted if column.endswith(SUFFIX)}
        self._limits = limits
        self._latest_ns = now_ns + limits.max_future_ns
        self._now_ns = now_ns
        self._rows: list[tuple[object, ...]] = []
        self._sparse: dict[str, tuple[list[int], list[object]]] = {key: ([], []) for key in wanted}

    def add_traces(self, request: int, body: bytes) -> Outcome:
        """Read one ExportTraceServiceRequest; raises `Permanent` and adds nothing if it does not parse."""
        message = parse(TracesRequest, body, "ExportTraceServiceRequest")
        outcome, large = Outcome(), len(body) > self._limits.max_value_bytes
        for shared, spans in _scopes(message, self._limits.max_value_bytes):
            for span in spans:
                outcome.received += 1
                self._span(request, shared, span, outcome, large=large)
        return outcome

    def add_logs(self, request: int, body: bytes) -> Outcome:
        """Read one ExportLogsServiceRequest; raises `Permanent` and adds nothing if it does not parse."""
        message = parse(LogsRequest, body, "ExportLogsServiceRequest")
        outcome, large = Outcome(), len(body) > self._limits.max_value_bytes
        for shared, records in _scopes(message, self._limits.max_value_bytes):
            for record in records:
                outcome.received += 1
                self._record(request, shared, record, outcome, large=large)
        return outcome

    def table(self) -> pa.Table:
        """All rows so far: `BASE_FIELDS`, then one column for each wanted key that was seen."""
        count = len(self._rows)
        columns = list(zip(*self._rows, strict=True)) or [()] * _WIDTH
        arrays = {name: pa.array(column, kind) for (name, kind), column in zip(BASE_FIELDS, columns, strict=True)}
        for key, (rows, values) in self._sparse.items():
            if rows:
                kind = pa.int64() if self._wanted.get(key) is int else pa.string()
                arrays[key] = _scatter(count, rows, pa.array(values, kind))
        return pa.table(arrays)

    def _span(self, request: int, shared: _Resource, span: Wire, outcome: Outcome, *, large: bool) -> None:
        if len(span.trace_id) != 16 or not any(span.trace_id):
            outcome.reject("invalid_trace_id", f"Span {span.name[:80]!r}: trace_id must be 16 bytes, not all zero.")
            return
        if len(span.span_id) != 8 or not any(span.span_id):
            outcome.reject("invalid_span_id", f"Span {span.name[:80]!r}: span_id must be 8 bytes, not all zero.")
            return
        findings: list[str] = []
        start = self._time(span.start_time_unix_nano, span.name, findings, outcome)
        end = min(span.end_time_unix_nano, MAX_TIME_NS)
        self._attributes(span, span.name, findings, outcome, large=large)
        # fmt: off
        self._rows.append((
            request, "traces", span.trace_id, span.span_id, span.parent_span_id or None, None,
            span.name[:self._limits.max_value_bytes], span.kind, start, max(end, start) if end else start,
            span.status.code, *shared, ",".join(findings) or None,
        ))
        # fmt: on

    def _record(self, request: int, shared: _Resource, record: Wire, outcome: Outcome, *, large: bool) -> None:
        findings: list[str] = []
        name = _event_name(record)[: self._limits.max_value_bytes]
        time = self._time(record.time_unix_nano or record.observed_time_unix_nano, name, findings, outcome)
        key = blake2b(record.SerializeToString(deterministic=True), digest_size=16).digest()
        self._attributes(record, name, findings, outcome, large=large)
        # fmt: off
        self._rows.append((
            request, "logs", record.trace_id if len(record.trace_id) == 16 else None,
            record.span_id if len(record.span_id) == 8 else None, None, key,
            name, 0, time, time, 0, *shared, ",".join(findings) or None,
        ))
        # fmt: on

    def _attributes(self, item: Wire, name: str, findings: list[str], outcome: Outcome, *, large: bool) -> None:
        attributes, row, wanted, sparse = item.attributes, len(self._rows), self._wanted, self._sparse
        if len(attributes) > self._limits.max_attributes:
            findings.append("attributes_over_limit")
            outcome.warn(
                f"{name[:80]!r} carries {len(attributes)} attributes, more than limits.max_attributes"
                f" ({self._limits.max_attributes}); only those that govern it were read."
            )
        for key in attributes:
            if key in self._content:
                self._content_id(row, self._content[key], attributes[key])
            kind = wanted.get(key)
            if kind is None:
                continue
            value = _integer(attributes[key]) if kind is int else _text(attributes[key])
            if value is None:
                findings.append("unreadable_attribute")
                continue
            if kind is str and len(value) > self._limits.max_value_bytes:  # type: ignore[arg-type]
                value = value[: self._limits.max_value_bytes]  # type: ignore[index]
            rows, values = sparse[key]
            rows.append(row)
            values.append(value)
        if large and item.ByteSize() > self._limits.max_value_bytes:
            self._warn_long_values(attributes, name, findings, outcome)

    def _content_id(self, row: int, column: str, value: Wire) -> None:
        found = content_id(_text(value) or "")
        if found is not None:
            rows, values = self._sparse[column]
            rows.append(row)
            values.append(found)

    def _warn_long_values(self, attributes: Wire, name: str, findings: list[str], outcome: Outcome) -> None:
        for key in attributes:
            size = attributes[key].ByteSize()
            if size > self._limits.max_value_bytes:
                findings.append("value_over_limit")
                outcome.warn(
                    f"{name[:80]!r}: attribute {key[:80]!r} is {size} bytes, more than limits.max_attribute_value"
                    f" ({self._limits.max_value_bytes}); its value was cut, the row was kept."
                )
                return

    def _time(self, unix_ns: int, name: str, findings: list[str], outcome: Outcome) -> int:
        """The time as claimed, marked when it cannot be right; such a row is booked at its receipt."""
        if unix_ns == 0:
            findings.append("no_time")
        if unix_ns > self._latest_ns:
            findings.append("clock_ahead")
            ahead_s = (unix_ns - self._now_ns) // 1_000_000_000
            outcome.warn(
                f"{name[:80]!r} starts {ahead_s} s in the future, more than limits.max_clock_ahead; it was accepted"
                " and booked at the time of receipt. Mend the sender's clock."
            )
        return min(unix_ns, MAX_TIME_NS)


def parse(message_type: Wire, body: bytes, name: str) -> Wire:
    """A request's message of this type; raises `Permanent`, which calls it `name`."""
    try:
        return message_type.FromString(body)
    except DecodeError as error:
        raise Permanent(
            f"The body is not a valid protobuf {name}: {str(error).rpartition(': ')[2].rstrip('.')}.",
            fix="Send OTLP/protobuf as the opentelemetry-proto definitions describe it, not truncated.",
        ) from None


def _scopes(message: Wire, max_bytes: int) -> Iterator[tuple[_Resource, Wire]]:
    """Each scope's rows with what they share, cut: a long name would stand on every row."""
    for resource in message.resources:
        attributes = resource.resource.attributes
        service = _given(attributes, SERVICE_KEY)
        agent, host = _first_given(attributes, AGENT_KEYS), _first_given(attributes, HOST_KEYS)
        for scope in resource.scopes:
            texts = (service, agent, host, scope.scope.name or None, scope.scope.version or None)
            yield _Resource(*(text[:max_bytes] if text else text for text in texts)), scope.items


def _first_given(attributes: Wire, keys: tuple[str, ...]) -> str | None:
    return next((text for text in (_given(attributes, key) for key in keys) if text), None)


def _given(attributes: Wire, key: str) -> str | None:
    return _text(attributes[key]) if key in attributes else None


def _event_name(record: Wire) -> str:
    """Emitters disagree where an event's name goes: Codex puts a source location in `event_name`."""
    named = record.attributes["event.name"].string_value if "event.name" in record.attributes else ""
    return named or record.event_name or "log"


def _text(value: Wire) -> str | None:
    """An attribute as text; lists and maps as JSON, booleans and numbers as JSON writes them."""
    if value.string_value:
        return value.string_value  # type: ignore[no-any-return]
    if value.WhichOneof("value") == "string_value":
        return ""
    plain = _plain(value)
    return None if plain is None else msgspec.json.encode(plain).decode()


def _plain(value: Wire) -> object:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_plain(item) for item in value.array_value.values]
    if which == "kvlist_value":
        return {key: _plain(item) for key, item in value.kvlist_value.values.items()}
    if which == "bytes_value":
        return value.bytes_value.hex()
    return getattr(value, which) if which else None


def _integer(value: Wire) -> int | None:
    """A count: from an int, an integral double, or digits as text. Negative or anything else is unreadable."""
    which = value.WhichOneof("value")
    if which == "int_value":
        number = value.int_value
    elif which == "double_value" and value.double_value.is_integer():
        number = int(value.double_value)
    elif which == "string_value" and value.string_value.isascii() and value.string_value.isdigit():
        number = int(value.string_value[:20])
    else:
        return None
    return number if 0 <= number <= MAX_TIME_NS else None


def _scatter(count: int, rows: list[int], values: pa.Array) -> pa.Array:
    """Values at their rows, null elsewhere."""
    if len(rows) == count:
        return values
    where = np.full(count, -1, np.int64)
    where[rows] = np.arange(len(rows))
    return values.take(pa.array(where, mask=where < 0))
