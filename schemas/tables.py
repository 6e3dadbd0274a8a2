"""The columns of the ledger, published: name, type, unit and meaning of each.

Types are text, 64-bit integers and booleans only: a row's Merkle leaf is made from their exact
text form, and a float has none. `null` means "not known" or "does not apply", never zero.
The published form is `schemas/ledger.schema.json`, generated from this module.
"""

from typing import Final, Literal

import msgspec
import pyarrow as pa

LEDGER_FORMAT = "spanward.ledger/1"


class Column(msgspec.Struct, frozen=True):
    """One published column: its Arrow type, what it means and the unit it is in."""

    name: str
    type: Literal["string", "int64", "bool"]
    doc: str
    unit: str = ""


class EntryKind:
    """The values of the ledger's `kind` column."""

    CALL = "call"
    TOOL = "tool"
    SPAN = "span"
    LOG = "log"
    METRIC = "metric"
    DECISION = "decision"
    HOLD = "hold"
    CROSSING = "budget_crossing"
    KEY = "key"
    GOVERNANCE = "governance"
    CONSERVATION = "conservation"
    CORRECTION = "correction"
    KILL = "kill"
    FINDING = "finding"


class FindingRule:
    """The values of `action` on entries of kind `finding`."""

    AFTER_DENY: Final = "adherence.after_deny"
    """A metered call that ran although its decision refused it."""
    AFTER_KILL: Final = "adherence.after_kill"
    """A metered call that began while a kill stopped it."""
    AFTER_EXPIRY: Final = "adherence.after_expiry"
    """A metered call that began after the hold of its decision had expired."""
    UNASKED: Final = "adherence.unasked"
    """A metered call that nobody asked for."""
    MODEL: Final = "adherence.model"
    """A metered call on another model than was decided."""
    SHARED_KEY: Final = "keys.shared"
    """An agent's key that two agents or two hosts use."""


class FindingDetail(msgspec.Struct, frozen=True):
    """`detail` of a finding. Several entries may tell of one finding: their `count` and `cost_usd` add up."""

    finding: str
    """What all entries of one finding have in common: rule, agent, subject and cause."""
    cause: str
    """The kill's id, the hour (UTC) in which the calls began, or for a shared key the day and who shares it."""
    count: int
    """Calls this entry adds."""
    total: int
    """Calls of the finding so far."""
    cost_usd: str
    """What the calls this entry adds cost, where that is known."""
    unpriced: int
    """Calls this entry adds whose cost is not known."""
    first: str
    """When the first call of the finding began, RFC 3339 UTC, by the emitter's clock."""
    last: str
    """When the last one did."""
    decisions: list[str]
    """Up to five decisions that the calls named or ignored."""
    entries: list[str]
    """Up to five `entry_id`s of calls that this entry adds."""
    traces: list[str]
    """Up to five of their traces."""


