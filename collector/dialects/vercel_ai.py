"""Vercel AI SDK: `ai.*` of versions 4 to 6 (and of 7's LegacyOpenTelemetry), and the `gen_ai` scope of 7.

An `ai.operationId` that ends in `.doGenerate`, `.doStream` or `.doEmbed` is one call; without, it is
the sum over the steps of one function call. Version 7 calls that sum `invoke_agent`. The provider
has the API appended (`openai.chat`).
"""

from collector.dialects.dialect import GENAI_COLUMNS, GENAI_OPERATIONS, Dialect

_TEXT = ("ai.generateText", "ai.streamText", "ai.generateObject", "ai.streamObject")

DIALECT = Dialect(
    name="vercel_ai",
    title="Vercel AI SDK",
    # Version 7: https://github.com/vercel/ai/tree/main/packages/otel
    source="https://ai-sdk.dev/docs/ai-sdk-core/telemetry#collected-data",
    marks=("ai.operationId",),
    scopes=("gen_ai",),
    columns={
        **GENAI_COLUMNS,
        "operation": ("ai.operationId", "gen_ai.operation.name"),
        "provider": ("gen_ai.provider.name", "gen_ai.system", "ai.model.provider"),
        "request_model": ("gen_ai.request.model", "ai.model.id"),
        "response_model": ("gen_ai.response.model", "ai.response.model"),
        "response_id": ("gen_ai.response.id", "ai.response.id"),
        "conversation_id": ("gen_ai.conversation.id", "ai.telemetry.metadata.sessionId"),
        "claimed_agent": ("gen_ai.agent.name", "ai.telemetry.functionId"),
        "tool_name": ("gen_ai.tool.name", "ai.toolCall.name"),
        "tool_call_id": ("gen_ai.tool.call.id", "ai.toolCall.id"),
        "input_tokens": (
            "ai.usage.inputTokens",
            "ai.usage.promptTokens",
            "ai.usage.tokens",
            "gen_ai.usage.input_tokens",
        ),
        "cache_read_tokens": (
            "ai.usage.inputTokenDetails.cacheReadTokens",
            "ai.usage.cachedInputTokens",
            "gen_ai.usage.cache_read.input_tokens",
        ),
        "cache_write_tokens": (
            "ai.usage.inputTokenDetails.cacheWriteTokens",
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
        ),
        "output_tokens": ("ai.usage.outputTokens", "ai.usage.completionTokens", "gen_ai.usage.output_tokens"),
        "reasoning_tokens": (
            "ai.usage.outputTokenDetails.reasoningTokens",
            "ai.usage.reasoningTokens",
            "gen_ai.usage.reasoning.output_tokens",
        ),
    },
    operations={
        **GENAI_OPERATIONS,
        **dict.fromkeys(_TEXT, "invoke_agent"),
        **{f"{name}.{call}": "chat" for name in _TEXT for call in ("doGenerate", "doStream")},
        "ai.embed.doEmbed": "embeddings",
        "ai.embedMany.doEmbed": "embeddings",
        "ai.toolCall": "execute_tool",
    },
    advice=(
        "Only calls with experimental_telemetry.isEnabled (version 7: a registered telemetry integration) are told;"
        " set a functionId for each agent. Version 7 sends no reasoning counts unless LegacyOpenTelemetry is used."
    ),
)
