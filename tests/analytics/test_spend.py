"""What finance reads: every call counted once, every nano-dollar added exactly, nothing unknown shown as zero."""

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.accounting import Role, Rule
from schemas.money import format_usd
from schemas.tables import EntryKind
from tests.analytics.asking import answer, rows, written
from tests.analytics.written import HOUR_NS, NOON_NS, Written, call, counted, failed, merged, reversal, unmetered

PUBLISHED_FIRST = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
PARTS = ("cache_write_1h_tokens", "input_audio_tokens", "output_audio_tokens")
TOKENS = (*PUBLISHED_FIRST, *PARTS)

token_counts = st.one_of(st.none(), st.integers(-(10**12), 10**12))
entries = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([*[EntryKind.CALL] * 3, EntryKind.CORRECTION, EntryKind.TOOL, EntryKind.SPAN]),
        "org": st.sampled_from(["acme", "bolt"]),
        "agent": st.sampled_from(["a", "b", "c"]),
        "model": st.sampled_from(["m1", "m2", None]),
        "outcome": st.sampled_from(["ok", "error", None]),
        "metered": st.sampled_from([True, True, False, None]),
        "call_count": st.sampled_from([1, 1, 0, -1, None]),
        "accounting_role": st.sampled_from([Role.CALL, Role.CALL, Role.AGGREGATE, Role.TOOL, None]),
        "accounting_rule": st.sampled_from([Rule.USAGE, Rule.FAILED, Rule.SAME_SPAN, None]),
        "pricing_basis": st.sampled_from(["exact", "estimated", None]),
        "cost_nano_usd": st.one_of(st.none(), st.integers(-(2**62), 2**62)),
        "event_time": st.integers(NOON_NS - 48 * HOUR_NS, NOON_NS),
        **dict.fromkeys(TOKENS, token_counts),
    }
)


