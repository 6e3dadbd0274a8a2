"""Budgets, holds and verdicts → the messages of `schemas.control`.

Amounts become decimal USD text and times RFC 3339 here and nowhere else on the way out.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

import msgspec

from collector.governance.counters import Counter
from collector.governance.holds import Hold
from collector.governance.windows import utc_text
from schemas.control import BudgetView, Decision, HoldState, HoldView
from schemas.money import format_usd

Header = tuple[bytes, bytes]

# The last two are of the tightest budget, and absent where there is none.
DECISION_HEADERS = {
    "x-spanward-decision-id": "Id of the decision.",
    "x-spanward-verdict": "The verdict.",
    "x-spanward-budget-remaining-usd": "What the tightest budget has left; absent where nothing is limited.",
    "x-spanward-budget-resets-at": "When that budget starts anew, RFC 3339.",
}
_HEADER_NAMES = tuple(name.encode() for name in DECISION_HEADERS)

_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(Decision).decode


class Answer(msgspec.Struct, frozen=True):
    """A response body and the headers that say the same to whoever reads no JSON."""

    body: bytes
    headers: list[Header]


def budget_view(counter: Counter) -> BudgetView:
    """One limited window."""
    return BudgetView(
        scope=counter.scope,
        window=counter.window,
        unit="usd",
        limit=_limit_text(counter.cap),
        settled=format_usd(counter.settled),
        held=format_usd(counter.held),
        remaining=format_usd(counter.remaining),
        resets_at=utc_text(counter.end),
    )


# Limits change by hand and are part of every answer.
@lru_cache(maxsize=4096)
def _limit_text(limit: int) -> str:
    return format_usd(limit)


def hold_view(hold: Hold) -> HoldView:
    """A hold that was just taken."""
    terms = hold.terms
    return HoldView(terms.id, format_usd(terms.amount), terms.basis, utc_text(terms.expires))


def hold_state(hold: Hold) -> HoldState:
    """What became of a hold."""
    settled = None if hold.settled is None else format_usd(hold.settled)
    return HoldState(hold.terms.id, hold.state, format_usd(hold.terms.amount), settled)


def fresh(decision: Decision, counters: Sequence[Counter]) -> Answer:
    """A new decision; `counters` are its limited budgets."""
    tightest = min(counters, key=lambda counter: counter.remaining, default=None)
    budget = () if tightest is None else (format_usd(tightest.remaining), utc_text(tightest.end))
    return Answer(_ENCODE(decision), _headers(decision, *budget))


def repeated(body: bytes) -> Answer:
    """A decision given before, as it was then."""
    decision = _DECODE(body)
    tightest = min(decision.budgets, key=lambda budget: Decimal(budget.remaining), default=None)
    budget = () if tightest is None else (tightest.remaining, tightest.resets_at)
    return Answer(body, _headers(decision, *budget))


def _headers(decision: Decision, *budget: str) -> list[Header]:
    values = (decision.decision_id, decision.verdict, *budget)
    return [(name, value.encode()) for name, value in zip(_HEADER_NAMES, values, strict=False)]
