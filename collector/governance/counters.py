"""Amounts of calls → sums of days and months, for each scope above a call, with limits and alerts.

Every call is counted in its organisation, tenant and agent, by day and by month, limited or not, so
a limit that is set later is right at once. A threshold (80, 90 and 100 % of a limit) is reported
once for each scope, window and limit: a changed limit is measured anew, and going back to an old
one repeats nothing. Sums are derived and never stored.

Who may add what is left to `budgets`.
"""

from collections.abc import Callable, Iterable, Mapping

from collector.governance.windows import WINDOW_KINDS, Window, WindowKind, windows_at
from schemas.governance import ScopeLimits
from schemas.ids import AgentPath
from schemas.money import MAX_NANO_USD

THRESHOLDS = (80, 90, 100)
_NEVER = 2**63

CrossingKey = tuple[int, str, str, int, int]
"""Window start, scope, window, threshold, limit."""


class Counter:
    """One scope in one window, nano-USD. Changed only by `Counters`."""

    __slots__ = ("alert_at", "cap", "end", "held", "limit", "scope", "settled", "start", "window")

    def __init__(self, scope: str, kind: WindowKind, window: Window) -> None:
        self.scope = scope
        self.window: WindowKind = kind
        self.start, self.end = window
        self.settled = 0
        self.held = 0
        self.limit: int | None = None
        self.cap = MAX_NANO_USD
        """What settled and held may reach through a hold: the limit, or the largest amount there is."""
        self.alert_at = _NEVER
        """The sum at which the next threshold is reached."""

    @property
    def remaining(self) -> int:
        """What may still be held; negative after an overdraw."""
        return self.cap - self.settled - self.held


class Account:
    """One agent, and the counters of the windows it was last asked about."""

    __slots__ = ("counters", "path", "scopes", "since", "text", "until")

    def __init__(self, path: AgentPath) -> None:
        self.path = path
        self.text = str(path)
        self.scopes = path.scopes()
        self.since = self.until = 0
        self.counters: tuple[Counter, ...] = ()


