"""What ingest sends over its socket is booked once, and what the ledger must know comes back once."""

import struct
import threading
import time
from collections.abc import Callable

import pytest

from collector.governance.windows import SLOT_NS, slot_of
from schemas.booking import Pending, Position
from schemas.errors import Retryable
from tests.collector.control.owned import CALL_NANO, TRIAGE, Owned, OwnerThread, booking

START = Callable[..., OwnerThread]
LIMITS = {TRIAGE: {"daily": "1"}, "acme": {"monthly": "5"}}
KEYS = b"0123456789abcdefghijklmn"


def now_slot() -> int:
    return slot_of(time.time_ns())


def settled(owner: Owned) -> str:
    return owner.budgets()[TRIAGE, "daily"][0]


def test_a_fresh_ingest_starts_at_the_beginning(start: START) -> None:
    assert start().resume() == Position(0, 0, [])


def test_positions_and_dedupe_keys_survive_a_restart(start: START) -> None:
    owner = start()
    for _ in range(2):
        owner.book(dedupe=KEYS)
    owner.hang_up()
    owner.start()
    assert owner.resume() == Position(2, 2, [KEYS, KEYS])


def test_spend_is_counted_in_the_window_of_its_slot(start: START) -> None:
    owner = start(limits=LIMITS)
    owner.book(
        spends=[(TRIAGE, now_slot(), 7), ("acme/sales/bot", now_slot(), 5), (TRIAGE, now_slot() - 40 * 96 * SLOT_NS, 3)]
    )
    assert owner.budgets() == {
        (TRIAGE, "daily"): ("0.000000007", "0.000000000"),
        ("acme", "monthly"): ("0.000000012", "0.000000000"),
    }


def test_the_same_booking_again_changes_nothing(start: START) -> None:
    """LiteLLM #28283: counters several times the real spend; litellm#25015: charged twice."""
    owner = start(limits=LIMITS)
    decision = owner.ask()
    call = {"path": TRIAGE, "decision_id": decision["decision_id"], "start_time": now_slot(), "cost_nano_usd": 9}
    message = booking(1, spends=[(TRIAGE, now_slot(), 9)], calls=[call], dedupe=KEYS)
    for _ in range(3):
        owner.send(message)
    assert owner.budgets()[TRIAGE, "daily"] == ("0.000000009", "0.000000000")
    owner.hang_up()
    owner.start()
    owner.send(message)
    assert owner.budgets()[TRIAGE, "daily"] == ("0.000000009", "0.000000000")
    assert owner.resume().dedupe == [KEYS]


def test_calls_settle_their_holds_by_decision_else_by_model_and_the_rest_is_only_spend(start: START) -> None:
    owner = start(limits=LIMITS)
    oldest, other, decided = (owner.ask() for _ in range(3))
    start_time = time.time_ns()
    common = {"path": TRIAGE, "start_time": start_time, "end_time": start_time + 1000}
    calls = [
        common | {"decision_id": decided["decision_id"], "cost_nano_usd": 1},
        common | {"model": "gpt-4o-2024-08-06", "request_model": "gpt-4o", "cost_nano_usd": 2},
        common | {"model": "another", "cost_nano_usd": 4},
        common | {"path": "acme/sales/bot", "model": "gpt-4o", "cost_nano_usd": 8},
    ]
    spends = [(TRIAGE, slot_of(start_time), 7), ("acme/sales/bot", slot_of(start_time), 8)]
    owner.book(spends=spends, calls=calls)
    states = [owner.get(f"/v1/holds/{each['hold']['id']}").json()["state"] for each in (oldest, other, decided)]
    assert states == ["settled", "held", "settled"]
    assert owner.budgets() == {
        (TRIAGE, "daily"): ("0.000000007", "0.012500000"),
        ("acme", "monthly"): ("0.000000015", "0.012500000"),
    }


def test_spend_is_never_refused_and_the_next_question_sees_it(start: START) -> None:
    """clawmetry#5963: a budget pause answered telemetry with 429, so the spend after the incident was lost."""
    owner = start(limits=LIMITS)
    owner.events()
    booked = owner.book(spends=[(TRIAGE, now_slot(), 10**9 * 50)])
    decision = owner.ask()
    assert decision["verdict"] == "deny"
    assert decision["budgets"][1]["remaining"] == "-49.000000000"
    crossed = [(event.row["subject"], event.row["outcome"]) for _, event in booked.events]
    budgets = (f"budget.daily.{TRIAGE}", "budget.monthly.acme")
    assert sorted(crossed) == sorted((budget, threshold) for budget in budgets for threshold in ("80", "90", "100"))


