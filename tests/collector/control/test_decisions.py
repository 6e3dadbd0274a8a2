"""Agents ask over HTTP: what fits is held, what does not is refused with its reason, and both are recorded."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from schemas.control import Decision
from schemas.tables import LEDGER_SCHEMA
from tests.collector.control.owned import CALL, CALL_NANO, CALL_USD, TRIAGE, Owned

START = Callable[..., Owned]
UNPRICED = CALL | {"model": "a-model-nobody-knows"}


def test_a_call_that_fits_is_allowed_held_and_told_what_is_left(start: START) -> None:
    owner = start(limits={TRIAGE: {"daily": "1"}, "acme": {"monthly": "10"}})
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
    assert (day.limit, day.settled, day.held, day.remaining) == ("1.000000000", "0.000000000", CALL_USD, "0.987500000")
    tomorrow = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    assert day.resets_at == tomorrow.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert response.headers["x-spanward-decision-id"] == decision.decision_id
    assert response.headers["x-spanward-verdict"] == "allow"
    assert response.headers["x-spanward-budget-remaining-usd"] == "0.987500000"
    assert response.headers["x-spanward-budget-resets-at"] == day.resets_at


def test_exactly_the_calls_that_fit_are_allowed_when_64_ask_at_once(start: START) -> None:
    """LiteLLM #34732: check, then increment, and parallel calls pass; #26672: operators add their own gate."""
    owner = start(limits={"acme/support": {"daily": f"0.{CALL_NANO * 10 + CALL_NANO // 2:09d}"}})
    keys = [owner.key, *(owner.new_key(f"acme/support/agent{number}") for number in range(7))]
    with ThreadPoolExecutor(64) as askers:
        decisions = list(askers.map(lambda number: owner.ask(key=keys[number % 8]), range(64)))
    allowed = [decision for decision in decisions if decision["verdict"] == "allow"]
    denied = [decision for decision in decisions if decision["verdict"] == "deny"]
    assert (len(allowed), len(denied)) == (10, 54)
    assert len({decision["hold"]["id"] for decision in allowed}) == 10
    assert owner.budgets()["acme/support", "daily"] == ("0.000000000", "0.125000000")
    assert {reason["rule"] for decision in denied for reason in decision["reasons"]} == {"budget.daily.acme/support"}


def test_a_denied_call_holds_nothing_and_names_budget_reset_and_remedy(start: START) -> None:
    owner = start(limits={TRIAGE: {"daily": "0.01"}})
    response = owner.post("/v1/decisions", CALL)
    decision = response.json()
    assert (response.status_code, decision["verdict"], decision["hold"]) == (200, "deny", None)
    (reason,) = decision["reasons"]
    assert reason["rule"] == f"budget.daily.{TRIAGE}"
    assert decision["budgets"][0]["resets_at"] in reason["message"]
    assert "governance/acme/support/agents/triage.yaml" in reason["fix"]
    assert response.headers["x-spanward-verdict"] == "deny"
    assert owner.budgets()[TRIAGE, "daily"] == ("0.000000000", "0.000000000")
    assert [event.row["outcome"] for event in owner.events("budget_crossing")] == ["100"]


@pytest.mark.parametrize(
    ("policy", "settled"),
    [pytest.param("post", CALL_USD, id="posted as spent"), pytest.param("release", "0.000000000", id="given back")],
)
def test_no_hold_survives_its_expiry(start: START, policy: str, settled: str) -> None:
    """LiteLLM #27639: a leaked hold becomes a phantom refusal."""
    owner = start(limits={TRIAGE: {"daily": "0.02"}}, budgets={"hold_ttl": "300ms", "on_hold_expiry": policy})
    hold = owner.ask()["hold"]
    assert owner.ask()["verdict"] == "deny"
    owner.eventually(lambda: owner.budgets()[TRIAGE, "daily"] == (settled, "0.000000000"))
    assert owner.get(f"/v1/holds/{hold['id']}").json()["state"] == "expired"
    assert owner.ask()["verdict"] == ("deny" if policy == "post" else "allow")
    (event,) = [event.row for event in owner.events("hold")]
    assert (event["action"], event["outcome"], event["actor"]) == ("hold.expire", "expired", "system:budgets")
    assert json.loads(str(event["detail"]))["estimated"] is (policy == "post")


