"""Metrics beside calls, through the steps between spool and journal: told, and never spent."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from schemas.tables import EntryKind
from tests.captures_on_disk import Recorded, requests
from tests.collector.booking import AGENT, TENANT, Books, decode, decode_points
from tests.otlp import CHAT, metrics_of, span, token_usage, traces


def both(recorded: list[Recorded]) -> pa.Table:
    """Spans, log records and metrics as one slab of the spool."""
    return pa.concat_tables([decode_points(recorded), decode(recorded)], promote_options="default")


def points(count: int) -> pa.Table:
    made = [token_usage(number, time_ns=100 + number) for number in range(count)]
    return decode_points([Recorded("metrics", "http", metrics_of(*made).SerializeToString(), as_json=False)])


def answered(response_id: str) -> pa.Table:
    body = traces(span({**CHAT, "gen_ai.response.id": response_id})).SerializeToString()
    return decode([Recorded("traces", "http", body, as_json=False)])


def without_ids(rows: pa.Table) -> list[dict[str, object]]:
    """What the rows say; when they came and what they are called differs from run to run."""
    dropped = {"entry_id", "corrects", "received_time"}
    said = rows.select([name for name in rows.column_names if name not in dropped]).to_pylist()
    return sorted(said, key=repr)


def test_a_point_is_an_entry_of_its_own_kind_with_no_part_in_the_account() -> None:
    (row,) = Books().book(points(1)).to_pylist()
    assert {name: value for name, value in row.items() if value is not None} == {
        "entry_id": row["entry_id"],
        "kind": EntryKind.METRIC,
        "event_time": 100,
        "received_time": row["received_time"],
        "org": "acme",
        "tenant": "support",
        "agent": "triage",
        "attribution_source": "credential",
        "credential_id": "key-1",
        "actor": "agent:acme/support/triage",
        "subject": "gpt-4o-2024-08-06",
        "signal": "metrics",
        "span_name": "gen_ai.client.token.usage",
        "status": "unset",
        "duration_ns": 90,
        "service_name": "test",
        "scope_name": "tests",
        "claimed_agent": "test",
        "claim_source": "service",
        "provider": "openai",
        "response_model": "gpt-4o-2024-08-06",
        "model": "gpt-4o-2024-08-06",
        "input_tokens": 0,
        "temporality": "cumulative",
        "series_id": row["series_id"],
        "series_start": 10,
        "software_version": row["software_version"],
    }


def test_under_a_tenants_key_a_point_is_its_services() -> None:
    (request,) = [each for each in requests("codex-cli") if each.signal == "metrics"][:1]
    rows = Books().book(decode_points([request], TENANT)).to_pylist()
    assert {(row["agent"], row["attribution_source"]) for row in rows} == {("codex-exec", "service")}


@pytest.mark.parametrize("time_ns", [0, 2**63 - 1, 2**64 - 1])
def test_a_point_without_a_possible_time_is_booked_at_its_receipt(time_ns: int) -> None:
    body = metrics_of(token_usage(time_ns=time_ns)).SerializeToString()
    (row,) = Books().book(decode_points([Recorded("metrics", "http", body, as_json=False)])).to_pylist()
    assert row["event_time"] == row["received_time"]


@pytest.mark.parametrize("emitter", ["openai-official", "claude-code", "double-mixed", "gemini-cli"])
def test_what_is_booked_of_calls_is_the_same_with_metrics_and_without(emitter: str) -> None:
    recorded = list(requests(emitter))
    alone, beside = Books().book(decode(recorded)), Books().book(both(recorded))
    is_point = pc.equal(beside["kind"], EntryKind.METRIC)
    assert pc.sum(is_point).as_py() > 0
    assert without_ids(beside.filter(pc.invert(is_point))) == without_ids(alone)


def test_no_budget_and_no_hold_hears_of_a_point() -> None:
    books, recorded = Books(), list(requests("openai-official"))
    made = books.make(decode_points(recorded))
    assert len(made.points) > 0
    assert (len(made.rows), len(pa.ipc.open_stream(made.spends()).read_all())) == (0, 0)
    assert len(pa.ipc.open_stream(made.metered_calls()).read_all()) == 0


def test_points_are_counted_by_their_signal_and_repeats_are_dropped() -> None:
    recorded = list(requests("openai-official"))
    books = Books()
    first, spans = books.make(both(recorded)), len(decode(recorded))
    kept = len(first.points)
    assert (first.stored["metrics"], kept) == (26, 26)
    assert sum(first.stored.values()) == spans + kept
    again = books.make(both(recorded))
    assert (again.stored, again.duplicate["metrics"], len(again.all())) == ({}, kept, 0)


def test_points_do_not_push_calls_out_of_what_is_remembered() -> None:
    """Two records of one call are still joined, however many points came between them, across a restart too."""
    books = Books(max_records=8)
    books.book(answered("chatcmpl-one"))
    books.book(points(50))
    books.restart()
    books.book(points(100))
    (row,) = books.book(answered("chatcmpl-one")).to_pylist()
    assert row["call_count"] == 0
    assert row["agent"] == AGENT["agent"]
