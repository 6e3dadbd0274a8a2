"""Calls that settled → how much to hold for the next one of the same agent and model.

A worst case is what a call can use at most, and most calls use far less: holding it starves a small
budget that nobody has spent. Held is the least of the worst case, the 99th percentile (nearest rank)
of the calls before, and the ceiling; what a call uses beyond is overdraw, recorded when it settles.
Invariant: bounded memory; the oldest agent and model is forgotten first.
"""

from array import array
from collections.abc import Iterable
from typing import NamedTuple

from schemas.control import HoldBasis
from schemas.ids import AgentPath

SAMPLES_MIN = 30
"""Calls of one agent and model before their percentile is used."""
SAMPLES_KEPT = 256
"""The newest calls it is taken of."""
SIZES_KEPT = 10_000
"""Agents and models that are remembered, at about 5 kB each."""
# Sorting after every call would cost more than the call's own bookkeeping.
_SORTED_EVERY = 16


class Quote(NamedTuple):
    """What a call may use at most, nano-USD and tokens, and how that was found."""

    amount: int
    tokens: int
    basis: HoldBasis
    pricing: str
    """exact, fallback or unknown, as in the ledger's `pricing_basis`."""
    digest: str

    @property
    def priced(self) -> bool:
        """Whether the amount is known."""
        return self.pricing != "unknown"


class Sample(NamedTuple):
    """One settled call."""

    org: str
    tenant: str
    agent: str
    model: str
    amount: int
    tokens: int


class _Calls:
    """The newest calls of one agent and model."""

    __slots__ = ("amounts", "at", "p99", "tokens", "unsorted")

    def __init__(self) -> None:
        self.amounts = array("q")
        self.tokens = array("q")
        self.at = 0
        self.unsorted = 0
        self.p99 = (0, 0)

    def add(self, amount: int, tokens: int) -> None:
        if len(self.amounts) < SAMPLES_KEPT:
            self.amounts.append(amount)
            self.tokens.append(tokens)
        else:
            self.amounts[self.at], self.tokens[self.at] = amount, tokens
            self.at = (self.at + 1) % SAMPLES_KEPT
        self.unsorted += 1

    def percentiles(self) -> tuple[int, int] | None:
        count = len(self.amounts)
        if count < SAMPLES_MIN:
            return None
        if self.unsorted >= _SORTED_EVERY or self.p99 == (0, 0):
            rank = -(-count * 99 // 100) - 1
            self.p99 = (sorted(self.amounts)[rank], sorted(self.tokens)[rank])
            self.unsorted = 0
        return self.p99


class Sizes:
    """What calls used, by agent and model. Owned by the loop."""

    def __init__(self, *, adaptive: bool, ceiling: int | None) -> None:
        """`ceiling` is the most nano-USD a hold takes, `None` for no such bound."""
        self._adaptive = adaptive
        self._ceiling = ceiling
        self._calls: dict[tuple[str, str], _Calls] = {}

    def restore(self, samples: Iterable[Sample]) -> None:
        """Take back what settled before the restart, oldest first."""
        for org, tenant, agent, model, amount, tokens in samples:
            self.add(str(AgentPath(org, tenant, agent)), model, amount, tokens)

    def add(self, agent: str, model: str, amount: int, tokens: int) -> None:
        """A call of this agent and model settled."""
        calls = self._calls.get((agent, model))
        if calls is None:
            if len(self._calls) >= SIZES_KEPT:
                del self._calls[next(iter(self._calls))]
            calls = self._calls[agent, model] = _Calls()
        calls.add(amount, tokens)

    def sized(self, agent: str, model: str, worst: Quote) -> Quote:
        """What to hold for a call that can use `worst` at most. A priced call is never held at nothing."""
        amount, tokens, basis = worst.amount, worst.tokens, worst.basis
        calls = self._calls.get((agent, model)) if self._adaptive else None
        usual = None if calls is None else calls.percentiles()
        if usual is not None:
            if usual[0] < amount or (not amount and usual[1] < tokens):
                basis = "p99"
            amount, tokens = min(amount, max(usual[0], 1)), min(tokens, max(usual[1], 1))
        if self._ceiling is not None and self._ceiling < amount:
            amount, basis = self._ceiling, "ceiling"
        if amount == worst.amount and tokens == worst.tokens:
            return worst
        return worst._replace(amount=amount, tokens=tokens, basis=basis)
