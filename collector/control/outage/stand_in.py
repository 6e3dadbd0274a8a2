"""Questions while the state cannot be written → 503, or an allow that is recorded once it is back.

`processors.budgets.on_store_failure` says which. Invariants: a kill that is in force is a deny under both;
what was answered is recorded exactly once, by a count that is stored in the transaction that records
it; no more is answered than fits `max_unrecorded_decisions`.
"""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from collector.access.keys import Credential
from collector.control import answers
from collector.control.answers import Answer
from collector.control.commit import unavailable
from collector.control.doors.request import Page, Request
from collector.control.owner import Parts
from collector.control.repeats import Repeats, digest
from collector.governance import entries
from collector.governance.adherence.rulings import Decided
from collector.governance.budgets import Config
from collector.governance.counters import Account
from collector.governance.decide import COSTED_ACTIONS
from collector.governance.entries import DECISION_PREFIX, DecisionDetail, decision_entry
from collector.governance.kills import Kills
from collector.governance.windows import utc_text
from collector.state.rows import KeptDecision, Row
from schemas.control import BudgetView, Decision, DecisionRequest, Finish, HoldState, Reason, SettleRequest, Unfinished
from schemas.errors import SpanwardError
from schemas.ids import new_id
from schemas.tables import EntryKind

_LOG = logging.getLogger("spanward.control")
_RECORDED = "outage_recorded"
_UNAVAILABLE = Reason(
    "store.unavailable",
    "The state of budgets cannot be written, and processors.budgets.on_store_failure is allow: nothing is held.",
    "Look at the collector's log for why; the call is billed by its span.",
)


class Kept(NamedTuple):
    """What the stand-in needs of the control settings, ns."""

    answer_ttl_ns: int
    idempotency_window_ns: int


class _Unrecorded(NamedTuple):
    """One entry that waits for the state, what a repeated question gets again, and what was allowed."""

    row: Row
    kept: KeptDecision | None
    allowed: Decided | None


