"""What is billed and metered gets its cost; what is not known is null and said, never zero."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.governance.budgets import Config, FallbackPrice
from collector.pricing.book import PriceBook
from collector.pricing.config import Settings
from collector.pricing.instants import parse_instant
from collector.pricing.overlay import Asked, Prices, Row, Written
from collector.pricing.unit_prices import Tokens
from collector.processors.price import price
from collector.processors.price_book import price_book
from tests.collector.booking import book_emitter

NOON = parse_instant("2026-11-20T12:00:00Z")
SONNET = {"provider": "anthropic", "model": "claude-sonnet-4-5", "request_model": "claude-sonnet-4-5"}
UNKNOWN = {"model": "gpt-99-imaginary", "request_model": "gpt-99-imaginary"}
TEXTS = ("provider", "model", "request_model", "server_address", "service_tier", "region", "accounting_rule")
CALL: Mapping[str, object] = {
    "kind": "call",
    "provider": "openai",
    "model": "gpt-4o",
    "request_model": "gpt-4o",
    "accounting_rule": "usage",
    "call_count": 1,
    "metered": True,
    "event_time": NOON,
    "input_tokens": 1_000_000,
    "output_tokens": 100_000,
    "usage_rule": "as_sent",
}
BOOK = PriceBook()


def accounted(*rows: Mapping[str, object]) -> pa.Table:
    """Rows as `account` hands them on; what a row does not say is as in `CALL`."""
    full = [{**CALL, **row} for row in rows]
    texts = dict.fromkeys((*TEXTS, "kind", "findings", "usage_rule"), pa.string())
    counts = (f"{each}_tokens" for each in Tokens._fields)
    numbers = dict.fromkeys([*counts, "call_count", "event_time", "emitted_cost_nano_usd"], pa.int64())
    types = {**texts, **numbers, "metered": pa.bool_()}
    return pa.table({name: pa.array([row.get(name) for row in full], kind) for name, kind in types.items()})


def priced(*rows: Mapping[str, object], book: PriceBook = BOOK) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = price(accounted(*rows), book).to_pylist()
    return found


def test_a_billed_call_has_its_cost_its_unit_prices_and_where_they_are_known_from() -> None:
    (row,) = priced({"cache_read_tokens": 400_000})
    assert row["cost_nano_usd"] == 600_000 * 2500 + 400_000 * 1250 + 100_000 * 10_000
    assert [row[f"{name}_price"] for name in ("input", "cache_read", "cache_write_1h", "output")] == [
        2_500_000,
        1_250_000,
        2_500_000,
        10_000_000,
    ]
    assert (row["pricing_basis"], row["price_source"], len(row["price_digest"])) == ("exact", BOOK.source, 16)
    assert row["findings"] is None


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({"call_count": 0, "accounting_rule": "same_response"}, id="another record counts the call"),
        pytest.param({"call_count": None, "metered": None}, id="not a call"),
        pytest.param({"metered": None, "kind": "tool"}, id="a tool execution"),
        pytest.param({"metered": False, "accounting_rule": "no_usage", "input_tokens": None}, id="no usage"),
    ],
)
def test_what_is_not_billed_or_not_metered_has_no_cost(row: Mapping[str, object]) -> None:
    found, other = priced(row, {})
    columns = [name for name in found if name.endswith("_price") or name.startswith(("cost", "price", "pricing"))]
    assert [found[name] for name in columns] == [None] * len(columns)
    assert other["cost_nano_usd"] == 3_500_000_000


@pytest.mark.parametrize("policy", ["deny", "allow"])
def test_an_unknown_model_has_no_cost_and_says_so(policy: str) -> None:
    book = price_book(Settings(), Config(on_unknown_price=policy))  # type: ignore[arg-type]
    (row,) = priced(UNKNOWN, book=book)
    assert (row["cost_nano_usd"], row["pricing_basis"], row["findings"]) == (None, "unknown", "unknown_price")


def test_under_fallback_an_unknown_model_is_costed_at_the_fallback_price_and_says_so() -> None:
    terms = Config(on_unknown_price="fallback", fallback_price=FallbackPrice(input="2", output="0.5"))
    row, known = priced(UNKNOWN, {}, book=price_book(Settings(), terms))
    assert (row["cost_nano_usd"], row["pricing_basis"]) == (2_050_000_000, "fallback")
    assert (row["findings"], row["price_source"]) == ("unknown_price", "processors.budgets.fallback_price")
    assert (known["cost_nano_usd"], known["pricing_basis"], known["findings"]) == (3_500_000_000, "exact", None)


def test_a_call_whose_answer_names_no_known_model_is_priced_by_what_was_asked_for() -> None:
    (row,) = priced({"model": "house-name", "request_model": "openai/gpt-4o"})
    assert (row["cost_nano_usd"], row["model"], row["findings"]) == (3_500_000_000, "house-name", None)


def test_a_price_that_changes_at_a_nanosecond_is_taken_at_each_calls_own_time() -> None:
    """Issue: a cost of a price that changed mid-day is taken at the call's own time."""
    change = "2026-11-20T12:00:00.000000001Z"
    rows = [
        {"effective_from": "2026-01-01", "effective_to": change, "prices": Prices(input="1", output="2")},
        {"effective_from": change, "prices": Prices(input="3", output="4")},
    ]
    written = [
        Written(f"prices.yaml:{line}", Row(provider="openai", model="gpt-4o", source="contract", **row))  # type: ignore[arg-type]
        for line, row in enumerate(rows, 1)
    ]
    book = PriceBook(Settings(rows=tuple(written)))
    found = priced(*({"event_time": NOON + ns} for ns in (0, 1, -1, 2)), book=book)
    assert [row["cost_nano_usd"] for row in found] == [1_200_000_000, 3_400_000_000, 1_200_000_000, 3_400_000_000]
    assert len({row["price_digest"] for row in found}) == 2
    assert {row["price_source"] for row in found} == {f"{book.source} + contract"}


