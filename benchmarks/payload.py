"""A seed in, OTLP batches that look like agent traffic out.

Mix of a batch: 85 % model calls (of these 75 % current GenAI semantic conventions, 10 % their older
names, 15 % OpenInference), 5 % tool executions, 10 % HTTP and database spans; about 22 attributes
and 960 bytes a span, no message content. The same seed gives the same bytes.

Trace ids begin with `TRACE_MARK`, span ids with `SPAN_MARK`; the loader overwrites the four bytes
after a mark, and the first eight digits of response and tool call ids (`benchmarks/load/spans.go`), so a batch can
be sent many times without repeating an id.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status

TRACE_MARK = b"\xf1\xa9\xc3\xe7"
SPAN_MARK = b"\xfe\xb8"
SPANS_PER_BATCH = 512
RESOURCES_PER_BATCH = 4

MODELS = (
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4.1"),
    ("openai", "o3-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-haiku-4-5"),
    ("gcp.gemini", "gemini-2.5-pro"),
    ("gcp.gemini", "gemini-2.5-flash"),
    ("aws.bedrock", "amazon.nova-pro-v1:0"),
    ("mistral_ai", "mistral-large-latest"),
    ("azure.ai.openai", "gpt-4o"),
    ("deepseek", "deepseek-chat"),
)
WORDS = ("the", "agent", "asked", "for", "a", "refund", "while", "checking", "policy", "and", "budget", "limits")

Value = str | int | float | bool | list[str]
Attributes = dict[str, Value]


def write_batches(folder: Path, *, batches: int, now_ns: int, seed: int = 7) -> int:
    """Write `batches` files of 512 spans into `folder`; their size together in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    random = Random(seed)
    size = 0
    for number in range(batches):
        size += (folder / f"{number:05d}.pb").write_bytes(batch(random, now_ns=now_ns).SerializeToString())
    return size


def batch(random: Random, *, now_ns: int, spans: int = SPANS_PER_BATCH) -> ExportTraceServiceRequest:
    """One export request from four services, its calls within the ten seconds before `now_ns`."""
    request = ExportTraceServiceRequest()
    index = 0
    for number in range(RESOURCES_PER_BATCH):
        resource = request.resource_spans.add()
        resource.resource.attributes.extend(_pairs(_service(random)))
        scope = resource.scope_spans.add(schema_url="https://opentelemetry.io/schemas/1.37.0")
        scope.scope.name, scope.scope.version = "opentelemetry.instrumentation.openai_v2", "2.3b0"
        share = spans // RESOURCES_PER_BATCH + (number < spans % RESOURCES_PER_BATCH)
        _fill(random, scope, range(index, index + share), now_ns=now_ns)
        index += share
    return request


def _fill(random: Random, scope: ScopeSpans, indices: range, *, now_ns: int) -> None:
    trace, root, conversation, agent = b"", b"", "", 0
    for index in indices:
        span_id = SPAN_MARK + bytes(4) + index.to_bytes(2, "big")
        parent = root
        if not trace or random.random() < 0.12:
            trace, root, parent = TRACE_MARK + bytes(4) + random.randbytes(8), span_id, b""
            conversation, agent = f"conv_{random.getrandbits(80):020x}", random.randrange(200)
        start = now_ns - random.randrange(2 * 10**9, 10**10)
        span = scope.spans.add(
            trace_id=trace,
            span_id=span_id,
            parent_span_id=parent,
            start_time_unix_nano=start,
            end_time_unix_nano=start + random.randrange(10**7, 2 * 10**9),
            flags=0x101,
        )
        _describe(random, span, agent=agent, conversation=conversation)


