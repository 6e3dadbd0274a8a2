"""Each value of each setting of budgets, at the decision endpoint of a real owner.

Complaints of others are named where they belong: a limit that does not hold, or one that blocks wrongly.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest

from collector.governance.windows import slot_of
from schemas.ids import TenantPath
from tests.collector.control.owned import CALL_NANO, CALL_USD, TRIAGE, Owned, OwnerProcess

START = Callable[..., Owned]
UNKNOWN: Any = {"model": "a-model-nobody-knows", "provider": "nobody"}


def rules(answer: dict[str, Any]) -> list[str]:
    return [reason["rule"] for reason in answer["reasons"]]


@pytest.mark.parametrize("scope", ["platform", "acme", "acme/support", TRIAGE])
@pytest.mark.parametrize("window", ["daily", "monthly"])
@pytest.mark.parametrize("limit", [{"usd": "0.03"}, {"tokens": 5000}])
def test_any_one_limit_of_any_scope_window_and_unit_refuses_the_third_call(
    start: START, scope: str, window: str, limit: dict[str, object]
) -> None:
    """LiteLLM #11083, #9658 (an early return skipped the rest), envoyproxy/ai-gateway#2460 (counted, never enforced;
    also #680, #2394, #1754 there).

    agentgateway#2626 wants limits in cost and not in tokens alone: here one call is held to both.
    """
    owner = start(limits={scope: {window: limit}})
    answers = [owner.ask() for _ in range(3)]
    assert [answer["verdict"] for answer in answers] == ["allow", "allow", "deny"]
    name = f"{window}.{scope}" if "usd" in limit else f"{window}.tokens.{scope}"
    assert rules(answers[2]) == [f"budget.{name}"]
    left = "0.005000000 USD left of 0.030000000 USD" if "usd" in limit else "1000 tokens left of 5000 tokens"
    assert left in answers[2]["reasons"][0]["message"]
    (view,) = owner.get("/v1/budgets").json()["budgets"]
    assert (view["scope"], view["window"], view["unit"], view["mode"]) == (scope, window, *limit, "enforce")


def test_an_agent_sees_the_platforms_budget_above_its_calls_and_no_other(start: START) -> None:
    owner = start(limits={"platform": {"daily": "50"}, "acme": {"daily": "9"}, "beta": {"daily": "5"}})
    scopes = [view["scope"] for view in owner.get("/v1/budgets").json()["budgets"]]
    assert scopes == ["platform", "acme"]
    assert owner.get("/v1/budgets?scope=beta").status_code == 403
    assert owner.get("/v1/budgets?scope=platform").json()["budgets"][0]["limit"] == "50.000000000"
    # Others' spend counts there: that is what a limit of the platform is.
    owner.book(spends=[("beta/x/y", slot_of(time.time_ns()), 50_000_000_000)])
    assert rules(owner.ask()) == ["budget.daily.platform"]


@pytest.mark.parametrize("mode", ["observe", "warn", "enforce"])
def test_a_mode_says_what_a_limit_does(start: START, mode: str) -> None:
    owner = start(limits={"acme": {"daily": {"usd": "0.02", "tokens": 3000}, "mode": mode}})
    first, second = owner.ask(), owner.ask()
    names = ["daily.acme", "daily.tokens.acme"]
    said = {
        "observe": ["budget.within"],
        "warn": [f"budget.warn.{name}" for name in names],
        "enforce": [f"budget.{name}" for name in names],
    }
    assert rules(first) == ["budget.within"]
    assert (second["verdict"], rules(second)) == ("deny" if mode == "enforce" else "allow", said[mode])
    settled, held = owner.budgets(key=owner.key)["acme", "daily"]
    # Whatever the mode, what is used is counted: the view shows it, and so does the ledger.
    assert (settled, held) == ("0", "2000" if mode == "enforce" else "4000")
    assert {view["mode"] for view in second["budgets"]} == {mode}
    assert len(owner.events("budget_crossing")) == (2 if mode == "enforce" else 6)


def test_a_child_inherits_its_parents_mode_unless_it_has_its_own(start: START) -> None:
    owner = start(
        limits={
            "platform": {"mode": "observe"},
            "acme": {"daily": "0"},
            "acme/support": {"daily": "0", "mode": "warn"},
            TRIAGE: {"daily": "0"},
        }
    )
    answer = owner.ask()
    assert [(view["scope"], view["mode"]) for view in answer["budgets"]] == [
        ("acme", "observe"), ("acme/support", "warn"), (TRIAGE, "warn"),
    ]  # fmt: skip
    assert rules(answer) == ["budget.warn.daily.acme/support", f"budget.warn.daily.{TRIAGE}"]


@pytest.mark.parametrize(
    ("default", "limits", "verdict", "rule"),
    [
        pytest.param("none", {}, "allow", "budget.within", id="none: it spends and is counted"),
        pytest.param("deny", {}, "deny", "budget.missing", id="deny: nobody spends without a budget"),
        pytest.param("deny", {"platform": {"monthly": "9"}}, "allow", "budget.within", id="deny: any scope's will do"),
        pytest.param("deny", {"acme": {"daily": "0", "mode": "observe"}}, "allow", "budget.within", id="in any mode"),
        pytest.param({"daily": {"usd": "0.01"}}, {}, "deny", f"budget.daily.{TRIAGE}", id="an amount of USD"),
        pytest.param({"monthly": {"tokens": 9}}, {}, "deny", f"budget.monthly.tokens.{TRIAGE}", id="of tokens"),
        pytest.param({"daily": {"usd": "0"}}, {TRIAGE: {"daily": "9"}}, "allow", "budget.within", id="its own wins"),
        pytest.param(
            {"daily": {"usd": "9"}}, {"acme": {"daily": "0"}}, "deny", "budget.daily.acme", id="beside others"
        ),
    ],
)
def test_default_budget_is_that_of_an_agent_without_limits(
    start: START, default: object, limits: dict[str, Any], verdict: str, rule: str
) -> None:
    """LiteLLM #40095 (first requests of a user nobody knows are unbounded), #22726, #20615, #23714 (blocked though no
    budget is set), maximhq/bifrost#3246 (defaults with overrides instead of a key for each).
    """
    owner = start(limits=limits, budgets={"default_budget": default})
    answer = owner.ask()
    assert (answer["verdict"], rules(answer)) == (verdict, [rule])
    assert owner.ask(action="tool.call")["verdict"] == "allow"


def test_a_default_budget_holds_each_agent_that_no_file_names(start: START) -> None:
    owner = start(limits={"acme/support": {"mode": "warn"}}, budgets={"default_budget": {"daily": {"usd": "0.02"}}})
    key = owner.store.create_tenant_key(TenantPath("acme", "support"), actor="user:test")[0]
    owner.eventually(lambda: owner.get("/v1/budgets", key=key).status_code == 200)
    for agent in ("one", "two"):
        assert rules(owner.ask(key=key, agent=agent)) == ["budget.within"]
        assert rules(owner.ask(key=key, agent=agent)) == [f"budget.warn.daily.acme/support/{agent}"]
    scopes = {view["scope"] for view in owner.get("/v1/budgets", key=owner.admin).json()["budgets"]}
    assert scopes == {TRIAGE, "acme/support/one", "acme/support/two"}


@pytest.mark.parametrize("policy", ["deny", "fallback", "allow"])
@pytest.mark.parametrize(
    ("limit", "mode"), [({"usd": "9"}, "enforce"), ({"usd": "9"}, "warn"), ({"tokens": 9000}, "enforce")]
)
def test_on_unknown_price_concerns_usd_and_tokens_are_held_in_every_case(
    start: START, policy: str, limit: dict[str, object], mode: str
) -> None:
    """LiteLLM #35524: no estimate, so no hold, and nobody was told."""
    owner = start(limits={"acme": {"daily": limit, "mode": mode}}, budgets={"on_unknown_price": policy})
    answer = owner.ask(**UNKNOWN)
    refused = policy == "deny" and "usd" in limit and mode == "enforce"
    assert answer["verdict"] == ("deny" if refused else "allow")
    silent = policy == "fallback" or "tokens" in limit
    assert rules(answer) == (["budget.within"] if silent else ["price.unknown"])
    hold = answer["hold"]
    if "tokens" in limit:
        assert hold["tokens"] == 2000
        settled = owner.post(f"/v1/holds/{hold['id']}/settle", {"input_tokens": 900, "output_tokens": 50}).json()
        assert settled["settled_tokens"] == 950
        assert owner.budgets()["acme", "daily"] == ("950", "0")
    else:
        assert (hold is not None) is (policy == "fallback")


