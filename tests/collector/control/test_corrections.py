"""Corrections of cost handed in by an operator: budgets and ledger entries follow, each row once."""

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.collector.control.owned import TRIAGE, Owned, OwnerProcess

START = Callable[..., Owned]
LIMITS = {TRIAGE: {"daily": "1"}, "acme": {"monthly": "10"}}
NOW = time.time_ns()


def correction(cost: int, **changes: object) -> dict[str, Any]:
    """A row as `spanward prices rerate` makes it."""
    row = {
        "entry_id": str(uuid.uuid4()),
        "kind": "correction",
        "accounting_rule": "rerated",
        "call_count": 0,
        "corrects": str(uuid.uuid4()),
        "org": "acme",
        "tenant": "support",
        "agent": "triage",
        "event_time": NOW,
        "cost_nano_usd": cost,
        "model": "gpt-4o",
        "message": "New contract.",
    }
    return row | changes


def hand_in(owner: Owned, *rows: object, key: str = "operator") -> httpx.Response:
    return owner.post("/v1/ledger/corrections", {"rows": rows}, key=key)


def settled(owner: Owned) -> str:
    (day, _) = owner.budgets()[TRIAGE, "daily"]
    return day


def test_the_difference_reaches_budgets_and_the_ledger_in_both_directions(start: START) -> None:
    owner = start(limits=LIMITS)
    dearer, cheaper = correction(500_000_000), correction(-200_000_000)
    assert hand_in(owner, dearer, cheaper).json() == {"recorded": 2, "repeated": 0}
    assert settled(owner) == "0.300000000"
    rows = [event.row for event in owner.events("correction")]
    assert [row["cost_nano_usd"] for row in rows] == [500_000_000, -200_000_000]
    for row, sent in zip(rows, (dearer, cheaper), strict=True):
        own = {name: row[name] for name in ("received_time", "actor", "software_version")}
        assert row == sent | own
        assert own["actor"] == "user:operator"
        assert isinstance(own["received_time"], int)
        assert own["received_time"] >= NOW


def test_the_difference_is_spent_in_the_quarter_of_an_hour_of_the_call(start: START) -> None:
    owner = start(limits=LIMITS)
    hand_in(owner, correction(500_000_000, event_time=NOW - 40 * 86_400 * 10**9))
    assert owner.budgets() == {(TRIAGE, "daily"): ("0.000000000",) * 2, ("acme", "monthly"): ("0.000000000",) * 2}
    hand_in(owner, correction(1_000_000_000))
    assert owner.ask()["verdict"] == "deny"
    assert [event.row["outcome"] for event in owner.events("budget_crossing")] == ["80", "90", "100"]


def test_a_chunk_sent_again_changes_nothing_not_even_after_kill_9(prepare: Callable[..., OwnerProcess]) -> None:
    owner = prepare(limits=LIMITS)
    owner.start()
    chunk = [correction(1_000_000 * number) for number in range(1, 11)]
    assert hand_in(owner, *chunk).json() == {"recorded": 10, "repeated": 0}
    owner.kill()
    owner.start()
    assert hand_in(owner, *chunk[5:], correction(45_000_000)).json() == {"recorded": 1, "repeated": 5}
    assert settled(owner) == "0.100000000"
    owner.resume()
    assert len(owner.events("correction")) == 11


def test_a_chunk_sent_many_times_at_once_is_applied_once(start: START) -> None:
    owner = start(limits=LIMITS)
    chunk = [correction(1_000_000) for _ in range(50)]
    with ThreadPoolExecutor(8) as senders:
        answers = [answer.json() for answer in senders.map(lambda _: hand_in(owner, *chunk), range(24))]
    assert sorted(answer["recorded"] for answer in answers) == [0] * 23 + [50]
    assert settled(owner) == "0.050000000"
    assert len(owner.events("correction")) == 50


def test_the_same_row_twice_in_a_chunk_counts_once(start: START) -> None:
    owner = start(limits=LIMITS)
    row = correction(7)
    assert hand_in(owner, row, row).json() == {"recorded": 1, "repeated": 1}
    assert settled(owner) == "0.000000007"


BAD = {
    "no id": {"entry_id": None},
    "an id that is none": {"entry_id": "abc"},
    "another kind": {"kind": "call"},
    "a row that counts a call": {"call_count": 1},
    "another rule": {"accounting_rule": "usage"},
    "nobody's": {"agent": None},
    "a name that is no id": {"agent": "Triage!"},
    "a cost that is text": {"cost_nano_usd": "7"},
    "half a nano-USD": {"cost_nano_usd": 0.5},
    "more money than there is": {"cost_nano_usd": 2**62 + 1},
    "a time before all": {"event_time": -1},
    "a price beyond 64 bits": {"input_price": 10**30},
    "a column nobody knows": {"colour": "red"},
    "a number of its own": {"seq": 1},
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD.keys())
def test_one_row_that_is_no_correction_of_a_cost_refuses_the_whole_chunk(start: START, changes: dict[str, Any]) -> None:
    owner = start(limits=LIMITS)
    bad = {name: value for name, value in correction(1, **changes).items() if value is not None}
    response = hand_in(owner, correction(1), bad)
    assert (response.status_code, response.json()["error"]) == (400, "bad_request")
    assert "$.rows[1]" in response.json()["message"]
    assert settled(owner) == "0.000000000"
    assert owner.events("correction") == []


def test_only_operators_hand_in_corrections(start: START) -> None:
    owner = start(limits=LIMITS)
    assert hand_in(owner, correction(1), key=owner.key).status_code == 403
    assert hand_in(owner, correction(1), key="operato").status_code == 401
    assert hand_in(owner, correction(1), key=owner.admin).status_code == 200
    (entry,) = owner.events("correction")
    assert str(entry.row["actor"]).removeprefix("user:") in owner.admin


def test_corrections_wait_while_half_of_what_may_wait_is_waiting(start: START) -> None:
    owner = start(limits=LIMITS, control={"max_outbox_events": 20})
    assert hand_in(owner, *(correction(1) for _ in range(11))).status_code == 200
    refused = hand_in(owner, correction(1))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert owner.ask()["verdict"] == "allow"
    assert len(owner.events("correction")) == 11
    assert hand_in(owner, correction(1)).status_code == 200


def test_a_body_of_a_thousand_rows_fits_and_more_are_refused(start: START) -> None:
    owner = start(limits=LIMITS)
    rows = [correction(1, conversation_id="c" * 2_000) for _ in range(1_001)]
    assert hand_in(owner, *rows).status_code == 400
    assert hand_in(owner, *rows[1:]).json() == {"recorded": 1_000, "repeated": 0}
