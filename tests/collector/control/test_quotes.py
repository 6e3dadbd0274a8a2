"""A quote is the worst case of a call, to the nano-USD the price list's own, and never nothing for a priced model."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.control.quotes import Quotes
from collector.governance.budgets import Config, FallbackPrice
from collector.pricing.book import PriceBook
from collector.pricing.config import Settings
from collector.pricing.instants import parse_instant
from collector.pricing.overlay import Asked, Prices, Row, Written
from collector.pricing.unit_prices import Tokens
from collector.processors.price_book import price_book
from schemas.control import DecisionRequest
from schemas.errors import Permanent

NOW = time.time_ns()
BOOK = PriceBook()
# A plain price, one with tiers by input size, one with decimals finer than a pico-USD, one free of charge.
MODELS = [
    ("openai", "gpt-4o"),
    ("google", "gemini-2.5-pro"),
    ("anthropic", "claude-sonnet-4-5"),
    ("openai", "gpt-4o-mini"),
]
tokens = st.integers(0, 10**9)


def quotes(**config: object) -> Quotes:
    budgets = Config(**config)  # type: ignore[arg-type]
    return Quotes(price_book(Settings(), budgets) if config else BOOK, budgets)


@given(model=st.sampled_from(MODELS), input_tokens=tokens, output_tokens=tokens)
def test_a_quote_equals_the_price_lists_own_calculation(
    model: tuple[str, str], input_tokens: int, output_tokens: int
) -> None:
    """LiteLLM #40002: the price of the wrong tier in the hold."""
    prices = BOOK.lookup(Asked(*model), NOW)
    assert prices is not None
    request = DecisionRequest(
        provider=model[0], model=model[1], input_tokens=input_tokens, max_output_tokens=output_tokens
    )
    quote = quotes().quote(request, NOW)
    assert quote is not None
    exact = prices.cost_nano(Tokens(input=input_tokens, output=output_tokens))
    assert quote.amount == max(1, exact)
    assert (quote.pricing, quote.digest) == ("exact", prices.digest)


def test_every_priced_model_of_the_list_is_quoted_as_the_list_says() -> None:
    """The integer path and the exact one must agree for prices of any number of decimals."""
    compared = 0
    for provider in BOOK._snapshot.providers:
        for model in provider.models:
            name = BOOK.names.resolve(provider.id, model.id)
            prices = BOOK.lookup(Asked(name.provider, name.model, region=name.region), NOW)
            request = DecisionRequest(
                provider=provider.id, model=model.id, input_tokens=123_457, max_output_tokens=7_919
            )
            quote = quotes().quote(request, NOW)
            assert quote is not None
            if prices is None:
                assert (quote.priced, quote.amount) == (False, 0)
                continue
            cost = prices.cost_nano(Tokens(input=123_457, output=7_919))
            assert quote.amount == cost, (provider.id, model.id)
            compared += 1
    assert compared > 500


def test_a_priced_call_is_never_quoted_at_nothing() -> None:
    quote = quotes().quote(DecisionRequest(model="gpt-4o", max_output_tokens=0), NOW)
    assert quote is not None
    assert (quote.amount, quote.basis) == (1, "worst_case")


def test_output_that_is_not_bounded_is_quoted_at_the_default() -> None:
    bounded = quotes().quote(DecisionRequest(model="gpt-4o", max_output_tokens=4096), NOW)
    default = quotes().quote(DecisionRequest(model="gpt-4o"), NOW)
    assert bounded is not None
    assert default is not None
    assert (default.amount, default.basis) == (bounded.amount, "default_output")


@pytest.mark.parametrize("action", ["tool.call", "data.export", "anything"])
def test_actions_without_model_cost_have_no_quote(action: str) -> None:
    assert quotes().quote(DecisionRequest(action=action, model="gpt-4o"), NOW) is None


@pytest.mark.parametrize("policy", ["deny", "allow"])
def test_an_unknown_model_is_quoted_in_tokens_alone_unless_there_is_a_fallback(policy: str) -> None:
    request = DecisionRequest(model="a-model-nobody-knows", input_tokens=1000, max_output_tokens=100)
    unpriced = quotes(on_unknown_price=policy).quote(request, NOW)
    assert unpriced is not None
    assert (unpriced.priced, unpriced.amount, unpriced.tokens) == (False, 0, 1100)
    fallback = FallbackPrice(input="2", output="0.5")
    quote = quotes(on_unknown_price="fallback", fallback_price=fallback).quote(request, NOW)
    assert quote is not None
    assert (quote.amount, quote.pricing) == (2_050_000, "fallback")


def test_a_fallback_price_that_is_no_amount_is_refused_at_start() -> None:
    with pytest.raises(Permanent, match="'cheap'"):
        quotes(on_unknown_price="fallback", fallback_price=FallbackPrice(input="cheap"))


def test_a_price_that_changes_is_quoted_at_the_moment_of_the_question() -> None:
    change = parse_instant("2026-11-20T12:00:00.000000001Z")
    row = Row(
        provider="openai",
        model="gpt-4o",
        effective_from="2026-11-20T12:00:00.000000001Z",
        prices=Prices(input="100"),
        source="contract",
    )
    asking = Quotes(PriceBook(Settings(rows=(Written("prices.yaml:1", row),))), Config())
    request = DecisionRequest(model="openai/gpt-4o", input_tokens=1_000_000, max_output_tokens=0)
    quoted = [asking.quote(request, change + ns) for ns in (-1, 0, -1)]
    assert [quote and quote.amount for quote in quoted] == [2_500_000_000, 100_000_000_000, 2_500_000_000]


def test_a_model_is_quoted_the_same_however_it_is_named() -> None:
    names = ["gpt-4o", "openai/gpt-4o", "azure/gpt-4o"]
    amounts = {quote.amount for name in names if (quote := quotes().quote(DecisionRequest(model=name), NOW))}
    assert len(amounts) == 1


def test_model_names_from_outside_do_not_fill_the_memory() -> None:
    many = quotes()
    for number in range(10_050):
        many.price("", f"model-{number}", NOW)
    assert max(len(many._prices), len(BOOK._plans), len(BOOK._prices)) <= 10_000
