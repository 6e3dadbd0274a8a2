"""Settings of budgets (`processors.budgets`)."""

from typing import Literal

import msgspec

from collector.governance.limits import DefaultLimits
from schemas.errors import ConfigError, Permanent
from schemas.governance import ScopeLimits
from schemas.money import parse_usd
from schemas.quantities import Duration

_NO_LIMITS = ScopeLimits("", "")


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

    hold_size: Literal["adaptive", "worst_case"] = "adaptive"
    """What is held for a call. `worst_case`: all the tokens it may use, uncached. `adaptive`: no more than the 99th
    percentile of this agent's newest 256 settled calls of this model, once there are 30 of them; what a call costs
    beyond is recorded as overdraw. The answer's `basis` says which it was."""

    hold_ceiling: str | None = None
    """The most USD one hold takes, whatever the call may cost; what it costs beyond is recorded as overdraw."""

    span_grace: Duration = Duration("1h")
    """How long a settled or expired hold waits for its span, whose cost then replaces the amount.
    A span that comes later is counted on top."""

    clock_tolerance: Duration = Duration("5s")
    """How far an agent's clock may be behind ours when a span without a decision id looks for its hold."""

    default_budget: Literal["none", "deny"] | DefaultLimits = "none"
    """An agent that nothing limits: `none` lets it spend, and counts. `deny` refuses a call with a model cost when
    neither the agent nor a scope above it has a limit. `{daily: {usd: "5", tokens: 1000000}, monthly: …}` are the
    limits of each agent that has none of its own, whatever stands above it."""

    on_unknown_price: Literal["deny", "fallback", "allow"] = "deny"
    """What to do with a call whose model has no known price while an enforced USD budget applies: refuse it, hold
    the `fallback_price`, or let it pass without holding USD. Token budgets need no price and hold in every case."""

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

    def check(self) -> None:
        """Raise `ConfigError` for a value that is none."""
        self.default_limits()
        self.ceiling()

    def default_limits(self) -> ScopeLimits:
        """Limits of an agent without its own; raises `ConfigError` for what is not an amount."""
        return _NO_LIMITS if isinstance(self.default_budget, str) else self.default_budget.resolved()

    def ceiling(self) -> int | None:
        """`hold_ceiling` in nano-USD; raises `ConfigError` for what is not an amount."""
        try:
            return None if self.hold_ceiling is None else max(1, parse_usd(self.hold_ceiling))
        except Permanent as error:
            raise ConfigError(f"processors.budgets.hold_ceiling: {error.what}", fix=error.fix) from None
