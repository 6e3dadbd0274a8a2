"""SDKs of observability platforms, pointed at the collector instead of their platform.

LangSmith: totals in the conventions' names, details as JSON and as Python text. `langsmith.span.kind`
says what a span is; the operation beside it calls retrievers embeddings and prompts chats.

Langfuse: usage as JSON in the provider's own shape. The SDK sends no response id, and the model that
answered in place of the one that was asked. Others put `langfuse.observation.type` beside the
conventions' names, so those are read too.

MLflow: each value encoded as JSON. Input includes cached tokens.
"""

from collector.dialects.dialect import GENAI_COLUMNS, GENAI_OPERATIONS, Dialect

LANGSMITH = Dialect(
    name="langsmith",
    title="LangSmith",
    source="https://github.com/langchain-ai/langsmith-sdk/blob/main/python/langsmith/_internal/otel/_otel_exporter.py",
    marks=("langsmith.span.kind",),
    scopes=("langsmith",),
    columns={
        **GENAI_COLUMNS,
        "operation": ("langsmith.span.kind", "gen_ai.operation.name"),
        "provider": ("langsmith.metadata.ls_provider", "gen_ai.system"),
        "service_tier": ("gen_ai.response.service_tier",),
        "conversation_id": (
            "langsmith.metadata.thread_id",
            "langsmith.metadata.session_id",
            "langsmith.metadata.conversation_id",
        ),
        "claimed_agent": ("gen_ai.agent.name", "langsmith.metadata.lc_agent_name"),
    },
    operations={
        **GENAI_OPERATIONS,
        "llm": "chat",
        "tool": "execute_tool",
        "chain": "invoke_workflow",
        "retriever": "retrieval",
    },
    usage_documents=(
        "langsmith.metadata.usage_metadata",
        "gen_ai.usage.input_token_details",
        "gen_ai.usage.output_token_details",
    ),
    advice=(
        "OpenAI chat streams carry usage only when the request sets stream_options.include_usage"
        " (LangChain: stream_usage=True, which it leaves off behind a gateway)."
        " Embeddings are not traced: add the instrumentation of the provider's client."
    ),
)

LANGFUSE = Dialect(
    name="langfuse",
    title="Langfuse",
    source="https://langfuse.com/integrations/native/opentelemetry#property-mapping",
    marks=("langfuse.observation.type",),
    scopes=("langfuse-sdk",),
    columns={
        **GENAI_COLUMNS,
        "operation": ("gen_ai.operation.name", "langfuse.observation.type"),
        "request_model": ("gen_ai.request.model", "langfuse.observation.model.name"),
        "response_model": ("gen_ai.response.model", "langfuse.observation.model.name"),
        "conversation_id": ("gen_ai.conversation.id", "session.id", "langfuse.session.id"),
        "emitted_cost": ("langfuse.observation.cost_details",),
    },
    operations={
        **GENAI_OPERATIONS,
        "generation": "chat",
        "embedding": "embeddings",
        "tool": "execute_tool",
        "agent": "invoke_agent",
        "chain": "invoke_workflow",
        "retriever": "retrieval",
    },
    usage_documents=("langfuse.observation.usage_details",),
    agent_from_span_name=(),
    advice=(
        "OpenAI chat streams carry usage only when the request sets stream_options.include_usage;"
        " a generation made by hand needs usage_details."
    ),
)

MLFLOW = Dialect(
    name="mlflow",
    title="MLflow",
    source="https://github.com/mlflow/mlflow/blob/master/mlflow/tracing/constant.py",
    marks=("mlflow.spanType",),
    scopes=("mlflow.",),
    columns={
        "operation": ("mlflow.spanType",),
        "provider": ("mlflow.llm.provider",),
        "request_model": ("model", "mlflow.llm.model"),
        "response_model": ("mlflow.llm.model",),
        "response_id": ("mlflow.spanOutputs#id",),
        "conversation_id": ("session.id",),
    },
    operations={
        "CHAT_MODEL": "chat",
        "LLM": "text_completion",
        "EMBEDDING": "embeddings",
        "TOOL": "execute_tool",
        "AGENT": "invoke_agent",
        "CHAIN": "invoke_workflow",
        "WORKFLOW": "invoke_workflow",
        "RETRIEVER": "retrieval",
    },
    usage_documents=("mlflow.chat.tokenUsage",),
    agent_from_span_name=(),
    advice=(
        "OpenAI chat streams carry usage only when the request sets stream_options.include_usage."
        " Embeddings and reasoning are never counted: add the instrumentation of the provider's client for them."
    ),
)