def test_batch_and_region_reach_the_price() -> None:
    opus = {"provider": "aws.bedrock", "model": "anthropic.claude-sonnet-4-5-20250929-v1:0"}
    batch, regional, worldwide = priced(
        {"model": "gpt-5.5", "service_tier": "batch", "input_tokens": 100_000},
        {**opus, "region": "eu-west-1", "input_tokens": 100_000},
        {**opus, "region": "global", "input_tokens": 100_000},
    )
    assert (batch["input_price"], regional["input_price"], worldwide["input_price"]) == (
        2_500_000,
        3_300_000,
        3_000_000,
    )


SILENT = {"metered": False, "accounting_rule": "no_usage", "input_tokens": None, "output_tokens": None}


def test_under_estimate_a_call_without_usage_is_costed_by_the_configured_counts() -> None:
    book = PriceBook(Settings(estimate=(2000, 500)))
    estimated, metered, failed = priced(SILENT, {}, {**SILENT, "accounting_rule": "failed"}, book=book)
    assert (estimated["cost_nano_usd"], estimated["pricing_basis"]) == (2000 * 2500 + 500 * 10_000, "estimated")
    assert (estimated["input_tokens"], estimated["metered"]) == (None, False)
    assert (metered["cost_nano_usd"], metered["pricing_basis"]) == (3_500_000_000, "exact")
    assert (failed["cost_nano_usd"], failed["pricing_basis"]) == (None, None)


def test_an_estimate_of_an_unknown_model_stays_unknown() -> None:
    (row,) = priced({**SILENT, **UNKNOWN}, book=PriceBook(Settings(estimate=(2000, 500))))
    assert (row["cost_nano_usd"], row["pricing_basis"], row["findings"]) == (None, "unknown", "unknown_price")


def sonnet(write: int, emitted: int | None, **more: object) -> dict[str, object]:
    usage = {"input_tokens": write + 100, "cache_write_tokens": write, "output_tokens": 50}
    return {**SONNET, **usage, "emitted_cost_nano_usd": emitted, **more}