def test_events_come_in_order_once_each_and_again_only_after_a_resume(start: START) -> None:
    owner = start()
    owner.events()
    decisions = [owner.ask()["decision_id"] for _ in range(3)]
    first = owner.poll()
    assert [event.row["decision_id"] for _, event in first.events] == decisions
    assert owner.poll().events == []
    owner.resume()
    assert owner.poll().events == first.events
    owner.book(taken=first.events[1][0])
    owner.resume()
    assert [number for number, _ in owner.poll().events] == [first.events[2][0]]


def test_the_answer_to_a_booking_carries_the_events_it_caused(start: START) -> None:
    owner = start(limits=LIMITS)
    owner.events()
    booked = owner.book(spends=[(TRIAGE, now_slot(), 850_000_000)])
    assert [event.row["action"] for _, event in booked.events] == ["budget.crossed"]
    assert owner.poll().events == []


def test_untaken_events_survive_a_restart(start: START) -> None:
    owner = start()
    owner.events()
    decision = owner.ask()
    assert owner.poll().events
    owner.hang_up()
    owner.start()
    assert [event.row["decision_id"] for event in owner.events("decision")] == [decision["decision_id"]]


def test_a_poll_waits_for_events_and_no_longer_than_it_was_told(start: START) -> None:
    owner = start()
    newest = owner.poll().events[-1][0]
    owner.resume()
    owner.book(taken=newest)
    assert owner.poll(wait_ms=20).events == []
    answers: list[Pending] = []
    waiting = threading.Thread(target=lambda: answers.append(owner.poll(wait_ms=30_000)))
    waiting.start()
    owner.ask()
    waiting.join(timeout=20)
    assert [event.row["kind"] for _, event in answers[0].events] == ["decision"]


def test_a_seal_request_is_handed_to_ingest_and_answered_when_it_is_done(start: START) -> None:
    owner = start()
    owner.events()
    assert owner.poll().seal == 0
    statuses: list[int] = []
    asking = threading.Thread(target=lambda: statuses.append(owner.post("/v1/admin/seal", key="operator").status_code))
    asking.start()
    wanted = owner.poll(wait_ms=20_000).seal
    assert wanted > 0
    assert owner.poll(wait_ms=50, sealed=wanted - 1).seal == wanted
    assert not statuses
    assert owner.poll(sealed=wanted).seal == wanted
    asking.join(timeout=20)
    assert statuses == [200]


def test_a_new_owner_numbers_seals_above_those_ingest_has_done(start: START) -> None:
    """Else the report of an old seal would end the wait for a new one."""
    owner = start(control={"seal_timeout": "100ms"})
    owner.post("/v1/admin/seal", key="operator")
    done = owner.poll().seal
    owner.hang_up()
    owner.start()
    owner.poll(sealed=done)
    assert owner.post("/v1/admin/seal", key="operator").status_code == 503
    assert owner.poll(sealed=done).seal > done


def test_a_decision_is_answered_while_ingest_polls(start: START) -> None:
    owner = start(limits=LIMITS)
    owner.events()
    waiting = threading.Thread(target=lambda: owner.poll(wait_ms=30_000))
    waiting.start()
    owner.book(spends=[(TRIAGE, now_slot(), CALL_NANO)])
    assert settled(owner) == "0.012500000"
    owner.ask()
    waiting.join(timeout=20)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(struct.pack(">I", 3) + b"\xff\xff\xff", id="no message of ours"),
        pytest.param(struct.pack(">I", 2**32 - 1), id="an unbelievable length"),
    ],
)
def test_a_peer_of_another_version_ends_the_owner_with_a_sentence(start: START, sent: bytes) -> None:
    owner = start()
    owner.link._connection.sendall(sent)
    code, failure = owner.wait()
    owner.running = False
    assert code == 1
    assert "Start again" in failure or "another version" in failure


def test_a_link_to_an_owner_that_is_gone_says_so(start: START) -> None:
    owner = start()
    link = owner.poll_link
    owner.link.close()
    owner.wait()
    with pytest.raises(Retryable, match="control process does not answer"):
        link.request(booking(1))
    owner.hang_up()
