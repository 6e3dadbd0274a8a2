"""(request, price book) → the most a call can cost and use.

Worst case: all input uncached and all the output it may produce; what of it is held is left to
`governance.sizes`. Integers only; equal to
`UnitPrices.cost_nano` to the nano-USD, and from the same list, overlay and names as the cost that
settles the hold. A call of a priced model is never quoted at nothing, so that an exhausted budget
refuses it whatever tokens it claims.
"""

from collections.abc import Callable

from collector.governance.config import Config
from collector.governance.decide import COSTED_ACTIONS
from collector.governance.sizes import Quote
from collector.pricing.book import PriceBook
from collector.pricing.overlay import Asked
from collector.pricing.unit_prices import Tokens, UnitPrices
from schemas.control import DecisionRequest, HoldBasis
from schemas.money import round_pico

# Prices of the models asked for; the book itself knows when one changes.
_MAX_CACHED = 10_000
_TOKENS_PER_PRICE = 1_000_000

Cost = Callable[[int, int], int]
"""(input tokens, output tokens) → nano-USD."""


class Price:
    """What the tokens of one model cost, and where that is known from."""

    __slots__ = ("basis", "cost", "digest", "free")

    def __init__(self, cost: Cost, *, basis: str, digest: str) -> None:
        self.cost = cost
        self.basis = basis
        """exact or fallback, as in the ledger's `pricing_basis`."""
        self.digest = digest
        self.free = cost(_TOKENS_PER_PRICE, _TOKENS_PER_PRICE) == 0


class Quotes:
    """Prices by model, remembered as long as they hold. Owned by the loop."""

    def __init__(self, book: PriceBook, config: Config) -> None:
        self._book = book
        self._config = config
        self._fallback = None if book.fallback is None else _price(book.fallback, "fallback")
        self._prices: dict[str, Price] = {}

    def quote(self, request: DecisionRequest, now_ns: int) -> Quote | None:
        """The quote of a request; `None` when it has no model cost. Without a known price it costs nothing."""
        if request.action not in COSTED_ACTIONS:
            return None
        basis: HoldBasis = "worst_case"
        output = request.max_output_tokens
        if output is None:
            basis, output = "default_output", self._config.default_max_output_tokens
        tokens = max(1, request.input_tokens + output)
        price = self.price(request.provider, request.model, now_ns)
        if price is None:
            return Quote(0, tokens, basis, "unknown", "")
        amount = 0 if price.free else max(1, price.cost(request.input_tokens, output))
        return Quote(amount, tokens, basis, price.basis, price.digest)

    def price(self, provider: str, model: str, now_ns: int) -> Price | None:
        """The price of a model now, or the fallback price where the configuration wants one."""
        name = self._book.names.resolve(provider, model)
        found = self._book.lookup(Asked(name.provider, name.model, region=name.region), now_ns)
        if found is None:
            return self._fallback
        price = self._prices.get(found.digest)
        if price is None:
            if len(self._prices) >= _MAX_CACHED:
                self._prices.clear()
            price = self._prices[found.digest] = _price(found, "exact")
        return price


def _price(prices: UnitPrices, basis: str) -> Price:
    if not all(rates.integral() for _, rates in prices.tiers):
        return Price(_exact(prices), basis=basis, digest=prices.digest)
    # Fractions cost more than the rest of a decision; whole pico-USD give the same sums.
    tiers = [
        (above, int(rates.input), int(rates.output), int(rates.request)) for above, rates in reversed(prices.tiers)
    ]

    def cost(input_tokens: int, output_tokens: int) -> int:
        _, input_, output, request = next(tier for tier in tiers if input_tokens > tier[0])
        return round_pico(input_tokens * input_ + output_tokens * output + request)

    return Price(cost, basis=basis, digest=prices.digest)


def _exact(prices: UnitPrices) -> Cost:
    return lambda input_tokens, output_tokens: prices.cost_nano(Tokens(input=input_tokens, output=output_tokens))
