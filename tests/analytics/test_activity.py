"""What an auditor reads: every entry once, in the order things happened, and only what was asked for."""

import random
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from analytics import slices
from analytics.slices import BUCKET_NS, Slice
from schemas.tables import EntryKind
from tests.analytics.asking import answer, rows
from tests.analytics.written import HOUR_NS, NOON_NS, SECOND_NS, Written, call, failed


def audit_trail(ledger: Written, **query: object) -> list[dict[str, Any]]:
    """Rows of the report without the ledger's own book-keeping."""
    return [row for row in rows(ledger.data_dir, "activity", **query) if row["kind"] != EntryKind.CONSERVATION]


def test_an_entry_shows_who_did_what_to_what_when_and_how_it_ended(ledger: Written) -> None:
    ledger.book(
        call(
            event_time=NOON_NS + 1,
            credential_id="key-1",
            trace_id="ab" * 16,
            span_id="cd" * 8,
            decision_id="dec-1",
            findings="spoofed_agent,late",
            message="Answered.",
            detail='{"answer":42}',
        )
    )
    ledger.seal()
    (row,) = audit_trail(ledger)
    assert row.pop("writer").startswith("w-")
    assert row == {
        "time": "2026-11-24T12:00:00.000000001Z",
        "kind": "call",
        "org": "acme",
        "tenant": "support",
        "agent": "triage",
        "actor": "agent:acme/support/triage",
        "action": "llm.call",
        "subject": "gpt-4o-mini-2024-07-18",
        "outcome": "ok",
        "message": "Answered.",
        "cost_usd": "0.000027000",
        "credential_id": "key-1",
        "trace_id": "ab" * 16,
        "span_id": "cd" * 8,
        "decision_id": "dec-1",
        "findings": "spoofed_agent,late",
        "detail": '{"answer":42}',
        "seq": 0,
        "entry_id": "0" * 32,
        "software_version": "0.0",
    }


def test_every_kind_of_entry_is_in_the_trail(ledger: Written) -> None:
    kinds = [value for name, value in vars(EntryKind).items() if name.isupper() and value != EntryKind.CONSERVATION]
    ledger.book(*({"kind": kind} for kind in kinds))
    ledger.seal()
    assert [row["kind"] for row in audit_trail(ledger)] == kinds
    assert len(rows(ledger.data_dir, "activity")) == len(kinds) + 1


def test_entries_are_in_order_of_their_own_time_whatever_segment_they_are_in(ledger: Written) -> None:
    offsets = list(range(60))
    random.Random(7).shuffle(offsets)
    for start in range(0, 60, 20):
        ledger.book(*(call(f"at{n}", event_time=NOON_NS + n * 7 * SECOND_NS) for n in offsets[start : start + 20]))
        ledger.seal()
    assert [row["agent"] for row in audit_trail(ledger)] == [f"at{n}" for n in range(60)]


def test_entries_of_one_moment_are_in_order_of_writer_and_number(tmp_path: Path) -> None:
    for name in ("one", "two"):
        ledger = Written(tmp_path / "data", name=name)
        ledger.book(call(), call(), call())
        ledger.seal()
        ledger.close()
    found = [(row["writer"], row["seq"]) for row in rows(tmp_path / "data", "activity", where={"kind": ("call",)})]
    assert len(found) == 6
    assert found == sorted(found)
    assert len({writer for writer, _ in found}) == 2


def test_limit_keeps_the_newest_entries_and_their_order(ledger: Written) -> None:
    ledger.book(*(call(f"at{n}", event_time=NOON_NS + n * HOUR_NS) for n in range(10)))
    ledger.seal()
    newest = audit_trail(ledger, limit=3, where={"kind": ("call",)})
    assert [row["agent"] for row in newest] == ["at7", "at8", "at9"]
    assert len(audit_trail(ledger, limit=99)) == 10


def test_filters_find_entries_by_what_they_say(ledger: Written) -> None:
    ledger.book(
        call("a", findings="late,unpriced", trace_id="11" * 16),
        failed("b", findings="latest"),
        {"kind": EntryKind.DECISION, "agent": "c", "action": "llm.call", "outcome": "deny"},
        {"kind": EntryKind.KEY, "agent": "d", "action": "keys.create", "outcome": "ok"},
    )
    ledger.seal()

    def agents(**where: tuple[str, ...]) -> list[str]:
        return [row["agent"] for row in audit_trail(ledger, where=where)]

    assert agents(kind=("decision", "key")) == ["c", "d"]
    assert agents(action=("llm.call",)) == ["a", "b", "c"]
    assert agents(outcome=("error", "deny")) == ["b", "c"]
    assert agents(finding=("late",)) == ["a"]
    assert agents(finding=("unpriced", "latest")) == ["a", "b"]
    assert agents(trace=("11" * 16,)) == ["a"]
    assert agents(kind=("call",), outcome=("error",)) == ["b"]


def test_the_range_cuts_inside_a_slice(ledger: Written) -> None:
    ledger.book(*(call(f"at{n}", event_time=NOON_NS + n * SECOND_NS) for n in range(6)))
    ledger.seal()
    found = audit_trail(ledger, from_ns=NOON_NS + 2 * SECOND_NS, to_ns=NOON_NS + 4 * SECOND_NS)
    assert [row["agent"] for row in found] == ["at2", "at3"]


def test_times_are_shown_in_the_time_zone_asked_for(ledger: Written) -> None:
    ledger.book(call())
    ledger.seal()
    (row,) = audit_trail(ledger, time_zone="Asia/Kolkata")
    assert row["time"] == "2026-11-24T17:30:00.000000000+05:30"


def test_no_batch_is_larger_than_a_slice(ledger: Written) -> None:
    ledger.book(*(call(event_time=NOON_NS + n * BUCKET_NS) for n in range(40)))
    ledger.seal()
    asked = answer(ledger.data_dir, "activity", where={"kind": ("call",)})
    assert [batch.height for batch in asked.batches] == [40]
    cut = slices.cut(pl.LazyFrame({"event_time": [NOON_NS + n * BUCKET_NS for n in range(40)]}), slice_rows=15)
    assert [part.rows for part in cut] == [15, 15, 10]


@given(
    times=st.lists(st.integers(0, 2**62).map(lambda ns: ns - ns % 3), max_size=60),
    slice_rows=st.integers(1, 20),
)
def test_slices_hold_every_entry_once_and_in_order(times: list[int], slice_rows: int) -> None:
    cut = slices.cut(pl.LazyFrame({"event_time": times}, schema={"event_time": pl.Int64}), slice_rows=slice_rows)
    assert sum(part.rows for part in cut) == len(times)
    held = [[t for t in sorted(times) if part.from_ns <= t < part.to_ns] for part in cut]
    assert [len(part) for part in held] == [part.rows for part in cut]
    assert [t for part in held for t in part] == sorted(times)


@given(st.lists(st.integers(1, 9), max_size=8), st.integers(1, 50))
def test_the_newest_slices_hold_as_many_rows_as_wanted_and_say_how_many_more(sizes: list[int], wanted: int) -> None:
    parts = [Slice(number, number + 1, rows) for number, rows in enumerate(sizes)]
    chosen, surplus = slices.newest(parts, wanted)
    held = sum(part.rows for part in chosen)
    assert chosen == parts[len(parts) - len(chosen) :]
    assert held - surplus == min(wanted, sum(sizes))
    assert not chosen or surplus < chosen[0].rows
