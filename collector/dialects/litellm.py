"""LiteLLM's OpenTelemetry callback: `litellm_request` is the call, `raw_gen_ai_request` repeats its answer.

Counts are in the attributes; their cache and reasoning parts only in the Python text of
`metadata.usage_object`. For Anthropic, the Responses API and embeddings the call's response id is
LiteLLM's own; the provider's is `llm.PROVIDER.id` on the repetition. A stream without usage is sent
with zero tokens and cost 0.
"""

from collector.dialects.dialect import ECHO_OPERATION, GENAI_COLUMNS, GENAI_OPERATIONS, Dialect

# LiteLLM's words for providers; "None" where it forgets which it was: https://docs.litellm.ai/docs/providers
_PROVIDERS = (
    *("None", "anthropic", "azure", "azure_ai", "bedrock", "cohere", "databricks", "deepseek", "fireworks_ai"),
    *("gemini", "groq", "hosted_vllm", "mistral", "moonshot", "ollama", "openai", "openrouter", "perplexity"),
    *("together_ai", "vertex_ai", "watsonx", "xai"),
)
# Its call types, where no operation is given: https://github.com/BerriAI/litellm/blob/main/litellm/types/utils.py
_CALL_TYPES = {
    "completion": "chat",
    "acompletion": "chat",
    "anthropic_messages": "chat",
    "aresponses": "chat",
    "atext_completion": "text_completion",
    "aembedding": "embeddings",
    "agenerate_content": "generate_content",
}

DIALECT = Dialect(
    name="litellm",
    title="LiteLLM",
    source="https://github.com/BerriAI/litellm/blob/main/litellm/integrations/opentelemetry.py",
    marks=("litellm.call_id", "metadata.usage_object"),
    scopes=("litellm",),
    columns={
        **GENAI_COLUMNS,
        "operation": ("gen_ai.operation.name", "llm.request.type"),
        "response_id": (*(f"llm.{provider}.id" for provider in _PROVIDERS), "gen_ai.response.id"),
        "emitted_cost": ("gen_ai.cost.total_cost",),
    },
    operations={**GENAI_OPERATIONS, **_CALL_TYPES},
    span_names={"raw_gen_ai_request": ECHO_OPERATION},
    usage_documents=("metadata.usage_object",),
    advice=(
        "Streams carry usage only when the request sets stream_options.include_usage; the others are sent as free."
        " A call answered by a fallback may leave no span: instrument the provider's client too."
    ),
)
