"""The server's answer → frozen values a caller can read.

Invariant: money is `Decimal` from the wire to the caller and never passes through a float; every
time has a time zone. Fields this version does not know are ignored, so that a newer server can add
some; a missing or ill-typed field is a `Malformed` answer, which the transport reports.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

FAIL_OPEN_RULE = "client.fail_open"


class Malformed(Exception):
    """An answer that is not what the control endpoint sends; never leaves this package."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: the rule that spoke, a sentence for a person, and how to mend it."""

    rule: str
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class HoldView:
    """Money the server set aside for one action; `basis` says how the amount was found."""

    id: str
    amount_usd: Decimal
    basis: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class BudgetView:
    """One budget window; `remaining` = `limit` − `settled` − `held`, in `unit`: `usd` or `tokens`."""

    scope: str
    window: str
    unit: str
    limit: Decimal
    settled: Decimal
    held: Decimal
    remaining: Decimal
    resets_at: datetime

    @property
    def rule(self) -> str:
        """Id of the rule that refuses what does not fit this budget."""
        unit = "" if self.unit == "usd" else f"{self.unit}."
        return f"budget.{self.window}.{unit}{self.scope}"


@dataclass(frozen=True, slots=True)
class HoldState:
    """What became of a hold: `held`, `settled`, `void` or `expired`."""

    id: str
    state: str
    amount_usd: Decimal
    settled_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Decision:
    """One judgement. An empty `decision_id` means nobody judged: the fail mode let the action pass."""

    decision_id: str
    verdict: str
    reasons: tuple[Reason, ...]
    hold: HoldView | None
    budgets: tuple[BudgetView, ...]
    epoch: int
    valid_until: datetime

    @property
    def allowed(self) -> bool:
        """True when the action may happen now."""
        return self.verdict == "allow"

    @property
    def judged(self) -> bool:
        """False when the server could not be asked and `SPANWARD_FAIL_MODE=open` let the action pass."""
        return self.decision_id != ""

    @property
    def reason(self) -> Reason:
        """The reason that stands in the way longest; a plain sentence when the server gave none."""
        return self._deciding[0]

    @property
    def deciding_budget(self) -> BudgetView | None:
        """The budget of that reason; when it names none, the one with the least room, if there is any."""
        return self._deciding[1]

    @property
    def _deciding(self) -> tuple[Reason, BudgetView | None]:
        named = [(why, budget) for why in self.reasons for budget in self.budgets if why.rule == budget.rule]
        if named:
            # Several budgets may be full: asking again helps once the last of them has been reset.
            return max(named, key=lambda pair: pair[1].resets_at)
        reason = self.reasons[0] if self.reasons else Reason(rule="", message=f"The verdict is {self.verdict}.")
        return reason, min(self.budgets, key=lambda budget: budget.remaining, default=None)


def passed_unjudged(why: str) -> Decision:
    """The decision of a client that could not ask and fails open."""
    reason = Reason(rule=FAIL_OPEN_RULE, message=f"{why} The fail mode is open, so the action passed unjudged.")
    return Decision("", "allow", (reason,), None, (), 0, datetime.now(UTC))


def read_decision(body: bytes) -> Decision:
    """The body of `POST /v1/decisions`; raises `Malformed`."""
    answer = _object(_loads(body))
    hold = answer.get("hold")
    return Decision(
        decision_id=_text(answer, "decision_id"),
        verdict=_text(answer, "verdict"),
        reasons=tuple(_reason(item) for item in _list(answer, "reasons")),
        hold=None if hold is None else _hold(_object(hold)),
        budgets=tuple(_budget(item) for item in _list(answer, "budgets")),
        epoch=_integer(answer, "epoch"),
        valid_until=_time(answer, "valid_until"),
    )


def read_hold_state(body: bytes) -> HoldState:
    """The body of `POST /v1/holds/{id}/settle|void`; raises `Malformed`."""
    answer = _object(_loads(body))
    settled = answer.get("settled_usd")
    return HoldState(
        id=_text(answer, "id"),
        state=_text(answer, "state"),
        amount_usd=_usd(answer, "amount_usd"),
        settled_usd=None if settled is None else _usd(answer, "settled_usd"),
    )


def read_unfinished(body: bytes) -> Mapping[str, str]:
    """The body of `POST /v1/holds`: why by hold; raises `Malformed`."""
    items = map(_object, _list(_object(_loads(body)), "unfinished"))
    return {_text(item, "id"): _text(item, "message") for item in items}


def read_error(body: bytes) -> tuple[str, str]:
    """Message and fix of an error body; raises `Malformed` when it is not one of ours."""
    answer = _object(_loads(body))
    return _text(answer, "message"), _text(answer, "fix")


def _loads(body: bytes) -> object:
    try:
        return json.loads(body, parse_float=Decimal)
    except ValueError as error:
        raise Malformed(f"it is not JSON: {error}") from error


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Malformed(f"it has {type(value).__name__} where an object belongs")
    return value


def _list(answer: Mapping[str, object], key: str) -> list[object]:
    value = answer.get(key)
    if not isinstance(value, list):
        raise Malformed(f"{key!r} is not a list")
    return value


def _text(answer: Mapping[str, object], key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str):
        raise Malformed(f"{key!r} is not text")
    return value


def _integer(answer: Mapping[str, object], key: str) -> int:
    value = answer.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed(f"{key!r} is not a whole number")
    return value


def _usd(answer: Mapping[str, object], key: str) -> Decimal:
    text = _text(answer, key)
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise Malformed(f"{key!r} is {text!r}, not an amount") from None
    if not amount.is_finite():
        raise Malformed(f"{key!r} is {text!r}, not an amount")
    return amount


def _time(answer: Mapping[str, object], key: str) -> datetime:
    text = _text(answer, key)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Malformed(f"{key!r} is {text!r}, not an RFC 3339 time") from None
    if moment.tzinfo is None:
        raise Malformed(f"{key!r} is {text!r}, which has no time zone")
    return moment.astimezone(UTC)


def _reason(item: object) -> Reason:
    answer = _object(item)
    return Reason(_text(answer, "rule"), _text(answer, "message"), _text(answer, "fix"))


def _hold(answer: Mapping[str, object]) -> HoldView:
    return HoldView(
        id=_text(answer, "id"),
        amount_usd=_usd(answer, "amount_usd"),
        basis=_text(answer, "basis"),
        expires_at=_time(answer, "expires_at"),
    )


def _budget(item: object) -> BudgetView:
    answer = _object(item)
    return BudgetView(
        scope=_text(answer, "scope"),
        window=_text(answer, "window"),
        unit=_text(answer, "unit"),
        limit=_usd(answer, "limit"),
        settled=_usd(answer, "settled"),
        held=_usd(answer, "held"),
        remaining=_usd(answer, "remaining"),
        resets_at=_time(answer, "resets_at"),
    )
