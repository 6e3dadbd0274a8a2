"""(provider, model, tier, time) → unit prices. The one place that asks genai-prices.

Invariant: a price that is not known is `None`, never zero; a known price of zero is a price.
`UnitPrices.cost_nano` is the reference every faster path must equal. Which row gets which price is
left to `rate`.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from importlib.metadata import version

import msgspec
from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from schemas.money import PICO_PER_NANO

MINUTE_NS = 60_000_000_000

# GenAI semantic-convention provider names that genai-prices does not match by itself.
PROVIDER_IDS = {
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "aws.bedrock": "aws",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "gcp.gen_ai": "google",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "x_ai": "x-ai",
}
_PRICE_KEYS = ("input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok", "output_reasoning_mtok")
_PICO_PER_USD_PER_MTOK = 1_000_000
_PICO_PER_USD_PER_THOUSAND = 1_000_000_000


class Rates(msgspec.Struct, frozen=True):
    """Exact prices of one tier: pico-USD per token of each class, and per request."""

    input: Fraction
    cache_read: Fraction
    cache_write: Fraction
    output: Fraction
    reasoning: Fraction
    request: Fraction

    def integral(self) -> bool:
        """True when 64-bit integer arithmetic on these prices is exact."""
        return all(value.denominator == 1 for value in msgspec.structs.astuple(self))


class UnitPrices(msgspec.Struct, frozen=True):
    """What one model costs at one time. `tiers` holds (more input tokens than, rates), ascending, first at -1.

    A class without a price of its own costs what the class around it costs: cached input as input,
    reasoning as output (genai-prices decomposes usage the same way).
    """

    tiers: tuple[tuple[int, Rates], ...]
    digest: str
    source: str

    def rates(self, input_tokens: int) -> Rates:
        """The rates of a call with this much input, cached included."""
        return next(rates for above, rates in reversed(self.tiers) if input_tokens > above)

    def cost_nano(
        self,
        *,
        input_tokens: int,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
        output_tokens: int = 0,
        reasoning_tokens: int = 0,
    ) -> int:
        """Cost of one call in nano-USD, rounded half to even once, at the end."""
        rates = self.rates(input_tokens)
        pico = (
            (input_tokens - cache_read_tokens - cache_write_tokens) * rates.input
            + cache_read_tokens * rates.cache_read
            + cache_write_tokens * rates.cache_write
            + (output_tokens - reasoning_tokens) * rates.output
            + reasoning_tokens * rates.reasoning
            + rates.request
        )
        return round(pico / PICO_PER_NANO)


class Listing(msgspec.Struct, frozen=True):
    """A model found in the price list, with the context (service tier) it was asked for."""

    provider: Provider
    model: ModelInfo
    context: tuple[tuple[str, str], ...]

    def timed(self) -> bool:
        """True when the price depends on when the call was made."""
        variants = self.model.price_variants if self.context else None
        return isinstance(self.model.prices, list) or any(v.constraint is not None for v in variants or ())

    def price_at(self, at_ns: int) -> ModelPrice:
        """The list's row for a call at `at_ns`. A fallback provider's model has no tiers of its own here."""
        at = datetime.fromtimestamp(at_ns // 1_000_000_000, UTC)
        own = any(self.model is model for model in self.provider.models)
        return self.model.get_prices(at, dict(self.context) if own and self.context else None)


class PriceBook:
    """genai-prices behind two questions: `find` a model, `lookup` its unit prices.

    Caches grow with the distinct (provider, model, tier) seen and are bounded, because model names
    come from outside. Owned by one thread.
    """

    max_cached = 10_000

    def __init__(self, snapshot: DataSnapshot | None = None) -> None:
        self._snapshot = snapshot or get_snapshot()
        self.source = f"genai-prices {version('genai-prices')}"
        self._listings: dict[tuple[str, str, str], Listing | None] = {}
        self._prices: dict[tuple[str, str, str, int], UnitPrices] = {}

    def find(self, provider: str, model: str, tier: str = "") -> Listing | None:
        """The price list's entry for a model as telemetry names it, or `None`."""
        key = (provider, model, tier)
        if key not in self._listings:
            if len(self._listings) >= self.max_cached:
                self._listings.clear()
            self._listings[key] = self._find(provider, model, tier)
        return self._listings[key]

    def lookup(self, provider: str, model: str, at_ns: int, tier: str = "") -> UnitPrices | None:
        """Unit prices of a call made at `at_ns` (Unix ns), or `None` when the list has no price for it."""
        listing = self.find(provider, model, tier)
        if listing is None:
            return None
        key = (provider, model, tier, at_ns // MINUTE_NS if listing.timed() else 0)
        if key not in self._prices:
            if len(self._prices) >= self.max_cached:
                self._prices.clear()
            self._prices[key] = _unit_prices(listing, listing.price_at(at_ns), self.source)
        return self._prices[key]

    def _find(self, provider: str, model: str, tier: str) -> Listing | None:
        if not model:
            return None
        for provider_id in _provider_candidates(provider):
            try:
                found, info = self._snapshot.find_provider_model(model, None, provider_id, None)
            except LookupError:
                continue
            return Listing(found, info, (("service_tier", tier),) if tier else ())
        return None


def _provider_candidates(provider: str) -> Iterator[str | None]:
    """The provider as named, then whoever the model's own name points to."""
    if provider:
        yield PROVIDER_IDS.get(provider, provider)
    yield None


def _unit_prices(listing: Listing, price: ModelPrice, source: str) -> UnitPrices:
    values = [getattr(price, key) for key in _PRICE_KEYS]
    starts = sorted({tier.start for value in values if isinstance(value, TieredPrices) for tier in value.tiers})
    requests = price.requests_kcount
    per_request = Fraction(requests) * _PICO_PER_USD_PER_THOUSAND if isinstance(requests, Decimal) else Fraction(0)
    tiers = tuple((above, _rates([_at(value, above) for value in values], per_request)) for above in [-1, *starts])
    text = f"{listing.provider.id}/{listing.model.id}" + "".join(
        f"|{above}:" + ",".join(str(part) for part in msgspec.structs.astuple(rates)) for above, rates in tiers
    )
    return UnitPrices(tiers, hashlib.sha256(text.encode()).hexdigest()[:16], source)


def _at(price: Decimal | TieredPrices | None, above: int) -> Decimal | None:
    """The price that holds for input just over `above` (genai-prices: the highest tier whose start is exceeded)."""
    if not isinstance(price, TieredPrices):
        return price
    return next((tier.price for tier in reversed(price.tiers) if above >= tier.start), price.base)


def _rates(prices: list[Decimal | None], per_request: Fraction) -> Rates:
    input_, cache_read, cache_write, output, reasoning = (
        None if price is None else Fraction(price) * _PICO_PER_USD_PER_MTOK for price in prices
    )
    whole_input, whole_output = input_ or Fraction(0), output or Fraction(0)
    return Rates(
        input=whole_input,
        cache_read=whole_input if cache_read is None else cache_read,
        cache_write=whole_input if cache_write is None else cache_write,
        output=whole_output,
        reasoning=whole_output if reasoning is None else reasoning,
        request=per_request,
    )
