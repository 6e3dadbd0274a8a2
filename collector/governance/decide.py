"""(request, quote, budgets as they stand) → verdict with reasons. Pure: the same question gets the same answer.

The judges speak in order and the first that refuses ends it; today they are the default budget, the
price and the budgets, after the credential that `control` has checked. Invariant: every answer names
the rule that spoke, says why in a sentence, and a refusal says how to mend it.

Taking the hold is left to the owner, and arithmetic on budgets to `budgets`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from collector.governance.config import Config
from collector.governance.counters import Counter
from collector.governance.limits import governance_file
from collector.governance.sizes import Quote
from collector.governance.windows import utc_text
from schemas.control import DecisionRequest, Reason, Verdict
from schemas.money import format_usd, worded

# The actions that cost model usage. Others are allowed and recorded, and hold nothing.
COSTED_ACTIONS = frozenset({"llm.call"})


class Question(NamedTuple):
    """Everything a verdict depends on. `quote` is `None` for an action that has no model cost."""

    agent: str
    request: DecisionRequest
    quote: Quote | None
    limited: Sequence[Counter]
    """Budgets with a limit above the agent."""
    exceeded: Sequence[Counter]
    """Budgets that refuse the quote."""
    warned: Sequence[Counter] = ()
    """Budgets it does not fit into either, and that only say so."""


class Judgement(NamedTuple):
    """The answer, before anything is held."""

    verdict: Verdict
    reasons: list[Reason]


def decide(question: Question, config: Config) -> Judgement:
    """Judge one question."""
    quote = question.quote
    if quote is None:
        return Judgement("allow", [Reason("action.free", f"{question.request.action} has no model cost.")])
    if config.default_budget == "deny" and not question.limited:
        return Judgement("deny", [_missing(question.agent)])
    unknown = None if quote.priced else _unpriced(question, config)
    if unknown is not None and unknown.fix:
        return Judgement("deny", [unknown])
    if question.exceeded:
        return Judgement("deny", [_over(counter, quote) for counter in question.exceeded])
    if question.warned:
        return Judgement("allow", [_over(counter, quote) for counter in question.warned])
    return Judgement("allow", [unknown or _within(question, quote)])


def _missing(agent: str) -> Reason:
    return Reason(
        "budget.missing",
        f"Neither {agent} nor a scope above it has a budget, and processors.budgets.default_budget is deny.",
        f"Write a limit below budgets: in {governance_file(agent)}, or in the file of its tenant, organisation or of "
        "the platform.",
    )


def _unpriced(question: Question, config: Config) -> Reason | None:
    """What the missing price means: a reason with a fix refuses; `None` where tokens alone are held."""
    what = f"No price is known for {_named(question.request)}"
    if not question.limited:
        return Reason("price.unknown", f"{what}; no budget applies to {question.agent}, so nothing is held.")
    in_usd = [counter for counter in question.limited if counter.unit == "usd"]
    if not in_usd:
        return None
    scopes = ", ".join(dict.fromkeys(counter.scope for counter in in_usd))
    if config.on_unknown_price == "allow":
        return Reason("price.unknown", f"{what}; on_unknown_price is allow, so no USD is held against {scopes}.")
    enforced = ", ".join(dict.fromkeys(counter.scope for counter in in_usd if counter.mode == "enforce"))
    if not enforced:
        return Reason("price.unknown", f"{what}; the budgets of {scopes} are not enforced, so no USD is held.")
    request = question.request
    mend = "Check the spelling of model and provider" if request.model else "Name the model and its provider"
    return Reason(
        "price.unknown",
        f"{what}, and a budget applies to {enforced}.",
        f"{mend}, or set processors.budgets.on_unknown_price to fallback (which holds fallback_price) or allow.",
    )


def _named(request: DecisionRequest) -> str:
    if not request.model:
        return "a call that names no model"
    return f"model {request.model!r} of {request.provider}" if request.provider else f"model {request.model!r}"


def _over(counter: Counter, quote: Quote) -> Reason:
    """Why a budget has no room; one that is not enforced lets the call pass, and has nothing to mend."""
    unit = "USD" if counter.unit == "usd" else "tokens"
    left = f"no {unit}" if counter.remaining <= 0 else worded(counter.unit, counter.remaining)
    may = f"cost {format_usd(quote.amount)} USD" if counter.unit == "usd" else f"use {quote.tokens} tokens"
    message = (
        f"The {counter.window} budget of {counter.scope} has {left} left of {worded(counter.unit, counter.most)}, "
        f"and this call may {may}. It resets at {utc_text(counter.end)}."
    )
    if counter.mode != "enforce":
        return Reason(f"budget.warn.{counter.name}", f"{message} Its mode is {counter.mode}, so the call is allowed.")
    return Reason(
        f"budget.{counter.name}",
        message,
        f"Wait for the reset, ask for fewer max_output_tokens, or raise budgets.{counter.window}.{counter.unit} in "
        f"{governance_file(counter.scope)}.",
    )


def _within(question: Question, quote: Quote) -> Reason:
    if not quote.priced:
        return Reason("budget.within", f"{quote.tokens} tokens fit every budget above {question.agent}.")
    price = "" if quote.pricing == "exact" else f", at the {quote.pricing} price"
    return Reason("budget.within", f"{format_usd(quote.amount)} USD fit every budget above {question.agent}{price}.")
