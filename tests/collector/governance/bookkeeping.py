"""A budgets machine on a real state file, with a clock the test owns."""

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from collector.governance.budgets import Budgets, Config
from collector.governance.counters import Account, Amount, Counter
from collector.governance.holds import Call, Hold, Terms
from collector.governance.windows import slot_of
from collector.state.rows import Group, Increase, Spend
from collector.state.store import State
from schemas.governance import Mode, ScopeLimits, Unit
from schemas.ids import AgentPath

SECOND, MINUTE, HOUR, DAY = 10**9, 60 * 10**9, 3600 * 10**9, 86400 * 10**9
NOON = int(datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()) * 10**9
TRIAGE = AgentPath("acme", "support", "triage")


def limits(
    daily: dict[str, int] | None = None,
    *,
    monthly: dict[str, int] | None = None,
    tokens: dict[str, int] | None = None,
    zone: str = "UTC",
    mode: Mode = "enforce",
) -> dict[str, ScopeLimits]:
    """Limits by scope, nano-USD; `tokens` are those of a day."""
    daily, monthly, tokens = daily or {}, monthly or {}, tokens or {}
    return {
        scope: ScopeLimits(scope, zone, daily.get(scope), monthly.get(scope), tokens.get(scope), mode=mode)
        for scope in daily | monthly | tokens
    }


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
        self.crash()

    def crash(self) -> None:
        """What is not committed is lost; the rest is read back."""
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

    def ask(
        self, usd: int, tokens: int = 0, *, path: AgentPath = TRIAGE, model: str = "gpt-4o"
    ) -> Hold | list[Counter]:
        """A hold, or the budgets that refused it."""
        self.budgets.advance(self.now)
        account = self.budgets.account(path)
        amount = Amount(usd, tokens)
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

    def hold(self, usd: int, tokens: int = 0, *, path: AgentPath = TRIAGE, model: str = "gpt-4o") -> Hold:
        """A hold that must be granted."""
        hold = self.ask(usd, tokens, path=path, model=model)
        assert isinstance(hold, Hold)
        return hold

    def wait(self, ns: int) -> None:
        """Let time pass."""
        self.now += ns
        while self.budgets.advance(self.now):
            pass
        self.commit()

    def settle(self, hold: Hold, usd: int, tokens: int = 0) -> None:
        self.budgets.settle(hold, Amount(usd, tokens), actor="agent:x", now_ns=self.now)
        self.commit()

    def void(self, hold: Hold) -> None:
        self.budgets.void(hold, actor="agent:x", now_ns=self.now)
        self.commit()

    def spend(self, cost: int, tokens: int = 0, *, path: AgentPath = TRIAGE, at: int | None = None) -> None:
        """Telemetry of a call without a hold."""
        slot = slot_of(self.now if at is None else at)
        self.budgets.book([Spend(path.org, path.tenant, path.agent, slot, cost, tokens)], [], self.now)
        self.commit()

    def span(
        self,
        used: int | tuple[int | None, int | None],
        *,
        decision_id: str = "",
        model: str = "gpt-4o",
        path: AgentPath = TRIAGE,
        at: int | None = None,
    ) -> None:
        """Telemetry of a call that may have a hold: what it cost, or cost and tokens, `None` where nobody knows."""
        cost, tokens = used if isinstance(used, tuple) else (used, None)
        start = self.now if at is None else at
        call = Call(model, model, decision_id, start, start + SECOND, self.received or self.now, cost, tokens)
        spends = [Spend(path.org, path.tenant, path.agent, slot_of(start), cost or 0, tokens or 0)]
        self.budgets.book(spends, [(path, call)], self.now)
        self.commit()

    def increase(self, usd: int = 0, tokens: int = 0, *, scope: str = "acme", ns: int = HOUR) -> Increase:
        """A daily limit that is so much higher from now on."""
        number = next(self._ids)
        until = self.now + ns
        increase = Increase(f"inc_{number:09}", scope, "daily", usd, tokens, self.now, until, "user:ann", "busy day")
        self.budgets.increase(increase, self.now)
        self.commit()
        return increase

    def sums(
        self, path: AgentPath = TRIAGE, *, at: int | None = None, unit: Unit = "usd"
    ) -> dict[tuple[str, str], tuple[int, int]]:
        """Settled and held by scope and window."""
        account = self.budgets._counters.place(self.account(path), self.now if at is None else at)
        counters = account.usd if unit == "usd" else account.tokens
        return {(counter.scope, counter.window): (counter.settled, counter.held) for counter in counters}

    def agent_day(self, *, at: int | None = None, unit: Unit = "usd") -> tuple[int, int]:
        """Settled and held of the agent's day."""
        return self.sums(at=at, unit=unit)["acme/support/triage", "daily"]

    def account(self, path: AgentPath = TRIAGE) -> Account:
        return self.budgets.account(path)

    def kinds(self) -> list[str]:
        """The budget book, as kinds of its lines."""
        return [entry.kind for entry in self.state.entries()]

    def _open(self) -> None:
        self.state = State(self.path)
        self.budgets = Budgets(self.config, Group())
        state, horizon = self.state, self.budgets.horizon(self.now)
        self.budgets.restore(state.open_holds(), state.crossings(horizon), state.increases(), state.settled(10_000))
        self._recount()
        self.commit()

    def _recount(self) -> None:
        spends: Iterable[Spend] = self.state.spends(self.budgets.horizon(self.now))
        self.budgets.recount(self.limits, spends, self.now)