def _describe(random: Random, span: Span, *, agent: int, conversation: str) -> None:
    kind = random.random()
    if kind < 0.85:
        provider, model = random.choice(MODELS)
        span.kind, span.name = Span.SPAN_KIND_CLIENT, f"chat {model}"
        span.status.code = Status.STATUS_CODE_UNSET if random.random() < 0.97 else Status.STATUS_CODE_ERROR
        words = _openinference if random.random() >= 0.85 else _semconv
        attributes = words(random, provider, model) | _asker(random, agent, conversation)
    elif kind < 0.90:
        span.kind, span.name = Span.SPAN_KIND_INTERNAL, "execute_tool search_orders"
        attributes = _tool(random) | _asker(random, agent, conversation)
    else:
        span.kind, span.name = Span.SPAN_KIND_CLIENT, "POST" if kind < 0.95 else "SELECT orders"
        attributes = _HTTP
    span.attributes.extend(_pairs(attributes))


def _service(random: Random) -> Attributes:
    return {
        "service.name": f"svc-{random.randrange(60)}",
        "service.namespace": f"org-{random.randrange(8)}",
        "service.version": "1.14.2",
        "deployment.environment.name": "production",
        "cloud.region": random.choice(["eu-west-1", "us-east-1"]),
        "host.name": f"ip-10-0-{random.randrange(255)}-{random.randrange(255)}",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": "1.45.2",
        "process.pid": random.randrange(2, 60000),
    }


def _asker(random: Random, agent: int, conversation: str) -> Attributes:
    return {
        "gen_ai.agent.id": f"agent-{agent:04d}",
        "gen_ai.agent.name": f"Support Agent {agent}",
        "gen_ai.conversation.id": conversation,
        "session.id": conversation,
        "user.id": f"user-{random.randrange(5000)}",
    }


def _semconv(random: Random, provider: str, model: str) -> Attributes:
    older = random.random() < 0.12
    tokens_in, tokens_out = random.randrange(200, 9000), random.randrange(10, 1800)
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.system" if older else "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        "gen_ai.response.id": f"chatcmpl-{random.getrandbits(120):030x}",
        "gen_ai.usage.prompt_tokens" if older else "gen_ai.usage.input_tokens": tokens_in,
        "gen_ai.usage.completion_tokens" if older else "gen_ai.usage.output_tokens": tokens_out,
        "gen_ai.usage.cache_read.input_tokens": tokens_in // 3,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.top_p": 0.95,
        "gen_ai.request.max_tokens": 4096,
        "gen_ai.request.stream": True,
        "gen_ai.request.seed": 42,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.output.type": "text",
        "gen_ai.agent.version": "3.2.0",
        "server.address": f"api.{provider}.example",
        "server.port": 443,
        "openai.response.service_tier": "default",
    }


def _openinference(random: Random, provider: str, model: str) -> Attributes:
    tokens_in, tokens_out = random.randrange(200, 9000), random.randrange(10, 1800)
    attributes: Attributes = {
        "openinference.span.kind": "LLM",
        "llm.system": provider,
        "llm.provider": provider,
        "llm.model_name": model,
        "llm.token_count.prompt": tokens_in,
        "llm.token_count.completion": tokens_out,
        "llm.token_count.total": tokens_in + tokens_out,
        "llm.token_count.prompt_details.cache_read": tokens_in // 3,
        "llm.invocation_parameters": json.dumps({"temperature": 0.2, "max_tokens": 4096}),
        "input.mime_type": "application/json",
        "output.mime_type": "application/json",
    }
    for turn in range(4):
        attributes[f"llm.input_messages.{turn}.message.role"] = "user" if turn % 2 else "assistant"
        attributes[f"llm.input_messages.{turn}.message.content"] = " ".join(random.choices(WORDS, k=6))
    return attributes


def _tool(random: Random) -> Attributes:
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search_orders",
        "gen_ai.tool.call.id": f"call_{random.getrandbits(90):024x}",
        "gen_ai.tool.type": "function",
    }


_HTTP: Attributes = {
    "http.request.method": "POST",
    "url.full": "https://api.example/v1/chat/completions",
    "http.response.status_code": 200,
    "server.address": "api.example",
    "server.port": 443,
    "network.protocol.version": "1.1",
    "user_agent.original": "python-httpx/0.28.1",
}


def _pairs(attributes: Attributes) -> Iterator[KeyValue]:
    for key, value in attributes.items():
        yield KeyValue(key=key, value=_value(value))


def _value(value: Value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=item) for item in value]))
    return AnyValue(string_value=value)
