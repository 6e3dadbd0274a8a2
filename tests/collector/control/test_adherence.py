"""Decisions over HTTP and bookings over ingest's socket → findings for the ledger, each booking's once."""

import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from collector.processors.sightings import SIGHTINGS
from schemas.booking import Booking
from tests.collector.control.owned import TRIAGE, Owned, OwnerThread, booking

START = Callable[..., OwnerThread]
SECOND = 10**9
MINI: dict[str, Any] = {"model": "gpt-4o-mini", "request_model": "gpt-4o-mini"}


def call(decision: dict[str, Any] | None = None, *, ago: int = 0, **columns: object) -> dict[str, Any]:
    """A finished call that began that many ns ago."""
    began = time.time_ns() - ago - SECOND
    named = {"decision_id": decision["decision_id"]} if decision else {}
    models = {"model": "gpt-4o-2024-08-06", "request_model": "gpt-4o"}
    return {
        "path": TRIAGE, "start_time": began, "end_time": began + SECOND, "cost_nano_usd": 9, "trace_id": "t",
        **named, **models, **columns,
    }  # fmt: skip


def found(owner: Owned) -> list[tuple[str, str]]:
    """Findings that wait for the ledger; taken out."""
    owner.resume()
    return [(str(event.row["action"]), str(event.row["outcome"])) for event in owner.events("finding")]


def test_each_way_to_ignore_a_decision_is_found_and_the_honest_call_is_not(start: START) -> None:
    owner = start(limits={TRIAGE: {"daily": "1"}})
    honest, other = owner.ask(), owner.ask()
    owner.book(calls=[call(honest)])
    assert found(owner) == []
    refused = owner.ask(input_tokens=10**6)
    assert refused["verdict"] == "deny"
    owner.book(calls=[call(refused), call(other, **MINI)])
    assert sorted(found(owner)) == [("adherence.after_deny", "found"), ("adherence.model", "found")]


def test_a_booking_sent_again_makes_no_finding_again_not_even_after_a_restart(start: START) -> None:
    owner = start(limits={TRIAGE: {"daily": "0.001"}})
    message = booking(1, calls=[call(owner.ask())])
    for _ in range(2):
        owner.send(message)
    owner.hang_up()
    owner.start()
    owner.send(message)
    owner.resume()
    assert found(owner) == [("adherence.after_deny", "found")]


def waiting(owner: Owned) -> list[str]:
    """Findings that wait for the ledger, without asking for a seal."""
    owner.resume()
    return [str(each.row["outcome"]) for _, each in owner.poll(wait_ms=1).events if each.row["kind"] == "finding"]


def test_what_is_added_to_a_finding_waits_for_its_interval_or_for_a_seal(start: START) -> None:
    owner = start(limits={TRIAGE: {"daily": "0.001"}})
    refused = owner.ask()
    for _ in range(3):
        owner.book(calls=[call(refused), call(refused)])
    assert waiting(owner) == ["found"]
    assert found(owner) == [("adherence.after_deny", "found"), ("adherence.after_deny", "continued")]


def test_the_interval_is_a_setting(start: START) -> None:
    owner = start(limits={TRIAGE: {"daily": "0.001"}}, adherence={"report_interval": "1ms"})
    refused = owner.ask()
    for _ in range(2):
        owner.book(calls=[call(refused)])
    owner.eventually(lambda: waiting(owner) == ["found", "continued"])


def test_permission_for_an_action_without_cost_makes_no_asker(start: START) -> None:
    owner = start(budgets={"clock_tolerance": "0s"})
    owner.ask(action="tool.call", model="")
    time.sleep(0.01)
    owner.book(calls=[call(ago=-SECOND + 1)])
    assert found(owner) == []


def test_a_shared_key_is_found(start: START) -> None:
    owner = start()
    now = time.time_ns()
    rows = [
        {"credential_id": "key1", "agent": TRIAGE, "what": "service", "user": user, "first": now, "last": now}
        for user in ("a", "b")
    ]
    owner.frames += 1
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SIGHTINGS) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=SIGHTINGS))
    plain = booking(owner.frames)
    owner.send(
        Booking(
            plain.spool_frame, plain.journal_frame, 0, b"", plain.spends, plain.calls, bytes(sink.getvalue())
        )
    )  # fmt: skip
    assert found(owner) == [("keys.shared", "found")]
