"""Dated rows stand before the price list; the most specific one holds, and two that contradict are refused."""

from fnmatch import fnmatchcase
from fractions import Fraction
from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.pricing.instants import format_instant, parse_instant
from collector.pricing.overlay import Asked, Row, meet
from collector.pricing.unit_prices import Tokens, UnitPrices
from schemas.errors import ConfigError
from tests.collector.pricing.overlays import book, row

NOON = parse_instant("2026-11-20T12:00:00Z")
GPT = Asked("openai", "gpt-4o")
LIST_INPUT = 2_500_000
MILLION = Tokens(input=1_000_000, output=1_000_000)


def price(asked: Asked, at: int, *rows: Row) -> UnitPrices:
    found = book(*rows).lookup(asked, at)
    assert found is not None
    return found


def usd(asked: Asked, *rows: Row) -> Fraction:
    """What a million input tokens cost at noon."""
    return price(asked, NOON, *rows).rates(0).input / 1_000_000


def test_a_price_that_changes_within_a_second_is_taken_at_the_calls_own_time() -> None:
    change = "2026-11-20T12:00:00.000000001Z"
    rows = (row(effective_to=change), row(effective_from=change, prices={"input": "3", "output": "4"}))
    both = book(*rows)
    costs = [both.lookup(GPT, NOON + ns) for ns in (-1, 0, 1, 2)]
    assert [found and found.cost_nano(MILLION) for found in costs] == [3 * 10**9, 3 * 10**9, 7 * 10**9, 7 * 10**9]


def test_before_and_after_its_row_a_model_costs_what_the_list_says() -> None:
    dated = book(row(effective_from="2026-11-20", effective_to="2026-11-21"))
    at = [dated.lookup(GPT, parse_instant(day)) for day in ("2026-11-19", "2026-11-20", "2026-11-21")]
    assert [found and found.rates(0).input for found in at] == [LIST_INPUT, 1_000_000, LIST_INPUT]


# Each row is more specific than those after it.
ORDER = [
    row(model="gpt-4o", region="eu-west-1", tier="flex", prices={"input": "1"}),
    row(model="gpt-4o", region="eu-west-1", prices={"input": "2"}),
    row(model="gpt-4o", region="eu-*", prices={"input": "3"}),
    row(model="gpt-4o", tier="flex", batch=False, prices={"input": "4"}),
    row(model="gpt-4o", tier="flex", prices={"input": "5"}),
    row(model="gpt-4o", batch=False, prices={"input": "6"}),
    row(model="gpt-4o", prices={"input": "7"}),
    row(model="gpt-4?", region="eu-west-1", prices={"input": "8"}),
    row(model="gpt-4*", prices={"input": "9"}),
    row(model="gpt-*", prices={"input": "10"}),
    row(model="*", prices={"input": "11"}),
]


@pytest.mark.parametrize("left", range(len(ORDER)))
def test_the_most_specific_row_holds(left: int) -> None:
    asked = Asked("openai", "gpt-4o", "flex", "eu-west-1")
    assert usd(asked, *reversed(ORDER[left:])) == left + 1


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_order_in_the_file_does_not_matter(order: tuple[int, ...]) -> None:
    rows = [ORDER[0], ORDER[6], ORDER[10]]
    assert usd(Asked("openai", "gpt-4o", "flex", "eu-west-1"), *(rows[n] for n in order)) == 1


@pytest.mark.parametrize(
    ("asked", "applies"),
    [
        (Asked("openai", "gpt-4o", "batch"), True),
        (Asked("openai", "gpt-4o", "Batch"), True),
        (Asked("openai", "gpt-4o"), False),
        (Asked("openai", "gpt-4o-mini", "batch"), False),
        (Asked("azure.ai.openai", "gpt-4o", "batch"), False),
    ],
)
def test_a_row_prices_only_the_calls_it_speaks_of(asked: Asked, applies: bool) -> None:  # noqa: FBT001
    assert (usd(asked, row(batch=True, prices={"input": "0.001"})) == Fraction(1, 1000)) is applies


def test_batch_and_regional_calls_without_a_row_cost_what_the_list_says() -> None:
    assert usd(Asked("openai", "gpt-5.5", "batch")) == Fraction(5, 2)
    assert usd(Asked("openai", "gpt-5.5", "", "eu")) == 5


def test_what_a_row_does_not_price_costs_what_the_list_says() -> None:
    found = price(GPT, NOON, row(prices={"input": "1"})).rates(0)
    listed = price(GPT, NOON).rates(0)
    assert found.input == 1_000_000
    assert (found.output, found.cache_read) == (listed.output, listed.cache_read)


def test_a_model_nobody_lists_needs_input_and_output() -> None:
    """Neither an absent list price nor an absent line says that output is free."""
    house = Asked("corp", "house-model")
    assert book(row("corp", "house-model", prices={"input": "1"})).lookup(house, NOON) is None
    assert book(row("corp", "house-model", discount="10%")).lookup(house, NOON) is None
    assert price(house, NOON, row("corp", "house-model")).cost_nano(MILLION) == 3 * 10**9


