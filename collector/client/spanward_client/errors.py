"""A refusal or a failure → one exception a caller can act on.

    SpanwardError
    ├── Denied              the answer was no: do not act; carries the decision
    │   ├── BudgetExceeded      a budget has no room; knows scope, room left and reset time
    │   ├── Killed              a person pulled the kill switch, until a person releases it
    │   └── ApprovalRequired    a person has to say yes first
    ├── Unauthenticated     no key, or one the server does not know
    ├── Rejected            the question itself is wrong, asking again cannot help
    ├── Unavailable         no answer could be had and the fail mode is closed
    └── SettingsError       an environment variable or argument of the client is wrong

Invariant: nothing raw (`httpx` errors, `ValueError`, `KeyError`) leaves this package, and every
message is whole sentences that say what happened and how to mend it.
"""

from datetime import datetime
from decimal import Decimal

from spanward_client.decision import BudgetView, Decision


class SpanwardError(Exception):
    """Base of everything this package raises."""

    def __init__(self, what: str, *, fix: str = "") -> None:
        super().__init__(f"{what} {fix}".strip())
        self.what = what
        self.fix = fix


class Denied(SpanwardError):
    """Do not act. `reason` is the server's sentence, `rule` names what decided, `fix` how to mend it."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(self._sentences(decision), fix=decision.reason.fix)
        self.decision = decision

    @property
    def reason(self) -> str:
        """The first reason of the decision, for a person."""
        return self.decision.reason.message

    @property
    def rule(self) -> str:
        """Id of the rule that decided, as it stands in the ledger."""
        return self.decision.reason.rule

    @property
    def decision_id(self) -> str:
        """What to quote when asking why: the ledger entry of this decision has it."""
        return self.decision.decision_id

    def _sentences(self, decision: Decision) -> str:
        return decision.reason.message


class BudgetExceeded(Denied):
    """The action may cost more than a budget has left. Ask again after `resets_at`."""

    @property
    def budget(self) -> BudgetView | None:
        """The budget that decided, as it stood at that moment; `None` if the server did not send it."""
        return self.decision.deciding_budget

    @property
    def scope(self) -> str:
        """Whose budget it is: `ORG`, `ORG/TENANT` or `ORG/TENANT/AGENT`; empty if not known."""
        return self.budget.scope if self.budget else ""

    @property
    def resets_at(self) -> datetime | None:
        """When the window ends and a new one begins, with a time zone; `None` if not known."""
        return self.budget.resets_at if self.budget else None

    @property
    def remaining_usd(self) -> Decimal | None:
        """Limit − settled − held in USD; negative after an overdraw, `None` for a budget of tokens or if not known."""
        return self.budget.remaining if self.budget and self.budget.unit == "usd" else None

    def _sentences(self, decision: Decision) -> str:
        budget = decision.deciding_budget
        if budget is None:
            return decision.reason.message
        reset = f"{budget.resets_at:%Y-%m-%dT%H:%M:%SZ}"
        if reset in decision.reason.message:
            return decision.reason.message
        return f"{decision.reason.message} The {budget.window} budget of {budget.scope} resets at {reset}."


class Killed(Denied):
    """The kill switch is on for this agent, model or tool. `rule` is `kill.SCOPE.TARGET`; asking again does not help.

    `decision_id` is empty when the client knew of the kill and did not ask.
    """


class ApprovalRequired(Denied):
    """A person has to approve this action before it may be asked for again."""


class Unauthenticated(SpanwardError):
    """There is no key to ask with, or the server does not know it."""


class Rejected(SpanwardError):
    """The server understood and will not answer this question; `status` is the HTTP status."""

    def __init__(self, what: str, *, fix: str = "", status: int) -> None:
        super().__init__(what, fix=fix)
        self.status = status


class Unavailable(SpanwardError):
    """No answer could be had, and the fail mode is closed, so the action must not happen.

    `retry_after_s` is the server's wish, or `None`.
    """

    def __init__(self, what: str, *, fix: str = "", retry_after_s: int | None = None) -> None:
        super().__init__(what, fix=fix)
        self.retry_after_s = retry_after_s


class SettingsError(SpanwardError):
    """A setting of the client cannot be used; the message names it and what to write."""
