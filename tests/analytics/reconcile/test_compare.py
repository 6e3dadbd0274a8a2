"""What is said of a difference: whose it is, how large, and why, where the numbers show it."""

from datetime import date, timedelta
from fractions import Fraction

import pytest

from analytics.reconcile.compare import Group, Tolerance, compare, parse_tolerance
from analytics.reconcile.invoice import Billed, Invoice, Place
from analytics.reconcile.reasons import Verdict
from analytics.reconcile.recorded import Recorded, Sold
from analytics.reconcile.shapes import ANTHROPIC_COSTS, GENERIC, OPENAI_USAGE, Shape
from schemas.errors import ConfigError

DAY = date(2026, 11, 24)
NEXT = DAY + timedelta(days=1)
ALL = ("calls", "input", "output", "cost")


def line(calls: int, *, usd: str | None = None, rows: int = 1) -> Billed:
    """A line of this many equal calls: 100 tokens in, 20 out, 0.001 USD each."""
    counts = {"calls": calls, "input": 100 * calls, "output": 20 * calls}
    return Billed(counts, Fraction(usd) if usd else Fraction(calls, 1000), rows)


def known(calls: int, *, unmetered: int = 0, unpriced: int = 0) -> Recorded:
    """What the ledger has of this many of the same calls."""
    metered = calls - unmetered
    amounts = {"calls": calls, "input": 100 * metered, "output": 20 * metered}
    return Recorded(amounts | {"cost": 1_000_000 * (metered - unpriced)}, unmetered, unpriced)


def bill(lines: dict[Place, Billed], *, quantities: tuple[str, ...] = ALL, shape: Shape = GENERIC) -> Invoice:
    places = ("day", "model", "key")
    return Invoice(shape=shape, quantities=quantities, places=places, lines=lines, first=DAY, last=NEXT)


def judged(
    billed: Billed | None,
    recorded: Recorded | None,
    *,
    quantities: tuple[str, ...] = ALL,
    shape: Shape = GENERIC,
    tolerance: str = "0%",
) -> Group:
    """The one group of a bill of one line and a ledger of one kind of call."""
    lines = {Place(DAY, "m", None): billed} if billed else {}
    ledger = {Sold(DAY, shape.provider or None, "m"): recorded} if recorded else {}
    (group,) = compare(
        bill(lines, quantities=quantities, shape=shape),
        ledger,
        by=("day", "model"),
        tolerance=parse_tolerance(tolerance),
    )
    return group


def test_what_agrees_is_explained() -> None:
    group = judged(line(3), known(3))
    assert (group.verdict, group.reason) == (Verdict.EXPLAINED, "")
    assert set(group.differences.values()) == {0}


def test_a_call_no_span_tells_of_is_shadow_usage_of_its_size() -> None:
    group = judged(line(3), known(2))
    assert group.verdict == Verdict.SHADOW
    assert group.differences == {"calls": 1, "input": 100, "output": 20, "cost": 1_000_000}
    assert judged(line(3), None).verdict == Verdict.SHADOW


def test_what_is_not_on_the_bill_is_missing_there() -> None:
    assert judged(line(1), known(3)).verdict == Verdict.MISSING
    assert judged(None, known(3)).differences == {"calls": -3, "input": -300, "output": -60, "cost": -3_000_000}
    assert judged(None, known(3)).verdict == Verdict.MISSING


def test_unmetered_calls_explain_tokens_but_no_call_that_is_not_there() -> None:
    group = judged(line(3), known(3, unmetered=2))
    assert group.verdict == Verdict.DIFFERS
    assert "2 calls of this group came without usage" in group.reason
    more = judged(line(4), known(3, unmetered=2))
    assert (more.verdict, "2 calls of the ledger came without usage" in more.reason) == (Verdict.SHADOW, True)
    uncounted = judged(line(3), known(3, unmetered=1), quantities=("input", "output"))
    assert "1 call of this group came without usage" in uncounted.reason


def test_calls_without_a_price_explain_money_and_nothing_else() -> None:
    assert "1 call of this group came without a known price" in judged(line(3), known(3, unpriced=1)).reason
    assert judged(line(4), known(3, unpriced=1)).verdict == Verdict.SHADOW


def test_a_price_that_changed_is_told_from_usage_that_is_missing() -> None:
    for usd in ("0.002", "0.004"):
        assert "The counts agree and the price does not" in judged(line(3, usd=usd), known(3)).reason


