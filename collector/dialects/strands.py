"""Strands Agents: each count under its old and its new name, and the framework's own in the provider's place.

The agent's span sums all runs of its `Agent` object. Input is the provider's own count: with Bedrock
it may leave cached tokens out.
"""

from collector.dialects.dialect import GENAI_COLUMNS, GENAI_OPERATIONS, Dialect

DIALECT = Dialect(
    name="strands",
    title="Strands Agents",
    source="https://github.com/strands-agents/sdk-python/blob/main/src/strands/telemetry/tracer.py",
    scopes=("strands.", "strands-agents"),
    # `gen_ai.system` is strands-agents, which sells no model: the model's name says who does.
    columns={**GENAI_COLUMNS, "provider": ()},
    operations=GENAI_OPERATIONS,
    advice=(
        "Response ids, service tiers and reasoning are not sent: where they matter,"
        " add the instrumentation of the model provider's client."
    ),
)
