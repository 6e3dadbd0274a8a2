"""Holds, settlements and spend in, budget sums that never break a limit through a hold out.

The two-phase state machine. Invariants: a hold is taken only when it fits every limited scope and
window above its agent, all at once; settled + held passes a limit only by spend reported after the
fact and by Σ(actual − hold), which is recorded as overdraw; a call is counted once, whoever reports
it first. Everything that changes is also put into `group`, so that what is durable and what is in
memory are the same sums.

No I/O and no clock of its own: the owner passes the time in and commits the group.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from collector.governance import entries
from collector.governance.counters import Account, Counter, Counters
from collector.governance.holds import Call, Hold, HoldBook, Terms, restored
from collector.governance.windows import slot_of
from collector.state.rows import (
    Crossing,
    Group,
    HoldChange,
    HoldChangeKind,
    HoldStatus,
    SettledBy,
    Spend,
    SpendLine,
    StoredHold,
)
from schemas.errors import Permanent, Retryable
from schemas.governance import ScopeLimits
from schemas.ids import AgentPath
from schemas.quantities import Duration

# One step of `advance`: holds that expire together must not keep a decision waiting.
_MOVED_AT_ONCE = 500


class FallbackPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a token costs when its model has no known price, USD per million tokens."""

    input: str = "15"
    """Input tokens. The default is the price of the dearest widely used models."""

    output: str = "75"
    """Output tokens."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How money is held and what happens when the facts are missing."""

    hold_ttl: Duration = Duration("15m")
    """How long money stays held for a call that nobody settles, voids or sends the span of."""

    on_hold_expiry: Literal["post", "release"] = "post"
    """`post` counts an expired hold as spent, marked estimated, because the provider may have charged;
    its span corrects it. `release` gives the money back, and a call that ran after all overshoots."""

    span_grace: Duration = Duration("1h")
    """How long a settled or expired hold waits for its span, whose cost then replaces the amount.
    A span that comes later is counted on top."""

    clock_tolerance: Duration = Duration("5s")
    """How far an agent's clock may be behind ours when a span without a decision id looks for its hold."""

    on_unknown_price: Literal["deny", "fallback", "allow"] = "deny"
    """What to do with a call whose model has no known price while a budget applies: refuse it, hold
    the `fallback_price`, or let it pass without a hold."""

    fallback_price: FallbackPrice = FallbackPrice()
    """The price held under `on_unknown_price: fallback`."""

    on_store_failure: Literal["deny", "allow"] = "deny"
    """What agents are told while the state of budgets cannot be written (disk full or failing, file locked
    or broken): `deny` answers 503, so that the client's own fail mode decides; `allow` lets calls pass
    without a hold, under the rule `store.unavailable`, and records each decision once the state is back."""

    max_unrecorded_decisions: int = 10_000
    """Decisions under `on_store_failure: allow` that wait in memory to be recorded; beyond it they are
    refused with 503."""

    default_max_output_tokens: int = 4096
    """Output held for a call that does not say `max_output_tokens`; the answer says basis `default_output`."""

    max_open_holds: int = 1_000_000
    """Holds that are live or wait for their span; beyond it decisions are refused with 503."""

    backfill: Duration = Duration("63d")
    """How old a call may be to still be weighed against the day and month it happened in. Older ones
    are kept in the ledger only. Must hold two months."""


