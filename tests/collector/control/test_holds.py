"""What becomes of held money over HTTP: settled, voided, asked about, and by whom."""

import time
from collections.abc import Callable

import pytest

from tests.collector.control.owned import CALL_NANO, CALL_USD, TRIAGE, Owned

START = Callable[..., Owned]
LIMITS = {TRIAGE: {"daily": "1"}}


def held(owner: Owned) -> str:
    return str(owner.ask()["hold"]["id"])


def test_a_hold_can_be_asked_about_settled_and_asked_about_again(start: START) -> None:
    owner = start(limits=LIMITS)
    hold = held(owner)
    assert owner.get(f"/v1/holds/{hold}").json() == {
        "id": hold,
        "state": "held",
        "amount_usd": CALL_USD,
        "settled_usd": None,
        "tokens": 2000,
        "settled_tokens": None,
    }
    settled = owner.post(f"/v1/holds/{hold}/settle", {"cost_usd": "0.004"})
    assert settled.status_code == 200
    # Its tokens were not told: those that were held stay posted.
    assert settled.json() == {
        "id": hold,
        "state": "settled",
        "amount_usd": CALL_USD,
        "settled_usd": "0.004000000",
        "tokens": 2000,
        "settled_tokens": 2000,
    }
    assert owner.get(f"/v1/holds/{hold}").json() == settled.json()
    assert owner.budgets()[TRIAGE, "daily"] == ("0.004000000", "0.000000000")
    (event,) = owner.events("hold")
    assert (event.row["action"], event.row["subject"], event.row["actor"]) == ("hold.settle", hold, f"agent:{TRIAGE}")


def test_tokens_settle_at_the_price_of_the_held_model(start: START) -> None:
    owner = start(limits=LIMITS)
    settled = owner.post(f"/v1/holds/{held(owner)}/settle", {"input_tokens": 100, "output_tokens": 10})
    assert settled.json()["settled_usd"] == "0.000350000"


def test_a_void_gives_the_money_back(start: START) -> None:
    owner = start(limits=LIMITS)
    hold = held(owner)
    for _ in range(2):
        voided = owner.post(f"/v1/holds/{hold}/void")
        assert (voided.status_code, voided.json()["state"]) == (200, "void")
    assert owner.budgets()[TRIAGE, "daily"] == ("0.000000000", "0.000000000")
    assert [event.row["action"] for event in owner.events("hold")] == ["hold.void"]


def test_a_repeated_settlement_is_answered_alike_and_another_amount_is_a_conflict(start: START) -> None:
    owner = start(limits=LIMITS)
    hold = held(owner)
    first, again = (owner.post(f"/v1/holds/{hold}/settle", {"cost_usd": "0.01"}) for _ in range(2))
    assert first.json() == again.json()
    for response in (
        owner.post(f"/v1/holds/{hold}/settle", {"cost_usd": "0.02"}),
        owner.post(f"/v1/holds/{hold}/void"),
    ):
        assert (response.status_code, response.json()["error"]) == (409, "conflict")
    assert owner.budgets()[TRIAGE, "daily"] == ("0.010000000", "0.000000000")


def test_a_hold_that_is_long_settled_is_still_known_after_a_restart(start: START) -> None:
    owner = start(limits=LIMITS)
    hold = held(owner)
    owner.book(
        spends=[(TRIAGE, 0, 5)],
        calls=[{"path": TRIAGE, "model": "gpt-4o", "start_time": 0, "end_time": 2**62, "cost_nano_usd": 5}],
    )
    owner.hang_up()
    owner.start()
    assert owner.get(f"/v1/holds/{hold}").json()["settled_usd"] == "0.000000005"
    assert owner.post(f"/v1/holds/{hold}/settle", {"cost_usd": "9"}).json()["settled_usd"] == "0.000000005"
    assert owner.post(f"/v1/holds/{hold}/void").status_code == 409


def test_a_span_that_came_first_is_not_contradicted_by_its_client(start: START) -> None:
    owner = start(limits=LIMITS)
    decision = owner.ask()
    call = {"path": TRIAGE, "decision_id": decision["decision_id"], "start_time": 0, "cost_nano_usd": CALL_NANO * 2}
    owner.book(spends=[(TRIAGE, 0, CALL_NANO * 2)], calls=[call])
    settled = owner.post(f"/v1/holds/{decision['hold']['id']}/settle", {"cost_usd": "0.001"})
    assert (settled.status_code, settled.json()["settled_usd"]) == (200, "0.025000000")
    assert owner.budgets()[TRIAGE, "daily"] == ("0.025000000", "0.000000000")


