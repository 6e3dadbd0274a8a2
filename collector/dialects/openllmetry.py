"""OpenLLMetry (Traceloop): GenAI names of its own time plus `llm.*` and `traceloop.*`.

Mid-2025 versions say what a span is with `llm.request.type` and write providers in capitals; newer
ones say `gen_ai.operation.name` and are told apart by their scope only.
"""

from collector.dialects.dialect import Dialect

_PROVIDERS = ("alephalpha", "anthropic", "bedrock", "cohere", "google_generativeai", "groq", "langchain", "llamaindex")
_MORE_PROVIDERS = (
    "mistralai",
    "ollama",
    "openai.v0",
    "openai.v1",
    "replicate",
    "sagemaker",
    "together",
    "transformers",
)

DIALECT = Dialect(
    name="openllmetry",
    # https://github.com/traceloop/openllmetry/blob/main/packages/opentelemetry-semantic-conventions-ai
    source="https://github.com/traceloop/openllmetry/tree/main/packages/opentelemetry-semantic-conventions-ai",
    marks=("llm.request.type", "traceloop.span.kind"),
    scopes=tuple(
        f"opentelemetry.instrumentation.{name}" for name in (*_PROVIDERS, *_MORE_PROVIDERS, "vertexai", "watsonx")
    ),
    columns={
        "operation": ("gen_ai.operation.name", "llm.request.type", "traceloop.span.kind"),
        "provider": ("gen_ai.provider.name", "gen_ai.system"),
        "request_model": ("gen_ai.request.model",),
        "response_model": ("gen_ai.response.model",),
        "response_id": ("gen_ai.response.id",),
        "service_tier": ("openai.response.service_tier", "gen_ai.openai.response.service_tier"),
        "conversation_id": (
            "gen_ai.conversation.id",
            "traceloop.association.properties.session_id",
            "traceloop.association.properties.thread_id",
        ),
        "claimed_agent": (
            "gen_ai.agent.name",
            "traceloop.association.properties.lc_agent_name",
            "traceloop.entity.name",
        ),
        "tool_name": ("gen_ai.tool.name",),
        "tool_call_id": ("gen_ai.tool.call.id",),
        "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens"),
        "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
        "cache_read_tokens": ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
        "cache_write_tokens": (
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "gen_ai.usage.cache_write.input_tokens",
        ),
        "reasoning_tokens": ("gen_ai.usage.reasoning_tokens", "llm.usage.reasoning_tokens"),
    },
    operations={
        "completion": "text_completion",
        "embedding": "embeddings",
        "tool": "execute_tool",
        "agent": "invoke_agent",
        "workflow": "invoke_workflow",
    },
)
