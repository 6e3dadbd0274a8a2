"""The verdict is a pure function of the question, and every reason names a rule, a sentence and a way out."""

import pytest

from collector.governance.config import Config
from collector.governance.counters import Counter
from collector.governance.decide import Judgement, Question, decide
from collector.governance.limits import governance_file
from collector.governance.sizes import Quote
from collector.governance.windows import windows_at
from schemas.control import DecisionRequest
from tests.collector.governance.bookkeeping import NOON

CALL = DecisionRequest(model="gpt-4o", provider="openai", input_tokens=1000)
QUOTE = Quote(2_000_000_000, 5096, "worst_case", "exact", "abc")
UNPRICED = Quote(0, 5096, "worst_case", "unknown", "")


def counter(
    scope: str = "acme/support/triage", *, limit: int = 50_000_000_000, settled: int = 49_000_000_000
) -> Counter:
    made = Counter(scope, "daily", "usd", windows_at("UTC", NOON).daily)
    made.limit = made.cap = limit
    made.settled = settled
    return made


def judge(
    request: DecisionRequest = CALL,
    *,
    quote: Quote | None = QUOTE,
    limited: list[Counter],
    exceeded: list[Counter],
    **config: object,
) -> Judgement:
    question = Question("acme/support/triage", request, quote, limited, exceeded)
    settings = Config(**config)  # type: ignore[arg-type]
    assert decide(question, settings) == decide(question, settings)
    return decide(question, settings)


def test_a_call_that_fits_is_allowed_and_says_what_it_may_cost() -> None:
    verdict, reasons = judge(limited=[counter()], exceeded=[])
    assert verdict == "allow"
    assert [reason.rule for reason in reasons] == ["budget.within"]
    assert "2.000000000 USD fit" in reasons[0].message


def test_a_call_that_does_not_fit_is_denied_with_amounts_reset_time_and_the_file_to_change() -> None:
    low = counter()
    verdict, (reason,) = judge(limited=[low], exceeded=[low])
    assert verdict == "deny"
    assert reason.rule == "budget.daily.acme/support/triage"
    assert reason.message == (
        "The daily budget of acme/support/triage has 1.000000000 USD left of 50.000000000 USD, and this call may "
        "cost 2.000000000 USD. It resets at 2026-03-29T00:00:00Z."
    )
    assert "governance/acme/support/agents/triage.yaml" in reason.fix


def test_every_budget_that_refuses_is_named() -> None:
    both = [counter("acme", settled=50_000_000_000), counter("acme/support", settled=60_000_000_000)]
    _, reasons = judge(limited=both, exceeded=both)
    assert [reason.rule for reason in reasons] == ["budget.daily.acme", "budget.daily.acme/support"]
    assert all("has no USD left of" in reason.message for reason in reasons)


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [pytest.param("deny", "deny", id="refused"), pytest.param("allow", "allow", id="let through")],
)
def test_on_unknown_price_decides_what_happens_where_a_budget_applies(policy: str, verdict: str) -> None:
    """LiteLLM #35524: no estimate, so no hold, and nobody was told."""
    judgement = judge(quote=UNPRICED, limited=[counter()], exceeded=[], on_unknown_price=policy)
    assert judgement.verdict == verdict
    assert judgement.reasons[0].rule == "price.unknown"
    assert "No price is known for model 'gpt-4o' of openai" in judgement.reasons[0].message


def test_a_refusal_for_an_unknown_price_says_how_to_mend_it() -> None:
    reason = judge(quote=UNPRICED, limited=[counter()], exceeded=[]).reasons[0]
    assert "processors.budgets.on_unknown_price" in reason.fix
    assert "Check the spelling" in reason.fix
    unnamed = judge(DecisionRequest(), quote=UNPRICED, limited=[counter()], exceeded=[]).reasons[0]
    assert "names no model" in unnamed.message
    assert unnamed.fix.startswith("Name the model")


def test_without_a_budget_an_unknown_price_is_allowed_and_said() -> None:
    """LiteLLM #22726, #20615: blocked though no budget was set."""
    verdict, reasons = judge(quote=UNPRICED, limited=[], exceeded=[])
    assert (verdict, reasons[0].rule) == ("allow", "price.unknown")
    assert "no budget applies" in reasons[0].message


def test_a_fallback_price_is_named_in_the_reason() -> None:
    fallback = QUOTE._replace(pricing="fallback")
    _, reasons = judge(quote=fallback, limited=[counter()], exceeded=[], on_unknown_price="fallback")
    assert reasons[0].message.endswith("at the fallback price.")


def test_an_action_without_model_cost_is_allowed_even_when_the_budget_is_gone() -> None:
    gone = counter(settled=60_000_000_000)
    verdict, reasons = judge(DecisionRequest(action="tool.call"), quote=None, limited=[gone], exceeded=[])
    assert (verdict, reasons[0].rule) == ("allow", "action.free")


@pytest.mark.parametrize(
    ("scope", "file"),
    [
        ("platform", "governance/platform.yaml"),
        ("acme", "governance/acme/org.yaml"),
        ("acme/support", "governance/acme/support/tenant.yaml"),
        ("acme/support/triage", "governance/acme/support/agents/triage.yaml"),
    ],
)
def test_the_file_of_a_limit_is_where_the_operator_finds_it(scope: str, file: str) -> None:
    assert governance_file(scope) == file
