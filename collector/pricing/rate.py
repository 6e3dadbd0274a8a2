"""Columns of calls → columns of cost. Vectorised; equals `UnitPrices.cost_nano` row by row.

Distinct (provider, model, tier, region, price period) are looked up once a slab; the arithmetic is
64-bit integers in pico-USD, rounded once. Invariant: a row without a known price has a null cost.
"""

from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.columns import numpy_of
from collector.pricing.book import MINUTE_NS, PriceBook
from collector.pricing.overlay import Asked
from collector.pricing.unit_prices import CLASSES, Rates, Tokens, UnitPrices, rates
from schemas.money import PICO_PER_NANO

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# A call above this is not believed: it could overflow 64-bit pico-USD, and no model takes it.
MAX_TOKENS = 1_000_000_000
_NO_RATES = rates({})


class Columns(NamedTuple):
    """Token classes as in the ledger and in `unit_prices.Tokens`, one element a call."""

    input: Ints
    cache_read: Ints
    cache_write: Ints
    cache_write_1h: Ints
    input_audio: Ints
    output: Ints
    reasoning: Ints
    output_audio: Ints


class Calls(NamedTuple):
    """What pricing needs of metered calls, one element a call; names are canonical."""

    provider: pa.Array
    model: pa.Array
    tier: pa.Array
    region: pa.Array
    time_ns: Ints
    tokens: Columns


class Priced(NamedTuple):
    """Cost and its provenance, aligned with the calls; `known` is false where the rest means nothing."""

    known: Bools
    cost_nano_usd: Ints
    input_price: Ints
    cache_read_price: Ints
    cache_write_price: Ints
    cache_write_1h_price: Ints
    output_price: Ints
    digest: pa.Array
    source: pa.Array


def taken(calls: Calls, where: Bools) -> Calls:
    """Some of the calls."""
    mask = pa.array(where)
    return Calls(
        calls.provider.filter(mask),
        calls.model.filter(mask),
        calls.tier.filter(mask),
        calls.region.filter(mask),
        calls.time_ns[where],
        Columns(*(column[where] for column in calls.tokens)),
    )


def rate(calls: Calls, book: PriceBook) -> Priced:
    """Price every call of a slab at its own time."""
    group, prices = _lookup(calls, book)
    return _at(calls.tokens, group, prices)


def rate_at(tokens: Columns, prices: UnitPrices) -> Priced:
    """Price every call at the same prices."""
    return _at(tokens, np.zeros(len(tokens.input), np.int64), [prices])


def _at(tokens: Columns, group: Ints, prices: list[UnitPrices | None] | list[UnitPrices]) -> Priced:
    known = np.array([price is not None for price in prices] or [False], np.bool_)[group]
    table, first_row, tier_count, exact = _table(prices)
    row = first_row[group]
    for step in range(1, int(tier_count.max(initial=1))):
        candidate = first_row[group] + step
        applies = (step < tier_count[group]) & (tokens.input > table[np.minimum(candidate, len(table) - 1), 0])
        row = np.where(applies, candidate, row)
    unit = {name: table[row, number] for number, name in enumerate(CLASSES, 1)}
    cost = _cost(tokens, unit)
    for index in np.flatnonzero(known & ~exact[group]):
        cost[index] = _exact_cost(tokens, int(index), prices[group[index]])

    def text(values: list[str | None]) -> pa.Array:
        return pa.array(values or [None], pa.string()).take(pa.array(group))

    return Priced(
        known,
        cost,
        unit["input"],
        unit["cache_read"],
        unit["cache_write"],
        unit["cache_write_1h"],
        unit["output"],
        digest=text([price.digest if price else None for price in prices]),
        source=text([price.source if price else None for price in prices]),
    )


