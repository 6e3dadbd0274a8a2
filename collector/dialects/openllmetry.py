"""OpenLLMetry and the Traceloop SDK: GenAI names of their own time plus `llm.*` and `traceloop.*`.

Mid-2025 versions say what a span is with `llm.request.type` and write providers in capitals; newer
ones say `gen_ai.operation.name` and are told apart by their scope only. `gen_ai.agent.id` is one
run's id here, so it names no agent.
"""

from collector.dialects.dialect import GENAI_COLUMNS, GENAI_OPERATIONS, Dialect

_LIBRARIES = (
    *("agno", "alephalpha", "anthropic", "bedrock", "cohere", "crewai", "google_generativeai", "groq", "haystack"),
    *("langchain", "llamaindex", "mistralai", "ollama", "openai.v0", "openai.v1", "replicate", "sagemaker", "together"),
    *("transformers", "vertexai", "voyageai", "watsonx", "writer"),
)

DIALECT = Dialect(
    name="openllmetry",
    title="OpenLLMetry and Traceloop",
    # Keys of the Traceloop SDK: https://github.com/traceloop/openllmetry/tree/main/packages/traceloop-sdk
    source="https://github.com/traceloop/openllmetry/tree/main/packages/opentelemetry-semantic-conventions-ai",
    marks=("llm.request.type", "traceloop.span.kind"),
    scopes=("traceloop.", *(f"opentelemetry.instrumentation.{library}" for library in _LIBRARIES)),
    columns={
        **GENAI_COLUMNS,
        "operation": ("gen_ai.operation.name", "llm.request.type", "traceloop.span.kind"),
        # LangChain's instrumentation names itself the provider of what it cannot place.
        "provider": ("traceloop.association.properties.ls_provider", "gen_ai.provider.name", "gen_ai.system"),
        "server_address": ("gen_ai.openai.api_base",),
        "conversation_id": (
            "gen_ai.conversation.id",
            "traceloop.association.properties.session_id",
            "traceloop.association.properties.thread_id",
        ),
        "claimed_agent": ("gen_ai.agent.name", "traceloop.association.properties.lc_agent_name"),
        "tool_name": ("gen_ai.tool.name", "traceloop.entity.name"),
        "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens"),
        "output_tokens": (
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.completion_tokens",
            "llm.usage.completion_tokens",
        ),
        "reasoning_tokens": ("gen_ai.usage.reasoning_tokens", "llm.usage.reasoning_tokens"),
    },
    operations={**GENAI_OPERATIONS, "tool": "execute_tool", "agent": "invoke_agent", "workflow": "invoke_workflow"},
    agent_from_span_name=(".agent", ".workflow"),
    advice=(
        "OpenAI chat streams carry usage only when the request sets stream_options.include_usage"
        " (LangChain: stream_usage=True); versions of 2025 miss newer SDK calls, so upgrade them."
        " On Anthropic streams the output is a few tokens high unless the SDK's own spans (anthropic 2) are on too."
    ),
)