LEDGER_COLUMNS: tuple[Column, ...] = (
    Column("seq", "int64", "Dense number of the entry within its writer's log, from 0."),
    Column(
        "entry_id",
        "string",
        "UUIDv7 of the entry, 74 of its bits random; a re-rating's is a UUIDv8 of what it corrects.",
    ),
    Column(
        "kind",
        "string",
        "call, tool, span, log, metric, correction, decision, hold, budget_crossing, kill, finding, key, governance or "
        "conservation.",
    ),
    Column(
        "event_time", "int64", "When it happened, by the emitter's clock (never later than received_time).", "Unix ns"
    ),
    Column("received_time", "int64", "When the collector acknowledged it, by the collector's clock.", "Unix ns"),
    Column("org", "string", "Organisation the entry belongs to, taken from the credential."),
    Column("tenant", "string", "Tenant (workspace) within the organisation, taken from the credential."),
    Column("agent", "string", "Agent within the tenant."),
    Column(
        "attribution_source",
        "string",
        "What named the agent: credential, request, span, ancestor, main_agent, service, or system for our acts.",
    ),
    Column("credential_id", "string", "Public id of the key that authenticated the request."),
    Column("actor", "string", "Who acted: agent:PATH, user:NAME or system:COMPONENT."),
    Column("action", "string", "What was done: llm.call, tool.call, keys.create, budget.crossed and so on."),
    Column("subject", "string", "What it was done to: a model, a tool, a key id, a budget."),
    Column("outcome", "string", "ok, error, allow, deny, or the new state of what was acted on."),
    Column("message", "string", "One sentence for a person."),
    Column("detail", "string", "Whatever else belongs to this kind of entry, as a JSON object."),
    Column("findings", "string", "Comma-separated names of what the collector noticed about this entry."),
    Column("signal", "string", "OTLP signal it arrived on: traces, logs or metrics."),
    Column("trace_id", "string", "OTLP trace id, 32 hex digits."),
    Column("span_id", "string", "OTLP span id, 16 hex digits."),
    Column("parent_span_id", "string", "OTLP parent span id, 16 hex digits."),
    Column("span_name", "string", "Name of the span, of the log event or of the metric."),
    Column("span_kind", "string", "internal, server, client, producer or consumer."),
    Column("duration_ns", "int64", "End minus start.", "ns"),
    Column("status", "string", "OTLP status: unset, ok or error."),
    Column("error_type", "string", "error.type of a failed operation."),
    Column("service_name", "string", "service.name of the resource, as claimed."),
    Column("scope_name", "string", "Name of the instrumentation scope."),
    Column("scope_version", "string", "Version of the instrumentation scope."),
    Column(
        "claimed_agent",
        "string",
        "Agent name the payload gives the work: on the span, else of its nearest ancestor, else of the resource.",
    ),
    Column("claim_source", "string", "Where claimed_agent stood: span, ancestor, main_agent or service."),
    Column("conversation_id", "string", "Session or thread the emitter named."),
    Column("dialect", "string", "Convention the record was read with: genai, openinference, claude_code …"),
    Column("operation", "string", "Operation in GenAI semantic-convention words: chat, embeddings, execute_tool …"),
    Column("provider", "string", "Provider in GenAI semantic-convention words: openai, anthropic, aws.bedrock …"),
    Column("request_model", "string", "Model that was asked for."),
    Column("response_model", "string", "Model that answered."),
    Column("model", "string", "Model the call is priced and reported by: the response's, else the request's."),
    Column("response_id", "string", "The provider's id of the completion."),
    Column("request_id", "string", "The provider's id of the HTTP request."),
    Column("server_address", "string", "Host that was called (server.address): who bills behind a gateway."),
    Column("region", "string", "Region or geography named by the model id or the host; null when neither says."),
    Column("service_tier", "string", "Service tier the provider answered with."),
    Column(
        "metered", "bool", "True when the emitter sent token counts for this call; false means the cost is unknown."
    ),
    Column("input_tokens", "int64", "All input, cached included.", "tokens"),
    Column("cache_read_tokens", "int64", "Part of input_tokens that was read from the provider's cache.", "tokens"),
    Column("cache_write_tokens", "int64", "Part of input_tokens that was written to the provider's cache.", "tokens"),
    Column(
        "cache_write_1h_tokens", "int64", "Part of cache_write_tokens that the provider keeps for an hour.", "tokens"
    ),
    Column("input_audio_tokens", "int64", "Part of input_tokens that was audio.", "tokens"),
    Column("output_tokens", "int64", "All output, reasoning included.", "tokens"),
    Column("output_audio_tokens", "int64", "Part of output_tokens that was audio.", "tokens"),
    Column("reasoning_tokens", "int64", "Part of output_tokens that was reasoning.", "tokens"),
    Column(
        "usage_rule",
        "string",
        "How the emitter's counts became these: as_sent, cache_added_to_input, reasoning_added_to_output, …",
    ),
    Column(
        "cost_nano_usd", "int64", "Cost of the call; null when it is not metered or has no known price.", "nano-USD"
    ),
    Column("emitted_cost_nano_usd", "int64", "Cost the emitter stated; evidence, never booked.", "nano-USD"),
    Column("input_price", "int64", "Unit price used for uncached input.", "pico-USD per token"),
    Column("cache_read_price", "int64", "Unit price used for cached input.", "pico-USD per token"),
    Column("cache_write_price", "int64", "Unit price used for input written to the cache.", "pico-USD per token"),
    Column("cache_write_1h_price", "int64", "Unit price used for input cached for an hour.", "pico-USD per token"),
    Column("output_price", "int64", "Unit price used for output.", "pico-USD per token"),
    Column(
        "pricing_basis",
        "string",
        "exact (price list or overlay), fallback (configured price), estimated (no usage) or unknown (no price).",
    ),
    Column("price_source", "string", "Name and version of the price list."),
    Column("price_digest", "string", "SHA-256 of the price rows used, first 16 hex digits."),
    Column(
        "accounting_role",
        "string",
        "What the record is to the account: call, aggregate (a sum of calls), echo (a repetition) or tool.",
    ),
    Column(
        "accounting_rule", "string", "Rule that decided how this entry is counted (collector/accounting/README.md)."
    ),
    Column(
        "call_count",
        "int64",
        "Calls or tool executions it counts: 1; 0 when another entry does; -1 when a correction takes one back.",
        "calls",
    ),
    Column("failed_count", "int64", "Calls nobody bills because they failed: 1, 0 or -1 in the same way.", "calls"),
    Column("corrects", "string", "entry_id of the entry that this correction changes."),
    Column("decision_id", "string", "Decision that allowed or refused the action, when the emitter carried it."),
    Column("tool_name", "string", "Tool that was executed."),
    Column("tool_call_id", "string", "The model's id of the tool call."),
    Column("temporality", "string", "How the points of a metric add up: delta or cumulative."),
    Column("series_id", "string", "Hash of what the points of one series share: resource, scope, metric, attributes."),
    Column("series_start", "int64", "When the point's series began; null when the emitter does not say.", "Unix ns"),
    Column("software_version", "string", "Version of spanward that wrote the entry."),
)

_ARROW = {"string": pa.string(), "int64": pa.int64(), "bool": pa.bool_()}


def arrow_schema(columns: tuple[Column, ...] = LEDGER_COLUMNS) -> pa.Schema:
    """The Arrow schema of published columns, each with its description and unit as field metadata."""
    return pa.schema(
        [pa.field(c.name, _ARROW[c.type], metadata={"description": c.doc, "unit": c.unit}) for c in columns]
    )


LEDGER_SCHEMA = arrow_schema()
