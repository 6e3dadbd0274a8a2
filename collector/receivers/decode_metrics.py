"""Metrics requests → one row for each data point that counts tokens; every other point is only counted.

Invariant: of a request's points each is a row, or counted in `Outcome.not_stored`; a request that
does not parse raises for itself only. Read with the reference messages of OTLP, because metrics are
few. Series are told apart as OTLP tells them: by resource, scope, name, kind and attributes, and by
when they began (https://opentelemetry.io/docs/specs/otel/metrics/data-model/#single-writer). What
the numbers are compared with is left to the coverage report.
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import NamedTuple

import pyarrow as pa
from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags, Metric

from collector.dialects import TOKEN_METRICS
from collector.dialects.dialect import POINT_PREFIX, POINT_TEXTS, TOKEN_COLUMNS
from collector.receivers.decode import AGENT_KEYS, BASE_FIELDS, MAX_TIME_NS, SERVICE_KEY, Outcome, Wire, parse
from schemas.errors import Permanent

METRIC_FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    ("temporality", pa.string()),
    ("series_id", pa.string()),
    ("series_start", pa.int64()),
    *((f"{POINT_PREFIX}{name}", pa.string()) for name in POINT_TEXTS),
    *((f"{POINT_PREFIX}{name}", pa.int64()) for name in TOKEN_COLUMNS),
)
_FIELDS = (*BASE_FIELDS, *METRIC_FIELDS)

# AGGREGATION_TEMPORALITY_DELTA and _CUMULATIVE; a point of unspecified temporality cannot be added to others.
_TEMPORALITIES = {1: "delta", 2: "cumulative"}
# No emitter counts so far, and a thousand sums of it still fit in 64 bits.
_MAX_VALUE = 10**15


class _Origin(NamedTuple):
    """What the points under one resource and scope share; `identity` is its bytes."""

    service: str | None
    agent: str | None
    scope: str | None
    version: str | None
    identity: bytes


class MetricsBuilder:
    """Rows of one commit group's metrics requests, filled request by request, then `table()` once."""

    def __init__(self, *, max_items: int, max_value_bytes: int) -> None:
        self._max_items = max_items
        self._max_value_bytes = max_value_bytes
        self._rows: list[dict[str, object]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, request: int, body: bytes) -> Outcome:
        """Read one ExportMetricsServiceRequest.

        Raises `Permanent` and adds nothing if it does not parse, or counts tokens by more points than `max_items`.
        """
        message = parse(ExportMetricsServiceRequest, body, "ExportMetricsServiceRequest")
        outcome, rows = Outcome(), list[dict[str, object]]()
        for origin, metric in self._metrics(message):
            outcome.received += _count(metric)
            for row in self._points(origin, metric):
                rows.append(row | {"request": request})
                if len(rows) > self._max_items:
                    raise Permanent(
                        f"The request holds more than limits.max_items ({self._max_items}) points that count tokens.",
                        fix="Send smaller batches.",
                    )
        outcome.not_stored = outcome.received - len(rows)
        self._rows += rows
        return outcome

    def table(self) -> pa.Table:
        """All rows so far: `BASE_FIELDS`, then `METRIC_FIELDS`."""
        return pa.Table.from_pylist(self._rows, schema=pa.schema(_FIELDS))

    def _metrics(self, message: Wire) -> Iterator[tuple[_Origin, Metric]]:
        for resource in message.resource_metrics:
            given = _texts(resource.resource.attributes)
            service = self._cut(given.get(SERVICE_KEY))
            agent = self._cut(_first(given, AGENT_KEYS))
            for scope in resource.scope_metrics:
                identity = _digest([*_sorted(resource.resource.attributes), _bytes(scope.scope)])
                name, version = self._cut(scope.scope.name), self._cut(scope.scope.version)
                origin = _Origin(service, agent, name, version, identity)
                yield from ((origin, metric) for metric in scope.metrics)

    def _points(self, origin: _Origin, metric: Metric) -> Iterator[dict[str, object]]:
        """The rows of one metric's points, where it is one that counts tokens."""
        known, which = TOKEN_METRICS.get(metric.name), metric.WhichOneof("data")
        if known is None or which not in {"sum", "histogram", "exponential_histogram"}:
            return
        data: Wire = getattr(metric, which)
        temporality = _TEMPORALITIES.get(data.aggregation_temporality)
        if temporality is None or (which == "sum" and not data.is_monotonic):
            return
        for point in data.data_points:
            texts = _texts(point.attributes)
            columns = known.types.get(texts.get(known.type_key, "") if known.type_key else "")
            value = _value(point, which)
            if columns is None or value is None:
                continue
            series = _digest([origin.identity, metric.name.encode(), temporality.encode(), *_sorted(point.attributes)])
            yield _times(point) | {
                "signal": "metrics",
                "name": metric.name,
                "kind": 0,
                "status": 0,
                "content_key": _digest([series, _bytes(point)]),
                "service_name": origin.service,
                "resource_agent": origin.agent,
                "scope_name": origin.scope,
                "scope_version": origin.version,
                "temporality": temporality,
                "series_id": series.hex(),
                **{f"{POINT_PREFIX}{name}": self._cut(_first(texts, keys)) for name, keys in known.texts.items()},
                **{f"{POINT_PREFIX}{name}": value for name in columns},
            }

    def _cut(self, text: str | None) -> str | None:
        return text[: self._max_value_bytes] or None if text else None


def _count(metric: Metric) -> int:
    which = metric.WhichOneof("data")
    return len(getattr(metric, which).data_points) if which else 0


def _value(point: Wire, which: str) -> int | None:
    """A count of tokens: an integer, or a double that is one."""
    if point.flags & DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK:
        return None
    field = point.WhichOneof("value") if which == "sum" else "sum"
    if field is None or not point.HasField(field):
        return None
    number: int | float = getattr(point, field)
    if isinstance(number, float) and not number.is_integer():
        return None
    return int(number) if 0 <= number <= _MAX_VALUE else None


def _times(point: Wire) -> dict[str, object]:
    """When the point was taken, and when its series began; an unknown or impossible begin is none."""
    end, began = min(point.time_unix_nano, MAX_TIME_NS), point.start_time_unix_nano
    known = 0 < began <= end
    return {"start_time": began if known else end, "end_time": end, "series_start": began if known else None}


def _texts(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {
        each.key: each.value.string_value for each in attributes if each.value.WhichOneof("value") == "string_value"
    }


def _first(texts: Mapping[str, str], keys: Iterable[str]) -> str | None:
    return next((texts[key] for key in keys if texts.get(key)), None)


def _sorted(attributes: Iterable[KeyValue]) -> list[bytes]:
    """The attributes' bytes: their order means nothing."""
    return sorted(map(_bytes, attributes))


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def _digest(parts: Iterable[bytes]) -> bytes:
    """A hash that no other list of parts has."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
