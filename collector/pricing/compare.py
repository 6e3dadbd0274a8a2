"""Two price books, or one at two times → what changed, class by class; and an overlay → what is odd about it.

Compared is every model of the price list and every one that a row names, with the tier and region the
row names. Prices are told in USD per million tokens (`request`: USD per request), exactly.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Literal, NamedTuple

import msgspec

from collector.pricing.book import PriceBook
from collector.pricing.overlay import Asked, Term
from collector.pricing.spellings import price_list_id
from collector.pricing.unit_prices import AROUND, CLASSES, Rates, UnitPrices

_ODD_FACTOR = 10
_PLACES = 18


class Change(NamedTuple):
    """One price that differs; `None` where the model has none. `above`: for calls with more input than this."""

    asked: Asked
    above: int
    price_class: str
    before: Fraction | None
    after: Fraction | None


class Oddity(msgspec.Struct, frozen=True):
    """Something about a row that may be meant and may not."""

    place: str
    level: Literal["warning"]
    what: str


def everything(book: PriceBook) -> tuple[Asked, ...]:
    """Every kind of call the book can tell apart by name, in the order of provider, model, tier, region."""
    kinds = set(book.models())
    for term in book.terms:
        kinds.update(_kind(term, model) for model in (*_listed(term, book), *_own_model(term)))
    return tuple(sorted(kinds))


def differences(
    kinds: Iterable[Asked], before: tuple[PriceBook, int], after: tuple[PriceBook, int]
) -> Iterator[Change]:
    """What changes from one (book, time) to the other."""
    for asked in kinds:
        old, new = before[0].lookup(asked, before[1]), after[0].lookup(asked, after[1])
        if old is not new:
            yield from _changes(asked, old, new)


def oddities(book: PriceBook) -> Iterator[Oddity]:
    """What an operator should look at in the overlay's rows."""
    for term in book.terms:
        listed = next(iter((*_own_model(term), *_listed(term, book))), term.written.row.model)
        asked = _kind(term, listed)
        prices = book.list_only.lookup(asked, term.start_ns)
        if prices is None:
            yield Oddity(term.written.place, "warning", _unlisted(term))
        else:
            yield from _far_from_list(term, asked, prices)


def usd_per_million(pico_per_token: Fraction) -> str:
    """A price per token as people write it; exact, since prices and discounts are decimals."""
    return _decimal(pico_per_token / 1_000_000)


def usd_per_request(pico: Fraction) -> str:
    """A price per request in USD."""
    return _decimal(pico / 1_000_000_000_000)


def percent(before: Fraction, after: Fraction) -> str:
    """The change in percent of what was, to one place."""
    tenths = round((after - before) * 1000 / before)
    whole, tenth = divmod(abs(tenths), 10)
    return f"{'-' if tenths < 0 else '+'}{whole}.{tenth}%"


def _kind(term: Term, model: str) -> Asked:
    row = term.written.row
    region = row.region if row.region is not None and term.region is not None and term.region.exact else ""
    return Asked(term.provider, model, row.tier or ("batch" if row.batch else ""), region)


def _changes(asked: Asked, old: UnitPrices | None, new: UnitPrices | None) -> Iterator[Change]:
    tiers = sorted({above for prices in (old, new) if prices is not None for above, _ in prices.tiers})
    for above in tiers:
        before, after = (prices.rates(above + 1) if prices is not None else None for prices in (old, new))
        for name in CLASSES:
            was, now = _both(before, after, name)
            # A class that has no price of its own changes with the one around it; that is told once.
            if was != now and (name not in AROUND or (was, now) != _both(before, after, AROUND[name])):
                yield Change(asked, above, name, was, now)


def _both(before: Rates | None, after: Rates | None, name: str) -> tuple[Fraction | None, Fraction | None]:
    return (None if before is None else getattr(before, name)), (None if after is None else getattr(after, name))


def _unlisted(term: Term) -> str:
    name = f"{term.provider}/{term.written.row.model}"
    if term.factor is not None:
        return f"The price list has no model {name}: the discount applies only to prices of this file."
    if {"input", "output"} <= term.prices.keys():
        return f"The price list has no model {name}: only this file prices it."
    return f"The price list has no model {name}, and without both input and output this row cannot price it."


def _far_from_list(term: Term, asked: Asked, listed: UnitPrices) -> Iterator[Oddity]:
    for name, price in term.prices.items():
        was = getattr(listed.rates(0), name)
        if was and not was / _ODD_FACTOR <= price <= was * _ODD_FACTOR:
            told = usd_per_request if name == "request" else usd_per_million
            what = f"{name}: {told(price)} USD is more than {_ODD_FACTOR} times {'above' if price > was else 'below'}"
            yield Oddity(term.written.place, "warning", f"{what} the list's {told(was)} for {asked.model}.")


def _listed(term: Term, book: PriceBook) -> Iterator[str]:
    """The models of the list that a row speaks of; several sellers share one list."""
    ours = price_list_id(term.provider)
    models = (each.model for each in book.models() if price_list_id(each.provider) == ours)
    return (model for model in models if term.model.matches(model))


def _own_model(term: Term) -> tuple[str, ...]:
    """The model a row names, if it names one."""
    return (term.written.row.model,) if term.model.exact else ()


def _decimal(value: Fraction) -> str:
    digits = round(value * 10**_PLACES)
    whole, rest = divmod(digits, 10**_PLACES)
    return f"{whole}.{rest:0{_PLACES}d}".rstrip("0").rstrip(".")
