"""Any order of holds, settlements, spans, expiry, limit changes, clock jumps and restarts keeps the books right.

The model is a list of facts and plain sums over them. After every step: the machine's counters are
those sums, the immutable budget book replays to them, no hold outlives its expiry, and no hold ever
took a budget over its limit. What may pass a limit is spend that nobody asked for and Σ(actual −
hold), never more (LiteLLM #34732: check-then-increment; #28283: counters several times the spend).
"""

import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from collector.governance.budgets import Config, HoldConflict
from collector.governance.holds import Hold
from collector.governance.windows import slot_of, windows_at
from schemas.governance import ScopeLimits
from schemas.ids import AgentPath
from schemas.quantities import Duration
from tests.collector.governance.bookkeeping import DAY, HOUR, MINUTE, SECOND, Book, limits

AGENTS = [
    AgentPath("acme", "support", "triage"),
    AgentPath("acme", "support", "writer"),
    AgentPath("acme", "sales", "bot"),
]
SCOPES = sorted({scope for agent in AGENTS for scope in agent.scopes()})
# Kept in memory where the machine has such a file system: thousands of flushes prove nothing here.
MEMORY = Path("/dev/shm")

amounts = st.integers(1, 60)
agents = st.sampled_from(AGENTS)
limit_sets = st.dictionaries(st.sampled_from(SCOPES), st.integers(0, 150), max_size=3)
TTL, GRACE = 10 * MINUTE, 30 * MINUTE
jumps = st.sampled_from([SECOND, 4 * MINUTE, TTL - 1, TTL, GRACE - 1, GRACE, 5 * HOUR, DAY, 31 * DAY, -HOUR, -DAY])


class Fact:
    """What the model knows of one hold."""

    def __init__(self, hold: Hold) -> None:
        self.id, self.path = hold.terms.id, hold.account.path
        self.created, self.amount = hold.terms.created, hold.terms.amount
        self.held, self.settled = True, 0
        self.resolved: int | None = None
        self.final = False

    def resolve(self, settled: int, now: int, *, final: bool = False) -> None:
        self.held, self.settled, self.resolved, self.final = False, settled, now, final


