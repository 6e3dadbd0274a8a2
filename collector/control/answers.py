"""Budgets, holds and verdicts → the messages of `schemas.control`.

Amounts become decimal text and times RFC 3339 here and nowhere else on the way out.
"""

from functools import lru_cache

import msgspec

from collector.governance.counters import Counter
from collector.governance.holds import Hold
from collector.governance.windows import WindowKind, utc_text
from collector.state.rows import Increase
from schemas.control import BudgetView, Decision, HoldState, HoldView, IncreaseView
from schemas.money import amount_text, format_usd

Header = tuple[bytes, bytes]

DECISION_HEADERS = {
    "x-spanward-decision-id": "Id of the decision.",
    "x-spanward-verdict": "The verdict.",
    "x-spanward-budget-remaining-usd": "What the tightest budget in USD has left; absent where there is none.",
    "x-spanward-budget-remaining-tokens": "The same of the tightest budget in tokens.",
    "x-spanward-budget-resets-at": "When the first of these starts anew, RFC 3339.",
}
_DECISION_ID, _VERDICT = b"x-spanward-decision-id", b"x-spanward-verdict"
_RESETS_AT = b"x-spanward-budget-resets-at"
_REMAINING = {"usd": b"x-spanward-budget-remaining-usd", "tokens": b"x-spanward-budget-remaining-tokens"}
"""Of the tightest budget of that unit, absent where there is none; the reset is the first one's."""

_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(Decision).decode


class Answer(msgspec.Struct, frozen=True):
    """A response body and the headers that say the same to whoever reads no JSON."""

    body: bytes
    headers: list[Header]


def budget_view(counter: Counter) -> BudgetView:
    """One limited window."""
    unit = counter.unit
    return BudgetView(
        scope=counter.scope,
        window=counter.window,
        unit=unit,
        limit=_limit_text(unit, counter.most),
        settled=amount_text(unit, counter.settled),
        held=amount_text(unit, counter.held),
        remaining=amount_text(unit, counter.remaining),
        resets_at=utc_text(counter.end),
        mode=counter.mode,
    )


# Limits change by hand and are part of every answer.
@lru_cache(maxsize=4096)
def _limit_text(unit: str, limit: int) -> str:
    return amount_text(unit, limit)


def forecast_view(counter: Counter, exhausted_at: int | None) -> BudgetView:
    """The same with the moment its limit is reached, if the last hour goes on."""
    text = None if exhausted_at is None else utc_text(exhausted_at)
    return msgspec.structs.replace(budget_view(counter), forecast_exhausted_at=text)


def hold_view(hold: Hold) -> HoldView:
    """A hold that was just taken."""
    terms = hold.terms
    return HoldView(terms.id, format_usd(terms.amount.usd), terms.basis, utc_text(terms.expires), terms.amount.tokens)


def hold_state(hold: Hold) -> HoldState:
    """What became of a hold."""
    amount, settled = hold.terms.amount, hold.settled
    usd, tokens = (None, None) if settled is None else (format_usd(settled.usd), settled.tokens)
    return HoldState(hold.terms.id, hold.state, format_usd(amount.usd), usd, amount.tokens, tokens)


def increase_view(increase: Increase) -> IncreaseView:
    """An increase in force."""
    window: WindowKind = "daily" if increase.window == "daily" else "monthly"
    return IncreaseView(
        id=increase.id,
        scope=increase.scope,
        window=window,
        usd=format_usd(increase.usd),
        tokens=increase.tokens,
        since=utc_text(increase.since),
        until=utc_text(increase.until),
        actor=increase.actor,
        reason=increase.reason,
    )


def fresh(decision: Decision) -> Answer:
    """A new decision."""
    return Answer(_ENCODE(decision), _headers(decision))


def repeated(body: bytes) -> Answer:
    """A decision given before, as it was then."""
    return Answer(body, _headers(_DECODE(body)))


def _headers(decision: Decision) -> list[Header]:
    headers = [(_DECISION_ID, decision.decision_id.encode()), (_VERDICT, decision.verdict.encode())]
    resets_at = b""
    for unit, name in _REMAINING.items():
        budgets = [budget for budget in decision.budgets if budget.unit == unit]
        if budgets:
            tightest = min(budgets, key=_remaining)
            headers.append((name, tightest.remaining.encode()))
            resets_at = resets_at or tightest.resets_at.encode()
    return [*headers, (_RESETS_AT, resets_at)] if resets_at else headers


def _remaining(budget: BudgetView) -> int:
    # Nine places at every amount of USD, none at tokens: without the point both order as they should.
    return int(budget.remaining.replace(".", ""))
