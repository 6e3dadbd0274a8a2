"""What governance did → ledger entries (`schemas.tables.LEDGER_COLUMNS`), ready for the outbox.

Every entry says who, what, to what, with which outcome and why. What it decides is left to others.
"""

from importlib.metadata import version

import msgspec

from collector.governance.counters import NOTHING, Account, Amount, Counter
from collector.governance.holds import Hold
from collector.governance.windows import utc_text
from collector.state.rows import Increase, Row
from schemas.control import Decision, DecisionRequest, HoldView, Reason
from schemas.ids import PLATFORM, AgentPath, new_id
from schemas.money import amount_text, format_usd, worded
from schemas.tables import EntryKind

SOFTWARE_VERSION = version("spanward")
BUDGETS = "system:budgets"
DECISION_PREFIX, HOLD_PREFIX = "dec_", "hold_"

_JSON = msgspec.json.Encoder()


def entry(kind: str, at_ns: int, *, actor: str, path: AgentPath | None = None, entry_id: str = "") -> Row:
    """The columns every entry of ours has."""
    row: Row = {
        "entry_id": entry_id or new_id(),
        "kind": kind,
        "event_time": at_ns,
        "received_time": at_ns,
        "attribution_source": "system",
        "actor": actor,
        "software_version": SOFTWARE_VERSION,
    }
    if path is not None:
        row["org"], row["tenant"], row["agent"] = path.org, path.tenant, path.agent
    return row


class DecisionDetail(msgspec.Struct, frozen=True):
    """What a decision was made from, for whoever judges it again."""

    request: DecisionRequest
    reasons: list[Reason]
    hold: HoldView | None
    quote_nano_usd: int | None
    quote_tokens: int | None
    pricing_basis: str
    price_digest: str
    policy_digest: str


def decision_entry(account: Account, credential_id: str, decision: Decision, told: DecisionDetail, at_ns: int) -> Row:
    """An agent asked and was answered."""
    request = told.request
    # The entry is the decision, so it has the same id; it need not be drawn twice.
    entry_id = decision.decision_id.removeprefix(DECISION_PREFIX)
    row = entry(EntryKind.DECISION, at_ns, actor=f"agent:{account.text}", path=account.path, entry_id=entry_id)
    row["attribution_source"] = "credential"
    row["credential_id"] = credential_id
    row["decision_id"] = decision.decision_id
    row["action"] = request.action
    row["subject"] = request.model or request.tool or request.labels.get("tool", "")
    row["outcome"] = decision.verdict
    row["message"] = decision.reasons[0].message
    row["detail"] = detail(told)
    return row


def hold_entry(hold: Hold, kind: str, at_ns: int, *, actor: str) -> Row:
    """A hold changed; `kind` is settle, void, expire or correct."""
    row = entry(EntryKind.HOLD, at_ns, actor=actor, path=hold.account.path)
    row["credential_id"] = hold.terms.credential_id
    row["decision_id"] = hold.terms.decision_id
    row["action"] = f"hold.{kind}"
    row["subject"] = hold.terms.id
    row["outcome"] = hold.state
    row["message"] = _hold_message(hold)
    row["detail"] = detail(
        {
            "model": hold.terms.model,
            "amount_usd": format_usd(hold.terms.amount.usd),
            "settled_usd": None if hold.settled is None else format_usd(hold.settled.usd),
            "overdraw_usd": format_usd(hold.overdraw.usd),
            "tokens": hold.terms.amount.tokens,
            "settled_tokens": None if hold.settled is None else hold.settled.tokens,
            "overdraw_tokens": hold.overdraw.tokens,
            "settled_by": hold.settled_by,
            "estimated": hold.settled_by == "expiry",
        }
    )
    return row


def crossing_entry(counter: Counter, threshold: int, at_ns: int) -> Row:
    """A budget reached a threshold of its limit."""
    unit = counter.unit
    row = entry(EntryKind.CROSSING, at_ns, actor=BUDGETS)
    row |= owner_columns(counter.scope)
    row["action"] = "budget.crossed"
    row["subject"] = f"budget.{counter.name}"
    row["outcome"] = str(threshold)
    full = threshold < 100 or counter.settled + counter.held >= counter.most
    reached = f"reached {threshold} %" if full else "had no room for a call, which counts as 100 %"
    row["message"] = (
        f"The {counter.window} budget of {counter.scope} {reached}: {worded(unit, counter.settled)} "
        f"settled and {worded(unit, counter.held)} held of {worded(unit, counter.most)}."
    )
    row["detail"] = detail(
        {
            "scope": counter.scope,
            "window": counter.window,
            "window_start": utc_text(counter.start),
            "resets_at": utc_text(counter.end),
            "unit": unit,
            "mode": counter.mode,
            "threshold": threshold,
            f"limit_{unit}": amount_text(unit, counter.most),
            f"settled_{unit}": amount_text(unit, counter.settled),
            f"held_{unit}": amount_text(unit, counter.held),
        }
    )
    return row


def increase_entry(increase: Increase, at_ns: int, *, ended: bool = False) -> Row:
    """A limit is higher for a while, or that while is over."""
    scope, window, until = increase.scope, increase.window, utc_text(increase.until)
    more = " and ".join(worded(u, n) for u, n in (("usd", increase.usd), ("tokens", increase.tokens)) if n)
    row = entry(EntryKind.GOVERNANCE, at_ns, actor=BUDGETS if ended else increase.actor)
    row |= owner_columns(scope)
    row["action"] = "budget.increase_ended" if ended else "budget.increase"
    row["subject"] = f"budget.{window}.{scope}"
    row["outcome"] = "ok"
    row["message"] = (
        f"The increase of the {window} budget of {scope} by {more} has ended."
        if ended
        else f"{increase.actor} raised the {window} budget of {scope} by {more} until {until}: {increase.reason}"
    )
    row["detail"] = detail(
        {
            "id": increase.id,
            "usd": format_usd(increase.usd),
            "tokens": increase.tokens,
            "since": utc_text(increase.since),
            "until": until,
            "actor": increase.actor,
            "reason": increase.reason,
        }
    )
    return row


def owner_columns(scope: str) -> Row:
    """The columns that say whose a scope is; the platform is nobody's."""
    return {} if scope == PLATFORM else dict(zip(("org", "tenant", "agent"), scope.split("/"), strict=False))


def detail(value: object) -> str:
    """The JSON text of an entry's `detail`."""
    return _JSON.encode(value).decode()


def _hold_message(hold: Hold) -> str:
    amount = _said(hold.terms.amount)
    match hold.state, hold.settled_by:
        case "settled", "span":
            return f"Settled at {_said(hold.settled)} by the span of its call; {amount} were held."
        case "settled", _:
            return f"Settled at {_said(hold.settled)} by its client; {amount} were held."
        case "void", _:
            return f"Voided by its client; {amount} are free again."
        case "expired", "expiry":
            return f"Expired without an answer; {amount} are posted as estimated until its span arrives."
        case _:
            return f"Expired without an answer; {amount} are free again."


def _said(amount: Amount | None) -> str:
    usd, tokens = amount or NOTHING
    return f"{format_usd(usd)} USD and {tokens} tokens"
