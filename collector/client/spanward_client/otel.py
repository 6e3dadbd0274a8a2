"""A span started inside `hold` → the same span, carrying the decision's id.

Add it to the tracer provider of the agent, and the server settles exactly the hold a call was made
under, whatever else runs at the same time:

    provider.add_span_processor(DecisionSpanProcessor())

Invariant: it never blocks, never raises and changes nothing outside `hold`. It needs only
`opentelemetry-api` (the extra `otel`); the SDK calls it by its methods.
"""

from opentelemetry.context import Context
from opentelemetry.trace import Span

from spanward_client.holding import current_decision_id

DECISION_ATTRIBUTE = "spanward.decision.id"


class DecisionSpanProcessor:
    """Sets `spanward.decision.id` on every span that starts while a hold is open."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK passes it by name.
        """Called by the SDK on the thread that starts the span, where the hold is known."""
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
