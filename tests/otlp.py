"""OTLP requests made by hand, for what no SDK would send."""

import os
import time
from collections.abc import Mapping

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Value = str | int | float | bool | list[str]

CHAT: dict[str, Value] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.usage.input_tokens": 1_000,
    "gen_ai.usage.output_tokens": 100,
}
# What CHAT costs by the price list: 1,000 × 2.50 and 100 × 10.00 USD per million tokens.
CHAT_NANO_USD = 3_500_000


def key_value(key: str, value: Value) -> KeyValue:
    match value:
        case bool():
            any_value = AnyValue(bool_value=value)
        case int():
            any_value = AnyValue(int_value=value)
        case float():
            any_value = AnyValue(double_value=value)
        case str():
            any_value = AnyValue(string_value=value)
        case list():
            any_value = AnyValue()
            any_value.array_value.values.extend(AnyValue(string_value=item) for item in value)
    return KeyValue(key=key, value=any_value)


def span(attributes: Mapping[str, Value] = CHAT, *, name: str = "chat gpt-4o", start_ns: int | None = None) -> Span:
    """One finished span with fresh ids."""
    start = time.time_ns() - 10**9 if start_ns is None else start_ns
    return Span(
        trace_id=os.urandom(16),
        span_id=os.urandom(8),
        name=name,
        kind=Span.SpanKind.SPAN_KIND_CLIENT,
        start_time_unix_nano=start,
        end_time_unix_nano=start + 10**9 // 2,
        attributes=[key_value(key, value) for key, value in attributes.items()],
    )


def traces(*spans: Span, service: str = "test") -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.append(key_value("service.name", service))
    scope = resource.scope_spans.add()
    scope.scope.name = "tests"
    scope.spans.extend(spans)
    return request


def logs(*bodies: str) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for body in bodies:
        records.add(time_unix_nano=time.time_ns(), event_name="test.event", body=AnyValue(string_value=body))
    return request


def metrics(points: int) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="gen_ai.client.token.usage")
    for value in range(points):
        metric.sum.data_points.add(as_int=value, time_unix_nano=time.time_ns())
    return request


def metrics_of(*made: Metric, service: str = "test", scope: str = "tests") -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.append(key_value("service.name", service))
    resource.scope_metrics.add(metrics=made).scope.name = scope
    return request


def token_usage(tokens: float = 100, *, kind: str = "input", time_ns: int = 20, start_ns: int = 10) -> Metric:
    """A cumulative `gen_ai.client.token.usage` with one point."""
    metric = Metric(name="gen_ai.client.token.usage")
    metric.histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    metric.histogram.data_points.add(
        sum=tokens,
        count=1,
        start_time_unix_nano=start_ns,
        time_unix_nano=time_ns,
        attributes=[
            key_value("gen_ai.token.type", kind),
            key_value("gen_ai.provider.name", "openai"),
            key_value("gen_ai.response.model", "gpt-4o-2024-08-06"),
        ],
    )
    return metric


def counter(name: str, tokens: float, *, temporality: int = 1, **attributes: Value) -> Metric:
    """A monotonic sum with one point, delta unless said."""
    metric = Metric(name=name)
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
    point = metric.sum.data_points.add(start_time_unix_nano=10, time_unix_nano=20)
    point.attributes.extend(key_value(key, value) for key, value in attributes.items())
    if isinstance(tokens, int):
        point.as_int = tokens
    else:
        point.as_double = tokens
    return metric
