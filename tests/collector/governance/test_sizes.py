"""How much is held for a call: the least of what it can use, what calls usually use, and the ceiling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.governance.sizes import SAMPLES_KEPT, SAMPLES_MIN, SIZES_KEPT, Quote, Sizes

WORST = Quote(10_000, 5_000, "worst_case", "exact", "digest")
AGENT, MODEL = "acme/support/triage", "gpt-4o"


def sizes(*settled: tuple[int, int], adaptive: bool = True, ceiling: int | None = None) -> Sizes:
    made = Sizes(adaptive=adaptive, ceiling=ceiling)
    for amount, tokens in settled:
        made.add(AGENT, MODEL, amount, tokens)
    return made


def test_a_percentile_of_a_few_calls_is_not_used() -> None:
    few = sizes(*[(1, 1)] * (SAMPLES_MIN - 1))
    assert few.sized(AGENT, MODEL, WORST) is WORST
    few.add(AGENT, MODEL, 1, 1)
    assert few.sized(AGENT, MODEL, WORST) == Quote(1, 1, "p99", "exact", "digest")


def test_it_is_the_99th_of_a_hundred_by_nearest_rank() -> None:
    made = sizes(*[(number, number * 2) for number in range(1, 101)])
    assert made.sized(AGENT, MODEL, WORST)[:3] == (99, 198, "p99")


def test_the_oldest_calls_are_forgotten() -> None:
    made = sizes(*[(9_000, 900)] * SAMPLES_KEPT, *[(5, 5)] * SAMPLES_KEPT)
    assert made.sized(AGENT, MODEL, WORST)[:2] == (5, 5)


def test_another_agent_or_model_says_nothing() -> None:
    made = sizes(*[(1, 1)] * 100)
    assert made.sized("acme/support/writer", MODEL, WORST) is WORST
    assert made.sized(AGENT, "gpt-4o-mini", WORST) is WORST


def test_worst_case_looks_at_no_call_and_a_ceiling_at_the_amount_alone() -> None:
    made = sizes(*[(1, 1)] * 100, adaptive=False, ceiling=4_000)
    assert made.sized(AGENT, MODEL, WORST) == Quote(4_000, 5_000, "ceiling", "exact", "digest")
    assert sizes(ceiling=10_000).sized(AGENT, MODEL, WORST) is WORST


def test_a_default_output_keeps_its_name_when_it_is_the_least() -> None:
    default = WORST._replace(basis="default_output")
    assert sizes(*[(10_000, 5_000)] * 50).sized(AGENT, MODEL, default) is default


def test_calls_that_settled_at_nothing_do_not_make_the_next_one_free() -> None:
    assert sizes(*[(0, 0)] * 100).sized(AGENT, MODEL, WORST)[:2] == (1, 1)


def test_a_call_without_a_price_is_sized_in_tokens() -> None:
    unpriced = Quote(0, 5_000, "worst_case", "unknown", "")
    assert sizes(*[(0, 700)] * 100).sized(AGENT, MODEL, unpriced) == Quote(0, 700, "p99", "unknown", "")


def test_names_from_outside_do_not_fill_the_memory() -> None:
    made = sizes()
    for number in range(SIZES_KEPT + 5):
        made.add(AGENT, f"model-{number}", 1, 1)
    assert len(made._calls) == SIZES_KEPT


@given(
    settled=st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 20_000)), max_size=400),
    ceiling=st.none() | st.integers(1, 20_000),
)
def test_a_hold_is_never_more_than_the_worst_case_or_the_ceiling_and_never_nothing(
    settled: list[tuple[int, int]], ceiling: int | None
) -> None:
    made = sizes(*settled, ceiling=ceiling).sized(AGENT, MODEL, WORST)
    assert 1 <= made.amount <= min(WORST.amount, ceiling or WORST.amount)
    assert 1 <= made.tokens <= WORST.tokens
    usual = _p99(settled) if len(settled) >= SAMPLES_MIN else WORST.amount
    assert made.amount == min(WORST.amount, usual, ceiling or WORST.amount)


def _p99(settled: list[tuple[int, int]]) -> int:
    kept = sorted(amount for amount, _ in settled[-SAMPLES_KEPT:])
    return max(1, kept[-(-len(kept) * 99 // 100) - 1])


@pytest.mark.parametrize("count", [30, 99, 100, 101, 255, 256, 300, 1000])
def test_the_percentile_lags_at_most_sixteen_calls_behind(count: int) -> None:
    made = sizes(*[(number, number) for number in range(count)])
    made.sized(AGENT, MODEL, WORST)
    for number in range(count, count + 16):
        made.add(AGENT, MODEL, number, number)
    everything = [(number, number) for number in range(count + 16)]
    assert made.sized(AGENT, MODEL, WORST).amount == _p99(everything)
