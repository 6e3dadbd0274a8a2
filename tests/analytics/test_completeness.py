"""What a report claims about itself: received = stored + duplicate + rejected, and stored is really there."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import completeness, lake
from analytics.completeness import Completeness, Metrics
from schemas.conservation import Counts, SignalCounts
from schemas.errors import Permanent
from schemas.tables import EntryKind
from tests.analytics.asking import answer, written
from tests.analytics.written import HOUR_NS, NOON_NS, Written, call, failed, unmetered

counts = st.builds(
    lambda stored, duplicate, rejected: {"stored": stored, "duplicate": duplicate, "rejected": rejected},
    stored=st.integers(0, 9),
    duplicate=st.integers(0, 9),
    rejected=st.dictionaries(st.sampled_from(["malformed", "too_large", "from_the_future"]), st.integers(1, 9)),
)


def said(data_dir: Path, name: str = "spend", **query: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(written(answer(data_dir, name, **query), "json"))["completeness"]
    return found


def test_everything_received_is_accounted_for_over_all_bookings_and_segments(ledger: Written) -> None:
    log, point = {"kind": EntryKind.LOG}, {"kind": EntryKind.METRIC}
    first = Counts(
        traces=SignalCounts(received=6, stored=2, duplicate=1, rejected={"too_large": 3}),
        logs=SignalCounts(received=2, stored=1, rejected={"malformed": 1}),
        metrics=SignalCounts(received=9, stored=2, duplicate=1, not_stored=4, rejected={"malformed": 2}),
    )
    ledger.book(call(), point, call(), log, point, counts=first)
    ledger.book(counts=Counts(traces=SignalCounts(received=4, rejected={"malformed": 4})))
    ledger.seal()
    ledger.book(call(), unmetered(), call(cost_nano_usd=None), failed())
    ledger.seal()
    assert said(ledger.data_dir) == {
        "from": None,
        "to": None,
        "as_of": "2026-11-24T12:00:00.000000000Z",
        "received": 16,
        "stored": 7,
        "duplicate": 1,
        "rejected": 8,
        "rejected_by_reason": {"malformed": 5, "too_large": 3},
        "found": 7,
        "balanced": True,
        "unmetered_calls": 1,
        "unpriced_calls": 1,
        "metrics": {"received": 9, "stored": 2, "duplicate": 1, "rejected": 2, "not_stored": 4, "found": 2},
        "segments": 2,
    }


def test_every_report_says_the_same(ledger: Written) -> None:
    ledger.book(call(), unmetered())
    ledger.seal()
    assert said(ledger.data_dir, "activity") == said(ledger.data_dir, "spend")


def test_periods_outside_the_asked_range_are_not_counted(ledger: Written) -> None:
    for hour in range(4):
        ledger.now_ns = NOON_NS + hour * HOUR_NS
        ledger.book(*[call()] * (hour + 1))
        ledger.seal()
    assert said(ledger.data_dir)["received"] == 1 + 2 + 3 + 4
    middle = said(ledger.data_dir, from_ns=NOON_NS + HOUR_NS, to_ns=NOON_NS + 3 * HOUR_NS)
    assert (middle["received"], middle["stored"], middle["found"]) == (5, 5, 5)
    assert middle["from"] == "2026-11-24T13:00:00.000000000Z"
    assert middle["as_of"] == "2026-11-24T14:00:00.000000000Z"


def test_a_period_that_began_in_the_range_and_was_closed_after_it_is_counted(ledger: Written) -> None:
    ledger.book(call())
    ledger.now_ns += HOUR_NS
    ledger.book(call())
    ledger.seal()
    assert said(ledger.data_dir, to_ns=NOON_NS + 1)["received"] == 2


def test_a_period_in_which_nothing_was_kept_is_counted_where_it_was_closed(ledger: Written) -> None:
    ledger.book(counts=Counts(traces=SignalCounts(received=3, rejected={"malformed": 3})))
    ledger.seal()
    assert said(ledger.data_dir, from_ns=NOON_NS, to_ns=NOON_NS + 1)["rejected"] == 3
    assert said(ledger.data_dir, from_ns=NOON_NS + 1)["rejected"] == 0


def test_unmetered_calls_are_those_of_the_entries_asked_for(ledger: Written) -> None:
    ledger.book(unmetered("a"), unmetered("b"), unmetered("b"))
    ledger.seal()
    assert said(ledger.data_dir, where={"agent": ("b",)})["unmetered_calls"] == 2


def test_entries_missing_from_a_segment_make_the_report_incomplete(ledger: Written) -> None:
    ledger.book(call(), call(), call())
    ledger.seal()
    (path,) = (segment.path for segment in lake.Snapshot(ledger.data_dir).segments)
    shortened = pl.read_parquet(path).slice(1)
    path.unlink()
    shortened.write_parquet(path)
    found = said(ledger.data_dir)
    assert (found["stored"], found["found"], found["balanced"]) == (3, 2, False)
    page = written(answer(ledger.data_dir, "spend"), "table").decode()
    assert page.endswith(
        "INCOMPLETE: received 3, accounted for stored 3 + duplicate 0 + rejected 0; 2 stored entries found\n"
    )


@pytest.mark.parametrize("stored", [1, 3])
def test_points_that_are_not_there_or_not_accounted_for_make_the_report_incomplete(
    ledger: Written, stored: int
) -> None:
    counted = SignalCounts(received=stored + 5, stored=stored, not_stored=5)
    own = Counts(traces=SignalCounts(received=1, stored=1), metrics=counted)
    ledger.book(call(), {"kind": EntryKind.METRIC}, {"kind": EntryKind.METRIC}, counts=own)
    ledger.seal()
    assert said(ledger.data_dir)["balanced"] is False
    page = written(answer(ledger.data_dir, "spend"), "table").decode()
    assert page.endswith(
        "INCOMPLETE: received 1, accounted for stored 1 + duplicate 0 + rejected 0; 1 stored entries found; metric "
        f"points received {stored + 5}, accounted for stored {stored} + duplicate 0 + rejected 0 + not stored 5, "
        "2 found\n"
    )


@given(st.lists(st.integers(0, 9), min_size=4, max_size=4), st.integers(0, 2), st.integers(0, 2))
def test_metrics_balance_exactly_when_nothing_is_lost(parts: list[int], lost: int, missing: int) -> None:
    stored, duplicate, rejected, not_stored = parts
    made = Metrics(
        received=sum(parts) + lost,
        stored=stored,
        duplicate=duplicate,
        rejected=rejected,
        not_stored=not_stored,
        found=stored + missing,
    )
    assert made.balanced == (lost == missing == 0)
    assert bool(made.sentence()) == (sum(parts) + lost + stored + missing > 0)
    assert (", accounted for" in made.sentence()) == (not made.balanced)


def test_a_conservation_entry_that_is_no_account_stops_the_report(ledger: Written) -> None:
    ledger.book({"kind": EntryKind.CONSERVATION, "detail": '{"traces": 5}'})
    ledger.seal()
    with pytest.raises(Permanent, match=r"Conservation entry 0 of writer w-\w+ cannot be read"):
        answer(ledger.data_dir, "spend")


def test_an_empty_ledger_is_complete(tmp_path: Path) -> None:
    found = said(tmp_path)
    assert (found["received"], found["segments"], found["balanced"], found["as_of"]) == (0, 0, True, None)


@given(counts, counts)
def test_the_sentence_says_what_the_numbers_say(one: dict[str, Any], other: dict[str, Any]) -> None:
    reasons = completeness._by_reason([SignalCounts(**one), SignalCounts(**other)])
    stored, duplicate = one["stored"] + other["stored"], one["duplicate"] + other["duplicate"]
    received = stored + duplicate + sum(reasons.values())
    sentence = _account(received, stored, duplicate, reasons).sentence()
    assert sentence.startswith(f"complete: received {received} = stored {stored} + duplicate {duplicate} + rejected ")
    assert all(f"{reason} {number}" in sentence for reason, number in reasons.items())


def test_the_sentence_counts_calls_of_unknown_cost_in_plain_words() -> None:
    account = _account(22, 22, 0, {}, unmetered_calls=2, unpriced_calls=1)
    assert account.sentence() == (
        "complete: received 22 = stored 22 + duplicate 0 + rejected 0; "
        "2 calls unmetered (cost unknown); 1 call unpriced (cost unknown)"
    )


def _account(received: int, stored: int, duplicate: int, reasons: dict[str, int], **unknown: int) -> Completeness:
    return Completeness(
        from_time=None,
        to_time=None,
        as_of=None,
        received=received,
        stored=stored,
        duplicate=duplicate,
        rejected=sum(reasons.values()),
        rejected_by_reason=reasons,
        found=stored,
        balanced=True,
        unmetered_calls=unknown.get("unmetered_calls", 0),
        unpriced_calls=unknown.get("unpriced_calls", 0),
        metrics=Metrics(),
        segments=1,
    )
