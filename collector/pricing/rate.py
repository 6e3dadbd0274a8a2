"""Columns of calls → columns of cost. Vectorised; equals `UnitPrices.cost_nano` row by row.

Distinct (provider, model, tier, price time) are looked up once a slab; the arithmetic is 64-bit
integers in pico-USD, rounded once. Invariant: a row without a known price has a null cost.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.pricing.book import MINUTE_NS, PriceBook, Rates, UnitPrices
from schemas.money import PICO_PER_NANO

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# A call above this is not believed: it could overflow 64-bit pico-USD, and no model takes it.
MAX_TOKENS = 1_000_000_000


class Calls(NamedTuple):
    """What pricing needs of metered calls, one element a call; token classes as in the ledger."""

    provider: pa.Array
    model: pa.Array
    tier: pa.Array
    time_ns: Ints
    input_tokens: Ints
    cache_read_tokens: Ints
    cache_write_tokens: Ints
    output_tokens: Ints
    reasoning_tokens: Ints


class Priced(NamedTuple):
    """Cost and its provenance, aligned with the calls; `known` is false where the rest means nothing."""

    known: Bools
    cost_nano_usd: Ints
    input_price: Ints
    cache_read_price: Ints
    cache_write_price: Ints
    output_price: Ints
    digest: pa.Array
    source: str


def rate(calls: Calls, book: PriceBook) -> Priced:
    """Price every call of a slab at its own time."""
    count = len(calls.time_ns)
    group, prices = _lookup(calls, book)
    known = np.array([p is not None for p in prices], dtype=np.bool_)[group] if count else np.zeros(0, np.bool_)
    cost, unit = np.zeros(count, np.int64), np.zeros((count, 4), np.int64)
    table, first_row, tier_count, exact = _table(prices)
    row = first_row[group]
    for step in range(1, int(tier_count.max(initial=1))):
        candidate = first_row[group] + step
        applies = (step < tier_count[group]) & (calls.input_tokens > table[np.minimum(candidate, len(table) - 1), 0])
        row = np.where(applies, candidate, row)
    if count:
        rates = table[row]
        cost = _cost(calls, rates)
        unit = rates[:, 1:5]
        for index in np.flatnonzero(known & ~exact[group]):
            cost[index] = _exact_cost(calls, int(index), prices[group[index]])
    digest = pa.array([p.digest if p else None for p in prices] or [None], pa.string()).take(pa.array(group))
    return Priced(known, cost, unit[:, 0], unit[:, 1], unit[:, 2], unit[:, 3], digest, book.source)


def _lookup(calls: Calls, book: PriceBook) -> tuple[Ints, list[UnitPrices | None]]:
    """Index of each call's price, and the prices."""
    codes, names = zip(*(_codes(column) for column in (calls.provider, calls.model, calls.tier)), strict=True)
    key = (codes[0] * len(names[1]) + codes[1]) * len(names[2]) + codes[2]
    which, distinct = _distinct(key)
    asked = []
    for value in distinct:
        rest, tier = divmod(value, len(names[2]))
        provider, model = divmod(rest, len(names[1]))
        asked.append((names[0][provider], names[1][model], names[2][tier]))
    timed = np.array([bool(found and found.timed()) for found in (book.find(*a) for a in asked)], np.bool_)
    minute = np.where(timed[which], calls.time_ns // MINUTE_NS, 0) if len(which) else np.zeros(0, np.int64)
    group, pairs = _distinct(minute * len(asked) + which)
    prices = []
    for pair in pairs:
        at_minute, (provider_name, model_name, tier_name) = pair // len(asked), asked[pair % len(asked)]
        prices.append(book.lookup(provider_name, model_name, at_minute * MINUTE_NS, tier_name))
    return group, prices


def _distinct(values: Ints) -> tuple[Ints, list[int]]:
    """For each value the index of its like among the distinct ones, and those; by hashing, not by sorting."""
    encoded = pc.dictionary_encode(pa.array(values))
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary.to_pylist()


def _codes(column: pa.Array) -> tuple[Ints, list[str]]:
    encoded = pc.dictionary_encode(pc.fill_null(column, ""))
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary.to_pylist() or [""]


def _table(prices: list[UnitPrices | None]) -> tuple[Ints, Ints, Ints, Bools]:
    """Tiers of all prices as rows (above, input, cache read, cache write, output, reasoning, request)."""
    rows: list[tuple[int, ...]] = []
    first, count, exact = [], [], []
    for price in prices:
        tiers = price.tiers if price else ((-1, _NO_RATES),)
        first.append(len(rows))
        count.append(len(tiers))
        exact.append(all(rates.integral() for _, rates in tiers))
        rows.extend((above, *_rounded(rates)) for above, rates in tiers)
    table = np.array(rows or [(-1, 0, 0, 0, 0, 0, 0)], np.int64)
    return table, np.array(first, np.int64), np.array(count, np.int64), np.array(exact, np.bool_)


_NO_RATES = Rates(*[Fraction(0)] * 6)


def _rounded(rates: Rates) -> tuple[int, ...]:
    return tuple(
        round(value)
        for value in (rates.input, rates.cache_read, rates.cache_write, rates.output, rates.reasoning, rates.request)
    )


def _cost(calls: Calls, rates: Ints) -> Ints:
    uncached = calls.input_tokens - calls.cache_read_tokens - calls.cache_write_tokens
    pico = (
        uncached * rates[:, 1]
        + calls.cache_read_tokens * rates[:, 2]
        + calls.cache_write_tokens * rates[:, 3]
        + (calls.output_tokens - calls.reasoning_tokens) * rates[:, 4]
        + calls.reasoning_tokens * rates[:, 5]
        + rates[:, 6]
    )
    whole, rest = np.divmod(pico, PICO_PER_NANO)
    half = PICO_PER_NANO // 2
    nano: Ints = whole + ((rest > half) | ((rest == half) & (whole & 1 == 1)))
    return nano


def _exact_cost(calls: Calls, index: int, price: UnitPrices | None) -> int:
    """A published price with more decimals than a pico-USD per token (28 rows of the list) is priced one by one."""
    assert price is not None
    return price.cost_nano(
        input_tokens=int(calls.input_tokens[index]),
        cache_read_tokens=int(calls.cache_read_tokens[index]),
        cache_write_tokens=int(calls.cache_write_tokens[index]),
        output_tokens=int(calls.output_tokens[index]),
        reasoning_tokens=int(calls.reasoning_tokens[index]),
    )
