"""Environment variables → telemetry that goes to Spanward.

The usual OpenTelemetry set-up and one line more: `DecisionSpanProcessor` puts the id of the decision
on the spans made under it, so that Spanward settles exactly the hold a call was made under. Address
and key come from OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS; `spanward_client` takes
the same key. Invariant: an agent told to stop (SIGTERM) finishes its call and flushes its spans.
"""

import signal
import sys
import threading

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from spanward_client.otel import DecisionSpanProcessor

EXPORT_DELAY_MS = 200
"""Short, so that the terminal keeps up; OpenTelemetry's default of 5 s is as good for the money."""


def observe(agent: str, exporter: HttpExporter | GrpcExporter) -> trace.Tracer:
    """Send the spans of every OpenAI call, and those of the returned tracer, through `exporter`."""
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: agent}))
    provider.add_span_processor(DecisionSpanProcessor())  # type: ignore[arg-type]  # The SDK calls it by its methods.
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_DELAY_MS))
    trace.set_tracer_provider(provider)
    OpenAIInstrumentor().instrument()
    return provider.get_tracer(agent)


def until_stopped() -> threading.Event:
    """An event that SIGTERM sets; `wait` on it instead of sleeping."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    return stop


def say(line: str) -> None:
    """One line for the terminal, now."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
