"""`spanward prices`: what calls cost, whether an overlay is sound, and what a change of prices changes.

Invariant: stdout carries data only, sentences go to stderr. Exit code 0 is done (for `check`: nothing
is wrong, warnings or not), 1 is an error told in one message, 2 a command line click does not understand.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from collector.access.cli import Explained, encode, json_option, print_table
from collector.config import config_options, load, load_overlay, pricing_settings
from collector.pricing.book import PriceBook
from collector.pricing.compare import (
    Change,
    differences,
    everything,
    oddities,
    percent,
    usd_per_million,
    usd_per_request,
)
from collector.pricing.config import Settings
from collector.pricing.instants import format_instant, parse_instant
from collector.pricing.overlay import Asked
from collector.pricing.spellings import canonical
from collector.pricing.unit_prices import CLASSES, Rates, UnitPrices
from collector.processors.price_book import price_book

# Shown only where some row has a price of its own: most models have none for these.
_RARE = {"input_audio": "input", "cached_audio": "cache_read", "reasoning": "output", "output_audio": "output"}


@click.group(cls=Explained)
def prices() -> None:
    """Show, check and compare the prices calls are costed at."""


@prices.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--provider", default="", metavar="NAME", help="Who sells the model; by itself, all models it sells.")
@click.option("--tier", default="", metavar="TIER", help="Service tier, or batch.")
@click.option("--region", default="", metavar="REGION", help="Where the model runs.")
@click.option("--at", metavar="TIME", help="Time of the call, RFC 3339 or a date; default: now.")
@config_options
@json_option
def show(*, models: tuple[str, ...], at: str | None, as_json: bool, **given: object) -> None:
    """Show what a million tokens of each class cost. Also where the price is known from."""
    book = _book(given)
    at_ns = _time(at)
    provider, tier, region = (str(given[name]) for name in ("provider", "tier", "region"))
    kinds = [_named(book, provider, model) for model in models] or _sold_by(book, provider)
    wanted = (asked._replace(tier=tier or asked.tier, region=region or asked.region) for asked in kinds)
    found = [(asked, book.lookup(asked, at_ns)) for asked in wanted]
    # Some names of the list are there for its own use and match no call.
    found = [(asked, unit) for asked, unit in found if models or unit is not None]
    if as_json:
        click.echo(encode([_plain(asked, unit, at_ns) for asked, unit in found]))
    else:
        _print_prices(found)
    if unknown := [f"{asked.provider or '?'}/{asked.model}" for asked, unit in found if unit is None]:
        raise click.ClickException(f"No price is known for {', '.join(unknown)} at {format_instant(at_ns)}.")


@prices.command()
@config_options
@json_option
def check(*, as_json: bool, **given: object) -> None:
    """Check the price overlay of a configuration. Rows that contradict, end before they begin, or look odd."""
    book = _book(given)
    found = list(oddities(book))
    if as_json:
        click.echo(encode(found))
    elif found:
        print_table([("WHERE", "LEVEL", "WHAT"), *((each.place, each.level, each.what) for each in found)])
    rows = len(book.settings.rows)
    click.echo(f"{rows} rows, none in contradiction; {len(found)} warnings.", err=True)


@prices.command()
@click.argument("overlays", nargs=-1, metavar="[OLD NEW]", type=click.Path(path_type=Path))
@click.option("--from", "from_", metavar="TIME", help="Compare the prices of this time …")
@click.option("--to", metavar="TIME", help="… with those of this time; default: now.")
@click.option("--at", metavar="TIME", help="Time at which two overlay files are compared; default: now.")
@config_options
@json_option
def diff(*, overlays: tuple[Path, ...], as_json: bool, **given: str | None) -> None:
    """Say which prices differ between two times or overlays."""
    if len(overlays) == 2 and given["from_"] is None and given["to"] is None:
        old, new = (PriceBook(Settings(rows=load_overlay(path))) for path in overlays)
        at_ns = _time(given["at"])
        before, after = (old, at_ns), (new, at_ns)
    elif not overlays and given["from_"] is not None and given["at"] is None:
        book = _book(given)
        before, after = (book, _time(given["from_"])), (book, _time(given["to"]))
    else:
        raise click.UsageError("Say what to compare: two overlay files (and --at), or --from TIME and --to TIME.")
    kinds = sorted({*everything(before[0]), *everything(after[0])})
    found = list(differences(kinds, before, after))
    if as_json:
        click.echo(encode([_plain_change(change) for change in found]))
    elif found:
        _print_changes(found)
    models = len({(change.asked.provider, change.asked.model) for change in found})
    click.echo(f"{len(found)} prices of {models} models differ.", err=True)


def _book(given: dict[str, object] | dict[str, str | None]) -> PriceBook:
    path, overrides = given["config_path"], given["overrides"]
    assert path is None or isinstance(path, Path)
    assert isinstance(overrides, tuple)
    config = load(path, overrides)
    return price_book(pricing_settings(config), config.processors.budgets)


def _named(book: PriceBook, provider: str, model: str) -> Asked:
    name = book.names.resolve(provider, model)
    return Asked(name.provider, name.model, region=name.region)


def _sold_by(book: PriceBook, provider: str) -> list[Asked]:
    seller = canonical(provider, book.providers)
    return [asked for asked in everything(book) if not provider or asked.provider == seller]


def _time(text: str | None) -> int:
    return time.time_ns() if text is None else parse_instant(text)


def _told(name: str, rate: int | object) -> str:
    from_rate = usd_per_request if name == "request" else usd_per_million
    return from_rate(rate)  # type: ignore[arg-type]


def _plain(asked: Asked, unit: UnitPrices | None, at_ns: int) -> dict[str, object]:
    tiers = [
        {"input_above": max(above, 0), "usd_per_million": {name: _told(name, getattr(rates, name)) for name in CLASSES}}
        for above, rates in (unit.tiers if unit else ())
    ]
    known = {"source": unit.source, "digest": unit.digest} if unit else {"source": None, "digest": None}
    return {**asked._asdict(), "at": format_instant(at_ns), **known, "tiers": tiers}


def _plain_change(change: Change) -> dict[str, object]:
    before, after = (None if p is None else _told(change.price_class, p) for p in (change.before, change.after))
    what = {"class": change.price_class, "input_above": max(change.above, 0), "before": before, "after": after}
    return {**change.asked._asdict(), **what}


def _print_prices(found: Sequence[tuple[Asked, UnitPrices | None]]) -> None:
    priced = [rates for _, unit in found if unit is not None for _, rates in unit.tiers]
    shown = [name for name in CLASSES if _speaks(name, priced)]
    heads = [name.replace("_", " ").upper() for name in shown]
    lines: list[Sequence[str]] = [("PROVIDER", "MODEL", "REGION", "TIER", "INPUT ABOVE", *heads, "SOURCE")]
    for asked, unit in found:
        names = (asked.provider or "-", asked.model, asked.region or "-", asked.tier or "-")
        if unit is None:
            lines.append((*names, "-", *("-" for _ in shown), "no price is known"))
            continue
        for above, rates in unit.tiers:
            costs = (_told(name, getattr(rates, name)) for name in shown)
            lines.append((*names, str(max(above, 0)), *costs, unit.source))
    print_table(lines, right=range(4, 5 + len(shown)))
    click.echo("USD per million tokens; request in USD per call.", err=True)


def _speaks(name: str, priced: Iterable[Rates]) -> bool:
    if name == "request":
        return any(rates.request for rates in priced)
    return name not in _RARE or any(getattr(rates, name) != getattr(rates, _RARE[name]) for rates in priced)


def _print_changes(found: Iterable[Change]) -> None:
    lines: list[Sequence[str]] = [
        ("PROVIDER", "MODEL", "REGION", "TIER", "INPUT ABOVE", "CLASS", "BEFORE", "AFTER", "CHANGE")
    ]
    for change in found:
        names = (change.asked.provider, change.asked.model, change.asked.region or "-", change.asked.tier or "-")
        before, after = (
            "-" if price is None else _told(change.price_class, price) for price in (change.before, change.after)
        )
        moved = percent(change.before, change.after) if change.before and change.after is not None else "-"
        lines.append((*names, str(max(change.above, 0)), change.price_class, before, after, moved))
    print_table(lines, right=(4, 6, 7, 8))
