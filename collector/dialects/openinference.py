"""OpenInference (Arize): `openinference.span.kind` and `llm.*`.

`llm.model_name` holds the response's model when there was a response, else the requested one, so it
feeds both columns last. Prompt counts include cached tokens.
"""

from collector.dialects.dialect import Dialect

DIALECT = Dialect(
    name="openinference",
    # https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md
    source="https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md",
    marks=("openinference.span.kind",),
    columns={
        "operation": ("openinference.span.kind",),
        "provider": ("llm.provider", "llm.system"),
        "request_model": ("llm.request.model_name", "llm.model_name", "embedding.model_name"),
        "response_model": ("llm.response.model_name", "llm.model_name", "embedding.model_name"),
        "conversation_id": ("session.id",),
        "claimed_agent": ("agent.name", "graph.node.id"),
        "tool_name": ("tool.name",),
        "tool_call_id": ("tool_call.id", "tool.id"),
        "input_tokens": ("llm.token_count.prompt",),
        "output_tokens": ("llm.token_count.completion",),
        "cache_read_tokens": (
            "llm.token_count.prompt_details.cache_read",
            "llm.token_count.prompt_details.cache_input",
        ),
        "cache_write_tokens": ("llm.token_count.prompt_details.cache_write",),
        "reasoning_tokens": ("llm.token_count.completion_details.reasoning",),
    },
    operations={
        "LLM": "chat",
        "EMBEDDING": "embeddings",
        "TOOL": "execute_tool",
        "AGENT": "invoke_agent",
        "CHAIN": "invoke_workflow",
        "RETRIEVER": "retrieval",
    },
)
