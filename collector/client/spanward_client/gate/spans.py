"""A decision's id → the span of its call, when OpenTelemetry is there."""

from collections.abc import Callable

try:
    from spanward_client import otel
except ImportError:  # The extra `otel` is not installed: there are no spans.
    mark_span: Callable[[str, int], None] = lambda _decision_id, _sent_at_ns: None  # noqa: E731 - one name, two values.
    watch_spans: Callable[[], None] = lambda: None  # noqa: E731 - as above.
else:
    mark_span = otel.mark_span
    watch_spans = otel.watch_spans
