"""(provider, model, tier, region, time) → unit prices. The one place that asks genai-prices.

A price is the list's, with a dated overlay over it (`overlay`). Invariant: a price that is not known
is `None`, never zero; a known price of zero is a price. Every price holds for a whole period, so one
lookup serves all calls in it. Which row of a table gets which price is left to `rate`.
"""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from importlib.metadata import version
from typing import NamedTuple

import msgspec
from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from collector.pricing.config import Settings
from collector.pricing.hosts import GLOBAL
from collector.pricing.names import BEDROCK, Names
from collector.pricing.overlay import Asked, Overlay, Term, changes, holding
from collector.pricing.spellings import canonical, price_list_id, semconv
from collector.pricing.unit_prices import Rates, UnitPrices, digest_of, rates

MINUTE_NS = 60_000_000_000

# Our class → the price list's key.
_PRICE_KEYS = {
    "input": "input_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "input_audio": "input_audio_mtok",
    "cached_audio": "cache_audio_read_mtok",
    "output": "output_mtok",
    "reasoning": "output_reasoning_mtok",
    "output_audio": "output_audio_mtok",
}
_PICO_PER_USD_PER_MTOK = 1_000_000
_PICO_PER_USD_PER_THOUSAND = 1_000_000_000

Known = dict[str, Fraction | None]
"""Price class → pico-USD, where it is known."""


