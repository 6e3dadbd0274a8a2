"""GenAI semantic conventions: current, deprecated and first-generation names.

Input counts include cached tokens and output counts include reasoning (the conventions' own rule),
so no token class is ever added to another.
"""

from collector.dialects.dialect import Dialect

DIALECT = Dialect(
    name="genai",
    # https://github.com/open-telemetry/semantic-conventions-genai, and for the deprecated names
    # https://github.com/open-telemetry/semantic-conventions/tree/v1.36.0/docs/gen-ai
    source="https://github.com/open-telemetry/semantic-conventions-genai",
    marks=("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.system", "gen_ai.request.model"),
    columns={
        "operation": ("gen_ai.operation.name",),
        "provider": ("gen_ai.provider.name", "gen_ai.system"),
        "request_model": ("gen_ai.request.model",),
        "response_model": ("gen_ai.response.model",),
        "response_id": ("gen_ai.response.id",),
        "service_tier": ("openai.response.service_tier", "gen_ai.openai.response.service_tier"),
        "conversation_id": ("gen_ai.conversation.id", "session.id"),
        "claimed_agent": ("gen_ai.agent.name", "gen_ai.agent.id"),
        "tool_name": ("gen_ai.tool.name",),
        "tool_call_id": ("gen_ai.tool.call.id",),
        "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
        "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
        "cache_read_tokens": ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
        "cache_write_tokens": (
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
        ),
        "reasoning_tokens": ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.details.reasoning_tokens"),
    },
    operations={"completion": "text_completion", "embedding": "embeddings", "responses": "chat"},
)
