"""Two in the morning: an agent loops. It is warned about at 80 and 90 percent and refused at 100.

The agent asks before each call, makes it, and its span settles the hold. A second agent never asks
and only sends spans: it cannot be stopped before the fact, but its next question is refused.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.harness import Served
from tests.otlp import CHAT, CHAT_NANO_USD, Value, span, traces

CALL_USD = Decimal(CHAT_NANO_USD) / 10**9
QUESTION = {"model": "gpt-4o", "provider": "openai", "input_tokens": 1_000, "max_output_tokens": 100}


@pytest.fixture
def governed(serve: Callable[..., Served]) -> Served:
    """An agent with room for exactly ten calls a day."""
    served = serve()
    limit(served, CALL_USD * 10)
    return served


def limit(served: Served, usd: Decimal) -> None:
    """Give the default agent a daily budget and wait until it is in force."""
    path = served.data / "governance/default/default/agents/default.yaml"
    path.write_text(f'budgets: {{daily: {{usd: "{usd}"}}}}\n')
    wanted = f"{usd:.9f}"
    for _ in range(200):
        budgets = httpx.get(served.url("control", "/v1/budgets"), headers=key(served)).json()["budgets"]
        if any(b["limit"] == wanted for b in budgets):
            return
    raise AssertionError(f"the new limit {wanted} never came into force: {budgets}")


def key(served: Served) -> dict[str, str]:
    return {"x-api-key": served.agent_key}


def ask(served: Served, **more: str | int) -> dict[str, Any]:
    answer = httpx.post(
        served.url("control", "/v1/decisions"), json={**QUESTION, **more}, headers=key(served), timeout=30
    )
    assert answer.status_code == 200, answer.text
    decision: dict[str, Any] = answer.json()
    return decision


def emit(served: Served, attributes: dict[str, Value] | None = None, *, times: int = 1) -> None:
    body = traces(*(span({**CHAT, **(attributes or {})}) for _ in range(times))).SerializeToString()
    headers = {"content-type": "application/x-protobuf", **key(served)}
    httpx.post(served.url("otlp_http", "/v1/traces"), content=body, headers=headers, timeout=30).raise_for_status()


def budget(served: Served) -> dict[str, Decimal]:
    served.seal()
    (mine,) = [
        b
        for b in httpx.get(served.url("control", "/v1/budgets"), headers=key(served)).json()["budgets"]
        if b["scope"] == "default/default/default" and b["window"] == "daily"
    ]
    return {name: Decimal(mine[name]) for name in ("limit", "settled", "held", "remaining")}


def test_the_loop_is_warned_about_twice_and_stopped_at_its_limit_to_the_nano(governed: Served) -> None:
    """openai-agents-python#2848, trinity#1155: a hard guard before the call, not a dashboard after."""
    allowed = 0
    for _ in range(12):
        decision = ask(governed)
        if decision["verdict"] == "deny":
            continue
        allowed += 1
        emit(governed, {"spanward.decision.id": decision["decision_id"]})
    assert allowed == 10
    assert budget(governed) == {"limit": CALL_USD * 10, "settled": CALL_USD * 10, "held": 0, "remaining": 0}
    crossings = governed.report("activity", "--kind", "budget_crossing")["rows"]
    assert len(crossings) == 3
    assert len({row["message"] for row in crossings}) == 3
    denied = governed.report("activity", "--kind", "decision", "--outcome", "deny")["rows"]
    assert len(denied) == 2
    assert "default/default/default" in denied[0]["message"]


def test_sixty_four_askers_at_once_get_exactly_the_calls_that_fit(governed: Served) -> None:
    """LiteLLM #34732: check-then-increment lets parallel calls pass."""
    with ThreadPoolExecutor(64) as askers:
        verdicts = [decision["verdict"] for decision in askers.map(lambda _: ask(governed), range(64))]
    assert verdicts.count("allow") == 10
    assert budget(governed)["held"] == CALL_USD * 10


def test_a_span_that_names_no_decision_settles_the_oldest_hold_of_its_agent_and_model(governed: Served) -> None:
    ask(governed)
    emit(governed)
    assert budget(governed) == {"limit": CALL_USD * 10, "settled": CALL_USD, "held": 0, "remaining": CALL_USD * 9}


def test_a_hold_settled_by_its_caller_is_not_billed_again_by_its_span(governed: Served) -> None:
    decision = ask(governed)
    settled = httpx.post(
        governed.url("control", f"/v1/holds/{decision['hold']['id']}/settle"),
        json={"cost_usd": "0.003"},
        headers=key(governed),
    )
    assert settled.status_code == 200, settled.text
    assert budget(governed)["settled"] == Decimal("0.003")
    emit(governed, {"spanward.decision.id": decision["decision_id"]})
    assert budget(governed)["settled"] == CALL_USD


def test_an_agent_that_never_asks_is_billed_in_full_and_refused_at_its_first_question(governed: Served) -> None:
    """Telemetry is never refused because of a budget (clawmetry#5949 lost the spend after the incident)."""
    emit(governed, times=25)
    governed.seal()
    decision = ask(governed)
    assert decision["verdict"] == "deny"
    assert decision["hold"] is None
    assert decision["reasons"][0]["rule"].startswith("budget.daily")
    assert decision["reasons"][0]["fix"]
    resets = datetime.fromisoformat(decision["budgets"][0]["resets_at"])
    assert resets > datetime.now(UTC)
    assert budget(governed)["remaining"] == -CALL_USD * 15
    assert governed.report("spend")["rows"][0]["calls"] == 25


def test_no_hold_survives_its_expiry_and_its_estimate_is_corrected_by_the_late_span(
    serve: Callable[..., Served],
) -> None:
    served = serve(settings={"processors.budgets.hold_ttl": "1s"})
    limit(served, CALL_USD * 10)
    decision = ask(served, max_output_tokens=1_000)
    held = Decimal(decision["hold"]["amount_usd"])
    assert held > CALL_USD
    while (now := budget(served))["held"] != 0:
        assert now["held"] == held
    assert now["settled"] == held
    emit(served, {"spanward.decision.id": decision["decision_id"]})
    assert budget(served)["settled"] == CALL_USD


def test_a_restart_keeps_what_was_spent_held_and_warned_about(governed: Served) -> None:
    """cmcp#665, litellm #27639: state in request memory is lost or leaks."""
    emit(governed, times=8)
    ask(governed)
    before = budget(governed)
    governed.kill9()
    governed.restart()
    assert budget(governed) == before
    assert ask(governed)["verdict"] == "allow"
    assert ask(governed)["verdict"] == "deny"
    governed.seal()
    crossings = governed.report("activity", "--kind", "budget_crossing")["rows"]
    assert len(crossings) == 3


def test_one_idempotency_key_is_one_hold(governed: Served) -> None:
    first = ask(governed, idempotency_key="order-7")
    again = ask(governed, idempotency_key="order-7")
    assert first["decision_id"] == again["decision_id"]
    assert budget(governed)["held"] == CALL_USD
