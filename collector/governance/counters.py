"""Amounts of calls → sums of days and months, for each scope above a call, with limits and alerts.

Every call is counted in the platform, its organisation, tenant and agent, by day and by month, in USD
and in tokens, limited or not, so a limit that is set later is right at once. A threshold (80, 90 and
100 % of a limit) is reported once for each scope, window, unit and limit: a changed limit is measured
anew, and going back to an old one repeats nothing. Sums are derived and never stored.

Who may add what is left to `budgets`, what a limit is to `limits`.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from collector.governance.limits import LimitBook
from collector.governance.windows import WINDOW_KINDS, Window, WindowKind, windows_at
from schemas.governance import UNITS, Mode, Unit
from schemas.ids import PLATFORM, AgentPath
from schemas.money import MAX_NANO_USD

THRESHOLDS = (80, 90, 100)
_NEVER = 2**63

CrossingKey = tuple[int, str, str, str, int, int]
"""Window start, scope, window, unit, threshold, limit."""


class Amount(NamedTuple):
    """What a call uses: nano-USD and tokens."""

    usd: int
    tokens: int


NOTHING = Amount(0, 0)


class Counter:
    """One scope in one window and unit; nano-USD or tokens. Changed only by `Counters`."""

    __slots__ = (
        "alert_at", "cap", "end", "held", "limit", "mode", "scope", "settled", "start", "unit", "window",
    )  # fmt: skip

    def __init__(self, scope: str, kind: WindowKind, unit: Unit, window: Window) -> None:
        self.scope = scope
        self.window: WindowKind = kind
        self.unit: Unit = unit
        self.start, self.end = window
        self.settled = 0
        self.held = 0
        self.limit: int | None = None
        self.mode: Mode = "enforce"
        self.cap = MAX_NANO_USD
        """What settled and held may reach through a hold: an enforced limit, or the largest amount there is."""
        self.alert_at = _NEVER
        """The sum at which the next threshold is reached."""

    @property
    def most(self) -> int:
        """The limit, in whatever mode; the largest amount there is where there is none."""
        return MAX_NANO_USD if self.limit is None else self.limit

    @property
    def remaining(self) -> int:
        """What the limit leaves; negative after an overdraw."""
        return self.most - self.settled - self.held

    @property
    def name(self) -> str:
        """How rules and entries call it: `daily.acme`, or `daily.tokens.acme`."""
        return f"{self.window}.{self.scope}" if self.unit == "usd" else f"{self.window}.{self.unit}.{self.scope}"


Counted = tuple[Counter, ...]


class Account:
    """One agent, and the counters of the windows it was last asked about, the platform's first."""

    __slots__ = ("capped", "limited", "path", "scopes", "since", "text", "tokens", "until", "usd", "warned")

    def __init__(self, path: AgentPath) -> None:
        self.path = path
        self.text = str(path)
        self.scopes = path.scopes()
        self.release()

    def release(self) -> None:
        """Forget the counters: they are looked up again."""
        self.since = self.until = 0
        self.usd: Counted = ()
        self.tokens: Counted = ()
        self.capped: tuple[Counted, Counted] = ((), ())
        """Those a hold may not take over their cap, USD and tokens: enforced, and the platform's USD in any case."""
        self.limited: Counted = ()
        """Those of either unit that have a limit."""
        self.warned: Counted = ()
        """Those of them that only warn."""


