"""(request, quote, budgets as they stand) → verdict with reasons. Pure: the same question gets the same answer.

The judges speak in order and the first that refuses ends it; today they are the price and the
budgets, after the credential that `control` has checked. Invariant: every answer names the rule
that spoke, says why in a sentence, and a refusal says how to mend it.

Taking the hold is left to the owner, and arithmetic on budgets to `budgets`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from collector.governance.budgets import Config
from collector.governance.counters import Counter
from collector.governance.windows import utc_text
from schemas.control import DecisionRequest, HoldBasis, Reason, Verdict
from schemas.money import format_usd

# The actions that cost model usage. Others are allowed and recorded, and hold nothing.
COSTED_ACTIONS = frozenset({"llm.call"})


class Quote(NamedTuple):
    """What a call may cost at most, nano-USD, and how that was found."""

    amount: int
    basis: HoldBasis
    pricing: str
    digest: str


class Question(NamedTuple):
    """Everything a verdict depends on. `quote` is `None` when the price is unknown or nothing is priced."""

    agent: str
    request: DecisionRequest
    quote: Quote | None
    limited: Sequence[Counter]
    """Budgets with a limit above the agent."""
    exceeded: Sequence[Counter]
    """Budgets the quote does not fit into."""


class Judgement(NamedTuple):
    """The answer, before anything is held."""

    verdict: Verdict
    reasons: list[Reason]


def decide(question: Question, config: Config) -> Judgement:
    """Judge one question."""
    if question.request.action not in COSTED_ACTIONS:
        return Judgement("allow", [Reason("action.free", f"{question.request.action} has no model cost.")])
    if question.quote is None:
        return _unpriced(question, config)
    if question.exceeded:
        return Judgement("deny", [_over(counter, question.quote) for counter in question.exceeded])
    return Judgement("allow", [_within(question, question.quote)])


def _unpriced(question: Question, config: Config) -> Judgement:
    request = question.request
    what = f"No price is known for {_named(request)}"
    if not question.limited:
        reason = Reason("price.unknown", f"{what}; no budget applies to {question.agent}, so nothing is held.")
        return Judgement("allow", [reason])
    scopes = ", ".join(dict.fromkeys(counter.scope for counter in question.limited))
    if config.on_unknown_price == "allow":
        reason = Reason("price.unknown", f"{what}; on_unknown_price is allow, so nothing is held against {scopes}.")
        return Judgement("allow", [reason])
    mend = "Check the spelling of model and provider" if request.model else "Name the model and its provider"
    reason = Reason(
        "price.unknown",
        f"{what}, and a budget applies to {scopes}.",
        f"{mend}, or set processors.budgets.on_unknown_price to fallback (which holds fallback_price) or allow.",
    )
    return Judgement("deny", [reason])


def _named(request: DecisionRequest) -> str:
    if not request.model:
        return "a call that names no model"
    return f"model {request.model!r} of {request.provider}" if request.provider else f"model {request.model!r}"


def _over(counter: Counter, quote: Quote) -> Reason:
    left = "no USD" if counter.remaining <= 0 else f"{format_usd(counter.remaining)} USD"
    return Reason(
        f"budget.{counter.window}.{counter.scope}",
        f"The {counter.window} budget of {counter.scope} has {left} left of {format_usd(counter.cap)} USD, "
        f"and this call may cost {format_usd(quote.amount)} USD. It resets at {utc_text(counter.end)}.",
        f"Wait for the reset, ask for fewer max_output_tokens, or raise budgets.{counter.window}.usd in "
        f"{governance_file(counter.scope)}.",
    )


def _within(question: Question, quote: Quote) -> Reason:
    price = "" if quote.pricing == "exact" else f", at the {quote.pricing} price"
    return Reason("budget.within", f"{format_usd(quote.amount)} USD fit every budget above {question.agent}{price}.")


def governance_file(scope: str) -> str:
    """The file that holds a scope's limits, as the operator sees it."""
    org, *below = scope.split("/")
    match below:
        case []:
            return f"governance/{org}/org.yaml"
        case [tenant]:
            return f"governance/{org}/{tenant}/tenant.yaml"
        case _:
            return f"governance/{org}/{below[0]}/agents/{below[-1]}.yaml"