def added_up(ledger: list[dict[str, Any]], by: tuple[str, ...]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The report in plain Python: the definitions of `docs/reports.md`, one entry after the other."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for entry in ledger:
        if entry["kind"] in (EntryKind.CALL, EntryKind.CORRECTION):
            groups[tuple(entry[name] for name in by)].append(entry)
    numbers = {key: _numbers(calls) for key, calls in groups.items()}
    return {key: row for key, row in numbers.items() if _spent(row)}


def _spent(row: dict[str, Any]) -> bool:
    unknown = (None, 0, format_usd(0))
    return any(value not in unknown for name, value in row.items() if name != "failed_calls")


def _count(entry: dict[str, Any]) -> int:
    if entry["kind"] == EntryKind.CORRECTION:
        return 0 if entry["accounting_role"] == Role.TOOL else entry["call_count"] or 0
    if entry["call_count"] is None:
        return int(bool(entry["metered"]) or entry["outcome"] == "ok")
    return int(entry["call_count"])


def _is_effective(entry: dict[str, Any]) -> bool:
    is_correction = entry["kind"] == EntryKind.CORRECTION and entry["accounting_role"] != Role.TOOL
    return is_correction or _count(entry) != 0


def _failed(entry: dict[str, Any]) -> bool:
    if entry["kind"] != EntryKind.CALL:
        return False
    return entry["accounting_rule"] == Rule.FAILED or (entry["call_count"] is None and _count(entry) == 0)


def _numbers(group: list[dict[str, Any]]) -> dict[str, Any]:
    effective = [entry for entry in group if _is_effective(entry)]
    metered = [entry for entry in effective if entry["metered"]]
    priced = [entry for entry in effective if entry["cost_nano_usd"] is not None]
    estimated = [entry["cost_nano_usd"] for entry in priced if entry["pricing_basis"] == "estimated"]
    return {
        "calls": sum(map(_count, effective)),
        "unmetered_calls": sum(_count(entry) for entry in effective if not entry["metered"]),
        **{name: sum(entry[name] or 0 for entry in metered) if metered else None for name in TOKENS},
        "cost_usd": format_usd(sum(entry["cost_nano_usd"] for entry in priced)) if priced else None,
        "estimated_usd": format_usd(sum(estimated)) if priced else None,
        "unpriced_calls": sum(_count(entry) for entry in metered if entry["cost_nano_usd"] is None),
        "failed_calls": sum(map(_failed, group)),
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
    published = ("calls", "unmetered_calls", *PUBLISHED_FIRST, "cost_usd")
    later = (*PARTS, "estimated_usd", "unpriced_calls", "failed_calls")
    assert list(row) == ["model", "day", "org", *published, *later]
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


def test_a_call_that_another_record_counts_is_in_no_sum(ledger: Written) -> None:
    ledger.book(counted(call()), merged(call()))
    ledger.seal()
    (row,) = rows(ledger.data_dir, "spend")
    assert (row["calls"], row["input_tokens"], row["cost_usd"]) == (1, 100, "0.000027000")


def test_a_call_taken_back_and_booked_to_another_agent_moves_whole(ledger: Written) -> None:
    first = counted(call("before"))
    ledger.book(first, reversal(first), counted(call("after"), kind=EntryKind.CORRECTION))
    ledger.seal()
    found = rows(ledger.data_dir, "spend")
    assert [(row["agent"], row["calls"], row["cost_usd"]) for row in found] == [("after", 1, "0.000027000")]
    assert [(row["calls"], row["input_tokens"]) for row in rows(ledger.data_dir, "spend", by=("org",))] == [(1, 100)]


def test_a_corrected_price_changes_the_cost_and_nothing_else(ledger: Written) -> None:
    rerated = {"kind": EntryKind.CORRECTION, "accounting_rule": Rule.RERATED, "call_count": 0, "cost_nano_usd": -7}
    ledger.book(counted(call()), call() | dict.fromkeys(TOKENS) | rerated)
    ledger.seal()
    (row,) = rows(ledger.data_dir, "spend")
    assert (row["calls"], row["input_tokens"], row["cost_usd"]) == (1, 100, "0.000026993")


def test_a_difference_of_price_without_its_call_is_not_left_out(ledger: Written) -> None:
    rerated = {"kind": EntryKind.CORRECTION, "call_count": 0, "cost_nano_usd": -7}
    ledger.book(call() | dict.fromkeys(TOKENS) | rerated)
    ledger.seal()
    (row,) = rows(ledger.data_dir, "spend")
    assert (row["calls"], row["cost_usd"]) == (0, "-0.000000007")


def test_an_unmetered_call_with_an_estimate_is_unmetered_still_and_its_cost_an_estimate(ledger: Written) -> None:
    ledger.book(counted(call()), counted(unmetered(), cost_nano_usd=50, pricing_basis="estimated"))
    ledger.seal()
    (row,) = rows(ledger.data_dir, "spend")
    assert (row["calls"], row["unmetered_calls"]) == (2, 1)
    assert (row["cost_usd"], row["estimated_usd"]) == ("0.000027050", "0.000000050")


def test_a_tool_execution_taken_back_is_no_call_taken_back(ledger: Written) -> None:
    ledger.book(counted(call()), reversal(call(), accounting_role=Role.TOOL))
    ledger.seal()
    assert [row["calls"] for row in rows(ledger.data_dir, "spend")] == [1]


def test_ledgers_from_before_and_after_calls_were_counted_add_up(ledger: Written) -> None:
    ledger.book(call(), unmetered(), failed(), counted(call()), counted(unmetered()), merged(call()))
    ledger.seal()
    (row,) = rows(ledger.data_dir, "spend")
    assert (row["calls"], row["unmetered_calls"], row["failed_calls"], row["input_tokens"]) == (4, 2, 1, 200)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(6)))
def test_the_same_entries_in_another_order_give_the_same_bytes(order: list[int]) -> None:
    first = counted(call("a", claimed_agent="planner"))
    kept = [
        *(first, reversal(first), counted(call("b"), kind=EntryKind.CORRECTION)),
        *(counted(unmetered("b")), merged(call("a")), counted(call("a"), model="gpt-5", service_name="web")),
    ]
    with tempfile.TemporaryDirectory() as folder:
        pages: list[bytes] = []
        for name, entries in (("one", kept), ("other", [kept[number] for number in order])):
            ledger = Written(Path(folder) / name)
            ledger.book(*entries)
            ledger.seal()
            ledger.close()
            by = ("agent", "claimed_agent", "model", "service_name")
            pages.append(written(answer(ledger.data_dir, "spend", by=by), "json"))
            pages.append(written(answer(ledger.data_dir, "coverage"), "json"))
    assert pages[:2] == pages[2:]


def test_what_finance_and_platform_people_ask_for_can_be_grouped_by(ledger: Written) -> None:
    said = {
        "claimed_agent": "planner",
        "service_name": "web",
        "operation": "chat",
        "service_tier": "flex",
        "region": "eu",
    }
    ledger.book(counted(call(), **said))
    ledger.seal()
    (row,) = rows(ledger.data_dir, "spend", by=tuple(said))
    assert {name: row[name] for name in said} == said


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