class Listing(msgspec.Struct, frozen=True):
    """A model found in the price list, with the context (tier, batch) it was asked for."""

    provider: Provider
    model: ModelInfo
    context: tuple[tuple[str, str], ...]

    def timed(self) -> bool:
        """True when the price depends on when the call was made; then it holds for whole minutes."""
        variants = self.model.price_variants if self.context else None
        return isinstance(self.model.prices, list) or any(v.constraint is not None for v in variants or ())

    def price_at(self, at_ns: int) -> ModelPrice:
        """The list's row for a call at `at_ns`. A fallback provider's model has no tiers of its own here."""
        at = datetime.fromtimestamp(at_ns // 1_000_000_000, UTC)
        own = any(self.model is model for model in self.provider.models)
        return self.model.get_prices(at, dict(self.context) if own and self.context else None)


class Plan(NamedTuple):
    """Where the prices of one kind of call come from, and when they change (Unix ns)."""

    listing: Listing | None
    terms: tuple[Term, ...]
    changes: tuple[int, ...]

    def timed(self) -> bool:
        """True when the list's own price depends on the time."""
        return self.listing is not None and self.listing.timed()

    def period(self, at_ns: int) -> tuple[int, int]:
        """Equal for two times only if the same prices hold at both."""
        return bisect_right(self.changes, at_ns), at_ns // MINUTE_NS if self.timed() else 0


class PriceBook:
    """The prices of one configuration, behind two questions: `plan` a kind of call, `lookup` its unit prices.

    `fallback` is what an unknown model is costed at, `None` where it stays unknown; `names` are the
    names the book is asked in. Caches are bounded, because model names come from outside. Owned by
    one thread. Raises `ConfigError` when rows of the overlay contradict each other.
    """

    max_cached = 10_000

    def __init__(
        self,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        *,
        fallback: UnitPrices | None = None,
        snapshot: DataSnapshot | None = None,
    ) -> None:
        self._snapshot = snapshot or get_snapshot()
        self.providers = frozenset(provider.id for provider in self._snapshot.providers)
        self._overlay = Overlay(settings.rows, self.providers)
        self.settings = settings
        self.fallback = fallback
        self.names = Names(settings.deployments, self._snapshot)
        self.list_only = self if not settings.rows else PriceBook(snapshot=self._snapshot)
        """The price list without an overlay: what emitters that state a cost know."""
        self.source = f"genai-prices {version('genai-prices')}"
        self._plans: dict[Asked, Plan] = {}
        self._prices: dict[tuple[Asked, tuple[int, int]], UnitPrices | None] = {}

    @property
    def terms(self) -> tuple[Term, ...]:
        """The overlay's rows."""
        return self._overlay.terms

    def models(self) -> Iterator[Asked]:
        """Everything the price list has, in canonical names; the list writes Bedrock's regions into the model."""
        for provider in self._snapshot.providers:
            seller = semconv(provider.id)
            for model in provider.models:
                where, dot, name = model.id.partition(".")
                if seller == BEDROCK and dot and where in (GLOBAL, "regional"):
                    yield Asked(seller, name, region=GLOBAL if where == GLOBAL else "")
                else:
                    yield Asked(seller, model.id)

    def plan(self, asked: Asked) -> Plan:
        """What is known about such calls at any time."""
        plan = self._plans.get(asked)
        if plan is None:
            if len(self._plans) >= self.max_cached:
                self._plans.clear()
            seller = canonical(asked.provider, self.providers)
            terms = self._overlay.about(asked._replace(provider=seller)) if asked.model else ()
            plan = self._plans[asked] = Plan(self._find(asked, seller), terms, changes(terms))
        return plan

    def lookup(self, asked: Asked, at_ns: int) -> UnitPrices | None:
        """Unit prices of a call made at `at_ns` (Unix ns), or `None` when there is no price for it."""
        plan = self.plan(asked)
        key = (asked, plan.period(at_ns))
        if key not in self._prices:
            if len(self._prices) >= self.max_cached:
                self._prices.clear()
            self._prices[key] = self._priced(plan, at_ns)
        return self._prices[key]

    def _find(self, asked: Asked, seller: str) -> Listing | None:
        context = _context(asked.tier)
        for provider_id in _provider_candidates(seller):
            for reference in _references(asked, seller):
                try:
                    found, info = self._snapshot.find_provider_model(reference, None, provider_id, None)
                except LookupError:
                    continue
                return Listing(found, info, context)
        return None

    def _priced(self, plan: Plan, at_ns: int) -> UnitPrices | None:
        prices, discount = holding(plan.terms, at_ns)
        tiers, text = _list_prices(plan.listing, at_ns)
        own: Known = dict(prices.prices) if prices is not None else {}
        # Neither a list without the model nor a row that names no output says that output is free.
        if not tiers and not {"input", "output"} <= own.keys():
            return None
        factor = discount.factor if discount is not None else None
        made = tuple((above, _rates(known | own, factor)) for above, known in (tiers or {-1: own}).items())
        used = [term.written.row for term in (prices, discount) if term is not None]
        text += "".join(f"|{above}:{','.join(map(str, msgspec.structs.astuple(each)))}" for above, each in made)
        text += "".join(f"|{msgspec.json.encode(row).decode()}" for row in used)
        sources = [self.source] if plan.listing is not None else []
        return UnitPrices(made, digest_of(text), " + ".join([*sources, *(row.source for row in used)]))


def _context(tier: str) -> tuple[tuple[str, str], ...]:
    """How the list names what telemetry has one word for: batch, a fast model (Anthropic's `speed`), a tier."""
    lower = tier.lower()
    if lower == "batch":
        return (("processing", "batch"),)
    if lower == "fast":
        return (("service_tier", lower), ("speed", lower))
    return (("service_tier", lower),) if lower else ()


def _provider_candidates(seller: str) -> Iterator[str | None]:
    """The provider as named, then whoever the model's own name points to."""
    if seller:
        yield price_list_id(seller)
    yield None


def _references(asked: Asked, seller: str) -> Iterator[str]:
    """The model as the list spells it: Bedrock's global and cross-region profiles have prices of their own.

    Some models are listed with a geography only; every geography then costs the same.
    """
    if not asked.model:
        return
    if seller == BEDROCK and asked.region == GLOBAL:
        yield f"{GLOBAL}.{asked.model}"
    yield asked.model
    if seller == BEDROCK:
        yield f"us.{asked.model}"


def _list_prices(listing: Listing | None, at_ns: int) -> tuple[dict[int, Known], str]:
    """What the list knows, by tier (more input tokens than), and the name of its row."""
    if listing is None:
        return {}, ""
    price = listing.price_at(at_ns)
    values = {name: getattr(price, key) for name, key in _PRICE_KEYS.items()}
    starts = {tier.start for value in values.values() if isinstance(value, TieredPrices) for tier in value.tiers}
    requests = price.requests_kcount
    per_request = Fraction(requests) * _PICO_PER_USD_PER_THOUSAND if isinstance(requests, Decimal) else None
    tiers = {
        above: {name: _at(value, above) for name, value in values.items()} | {"request": per_request}
        for above in (-1, *sorted(starts))
    }
    return tiers, f"{listing.provider.id}/{listing.model.id}"


def _at(price: Decimal | TieredPrices | None, above: int) -> Fraction | None:
    """pico-USD per token for input just over `above` (genai-prices: the highest tier whose start is exceeded)."""
    if isinstance(price, TieredPrices):
        price = next((tier.price for tier in reversed(price.tiers) if above >= tier.start), price.base)
    return None if price is None else Fraction(price) * _PICO_PER_USD_PER_MTOK


def _rates(known: Known, factor: Fraction | None) -> Rates:
    made = rates(known)
    return made if factor is None else made.times(factor)