def sonnet_cost(write: int, one_hour: int) -> int:
    found = BOOK.lookup(Asked("anthropic", "claude-sonnet-4-5"), NOON)
    assert found is not None
    tokens = Tokens(input=write + 100, cache_write=write, cache_write_1h=one_hour, output=50)
    return found.cost_nano(tokens)


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), st.integers(-1, 1))
def test_the_lifetime_of_cache_writes_follows_from_the_emitters_cost(split: tuple[int, int], rounding: int) -> None:
    write, one_hour = split
    cost = sonnet_cost(write, one_hour)
    (row,) = priced(sonnet(write, cost + rounding))
    assert (row["cache_write_1h_tokens"], row["cost_nano_usd"]) == (one_hour, cost)
    assert (row["usage_rule"], row["findings"]) == ("as_sent+split_from_emitted_cost", None)


@pytest.mark.parametrize(
    "emitted",
    [
        pytest.param(None, id="no cost stated"),
        pytest.param(sonnet_cost(1000, 300) + 2, id="between two splits"),
        pytest.param(sonnet_cost(1000, 0) - 5_000, id="less than all at five minutes"),
        pytest.param(sonnet_cost(1000, 1000) + 2_250, id="more than all at an hour"),
        pytest.param(2**62, id="absurd"),
        pytest.param(0, id="nothing"),
    ],
)
def test_writes_of_unknown_lifetime_are_priced_at_five_minutes_and_said(emitted: int | None) -> None:
    (row,) = priced(sonnet(1000, emitted))
    assert (row["cache_write_1h_tokens"], row["cost_nano_usd"]) == (None, sonnet_cost(1000, 0))
    assert (row["usage_rule"], row["findings"]) == ("as_sent", "cache_write_lifetime_assumed")


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(sonnet(1000, None, cache_write_1h_tokens=0), id="the emitter said it"),
        pytest.param(sonnet(0, None), id="nothing written"),
        pytest.param({"cache_write_tokens": 1000}, id="both lifetimes cost the same"),
    ],
)
def test_where_the_lifetime_is_known_or_costs_nothing_nothing_is_said(row: Mapping[str, object]) -> None:
    (found,) = priced(row)
    assert (found["findings"], found["usage_rule"]) == (None, "as_sent")


def test_a_contract_discount_is_ours_and_does_not_confuse_the_emitters_cost() -> None:
    half = Row(provider="anthropic", model="*", effective_from="2026-01-01", discount="50%", source="contract")
    (row,) = priced(sonnet(1000, sonnet_cost(1000, 300)), book=PriceBook(Settings(rows=(Written("f:1", half),))))
    assert (row["cache_write_1h_tokens"], row["cost_nano_usd"]) == (300, sonnet_cost(1000, 300) // 2)


def test_a_row_that_is_priced_again_keeps_no_finding_that_is_no_longer_true() -> None:
    old = {"findings": "clock_ahead,cache_write_lifetime_assumed,unknown_price"}
    solved, still = priced(sonnet(1000, sonnet_cost(1000, 300), **old), {**UNKNOWN, **old})
    assert solved["findings"] == "clock_ahead"
    assert still["findings"] == "clock_ahead,unknown_price"


def test_no_rows_are_priced_to_no_rows() -> None:
    assert len(price(accounted({}).slice(0, 0), BOOK)) == 0
    assert priced({"call_count": 0})[0]["cost_nano_usd"] is None


def test_the_first_call_of_claude_codes_recording_splits_as_the_provider_billed_it() -> None:
    rows = [row for row in book_emitter("claude-code").to_pylist() if row["call_count"] and row["cache_write_tokens"]]
    assert [(row["cache_write_tokens"], row["cache_write_1h_tokens"]) for row in rows] == [(2502, 501)]
    assert rows[0]["cost_nano_usd"] == rows[0]["emitted_cost_nano_usd"] == 11_521_350
