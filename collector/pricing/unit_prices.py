"""Unit prices and the tokens of a call → what the call costs.

`UnitPrices.cost_nano` is the reference every faster path must equal: exact fractions, rounded half to
even once, at the end. Where unit prices come from is left to `book`.
"""

import hashlib
from fractions import Fraction
from typing import NamedTuple

import msgspec

from schemas.money import PICO_PER_NANO, parse_usd

_TOKEN_RATE_BELOW = 2**31
_REQUEST_RATE_BELOW = 2**61
_TOKENS_PER_PRICE = 1_000_000


class Tokens(NamedTuple):
    """The tokens of one call, classes as in the ledger: input holds cache and audio, output holds reasoning."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    input_audio: int = 0
    output: int = 0
    reasoning: int = 0
    output_audio: int = 0


class Rates(msgspec.Struct, frozen=True):
    """Exact prices of one tier: pico-USD per token of each class, and per request."""

    input: Fraction
    cache_read: Fraction
    cache_write: Fraction
    cache_write_1h: Fraction
    input_audio: Fraction
    cached_audio: Fraction
    output: Fraction
    reasoning: Fraction
    output_audio: Fraction
    request: Fraction

    def integral(self) -> bool:
        """True when 64-bit integer arithmetic on these prices is exact for every call that is believed."""
        *per_token, request = msgspec.structs.astuple(self)
        whole = all(rate.denominator == 1 and rate < _TOKEN_RATE_BELOW for rate in per_token)
        return whole and request.denominator == 1 and request < _REQUEST_RATE_BELOW

    def times(self, factor: Fraction) -> "Rates":
        """Every price multiplied, exactly."""
        return Rates(*(rate * factor for rate in msgspec.structs.astuple(self)))

    def cost_pico(self, tokens: Tokens) -> Fraction:
        """Exact cost in pico-USD.

        Telemetry does not say how much of the audio was cached, nor whether reasoning was spoken. They
        are taken apart as far as the counts allow; audio that cannot be fresh was read from the cache.
        """
        cached = tokens.cache_read + tokens.cache_write
        overlap = max(0, cached + tokens.input_audio - tokens.input)
        audio = tokens.input_audio - overlap
        cached_audio = min(overlap, tokens.cache_read)
        reasoning = min(tokens.reasoning, tokens.output - tokens.output_audio)
        return (
            (tokens.input - cached - audio) * self.input
            + (tokens.cache_read - cached_audio) * self.cache_read
            + (tokens.cache_write - tokens.cache_write_1h) * self.cache_write
            + tokens.cache_write_1h * self.cache_write_1h
            + audio * self.input_audio
            + cached_audio * self.cached_audio
            + (tokens.output - reasoning - tokens.output_audio) * self.output
            + reasoning * self.reasoning
            + tokens.output_audio * self.output_audio
            + self.request
        )


CLASSES = Rates.__struct_fields__
"""The classes that have a price, in the order of `Rates`."""

# A class without a price of its own costs what the class around it costs (genai-prices decomposes
# usage the same way); of two nested ones the outer comes first. Cached audio is within two classes.
AROUND = {
    "cache_read": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "input_audio": "input",
    "cached_audio": "cache_read",
    "reasoning": "output",
    "output_audio": "output",
}


def rates(known: dict[str, Fraction | None]) -> Rates:
    """Rates from the prices that are known; a request without a price costs nothing."""
    prices = {name: known.get(name) for name in CLASSES}
    if prices["cached_audio"] is None and prices["cache_read"] is None:
        prices["cached_audio"] = prices["input_audio"]
    for name in CLASSES:
        if prices[name] is None:
            prices[name] = prices[AROUND[name]] if name in AROUND else Fraction(0)
    return Rates(**{name: price or Fraction(0) for name, price in prices.items()})


class UnitPrices(msgspec.Struct, frozen=True):
    """What one model costs at one time. `tiers` holds (more input tokens than, rates), ascending, first at -1."""

    tiers: tuple[tuple[int, Rates], ...]
    digest: str
    """SHA-256 over the rows of the list and of the overlay that made it, first 16 hex digits."""
    source: str
    """Where the price is known from, for a person."""

    def rates(self, input_tokens: int) -> Rates:
        """The rates of a call with this much input, cached included."""
        return next(rates for above, rates in reversed(self.tiers) if input_tokens > above)

    def cost_nano(self, tokens: Tokens) -> int:
        """Cost of one call in nano-USD, rounded half to even once, at the end."""
        return round(self.rates(tokens.input).cost_pico(tokens) / PICO_PER_NANO)


def digest_of(text: str) -> str:
    """The digest of a price's provenance."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def per_token(usd_per_million: str) -> Fraction:
    """pico-USD per token from USD per million tokens; raises `Permanent` if it is not an exact amount."""
    return Fraction(parse_usd(usd_per_million) * PICO_PER_NANO, _TOKENS_PER_PRICE)


def flat(input_usd: str, output_usd: str, *, source: str) -> UnitPrices:
    """One price for all input and one for all output, USD per million tokens; raises `Permanent`."""
    return UnitPrices(
        ((-1, rates({"input": per_token(input_usd), "output": per_token(output_usd)})),),
        digest_of(f"{source}|{input_usd}|{output_usd}"),
        source,
    )
