"""What finance reads: every call counted once, every nano-dollar added exactly, nothing unknown shown as zero."""

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.money import format_usd
from schemas.tables import EntryKind
from tests.analytics.asking import rows
from tests.analytics.written import HOUR_NS, NOON_NS, Written, call, failed, unmetered

TOKENS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")

token_counts = st.one_of(st.none(), st.integers(0, 10**12))
entries = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([EntryKind.CALL, EntryKind.CALL, EntryKind.CALL, EntryKind.TOOL, EntryKind.SPAN]),
        "org": st.sampled_from(["acme", "bolt"]),
        "agent": st.sampled_from(["a", "b", "c"]),
        "model": st.sampled_from(["m1", "m2", None]),
        "outcome": st.sampled_from(["ok", "error", None]),
        "metered": st.sampled_from([True, True, False, None]),
        "cost_nano_usd": st.one_of(st.none(), st.integers(0, 2**62)),
        "event_time": st.integers(NOON_NS - 48 * HOUR_NS, NOON_NS),
        **dict.fromkeys(TOKENS, token_counts),
    }
)


def added_up(ledger: list[dict[str, Any]], by: tuple[str, ...]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The report in plain Python: the definitions of `docs/reports.md`, one call after the other."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for entry in ledger:
        if entry["kind"] == EntryKind.CALL:
            groups[tuple(entry[name] for name in by)].append(entry)
    numbers = {key: _numbers(calls) for key, calls in groups.items()}
    return {key: row for key, row in numbers.items() if row["calls"]}


def _numbers(calls: list[dict[str, Any]]) -> dict[str, Any]:
    metered = [c for c in calls if c["metered"]]
    unmetered_ok = [c for c in calls if not c["metered"] and c["outcome"] == "ok"]
    costs = [c["cost_nano_usd"] for c in calls if c["cost_nano_usd"] is not None]
    return {
        "calls": len(metered) + len(unmetered_ok),
        "unmetered_calls": len(unmetered_ok),
        **{name: sum(c[name] or 0 for c in metered) if metered else None for name in TOKENS},
        "cost_usd": format_usd(sum(costs)) if costs else None,
        "unpriced_calls": sum(c["cost_nano_usd"] is None for c in metered),
        "failed_calls": len(calls) - len(metered) - len(unmetered_ok),
    }


@settings(max_examples=40, deadline=None)
@given(
    bookings=st.lists(st.lists(entries, max_size=12), min_size=1, max_size=3),
    by=st.lists(st.sampled_from(["org", "agent", "model"]), min_size=1, max_size=3, unique=True).map(tuple),
)
def test_every_ledger_adds_up_exactly_however_it_is_grouped(
    bookings: list[list[dict[str, Any]]], by: tuple[str, ...]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Written(Path(folder) / "data")
        for booking in bookings:
            ledger.book(*booking)
            ledger.seal()
        ledger.close()
        found = rows(ledger.data_dir, "spend", by=by)
    expected = added_up([entry for booking in bookings for entry in booking], by)
    assert {tuple(row.pop(name) for name in by): row for row in found} == expected


def test_a_sum_beyond_64_bits_is_exact(ledger: Written) -> None:
    ledger.book(*(call(cost_nano_usd=2**62 + n) for n in range(4)))
    ledger.seal()
    assert rows(ledger.data_dir, "spend")[0]["cost_usd"] == format_usd(4 * 2**62 + 6)


def test_rows_have_the_columns_asked_for_and_then_the_published_ones_in_order(ledger: Written) -> None:
    ledger.book(call())
    ledger.seal()
    (row,) = rows(ledger.data_dir, "spend", by=("model", "day", "org"))
    published = ("calls", "unmetered_calls", *TOKENS, "cost_usd")
    assert list(row) == ["model", "day", "org", *published, "unpriced_calls", "failed_calls"]
    assert row["day"] == "2026-11-24"
    assert row["cost_usd"] == "0.000027000"


def test_without_by_it_is_grouped_by_agent(ledger: Written) -> None:
    ledger.book(call("zebra"), call("ant"), call("zebra"))
    ledger.seal()
    assert [(row["agent"], row["calls"]) for row in rows(ledger.data_dir, "spend")] == [("ant", 1), ("zebra", 2)]


def test_a_call_whose_usage_was_not_sent_is_counted_and_its_cost_is_unknown_not_zero(ledger: Written) -> None:
    ledger.book(unmetered())
    ledger.seal()
    (row,) = rows(ledger.data_dir, "spend")
    assert (row["calls"], row["unmetered_calls"]) == (1, 1)
    assert row["cost_usd"] is None
    assert all(row[name] is None for name in TOKENS)


def test_unmetered_calls_do_not_hide_what_is_known_of_the_others(ledger: Written) -> None:
    ledger.book(call(cost_nano_usd=5), unmetered(), call(cost_nano_usd=6))
    ledger.seal()
    (row,) = rows(ledger.data_dir, "spend")
    assert (row["calls"], row["unmetered_calls"], row["input_tokens"]) == (3, 1, 200)
    assert row["cost_usd"] == "0.000000011"


def test_a_metered_call_without_a_price_is_listed_as_unpriced(ledger: Written) -> None:
    ledger.book(call(cost_nano_usd=None))
    ledger.seal()
    (row,) = rows(ledger.data_dir, "spend")
    assert (row["calls"], row["unpriced_calls"], row["cost_usd"], row["input_tokens"]) == (1, 1, None, 100)


def test_a_free_call_costs_zero_because_its_price_is_known(ledger: Written) -> None:
    ledger.book(call(cost_nano_usd=0))
    ledger.seal()
    assert rows(ledger.data_dir, "spend")[0]["cost_usd"] == "0.000000000"


def test_a_group_whose_calls_all_failed_spent_nothing_and_has_no_row(ledger: Written) -> None:
    ledger.book(failed("c"), call("a"))
    ledger.seal()
    assert [row["agent"] for row in rows(ledger.data_dir, "spend")] == ["a"]


def test_a_failed_call_is_no_call_unless_usage_came_with_it(ledger: Written) -> None:
    ledger.book(failed(), call(outcome="error"))
    ledger.seal()
    (row,) = rows(ledger.data_dir, "spend")
    assert (row["calls"], row["failed_calls"], row["cost_usd"]) == (1, 1, "0.000027000")


def test_only_calls_cost_anything(ledger: Written) -> None:
    ledger.book({"kind": EntryKind.TOOL, "agent": "triage"}, {"kind": EntryKind.DECISION, "agent": "triage"})
    ledger.seal()
    assert rows(ledger.data_dir, "spend") == []


def test_a_day_begins_at_midnight_of_the_time_zone(ledger: Written) -> None:
    ledger.book(call(event_time=NOON_NS), call(event_time=NOON_NS - 14 * HOUR_NS))
    ledger.seal()

    def days(time_zone: str) -> list[str]:
        return [row["day"] for row in rows(ledger.data_dir, "spend", by=("day",), time_zone=time_zone)]

    assert days("UTC") == ["2026-11-23", "2026-11-24"]
    assert days("Asia/Tokyo") == ["2026-11-24"]


def test_the_hour_that_happens_twice_is_two_hours(ledger: Written) -> None:
    # Berlin, 2026-10-25: 02:30 happens at 00:30 UTC and again at 01:30 UTC.
    half_past_midnight_utc = 1_792_888_200_000_000_000
    ledger.book(call(event_time=half_past_midnight_utc), call(event_time=half_past_midnight_utc + HOUR_NS))
    ledger.seal()
    found = rows(ledger.data_dir, "spend", by=("hour",), time_zone="Europe/Berlin")
    assert [(row["hour"], row["calls"]) for row in found] == [
        ("2026-10-25T02:00:00+02:00", 1),
        ("2026-10-25T02:00:00+01:00", 1),
    ]


def test_the_range_holds_its_first_moment_and_not_its_last(ledger: Written) -> None:
    for offset in (-1, 0, 1, 2):
        ledger.book(call(f"at{offset}", event_time=NOON_NS + offset))
    ledger.seal()
    found = rows(ledger.data_dir, "spend", from_ns=NOON_NS, to_ns=NOON_NS + 2)
    assert [row["agent"] for row in found] == ["at0", "at1"]


def test_filters_choose_whose_calls_are_counted(ledger: Written) -> None:
    ledger.book(call("a"), call("b", org="bolt"), call("c", tenant="sales"))
    ledger.seal()

    def agents(**where: tuple[str, ...]) -> list[str]:
        return [row["agent"] for row in rows(ledger.data_dir, "spend", where=where)]

    assert agents(org=("acme",)) == ["a", "c"]
    assert agents(org=("acme",), tenant=("sales",)) == ["c"]
    assert agents(agent=("a", "b")) == ["a", "b"]
    assert agents(agent=("nobody",)) == []


def test_what_is_not_known_sorts_last(ledger: Written) -> None:
    ledger.book(call(model=None), call(model="m"))
    ledger.seal()
    assert [row["model"] for row in rows(ledger.data_dir, "spend", by=("model",))] == ["m", None]
