"""Costs as emitters write them → nano-USD to the last digit."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.processors.emitted_cost import nano_usd
from tests.collector.processors.received import read


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("0.01152135", 11_521_350),
        ("3.555e-05", 35_550),
        ("1E+2", 100_000_000_000),
        ("0", 0),
        ("0.0", 0),
        (".5", 500_000_000),
        ("5.", 5_000_000_000),
        ("0.0000000005", 0),
        ("0.0000000015", 2),
        ("0.00000000250000000000000000000000000000000001", 3),
        ("1e-9999", 0),
        ("1000000", 10**15),
        ('{"input": 0.1, "total": 0.30000000000000004}', 300_000_000),
        ('{"total": 0}', 0),
    ],
)
def test_a_cost_is_read_exactly(text: str, nano: int) -> None:
    assert nano_usd(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        *("", "-1", "1000001", "1e9999", "nan", "inf", "free", "1_0", "1,5", "٣", "$1", "1 USD", "9" * 99),
        *("{", "{}", '{"total": "x"}', '{"total": null}', '{"total": -1}', "[1]", "[" * 99_999),
        '{"total":' + "[" * 99_999,
    ],
)
def test_what_is_no_cost_is_none(text: str) -> None:
    assert nano_usd(text) is None


@given(st.decimals(0, 1_000_000, allow_nan=False, places=9))
def test_nine_places_are_never_rounded(usd: Decimal) -> None:
    assert nano_usd(str(usd)) == usd * 10**9


@given(st.floats(0, 1_000_000))
def test_the_shortest_text_of_a_double_is_rounded_half_even(usd: float) -> None:
    assert nano_usd(repr(usd)) == round(Decimal(repr(usd)) * 10**9)


@given(st.text())
def test_no_text_makes_it_fail(text: str) -> None:
    assert nano_usd(text) is None or nano_usd(text) >= 0  # type: ignore[operator]


def test_a_row_whose_cost_is_unreadable_is_marked_and_the_others_are_not() -> None:
    rows = read({"op": "chat", "cost": "0.5"}, {"op": "chat", "cost": "much"}, {"op": "chat"})
    assert [row["emitted_cost_nano_usd"] for row in rows] == [500_000_000, None, None]
    assert [row["findings"] for row in rows] == [None, "emitted_cost_unreadable", None]


def test_without_any_cost_the_column_is_there_and_empty() -> None:
    assert read({"op": "chat"})[0]["emitted_cost_nano_usd"] is None