def test_without_max_output_tokens_the_configured_default_is_held_and_said(start: START) -> None:
    owner = start(budgets={"default_max_output_tokens": 2000})
    question = {name: value for name, value in CALL.items() if name != "max_output_tokens"}
    hold = owner.post("/v1/decisions", question).json()["hold"]
    assert (hold["basis"], hold["amount_usd"]) == ("default_output", "0.022500000")


@pytest.mark.parametrize(
    ("policy", "verdict", "amount"),
    [
        pytest.param("deny", "deny", None, id="refused"),
        pytest.param("allow", "allow", None, id="let through without a hold"),
        pytest.param("fallback", "allow", "0.090000000", id="held at the fallback price"),
    ],
)
def test_on_unknown_price_where_a_budget_applies(start: START, policy: str, verdict: str, amount: str | None) -> None:
    """LiteLLM #35524: no estimate, so no hold; #35913: a new model costs nothing."""
    owner = start(limits={"acme": {"daily": "5"}}, budgets={"on_unknown_price": policy})
    decision = owner.post("/v1/decisions", UNPRICED).json()
    assert decision["verdict"] == verdict
    assert (decision["hold"] or {}).get("amount_usd") == amount


def test_the_fallback_price_can_be_set(start: START) -> None:
    settings = {"on_unknown_price": "fallback", "fallback_price": {"input": "1", "output": "2.5"}}
    decision = start(budgets=settings).post("/v1/decisions", UNPRICED).json()
    assert decision["hold"]["amount_usd"] == "0.003500000"


def test_without_any_budget_priced_calls_are_held_and_unpriced_ones_are_let_through(start: START) -> None:
    """LiteLLM #22726, #20615: blocked though no budget was set. A limit set later sees what is held now."""
    owner = start()
    assert owner.ask()["hold"]["amount_usd"] == CALL_USD
    unpriced = owner.post("/v1/decisions", UNPRICED).json()
    assert (unpriced["verdict"], unpriced["hold"], unpriced["budgets"]) == ("allow", None, [])
    owner.govern({TRIAGE: {"daily": "0.02"}})
    owner.eventually(lambda: (TRIAGE, "daily") in owner.budgets())
    assert owner.budgets()[TRIAGE, "daily"] == ("0.000000000", CALL_USD)
    assert owner.ask()["verdict"] == "deny"


def test_an_exhausted_budget_refuses_whatever_tokens_a_call_claims(start: START) -> None:
    owner = start(limits={TRIAGE: {"daily": CALL_USD}})
    assert owner.ask()["verdict"] == "allow"
    assert owner.ask(input_tokens=0, max_output_tokens=0)["verdict"] == "deny"


def test_a_tool_call_is_recorded_and_holds_nothing(start: START) -> None:
    owner = start(limits={TRIAGE: {"daily": "0"}})
    decision = owner.ask(action="tool.call", model="", labels={"tool": "search"})
    assert (decision["verdict"], decision["hold"]) == ("allow", None)
    (event,) = owner.events("decision")
    assert (event.row["action"], event.row["subject"]) == ("tool.call", "search")


def test_a_repeated_idempotency_key_gets_the_same_answer_and_one_hold(start: START) -> None:
    owner = start(limits={TRIAGE: {"daily": "1"}})
    answers = [owner.post("/v1/decisions", CALL | {"idempotency_key": "call-1"}) for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["x-spanward-budget-remaining-usd"] for answer in answers}) == 1
    assert owner.budgets()[TRIAGE, "daily"] == ("0.000000000", CALL_USD)
    assert len(owner.events("decision")) == 1
    owner.hang_up()
    owner.start()
    assert owner.post("/v1/decisions", CALL | {"idempotency_key": "call-1"}).content == answers[0].content