def _lookup(calls: Calls, book: PriceBook) -> tuple[Ints, list[UnitPrices | None]]:
    """Index of each call's price, and the prices. Each distinct price is asked for at its first call's time."""
    which, asked = _asked(calls)
    plans = [book.plan(each) for each in asked]
    timed = np.array([plan.timed() for plan in plans], np.bool_)
    period = np.zeros(len(which), np.int64)
    for number, plan in enumerate(plans):
        if plan.changes:
            mine = which == number
            period[mine] = np.searchsorted(np.array(plan.changes, np.int64), calls.time_ns[mine], side="right")
    minute = np.where(timed[which], calls.time_ns // MINUTE_NS, 0) if len(which) else period
    most = int(period.max(initial=0)) + 1
    group, keys = _distinct((minute * len(asked) + which) * most + period)
    first = np.zeros(len(keys), np.int64)
    first[group[::-1]] = np.arange(len(group))[::-1]
    return group, [book.lookup(asked[which[at]], int(calls.time_ns[at])) for at in first]


def _asked(calls: Calls) -> tuple[Ints, list[Asked]]:
    """Index of each call's kind, and the kinds."""
    columns = (calls.provider, calls.model, calls.tier, calls.region)
    codes, names = zip(*(_codes(column) for column in columns), strict=True)
    key = np.zeros(len(calls.time_ns), np.int64)
    for code, name in zip(codes, names, strict=True):
        # Kept dense on the way: the product of four dictionaries need not fit.
        key, _ = _distinct(key * len(name) + code)
    which, kinds = _distinct(key)
    first = np.zeros(len(kinds), np.int64)
    first[which[::-1]] = np.arange(len(which))[::-1]
    return which, [Asked(*(name[code[at]] for code, name in zip(codes, names, strict=True))) for at in first]


def _distinct(values: Ints) -> tuple[Ints, list[int]]:
    """For each value the index of its like among the distinct ones, and those; by hashing, not by sorting."""
    encoded = pc.dictionary_encode(pa.array(values))
    return numpy_of(encoded.indices).astype(np.int64), encoded.dictionary.to_pylist()


def _codes(column: pa.Array) -> tuple[Ints, list[str]]:
    encoded = pc.dictionary_encode(pc.fill_null(column, ""))
    return numpy_of(encoded.indices).astype(np.int64), encoded.dictionary.to_pylist() or [""]


def _table(prices: list[UnitPrices | None] | list[UnitPrices]) -> tuple[Ints, Ints, Ints, Bools]:
    """Tiers of all prices as rows (above, then a price for each of `CLASSES`)."""
    rows: list[tuple[int, ...]] = []
    first, count, exact = [], [], []
    for price in prices:
        tiers = price.tiers if price else ((-1, _NO_RATES),)
        first.append(len(rows))
        count.append(len(tiers))
        exact.append(all(each.integral() for _, each in tiers))
        rows.extend((above, *_rounded(each)) for above, each in tiers)
    table = np.array(rows or [(-1, *_rounded(_NO_RATES))], np.int64)
    return table, np.array(first, np.int64), np.array(count, np.int64), np.array(exact, np.bool_)


def _rounded(each: Rates) -> tuple[int, ...]:
    return tuple(round(value) for value in msgspec.structs.astuple(each))


def _cost(tokens: Columns, unit: dict[str, Ints]) -> Ints:
    """`Rates.cost_pico` over columns, rounded."""
    cached = tokens.cache_read + tokens.cache_write
    overlap = np.maximum(0, cached + tokens.input_audio - tokens.input)
    audio = tokens.input_audio - overlap
    cached_audio = np.minimum(overlap, tokens.cache_read)
    reasoning = np.minimum(tokens.reasoning, tokens.output - tokens.output_audio)
    pico = (
        (tokens.input - cached - audio) * unit["input"]
        + (tokens.cache_read - cached_audio) * unit["cache_read"]
        + (tokens.cache_write - tokens.cache_write_1h) * unit["cache_write"]
        + tokens.cache_write_1h * unit["cache_write_1h"]
        + audio * unit["input_audio"]
        + cached_audio * unit["cached_audio"]
        + (tokens.output - reasoning - tokens.output_audio) * unit["output"]
        + reasoning * unit["reasoning"]
        + tokens.output_audio * unit["output_audio"]
        + unit["request"]
    )
    whole, rest = np.divmod(pico, PICO_PER_NANO)
    half = PICO_PER_NANO // 2
    nano: Ints = whole + ((rest > half) | ((rest == half) & (whole & 1 == 1)))
    return nano


def _exact_cost(tokens: Columns, index: int, price: UnitPrices | None) -> int:
    """A published price with more decimals than a pico-USD per token (28 rows of the list) is priced one by one."""
    assert price is not None
    return price.cost_nano(Tokens(*(int(column[index]) for column in tokens)))