def test_a_free_model_holds_tokens_where_they_are_limited_and_nothing_elsewhere(start: START) -> None:
    free = {"rows": [{"place": "prices.yaml:1", "row": _free_row()}]}
    owner = start(limits={"acme": {"daily": "0"}}, pricing=free)
    assert (owner.ask(**UNKNOWN)["verdict"], owner.ask(**UNKNOWN)["hold"]) == ("allow", None)
    limited = start(limits={"acme": {"daily": {"usd": "0", "tokens": 3000}}}, pricing=free)
    first, second = limited.ask(**UNKNOWN), limited.ask(**UNKNOWN)
    assert (first["hold"]["amount_usd"], first["hold"]["tokens"]) == ("0.000000000", 2000)
    assert rules(second) == ["budget.daily.tokens.acme"]


def test_a_hold_is_no_more_than_what_calls_usually_use_and_says_so(start: START) -> None:
    """LiteLLM #38647: worst-case holds clamp a budget of $25 of which nothing is spent."""
    owner = start(limits={"acme": {"daily": "25"}})
    call: Any = {"max_output_tokens": 1_000_000}
    worst = owner.ask(**call)["hold"]
    assert (worst["amount_usd"], worst["basis"]) == ("10.002500000", "worst_case")
    assert owner.ask(**call)["verdict"] == "allow"
    assert owner.ask(**call)["verdict"] == "deny", "two unspent calls fill it"
    owner.post(f"/v1/holds/{worst['id']}/void")
    for number in range(30):
        hold = owner.ask(max_output_tokens=900)["hold"]
        used = {"input_tokens": 1000, "output_tokens": 10 + number}
        assert owner.post(f"/v1/holds/{hold['id']}/settle", used).status_code == 200
    holds = [owner.ask(**call)["hold"] for _ in range(50)]
    # The dearest of thirty calls: 1000 input and 39 output tokens.
    assert {(hold["amount_usd"], hold["tokens"], hold["basis"]) for hold in holds} == {("0.002890000", 1039, "p99")}
    assert owner.ask(max_output_tokens=1)["hold"]["basis"] == "worst_case", "never more than the call can cost"
    assert owner.ask(model="gpt-4o-mini", **call)["hold"]["basis"] == "worst_case", "another model is another call"


