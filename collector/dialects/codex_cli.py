"""Codex CLI: the `codex.sse_event` of a completed response is the call; its spans' usage is never billed.

The event has counts, as text, only when it tells of a completed response; the other events of a
stream have none and are no calls.
"""

from collector.dialects.dialect import ECHO_OPERATION, POINT_INPUT, POINT_OUTPUT, Dialect, TokenMetric

DIALECT = Dialect(
    name="codex_cli",
    title="Codex CLI",
    source="https://github.com/openai/codex/blob/main/docs/config.md#otel",
    scopes=("codex_", "codex-"),
    columns={
        "request_model": ("model",),
        "conversation_id": ("conversation.id",),
        "tool_name": ("tool_name",),
        "tool_call_id": ("call_id",),
        "input_tokens": ("input_token_count", "gen_ai.usage.input_tokens"),
        "cache_read_tokens": ("cached_token_count", "gen_ai.usage.cache_read.input_tokens"),
        "cache_write_tokens": ("cache_write_token_count", "gen_ai.usage.cache_write.input_tokens"),
        "output_tokens": ("output_token_count", "gen_ai.usage.output_tokens"),
        "reasoning_tokens": ("reasoning_token_count", "codex.usage.reasoning_output_tokens"),
    },
    span_names={"handle_responses": ECHO_OPERATION, "session_task.turn": ECHO_OPERATION},
    events={"codex.tool_result": "execute_tool"},
    books="logs",
    advice=(
        "Set [otel] exporter (its log events) in config.toml: trace_exporter alone bills nothing."
        " Unset OTEL_EXPORTER_OTLP_COMPRESSION, with which it sends nothing."
    ),
    token_metrics={
        "codex.turn.token_usage": TokenMetric(
            type_key="token_type",
            types={"input": POINT_INPUT, "output": POINT_OUTPUT},
            texts={"request_model": ("model",)},
        )
    },
)
