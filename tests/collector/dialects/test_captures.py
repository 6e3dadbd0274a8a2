"""What real emitters sent, against what the provider billed."""

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pyarrow.compute as pc
import pytest
from genai_prices import Usage, calc_price

from tests.captures_on_disk import emitters, truth
from tests.collector.booking import book_emitter

EXACT = ["openai-official", "openai-official-content"]
TOKENS = {
    "input_tokens": "input_total",
    "cache_read_tokens": "cache_read",
    "output_tokens": "output",
    "reasoning_tokens": "reasoning",
}


def calls_of(emitter: str) -> list[dict[str, Any]]:
    booked = book_emitter(emitter)
    rows: list[dict[str, Any]] = booked.filter(pc.equal(booked["kind"], "call")).to_pylist()
    return rows


def usage_reached_the_client(call: dict[str, Any]) -> bool:
    return bool(call["billed"] and call["usage_sent"] and not call.get("client_hung_up"))


@pytest.mark.parametrize("emitter", EXACT)
def test_calls_and_tokens_equal_what_the_provider_billed(emitter: str) -> None:
    booked: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in calls_of(emitter):
        if row["metered"]:
            booked[row["model"]]["calls"] += 1
            for column in TOKENS:
                booked[row["model"]][column] += row[column] or 0
    billed: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for call in truth(emitter)["calls"]:
        if usage_reached_the_client(call):
            billed[call["response_model"]]["calls"] += 1
            for column, name in TOKENS.items():
                billed[call["response_model"]][column] += call["tokens"][name]
    assert booked == billed


@pytest.mark.parametrize("emitter", EXACT)
def test_calls_whose_usage_was_never_sent_are_unmetered_and_cost_nothing_known(emitter: str) -> None:
    """LiteLLM books such streams at 0 (peers: #37923); the provider bills them all the same."""
    unmetered = [row for row in calls_of(emitter) if row["metered"] is False]
    missed = [c for c in truth(emitter)["calls"] if c["billed"] and not usage_reached_the_client(c)]
    assert sorted(row["response_id"] for row in unmetered) == sorted(call["response_id"] for call in missed)
    assert all(row["cost_nano_usd"] is None for row in unmetered)


@pytest.mark.parametrize("emitter", EXACT)
def test_each_cost_equals_the_price_lists_own_calculation_to_the_nano(emitter: str) -> None:
    """At the call's own time and the service tier the provider answered with."""
    billed = {
        call["response_id"]: call for call in truth(emitter)["calls"] if call["billed"] and call.get("response_id")
    }
    priced = [row for row in calls_of(emitter) if row["metered"] and row["response_id"]]
    assert len(priced) == sum(usage_reached_the_client(call) for call in billed.values())
    for row in priced:
        call = billed[row["response_id"]]
        usage = Usage(
            input_tokens=call["tokens"]["input_total"],
            cache_read_tokens=call["tokens"]["cache_read"],
            output_tokens=call["tokens"]["output"],
        )
        when = datetime.fromtimestamp(row["event_time"] // 10**9, UTC)
        tier = {"service_tier": call["service_tier"]} if call["service_tier"] else None
        listed = calc_price(
            usage, call["response_model"], provider_id="openai", genai_request_timestamp=when, price_context=tier
        )
        assert row["cost_nano_usd"] == round(listed.total_price * 10**9), row["response_id"]


@pytest.mark.parametrize("emitter", EXACT)
def test_refused_requests_are_no_calls(emitter: str) -> None:
    failed = [row for row in calls_of(emitter) if row["metered"] is None]
    assert {row["outcome"] for row in failed} == {"error"}
    assert len(failed) == 3


@pytest.mark.parametrize("emitter", emitters())
def test_every_capture_is_read_without_error_and_nothing_is_free(emitter: str) -> None:
    for row in calls_of(emitter):
        assert row["metered"] is not False or row["cost_nano_usd"] is None
        if row["metered"]:
            assert (row["cost_nano_usd"] is None) == (row["pricing_basis"] == "unknown")
            assert row["cache_read_tokens"] is None or row["cache_read_tokens"] <= row["input_tokens"]
            assert row["reasoning_tokens"] is None or row["reasoning_tokens"] <= row["output_tokens"]


@pytest.mark.parametrize(
    ("emitter", "dialect"),
    [
        ("openai-official", "genai"),
        ("openai-openinference", "openinference"),
        ("openai-openllmetry", "openllmetry"),
        ("anthropic-legacy-openllmetry", "openllmetry"),
        ("anthropic-official", "genai"),
    ],
)
def test_each_capture_is_read_with_its_own_dialect(emitter: str, dialect: str) -> None:
    assert {row["dialect"] for row in calls_of(emitter)} == {dialect}
