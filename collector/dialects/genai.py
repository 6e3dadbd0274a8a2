"""The GenAI semantic conventions, as OpenTelemetry's own instrumentations speak them, and MCP's.

Input counts include cached tokens and output counts include reasoning (the conventions' own rule),
so no token class is ever added to another. Instrumentations that leave calls out have a table of
their own, because their operators need other advice.
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

DIALECT = Dialect(
    name="genai",
    title="OpenTelemetry GenAI conventions",
    source="https://github.com/open-telemetry/semantic-conventions-genai",
    marks=("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.system", "gen_ai.request.model"),
    columns=GENAI_COLUMNS,
    operations=GENAI_OPERATIONS,
    events={"gen_ai.client.inference.operation.details": ECHO_OPERATION},
    advice=(
        "OpenAI chat streams carry usage only when the request sets stream_options.include_usage"
        " (LangChain: stream_usage=True, which it leaves off behind a gateway)."
    ),
    token_metrics={
        # Superseded, and what emitters still send. `completion` is the word of 1.27.
        "gen_ai.client.token.usage": TokenMetric(
            type_key="gen_ai.token.type",
            types={"input": POINT_INPUT, "output": POINT_OUTPUT, "completion": POINT_OUTPUT},
        ),
        "gen_ai.client.inference.usage.input_tokens": TokenMetric(types={"": POINT_INPUT}),
        "gen_ai.client.inference.usage.output_tokens": TokenMetric(types={"": POINT_OUTPUT}),
    },
)

# Cached and reasoning tokens are not split off. With OTEL_SEMCONV_STABILITY_OPT_IN its chat spans come from the scope
# of opentelemetry-util-genai, which other instrumentations share; those are read as `genai`.
OPENAI_V2 = Dialect(
    name="openai_v2",
    title="OpenTelemetry openai-v2",
    source="https://github.com/open-telemetry/opentelemetry-python-contrib/tree/main/instrumentation-genai",
    scopes=("opentelemetry.instrumentation.openai_v2",),
    columns=GENAI_COLUMNS,
    operations=GENAI_OPERATIONS,
    advice=(
        "It does not see the Responses API and counts neither cached nor reasoning tokens:"
        " replace it with opentelemetry-instrumentation-genai-openai."
        " OpenAI chat streams carry usage only when the request sets stream_options.include_usage."
    ),
)

# Agents, workflows and tools.
OPENAI_AGENTS = Dialect(
    name="openai_agents",
    title="OpenAI Agents",
    source="https://github.com/open-telemetry/opentelemetry-python-genai",
    scopes=("opentelemetry.instrumentation.genai.openai_agents",),
    columns=GENAI_COLUMNS,
    operations=GENAI_OPERATIONS,
    advice=(
        "It emits no model calls: install opentelemetry-instrumentation-genai-openai beside it,"
        " which sees each call and nests it under its agent."
    ),
)

# A tool call is one span of the client and one of the server, and often a third of the framework; the account counts it
# once. The client's span says the tool's name only in its own.
MCP = Dialect(
    name="mcp",
    title="Model Context Protocol",
    # The Python SDK emits it: https://github.com/modelcontextprotocol/python-sdk
    source="https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/mcp.md",
    marks=("mcp.method.name",),
    columns={**GENAI_COLUMNS, "operation": ("gen_ai.operation.name", "mcp.method.name")},
    operations={"tools/call": "execute_tool"},
    advice="Tool calls only: the model calls around them need their own instrumentation.",
)
