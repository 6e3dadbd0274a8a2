"""Questions of agents → durable answers. The one owner of budgets, holds and decisions.

Everything is judged in memory, one after the other, in one event loop: checking a budget and
holding its money are one step, however many ask at once. Invariant: an answer leaves only when what
it promises is on disk. What the wire looks like is left to `api` and `ingest`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from collector.access.keys import Credential
from collector.control import answers
from collector.control.answers import Answer
from collector.control.commit import Committer
from collector.control.quotes import Quotes
from collector.control.repeats import Repeats, digest
from collector.governance.adherence.rulings import Decided
from collector.governance.budgets import Budgets
from collector.governance.counters import Account, Amount, Counter, exhausted_at
from collector.governance.decide import COSTED_ACTIONS, Judgement, Question, decide
from collector.governance.entries import DECISION_PREFIX, HOLD_PREFIX, DecisionDetail, decision_entry
from collector.governance.holds import Hold, Terms, restored
from collector.governance.kills import Kills, Names
from collector.governance.sizes import Quote
from collector.governance.windows import SLOT_NS, slot_of, utc_text
from collector.state.rows import KeptDecision
from collector.state.store import State
from schemas.control import BudgetView, Decision, DecisionRequest, Finish, HoldState, Reason, SettleRequest, Unfinished
from schemas.errors import Forbidden, Permanent, Retryable
from schemas.ids import AgentPath, TenantPath, new_id
from schemas.money import parse_usd

# What a forecast goes by: the quarter of an hour that runs and the three before.
_BURN_NS = 3 * SLOT_NS
_BURN_KEPT_NS = 10**9


class NotFound(Permanent):
    """Nothing of that name that this credential may see."""


class Limits(NamedTuple):
    """What the owner keeps and how much of it."""

    answer_ttl_ns: int
    max_outbox_events: int


class Parts(NamedTuple):
    """What the owner works on; all of it belongs to the loop."""

    state: State
    budgets: Budgets
    committer: Committer
    quotes: Quotes
    repeats: Repeats
    kills: Kills
    names: Names


class Owner:
    """Judges, holds and answers. `policy_digest` is set by whoever loads the governance files."""

    def __init__(self, parts: Parts, limits: Limits, *, clock: Callable[[], int]) -> None:
        self._state, self._budgets, self._committer, self._quotes, self._repeats, self._kills, self._names = parts
        self._limits = limits
        self._clock = clock
        self._burn_at, self._burn = -_BURN_KEPT_NS, dict[tuple[str, str], int]()
        self.policy_digest = ""
        self.on_decided: Callable[[Decided], None] = lambda _: None
        """Told of each decision about a model call, in its group."""
        self.outbox_taken = self._state.positions().outbox_taken
        """The last event that ingest has in its journal."""

    async def decide(self, credential: Credential, request: DecisionRequest) -> Answer:
        """May this agent do that? The answer is durable, and so is the money it holds.

        Raises `Forbidden` or `Permanent` when the credential does not speak for one agent there.
        """
        path = credential.speaker(request.agent)
        if self._state.last_event - self.outbox_taken >= self._limits.max_outbox_events:
            raise Retryable(
                f"More than extensions.control.max_outbox_events ({self._limits.max_outbox_events}) entries wait "
                "for the ledger, and a decision that cannot be recorded is not made.",
                fix="Look at the collector's log for why it books nothing.",
                retry_after_s=5,
            )
        now = self._clock()
        self._budgets.advance(now)
        # Before every answer that was given once: what is remembered was allowed before the kill.
        if self._kills.active and (refusals := self._kills.refusals(path, request)):
            answer = self._refuse(
                _Asked(self._budgets.account(path), credential, request, None, new_id(), now), refusals
            )
            await self._committer.durable()
            return answer
        if request.idempotency_key:
            body = self._repeats.find(credential.id, request, now)
            if body is not None:
                await self._committer.durable()
                return answers.repeated(body)
        account, quote = self._budgets.account(path), self._quotes.quote(request, now)
        if quote is not None:
            quote = self._budgets.sized(account, request.model, quote)
        answer = self._decide(_Asked(account, credential, request, quote, new_id(), now))
        await self._committer.durable()
        return answer

    async def hold(self, credential: Credential, hold_id: str) -> HoldState:
        """What became of a hold; raises `NotFound` for one of somebody else."""
        self._budgets.advance(self._clock())
        return await self._durable_state(self._find(credential, hold_id))

    async def settle(self, credential: Credential, hold_id: str, request: SettleRequest) -> HoldState:
        """The call was made and cost this much."""
        return await self._durable_state(self._finish(credential, Finish(hold_id, request), self._clock()))

    async def void(self, credential: Credential, hold_id: str) -> HoldState:
        """The call was not made."""
        return await self._durable_state(self._finish(credential, Finish(hold_id, None), self._clock()))

    async def finish(self, credential: Credential, finishes: Sequence[Finish]) -> list[Unfinished]:
        """Many of these in one step; those that cannot be as they are told, and the others are durable."""
        now = self._clock()
        unfinished = []
        for each in finishes:
            try:
                self._finish(credential, each, now)
            except Permanent as error:
                unfinished.append(Unfinished(each.id, error.what))
        await self._committer.durable()
        return unfinished

    async def budgets(self, credential: Credential, scope: str | None) -> list[BudgetView]:
        """Limited budgets, with a forecast: an agent's are the four scopes above its calls, a tenant's its own, its
        agents' and those above it, an administrator's are all.
        """
        now = self._clock()
        return await self._forecast(self._counters(credential, scope, now), now)

    async def every_budget(self) -> list[BudgetView]:
        """All limited budgets, with a forecast."""
        now = self._clock()
        self._budgets.advance(now)
        return await self._forecast(self._budgets.limits_of(None, now), now)

    async def _forecast(self, counters: Iterable[Counter], now: int) -> list[BudgetView]:
        since, burned = slot_of(now) - _BURN_NS, self._burned(now)
        views = []
        for counter in counters:
            used = burned.get((counter.scope, counter.unit), 0)
            views.append(answers.forecast_view(counter, exhausted_at(counter, used, since, now)))
        await self._committer.durable()
        return views

    def views(self, credential: Credential) -> list[BudgetView]:
        """The same without a forecast, as they are in memory: to be told only once that is durable."""
        return [answers.budget_view(counter) for counter in self._counters(credential, None, self._clock())]

    def _counters(self, credential: Credential, scope: str | None, now: int) -> list[Counter]:
        self._budgets.advance(now)
        if credential.kind == "admin":
            return self._budgets.limits_of(scope, now)
        return self._visible(credential.path(), scope, now)

    def _burned(self, now: int) -> dict[tuple[str, str], int]:
        """What each scope used in the last hour, by unit; looked up once a second at most."""
        if self._burn_at <= now < self._burn_at + _BURN_KEPT_NS:
            return self._burn
        burned: dict[tuple[str, str], int] = {}
        for spend in self._state.burn(slot_of(now) - _BURN_NS, now):
            for scope in AgentPath(spend.org, spend.tenant, spend.agent).scopes():
                for unit, used in (("usd", spend.settled), ("tokens", spend.tokens)):
                    burned[scope, unit] = burned.get((scope, unit), 0) + used
        self._burn_at, self._burn = now, burned
        return burned

    def tick(self) -> bool:
        """Let time pass: expire what is due. True when more is due at once."""
        return self._budgets.advance(self._clock())

    def _finish(self, credential: Credential, finish: Finish, now: int) -> Hold:
        self._budgets.advance(now)
        hold = self._find(credential, finish.id)
        actor = _actor(credential, hold)
        if finish.settle is None:
            self._budgets.void(hold, actor=actor, now_ns=now)
        else:
            self._budgets.settle(hold, self._actual(hold, finish.settle), actor=actor, now_ns=now)
        return hold

    async def _durable_state(self, hold: Hold) -> HoldState:
        # As it is now: what happens to it while this waits may not be on disk when it is told.
        state = answers.hold_state(hold)
        await self._committer.durable()
        return state

    def _visible(self, path: AgentPath | TenantPath, scope: str | None, now: int) -> list[Counter]:
        if scope is not None and not _sees(path, scope):
            raise Forbidden(
                f"The key of {path} may not see {scope!r}.", fix=f"Ask for one of {', '.join(path.scopes())}."
            )
        counters: Iterable[Counter]
        if isinstance(path, AgentPath):
            counters = self._budgets.limited(self._budgets.account(path), now)
        else:
            counters = self._budgets.limits_of(scope, now)
        return [counter for counter in counters if scope in {None, counter.scope} and _sees(path, counter.scope)]

    def _decide(self, asked: "_Asked") -> Answer:
        account, credential, request, quote, _, now = asked
        limited = self._budgets.limited(account, now)
        amount = Amount(0, 0) if quote is None else Amount(quote.amount, quote.tokens)
        exceeded = self._budgets.exceeded(account, amount, now)
        warned = self._budgets.warned(account, amount, now)
        judgement = decide(Question(account.text, request, quote, limited, exceeded, warned), self._budgets.config)
        hold = None
        if judgement.verdict == "deny":
            self._budgets.denied(exceeded, now)
        elif quote is not None and (quote.amount or any(counter.unit == "tokens" for counter in limited)):
            hold = self._budgets.hold(account, self._terms(asked, quote))
        decision = self._decision(asked, judgement, hold, limited)
        self._record(asked, decision)
        self._tell(asked, decision)
        answer = answers.fresh(decision)
        if request.idempotency_key:
            kept = KeptDecision(credential.id, request.idempotency_key, digest(request), answer.body, now)
            self._repeats.keep(kept)
            self._committer.group.decisions.append(kept)
        return answer

    def _refuse(self, asked: "_Asked", refusals: list[Reason]) -> Answer:
        """A kill: nothing is priced, held or remembered, so that the same question is judged anew after the release."""
        limited = self._budgets.limited(asked.account, asked.now)
        decision = self._decision(asked, Judgement("deny", refusals), None, limited)
        self._record(asked, decision)
        return answers.fresh(decision)

    def _terms(self, asked: "_Asked", quote: Quote) -> Terms:
        request = asked.request
        return Terms(
            id=HOLD_PREFIX + asked.unique,
            decision_id=DECISION_PREFIX + asked.unique,
            credential_id=asked.credential.id,
            provider=request.provider,
            model=request.model,
            basis=quote.basis,
            amount=Amount(quote.amount, quote.tokens),
            created=asked.now,
            expires=asked.now + self._budgets.config.hold_ttl.ns,
        )

    def _decision(
        self, asked: "_Asked", judgement: Judgement, hold: Hold | None, limited: Sequence[Counter]
    ) -> Decision:
        valid_until = asked.now + self._limits.answer_ttl_ns if hold is None else hold.terms.expires
        return Decision(
            decision_id=DECISION_PREFIX + asked.unique,
            verdict=judgement.verdict,
            reasons=judgement.reasons,
            hold=None if hold is None else answers.hold_view(hold),
            budgets=[answers.budget_view(counter) for counter in limited],
            epoch=self._kills.epoch,
            valid_until=utc_text(valid_until),
        )

    def _record(self, asked: "_Asked", decision: Decision) -> None:
        quote = asked.quote
        told = DecisionDetail(
            request=asked.request,
            reasons=decision.reasons,
            hold=decision.hold,
            quote_nano_usd=quote.amount if quote and quote.priced else None,
            quote_tokens=quote.tokens if quote else None,
            pricing_basis=quote.pricing if quote else "unknown",
            price_digest=quote.digest if quote else "",
            policy_digest=self.policy_digest,
        )
        row = decision_entry(asked.account, asked.credential.id, decision, told, asked.now)
        if asked.credential.kind == "tenant":
            row["attribution_source"] = "request"
        group = self._committer.group
        group.event(row)
        group.named += self._names.new(asked.request)

    def _tell(self, asked: "_Asked", decision: Decision) -> None:
        request = asked.request
        if request.action in COSTED_ACTIONS:
            rule, held = decision.reasons[0].rule, decision.hold is not None
            named = (asked.account.text, request.provider, request.model)
            self.on_decided(Decided(decision.decision_id, *named, decision.verdict, rule, held, asked.now))

    def _find(self, credential: Credential, hold_id: str) -> Hold:
        hold = self._budgets.find(hold_id)
        if hold is None:
            stored = self._state.hold(hold_id)
            if stored is not None:
                made = stored.made
                account = self._budgets.account(AgentPath(made.org, made.tenant, made.agent))
                hold = restored(account, stored, self._budgets.config.span_grace.ns)
                assert hold.final, "a hold that can change is in memory"
        if hold is None or not (credential.kind == "admin" or credential.speaks_for(hold.account.path)):
            raise NotFound(
                f"There is no hold {hold_id!r} that this key may see.",
                fix="Use the hold.id of a decision made for the same agent.",
            )
        return hold

    def _actual(self, hold: Hold, request: SettleRequest) -> Amount:
        tokens = (request.input_tokens, request.output_tokens)
        if request.cost_usd is not None and tokens == (None, None):
            # Its tokens are not told: they stay posted as they are.
            return Amount(_usd(request.cost_usd), (hold.settled or hold.terms.amount).tokens)
        if request.cost_usd is not None or tokens == (None, None):
            raise Permanent(
                "A settlement needs either `$.cost_usd` or `$.input_tokens` and `$.output_tokens`.",
                fix='Send {"cost_usd": "0.0123"} or {"input_tokens": 900, "output_tokens": 250}.',
            )
        input_, output = request.input_tokens or 0, request.output_tokens or 0
        price = self._quotes.price(hold.terms.provider, hold.terms.model, hold.terms.created)
        if price is not None:
            return Amount(price.cost(input_, output), input_ + output)
        if hold.terms.amount.usd:
            raise Permanent(f"No price is known for model {hold.terms.model!r}.", fix="Send `$.cost_usd` instead.")
        # It was never held in USD either.
        return Amount(0, input_ + output)


class _Asked(NamedTuple):
    """One question on its way to an answer."""

    account: Account
    credential: Credential
    request: DecisionRequest
    quote: Quote | None
    unique: str
    now: int


def _actor(credential: Credential, hold: Hold) -> str:
    return f"user:{credential.id}" if credential.kind == "admin" else f"agent:{hold.account.path}"


def _sees(path: AgentPath | TenantPath, scope: str) -> bool:
    """Whether a key of `path` may be told of a scope's budgets."""
    return scope in path.scopes() or (isinstance(path, TenantPath) and scope.startswith(f"{path}/"))


def _usd(text: str) -> int:
    try:
        return parse_usd(text)
    except Permanent as error:
        raise Permanent(f"`$.cost_usd`: {error.what}", fix=error.fix) from None
