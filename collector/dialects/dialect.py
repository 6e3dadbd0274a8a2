"""What a dialect is: a table from the emitter's attribute keys to canonical columns.

Values are integers for the token columns and text for the rest. Where several keys feed one column
the first that is present wins; aliases are never added up.
"""

from collections.abc import Iterable, Mapping

import msgspec

TOKEN_COLUMNS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
TEXT_COLUMNS = (
    "operation",
    "provider",
    "request_model",
    "response_model",
    "response_id",
    "service_tier",
    "conversation_id",
    "claimed_agent",
    "tool_name",
    "tool_call_id",
    "error_type",
    "decision_id",
)

# Attributes every dialect shares: the OTel error type, and the decision our client puts on the span.
SHARED_KEYS: Mapping[str, tuple[str, ...]] = {"error_type": ("error.type",), "decision_id": ("spanward.decision.id",)}

# The GenAI semantic conventions' operation names of one model inference, with the older and foreign
# spellings seen in the field; each is billed as a call.
CALL_OPERATIONS = ("chat", "generate_content", "text_completion", "embeddings", "completion", "embedding", "responses")
TOOL_OPERATION = "execute_tool"


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One emitter family's table.

    `marks`: attribute keys that show a span speaks this dialect. `scopes`: prefixes of instrumentation
    scope names that show the same. `columns`: canonical column → keys, first present wins.
    `operations`: the emitter's word in the `operation` column → the GenAI operation name; a word that
    is not listed is kept.
    """

    name: str
    source: str
    marks: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]]
    operations: Mapping[str, str] = {}

    def keys(self, column: str) -> tuple[str, ...]:
        """The attribute keys that feed a canonical column, in order."""
        return (*self.columns.get(column, ()), *SHARED_KEYS.get(column, ()))


def wanted_keys(dialects: Iterable[Dialect]) -> dict[str, type]:
    """Every attribute key some dialect reads, with the Python type its values are wanted as."""
    wanted: dict[str, type] = {}
    for dialect in dialects:
        wanted.update(dict.fromkeys(dialect.marks, str))
        for column in (*TEXT_COLUMNS, *TOKEN_COLUMNS):
            wanted.update(dict.fromkeys(dialect.keys(column), int if column in TOKEN_COLUMNS else str))
    return wanted
