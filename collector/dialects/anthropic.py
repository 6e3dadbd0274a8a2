"""Anthropic's own emitters: the spans of its SDK, and Claude Code's log events and spans.

The SDK's spans alone say how long the provider keeps what it cached. Compaction's tokens
(`anthropic.usage.compaction.*`) come on top of the usual counts and are not read: a column takes one
key's count, never a sum.

Claude Code tells of a call by an `api_request` log event and, in its beta, by an `llm_request` span.
Either may be switched on without the other, so both are calls; they share the id of the HTTP
request, which stands in for the response's: no record has that. Its input leaves cached tokens out.
"""

from collector.dialects.dialect import GENAI_COLUMNS, GENAI_OPERATIONS, POINT_INPUT, POINT_OUTPUT, Dialect, TokenMetric

SDK = Dialect(
    name="anthropic_sdk",
    title="Anthropic SDK",
    source="https://github.com/anthropics/anthropic-sdk-python",
    scopes=("com.anthropic.sdk.",),
    columns={
        **GENAI_COLUMNS,
        "request_id": ("anthropic.request.id",),
        "service_tier": ("anthropic.response.service_tier",),
        "cache_write_1h_tokens": ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens",),
    },
    operations=GENAI_OPERATIONS,
    advice=(
        "Every call is measured while ANTHROPIC_OPEN_TELEMETRY is not false."
        " A call that compacts its context costs more than is booked: the compaction's tokens are not counted."
    ),
)

_MONITORING = "https://docs.claude.com/en/docs/claude-code/monitoring-usage"
_CLAUDE_CODE_COLUMNS = {
    "request_id": ("request_id",),
    "response_id": ("request_id", "gen_ai.response.id"),
    "service_tier": ("speed",),
    "conversation_id": ("session.id",),
    "claimed_agent": ("agent.name",),
    "tool_name": ("tool_name",),
    "tool_call_id": ("tool_use_id", "gen_ai.tool.call.id"),
    "input_tokens": ("input_tokens",),
    "cache_read_tokens": ("cache_read_tokens",),
    "cache_write_tokens": ("cache_creation_tokens",),
    "output_tokens": ("output_tokens",),
}

CLAUDE_CODE = Dialect(
    name="claude_code",
    title="Claude Code",
    source=_MONITORING,
    scopes=("com.anthropic.claude_code.events",),
    # The event names are common words, so they are read as words and a record is known by its scope.
    columns={
        **_CLAUDE_CODE_COLUMNS,
        "operation": ("event.name",),
        "response_model": ("model",),
        "emitted_cost": ("cost_usd",),
    },
    operations={"api_request": "chat", "tool_result": "execute_tool"},
    input_excludes_cache=True,
    books="logs",
    advice=(
        "Set CLAUDE_CODE_ENABLE_TELEMETRY=1 and OTEL_LOGS_EXPORTER=otlp: each call is a log event with its cost."
        " One-hour cache writes are not told apart, so the emitted cost is the better one where they are used."
    ),
    token_metrics={
        "claude_code.token.usage": TokenMetric(
            type_key="type",
            types={
                "input": POINT_INPUT,
                "cacheRead": (*POINT_INPUT, "cache_read_tokens"),
                "cacheCreation": (*POINT_INPUT, "cache_write_tokens"),
                "output": POINT_OUTPUT,
            },
            texts={"request_model": ("model",)},
        )
    },
)
CLAUDE_CODE_SPANS = Dialect(
    name="claude_code_spans",
    title="Claude Code (trace beta)",
    source=_MONITORING,
    scopes=("com.anthropic.claude_code.",),
    columns={
        **_CLAUDE_CODE_COLUMNS,
        "operation": ("span.type",),
        "provider": ("gen_ai.system",),
        "request_model": ("gen_ai.request.model", "model"),
    },
    # `tool` is the request, which may be refused; the tool's name stands there only.
    operations={"llm_request": "chat", "tool.execution": "execute_tool"},
    input_excludes_cache=True,
    advice="Switch the log events on too (OTEL_LOGS_EXPORTER=otlp): only they say the cost and which model answered.",
)
