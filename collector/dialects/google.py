"""Google's own emitters: ADK's spans and Gemini CLI's log events.

ADK speaks the conventions and tells each call again by a log event. Its versions of 2025 call the
span `call_llm`, give it no operation, and name ADK itself in `gen_ai.system`. Parallel tool calls
get a span more, which stands for none of them.

Gemini CLI's `gemini_cli.api_response` log event is the call; its other event and its span repeat it.
Thoughts are left out of the output's count. The operation is read from the event's name, because
the repetition carries the call's.
"""

from collector.dialects.dialect import (
    ECHO_OPERATION,
    GENAI_COLUMNS,
    GENAI_OPERATIONS,
    POINT_INPUT,
    POINT_OUTPUT,
    Dialect,
    TokenMetric,
)

ADK = Dialect(
    name="google_adk",
    title="Google ADK",
    source="https://github.com/google/adk-python/blob/main/src/google/adk/telemetry/tracing.py",
    marks=("gcp.vertex.agent.invocation_id",),
    scopes=("gcp.vertex.agent",),
    columns={
        **GENAI_COLUMNS,
        "provider": ("gen_ai.provider.name",),
        "conversation_id": ("gen_ai.conversation.id", "gcp.vertex.agent.session_id"),
    },
    operations=GENAI_OPERATIONS,
    span_names={"call_llm": "generate_content", "execute_tool (merged)": ECHO_OPERATION},
    advice=(
        "Every call is measured. No response ids are sent: a second instrumentation of the same client"
        " is known to tell the same call only by its usage and time, so switch one of them off."
    ),
)

GEMINI_CLI = Dialect(
    name="gemini_cli",
    title="Gemini CLI",
    source="https://github.com/google-gemini/gemini-cli/blob/main/docs/cli/telemetry.md",
    scopes=("gemini-cli",),
    columns={
        "operation": ("event.name", "gen_ai.operation.name"),
        "provider": ("gen_ai.provider.name",),
        "request_model": ("gen_ai.request.model", "model", "model_name"),
        "response_model": ("gen_ai.response.model",),
        "response_id": ("gen_ai.response.id",),
        "conversation_id": ("gen_ai.conversation.id", "session.id"),
        "claimed_agent": ("gen_ai.agent.name",),
        "tool_name": ("function_name",),
        "input_tokens": ("input_token_count", "gen_ai.usage.input_tokens"),
        "cache_read_tokens": ("cached_content_token_count",),
        "output_tokens": ("output_token_count", "gen_ai.usage.output_tokens"),
        "reasoning_tokens": ("thoughts_token_count",),
    },
    operations={
        "gemini_cli.api_response": "generate_content",
        "gemini_cli.api_error": "generate_content",
        "gemini_cli.tool_call": "execute_tool",
        "gen_ai.client.inference.operation.details": ECHO_OPERATION,
        "llm_call": ECHO_OPERATION,
    },
    output_excludes_reasoning=True,
    books="logs",
    advice="Set telemetry.enabled and telemetry.otlpEndpoint in settings.json: each call is a log event.",
    token_metrics={
        "gemini_cli.token.usage": TokenMetric(
            type_key="type",
            types={"input": POINT_INPUT, "output": POINT_OUTPUT, "thought": (*POINT_OUTPUT, "reasoning_tokens")},
            texts={"request_model": ("model",)},
        )
    },
)