def test_a_row_of_any_spelling_of_the_provider_applies() -> None:
    assert usd(Asked("aws.bedrock", "anthropic.claude-3"), row("bedrock", "anthropic.claude-*")) == 1


@given(
    st.integers(0, 100 * 10**4),
    st.sampled_from([GPT, Asked("anthropic", "claude-sonnet-4-5"), Asked("openai", "gpt-5.5", "batch")]),
    st.builds(Tokens, input=st.integers(0, 10**6), output=st.integers(0, 10**6)),
)
@settings(deadline=None)
def test_a_discount_is_taken_off_exactly_and_rounded_once(parts: int, asked: Asked, tokens: Tokens) -> None:
    percent = Fraction(parts, 10**4)
    text = f"{parts // 10**4}.{parts % 10**4:04d}%"
    listed = price(asked, NOON)
    exact = listed.rates(tokens.input).cost_pico(tokens) * (1 - percent / 100) / 1000
    assert price(asked, NOON, row(asked.provider, "*", discount=text)).cost_nano(tokens) == round(exact)


def test_a_discount_applies_to_whatever_price_is_found() -> None:
    half = row(model="gpt-*", discount="50%")
    assert usd(GPT, half) == Fraction(LIST_INPUT, 2_000_000)
    assert usd(GPT, half, row(prices={"input": "3"})) == Fraction(3, 2)
    assert usd(GPT, half, row(discount="10%")) == Fraction(LIST_INPUT * 9, 10_000_000)


def test_source_and_digest_name_the_list_and_the_row() -> None:
    listed, ours = price(GPT, NOON), price(GPT, NOON, row(discount="0%", source="Contract 7"))
    assert ours.source == f"{listed.source} + Contract 7"
    assert ours.tiers == listed.tiers
    assert ours.digest != listed.digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (row(), row(prices={"input": "9"})),
        (row(effective_to="2026-02-01"), row(effective_from="2026-01-31")),
        (row(model="gpt-4*"), row(model="*gpt-4")),
        (row(model="GPT-4O"), row()),
        (row(region="eu-*"), row(region="*-eu")),
        (row(discount="1%"), row(discount="2%")),
        (row("azure"), row("azure.ai.openai")),
    ],
)
def test_two_rows_that_contradict_are_refused_with_both_lines(one: Row, other: Row) -> None:
    with pytest.raises(ConfigError, match=r"prices\.yaml:20: .* prices\.yaml:10 "):
        book(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (row(effective_to="2026-02-01"), row(effective_from="2026-02-01")),
        (row(), row(discount="1%")),
        (row(), row(tier="flex")),
        (row(batch=True), row(batch=False)),
        (row(model="gpt-4*"), row(model="gpt-5*")),
        (row("openai"), row("azure")),
        (row(region="eu"), row(region="us")),
    ],
)
def test_rows_that_never_meet_or_differ_in_rank_stand_together(one: Row, other: Row) -> None:
    assert len(book(one, other).terms) == 2


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (row(discount="1%", prices={"input": "1"}), "either prices or a discount"),
        (row(prices={}), "prices are empty"),
        (row(prices={"input": "cheap"}), "'cheap' is not an amount"),
        (row(prices={"input": "-1"}), "'-1' is not an amount"),
        (row(prices={"input": "1000001"}), "more than 1000000"),
        (row(discount="101%"), "'101%' is not a discount"),
        (row(discount="12,5%"), "is not a discount"),
        (row(effective_from="soon"), "'soon' is not a time"),
        (row(effective_from="2026-02-30"), "not a time that exists"),
        (row(effective_from="2026-02-02", effective_to="2026-02-01"), "not after it begins"),
    ],
)
def test_a_row_that_is_wrong_is_refused_with_its_line(wrong: Row, complaint: str) -> None:
    with pytest.raises(ConfigError, match=rf"^prices\.yaml:10: .*{complaint}"):
        book(wrong)


LETTERS = "ab*?"


def test_two_patterns_meet_exactly_when_some_name_matches_both() -> None:
    names = ["".join(word) for size in range(5) for word in product("ab", repeat=size)]
    patterns = ["".join(word) for size in range(4) for word in product(LETTERS, repeat=size)]
    for one in patterns:
        matched = [name for name in names if fnmatchcase(name, one)]
        for other in patterns:
            common = any(fnmatchcase(name, other) for name in matched)
            # A common name of two patterns of three letters needs no more than four.
            assert meet(one, other) is common, (one, other)


@given(st.integers(-(10**18), 4 * 10**18))
def test_an_instant_is_the_same_after_being_written(ns: int) -> None:
    assert parse_instant(format_instant(ns)) == ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-11-20", 1_795_132_800_000_000_000),
        ("2026-11-20T01:00:00+01:00", 1_795_132_800_000_000_000),
        ("2026-11-20T00:00:00.5Z", 1_795_132_800_500_000_000),
    ],
)
def test_instants_are_read_as_rfc_3339(text: str, ns: int) -> None:
    assert parse_instant(text) == ns
