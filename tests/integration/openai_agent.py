"""Prompts in, telemetry out: an agent as people write them, the openai SDK under the official instrumentation.

    python -m tests.integration.openai_agent

Nothing in it knows Spanward: where its spans go is said by OTEL_EXPORTER_OTLP_ENDPOINT, _PROTOCOL and
_HEADERS, where its model is by OPENAI_BASE_URL.
"""

import asyncio
import contextlib
import os

import openai
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionUserMessageParam
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

SEARCH: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {"name": "search", "parameters": {"type": "object", "properties": {"query": {"type": "string"}}}},
}


def user(text: str) -> ChatCompletionUserMessageParam:
    """A message of the person the agent works for."""
    return {"role": "user", "content": text}


def call_in_many_ways() -> None:
    """Calls that differ in model, caching, tools and concurrency, and one that the provider refuses."""
    client = openai.OpenAI(max_retries=0)
    client.chat.completions.create(model="gpt-4.1", messages=[user("Say hello.")])
    long = user("The same long document. " * 800)
    for _ in range(2):  # The second is answered from the provider's cache, and is cheaper.
        client.chat.completions.create(model="gpt-5", messages=[long], max_completion_tokens=300)
    client.chat.completions.create(model="gpt-5-mini", messages=[user("Find it.")], tools=[SEARCH])
    with contextlib.suppress(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=[user("Hello?")])
    asyncio.run(_call_at_once())


async def _call_at_once() -> None:
    client = openai.AsyncOpenAI(max_retries=0)
    questions = [user(f"Question {number}") for number in range(8)]
    await asyncio.gather(*(client.chat.completions.create(model="gpt-5-mini", messages=[q]) for q in questions))


def main() -> None:
    """Call, then flush the spans as a well-behaved program does at its end."""
    grpc = os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "grpc"
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "integration-agent"}))
    provider.add_span_processor(BatchSpanProcessor(GrpcExporter() if grpc else HttpExporter()))
    trace.set_tracer_provider(provider)
    OpenAIInstrumentor().instrument()
    call_in_many_ways()
    provider.shutdown()


if __name__ == "__main__":
    main()