def test_a_bill_of_costs_alone_does_not_claim_to_know() -> None:
    dearer = judged(line(3, usd="0.004"), known(3), quantities=("cost",))
    assert (dearer.verdict, "compare the usage export" in dearer.reason) == (Verdict.DIFFERS, True)
    cheaper = judged(line(3, usd="0.002"), known(3), quantities=("cost",))
    assert (cheaper.verdict, "a discount" in cheaper.reason) == (Verdict.DIFFERS, True)
    assert judged(line(3), None, quantities=("cost",)).verdict == Verdict.SHADOW


def test_more_of_one_and_less_of_another_is_no_shadow() -> None:
    mixed = Billed({"calls": 3, "input": 400, "output": 10}, Fraction(3, 1000), 1)
    assert judged(mixed, known(3)).verdict == Verdict.DIFFERS


def test_days_that_cancel_out_were_cut_in_another_zone() -> None:
    lines = {Place(DAY, "m", None): line(5), Place(NEXT, "m", None): line(3), Place(NEXT, "n", None): line(1)}
    ledger = {Sold(DAY, None, "m"): known(4), Sold(NEXT, None, "m"): known(4)}
    groups = compare(bill(lines), ledger, by=("day", "model"), tolerance=Tolerance())
    assert [(group.model, group.verdict) for group in groups] == [("m", "differs"), ("m", "differs"), ("n", "shadow")]
    assert all("another time zone" in group.reason for group in groups if group.model == "m")
    weekly = compare(bill(lines), ledger, by=("model",), tolerance=Tolerance())
    assert [(group.model, group.verdict) for group in weekly] == [("m", "explained"), ("n", "shadow")]


def test_an_export_that_rounds_to_cents_is_allowed_half_a_cent_a_row() -> None:
    for usd, verdict in (("0.01", Verdict.EXPLAINED), ("0.013000003", Verdict.DIFFERS)):
        group = judged(line(3, usd=usd, rows=2), known(3), quantities=("cost",), shape=ANTHROPIC_COSTS)
        assert group.verdict == verdict


def test_each_call_may_be_rounded_by_half_a_nano_dollar() -> None:
    assert judged(line(3, usd="0.003000002"), known(3)).verdict == Verdict.EXPLAINED
    assert judged(line(3, usd="0.003000003"), known(3)).verdict == Verdict.DIFFERS


def test_only_the_providers_calls_and_those_of_nobody_are_on_its_bill() -> None:
    ledger = {
        Sold(DAY, "openai", "gpt-4o"): known(1),
        Sold(DAY, None, "gpt-4o-2024-08-06"): known(2),
        Sold(DAY, None, "llama"): known(4),
        Sold(DAY, "azure.ai.openai", "gpt-4o"): known(8),
    }
    invoice = bill({Place(DAY, "gpt-4o", "key"): line(3)}, shape=OPENAI_USAGE)
    (group,) = compare(invoice, ledger, by=("day", "model"), tolerance=Tolerance())
    assert (group.model, group.verdict) == ("gpt-4o", Verdict.EXPLAINED)


def test_keys_are_added_up_to_be_compared_and_listed_apart() -> None:
    lines = {Place(DAY, "m", key): line(calls) for key, calls in (("b", 1), ("a", 2), (None, 4))}
    groups = compare(bill(lines), {Sold(DAY, None, "m"): known(7)}, by=("day", "key"), tolerance=Tolerance())
    assert [(group.key, group.verdict, group.billed["calls"]) for group in groups] == [
        *((None, "explained", 7), ("a", "not_compared", 2), ("b", "not_compared", 1), (None, "not_compared", 4))
    ]


def test_a_tolerance_is_a_part_of_everything_or_an_amount_of_money() -> None:
    assert judged(line(200), known(199), tolerance="0.5%").verdict == Verdict.EXPLAINED
    assert judged(line(200), known(198), tolerance="0.5%").verdict == Verdict.SHADOW
    assert judged(line(3, usd="0.013"), known(3), tolerance="0.01").verdict == Verdict.EXPLAINED
    assert judged(line(3, usd="0.014"), known(3), tolerance="0.01").verdict == Verdict.DIFFERS
    assert parse_tolerance("12.0001%") == Tolerance(ppm=120_001)


@pytest.mark.parametrize("text", ["", "1/2", "0.00001%", "100%", "-1", "1e-3", "%"])
def test_what_is_no_tolerance_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no tolerance"):
        parse_tolerance(text)
