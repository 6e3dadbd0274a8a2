"""Accounted rows → the same rows with cost columns.

Priced is what is billed (`call_count` is not 0) and metered, and, if the configuration says so, an
estimate for what is billed and not metered. Invariant: cost is null unless both the usage and a price
are known; a model without a price of its own is a finding, also where a fallback price is booked.
Where an emitter says how much it wrote to the cache and not for how long, `cache_lifetime` finds out.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.columns import Bools, by_distinct, mark, numpy_of, one, replaced
from collector.pricing.book import PriceBook
from collector.pricing.rate import Calls, Columns, Priced, rate, rate_at, taken
from collector.processors.cache_lifetime import ASSUMED, split, with_split
from schemas.accounting import Rule

UNKNOWN_PRICE = "unknown_price"
_FINDINGS = (UNKNOWN_PRICE, ASSUMED)
_UNIT_PRICES = ("input_price", "cache_read_price", "cache_write_price", "cache_write_1h_price", "output_price")
_NUMBERS = ("cost_nano_usd", *_UNIT_PRICES)


def price(rows: pa.Table, book: PriceBook) -> pa.Table:
    """Add cost_nano_usd, unit prices, pricing_basis, price_source and price_digest to every row."""
    rows = _without_ours(rows)
    metered, estimated = _priced_rows(rows, book)
    where = np.flatnonzero(metered | estimated)
    billed, guessed = rows.take(pa.array(where)), estimated[where]
    calls, priced = _rated(billed, _calls(billed, guessed, book), book)
    unknown = ~priced.known
    if book.fallback is not None:
        priced = _filled(priced, np.flatnonzero(unknown), rate_at(taken(calls, unknown).tokens, book.fallback))
    found = split(billed, calls, priced, unknown | guessed, book)
    if found.where.any():
        calls = calls._replace(tokens=calls.tokens._replace(cache_write_1h=found.one_hour))
        priced = _filled(priced, np.flatnonzero(found.where), rate(taken(calls, found.where), book))
    basis = np.where(unknown, "fallback" if book.fallback else "unknown", "exact")
    basis = np.where(guessed & priced.known, "estimated", basis)
    rows = _with_columns(with_split(rows, where, found), where, priced, basis)
    rows = _marked(rows, where[unknown], UNKNOWN_PRICE)
    return _marked(rows, where[found.assumed], ASSUMED)


def _priced_rows(rows: pa.Table, book: PriceBook) -> tuple[Bools, Bools]:
    """Where a row is billed by its own usage, and where its usage is estimated."""
    billed: Bools = numpy_of(pc.fill_null(rows["call_count"], 0)) != 0
    metered = billed & numpy_of(pc.fill_null(rows["metered"], False))
    if book.settings.estimate is None:
        return metered, np.zeros(len(rows), np.bool_)
    silent = numpy_of(pc.fill_null(pc.equal(rows["accounting_rule"], Rule.NO_USAGE), False))
    return metered, billed & ~metered & silent


def _calls(rows: pa.Table, guessed: Bools, book: PriceBook) -> Calls:
    def count(name: str) -> npt.NDArray[np.int64]:
        counts: npt.NDArray[np.int64] = numpy_of(pc.fill_null(rows[name], 0))
        return counts.astype(np.int64)

    tokens = Columns(*(count(f"{name}_tokens") for name in Columns._fields))
    if book.settings.estimate is not None and guessed.any():
        kept = Columns(*(np.where(guessed, 0, column) for column in tokens))
        input_, output = book.settings.estimate
        tokens = kept._replace(input=kept.input + guessed * input_, output=kept.output + guessed * output)
    return Calls(
        one(rows["provider"]),
        one(rows["model"]),
        one(rows["service_tier"]),
        one(rows["region"]),
        count("event_time"),
        tokens,
    )


def _rated(rows: pa.Table, calls: Calls, book: PriceBook) -> tuple[Calls, Priced]:
    """Priced by the model that answered; some gateways answer with a name of their own, then by what was asked for."""
    priced = rate(calls, book)
    unknown = np.flatnonzero(~priced.known)
    if not len(unknown):
        return calls, priced
    stated = rows.select(["provider", "request_model", "server_address"]).take(pa.array(unknown)).to_pylist()
    names = [book.names.resolve(*(text or "" for text in each.values())) for each in stated]
    again = taken(calls, ~priced.known)._replace(
        provider=pa.array([name.provider for name in names], pa.string()),
        model=pa.array([name.model for name in names], pa.string()),
        region=pa.array([name.region for name in names], pa.string()),
    )
    source = _source(len(rows), unknown)
    patched = {
        name: pa.concat_arrays([getattr(calls, name), getattr(again, name)]).take(pa.array(source))
        for name in ("provider", "model", "region")
    }
    return calls._replace(**patched), _filled(priced, unknown, rate(again, book))


def _source(count: int, where: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each element is found once replacements for some are put behind all."""
    source = np.arange(count)
    source[where] = count + np.arange(len(where))
    return source


def _filled(priced: Priced, where: npt.NDArray[np.int64], found: Priced) -> Priced:
    """The second prices in the place of some of the first."""
    source = _source(len(priced.known), where)
    texts: dict[str, Any] = {
        name: pa.concat_arrays([getattr(priced, name), getattr(found, name)]).take(pa.array(source))
        for name in ("digest", "source")
    }
    numbers: dict[str, Any] = {
        name: np.concatenate([getattr(priced, name), getattr(found, name)])[source] for name in ("known", *_NUMBERS)
    }
    return priced._replace(**texts, **numbers)


def _with_columns(rows: pa.Table, where: npt.NDArray[np.int64], priced: Priced, basis: npt.NDArray[Any]) -> pa.Table:
    row_of_call = np.full(len(rows), -1, np.int64)
    row_of_call[where] = np.arange(len(where))
    back = pa.array(row_of_call, mask=row_of_call < 0)
    for name in _NUMBERS:
        values = pa.array(getattr(priced, name), pa.int64(), mask=~priced.known)
        rows = rows.append_column(name, values.take(back))
    rows = rows.append_column("pricing_basis", pa.array(basis, pa.string()).take(back))
    rows = rows.append_column("price_source", priced.source.take(back))
    return rows.append_column("price_digest", priced.digest.take(back))


def _marked(rows: pa.Table, where: npt.NDArray[np.int64], finding: str) -> pa.Table:
    told = np.zeros(len(rows), np.bool_)
    told[where] = True
    return mark(rows, told, finding)


def _without_ours(rows: pa.Table) -> pa.Table:
    """What an earlier pricing of a row found is found anew, or no longer true."""
    if not pc.any(pc.match_substring_regex(rows["findings"], "|".join(_FINDINGS))).as_py():
        return rows

    def others(text: str) -> str | None:
        return ",".join(each for each in text.split(",") if each not in _FINDINGS) or None

    return replaced(rows, "findings", by_distinct(rows["findings"], others))
