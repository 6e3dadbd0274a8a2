"""Normalised rows → the same rows with cost columns.

Only metered calls are priced. Invariant: cost is null unless both the usage and the price are known;
an unknown price is a finding.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.pricing.book import PriceBook
from collector.pricing.rate import Calls, Priced, rate
from collector.processors.normalise import mark

UNKNOWN_PRICE = "unknown_price"
_UNIT_PRICES = ("input_price", "cache_read_price", "cache_write_price", "output_price")


def price(rows: pa.Table, book: PriceBook) -> pa.Table:
    """Add cost_nano_usd, unit prices, pricing_basis, price_source and price_digest to every row."""
    metered = pc.fill_null(rows["metered"], False).combine_chunks()
    where = np.flatnonzero(metered.to_numpy(zero_copy_only=False))
    calls = rows.take(pa.array(where))
    priced = _rate(calls, "model", book)
    # Some gateways answer with a model name of their own; what was asked for is then the better guess.
    if not priced.known.all():
        again = np.flatnonzero(~priced.known)
        priced = _filled(priced, again, _rate(calls.take(pa.array(again)), "request_model", book))
    row_of_call = np.full(len(rows), -1, np.int64)
    row_of_call[where] = np.arange(len(where))
    back = pa.array(row_of_call, mask=row_of_call < 0)
    unknown = ~priced.known
    columns = {"cost_nano_usd": priced.cost_nano_usd, **{name: getattr(priced, name) for name in _UNIT_PRICES}}
    for name, values in columns.items():
        rows = rows.append_column(name, pa.array(values, pa.int64(), mask=unknown).take(back))
    basis = pa.array(np.where(unknown, "unknown", "exact"), pa.string())
    rows = rows.append_column("pricing_basis", basis.take(back))
    source = pa.array(np.full(len(where), priced.source), pa.string(), mask=unknown)
    rows = rows.append_column("price_source", source.take(back))
    rows = rows.append_column("price_digest", priced.digest.take(back))
    if unknown.any():
        missing = np.zeros(len(rows), np.bool_)
        missing[where[unknown]] = True
        rows = mark(rows, missing, UNKNOWN_PRICE)
    return rows


def _rate(calls: pa.Table, model_column: str, book: PriceBook) -> Priced:
    def tokens(name: str) -> npt.NDArray[np.int64]:
        counts: npt.NDArray[np.int64] = pc.fill_null(calls[name], 0).combine_chunks().to_numpy(zero_copy_only=False)
        return counts.astype(np.int64)

    return rate(
        Calls(
            provider=calls["provider"].combine_chunks(),
            model=calls[model_column].combine_chunks(),
            tier=calls["service_tier"].combine_chunks(),
            time_ns=tokens("event_time"),
            input_tokens=tokens("input_tokens"),
            cache_read_tokens=tokens("cache_read_tokens"),
            cache_write_tokens=tokens("cache_write_tokens"),
            output_tokens=tokens("output_tokens"),
            reasoning_tokens=tokens("reasoning_tokens"),
        ),
        book,
    )


def _filled(priced: Priced, where: npt.NDArray[np.int64], found: Priced) -> Priced:
    """The second prices where the first were unknown."""
    source = np.arange(len(priced.known))
    source[where] = len(source) + np.arange(len(where))
    digest = pa.concat_arrays([priced.digest, found.digest]).take(pa.array(source))
    numbers: dict[str, Any] = {
        name: np.concatenate([getattr(priced, name), getattr(found, name)])[source]
        for name in ("known", "cost_nano_usd", *_UNIT_PRICES)
    }
    return priced._replace(digest=digest, **numbers)
