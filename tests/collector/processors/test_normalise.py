"""Attributes → calls: which rows are calls, which are metered, how token classes fit."""

import pyarrow as pa
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.captures_on_disk import Recorded
from tests.collector.booking import book, decode
from tests.otlp import CHAT, CHAT_NANO_USD, Value, logs, span, traces


def booked(attributes: dict[str, Value], *, failed: bool = False) -> dict[str, object]:
    made = span(attributes)
    if failed:
        made.status.code = Status.StatusCode.STATUS_CODE_ERROR
    table = book(decode([Recorded("traces", "http", traces(made).SerializeToString(), as_json=False)]))
    row: dict[str, object] = table.to_pylist()[0]
    return row


def test_a_metered_call_has_its_price_and_its_owner() -> None:
    row = booked({**CHAT, "spanward.decision.id": "d-1", "gen_ai.agent.name": "Someone Else"})
    assert row["kind"] == "call"
    assert row["cost_nano_usd"] == CHAT_NANO_USD
    assert (row["input_price"], row["output_price"], row["pricing_basis"]) == (2_500_000, 10_000_000, "exact")
    assert (row["org"], row["tenant"], row["agent"], row["actor"]) == (
        "acme",
        "support",
        "triage",
        "agent:acme/support/triage",
    )
    assert row["claimed_agent"] == "Someone Else"
    assert row["decision_id"] == "d-1"
    assert str(row["price_source"]).startswith("genai-prices ")


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}, "call"),
        ({"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "text-embedding-3-small"}, "call"),
        ({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}, "tool"),
        ({"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 5}, "span"),
        ({"gen_ai.operation.name": "fetch_response", "gen_ai.response.model": "gpt-4o"}, "span"),
        ({"gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.prompt_tokens": 5}, "call"),
        ({"gen_ai.request.model": "gpt-4o"}, "span"),
        ({"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o"}, "call"),
        ({"openinference.span.kind": "EMBEDDING", "embedding.model_name": "text-embedding-3-small"}, "call"),
        ({"openinference.span.kind": "TOOL", "tool.name": "search"}, "tool"),
        ({"openinference.span.kind": "AGENT", "llm.token_count.prompt": 5}, "span"),
        ({"llm.request.type": "chat", "gen_ai.system": "OpenAI", "gen_ai.request.model": "gpt-4o"}, "call"),
        ({"traceloop.span.kind": "tool"}, "tool"),
        ({"http.request.method": "POST"}, "span"),
        ({}, "span"),
    ],
)
def test_what_counts_as_a_call(attributes: dict[str, Value], kind: str) -> None:
    assert booked(attributes)["kind"] == kind


def test_current_deprecated_and_first_generation_names_give_the_same_call() -> None:
    old: dict[str, Value] = {
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.usage.prompt_tokens": 1_000,
        "gen_ai.usage.completion_tokens": 100,
    }
    assert booked(old)["cost_nano_usd"] == booked(dict(CHAT))["cost_nano_usd"] == CHAT_NANO_USD


def test_two_vocabularies_on_one_span_are_one_count() -> None:
    both = {**CHAT, "gen_ai.usage.prompt_tokens": 1_000, "gen_ai.usage.completion_tokens": 100}
    assert booked(both)["input_tokens"] == 1_000


@pytest.mark.parametrize("tokens", [{}, {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0}])
def test_a_call_without_counts_is_unmetered_and_not_free(tokens: dict[str, Value]) -> None:
    """Zero input tokens on a successful call is a stream whose usage was never sent."""
    row = booked({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", **tokens})
    assert row["metered"] is False
    assert row["cost_nano_usd"] is None
    assert row["accounting_rule"] == "no_usage"


def test_a_failed_call_without_counts_is_neither_metered_nor_unmetered() -> None:
    row = booked({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}, failed=True)
    assert (row["outcome"], row["metered"], row["cost_nano_usd"]) == ("error", None, None)


def test_a_failed_call_with_counts_is_billed() -> None:
    assert booked(dict(CHAT), failed=True)["cost_nano_usd"] == CHAT_NANO_USD


def test_an_unknown_model_is_a_finding_and_not_a_zero() -> None:
    """litellm #35913, langfuse #3302: an unknown model priced at 0 hides the spend."""
    row = booked({**CHAT, "gen_ai.request.model": "gpt-99", "gen_ai.response.model": "gpt-99"})
    assert (row["cost_nano_usd"], row["pricing_basis"], row["findings"]) == (None, "unknown", "unknown_price")
    assert row["metered"] is True


def test_an_unknown_answering_model_is_priced_by_the_one_asked_for() -> None:
    assert booked({**CHAT, "gen_ai.response.model": "my-gateway-alias"})["cost_nano_usd"] == CHAT_NANO_USD


def test_cached_tokens_counted_apart_are_added_to_the_input_once() -> None:
    row = booked({**CHAT, "gen_ai.usage.input_tokens": 107, "gen_ai.usage.cache_read.input_tokens": 1_152})
    assert row["input_tokens"] == 1_259
    assert row["accounting_rule"] == "cache_added_to_input"


def test_reasoning_counted_apart_is_added_to_the_output_once() -> None:
    row = booked({**CHAT, "gen_ai.usage.output_tokens": 23, "gen_ai.usage.reasoning.output_tokens": 65})
    assert row["output_tokens"] == 88
    assert row["accounting_rule"] == "reasoning_added_to_output"


def test_an_absurd_count_is_not_believed() -> None:
    row = booked({**CHAT, "gen_ai.usage.input_tokens": 2**62})
    assert row["cost_nano_usd"] is None
    assert row["metered"] is False
    assert row["findings"] == "token_count_out_of_range"


def test_service_tiers_have_their_own_prices() -> None:
    priority = booked({**CHAT, "openai.response.service_tier": "priority"})["cost_nano_usd"]
    assert isinstance(priority, int)
    assert priority > CHAT_NANO_USD


def test_a_log_record_with_usage_is_evidence_and_not_a_second_call() -> None:
    body = logs("x")
    record = body.resource_logs[0].scope_logs[0].log_records[0]
    record.attributes.extend(span(CHAT).attributes)
    table = book(decode([Recorded("logs", "http", body.SerializeToString(), as_json=False)]))
    assert table["kind"].to_pylist() == ["log"]
    assert table["cost_nano_usd"].null_count == 1


def test_rows_of_all_dialects_in_one_slab_keep_their_own_columns() -> None:
    spans = [
        span({"http.request.method": "POST"}),
        span({"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "llm.token_count.prompt": 3}),
        span(CHAT),
    ]
    table: pa.Table = book(decode([Recorded("traces", "http", traces(*spans).SerializeToString(), as_json=False)]))
    by_dialect = {row["dialect"]: row for row in table.to_pylist()}
    assert by_dialect[None]["kind"] == "span"
    assert by_dialect["openinference"]["input_tokens"] == 3
    assert by_dialect["genai"]["input_tokens"] == 1_000


@pytest.mark.parametrize("start_ns", [0, 2**62, 2**64 - 1])
def test_a_call_with_an_impossible_time_is_booked_when_it_was_received(start_ns: int) -> None:
    """A clock that is ahead must not move a call out of today's budget."""
    made = span(start_ns=1)
    made.start_time_unix_nano = made.end_time_unix_nano = start_ns
    row = book(decode([Recorded("traces", "http", traces(made).SerializeToString(), as_json=False)])).to_pylist()[0]
    assert row["event_time"] == row["received_time"]
    assert row["cost_nano_usd"] == CHAT_NANO_USD