def test_an_idempotency_key_names_one_question_of_one_credential(start: START) -> None:
    owner = start()
    first = owner.ask(idempotency_key="call-1")
    conflict = owner.post("/v1/decisions", CALL | {"idempotency_key": "call-1", "input_tokens": 1})
    assert (conflict.status_code, conflict.json()["error"]) == (409, "conflict")
    other = owner.ask(key=owner.new_key("acme/support/writer"), idempotency_key="call-1")
    assert other["decision_id"] != first["decision_id"]


def test_every_decision_becomes_a_ledger_entry_with_who_what_and_why(start: START) -> None:
    owner = start(limits={TRIAGE: {"daily": "0.02"}})
    allowed, denied = owner.ask(labels={"ticket": "7"}), owner.ask()
    rows = [event.row for event in owner.events("decision")]
    assert [row["outcome"] for row in rows] == ["allow", "deny"]
    assert [row["decision_id"] for row in rows] == [allowed["decision_id"], denied["decision_id"]]
    row = rows[0]
    assert row.keys() <= set(LEDGER_SCHEMA.names)
    assert (row["org"], row["tenant"], row["agent"]) == ("acme", "support", "triage")
    assert (row["actor"], row["attribution_source"]) == (f"agent:{TRIAGE}", "credential")
    assert str(row["credential_id"]) in owner.key
    assert (row["action"], row["subject"]) == ("llm.call", "gpt-4o")
    assert row["message"] == allowed["reasons"][0]["message"]
    detail = json.loads(str(row["detail"]))
    assert detail["request"]["labels"] == {"ticket": "7"}
    assert (detail["hold"], detail["reasons"]) == (allowed["hold"], allowed["reasons"])
    assert (detail["quote_nano_usd"], detail["pricing_basis"]) == (CALL_NANO, "exact")
    assert len(detail["policy_digest"]) == 64
    assert len(detail["price_digest"]) == 16


def test_decisions_are_refused_when_nobody_takes_their_entries(start: START) -> None:
    """A decision that cannot be recorded is not made."""
    owner = start(control={"max_outbox_events": 3})
    answers = [owner.post("/v1/decisions", CALL) for _ in range(5)]
    refused = answers[-1]
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert "max_outbox_events" in refused.json()["message"]
    assert owner.events()
    assert owner.ask()["verdict"] == "allow"


def test_budgets_show_an_agent_its_own_scopes_and_an_administrator_all(start: START) -> None:
    owner = start(limits={"acme": {"daily": "9"}, TRIAGE: {"daily": "1"}, "other/team/bot": {"monthly": "2"}})
    assert owner.budgets(key=owner.key).keys() == {("acme", "daily"), (TRIAGE, "daily")}
    assert owner.budgets().keys() == {("acme", "daily"), (TRIAGE, "daily"), ("other/team/bot", "monthly")}
    assert owner.budgets(key=owner.new_key("other/team/bot")).keys() == {("other/team/bot", "monthly")}
    one = owner.get("/v1/budgets?scope=acme").json()["budgets"]
    assert [(view["scope"], view["window"]) for view in one] == [("acme", "daily")]
    assert owner.get("/v1/budgets?scope=acme", key=owner.admin).json()["budgets"] == one


@pytest.mark.parametrize("scope", ["other/team/bot", "other", "acme/supportx", "nobody"])
def test_an_agent_learns_nothing_of_other_scopes_not_even_whether_they_exist(start: START, scope: str) -> None:
    owner = start(limits={"other/team/bot": {"monthly": "2"}})
    response = owner.get(f"/v1/budgets?scope={scope}")
    assert (response.status_code, response.json()["error"]) == (403, "forbidden")
    assert scope in response.json()["message"]
