"""Overlay rows without a file."""

from collector.pricing.book import PriceBook
from collector.pricing.config import Settings
from collector.pricing.overlay import Prices, Row, Written


def row(provider: str = "openai", model: str = "gpt-4o", **given: object) -> Row:
    """A row that holds for ever at 1 USD in and 2 USD out, unless something else is given."""
    prices = given.pop("prices", None)
    if prices is None and "discount" not in given:
        prices = {"input": "1", "output": "2"}
    given = {"effective_from": "2020-01-01", "source": "contract", **given}
    made = Prices(**prices) if prices is not None else None  # type: ignore[arg-type]
    return Row(provider=provider, model=model, prices=made, **given)  # type: ignore[arg-type]


def written(*rows: Row) -> tuple[Written, ...]:
    return tuple(Written(f"prices.yaml:{10 * number}", each) for number, each in enumerate(rows, 1))


def book(*rows: Row) -> PriceBook:
    return PriceBook(Settings(rows=written(*rows)))
