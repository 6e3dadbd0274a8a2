"""Pydantic AI and Logfire: the conventions' names, the cost in `operation.cost`, sums in `aggregated_usage`.

Formats 1 and 2 call an agent's span `agent run`. `gen_ai.usage.details.*` repeats other counts; only
what is said nowhere else is read from it.
"""

from collector.dialects.dialect import GENAI_COLUMNS, GENAI_OPERATIONS, Dialect

DIALECT = Dialect(
    name="pydantic_ai",
    title="Pydantic AI and Logfire",
    # Logfire's own clients: https://github.com/pydantic/logfire/tree/main/logfire/_internal/integrations/llm_providers
    source="https://github.com/pydantic/pydantic-ai/blob/main/pydantic_ai_slim/pydantic_ai/models/instrumented.py",
    scopes=("pydantic-ai", "pydantic_ai", "logfire"),
    columns={
        **GENAI_COLUMNS,
        "request_model": ("gen_ai.request.model", "model_name"),
        "claimed_agent": ("gen_ai.agent.name", "agent_name"),
        "emitted_cost": ("operation.cost",),
        "input_tokens": (*GENAI_COLUMNS["input_tokens"], "gen_ai.aggregated_usage.input_tokens"),
        "cache_read_tokens": (*GENAI_COLUMNS["cache_read_tokens"], "gen_ai.aggregated_usage.cache_read.input_tokens"),
        "cache_write_tokens": (
            *GENAI_COLUMNS["cache_write_tokens"],
            "gen_ai.aggregated_usage.cache_creation.input_tokens",
        ),
        "cache_write_1h_tokens": (
            "gen_ai.usage.details.ephemeral_1h_input_tokens",
            "gen_ai.aggregated_usage.details.ephemeral_1h_input_tokens",
        ),
        "output_tokens": (*GENAI_COLUMNS["output_tokens"], "gen_ai.aggregated_usage.output_tokens"),
        "reasoning_tokens": (*GENAI_COLUMNS["reasoning_tokens"], "gen_ai.aggregated_usage.details.reasoning_tokens"),
    },
    operations=GENAI_OPERATIONS,
    span_names={"agent run": "invoke_agent", "running tool": "execute_tool"},
    advice=(
        "Every call is measured once agents are instrumented (Agent.instrument_all or logfire.instrument_pydantic_ai);"
        " name each of them: Agent(name=...)."
    ),
)