def test_after_its_grace_an_expired_hold_stays_as_it_is(start: START) -> None:
    owner = start(limits=LIMITS, budgets={"hold_ttl": "50ms", "span_grace": "50ms"})
    hold = held(owner)
    owner.eventually(lambda: owner.get(f"/v1/holds/{hold}").json()["state"] == "expired")
    time.sleep(0.051)
    answer = owner.post(f"/v1/holds/{hold}/settle", {"cost_usd": "0.001"})
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert owner.get(f"/v1/holds/{hold}").json()["settled_usd"] == CALL_USD


def test_holds_of_other_agents_do_not_exist_for_an_agent_but_do_for_an_administrator(start: START) -> None:
    owner = start(limits=LIMITS)
    hold = held(owner)
    other = owner.new_key("acme/support/writer")
    for response in (
        owner.get(f"/v1/holds/{hold}", key=other),
        owner.post(f"/v1/holds/{hold}/void", key=other),
        owner.post(f"/v1/holds/{hold}/settle", {"cost_usd": "0"}, key=other),
        owner.get("/v1/holds/hold_nobody", key=other),
    ):
        assert (response.status_code, response.json()["error"]) == (404, "not_found")
    assert owner.get(f"/v1/holds/{hold}").json()["state"] == "held"
    assert owner.post(f"/v1/holds/{hold}/void", key=owner.admin).json()["state"] == "void"
    (event,) = owner.events("hold")
    assert str(event.row["actor"]).startswith("user:")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        pytest.param({}, "needs either `$.cost_usd` or", id="nothing"),
        pytest.param({"cost_usd": "1", "input_tokens": 5}, "needs either `$.cost_usd` or", id="both"),
        pytest.param({"cost_usd": "-1"}, "`$.cost_usd`: '-1' is not", id="negative"),
        pytest.param({"cost_usd": "a lot"}, "`$.cost_usd`: 'a lot' is not an amount", id="words"),
        pytest.param({"cost_usd": "0.0000000001"}, "more than nine decimal places", id="finer than the unit"),
        pytest.param({"cost_usd": 0.004}, "Expected `str | null`, got `float` - at `$.cost_usd`", id="a float"),
        pytest.param({"input_tokens": -1}, "`$.input_tokens` is -1", id="negative tokens"),
        pytest.param({"output_tokens": 10**12}, "`$.output_tokens` is 1000000000000", id="beyond belief"),
    ],
)
def test_a_settlement_that_says_nothing_exact_is_refused_and_changes_nothing(
    start: START, body: dict[str, object], complaint: str
) -> None:
    owner = start(limits=LIMITS)
    hold = held(owner)
    response = owner.post(f"/v1/holds/{hold}/settle", body)
    assert (response.status_code, response.json()["error"]) == (400, "bad_request")
    assert complaint in response.json()["message"]
    assert owner.get(f"/v1/holds/{hold}").json()["state"] == "held"


def test_many_holds_are_finished_at_once_and_what_cannot_be_is_told(start: START) -> None:
    """Each settle in a request of its own comes late from a busy process, and what it holds refuses calls (2.B)."""
    owner = start(limits=LIMITS)
    used, unused, twice = held(owner), held(owner), held(owner)
    owner.post(f"/v1/holds/{twice}/void")
    settle = {"input_tokens": 100, "output_tokens": 10}
    holds = [
        {"id": used, "settle": settle},
        {"id": unused, "settle": None},
        {"id": twice, "settle": settle},
        {"id": "hold_nobody", "settle": None},
    ]
    answer = owner.post("/v1/holds", {"holds": holds})
    assert answer.status_code == 200
    told = {each["id"]: each["message"] for each in answer.json()["unfinished"]}
    assert told.keys() == {twice, "hold_nobody"}
    assert "cannot be settled" in told[twice]
    assert owner.budgets()[TRIAGE, "daily"] == ("0.000350000", "0.000000000")
    assert owner.post("/v1/holds", {"holds": holds[:2]}).json() == {"unfinished": []}, "a repetition changes nothing"


def test_who_says_nothing_of_a_hold_does_not_void_it(start: START) -> None:
    owner = start(limits=LIMITS)
    hold = held(owner)
    for body in ({"id": hold}, {"id": hold, "setle": {}}, {"id": hold, "settle": {"input_tokens": -1}}):
        assert owner.post("/v1/holds", {"holds": [body]}).status_code == 400
    assert owner.post("/v1/holds", {"holds": [{"id": hold, "settle": None}] * 201}).status_code == 400
    assert owner.budgets()[TRIAGE, "daily"] == ("0.000000000", CALL_USD)


def test_nobody_finishes_the_holds_of_another_agent(start: START) -> None:
    owner = start(limits=LIMITS)
    hold = held(owner)
    other = owner.new_key("acme/support/other")
    (told,) = owner.post("/v1/holds", {"holds": [{"id": hold, "settle": None}]}, key=other).json()["unfinished"]
    assert told["id"] == hold
    assert owner.budgets()[TRIAGE, "daily"] == ("0.000000000", CALL_USD)
