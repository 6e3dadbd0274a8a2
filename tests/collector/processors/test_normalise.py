"""Attributes → calls: which rows are calls, which are metered, how token classes fit."""

import pyarrow as pa
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from collector.pricing.names import Names, Resolved
from collector.processors.normalise import normalise
from tests.captures_on_disk import Recorded
from tests.collector.booking import book, decode
from tests.collector.processors.received import PLAIN, Row, read_one, received
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
    ("attributes", "role"),
    [
        ({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}, "call"),
        ({"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "text-embedding-3-small"}, "call"),
        ({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}, "tool"),
        ({"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 5}, "aggregate"),
        ({"gen_ai.operation.name": "fetch_response", "gen_ai.response.model": "gpt-4o"}, None),
        ({"gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.prompt_tokens": 5}, "call"),
        ({"gen_ai.request.model": "gpt-4o"}, None),
        ({"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o"}, "call"),
        ({"openinference.span.kind": "EMBEDDING", "embedding.model_name": "text-embedding-3-small"}, "call"),
        ({"openinference.span.kind": "TOOL", "tool.name": "search"}, "tool"),
        ({"openinference.span.kind": "AGENT", "llm.token_count.prompt": 5}, "aggregate"),
        ({"llm.request.type": "chat", "gen_ai.system": "OpenAI", "gen_ai.request.model": "gpt-4o"}, "call"),
        ({"traceloop.span.kind": "tool"}, "tool"),
        ({"http.request.method": "POST"}, None),
        ({}, None),
    ],
)
def test_what_counts_as_a_call(attributes: dict[str, Value], role: str | None) -> None:
    assert booked(attributes)["accounting_role"] == role


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
    assert row["usage_rule"] is None


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
    assert row["usage_rule"] == "cache_added_to_input"


def test_reasoning_counted_apart_is_added_to_the_output_once() -> None:
    row = booked({**CHAT, "gen_ai.usage.output_tokens": 23, "gen_ai.usage.reasoning.output_tokens": 65})
    assert row["output_tokens"] == 88
    assert row["usage_rule"] == "reasoning_added_to_output"


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


@pytest.mark.parametrize(
    ("stated", "model", "provider", "region"),
    [
        ({"model": "gpt-4o-2024-08-06", "asked": "gpt-4o"}, "gpt-4o-2024-08-06", "openai", None),
        ({"asked": "gpt-4o"}, "gpt-4o", "openai", None),
        ({"asked": "gpt-4o", "provider": "OpenAI"}, "gpt-4o", "openai", None),
        (
            {"asked": "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"},
            "anthropic.claude-sonnet-4-5-20250929-v1:0",
            "aws.bedrock",
            "eu",
        ),
        ({"asked": "my-own"}, "my-own", None, None),
        ({"provider": "Someone New"}, None, "someone new", None),
        ({"server.address": "api.openai.com"}, None, None, None),
    ],
)
def test_names_are_those_that_prices_reports_and_policy_use(
    stated: dict[str, object], model: str | None, provider: str | None, region: str | None
) -> None:
    row = read_one({"op": "chat", **stated})
    assert (row["model"], row["provider"], row["region"]) == (model, provider, region)


def test_names_are_resolved_once_a_combination() -> None:
    asked = []

    class Counting(Names):
        def resolve(self, provider: str, model: str, server_address: str = "") -> Resolved:
            asked.append((provider, model, server_address))
            return super().resolve(provider, model, server_address)

    stated = [
        {"provider": provider, "model": model, "server.address": server}
        for provider in ("openai", "anthropic", None)
        for model in ("gpt-4o", "claude-sonnet-4-5", None)
        for server in ("api.openai.com", "localhost", None)
    ]
    rows = normalise(received([{"op": "chat", **each} for each in stated] * 9), (PLAIN,), Counting())
    assert len(asked) == len(set(asked)) == len(stated) - 3
    expected = [
        Names().resolve(*(each[key] or "" for key in ("provider", "model", "server.address"))) for each in stated
    ]
    assert [name or "" for name in rows["model"].to_pylist()[: len(stated)]] == [name.model for name in expected]
    assert [name or "" for name in rows["model"].to_pylist()[-len(stated) :]] == [name.model for name in expected]


def test_a_slab_of_several_frames_is_read_as_one() -> None:
    """Frames of the spool are joined without being copied."""
    stated: list[Row] = [
        {"op": "talk", "asked": "gpt-4o", "in": 5, "in.read": 9, "cost": "0.5", "usage": '{"output_tokens": 3}'},
        {"op": None, "scope_name": None},
        {"op": "invoke_agent", "signal": "logs", "usage": "{"},
    ]
    frames = [received(stated)] + [received([{**dict.fromkeys(stated[0]), **row}]) for row in stated]
    frames = [frame.select(frames[0].column_names) for frame in frames]
    rows = pa.concat_tables(frames)
    made = normalise(rows, (PLAIN,), Names())
    assert rows["op"].num_chunks == 4
    assert made.equals(normalise(rows.combine_chunks(), (PLAIN,), Names()))
    assert made["output_tokens"].to_pylist() == [3, None, 3, None, None, None]
