"""What each recorded emitter leaves out, by hand: everything else it must say as the provider billed it.

Numbers are those of the calls in `truth.json`.
"""

from collections.abc import Mapping
from typing import NamedTuple

STREAM = "a stream without stream_options.include_usage"
LEFT = "the client left the stream before its usage came"
NO_CALLS = "this instrumentation tells of agents and tools only"
NO_EMBEDDINGS = "this instrumentation does not see embeddings"
NO_RESPONSES = "this instrumentation does not see the Responses API"
OLD = "this version of 2025 does not read the SDK's streams or raw responses"


class Expected(NamedTuple):
    """One capture; what is not given here is complete and right."""

    unmetered: Mapping[int, str] = {}
    """Billed calls that are told without usage."""
    unseen: Mapping[int, str] = {}
    """Billed calls that no record tells of."""
    silent: frozenset[str] = frozenset()
    """Token classes that no record of the capture splits off."""
    said: Mapping[int, Mapping[str, int]] = {}
    """Counts the emitter gets wrong: call → token class → what it says."""
    without_usage: int = 0
    """Further records of a call without usage: a second telling, or a failure the emitter calls a success."""
    failed: int = 0
    aggregates: int = 0
    echoes: int = 0
    tools: int = 0
    agents: frozenset[str] = frozenset()


def why(reason: str, *calls: int) -> dict[int, str]:
    return dict.fromkeys(calls, reason)


HOUR = frozenset({"cache_write_1h_tokens"})
REASONING = frozenset({"reasoning_tokens"})
CACHE_AND_REASONING = frozenset({"cache_read_tokens", "reasoning_tokens"})
OPENAI_STREAMS = why(STREAM, 3) | why(LEFT, 4)
LANGCHAIN_STREAMS = why(STREAM, 2, 3, 4)
ALL_RESPONSES = why(NO_RESPONSES, 14, 15, 16)
WEATHER = frozenset({"weather_agent"})
PYDANTIC = WEATHER | {"boss", "claude_agent", "extractor", "researcher", "thinker"}
OPENAI_AGENTS = WEATHER | {"chatapi_agent", "manager_agent", "refund_agent", "triage_agent"}
VERCEL = WEATHER | {"cached_agent", "chat_agent", "failing", "retrying", "stream_agent", "thinker"}

