"""Questions of agents → durable answers. The one owner of budgets, holds and decisions.

Everything is judged in memory, one after the other, in one event loop: checking a budget and
holding its money are one step, however many ask at once. Invariant: an answer leaves only when what
it promises is on disk. What the wire looks like is left to `api` and `ingest`.
"""

from collections.abc import Callable
from typing import NamedTuple

from collector.access.keys import Credential
from collector.control import answers
from collector.control.answers import Answer
from collector.control.commit import Committer
from collector.control.quotes import Quotes
from collector.control.repeats import Repeats, digest
from collector.governance.adherence.rulings import Decided
from collector.governance.budgets import Budgets
from collector.governance.counters import Account, Counter
from collector.governance.decide import COSTED_ACTIONS, Judgement, Question, Quote, decide
from collector.governance.entries import DECISION_PREFIX, HOLD_PREFIX, DecisionDetail, decision_entry
from collector.governance.holds import Hold, Terms, restored
from collector.governance.windows import utc_text
from collector.state.rows import KeptDecision
from collector.state.store import State
from schemas.control import BudgetView, Decision, DecisionRequest, HoldState, SettleRequest
from schemas.errors import Forbidden, Permanent, Retryable
from schemas.ids import AgentPath, TenantPath, new_id
from schemas.money import parse_usd


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


class Owner:
    """Judges, holds and answers. `policy_digest` is set by whoever loads the governance files."""

    def __init__(self, parts: Parts, limits: Limits, *, clock: Callable[[], int]) -> None:
        self._state, self._budgets, self._committer, self._quotes, self._repeats = parts
        self._limits = limits
        self._clock = clock
        self.policy_digest = ""
        self.epoch = 0
        """Number of the kill state; nothing has been killed yet."""
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
        if request.idempotency_key:
            body = self._repeats.find(credential.id, request, now)
            if body is not None:
                await self._committer.durable()
                return answers.repeated(body)
        quote = self._quotes.quote(request, now)
        answer = self._decide(_Asked(self._budgets.account(path), credential, request, quote, new_id(), now))
        await self._committer.durable()
        return answer

    async def hold(self, credential: Credential, hold_id: str) -> HoldState:
        """What became of a hold; raises `NotFound` for one of somebody else."""
        self._budgets.advance(self._clock())
        return await self._durable_state(self._find(credential, hold_id))

    async def settle(self, credential: Credential, hold_id: str, request: SettleRequest) -> HoldState:
        """The call was made and cost this much."""
        now = self._clock()
        self._budgets.advance(now)
        hold = self._find(credential, hold_id)
        self._budgets.settle(hold, self._actual(hold, request), actor=_actor(credential, hold), now_ns=now)
        return await self._durable_state(hold)

    async def void(self, credential: Credential, hold_id: str) -> HoldState:
        """The call was not made."""
        now = self._clock()
        self._budgets.advance(now)
        hold = self._find(credential, hold_id)
        self._budgets.void(hold, actor=_actor(credential, hold), now_ns=now)
        return await self._durable_state(hold)

    async def budgets(self, credential: Credential, scope: str | None) -> list[BudgetView]:
        """Limited budgets: an agent's are the three scopes above its calls, a tenant's its own, its agents' and
        its organisation's, an administrator's are all.
        """
        now = self._clock()
        self._budgets.advance(now)
        if credential.kind == "admin":
            counters = self._budgets.limits_of(scope, now)
        else:
            counters = self._visible(credential.path(), scope, now)
        views = [answers.budget_view(counter) for counter in counters]
        await self._committer.durable()
        return views

    def tick(self) -> bool:
        """Let time pass: expire what is due. True when more is due at once."""
        return self._budgets.advance(self._clock())

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
        if isinstance(path, AgentPath):
            counters = self._budgets.limited(self._budgets.account(path), now)
        else:
            counters = self._budgets.limits_of(scope, now)
        return [counter for counter in counters if scope in {None, counter.scope} and _sees(path, counter.scope)]

    def _decide(self, asked: "_Asked") -> Answer:
        account, credential, request, quote, _, now = asked
        limited = self._budgets.limited(account, now)
        exceeded = self._budgets.exceeded(account, quote.amount, now) if quote and quote.amount else []
        judgement = decide(Question(account.text, request, quote, limited, exceeded), self._budgets.config)
        hold = None
        if judgement.verdict == "deny":
            self._budgets.denied(exceeded, now)
        elif quote is not None and quote.amount:
            hold = self._budgets.hold(account, self._terms(asked, quote))
        decision = self._decision(asked, judgement, hold, limited)
        self._record(asked, decision)
        self._tell(asked, decision)
        answer = answers.fresh(decision, limited)
        if request.idempotency_key:
            kept = KeptDecision(credential.id, request.idempotency_key, digest(request), answer.body, now)
            self._repeats.keep(kept)
            self._committer.group.decisions.append(kept)
        return answer

    def _terms(self, asked: "_Asked", quote: Quote) -> Terms:
        request = asked.request
        return Terms(
            id=HOLD_PREFIX + asked.unique,
            decision_id=DECISION_PREFIX + asked.unique,
            credential_id=asked.credential.id,
            provider=request.provider,
            model=request.model,
            basis=quote.basis,
            amount=quote.amount,
            created=asked.now,
            expires=asked.now + self._budgets.config.hold_ttl.ns,
        )

    def _decision(self, asked: "_Asked", judgement: Judgement, hold: Hold | None, limited: list[Counter]) -> Decision:
        valid_until = asked.now + self._limits.answer_ttl_ns if hold is None else hold.terms.expires
        return Decision(
            decision_id=DECISION_PREFIX + asked.unique,
            verdict=judgement.verdict,
            reasons=judgement.reasons,
            hold=None if hold is None else answers.hold_view(hold),
            budgets=[answers.budget_view(counter) for counter in limited],
            epoch=self.epoch,
            valid_until=utc_text(valid_until),
        )

    def _record(self, asked: "_Asked", decision: Decision) -> None:
        quote = asked.quote
        told = DecisionDetail(
            request=asked.request,
            reasons=decision.reasons,
            hold=decision.hold,
            quote_nano_usd=quote.amount if quote else None,
            pricing_basis=quote.pricing if quote else "unknown",
            price_digest=quote.digest if quote else "",
            policy_digest=self.policy_digest,
        )
        row = decision_entry(asked.account, asked.credential.id, decision, told, asked.now)
        if asked.credential.kind == "tenant":
            row["attribution_source"] = "request"
        self._committer.group.event(row)

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

    def _actual(self, hold: Hold, request: SettleRequest) -> int:
        tokens = (request.input_tokens, request.output_tokens)
        if request.cost_usd is not None and tokens == (None, None):
            return _usd(request.cost_usd)
        if request.cost_usd is not None or tokens == (None, None):
            raise Permanent(
                "A settlement needs either `$.cost_usd` or `$.input_tokens` and `$.output_tokens`.",
                fix='Send {"cost_usd": "0.0123"} or {"input_tokens": 900, "output_tokens": 250}.',
            )
        price = self._quotes.price(hold.terms.provider, hold.terms.model, hold.terms.created)
        if price is None:
            raise Permanent(f"No price is known for model {hold.terms.model!r}.", fix="Send `$.cost_usd` instead.")
        return price.cost(request.input_tokens or 0, request.output_tokens or 0)


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
