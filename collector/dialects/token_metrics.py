"""Which metrics count tokens, and which token columns a point of each fills.

A metric has no response id and, most often, no agent: nothing is billed from it. Every name is one
that some emitter was seen to send or that the GenAI conventions define; points of other metrics and
points with other words (a total, a part that another word's points hold) count nothing.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

INPUT: Final = ("input_tokens",)
OUTPUT: Final = ("output_tokens",)


class TokenMetric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric's table.

    `types`: the word at the attribute `type_key` → the columns that the point's value is of. A metric
    without a `type_key` has one kind of points, under the empty word. Parts that the emitter counts
    apart from their whole are of both, as in the ledger, where input includes cache.
    """

    source: str
    types: Mapping[str, tuple[str, ...]]
    type_key: str = ""


_CONVENTIONS = "https://github.com/open-telemetry/semantic-conventions-genai"

TOKEN_METRICS: Final[Mapping[str, TokenMetric]] = {
    "gen_ai.client.token.usage": TokenMetric(
        source="https://github.com/open-telemetry/semantic-conventions/tree/v1.36.0/docs/gen-ai",
        type_key="gen_ai.token.type",
        # `completion` is the word of 1.27.
        types={"input": INPUT, "output": OUTPUT, "completion": OUTPUT},
    ),
    "gen_ai.client.inference.usage.input_tokens": TokenMetric(source=_CONVENTIONS, types={"": INPUT}),
    "gen_ai.client.inference.usage.output_tokens": TokenMetric(source=_CONVENTIONS, types={"": OUTPUT}),
    "claude_code.token.usage": TokenMetric(
        source="https://code.claude.com/docs/en/monitoring-usage",
        type_key="type",
        types={
            "input": INPUT,
            "cacheRead": (*INPUT, "cache_read_tokens"),
            "cacheCreation": (*INPUT, "cache_write_tokens"),
            "output": OUTPUT,
        },
    ),
    "codex.turn.token_usage": TokenMetric(
        source="https://github.com/openai/codex/blob/main/codex-rs/otel",
        type_key="token_type",
        types={"input": INPUT, "output": OUTPUT},
    ),
    "gemini_cli.token.usage": TokenMetric(
        source="https://github.com/google-gemini/gemini-cli/blob/main/docs/cli/telemetry.md",
        type_key="type",
        types={"input": INPUT, "output": OUTPUT, "thought": (*OUTPUT, "reasoning_tokens")},
    ),
}

TEXT_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "provider": ("gen_ai.provider.name", "gen_ai.system"),
    "request_model": ("gen_ai.request.model", "model"),
    "response_model": ("gen_ai.response.model",),
}
"""Attributes of a point that name provider and model; the first that is present wins."""

METRIC_TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
"""The token columns that some metric fills."""
POINT_PREFIX: Final = "metric."
"""Before the columns that a received point fills itself; a bare name could be some emitter's attribute."""
