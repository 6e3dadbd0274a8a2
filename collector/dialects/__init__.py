"""Records' attributes → the columns of a call. One table a dialect; the order is the precedence.

A record that carries marks of several dialects is read with the first that claims it: emitters with
a scope of their own come first, then platforms and vocabularies with marks of their own; the GenAI
conventions are what remains.
"""

from collections.abc import Mapping

from collector.dialects import (
    anthropic,
    codex_cli,
    genai,
    google,
    litellm,
    openinference,
    openllmetry,
    platforms,
    pydantic_ai,
    strands,
    vercel_ai,
)
from collector.dialects.dialect import Dialect, TokenMetric

DIALECTS: tuple[Dialect, ...] = (
    anthropic.CLAUDE_CODE,
    anthropic.CLAUDE_CODE_SPANS,
    codex_cli.DIALECT,
    google.GEMINI_CLI,
    anthropic.SDK,
    genai.OPENAI_V2,
    genai.OPENAI_AGENTS,
    openinference.CREWAI,
    strands.DIALECT,
    google.ADK,
    vercel_ai.DIALECT,
    pydantic_ai.DIALECT,
    litellm.DIALECT,
    platforms.LANGSMITH,
    platforms.LANGFUSE,
    platforms.MLFLOW,
    genai.MCP,
    openinference.DIALECT,
    openllmetry.DIALECT,
    genai.DIALECT,
)
TOKEN_METRICS: Mapping[str, TokenMetric] = {
    name: metric for dialect in DIALECTS for name, metric in dialect.token_metrics.items()
}
"""Metrics that count tokens, by name; whoever sends one means the same."""
