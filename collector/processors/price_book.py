"""Settings of pricing and of budgets → the one price book that calls are costed and quoted by.

Both processes make theirs here, so that a hold and the cost that settles it come from one price.
"""

from collector.governance.budgets import Config
from collector.pricing.book import PriceBook
from collector.pricing.config import Settings
from collector.pricing.unit_prices import flat

FALLBACK_SOURCE = "processors.budgets.fallback_price"


def price_book(settings: Settings, budgets: Config) -> PriceBook:
    """Raises `Permanent` when a price is not an amount, or rows of the overlay contradict each other."""
    wanted = budgets.on_unknown_price == "fallback"
    price = budgets.fallback_price
    return PriceBook(settings, fallback=flat(price.input, price.output, source=FALLBACK_SOURCE) if wanted else None)
