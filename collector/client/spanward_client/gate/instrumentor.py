"""`opentelemetry-instrument python agent.py` → an agent whose model calls are gated, with no code change.

Named by the entry point `opentelemetry_instrumentor`. OpenTelemetry makes the class and calls
`instrument`; its own parent class is not needed for that, so this package needs not depend on it.
"""

from spanward_client.gate import instrument, uninstrument


class SpanwardInstrumentor:
    """What OpenTelemetry loads; the contract of its `BaseInstrumentor`. Code calls `spanward_client.instrument()`."""

    def instrumentation_dependencies(self) -> tuple[str, ...]:
        """None: each HTTP library is gated if it is there."""
        return ()

    def instrument(self, **_options: object) -> None:
        """Put the gate in place; options are for others."""
        instrument()

    def uninstrument(self, **_options: object) -> None:
        """Take the gate away."""
        uninstrument()