class Outcome(NamedTuple):
    """What a hold becomes: its state, what it settled at (nano-USD), who said so, and whether that is the last word."""

    state: HoldStatus
    settled: int | None
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
        self._counters = Counters(self._crossed)
        self._holds = HoldBook()
        self._now = 0

    # What is known -------------------------------------------------------------------------------

    def account(self, path: AgentPath) -> Account:
        """The account of an agent."""
        return self._counters.account(path)

    def exceeded(self, account: Account, amount: int, now_ns: int) -> list[Counter]:
        """The budgets a hold of this amount would break now."""
        return [c for c in self._counters.at(account, now_ns) if c.settled + c.held + amount > c.cap]

    def limited(self, account: Account, now_ns: int) -> list[Counter]:
        """The budgets above an agent that have a limit, in their windows of now."""
        return [c for c in self._counters.at(account, now_ns) if c.limit is not None]

    def limits_of(self, scope: str | None, now_ns: int) -> list[Counter]:
        """The limited windows of one scope, or of all when it is `None`."""
        scopes = [name for name in self._counters.limited_scopes() if scope in {None, name}]
        return [c for name in scopes for c in self._counters.of_scope(name, now_ns) if c.limit is not None]

    def find(self, hold_id: str) -> Hold | None:
        """A hold that can still change, or whose last change is not durable yet."""
        return self._holds.get(hold_id)

    def waiting_agents(self) -> set[str]:
        """Agents with holds that wait for the span of their call."""
        return self._holds.agents()

    # What happens --------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> bool:
        """Expire the holds whose time has come; true when there may be more, so call again soon."""
        self._now = now_ns
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
        self._counters.add(account, terms.created, settled=0, held=terms.amount)
        self.group.holds.append(hold.row())
        return hold

    def denied(self, counters: Sequence[Counter], now_ns: int) -> None:
        """These budgets refused a call."""
        self._now = now_ns
        for counter in counters:
            self._counters.denied(counter)

    def settle(self, hold: Hold, actual: int, *, actor: str, now_ns: int) -> None:
        """Its client knows what the call cost. Repeating changes nothing; raises `HoldConflict` on a contradiction."""
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

    def book(self, spends: Iterable[Spend], calls: Iterable[tuple[AgentPath, Call]], now_ns: int) -> None:
        """Spend reported after the fact, by the quarter of an hour of the calls' start; never refused.

        `calls` are the calls that may have a hold. A call with one is counted in the windows of its
        hold, whose money it takes; every other call in those of its own time.
        """
        self._now = now_ns
        sums: dict[tuple[AgentPath, int], int] = {}
        for org, tenant, agent, slot, cost in spends:
            key = (AgentPath(org, tenant, agent), slot)
            sums[key] = sums.get(key, 0) + cost
        for path, call in calls:
            hold = self._holds.match(str(path), call, self.config.clock_tolerance.ns)
            if hold is not None:
                key = (path, slot_of(call.start_time))
                sums[key] = sums.get(key, 0) - call.cost
                self._settle_by_span(hold, call.cost)
        for (path, slot), cost in sums.items():
            if cost:
                self._spend(path, slot, cost)

    def forget(self, finals: Iterable[str]) -> None:
        """These final holds are durable."""
        for hold_id in finals:
            self._holds.forget(hold_id)

    # Limits and start-up -------------------------------------------------------------------------

    def moves_windows(self, limits: Mapping[str, ScopeLimits]) -> bool:
        """True when these limits change a time zone, so that sums must be counted again with `recount`."""
        return self._counters.moves_windows(limits)

    def set_limits(self, limits: Mapping[str, ScopeLimits], now_ns: int) -> None:
        """From now on these limits hold; what they find crossed is recorded."""
        self._now = now_ns
        self._counters.set_limits(limits, now_ns)

    def horizon(self, now_ns: int) -> int:
        """Windows that began before this are not weighed."""
        return now_ns - self.config.backfill.ns

    def restore(self, holds: Iterable[StoredHold], crossings: Iterable[Crossing]) -> None:
        """Take back what was stored: open holds, and crossings since `horizon`. `recount` follows."""
        self._counters.restore((c.window_start, c.scope, c.window, c.threshold, c.limit) for c in crossings)
        for stored in holds:
            made = stored.made
            account = self.account(AgentPath(made.org, made.tenant, made.agent))
            self._holds.add(restored(account, stored, self.config.span_grace.ns))

    def recount(self, limits: Mapping[str, ScopeLimits], spends: Iterable[Spend], now_ns: int) -> None:
        """Count all sums anew from the spend stored since `horizon` and the holds in memory, under these limits."""
        self._now = now_ns
        self._counters.clear(self.horizon(now_ns))
        self._counters.set_limits(limits, now_ns)
        for org, tenant, agent, slot, settled in spends:
            self._counters.load(self.account(AgentPath(org, tenant, agent)), slot, settled=settled, held=0)
        for hold in self._holds:
            self._counters.load(hold.account, hold.terms.created, settled=0, held=hold.held)
        self._counters.set_limits(limits, now_ns)

    def forget_windows(self, now_ns: int) -> None:
        """Drop the windows that lie behind the horizon by now."""
        self._counters.forget(self.horizon(now_ns))

    # One change ----------------------------------------------------------------------------------

    def _settle_by_span(self, hold: Hold, cost: int) -> None:
        kind: HoldChangeKind = "settle" if hold.state == "held" else "correct"
        self._change(hold, kind, Outcome("settled", cost, "span", final=True), actor=entries.BUDGETS)

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
        change = self._record(hold, kind, outcome)
        created, path = hold.terms.created, hold.account.path
        self._counters.add(hold.account, created, settled=change.settled_added, held=change.held_added)
        self._add_spend((path.org, path.tenant, path.agent, slot_of(created)), change.settled_added)
        self.group.event(entries.hold_entry(hold, kind, self._now, actor=actor))
        self._wait_or_end(hold)

    def _record(self, hold: Hold, kind: HoldChangeKind, outcome: Outcome) -> HoldChange:
        settled, held, overdraw = hold.settled or 0, hold.held, hold.overdraw
        hold.state, hold.settled, hold.settled_by, hold.final = outcome
        hold.changes += 1
        change = HoldChange(
            hold.terms.id,
            hold.changes,
            kind,
            *outcome,
            settled_added=(hold.settled or 0) - settled,
            held_added=hold.held - held,
            overdraw_added=hold.overdraw - overdraw,
            recorded_time=self._now,
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

    def _spend(self, path: AgentPath, slot: int, cost: int) -> None:
        self._counters.add(self.account(path), slot, settled=cost, held=0)
        self._add_spend((path.org, path.tenant, path.agent, slot), cost)
        self.group.lines.append(SpendLine(path.org, path.tenant, path.agent, slot, cost, self._now))

    def _add_spend(self, key: tuple[str, str, str, int], amount: int) -> None:
        if amount:
            spends = self.group.spends
            spends[key] = spends.get(key, 0) + amount

    def _crossed(self, counter: Counter, threshold: int) -> None:
        self.group.crossings.append(
            Crossing(counter.start, counter.scope, counter.window, threshold, counter.cap, self._now)
        )
        self.group.event(entries.crossing_entry(counter, threshold, self._now))


def _conflict(hold: Hold, wish: str) -> HoldConflict:
    how = {"client": " by its client", "span": " by the span of its call", "expiry": "", "": ""}[hold.settled_by]
    return HoldConflict(
        f"Hold {hold.terms.id} is {hold.state}{how} and cannot be {wish}.",
        fix="A hold is resolved once; the span of the call, sent as telemetry, corrects the amount.",
    )
