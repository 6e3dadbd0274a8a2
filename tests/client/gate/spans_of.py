"""An instrumentation's name and a provider's address in, the spans of every openai call out.

    python -m tests.client.gate.spans_of official http://127.0.0.1:1234

A program, because not every instrumentation can be taken away again. Prints one JSON object: call → the
spans it made, each with its name and the decision on it.
"""

import json
import sys
import warnings
from typing import Any

import spanward_client
from openinference.instrumentation.openai import OpenAIInstrumentor as OpenInference
from opentelemetry import trace
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor as Official
from opentelemetry.instrumentation.openai import OpenAIInstrumentor as OpenLLMetry
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from spanward_client.otel import DECISION_ATTRIBUTE

from tests.client.gate.openai_sdk import OPENAI_CALLS

INSTRUMENTATIONS: dict[str, Any] = {"official": Official, "openllmetry": OpenLLMetry, "openinference": OpenInference}


def main(instrumentations: list[str], url: str) -> dict[str, list[tuple[str, object]]]:
    """Make each call twice, below an agent's span."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    for name in instrumentations:
        INSTRUMENTATIONS[name]().instrument(skip_dep_check=True)
    spanward_client.instrument()
    tracer = provider.get_tracer("agent")
    spans: dict[str, list[tuple[str, object]]] = {}
    for name, call in OPENAI_CALLS.items():
        with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
            call(url)
            call(url)
        spans[name] = [
            (span.name, (span.attributes or {}).get(DECISION_ATTRIBUTE)) for span in exporter.get_finished_spans()
        ]
        exporter.clear()
    return spans


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    json.dump(main(sys.argv[1].split(","), sys.argv[2]), sys.stdout)
