"""A span of a decided action → the same span, carrying the decision's id.

Add it to the tracer provider of the agent, and the server settles exactly the hold a call was made
under, whatever else runs at the same time (`spanward_client.instrument()` adds it by itself):

    provider.add_span_processor(DecisionSpanProcessor())

Invariant: it never blocks, never raises and changes only spans of decided actions. It needs only
`opentelemetry-api` (the extra `otel`); the SDK calls it by its methods.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple
from weakref import WeakSet

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, set_value
from opentelemetry.trace import Span, SpanKind

from spanward_client.holding import current_decision_id

DECISION_ATTRIBUTE = "spanward.decision.id"

# Spans that stand around model calls and are none, by what instrumentations say about them.
_CONTAINERS: Mapping[str, tuple[str, ...]] = {
    "gen_ai.operation.name": ("invoke_agent", "create_agent", "execute_tool", "invoke_workflow"),
    "openinference.span.kind": ("AGENT", "CHAIN", "TOOL", "RETRIEVER", "RERANKER", "GUARDRAIL", "EVALUATOR"),
    "traceloop.span.kind": ("workflow", "task", "agent", "tool"),
}
_OF_CALLS = ("gen_ai.", "llm.", "openinference.")


class _Sent(NamedTuple):
    decision_id: str
    at_ns: int


# The last gated call of this context whose span is not there yet: some instrumentations make it afterwards.
_sent: ContextVar[_Sent | None] = ContextVar("spanward.sent", default=None)


class DecisionSpanProcessor:
    """Sets `spanward.decision.id` on every span that starts while a hold is open, and on late spans of gated calls."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK passes it by name.
        """Called by the SDK on the thread that starts the span, where the hold is known."""
        sent = _sent.get()
        started_at_ns = getattr(span, "start_time", None)
        if sent is not None and started_at_ns is not None and started_at_ns <= sent.at_ns:
            # Made after the answer and dated back: only the call that was just made can be meant.
            span.set_attribute(DECISION_ATTRIBUTE, sent.decision_id)
            _sent.set(None)
            return
        decision_id = current_decision_id()
        if decision_id:
            span.set_attribute(DECISION_ATTRIBUTE, decision_id)

    def _on_ending(self, span: Span) -> None:
        """Called by SDKs from 1.36 on; nothing to do."""

    def on_end(self, span: object) -> None:
        """Nothing to do."""

    def shutdown(self) -> None:
        """Nothing to do."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - part of the SDK's call.
        """Nothing is ever buffered."""
        return True


@contextmanager
def without_spans() -> Iterator[None]:
    """Inside, instrumentations of HTTP libraries make no spans: our own requests are no part of the agent's story.

    The key is the plain one that `opentelemetry.instrumentation.utils` reads.
    """
    token = attach(set_value("suppress_instrumentation", True))
    try:
        yield
    finally:
        detach(token)


_watched: WeakSet[object] = WeakSet()


def watch_spans() -> None:
    """Add the processor to the global tracer provider, once; before there is one, nothing happens."""
    provider = trace.get_tracer_provider()
    add = getattr(provider, "add_span_processor", None)
    if add is not None and provider not in _watched:
        _watched.add(provider)
        add(DecisionSpanProcessor())


def mark_span(decision_id: str, sent_at_ns: int) -> None:
    """Tell the span of a model call that is about to be sent which decision it belongs to."""
    watch_spans()
    span = trace.get_current_span()
    attributes = getattr(span, "attributes", None) or {}
    contained = any(attributes.get(name) in words for name, words in _CONTAINERS.items())
    if span.is_recording() and not contained and getattr(span, "kind", None) is not SpanKind.SERVER:
        span.set_attribute(DECISION_ATTRIBUTE, decision_id)
        if any(str(name).startswith(_OF_CALLS) for name in attributes):
            _sent.set(None)
            return
    _sent.set(_Sent(decision_id, sent_at_ns))