class StandIn:
    """Answers agents while the owner cannot. Owned by the loop; it outlives every owner."""

    def __init__(self, config: Config, kept: Kept, *, clock: Callable[[], int]) -> None:
        self._config = config
        self._kept = kept
        self._clock = clock
        self._repeats = self._no_repeats()
        self._name = new_id()
        self._recorded = 0
        self._unrecorded: list[_Unrecorded] = []
        self._since = 0
        self._error = ""
        self._allowed = self._refused = 0
        self._kills: Kills | None = None

    @property
    def stands_in(self) -> bool:
        """Whether the state has failed and is not back yet."""
        return self._since > 0

    def heed(self, kills: Kills) -> None:
        """These kills are in force while this answers: those that are durable."""
        self._kills = kills

    def take_over(self, error: SpanwardError) -> None:
        """The state failed, or failed again."""
        self._since = self._since or self._clock()
        self._error = error.what
        _LOG.error("%s Agents are told %s until the state is back.", error.diagnostics(), self._config.on_store_failure)

    async def hand_over(self, parts: Parts, tell: Callable[[Decided], None]) -> None:
        """The state is back: record what was answered; raises `Retryable` when that cannot be written.

        `tell` hears of each model call that was allowed, in the group that records it.
        """
        self._forget(parts.state.meta(_RECORDED))
        if self._since:
            self._unrecorded.append(_Unrecorded(self._told(), None, None))
        # What is answered meanwhile comes along, and the rest with the first groups of the owner.
        await self._record(parts, tell)

    async def hand_over_rest(self, parts: Parts, tell: Callable[[Decided], None]) -> None:
        """The same for what came during `hand_over`; from now on nothing comes any more."""
        while self._unrecorded:
            await self._record(parts, tell)
        if self._since:
            _LOG.warning("The state of budgets is written again, after %s answers without it.", self._allowed)
        self._since = self._allowed = self._refused = 0
        self._repeats = self._no_repeats()

    async def decide(self, credential: Credential, request: DecisionRequest) -> Answer:
        """May this agent do that? Raises `Retryable` under `on_store_failure: deny`."""
        path = credential.speaker(request.agent)
        killed = [] if self._kills is None else self._kills.refusals(path, request)
        allowed = not killed and self._config.on_store_failure == "allow"
        if (not killed and not allowed) or len(self._unrecorded) >= self._config.max_unrecorded_decisions:
            self._refused += 1
            raise unavailable()
        now = self._clock()
        if request.idempotency_key and not killed:
            body = self._repeats.find(credential.id, request, now)
            if body is not None:
                return answers.repeated(body)
        self._allowed += allowed
        return self._answer(credential, request, killed, now)

    async def hold(self, _credential: Credential, _hold_id: str) -> HoldState:
        """Raises `Retryable`: what became of a hold is not known for certain."""
        raise unavailable()

    async def settle(self, _credential: Credential, _hold_id: str, _request: SettleRequest) -> HoldState:
        """Raises `Retryable`; the span of the call, or the hold's expiry, settles it in any case."""
        raise unavailable()

    async def void(self, _credential: Credential, _hold_id: str) -> HoldState:
        """Raises `Retryable`."""
        raise unavailable()

    async def finish(self, _credential: Credential, _finishes: Sequence[Finish]) -> list[Unfinished]:
        """Raises `Retryable`."""
        raise unavailable()

    async def budgets(self, _credential: Credential, _scope: str | None) -> list[BudgetView]:
        """Raises `Retryable`."""
        raise unavailable()

    def _answer(self, credential: Credential, request: DecisionRequest, killed: list[Reason], now: int) -> Answer:
        decision = Decision(
            decision_id=DECISION_PREFIX + new_id(),
            verdict="deny" if killed else "allow",
            reasons=killed or [_UNAVAILABLE],
            hold=None,
            budgets=[],
            epoch=0 if self._kills is None else self._kills.epoch,
            valid_until=utc_text(now + self._kept.answer_ttl_ns),
        )
        answer = answers.fresh(decision)
        kept = None
        if request.idempotency_key and not killed:
            kept = KeptDecision(credential.id, request.idempotency_key, digest(request), answer.body, now)
            self._repeats.keep(kept)
        allowed = None
        if request.action in COSTED_ACTIONS and not killed:
            named = (str(credential.speaker(request.agent)), request.provider, request.model)
            rule = decision.reasons[0].rule
            allowed = Decided(decision.decision_id, *named, decision.verdict, rule, held=False, at_ns=now)
        self._unrecorded.append(_Unrecorded(_entry(credential, request, decision, now), kept, allowed))
        return answer

    async def _record(self, parts: Parts, tell: Callable[[Decided], None]) -> None:
        count = len(self._unrecorded)
        if not count:
            return
        group = parts.committer.group
        for row, kept, allowed in self._unrecorded:
            group.event(row)
            if allowed is not None:
                tell(allowed)
            if kept is not None:
                group.decisions.append(kept)
                parts.repeats.keep(kept)
        value = f"{self._name} {self._recorded + count}".encode()
        group.meta[_RECORDED] = value
        await parts.committer.durable()
        self._forget(value)

    def _forget(self, stored: bytes | None) -> None:
        """Drop what is durable; a group whose commit failed may be."""
        name, _, count = (stored or b"").decode().partition(" ")
        if name == self._name:
            del self._unrecorded[: int(count) - self._recorded]
            self._recorded = int(count)

    def _told(self) -> Row:
        """The entry that says so."""
        now = self._clock()
        row = entries.entry(EntryKind.GOVERNANCE, now, actor="system:control")
        row |= {"action": "store.unavailable", "subject": "state.db", "outcome": "error"}
        row["message"] = (
            f"The state of budgets could not be written from {utc_text(self._since)} to {utc_text(now)}: {self._error} "
            f"{self._allowed} decisions were answered allow without a hold, {self._refused} were refused with 503."
        )
        row["detail"] = entries.detail({"allowed": self._allowed, "refused": self._refused, "error": self._error})
        return row

    def _no_repeats(self) -> Repeats:
        return Repeats([], keep_ns=self._kept.idempotency_window_ns, most=self._config.max_unrecorded_decisions)


async def refuse(_request: Request, *_parameters: str) -> Page:
    """The page of whatever nobody can stand in for; raises `Retryable`."""
    raise unavailable()


def _entry(credential: Credential, request: DecisionRequest, decision: Decision, now: int) -> Row:
    told = DecisionDetail(
        request=request,
        reasons=decision.reasons,
        hold=None,
        quote_nano_usd=None,
        quote_tokens=None,
        pricing_basis="unknown",
        price_digest="",
        policy_digest="",
    )
    account = Account(credential.speaker(request.agent))
    row = decision_entry(account, credential.id, decision, told, now)
    if credential.kind == "tenant":
        row["attribution_source"] = "request"
    return row
