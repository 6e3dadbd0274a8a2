"""Any order of holds, settlements, spans, limits, modes, increases, clock jumps and crashes keeps the books right.

The model is a list of facts and plain sums over them. After every step: the machine's counters are
those sums in both units, the immutable budget book replays to them, no hold outlives its expiry, no
hold ever took an enforced budget over its limit, and nobody is refused while there is room. What may
pass a limit is spend that nobody asked for and recorded overdraw, never more.

Complaints of others this answers: LiteLLM #34732 (check-then-increment), #28283 (counters several times
the spend), #36926 and #27735 (refused in one process without a reason), #27639 (a leaked hold blocks for
ever), mlflow/mlflow PR#21616 (a tracker per worker), wso2/api-platform#2936 (a window that is a refill rate).
"""

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from collector.governance.budgets import Config, HoldConflict
from collector.governance.counters import Amount
from collector.governance.holds import Hold, Terms
from collector.governance.windows import slot_of, windows_at
from schemas.errors import Permanent
from schemas.governance import Mode, ScopeLimits, Unit
from schemas.ids import AgentPath
from schemas.quantities import Duration
from tests.collector.governance.bookkeeping import DAY, HOUR, MINUTE, SECOND, Book

AGENTS = [
    AgentPath("acme", "support", "triage"),
    AgentPath("acme", "support", "writer"),
    AgentPath("beta", "sales", "bot"),
]
SCOPES = sorted({scope for agent in AGENTS for scope in agent.scopes()})
# Kept in memory where the machine has such a file system: thousands of flushes prove nothing here.
MEMORY = Path("/dev/shm")
USD, TOKENS = 0, 1

amounts = st.integers(1, 60)
few = st.one_of(st.just(0), st.integers(1, 60))
agents = st.sampled_from(AGENTS)
limit_sets = st.dictionaries(st.sampled_from(SCOPES), st.integers(0, 150), max_size=2)
mode_sets = st.dictionaries(st.sampled_from(SCOPES), st.sampled_from(["observe", "warn"]), max_size=2)
TTL, GRACE = 10 * MINUTE, 30 * MINUTE
jumps = st.sampled_from([SECOND, 4 * MINUTE, TTL - 1, TTL, GRACE - 1, GRACE, 5 * HOUR, DAY, 31 * DAY, -HOUR, -DAY])

Place = tuple[str, str, int, Unit]
"""Scope, window, start and unit of one budget."""


class Limits(NamedTuple):
    """What the files say."""

    daily: dict[str, int]
    monthly: dict[str, int]
    tokens: dict[str, int]
    modes: dict[str, Mode]

    def of(self, scope: str, window: str, unit: Unit) -> int | None:
        if unit == "tokens":
            return self.tokens.get(scope) if window == "daily" else None
        return (self.daily if window == "daily" else self.monthly).get(scope)


limit_files = st.builds(Limits, limit_sets, limit_sets, limit_sets, mode_sets)


class Fact:
    """What the model knows of one hold."""

    def __init__(self, hold: Hold) -> None:
        self.id, self.path = hold.terms.id, hold.account.path
        self.created, self.amount = hold.terms.created, hold.terms.amount
        self.claim: tuple[int, int] = hold.terms.amount
        self.overdraw = (0, 0)
        self.held, self.released = True, False
        self.resolved: int | None = None
        self.final = False

    @property
    def settled(self) -> tuple[int, int]:
        return (0, 0) if self.held else self.claim

    @property
    def waiting(self) -> tuple[int, int]:
        return self.claim if self.held else (0, 0)

    def resolve(self, settled: tuple[int, int], now: int, *, final: bool = False) -> None:
        more = [max(0, o + s - c) for o, s, c in zip(self.overdraw, settled, self.claim, strict=True)]
        self.overdraw = (more[USD], more[TOKENS])
        self.held, self.released, self.claim, self.resolved, self.final = False, False, settled, now, final


class Spent(NamedTuple):
    """Telemetry of a call that no hold was waiting for."""

    path: AgentPath
    at: int
    amount: tuple[int, int]


class Raised(NamedTuple):
    """An increase of a daily limit."""

    scope: str
    more: tuple[int, int]
    until: int