class Counters:
    """All counters, limits and recorded crossings. `report(counter, threshold)` is told of each new crossing."""

    def __init__(self, report: Callable[[Counter, int], None]) -> None:
        self._report = report
        self._limits: Mapping[str, ScopeLimits] = {}
        self._accounts: dict[str, Account] = {}
        self._counters: dict[tuple[str, WindowKind, int], Counter] = {}
        self._recorded: set[CrossingKey] = set()
        self._horizon = 0

    def account(self, path: AgentPath) -> Account:
        """The account of an agent."""
        text = str(path)
        account = self._accounts.get(text)
        if account is None:
            account = self._accounts[text] = Account(path)
        return account

    def at(self, account: Account, at_ns: int) -> tuple[Counter, ...]:
        """The counters an amount of that moment belongs to, org first; those of forgotten windows are left out."""
        if not account.since <= at_ns < account.until:
            self._place(account, at_ns)
        return account.counters

    def add(self, account: Account, at_ns: int, *, settled: int, held: int) -> None:
        """Change the sums of a moment's windows; never refused."""
        for counter in self.at(account, at_ns):
            counter.settled += settled
            counter.held += held
            if counter.settled + counter.held >= counter.alert_at:
                self._cross(counter)

    def load(self, account: Account, at_ns: int, *, settled: int, held: int) -> None:
        """Add what was counted before; `set_limits` afterwards says what it crosses."""
        for counter in self.at(account, at_ns):
            counter.settled += settled
            counter.held += held

    def denied(self, counter: Counter) -> None:
        """A budget refused something: its 100 % is reached, whatever the sum."""
        if counter.limit is not None:
            self._record(counter, 100)
            counter.alert_at = self._next_alert(counter)

    def of_scope(self, scope: str, at_ns: int) -> tuple[Counter, Counter]:
        """The day and month of one scope at a moment."""
        windows = windows_at(_zone(self._limits, scope), at_ns)
        return self._counter(scope, "daily", windows.daily), self._counter(scope, "monthly", windows.monthly)

    def limited_scopes(self) -> list[str]:
        """Scopes that have a limit, in order of name."""
        return sorted(
            scope
            for scope, limits in self._limits.items()
            if limits.daily_nano_usd is not None or limits.monthly_nano_usd is not None
        )

    def knows(self, scope: str) -> bool:
        """Whether the governance files name this scope, or an agent of it ever asked or spent."""
        return scope in self._limits or any(scope in account.scopes for account in self._accounts.values())

    def moves_windows(self, limits: Mapping[str, ScopeLimits]) -> bool:
        """True when these limits put a counted scope into another time zone."""
        scopes = {scope for account in self._accounts.values() for scope in account.scopes}
        return any(_zone(limits, scope) != _zone(self._limits, scope) for scope in scopes)

    def set_limits(self, limits: Mapping[str, ScopeLimits], now_ns: int) -> None:
        """Measure every sum against new limits. Windows that are over report only when a late call touches them."""
        self._limits = limits
        for counter in self._counters.values():
            self._limit(counter)
            if counter.end > now_ns and counter.settled + counter.held >= counter.alert_at:
                self._cross(counter)

    def restore(self, recorded: Iterable[CrossingKey]) -> None:
        """These crossings were reported before."""
        self._recorded = set(recorded)

    def clear(self, horizon: int) -> None:
        """Forget all sums, to count them again; windows that began before `horizon` are left out from now on."""
        self._horizon = horizon
        self._counters.clear()
        self._release_accounts()

    def forget(self, horizon: int) -> None:
        """Drop windows that began before `horizon`."""
        self._horizon = horizon
        self._counters = {key: counter for key, counter in self._counters.items() if counter.start >= horizon}
        self._recorded = {key for key in self._recorded if key[0] >= horizon}
        self._release_accounts()

    def _release_accounts(self) -> None:
        for account in self._accounts.values():
            account.since = account.until = 0
            account.counters = ()

    def _place(self, account: Account, at_ns: int) -> None:
        zoned = [(scope, windows_at(_zone(self._limits, scope), at_ns)) for scope in account.scopes]
        account.since = max(windows.daily.start for _, windows in zoned)
        account.until = min(windows.daily.end for _, windows in zoned)
        pairs = [
            (scope, kind, window)
            for scope, windows in zoned
            for kind, window in zip(WINDOW_KINDS, windows, strict=True)
        ]
        account.counters = tuple(self._counter(*pair) for pair in pairs if pair[2].start >= self._horizon)

    def _counter(self, scope: str, kind: WindowKind, window: Window) -> Counter:
        key = (scope, kind, window.start)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = Counter(scope, kind, window)
            self._limit(counter)
        return counter

    def _limit(self, counter: Counter) -> None:
        limits = self._limits.get(counter.scope)
        counter.limit = None
        if limits is not None:
            counter.limit = limits.daily_nano_usd if counter.window == "daily" else limits.monthly_nano_usd
        counter.cap = MAX_NANO_USD if counter.limit is None else counter.limit
        counter.alert_at = self._next_alert(counter)

    def _cross(self, counter: Counter) -> None:
        for threshold in THRESHOLDS:
            if counter.settled + counter.held >= _reached_at(counter, threshold):
                self._record(counter, threshold)
        counter.alert_at = self._next_alert(counter)

    def _record(self, counter: Counter, threshold: int) -> None:
        key = _key(counter, threshold)
        if key not in self._recorded:
            self._recorded.add(key)
            self._report(counter, threshold)

    def _next_alert(self, counter: Counter) -> int:
        if counter.limit is None:
            return _NEVER
        left = [t for t in THRESHOLDS if _key(counter, t) not in self._recorded]
        return min((_reached_at(counter, threshold) for threshold in left), default=_NEVER)


def _zone(limits: Mapping[str, ScopeLimits], scope: str) -> str:
    """The time zone a scope's windows follow: its own, else that of the scope above, else UTC."""
    while scope:
        found = limits.get(scope)
        if found is not None:
            return found.time_zone
        scope = scope.rpartition("/")[0]
    return "UTC"


def _key(counter: Counter, threshold: int) -> CrossingKey:
    return (counter.start, counter.scope, counter.window, threshold, counter.cap)


def _reached_at(counter: Counter, threshold: int) -> int:
    """The smallest sum that is `threshold` percent of the limit; nothing spent reaches nothing."""
    return max(1, -(-counter.cap * threshold // 100))
