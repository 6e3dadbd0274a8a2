"""What a dialect is: a table from the emitter's attribute keys to canonical columns.

Values are integers for the token columns and text for the rest. Where several keys feed one column
the first that is present wins; aliases are never added up.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

TOKEN_COLUMNS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "input_audio_tokens",
    "output_tokens",
    "reasoning_tokens",
    "output_audio_tokens",
)
TEXT_COLUMNS = (
    "operation",
    "provider",
    "request_model",
    "response_model",
    "response_id",
    "request_id",
    "service_tier",
    "server_address",
    "conversation_id",
    "claimed_agent",
    "tool_name",
    "tool_call_id",
    "error_type",
    "decision_id",
    "emitted_cost",
)

# Attributes every dialect shares: the OTel error type and server, and the decision our client puts on the span.
SHARED_KEYS: Mapping[str, tuple[str, ...]] = {
    "error_type": ("error.type",),
    "decision_id": ("spanward.decision.id",),
    "server_address": ("server.address",),
}

# The GenAI semantic conventions' operation names of one model inference; each is billed as a call.
# A dialect's `operations` maps the older and foreign spellings onto them.
CALL_OPERATIONS = ("chat", "generate_content", "text_completion", "embeddings")
TOOL_OPERATION = "execute_tool"
# Reading a stored response: it may carry the usage of the call it reads, which was billed when it was made.
STORED_RESPONSE_OPERATION = "fetch_response"
# Our own word for a record that tells a call again beside the one its dialect is billed by.
ECHO_OPERATION = "echo"

# The keys of the GenAI conventions, all generations of them: most emitters use these where they have none of
# their own. Current: https://github.com/open-telemetry/semantic-conventions-genai; 1.28 to 1.36:
# https://github.com/open-telemetry/semantic-conventions/tree/v1.36.0/docs/gen-ai; 2024:
# https://github.com/open-telemetry/semantic-conventions/tree/v1.27.0/docs/gen-ai
GENAI_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "operation": ("gen_ai.operation.name",),
    "provider": ("gen_ai.provider.name", "gen_ai.system"),
    "request_model": ("gen_ai.request.model",),
    "response_model": ("gen_ai.response.model",),
    "response_id": ("gen_ai.response.id",),
    "service_tier": ("openai.response.service_tier", "gen_ai.openai.response.service_tier"),
    "conversation_id": ("gen_ai.conversation.id", "session.id"),
    "claimed_agent": ("gen_ai.agent.name", "gen_ai.agent.id"),
    "tool_name": ("gen_ai.tool.name",),
    "tool_call_id": ("gen_ai.tool.call.id",),
    # OpenLIT's key: https://github.com/openlit/openlit/blob/main/sdk/python/src/openlit/semcov/__init__.py
    "emitted_cost": ("gen_ai.usage.cost",),
    "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "cache_read_tokens": ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
    "cache_write_tokens": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.cache_write_input_tokens",
    ),
    "input_audio_tokens": ("gen_ai.usage.audio.input_tokens",),
    "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.details.reasoning_tokens",
    ),
    "output_audio_tokens": ("gen_ai.usage.audio.output_tokens",),
}
GENAI_OPERATIONS: Final[Mapping[str, str]] = {
    "completion": "text_completion",
    "embedding": "embeddings",
    "responses": "chat",
    # Semantic Kernel up to 1.37, python/semantic_kernel/utils/telemetry/model_diagnostics/decorators.py in
    # https://github.com/microsoft/semantic-kernel
    "chat.completions": "chat",
    "chat.streaming_completions": "chat",
    "text.completions": "text_completion",
    "text.streaming_completions": "text_completion",
}

# The columns of text that a point of a metric fills.
POINT_TEXTS = ("provider", "request_model", "response_model")
# Before the columns that a received point fills itself: a bare name could be some emitter's attribute.
POINT_PREFIX = "metric."
POINT_INPUT, POINT_OUTPUT = ("input_tokens",), ("output_tokens",)
_POINT_KEYS: Final[Mapping[str, tuple[str, ...]]] = {name: GENAI_COLUMNS[name] for name in POINT_TEXTS}


class TokenMetric(msgspec.Struct, frozen=True, kw_only=True):
    """Which columns the points of a metric that counts tokens fill.

    `types`: the word at the attribute `type_key` → the token columns that the value is of; a metric
    without a `type_key` has one kind of points, under the empty word. A part that the emitter counts
    apart from its whole is of both, as in the ledger, where input includes cache; a total, and a part
    that another word's points hold, is not listed and not read. `texts`: as `Dialect.columns`.
    """

    types: Mapping[str, tuple[str, ...]]
    type_key: str = ""
    texts: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=lambda: _POINT_KEYS)


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One emitter family's table.

    A record speaks a dialect when it carries one of `marks` (attribute keys), when its scope name
    starts with one of `scopes`, or when it is a log event named in `events`.

    `columns`: canonical column → keys, first present wins. `operations`: the emitter's word in the
    `operation` column → the GenAI operation name (or `ECHO_OPERATION`); a word that is not listed is
    kept. `span_names` and `events` give the operation of spans and log events that have no word for
    it, by the whole name; a name that stands for an echo is believed before the word. `usage_documents`:
    keys whose value is a usage object in the provider's own shape (JSON, JSON in JSON, or Python's
    literal text); it fills the token columns that have no key of their own. `input_excludes_cache`,
    `output_excludes_reasoning`: the emitter counts those apart, so they are added.
    `agent_from_span_name`: an agent span without an agent attribute is named by its own name, less the
    first of these suffixes that fits. `books`: the signal its calls are billed from; on the other one
    they are echoes. `advice`: what an operator changes to have every call of this emitter measured,
    with the circumstances in which calls are not. `token_metrics`: metrics, by name, that count the
    tokens of its calls; they are compared with the calls and never billed.
    """

    name: str
    title: str
    source: str
    marks: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]]
    operations: Mapping[str, str] = {}
    span_names: Mapping[str, str] = {}
    events: Mapping[str, str] = {}
    usage_documents: tuple[str, ...] = ()
    input_excludes_cache: bool = False
    output_excludes_reasoning: bool = False
    agent_from_span_name: tuple[str, ...] | None = None
    books: Literal["traces", "logs"] = "traces"
    advice: str = ""
    token_metrics: Mapping[str, TokenMetric] = {}

    def keys(self, column: str) -> tuple[str, ...]:
        """The attribute keys that feed a canonical column, in order."""
        return (*self.columns.get(column, ()), *SHARED_KEYS.get(column, ()))


def wanted_keys(dialects: Iterable[Dialect]) -> dict[str, type]:
    """Every attribute key some dialect reads, with the Python type its values are wanted as."""
    wanted: dict[str, type] = {}
    for dialect in dialects:
        wanted.update(dict.fromkeys((*dialect.marks, *dialect.usage_documents), str))
        for column in (*TEXT_COLUMNS, *TOKEN_COLUMNS):
            wanted.update(dict.fromkeys(dialect.keys(column), int if column in TOKEN_COLUMNS else str))
    return wanted
