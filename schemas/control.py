"""Messages of the control endpoint (port 4320). The published JSON Schema is generated from here.

Amounts cross the wire as decimal USD strings with nine places, times as RFC 3339 UTC, because
callers are written in every language and a JSON number is a float in most of them.
"""

from typing import Literal

import msgspec

from schemas.governance import Mode, Unit

Verdict = Literal["allow", "deny"]
HoldBasis = Literal["worst_case", "default_output", "p99", "ceiling"]
"""How the size of a hold was found: the most the call can use; the same with output that it did not bound; the 99th
percentile of this agent's calls of this model; the setting `hold_ceiling`."""


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
    """Money and tokens set aside for one action until it is settled, voided or expires."""

    id: str
    amount_usd: str
    basis: HoldBasis
    expires_at: str
    tokens: int = 0


class BudgetView(msgspec.Struct, frozen=True):
    """One budget window: `remaining` is limit − settled − held, and is negative after an overdraw.

    Tokens are whole numbers in decimal text. `mode` says what the limit does when a call does not fit.
    `forecast_exhausted_at` stands in `GET /v1/budgets` alone: when the limit is reached if the last hour goes on,
    null when the window ends before.
    """

    scope: str
    window: Literal["daily", "monthly"]
    unit: Unit
    limit: str
    settled: str
    held: str
    remaining: str
    resets_at: str
    mode: Mode = "enforce"
    forecast_exhausted_at: str | msgspec.UnsetType | None = msgspec.UNSET


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


class Finish(msgspec.Struct, frozen=True):
    """What became of one held action: what it used, or `null` when it was not done. It must be said which."""

    id: str
    settle: SettleRequest | None


class FinishRequest(msgspec.Struct, frozen=True):
    """Many holds at once, 200 at most."""

    holds: list[Finish]


class Unfinished(msgspec.Struct, frozen=True):
    """A hold that stays as it is, and why."""

    id: str
    message: str


class Finished(msgspec.Struct, frozen=True):
    """All the others are settled or void."""

    unfinished: list[Unfinished]


class HoldState(msgspec.Struct, frozen=True):
    """What became of a hold."""

    id: str
    state: Literal["held", "settled", "void", "expired"]
    amount_usd: str
    settled_usd: str | None
    tokens: int = 0
    settled_tokens: int | None = None


class IncreaseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that is higher for a while: `usd`, `tokens` or both more in each window until `until` (RFC 3339).

    `actor` is read from this machine's own commands alone; everybody else is who his token says.
    """

    scope: str
    window: Literal["daily", "monthly"]
    usd: str | None = None
    tokens: int | None = None
    until: str
    reason: str
    actor: str = ""


class IncreaseView(msgspec.Struct, frozen=True):
    """An increase in force: how much, since and until when, who and why."""

    id: str
    scope: str
    window: Literal["daily", "monthly"]
    usd: str
    tokens: int
    since: str
    until: str
    actor: str
    reason: str


class BudgetsView(msgspec.Struct, frozen=True):
    """How all budgets stand, and the increases in force."""

    budgets: list[BudgetView]
    increases: list[IncreaseView]


class ErrorBody(msgspec.Struct, frozen=True):
    """Every error of the control endpoint: what happened, how to mend it."""

    error: str
    message: str
    fix: str
