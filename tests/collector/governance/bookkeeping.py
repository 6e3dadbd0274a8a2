"""A budgets machine on a real state file, with a clock the test owns."""

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from collector.governance.budgets import Budgets, Config
from collector.governance.counters import Account, Counter
from collector.governance.holds import Call, Hold, Terms
from collector.governance.windows import slot_of
from collector.state.rows import Group, Spend
from collector.state.store import State
from schemas.governance import ScopeLimits
from schemas.ids import AgentPath

SECOND, MINUTE, HOUR, DAY = 10**9, 60 * 10**9, 3600 * 10**9, 86400 * 10**9
NOON = int(datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()) * 10**9
TRIAGE = AgentPath("acme", "support", "triage")


def limits(
    daily: dict[str, int] | None = None, *, monthly: dict[str, int] | None = None, zone: str = "UTC"
) -> dict[str, ScopeLimits]:
    """Limits by scope, nano-USD."""
    daily, monthly = daily or {}, monthly or {}
    return {scope: ScopeLimits(scope, zone, daily.get(scope), monthly.get(scope)) for scope in daily | monthly}


class Book:
    """Budgets whose every group is committed at once, so that `restart` finds what was answered."""

    def __init__(self, path: Path, config: Config | None = None, *, now: int = NOON) -> None:
        self.path = path
        self.config = config or Config()
        self.now = now
        self.received: int | None = None
        self.limits: dict[str, ScopeLimits] = {}
        self._ids = itertools.count(1)
        self._open()

    def restart(self) -> None:
        """What a crash after the last commit leaves, read back."""
        self.commit()
        self.state.close()
        self._open()

    def close(self) -> None:
        self.state.close()

    def commit(self) -> None:
        group, self.budgets.group = self.budgets.group, Group()
        self.state.commit(group)
        self.budgets.forget(group.finals)

    def set_limits(self, limits: dict[str, ScopeLimits]) -> None:
        self.limits = limits
        if self.budgets.moves_windows(limits):
            self.commit()
            self._recount()
        else:
            self.budgets.set_limits(limits, self.now)
        self.commit()

    def ask(self, amount: int, *, path: AgentPath = TRIAGE, model: str = "gpt-4o") -> Hold | list[Counter]:
        """A hold, or the budgets that refused it."""
        self.budgets.advance(self.now)
        account = self.budgets.account(path)
        exceeded = self.budgets.exceeded(account, amount, self.now)
        if exceeded:
            self.budgets.denied(exceeded, self.now)
            self.commit()
            return exceeded
        number = next(self._ids)
        terms = Terms(
            f"hold_{number}", f"dec_{number}", "key", "openai", model, "worst_case", amount, self.now,
            self.now + self.config.hold_ttl.ns,
        )  # fmt: skip
        hold = self.budgets.hold(account, terms)
        self.commit()
        return hold

    def hold(self, amount: int, *, path: AgentPath = TRIAGE, model: str = "gpt-4o") -> Hold:
        """A hold that must be granted."""
        hold = self.ask(amount, path=path, model=model)
        assert isinstance(hold, Hold)
        return hold

    def wait(self, ns: int) -> None:
        """Let time pass."""
        self.now += ns
        while self.budgets.advance(self.now):
            pass
        self.commit()

    def settle(self, hold: Hold, actual: int) -> None:
        self.budgets.settle(hold, actual, actor="agent:x", now_ns=self.now)
        self.commit()

    def void(self, hold: Hold) -> None:
        self.budgets.void(hold, actor="agent:x", now_ns=self.now)
        self.commit()

    def spend(self, cost: int, *, path: AgentPath = TRIAGE, at: int | None = None) -> None:
        """Telemetry of a call without a hold."""
        slot = slot_of(self.now if at is None else at)
        self.budgets.book([Spend(path.org, path.tenant, path.agent, slot, cost)], [], self.now)
        self.commit()

    def span(
        self,
        cost: int,
        *,
        decision_id: str = "",
        model: str = "gpt-4o",
        path: AgentPath = TRIAGE,
        at: int | None = None,
    ) -> None:
        """Telemetry of a call that may have a hold."""
        start = self.now if at is None else at
        call = Call(model, model, decision_id, start, start + SECOND, self.received or self.now, cost)
        spends = [Spend(path.org, path.tenant, path.agent, slot_of(start), cost)]
        self.budgets.book(spends, [(path, call)], self.now)
        self.commit()

    def sums(self, path: AgentPath = TRIAGE, *, at: int | None = None) -> dict[tuple[str, str], tuple[int, int]]:
        """Settled and held by scope and window."""
        counters = self.budgets._counters.at(self.account(path), self.now if at is None else at)
        return {(counter.scope, counter.window): (counter.settled, counter.held) for counter in counters}

    def agent_day(self, *, at: int | None = None) -> tuple[int, int]:
        """Settled and held of the agent's day."""
        return self.sums(at=at)["acme/support/triage", "daily"]

    def account(self, path: AgentPath = TRIAGE) -> Account:
        return self.budgets.account(path)

    def kinds(self) -> list[str]:
        """The budget book, as kinds of its lines."""
        return [entry.kind for entry in self.state.entries()]

    def _open(self) -> None:
        self.state = State(self.path)
        self.budgets = Budgets(self.config, Group())
        self.budgets.restore(self.state.open_holds(), self.state.crossings(self.budgets.horizon(self.now)))
        self._recount()
        self.commit()

    def _recount(self) -> None:
        spends: Iterable[Spend] = self.state.spends(self.budgets.horizon(self.now))
        self.budgets.recount(self.limits, spends, self.now)
