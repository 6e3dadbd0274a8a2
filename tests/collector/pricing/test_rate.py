"""The vectorised prices equal the reference, and both equal genai-prices' own calculation for every model it lists."""

from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.pricing.book import PriceBook
from collector.pricing.overlay import Asked
from collector.pricing.rate import Calls, Columns, Priced, rate
from collector.pricing.unit_prices import Tokens

NOVEMBER_NS = 1_795_479_106_000_000_000
LISTED = [
    (provider.id, model.id)
    for provider in get_snapshot().providers
    for model in provider.models
    if provider.find_model(model.id) is model
]
# Models of every special class, so that hypothesis meets them more often than by their share of the list.
SPECIAL = [
    (provider.id, model.id)
    for provider in get_snapshot().providers
    for model in provider.models
    if (provider.id, model.id) in LISTED
    and any(
        getattr(model.get_prices(datetime(2026, 11, 24, tzinfo=UTC)), key) is not None
        for key in ("cache_write_1h_mtok", "input_audio_mtok", "output_audio_mtok", "output_reasoning_mtok")
    )
]
TIERS = ["", "default", "priority", "flex", "fast", "batch", "standard"]
BOOK = PriceBook()
counts = st.integers(0, 400_000) | st.integers(0, 3)


class Call(NamedTuple):
    asked: Asked
    at: int
    tokens: Tokens


def asked(provider: str, model: str, tier: str = "", region: str = "") -> Asked:
    return Asked(provider, model, tier, region)


@st.composite
def tokens(draw: st.DrawFn) -> Tokens:
    """Classes that are parts of others never exceed them; audio may be cached and reasoning spoken."""
    read, write, fresh = draw(counts), draw(counts), draw(counts)
    output = draw(counts)
    return Tokens(
        input=read + write + fresh,
        cache_read=read,
        cache_write=write,
        cache_write_1h=draw(st.integers(0, write)),
        input_audio=draw(st.integers(0, read + write + fresh) | st.just(0)),
        output=output,
        reasoning=draw(st.integers(0, output) | st.just(0)),
        output_audio=draw(st.integers(0, output) | st.just(0)),
    )


@st.composite
def calls(draw: st.DrawFn) -> Call:
    provider, model = draw(st.sampled_from(LISTED) | st.sampled_from(SPECIAL))
    at = draw(st.integers(1_700_000_000, 1_830_000_000)) * 10**9
    return Call(asked(provider, model, draw(st.sampled_from(TIERS))), at, draw(tokens()))


def price(rows: list[Call], book: PriceBook) -> Priced:
    names = [pa.array(column, pa.string()) for column in zip(*(row.asked for row in rows), strict=True)]
    provider, model, tier, region = names
    columns = [np.array(column, np.int64) for column in zip(*(row.tokens for row in rows), strict=True)]
    at = np.array([row.at for row in rows], np.int64)
    return rate(Calls(provider, model, tier, region, at, Columns(*columns)), book)


def listed_cost(row: Call) -> int:
    """What genai-prices makes of the call; parts it could not tell apart are told apart as `cost_pico` says."""
    t = row.tokens
    overlap = max(0, t.cache_read + t.cache_write + t.input_audio - t.input)
    usage = Usage(
        input_tokens=t.input,
        cache_read_tokens=t.cache_read,
        cache_write_tokens=t.cache_write,
        cache_write_1h_tokens=t.cache_write_1h,
        input_audio_tokens=t.input_audio - overlap + min(overlap, t.cache_read),
        cache_audio_read_tokens=min(overlap, t.cache_read),
        cache_audio_write_tokens=0,
        output_tokens=t.output,
        output_reasoning_tokens=min(t.reasoning, t.output - t.output_audio),
        output_audio_tokens=t.output_audio,
    )
    tier = row.asked.tier
    context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier} if tier else {}
    context |= {"speed": "fast"} if tier == "fast" else {}
    found = calc_price(
        usage,
        row.asked.model,
        provider_id=row.asked.provider,
        genai_request_timestamp=datetime.fromtimestamp(row.at // 10**9, UTC),
        price_context=context or None,
    )
    return round(found.total_price * 10**9)


@settings(max_examples=300, deadline=None)
@given(st.lists(calls(), min_size=1, max_size=40))
def test_every_cost_equals_the_price_lists_own_calculation_to_the_nano(rows: list[Call]) -> None:
    priced = price(rows, BOOK)
    assert priced.known.all()
    assert priced.cost_nano_usd.tolist() == [listed_cost(row) for row in rows]


@settings(max_examples=100, deadline=None)
@given(st.lists(calls(), min_size=1, max_size=20))
def test_every_cost_equals_the_reference_row_by_row(rows: list[Call]) -> None:
    costs = []
    for row in rows:
        found = BOOK.lookup(row.asked, row.at)
        assert found is not None
        costs.append(found.cost_nano(row.tokens))
    assert price(rows, BOOK).cost_nano_usd.tolist() == costs


@settings(max_examples=200, deadline=None)
@given(calls(), st.sampled_from(["input", "output"]), st.integers(0, 1_000_000))
def test_a_longer_call_never_costs_less_and_money_is_a_whole_number(row: Call, longer: str, more: int) -> None:
    found = BOOK.lookup(row.asked, row.at)
    assert found is not None
    cost = found.cost_nano(row.tokens)
    assert type(cost) is int
    assert cost >= 0
    tier_falls = any(
        a.input > b.input or a.output > b.output for (_, a), (_, b) in zip(found.tiers, found.tiers[1:], strict=False)
    )
    if not tier_falls and not row.tokens.input_audio:
        assert found.cost_nano(row.tokens._replace(**{longer: getattr(row.tokens, longer) + more})) >= cost


def test_every_listed_model_has_a_price() -> None:
    call = Tokens(300_000, 100_000, 50_000, 7, 11, 7, 3, 2)
    rows = [Call(asked(p, m), NOVEMBER_NS, call) for p, m in LISTED]
    assert price(rows, BOOK).cost_nano_usd.tolist() == [listed_cost(row) for row in rows]


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-99-imaginary"), ("", ""), ("nobody", "no-such-model")])
def test_an_unknown_model_is_unknown_and_not_free(provider: str, model: str) -> None:
    priced = price([Call(asked(provider, model), NOVEMBER_NS, Tokens(input=10, output=10))], BOOK)
    assert not priced.known.any()
    assert BOOK.lookup(asked(provider, model), NOVEMBER_NS) is None


def test_each_call_is_priced_with_its_own_kind_however_they_are_mixed() -> None:
    kinds = [
        asked("openai", "gpt-4o"),
        asked("openai", "gpt-4o", "batch"),
        asked("nobody", "no-such-model"),
        asked("aws.bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", "", "global"),
        asked("aws.bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", "", "eu-west-1"),
    ]
    rows = [Call(kinds[number % 5], NOVEMBER_NS, Tokens(input=number * 1000, output=number)) for number in range(50)]
    priced = price(rows, BOOK)
    for row, known, cost, digest in zip(rows, priced.known, priced.cost_nano_usd, priced.digest, strict=True):
        found = BOOK.lookup(row.asked, row.at)
        assert known == (found is not None)
        if found is not None:
            assert (cost, digest.as_py()) == (found.cost_nano(row.tokens), found.digest)


def test_no_calls_are_priced_to_nothing() -> None:
    empty, none = pa.array([], pa.string()), np.zeros(0, np.int64)
    nothing = rate(Calls(empty, empty, empty, empty, none, Columns(*[none] * 8)), BOOK)
    assert len(nothing.cost_nano_usd) == len(nothing.digest) == len(nothing.source) == 0