class Counters:
    """All counters and recorded crossings. `report(counter, threshold)` is told of each new crossing."""

    def __init__(self, limits: LimitBook, report: Callable[[Counter, int], None]) -> None:
        self._limits = limits
        self._report = report
        self._accounts: dict[str, Account] = {}
        self._counters: dict[tuple[str, WindowKind, Unit, int], Counter] = {}
        self._recorded: set[CrossingKey] = set()
        self._horizon = 0

    def account(self, path: AgentPath) -> Account:
        """The account of an agent."""
        text = str(path)
        account = self._accounts.get(text)
        if account is None:
            account = self._accounts[text] = Account(path)
        return account

    def place(self, account: Account, at_ns: int) -> Account:
        """The account, its counters those that an amount of that moment belongs to, forgotten windows left out."""
        if not account.since <= at_ns < account.until:
            self._place(account, at_ns)
        return account

    def add(self, account: Account, at_ns: int, settled: Amount, held: Amount) -> None:
        """Change the sums of a moment's windows; never refused."""
        self.place(account, at_ns)
        if settled[0] or held[0]:
            self._add(account.usd, settled[0], held[0])
        if settled[1] or held[1]:
            self._add(account.tokens, settled[1], held[1])

    def load(self, account: Account, at_ns: int, settled: Amount, held: Amount) -> None:
        """Add what was counted before; `measure` afterwards says what it crosses."""
        self.place(account, at_ns)
        for counters, more, set_aside in zip((account.usd, account.tokens), settled, held, strict=True):
            for counter in counters:
                counter.settled += more
                counter.held += set_aside

    def denied(self, counter: Counter) -> None:
        """A budget refused something: its 100 % is reached, whatever the sum."""
        if counter.limit is not None:
            self._record(counter, 100)
            counter.alert_at = self._next_alert(counter)

    def limited(self, scope: str | None, at_ns: int) -> Iterator[Counter]:
        """The limited windows of one scope at a moment, or of all in order of name when it is `None`."""
        known = {scope} if scope is not None else chain(self._limits.scopes(), self._accounts)
        for name in sorted(set(known)):
            windows = windows_at(self._limits.zone(name), at_ns)
            for unit in UNITS:
                for kind, window in zip(WINDOW_KINDS, windows, strict=True):
                    if self._limits.limit(name, kind, unit) is not None:
                        yield self._counter(name, kind, unit, window)

    def counted_scopes(self) -> set[str]:
        """Scopes that have sums."""
        return {scope for account in self._accounts.values() for scope in account.scopes}

    def knows(self, scope: str) -> bool:
        """Whether the governance files name this scope, or an agent of it ever asked or spent."""
        return scope in set(self._limits.scopes()) or scope in self.counted_scopes()

    def measure(self, now_ns: int) -> None:
        """Hold every sum against the limits of now. Windows that are over report only when a late call touches them."""
        for counter in self._counters.values():
            self._limit(counter)
            if counter.end > now_ns and counter.settled + counter.held >= counter.alert_at:
                self._cross(counter)
        # Which of its counters have a limit is part of an account.
        self._release_accounts()

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
            account.release()

    def _add(self, counters: Counted, settled: int, held: int) -> None:
        for counter in counters:
            counter.settled += settled
            counter.held += held
            if counter.settled + counter.held >= counter.alert_at:
                self._cross(counter)

    def _place(self, account: Account, at_ns: int) -> None:
        zoned = [(scope, windows_at(self._limits.zone(scope), at_ns)) for scope in account.scopes]
        account.since = max(windows.daily.start for _, windows in zoned)
        account.until = min(windows.daily.end for _, windows in zoned)
        pairs = [
            (scope, kind, window)
            for scope, windows in zoned
            for kind, window in zip(WINDOW_KINDS, windows, strict=True)
            if window.start >= self._horizon
        ]
        account.usd, account.tokens = (
            tuple(self._counter(scope, kind, unit, window) for scope, kind, window in pairs) for unit in UNITS
        )
        account.limited = tuple(c for c in chain(account.usd, account.tokens) if c.limit is not None)
        capped = [c for c in account.limited if c.mode == "enforce"]
        unlimited = [c for c in account.usd if c.scope == PLATFORM and c not in capped]
        account.capped = (
            tuple(c for c in [*unlimited, *capped] if c.unit == "usd"),
            tuple(c for c in capped if c.unit == "tokens"),
        )
        account.warned = tuple(c for c in account.limited if c.mode == "warn")

    def _counter(self, scope: str, kind: WindowKind, unit: Unit, window: Window) -> Counter:
        key = (scope, kind, unit, window.start)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = Counter(scope, kind, unit, window)
            self._limit(counter)
        return counter

    def _limit(self, counter: Counter) -> None:
        counter.limit = self._limits.limit(counter.scope, counter.window, counter.unit)
        counter.mode = self._limits.mode(counter.scope)
        counter.cap = counter.most if counter.mode == "enforce" else MAX_NANO_USD
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


def exhausted_at(counter: Counter, burned: int, since_ns: int, now_ns: int) -> int | None:
    """When a limit is reached if as much goes on being used as since `since_ns`; `None` when its window ends before."""
    if counter.remaining <= 0:
        return now_ns
    if burned <= 0:
        return None
    at = now_ns + counter.remaining * (now_ns - since_ns) // burned
    return at if at < counter.end else None


def _key(counter: Counter, threshold: int) -> CrossingKey:
    return (counter.start, counter.scope, counter.window, counter.unit, threshold, counter.most)


def _reached_at(counter: Counter, threshold: int) -> int:
    """The smallest sum that is `threshold` percent of the limit; nothing spent reaches nothing."""
    return max(1, -(-counter.most * threshold // 100))
