"""A decision's id → the span of its call, and no spans of our own requests; nothing without OpenTelemetry."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

try:
    from spanward_client import otel
except ImportError:  # The extra `otel` is not installed: there are no spans.
    mark_span: Callable[[str, int], None] = lambda _decision_id, _sent_at_ns: None  # noqa: E731 - one name, two values.
    watch_spans: Callable[[], None] = lambda: None  # noqa: E731 - as above.
    without_spans: Callable[[], AbstractContextManager[None]] = nullcontext
else:
    mark_span = otel.mark_span
    watch_spans = otel.watch_spans
    without_spans = otel.without_spans