EXPECTED: Mapping[str, Expected] = {
    "anthropic-legacy-openinference": Expected(
        unseen=why(OLD, 3, 10),
        silent=HOUR,
        said={9: {"input_tokens": 163, "cache_read_tokens": 0, "cache_write_tokens": 0}},
    ),
    "anthropic-legacy-openllmetry": Expected(unmetered=why(OLD, 2, 3, 9, 10), silent=HOUR),
    "anthropic-native": Expected(failed=1, tools=1),
    "anthropic-official": Expected(failed=4),
    "anthropic-official-nosdk": Expected(silent=HOUR, failed=2),
    "anthropic-openinference": Expected(failed=4, echoes=1),
    "anthropic-openllmetry": Expected(
        failed=4,
        # It adds the stream's first placeholder of one token: https://github.com/traceloop/openllmetry
        said={2: {"output_tokens": 27}, 3: {"output_tokens": 30}, 9: {"output_tokens": 48}},
    ),
    "claude-code": Expected(silent=HOUR, failed=1, tools=2),
    "claude-code-grpc-cumulative": Expected(silent=HOUR, failed=1, tools=2),
    "codex-cli": Expected(echoes=19, tools=1),
    "crewai-openinference": Expected(
        unseen=why(NO_CALLS, *range(1, 8)), tools=1, agents=frozenset({"Forecaster", "Writer"})
    ),
    "crewai-openinference-both": Expected(tools=1, agents=frozenset({"Forecaster", "Writer"})),
    "double-mixed": Expected(unmetered=LANGCHAIN_STREAMS, without_usage=3, failed=4, tools=1, agents=WEATHER),
    "double-official": Expected(unmetered=LANGCHAIN_STREAMS, failed=2, tools=1, agents=WEATHER),
    "double-openinference": Expected(unmetered=LANGCHAIN_STREAMS, without_usage=3, failed=4, tools=1, agents=WEATHER),
    "double-openllmetry": Expected(
        unmetered=LANGCHAIN_STREAMS,
        silent=REASONING,
        failed=2,
        tools=1,
        agents=WEATHER | {"two_step", "ChatOpenAI"},
    ),
    "gemini-cli": Expected(failed=1, echoes=6, agents=frozenset({"gemini-cli"})),
    "google-adk": Expected(failed=1, echoes=2, agents=frozenset({"gemini_agent"})),
    "langchain-official": Expected(
        unmetered=LANGCHAIN_STREAMS, unseen=why(NO_EMBEDDINGS, 14), failed=2, tools=1, agents=WEATHER
    ),
    "langchain-openinference": Expected(
        unmetered=LANGCHAIN_STREAMS, unseen=why(NO_EMBEDDINGS, 14), failed=2, tools=1, agents=WEATHER
    ),
    "langchain-openllmetry": Expected(
        unmetered=LANGCHAIN_STREAMS,
        unseen=why(NO_EMBEDDINGS, 14),
        silent=REASONING,
        failed=2,
        tools=1,
        agents=WEATHER | {"two_step", "ChatOpenAI"},
    ),
    "litellm-otel": Expected(
        unmetered=why(STREAM, 2), unseen=why("a call answered by a fallback leaves no span", 13), failed=2, echoes=10
    ),
    "mcp-sdk-native": Expected(tools=4, agents=frozenset({"mcp_agent"})),
    "openai-agents-official": Expected(unseen=why(NO_CALLS, *range(1, 15)), tools=4, agents=OPENAI_AGENTS),
    "openai-agents-official-both": Expected(failed=1, tools=4, agents=OPENAI_AGENTS),
    # The span around a run is an agent's too, named by the workflow.
    "openai-agents-openinference": Expected(failed=1, tools=5, agents=OPENAI_AGENTS | {"Agent workflow", "support"}),
    "openai-legacy-openinference": Expected(unmetered=why(STREAM, 3), unseen=why(LEFT, 4), failed=3),
    "openai-legacy-openllmetry": Expected(
        unmetered=why(OLD, 2) | why(STREAM, 3), unseen=why(LEFT, 4) | ALL_RESPONSES, silent=REASONING, failed=3
    ),
    "openai-official": Expected(unmetered=OPENAI_STREAMS, failed=3),
    "openai-official-content": Expected(unmetered=OPENAI_STREAMS, failed=3, echoes=20),
    "openai-openinference": Expected(unmetered=OPENAI_STREAMS, failed=3),
    "openai-openllmetry": Expected(unmetered=OPENAI_STREAMS, failed=3),
    "openai-v2-default": Expected(unmetered=OPENAI_STREAMS, unseen=ALL_RESPONSES, silent=CACHE_AND_REASONING, failed=3),
    "openai-v2-latest": Expected(unmetered=OPENAI_STREAMS, unseen=ALL_RESPONSES, silent=CACHE_AND_REASONING, failed=3),
    "platform-langfuse": Expected(unmetered=why(STREAM, 3), failed=1, agents=frozenset({"support_agent"})),
    # A refused request is sent with the status OK.
    "platform-langsmith": Expected(
        unmetered=why(STREAM, 3), unseen=why(NO_EMBEDDINGS, 7), without_usage=1, tools=1, agents=WEATHER
    ),
    "platform-mlflow": Expected(
        unmetered=why(STREAM, 3) | why("embeddings are told without usage", 7),
        silent=REASONING,
        failed=1,
        agents=frozenset({"support_agent"}),
    ),
    "platform-traceloop": Expected(unmetered=why(STREAM, 3), failed=1, tools=1, agents=frozenset({"support_agent"})),
    "pydantic-ai": Expected(failed=2, aggregates=11, tools=2, agents=PYDANTIC),
    "pydantic-ai-format2": Expected(failed=2, aggregates=11, tools=2, agents=PYDANTIC),
    "strands": Expected(failed=1, aggregates=5, tools=1, agents=WEATHER | {"cached_agent", "reused_agent"}),
    "vercel-ai-6": Expected(failed=2, aggregates=7, tools=1, agents=VERCEL | {"embedder"}),
    # An embedding is two spans of one operation, one of them without usage.
    "vercel-ai-7": Expected(silent=REASONING, without_usage=1, failed=1, aggregates=6, tools=1, agents=VERCEL),
    "vercel-ai-7-legacy": Expected(failed=1, aggregates=7, tools=1, agents=VERCEL | {"embedder"}),
}
