"""Messages of the control endpoint (port 4320). The published JSON Schema is generated from here.

Amounts cross the wire as decimal USD strings with nine places, times as RFC 3339 UTC, because
callers are written in every language and a JSON number is a float in most of them.
"""

from typing import Literal

import msgspec

Verdict = Literal["allow", "deny"]
HoldBasis = Literal["worst_case", "default_output"]


class DecisionRequest(msgspec.Struct, frozen=True):
    """What an agent is about to do. Tokens bound the cost; leave out what is not known.

    `agent` is the id of the agent within its tenant: needed with a tenant's key, which speaks for many.
    `tool` is the name of the tool, for the action `tool.call`.
    """

    action: str = "llm.call"
    model: str = ""
    provider: str = ""
    input_tokens: int = 0
    max_output_tokens: int | None = None
    labels: dict[str, str] = {}
    idempotency_key: str = ""
    agent: str = ""
    tool: str = ""


class Reason(msgspec.Struct, frozen=True):
    """Why: the rule that spoke, a sentence for a person, and how to mend it."""

    rule: str
    message: str
    fix: str = ""


class HoldView(msgspec.Struct, frozen=True):
    """Money set aside for one action until it is settled, voided or expires."""

    id: str
    amount_usd: str
    basis: HoldBasis
    expires_at: str


class BudgetView(msgspec.Struct, frozen=True):
    """One budget window: `remaining` is limit − settled − held, and is negative after an overdraw."""

    scope: str
    window: Literal["daily", "monthly"]
    unit: Literal["usd"]
    limit: str
    settled: str
    held: str
    remaining: str
    resets_at: str


class Decision(msgspec.Struct, frozen=True):
    """The answer. `epoch` is the kill state it was judged under; `valid_until` bounds caching."""

    decision_id: str
    verdict: Verdict
    reasons: list[Reason]
    hold: HoldView | None
    budgets: list[BudgetView]
    epoch: int
    valid_until: str


class SettleRequest(msgspec.Struct, frozen=True):
    """The actual cost of a held action, when the caller knows it; else tokens to price it by."""

    cost_usd: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class HoldState(msgspec.Struct, frozen=True):
    """What became of a hold."""

    id: str
    state: Literal["held", "settled", "void", "expired"]
    amount_usd: str
    settled_usd: str | None


class ErrorBody(msgspec.Struct, frozen=True):
    """Every error of the control endpoint: what happened, how to mend it."""

    error: str
    message: str
    fix: str
