"""OpenInference (Arize): `openinference.span.kind` and `llm.*`.

`llm.model_name` holds the response's model when there was a response, else the requested one, so it
feeds both columns last. Prompt counts include cached tokens. The response's id stands only inside
the JSON of `output.value`.
"""

from collections.abc import Mapping
from typing import Final

from collector.dialects.dialect import ECHO_OPERATION, Dialect

_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "operation": ("openinference.span.kind",),
    "provider": ("llm.provider", "llm.system"),
    "request_model": ("llm.request.model_name", "llm.model_name", "embedding.model_name"),
    "response_model": ("llm.response.model_name", "llm.model_name", "embedding.model_name"),
    "response_id": ("output.value#id",),
    "conversation_id": ("session.id",),
    "claimed_agent": ("agent.name", "graph.node.id"),
    "tool_name": ("tool.name",),
    "tool_call_id": ("tool_call.id", "tool.id"),
    "emitted_cost": ("llm.cost.total",),
    "input_tokens": ("llm.token_count.prompt",),
    "cache_read_tokens": (
        "llm.token_count.prompt_details.cache_read",
        "llm.token_count.prompt_details.cache_input",
    ),
    "cache_write_tokens": ("llm.token_count.prompt_details.cache_write",),
    "input_audio_tokens": ("llm.token_count.prompt_details.audio",),
    "output_tokens": ("llm.token_count.completion",),
    "reasoning_tokens": ("llm.token_count.completion_details.reasoning",),
    "output_audio_tokens": ("llm.token_count.completion_details.audio",),
}
_OPERATIONS: Final[Mapping[str, str]] = {
    "LLM": "chat",
    "EMBEDDING": "embeddings",
    "TOOL": "execute_tool",
    "AGENT": "invoke_agent",
    "CHAIN": "invoke_workflow",
    "RETRIEVER": "retrieval",
}
# What instrumentations append to an agent's name: CrewAI's, and Agno's and smolagents'.
_AGENT_SUFFIXES: Final = ("._execute_core", ".arun", ".run")

DIALECT = Dialect(
    name="openinference",
    title="OpenInference",
    source="https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md",
    marks=("openinference.span.kind",),
    columns=_COLUMNS,
    operations=_OPERATIONS,
    # Counting tokens asks no model, though the span's kind is LLM.
    span_names={"messages.count_tokens": ECHO_OPERATION},
    agent_from_span_name=_AGENT_SUFFIXES,
    advice=(
        "OpenAI chat streams carry usage only when the request sets stream_options.include_usage"
        " (LangChain: stream_usage=True). Service tiers and one-hour cache writes are not sent:"
        " give calls that use them the official instrumentation or the provider SDK's own spans."
    ),
)

# Crews, agents (by their role) and tools.
CREWAI = Dialect(
    name="crewai",
    title="CrewAI",
    source="https://github.com/Arize-ai/openinference/tree/main/python/instrumentation/openinference-instrumentation-crewai",
    scopes=("openinference.instrumentation.crewai",),
    columns=_COLUMNS,
    operations=_OPERATIONS,
    agent_from_span_name=_AGENT_SUFFIXES,
    advice=(
        "It emits no model calls: install the instrumentation of the LLM client beside it"
        " (openinference-instrumentation-openai, -anthropic or -litellm)."
    ),
)
