"""Governance files, the default budget and increases → the limit of each scope's window now.

An agent without limits of its own has those of `processors.budgets.default_budget`, if that names
amounts. An increase adds to a limit that exists, for as long as it lasts. Pure but for what was set;
what the limits are held against is left to `counters`.
"""

from collections.abc import Iterable, Mapping

import msgspec

from collector.state.rows import Increase
from schemas.errors import ConfigError, Permanent
from schemas.governance import UNITS, Limit, Mode, ScopeLimits, Unit
from schemas.ids import PLATFORM
from schemas.money import MAX_NANO_USD, parse_usd

_AGENT_PARTS = 3
_NEVER = 2**63

Limits = Mapping[str, ScopeLimits]


class DefaultLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of each agent that has none of its own, as in `budgets:` of its file."""

    daily: Limit | None = None
    monthly: Limit | None = None

    def resolved(self) -> ScopeLimits:
        """In nano-USD and tokens; raises `ConfigError` for what is not an amount."""
        daily, monthly = self.daily or Limit(), self.monthly or Limit()
        return ScopeLimits("", "", _nano(daily), _nano(monthly), daily.tokens, monthly.tokens)


class LimitBook:
    """What limits each scope. Owned by `Budgets`."""

    def __init__(self, default: ScopeLimits) -> None:
        self._default = default
        self._limits: Limits = {}
        self._increases: dict[str, Increase] = {}
        self._raised: dict[tuple[str, str, Unit], int] = {}
        self.raised_until = _NEVER
        """When the first increase ends."""

    def set_limits(self, limits: Limits) -> None:
        """These are the governance files' from now on."""
        self._limits = limits

    def scopes(self) -> Iterable[str]:
        """Every scope the files know."""
        return self._limits.keys()

    def limit(self, scope: str, window: str, unit: Unit) -> int | None:
        """The limit of a window, increases included; `None` without one."""
        base = self.base(scope, window, unit)
        if base is None or not self._raised:
            return base
        return min(MAX_NANO_USD, base + self._raised.get((scope, window, unit), 0))

    def base(self, scope: str, window: str, unit: Unit) -> int | None:
        """The limit of a window without increases."""
        own = self._limits.get(scope)
        if own is not None and own.limited:
            return own.limit(window, unit)
        return self._default.limit(window, unit) if scope.count("/") == _AGENT_PARTS - 1 else None

    def mode(self, scope: str) -> Mode:
        """What a limit of this scope does."""
        nearest = _nearest(self._limits, scope)
        return "enforce" if nearest is None else nearest.mode

    def zone(self, scope: str) -> str:
        """The time zone a scope's windows follow: its own, else that of the scope above, else UTC."""
        return _zone(self._limits, scope)

    def moves_windows(self, limits: Limits, scopes: Iterable[str]) -> bool:
        """True when these limits put one of the scopes into another time zone."""
        return any(_zone(limits, scope) != _zone(self._limits, scope) for scope in scopes)

    # Increases -----------------------------------------------------------------------------------

    def increases(self) -> list[Increase]:
        """Those in force, oldest first."""
        return list(self._increases.values())

    def add(self, increase: Increase) -> None:
        """Raise a limit."""
        self._increases[increase.id] = increase
        self._sum_up()

    def end_until(self, now_ns: int) -> list[Increase]:
        """Take back the increases whose time is over; returns them."""
        ended = [increase for increase in self._increases.values() if increase.until <= now_ns]
        for increase in ended:
            del self._increases[increase.id]
        self._sum_up()
        return ended

    def _sum_up(self) -> None:
        self._raised = {}
        self.raised_until = min((increase.until for increase in self._increases.values()), default=_NEVER)
        for increase in self._increases.values():
            for unit, more in zip(UNITS, (increase.usd, increase.tokens), strict=True):
                key = (increase.scope, increase.window, unit)
                self._raised[key] = self._raised.get(key, 0) + more


def governance_file(scope: str) -> str:
    """The file that holds a scope's limits, as the operator sees it."""
    org, *below = scope.split("/")
    match below:
        case []:
            return "governance/platform.yaml" if org == PLATFORM else f"governance/{org}/org.yaml"
        case [tenant]:
            return f"governance/{org}/{tenant}/tenant.yaml"
        case _:
            return f"governance/{org}/{below[0]}/agents/{below[-1]}.yaml"


def _nearest(limits: Limits, scope: str) -> ScopeLimits | None:
    """What the files say of a scope, or of the nearest one above it that they know."""
    while scope:
        found = limits.get(scope)
        if found is not None:
            return found
        scope = scope.rpartition("/")[0]
    return limits.get(PLATFORM)


def _zone(limits: Limits, scope: str) -> str:
    nearest = _nearest(limits, scope)
    return "UTC" if nearest is None else nearest.time_zone


def _nano(limit: Limit) -> int | None:
    try:
        return None if limit.usd is None else parse_usd(limit.usd)
    except Permanent as error:
        raise ConfigError(f"processors.budgets.default_budget: {error.what}", fix=error.fix) from None