class BudgetsMachine(RuleBasedStateMachine):
    holds = Bundle("holds")

    @initialize(policy=st.sampled_from(["post", "release"]), limits=limit_files)
    def open(self, policy: str, limits: Limits) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        config = Config(on_hold_expiry=policy, hold_ttl=Duration("10m"), span_grace=Duration("30m"))  # type: ignore[arg-type]
        self.book = Book(self.folder / "state.db", config)
        self.facts: dict[str, Fact] = {}
        self.spends: list[Spent] = []
        self.raised: list[Raised] = []
        self.granted: dict[Place, int | None] = {}
        self.zone, self.moved = "UTC", False
        self.change_limits(limits)

    def teardown(self) -> None:
        if hasattr(self, "book"):
            self.book.close()
            shutil.rmtree(self.folder)

    # Clients -------------------------------------------------------------------------------------

    @rule(target=holds, usd=few, tokens=few, path=agents)
    def ask(self, usd: int, tokens: int, path: AgentPath) -> object:
        answer = self.book.ask(usd, tokens, path=path)
        self._see_time()
        left = self._left(path)
        if not isinstance(answer, Hold):
            # Nobody is blocked while room for his request exists.
            assert (usd and usd > left[USD]) or (tokens and tokens > left[TOKENS])
            return multiple()
        assert not usd or usd <= left[USD], "a hold took a budget over its limit"
        assert not tokens or tokens <= left[TOKENS], "a hold took a budget over its limit"
        return self._granted(answer)

    @rule(target=holds, path=agents, beyond=st.integers(0, 1), unit=st.sampled_from([USD, TOKENS]))
    def ask_for_all_that_is_left(self, path: AgentPath, beyond: int, unit: int) -> object:
        self.time_passes(0)
        left = self._left(path)[unit]
        if left > 10**6 or left + beyond <= 0:
            return multiple()
        most = int(left) + beyond
        answer = self.book.ask(most, path=path) if unit == USD else self.book.ask(0, most, path=path)
        assert isinstance(answer, Hold) is (beyond == 0)
        return self._granted(answer) if isinstance(answer, Hold) else multiple()

    @rule(usd=few, tokens=few, path=agents)
    def what_warns_is_what_does_not_fit(self, usd: int, tokens: int, path: AgentPath) -> None:
        self.time_passes(0)
        budgets, now = self.book.budgets, self.book.now
        said = {(c.scope, c.window, c.unit) for c in budgets.warned(budgets.account(path), Amount(usd, tokens), now)}
        asked: dict[Unit, int] = {"usd": usd, "tokens": tokens}
        assert said == {
            (scope, window, unit)
            for (scope, window, unit), (left, mode) in self._rooms(path).items()
            if mode == "warn" and asked[unit] and asked[unit] > left
        }

    @rule(hold_id=holds)
    def the_same_hold_again(self, hold_id: str) -> None:
        hold = self.book.budgets.find(hold_id)
        if hold is not None:
            assert self.book.budgets.hold(hold.account, hold.terms) is hold
            self.book.commit()

    @rule(hold_id=holds, usd=st.integers(0, 90), tokens=st.integers(0, 90))
    def settle(self, hold_id: str, usd: int, tokens: int) -> None:
        hold, fact = self.book.budgets.find(hold_id), self.facts[hold_id]
        assert (hold is None) is fact.final
        if hold is None:
            return
        was, contradicts = hold.state, hold.state == "settled" and fact.settled != (usd, tokens)
        for _ in range(2):
            try:
                self.book.settle(hold, usd, tokens)
            except HoldConflict:
                assert contradicts
            else:
                assert not contradicts
                if was != "settled":
                    fact.resolve((usd, tokens), self.book.now)
                    was = "settled"

    @rule(hold_id=holds)
    def void(self, hold_id: str) -> None:
        hold, fact = self.book.budgets.find(hold_id), self.facts[hold_id]
        if hold is not None and hold.state != "settled":
            self.book.void(hold)
            fact.resolve((0, 0), self.book.now, final=True)

    # Telemetry -----------------------------------------------------------------------------------

    @rule(hold_id=holds, cost=st.none() | amounts, tokens=st.none() | amounts, delay=st.sampled_from([0, MINUTE, HOUR]))
    def span_of_a_decision(self, hold_id: str, cost: int | None, tokens: int | None, delay: int) -> None:
        fact = self.facts[hold_id]
        at = fact.created + delay
        self.book.span((cost, tokens), decision_id=f"dec_{hold_id[5:]}", path=fact.path, at=at)
        if fact.final:
            self.spends.append(Spent(fact.path, at, (cost or 0, tokens or 0)))
        else:
            # What nobody knows of the call stays as it was assumed; a hold that was released assumed all of it.
            assumed = fact.amount if fact.released else fact.claim
            known = (assumed[USD] if cost is None else cost, assumed[TOKENS] if tokens is None else tokens)
            fact.resolve(known, self.book.now, final=True)

    @rule(path=agents, cost=few, tokens=few, age=st.sampled_from([0, MINUTE, HOUR, DAY, 20 * DAY]))
    def spend(self, path: AgentPath, cost: int, tokens: int, age: int) -> None:
        at = self.book.now - age
        self.book.spend(cost, tokens, path=path, at=at)
        self.spends.append(Spent(path, at, (cost, tokens)))

    # The world -----------------------------------------------------------------------------------

    @rule(ns=jumps)
    def time_passes(self, ns: int) -> None:
        self.book.wait(ns)
        self._see_time()

    @rule(limits=limit_files)
    def change_limits(self, limits: Limits) -> None:
        self.limits = limits
        self._put_in_force()

    @rule(scope=st.sampled_from(SCOPES), usd=few, tokens=few, ns=st.sampled_from([MINUTE, HOUR, 2 * DAY]))
    def increase(self, scope: str, usd: int, tokens: int, ns: int) -> None:
        asked: tuple[tuple[Unit, int], ...] = (("usd", usd), ("tokens", tokens))
        can = all(self.limits.of(scope, "daily", unit) is not None for unit, more in asked if more)
        try:
            self.book.increase(usd, tokens, scope=scope, ns=ns)
        except Permanent:
            assert not can
        else:
            assert can
            self.raised.append(Raised(scope, (usd, tokens), self.book.now + ns))

    @precondition(lambda self: not self.moved)
    @rule(zone=st.sampled_from(["Europe/Berlin", "Asia/Kathmandu"]))
    def move_to_another_time_zone(self, zone: str) -> None:
        # Money that was held in one day is now in another: what that day was promised is not known any more.
        self.zone, self.moved = zone, bool(self.facts)
        self.granted.clear()
        self._put_in_force()

    @rule()
    def restart(self) -> None:
        self.book.restart()

    @rule(usd=amounts, path=agents)
    def crash_before_the_answer(self, usd: int, path: AgentPath) -> None:
        """What was judged and not yet on disk was told to nobody, and is gone."""
        self.time_passes(0)
        budgets, now = self.book.budgets, self.book.now
        account, amount = budgets.account(path), Amount(usd, usd)
        if not budgets.exceeded(account, amount, now):
            budgets.hold(account, Terms("hold_x", "dec_x", "key", "openai", "gpt-4o", "p99", amount, now, now + TTL))
        self.book.crash()
        assert self.book.budgets.find("hold_x") is None

    @rule()
    def forget_old_windows(self) -> None:
        self.book.budgets.forget_windows(self.book.now)

    # What always holds ---------------------------------------------------------------------------

    @invariant()
    def sums_are_those_of_the_facts(self) -> None:
        for path in AGENTS:
            for at in (self.book.now, self.book.now - DAY):
                for unit, index in UNITS:
                    assert self.book.sums(path, at=at, unit=unit) == self._expected(path, at, index)

    @invariant()
    def what_passes_a_limit_is_recorded_overdraw_and_unheld_spend(self) -> None:
        if self.moved:
            return
        for (scope, window, start, unit), most in self.granted.items():
            if most is None:
                continue
            index = dict(UNITS)[unit]
            _, end = getattr(windows_at(self.zone, start), window)
            facts = [f for f in self.facts.values() if scope in f.path.scopes() and start <= f.created < end]
            unheld = [s for s in self.spends if scope in s.path.scopes() and start <= slot_of(s.at) < end]
            total = sum(f.claim[index] for f in facts) + sum(s.amount[index] for s in unheld)
            assert total - most <= sum(f.overdraw[index] for f in facts) + sum(s.amount[index] for s in unheld)

    @invariant()
    def the_budget_book_replays_to_the_stored_state(self) -> None:
        settled: Counter[tuple[str, str, str, int, int]] = Counter()
        held = Counter[int]()
        for entry in self.book.state.entries():
            for index, (more, set_aside) in enumerate(
                ((entry.settled, entry.held), (entry.settled_tokens, entry.held_tokens))
            ):
                settled[entry.org, entry.tenant, entry.agent, slot_of(entry.time), index] += more
                held[index] += set_aside
        stored = {
            (s.org, s.tenant, s.agent, s.slot_time, index): amount
            for s in self.book.state.spends(0)
            for index, amount in enumerate((s.settled, s.tokens))
        }
        assert {key: value for key, value in settled.items() if value} == {k: v for k, v in stored.items() if v}
        live = [hold.made for hold in self.book.state.open_holds() if hold.change is None]
        assert (held[USD], held[TOKENS]) == (sum(h.amount for h in live), sum(h.tokens for h in live))
        assert not [hold for hold in live if hold.expires <= self.book.now], "a hold outlived its expiry"

    @invariant()
    def overdraw_is_what_calls_took_beyond_what_was_set_aside(self) -> None:
        recorded = [(entry.overdraw, entry.overdraw_tokens) for entry in self.book.state.entries()]
        for index in (USD, TOKENS):
            assert sum(each[index] for each in recorded) == sum(fact.overdraw[index] for fact in self.facts.values())

    @invariant()
    def each_crossing_is_recorded_once(self) -> None:
        stored = self.book.state.crossings(0)
        told = [event for _, event in self.book.state.events(0, 10**6) if b"budget.crossed" in event]
        assert len(stored) == len(told)

    # The model -----------------------------------------------------------------------------------

    def _put_in_force(self) -> None:
        limits, zone = self.limits, self.zone
        self.book.set_limits(
            {
                scope: ScopeLimits(
                    scope, zone, limits.daily.get(scope), limits.monthly.get(scope), limits.tokens.get(scope),
                    mode=limits.modes.get(scope, "enforce"),
                )
                for scope in SCOPES
            }
        )  # fmt: skip

    def _granted(self, hold: Hold) -> str:
        """Keep the fact, and the highest limit that each of its budgets had when it took money."""
        fact = self.facts[hold.terms.id] = Fact(hold)
        for scope in fact.path.scopes():
            for window, bounds in windows_at(self.zone, fact.created)._asdict().items():
                for unit, index in UNITS:
                    if fact.amount[index]:
                        place = (scope, window, bounds.start, unit)
                        limit = self._limit(scope, window, unit)
                        if limit is None or self.limits.modes.get(scope, "enforce") != "enforce":
                            self.granted[place] = None
                        elif (before := self.granted.get(place, 0)) is not None:
                            self.granted[place] = max(before, limit)
        return fact.id

    def _see_time(self) -> None:
        """Holds the clock has reached are posted or released; after their grace they are final. Increases end."""
        post = self.book.config.on_hold_expiry == "post"
        for fact in self.facts.values():
            if fact.held and fact.created + TTL <= self.book.now:
                fact.resolve(fact.amount if post else (0, 0), self.book.now)
                fact.released = not post
            if fact.resolved is not None and fact.resolved + GRACE <= self.book.now:
                fact.final = True
        self.raised = [raised for raised in self.raised if raised.until > self.book.now]

    def _limit(self, scope: str, window: str, unit: Unit) -> int | None:
        limit = self.limits.of(scope, window, unit)
        if limit is None or window != "daily":
            return limit
        return limit + sum(raised.more[dict(UNITS)[unit]] for raised in self.raised if raised.scope == scope)

    def _rooms(self, path: AgentPath) -> dict[tuple[str, str, Unit], tuple[int, Mode]]:
        """What each limit above an agent leaves by the facts, and its mode."""
        rooms: dict[tuple[str, str, Unit], tuple[int, Mode]] = {}
        for unit, index in UNITS:
            sums = self._expected(path, self.book.now, index)
            for scope in path.scopes():
                for window in ("daily", "monthly"):
                    limit = self._limit(scope, window, unit)
                    if limit is not None:
                        mode = self.limits.modes.get(scope, "enforce")
                        rooms[scope, window, unit] = (limit - sum(sums[scope, window]), mode)
        return rooms

    def _left(self, path: AgentPath) -> tuple[float, float]:
        """USD and tokens the tightest enforced limits above an agent leave; infinite without one."""
        rooms = self._rooms(path)

        def least(unit: Unit) -> float:
            enforced = [left for (_, _, of), (left, mode) in rooms.items() if of == unit and mode == "enforce"]
            return min(enforced, default=float("inf"))

        return least("usd"), least("tokens")

    def _expected(self, path: AgentPath, at: int, index: int) -> dict[tuple[str, str], tuple[int, int]]:
        sums: dict[tuple[str, str], tuple[int, int]] = {}
        facts = [(f.path, f.created, f.settled[index], f.waiting[index]) for f in self.facts.values()]
        facts += [(spent.path, slot_of(spent.at), spent.amount[index], 0) for spent in self.spends]
        for scope in path.scopes():
            for window in ("daily", "monthly"):
                start, end = getattr(windows_at(self.zone, at), window)
                inside = [f for f in facts if scope in f[0].scopes() and start <= f[1] < end]
                sums[scope, window] = (sum(f[2] for f in inside), sum(f[3] for f in inside))
        return sums


UNITS: tuple[tuple[Unit, int], ...] = (("usd", USD), ("tokens", TOKENS))

TestBudgets = BudgetsMachine.TestCase
TestBudgets.settings = settings(
    max_examples=250, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
