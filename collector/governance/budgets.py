"""Holds, settlements and spend in, budget sums that never break a limit through a hold out.

The two-phase state machine. Invariants: a hold is taken only when it fits every enforced limit above
its agent, all scopes, windows and units at once; settled + held passes a limit only by spend reported
after the fact and by what calls use beyond what is set aside for them, which is recorded as overdraw;
a call is counted once, whoever reports it first. Everything that changes is also put into `group`, so
that what is durable and what is in memory are the same sums.

No I/O and no clock of its own: the owner passes the time in and commits the group.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from collector.governance import entries
from collector.governance.config import Config, FallbackPrice
from collector.governance.counters import NOTHING, Account, Amount, Counter, Counters
from collector.governance.holds import Call, Hold, HoldBook, Terms, restored
from collector.governance.limits import LimitBook, governance_file
from collector.governance.notices import crossing_notice
from collector.governance.sizes import Quote, Sample, Sizes
from collector.governance.windows import slot_of
from collector.state.rows import (
    Crossing,
    Group,
    HoldChange,
    HoldChangeKind,
    HoldStatus,
    Increase,
    SettledBy,
    Spend,
    SpendLine,
    StoredHold,
)
from schemas.errors import Permanent, Retryable
from schemas.governance import UNITS, ScopeLimits
from schemas.ids import AgentPath

__all__ = ["Budgets", "Config", "FallbackPrice", "HoldConflict", "Outcome"]

MAX_INCREASES = 1_000
# One step of `advance`: holds that expire together must not keep a decision waiting.
_MOVED_AT_ONCE = 500


class Outcome(NamedTuple):
    """What a hold becomes: its state, what it settled at, who said so, and whether that is the last word."""

    state: HoldStatus
    settled: Amount | None
    by: SettledBy
    final: bool = False


class HoldConflict(Permanent):
    """The hold was resolved in another way already."""


class Budgets:
    """The budgets of one collector. Owned by the owner's loop."""

    def __init__(self, config: Config, group: Group) -> None:
        self.config = config
        self.group = group
        """Where changes are recorded; the owner replaces it with each commit."""
        self._limits = LimitBook(config.default_limits())
        self._counters = Counters(self._limits, self._crossed)
        self._holds = HoldBook()
        self._sizes = Sizes(adaptive=config.hold_size == "adaptive", ceiling=config.ceiling())
        self._now = 0

    # What is known -------------------------------------------------------------------------------

    def account(self, path: AgentPath) -> Account:
        """The account of an agent."""
        return self._counters.account(path)

    def exceeded(self, account: Account, amount: Amount, now_ns: int) -> list[Counter]:
        """The budgets a hold of this amount would break now. What a call does not use breaks nothing."""
        in_usd, in_tokens = self._counters.place(account, now_ns).capped
        usd, tokens = amount
        over = [c for c in in_usd if c.settled + c.held + usd > c.cap] if usd else []
        if in_tokens and tokens:
            over += [c for c in in_tokens if c.settled + c.held + tokens > c.cap]
        return over

    def warned(self, account: Account, amount: Amount, now_ns: int) -> list[Counter]:
        """The budgets that only warn, and that this amount does not fit into now."""
        warned = self._counters.place(account, now_ns).warned
        if not warned:
            return []
        used = dict(zip(UNITS, amount, strict=True))
        return [c for c in warned if used[c.unit] and c.settled + c.held + used[c.unit] > c.most]

    def limited(self, account: Account, now_ns: int) -> Sequence[Counter]:
        """The budgets above an agent that have a limit, in their windows of now."""
        return self._counters.place(account, now_ns).limited

    def limits_of(self, scope: str | None, now_ns: int) -> list[Counter]:
        """The limited windows of one scope, or of all when it is `None`."""
        return list(self._counters.limited(scope, now_ns))

    def sized(self, account: Account, model: str, worst: Quote) -> Quote:
        """What to hold for a call that can use `worst` at most."""
        return self._sizes.sized(account.text, model, worst)

    def increases(self) -> list[Increase]:
        """Increases in force, oldest first."""
        return self._limits.increases()

    def find(self, hold_id: str) -> Hold | None:
        """A hold that can still change, or whose last change is not durable yet."""
        return self._holds.get(hold_id)

    def knows(self, scope: str) -> bool:
        """Whether the governance files name this scope, or an agent of it ever asked or spent."""
        return self._counters.knows(scope)

    def waiting_agents(self) -> set[str]:
        """Agents with holds that wait for the span of their call."""
        return self._holds.agents()

    def waiting(self) -> Iterable[tuple[str, str]]:
        """Agent and model of the holds that wait for the span of their call."""
        return self._holds.waiting()

    def covered(self, agent: str, model: str, at_ns: int, tolerance_ns: int) -> bool:
        """Whether a hold that waits for its span was in force at that time."""
        return self._holds.covers(agent, model, at_ns, tolerance_ns)

    # What happens --------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> bool:
        """Expire what has reached its time; true when there may be more, so call again soon."""
        self._now = now_ns
        if now_ns >= self._limits.raised_until:
            self._end_increases()
        for _ in range(_MOVED_AT_ONCE):
            hold = self._holds.due(now_ns)
            if hold is None:
                return False
            if hold.state == "held":
                self._expire(hold)
            else:
                self._close(hold)
        return True

    def hold(self, account: Account, terms: Terms) -> Hold:
        """Set money aside; the caller has seen that nothing is `exceeded`. The same id again is the same hold."""
        known = self._holds.get(terms.id)
        if known is not None:
            return known
        if len(self._holds) >= self.config.max_open_holds:
            raise Retryable(
                f"More than processors.budgets.max_open_holds ({self.config.max_open_holds}) holds are open.",
                fix="Settle or void holds when calls end, or send their spans.",
                overloaded=True,
            )
        assert not self.exceeded(account, terms.amount, terms.created)
        self._now = terms.created
        hold = Hold(account, terms)
        self._holds.add(hold)
        self._counters.add(account, terms.created, NOTHING, terms.amount)
        self.group.holds.append(hold.row())
        return hold

    def denied(self, counters: Sequence[Counter], now_ns: int) -> None:
        """These budgets refused a call."""
        self._now = now_ns
        for counter in counters:
            self._counters.denied(counter)

    def settle(self, hold: Hold, actual: Amount, *, actor: str, now_ns: int) -> None:
        """Its client knows what the call used. Repeating changes nothing; raises `HoldConflict` on a contradiction."""
        if hold.state == "settled" and (hold.settled_by == "span" or hold.settled == actual):
            return
        if hold.final or hold.state not in {"held", "expired"}:
            raise _conflict(hold, "settled at this amount")
        self._now = now_ns
        kind: HoldChangeKind = "settle" if hold.state == "held" else "correct"
        self._change(hold, kind, Outcome("settled", actual, "client"), actor=actor)

    def void(self, hold: Hold, *, actor: str, now_ns: int) -> None:
        """The call was never made. Repeating changes nothing; raises `HoldConflict` when it was settled."""
        if hold.state == "void":
            return
        if hold.final or hold.state not in {"held", "expired"}:
            raise _conflict(hold, "voided")
        self._now = now_ns
        self._change(hold, "void", Outcome("void", None, "client", final=True), actor=actor)

    def book(
        self, spends: Iterable[Spend], calls: Iterable[tuple[AgentPath, Call]], now_ns: int
    ) -> list[tuple[Call, Hold]]:
        """Spend reported after the fact, by the quarter of an hour of the calls' start; never refused.

        `calls` are the calls that may have a hold. A call with one is counted in the windows of its
        hold, whose money it takes; every other call in those of its own time. Returns the calls with their holds.
        """
        self._now = now_ns
        matched: list[tuple[Call, Hold]] = []
        sums: dict[tuple[AgentPath, int], Amount] = {}
        for org, tenant, agent, slot, cost, tokens in spends:
            key = (AgentPath(org, tenant, agent), slot)
            usd, used = sums.get(key, NOTHING)
            sums[key] = Amount(usd + cost, used + tokens)
        for path, call in calls:
            hold = self._holds.match(str(path), call, self.config.clock_tolerance.ns)
            if hold is not None:
                key = (path, slot_of(call.start_time))
                usd, used = sums.get(key, NOTHING)
                sums[key] = Amount(usd - (call.cost or 0), used - (call.tokens or 0))
                self._settle_by_span(hold, call)
                matched.append((call, hold))
        for (path, slot), amount in sums.items():
            if amount != NOTHING:
                self._spend(path, slot, amount)
        return matched

    def forget(self, finals: Iterable[str]) -> None:
        """These final holds are durable."""
        for hold_id in finals:
            self._holds.forget(hold_id)

    # Limits and start-up -------------------------------------------------------------------------

    def moves_windows(self, limits: Mapping[str, ScopeLimits]) -> bool:
        """True when these limits change a time zone, so that sums must be counted again with `recount`."""
        return self._limits.moves_windows(limits, self._counters.counted_scopes())

    def set_limits(self, limits: Mapping[str, ScopeLimits], now_ns: int) -> None:
        """From now on these limits hold; what they find crossed is recorded."""
        self._now = now_ns
        self._limits.set_limits(limits)
        self._counters.measure(now_ns)

    def increase(self, increase: Increase, now_ns: int) -> None:
        """Raise a limit for a while; raises `Permanent` when there is none, `Retryable` for too many at once."""
        self._now = now_ns
        for unit, more in zip(UNITS, (increase.usd, increase.tokens), strict=True):
            if more and self._limits.base(increase.scope, increase.window, unit) is None:
                raise Permanent(
                    f"{increase.scope} has no {increase.window} limit in {unit} that could be increased.",
                    fix=f"Check --scope and --window; limits stand in {governance_file(increase.scope)}.",
                )
        if len(self._limits.increases()) >= MAX_INCREASES:
            raise Retryable(
                f"{MAX_INCREASES} increases are in force, and no more are kept.", fix="Raise limits instead."
            )
        self._limits.add(increase)
        self.group.increases.append(increase)
        self.group.event(entries.increase_entry(increase, now_ns))
        self._counters.measure(now_ns)

    def horizon(self, now_ns: int) -> int:
        """Windows that began before this are not weighed."""
        return now_ns - self.config.backfill.ns

    def restore(
        self,
        holds: Iterable[StoredHold],
        crossings: Iterable[Crossing],
        increases: Iterable[Increase] = (),
        samples: Iterable[tuple[str, str, str, str, int, int]] = (),
    ) -> None:
        """Take back what was stored: open holds, crossings since `horizon`, increases and settled calls, oldest first.

        `recount` follows.
        """
        self._counters.restore((c.window_start, c.scope, c.window, c.unit, c.threshold, c.limit) for c in crossings)
        self._sizes.restore(map(Sample._make, samples))
        for increase in increases:
            self._limits.add(increase)
        for stored in holds:
            made = stored.made
            account = self.account(AgentPath(made.org, made.tenant, made.agent))
            self._holds.add(restored(account, stored, self.config.span_grace.ns))

    def recount(self, limits: Mapping[str, ScopeLimits], spends: Iterable[Spend], now_ns: int) -> None:
        """Count all sums anew from the spend stored since `horizon` and the holds in memory, under these limits."""
        self._now = now_ns
        self._counters.clear(self.horizon(now_ns))
        self._limits.set_limits(limits)
        for org, tenant, agent, slot, settled, tokens in spends:
            self._counters.load(self.account(AgentPath(org, tenant, agent)), slot, Amount(settled, tokens), NOTHING)
        for hold in self._holds:
            self._counters.load(hold.account, hold.terms.created, NOTHING, hold.held)
        self._counters.measure(now_ns)

    def forget_windows(self, now_ns: int) -> None:
        """Drop the windows that lie behind the horizon by now."""
        self._counters.forget(self.horizon(now_ns))

    # One change ----------------------------------------------------------------------------------

    def _end_increases(self) -> None:
        for increase in self._limits.end_until(self._now):
            self.group.ended.append(increase.id)
            self.group.event(entries.increase_entry(increase, self._now, ended=True))
        self._counters.measure(self._now)

    def _settle_by_span(self, hold: Hold, call: Call) -> None:
        kind: HoldChangeKind = "settle" if hold.state == "held" else "correct"
        usd, tokens = hold.settled or hold.terms.amount
        # What the span does not know stays as it was assumed.
        actual = Amount(usd if call.cost is None else call.cost, tokens if call.tokens is None else call.tokens)
        self._change(hold, kind, Outcome("settled", actual, "span", final=True), actor=entries.BUDGETS)

    def _expire(self, hold: Hold) -> None:
        released = Outcome("expired", None, "")
        posted = Outcome("expired", hold.terms.amount, "expiry")
        outcome = posted if self.config.on_hold_expiry == "post" else released
        self._change(hold, "expire", outcome, actor=entries.BUDGETS)

    def _close(self, hold: Hold) -> None:
        """Its span did not come in time: nothing changes, and from now on nothing can."""
        self._record(hold, "close", Outcome(hold.state, hold.settled, hold.settled_by, final=True))
        self._wait_or_end(hold)

    def _change(self, hold: Hold, kind: HoldChangeKind, outcome: Outcome, *, actor: str) -> None:
        if outcome.settled is not None and outcome[:2] != (hold.state, hold.settled) and outcome.state == "settled":
            self._sizes.add(hold.account.text, hold.terms.model, *outcome.settled)
        change = self._record(hold, kind, outcome)
        created, path = hold.terms.created, hold.account.path
        settled = Amount(change.settled_added, change.settled_tokens_added)
        self._counters.add(hold.account, created, settled, Amount(change.held_added, change.held_tokens_added))
        self._add_spend((path.org, path.tenant, path.agent, slot_of(created)), settled)
        self.group.event(entries.hold_entry(hold, kind, self._now, actor=actor))
        self._wait_or_end(hold)

    def _record(self, hold: Hold, kind: HoldChangeKind, outcome: Outcome) -> HoldChange:
        was, held, before, overdraw = hold.settled or NOTHING, hold.held, hold.claim, hold.overdraw
        hold.state, hold.settled, hold.settled_by, hold.final = outcome
        hold.changes += 1
        settled, after = hold.settled or NOTHING, hold.claim
        # What was freed may have been given to others: what is taken beyond the claim of before is overdrawn.
        hold.overdraw = Amount(*(max(0, o + a - b) for o, a, b in zip(overdraw, after, before, strict=True)))
        change = HoldChange(
            hold.terms.id,
            hold.changes,
            kind,
            hold.state,
            None if hold.settled is None else hold.settled.usd,
            hold.settled_by,
            hold.final,
            settled_added=settled.usd - was.usd,
            held_added=hold.held.usd - held.usd,
            overdraw_added=hold.overdraw.usd - overdraw.usd,
            recorded_time=self._now,
            settled_tokens=None if hold.settled is None else hold.settled.tokens,
            settled_tokens_added=settled.tokens - was.tokens,
            held_tokens_added=hold.held.tokens - held.tokens,
            overdraw_tokens_added=hold.overdraw.tokens - overdraw.tokens,
        )
        self.group.changes.append(change)
        return change

    def _wait_or_end(self, hold: Hold) -> None:
        if hold.final:
            self._holds.end(hold)
            self.group.finals.append(hold.terms.id)
        else:
            hold.deadline = self._now + self.config.span_grace.ns
            self._holds.schedule(hold)

    def _spend(self, path: AgentPath, slot: int, amount: Amount) -> None:
        self._counters.add(self.account(path), slot, amount, NOTHING)
        self._add_spend((path.org, path.tenant, path.agent, slot), amount)
        line = SpendLine(path.org, path.tenant, path.agent, slot, amount.usd, self._now, amount.tokens)
        self.group.lines.append(line)

    def _add_spend(self, key: tuple[str, str, str, int], amount: Amount) -> None:
        if amount != NOTHING:
            usd, tokens = self.group.spends.get(key, NOTHING)
            self.group.spends[key] = (usd + amount.usd, tokens + amount.tokens)

    def _crossed(self, counter: Counter, threshold: int) -> None:
        self.group.crossings.append(
            Crossing(counter.start, counter.scope, counter.window, counter.unit, threshold, counter.most, self._now)
        )
        self.group.event(entries.crossing_entry(counter, threshold, self._now))
        if counter.mode != "observe":
            self.group.notify(crossing_notice(counter, threshold, self._now))


def _conflict(hold: Hold, wish: str) -> HoldConflict:
    how = {"client": " by its client", "span": " by the span of its call", "expiry": "", "": ""}[hold.settled_by]
    return HoldConflict(
        f"Hold {hold.terms.id} is {hold.state}{how} and cannot be {wish}.",
        fix="A hold is resolved once; the span of the call, sent as telemetry, corrects the amount.",
    )
