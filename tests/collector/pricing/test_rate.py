"""The vectorised prices equal genai-prices' own calculation for every model of its list."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.pricing.book import PriceBook
from collector.pricing.rate import Calls, Priced, rate

NOVEMBER_NS = 1_795_479_106_000_000_000
LISTED = [
    (provider.id, model.id)
    for provider in get_snapshot().providers
    for model in provider.models
    if provider.find_model(model.id) is model
]
TIERS = ["", "default", "priority", "flex", "fast"]
tokens = st.integers(0, 400_000) | st.integers(0, 3)


@st.composite
def priced_call(draw: st.DrawFn) -> tuple[str, str, str, int, int, int, int, int]:
    provider, model = draw(st.sampled_from(LISTED))
    read, write, fresh, output = draw(tokens), draw(tokens), draw(tokens), draw(tokens)
    at = draw(st.integers(1_700_000_000, 1_830_000_000)) * 10**9
    return provider, model, draw(st.sampled_from(TIERS)), at, read + write + fresh, read, write, output


def price(rows: list[tuple[str, str, str, int, int, int, int, int]], book: PriceBook) -> Priced:
    provider, model, tier, at, input_, read, write, output = zip(*rows, strict=True)
    calls = Calls(
        provider=pa.array(provider, pa.string()),
        model=pa.array(model, pa.string()),
        tier=pa.array(tier, pa.string()),
        time_ns=np.array(at, np.int64),
        input_tokens=np.array(input_, np.int64),
        cache_read_tokens=np.array(read, np.int64),
        cache_write_tokens=np.array(write, np.int64),
        output_tokens=np.array(output, np.int64),
        reasoning_tokens=np.zeros(len(rows), np.int64),
    )
    return rate(calls, book)


def listed_cost(row: tuple[str, str, str, int, int, int, int, int]) -> int:
    provider, model, tier, at, input_, read, write, output = row
    usage = Usage(input_tokens=input_, cache_read_tokens=read, cache_write_tokens=write, output_tokens=output)
    when = datetime.fromtimestamp(at // 10**9, UTC)
    context = {"service_tier": tier} if tier else None
    found = calc_price(usage, model, provider_id=provider, genai_request_timestamp=when, price_context=context)
    return round(found.total_price * 10**9)


@settings(max_examples=300, deadline=None)
@given(st.lists(priced_call(), min_size=1, max_size=40))
def test_every_cost_equals_the_price_lists_own_calculation_to_the_nano(
    rows: list[tuple[str, str, str, int, int, int, int, int]],
) -> None:
    priced = price(rows, PriceBook())
    assert priced.known.all()
    assert priced.cost_nano_usd.tolist() == [listed_cost(row) for row in rows]


def test_every_listed_model_has_a_price() -> None:
    rows = [(p, m, "", NOVEMBER_NS, 300_000, 100_000, 50_000, 7) for p, m in LISTED]
    assert price(rows, PriceBook()).cost_nano_usd.tolist() == [listed_cost(row) for row in rows]


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-99-imaginary"), ("", ""), ("nobody", "no-such-model")])
def test_an_unknown_model_is_unknown_and_not_free(provider: str, model: str) -> None:
    priced = price([(provider, model, "", NOVEMBER_NS, 10, 0, 0, 10)], PriceBook())
    assert not priced.known.any()
    assert PriceBook().lookup(provider, model, NOVEMBER_NS) is None


@pytest.mark.parametrize(
    ("semconv", "listed"),
    [
        ("azure.ai.openai", "azure"),
        ("aws.bedrock", "aws"),
        ("gcp.gemini", "google"),
        ("x_ai", "x-ai"),
        ("mistral_ai", "mistral"),
    ],
)
def test_semantic_convention_provider_names_reach_the_price_list(semconv: str, listed: str) -> None:
    model = next(m for p, m in LISTED if p == listed)
    listing = PriceBook().find(semconv, model)
    assert listing is not None
    assert listing.provider.id == listed


def test_no_calls_are_priced_to_nothing() -> None:
    empty = pa.array([], pa.string())
    none = np.zeros(0, np.int64)
    assert len(rate(Calls(empty, empty, empty, none, none, none, none, none, none), PriceBook()).cost_nano_usd) == 0