def test_hold_size_worst_case_holds_the_most_whatever_calls_used(start: START) -> None:
    owner = start(budgets={"hold_size": "worst_case"})
    for _ in range(31):
        owner.post(f"/v1/holds/{owner.ask()['hold']['id']}/settle", {"cost_usd": "0.000001"})
    assert (owner.ask()["hold"]["amount_usd"], owner.ask()["hold"]["basis"]) == (CALL_USD, "worst_case")


def test_what_calls_use_is_remembered_over_a_restart(prepare: Callable[..., OwnerProcess]) -> None:
    owner = prepare().start()
    for _ in range(30):
        hold = owner.ask()["hold"]
        owner.post(f"/v1/holds/{hold['id']}/settle", {"input_tokens": 500, "output_tokens": 100})
    owner.kill()
    owner.start()
    hold = owner.ask()["hold"]
    assert (hold["amount_usd"], hold["tokens"], hold["basis"]) == ("0.002250000", 600, "p99")


def test_a_ceiling_bounds_every_hold_and_what_it_missed_is_overdraw(start: START) -> None:
    owner = start(limits={"acme": {"daily": "0.03"}}, budgets={"hold_ceiling": "0.002"})
    hold = owner.ask()["hold"]
    assert (hold["amount_usd"], hold["basis"]) == ("0.002000000", "ceiling")
    owner.post(f"/v1/holds/{hold['id']}/settle", {"input_tokens": 1000, "output_tokens": 1000})
    assert owner.budgets()["acme", "daily"] == (CALL_USD, "0.000000000")
    (settled,) = owner.events("hold")
    assert '"overdraw_usd":"0.010500000"' in str(settled.row["detail"])
    assert owner.ask()["verdict"] == "allow"


@pytest.mark.parametrize("settings", [{"hold_ceiling": "cheap"}, {"default_budget": {"daily": {"usd": "lots"}}}])
def test_a_setting_that_is_no_amount_ends_the_start(
    prepare: Callable[..., OwnerProcess], settings: dict[str, object]
) -> None:
    with pytest.raises(AssertionError) as failed:
        prepare(budgets=settings).start()
    code, log = failed.value.args[0]
    assert code == 1
    assert log.startswith(f"Error: processors.budgets.{next(iter(settings))}: ")


def test_a_span_settles_the_tokens_that_were_held_and_an_unpriced_one_those_alone(start: START) -> None:
    """wso2/api-platform#2932: every request counted as one token."""
    owner = start(limits={"acme": {"daily": {"usd": "9", "tokens": 9000}}})
    now, slot = time.time_ns(), slot_of(time.time_ns())
    calls: list[tuple[int | None, int | None]] = [(700_000, 650), (None, 300), (800_000, None)]
    for cost, tokens in calls:
        decision = owner.ask()["decision_id"]
        call = {
            "path": TRIAGE, "model": "gpt-4o", "request_model": "gpt-4o", "decision_id": decision,
            "start_time": now, "end_time": now, "cost_nano_usd": cost, "tokens": tokens,
        }  # fmt: skip
        owner.book(spends=[(TRIAGE, slot, cost or 0, tokens or 0)], calls=[call])
    views = {view["unit"]: view for view in owner.get("/v1/budgets").json()["budgets"]}
    assert views["tokens"]["settled"] == str(650 + 300 + 2000)
    assert views["usd"]["settled"] == f"0.{700_000 + CALL_NANO + 800_000:09d}"
    assert {view["held"] for view in views.values()} == {"0", "0.000000000"}


def test_headers_tell_of_both_units(start: START) -> None:
    owner = start(limits={"acme": {"daily": {"usd": "1", "tokens": 9000}, "monthly": {"usd": "5"}}})
    headers = owner.post("/v1/decisions", {"model": "gpt-4o", "max_output_tokens": 1000}).headers
    assert headers["x-spanward-budget-remaining-usd"] == "0.990000000"
    assert headers["x-spanward-budget-remaining-tokens"] == "8000"
    assert headers["x-spanward-budget-resets-at"].endswith("T00:00:00Z")


def _free_row() -> dict[str, object]:
    prices = {"input": "0", "output": "0"}
    return {"provider": "nobody", "model": "*", "effective_from": "2026-01-01", "prices": prices, "source": "ours"}