class BudgetsMachine(RuleBasedStateMachine):
    holds = Bundle("holds")

    @initialize(policy=st.sampled_from(["post", "release"]), daily=limit_sets, monthly=limit_sets)
    def open(self, policy: str, daily: dict[str, int], monthly: dict[str, int]) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        config = Config(on_hold_expiry=policy, hold_ttl=Duration("10m"), span_grace=Duration("30m"))  # type: ignore[arg-type]
        self.book = Book(self.folder / "state.db", config)
        self.facts: dict[str, Fact] = {}
        self.spends: list[tuple[AgentPath, int, int]] = []
        self.zone = "UTC"
        self.change_limits(daily, monthly, self.zone)

    def teardown(self) -> None:
        if hasattr(self, "book"):
            self.book.close()
            shutil.rmtree(self.folder)

    @rule(target=holds, amount=amounts, path=agents)
    def ask(self, amount: int, path: AgentPath) -> object:
        answer = self.book.ask(amount, path=path)
        self._see_time()
        left = self._left(path)
        if not isinstance(answer, Hold):
            assert left is not None
            assert amount > left
            return multiple()
        self.facts[answer.terms.id] = Fact(answer)
        assert left is None or left >= 0, "a hold took a budget over its limit"
        return answer.terms.id

    @rule(target=holds, path=agents, beyond=st.integers(0, 1))
    def ask_for_all_that_is_left(self, path: AgentPath, beyond: int) -> object:
        self.time_passes(0)
        left = self._left(path)
        if left is None or left + beyond <= 0:
            return multiple()
        answer = self.book.ask(left + beyond, path=path)
        assert isinstance(answer, Hold) is (beyond == 0)
        if not isinstance(answer, Hold):
            return multiple()
        self.facts[answer.terms.id] = Fact(answer)
        return answer.terms.id

    @rule(hold_id=holds, actual=st.integers(0, 90))
    def settle(self, hold_id: str, actual: int) -> None:
        hold, fact = self.book.budgets.find(hold_id), self.facts[hold_id]
        assert (hold is None) is fact.final
        if hold is None:
            return
        was, contradicts = hold.state, hold.state == "settled" and fact.settled != actual
        try:
            self.book.settle(hold, actual)
        except HoldConflict:
            assert contradicts
        else:
            assert not contradicts
            if was != "settled":
                fact.resolve(actual, self.book.now)

    @rule(hold_id=holds)
    def void(self, hold_id: str) -> None:
        hold, fact = self.book.budgets.find(hold_id), self.facts[hold_id]
        if hold is not None and hold.state != "settled":
            self.book.void(hold)
            fact.resolve(0, self.book.now, final=True)

    @rule(hold_id=holds, cost=amounts, delay=st.sampled_from([0, MINUTE, HOUR]))
    def span_of_a_decision(self, hold_id: str, cost: int, delay: int) -> None:
        fact = self.facts[hold_id]
        self.book.span(cost, decision_id=f"dec_{hold_id[5:]}", path=fact.path, at=fact.created + delay)
        if fact.final:
            self.spends.append((fact.path, fact.created + delay, cost))
        else:
            fact.resolve(cost, self.book.now, final=True)

    @rule(path=agents, cost=amounts, age=st.sampled_from([0, MINUTE, HOUR, DAY, 20 * DAY]))
    def spend(self, path: AgentPath, cost: int, age: int) -> None:
        self.book.spend(cost, path=path, at=self.book.now - age)
        self.spends.append((path, self.book.now - age, cost))

    @rule(ns=jumps)
    def time_passes(self, ns: int) -> None:
        self.book.wait(ns)
        self._see_time()

    @rule(daily=limit_sets, monthly=limit_sets, zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]))
    def change_limits(self, daily: dict[str, int], monthly: dict[str, int], zone: str) -> None:
        self.zone = zone
        unlimited = {scope: ScopeLimits(scope, zone, None, None) for scope in SCOPES}
        self.book.set_limits(unlimited | limits(daily, monthly=monthly, zone=zone))

    @rule()
    def restart(self) -> None:
        self.book.restart()

    @rule()
    def forget_old_windows(self) -> None:
        self.book.budgets.forget_windows(self.book.now)

    @invariant()
    def sums_are_those_of_the_facts(self) -> None:
        for path in AGENTS:
            for at in (self.book.now, self.book.now - DAY):
                assert self.book.sums(path, at=at) == self._expected(path, at)

    @invariant()
    def the_budget_book_replays_to_the_stored_state(self) -> None:
        settled: Counter[tuple[str, str, str, int]] = Counter()
        held = 0
        for entry in self.book.state.entries():
            settled[entry.org, entry.tenant, entry.agent, slot_of(entry.time)] += entry.settled
            held += entry.held
        stored = {(s.org, s.tenant, s.agent, s.slot_time): s.settled for s in self.book.state.spends(0)}
        assert {key: value for key, value in settled.items() if value} == {k: v for k, v in stored.items() if v}
        live = [hold.made for hold in self.book.state.open_holds() if hold.change is None]
        assert held == sum(hold.amount for hold in live)
        assert not [hold for hold in live if hold.expires <= self.book.now], "a hold outlived its expiry"

    @invariant()
    def overdraw_is_what_calls_cost_beyond_their_holds(self) -> None:
        recorded = sum(entry.overdraw for entry in self.book.state.entries())
        assert recorded == sum(max(0, fact.settled - fact.amount) for fact in self.facts.values())

    @invariant()
    def each_crossing_is_recorded_once(self) -> None:
        stored = self.book.state.crossings(0)
        told = [event for _, event in self.book.state.events(0, 10**6) if b"budget.crossed" in event]
        assert len(stored) == len(told)

    def _see_time(self) -> None:
        """Holds the clock has reached are posted or released; after their grace they are final."""
        post = self.book.config.on_hold_expiry == "post"
        for fact in self.facts.values():
            if fact.held and fact.created + TTL <= self.book.now:
                fact.resolve(fact.amount if post else 0, self.book.now)
            if fact.resolved is not None and fact.resolved + GRACE <= self.book.now:
                fact.final = True

    def _left(self, path: AgentPath) -> int | None:
        """What the tightest limit above an agent leaves, by the facts; `None` without a limit."""
        sums = self._expected(path, self.book.now)
        left = []
        for scope in path.scopes():
            limit = self.book.limits[scope]
            for window, nano in (("daily", limit.daily_nano_usd), ("monthly", limit.monthly_nano_usd)):
                if nano is not None:
                    left.append(nano - sum(sums[scope, window]))
        return min(left, default=None)

    def _expected(self, path: AgentPath, at: int) -> dict[tuple[str, str], tuple[int, int]]:
        sums: dict[tuple[str, str], tuple[int, int]] = {}
        facts = [(f.path, f.created, f.settled, f.amount * f.held) for f in self.facts.values()]
        facts += [(spent, slot_of(when), cost, 0) for spent, when, cost in self.spends]
        for scope in path.scopes():
            for window in ("daily", "monthly"):
                start, end = getattr(windows_at(self.zone, at), window)
                inside = [f for f in facts if scope in f[0].scopes() and start <= f[1] < end]
                sums[scope, window] = (sum(f[2] for f in inside), sum(f[3] for f in inside))
        return sums


TestBudgets = BudgetsMachine.TestCase
TestBudgets.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
