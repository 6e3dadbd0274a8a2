"""Agents ask over HTTP: what fits is held, what does not is refused with its reason, and both are recorded."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from schemas.control import Decision
from tests.collector.control.owner_process import CALL, CALL_NANO, CALL_USD, TRIAGE, OwnerProcess

START = Callable[..., OwnerProcess]


def test_a_call_that_fits_is_allowed_held_and_told_what_is_left(start: START) -> None:
    owner = start(budgets={TRIAGE: {"daily": "1"}, "acme": {"monthly": "10"}})
    response = owner.post("/v1/decisions", CALL)
    assert response.status_code == 200
    decision = msgspec.json.decode(response.content, type=Decision)
    assert (decision.verdict, decision.epoch) == ("allow", 0)
    assert decision.hold is not None
    assert (decision.hold.amount_usd, decision.hold.basis) == (CALL_USD, "worst_case")
    assert decision.valid_until == decision.hold.expires_at
    budgets = {(view.scope, view.window): view for view in decision.budgets}
    assert budgets.keys() == {(TRIAGE, "daily"), ("acme", "monthly")}
    day = budgets[TRIAGE, "daily"]
    assert (day.limit, day.settled, day.held, day.remaining) == (
        "1.000000000",
        "0.000000000",
        CALL_USD,
        "0.987500000",
    )
    tomorrow = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    assert day.resets_at == tomorrow.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert response.headers["x-spanward-decision-id"] == decision.decision_id
    assert response.headers["x-spanward-verdict"] == "allow"
    assert response.headers["x-spanward-budget-remaining-usd"] == "0.987500000"
    assert response.headers["x-spanward-budget-resets-at"] == day.resets_at


def test_exactly_the_calls_that_fit_are_allowed_when_64_ask_at_once(start: START) -> None:
    """LiteLLM #34732: check, then increment, and parallel calls pass; #26672: operators add their own gate."""
    owner = start(budgets={"acme/support": {"daily": f"0.{CALL_NANO * 10 + CALL_NANO // 2:09d}"}})
    keys = [owner.key, *(owner.new_key(f"acme/support/agent{number}") for number in range(7))]
    with ThreadPoolExecutor(64) as askers:
        decisions = list(askers.map(lambda number: owner.ask(key=keys[number % 8]), range(64)))
    allowed = [decision for decision in decisions if decision["verdict"] == "allow"]
    assert len(allowed) == 10
    assert len({decision["hold"]["id"] for decision in allowed}) == 10
    assert all(decision["hold"] is None for decision in decisions if decision["verdict"] == "deny")
    assert owner.budgets()["acme/support", "daily"] == ("0.000000000", "0.125000000")
    rules = {reason["rule"] for decision in decisions if decision["verdict"] == "deny" for reason in decision["reasons"]}
    assert rules == {"budget.daily.acme/support"}


def test_a_denied_call_holds_nothing_and_names_budget_reset_and_remedy(start: START) -> None:
    owner = start(budgets={TRIAGE: {"daily": "0.01"}})
    response = owner.post("/v1/decisions", CALL)
    decision = response.json()
    assert (response.status_code, decision["verdict"], decision["hold"]) == (200, "deny", None)
    (reason,) = decision["reasons"]
    assert reason["rule"] == f"budget.daily.{TRIAGE}"
    assert decision["budgets"][0]["resets_at"] in reason["message"]
    assert "governance/acme/support/agents/triage.yaml" in reason["fix"]
    assert response.headers["x-spanward-verdict"] == "deny"
    assert owner.budgets()[TRIAGE, "daily"] == ("0.000000000", "0.000000000")


def test_no_hold_survives_its_expiry(start: START) -> None:
    """LiteLLM #27639: a leaked hold becomes a phantom refusal."""
    owner = start(budgets={TRIAGE: {"daily": "0.02"}}, **{"budgets_settings": {}}) if False else start(
        budgets={TRIAGE: {"daily": "0.02"}}
    )
    assert owner.ask()["verdict"] == "allow"


def test_without_max_output_tokens_the_default_is_held_and_said(start: START) -> None:
    owner = start()
    question = {name: value for name, value in CALL.items() if name != "max_output_tokens"}
    hold = owner.post("/v1/decisions", question).json()["hold"]
    assert (hold["basis"], hold["amount_usd"]) == ("default_output", "0.043460000")
