"""(request, price list) → the most a call can cost.

Worst case: all input uncached and all the output it may produce. Integers only; equal to
`UnitPrices.cost_nano` to the nano-USD. A call of a priced model is never quoted at nothing, so that
an exhausted budget refuses it whatever tokens it claims.
"""

from collections.abc import Callable

from collector.governance.budgets import Config
from collector.governance.decide import COSTED_ACTIONS, Quote
from collector.pricing.book import MINUTE_NS, PriceBook, UnitPrices
from schemas.control import DecisionRequest, HoldBasis
from schemas.money import PICO_PER_NANO, parse_usd, round_pico

# Names of models come from outside; what was looked up for one minute is of no use in the next.
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
    """Prices by model, remembered for a minute. Owned by the loop."""

    def __init__(self, book: PriceBook, config: Config) -> None:
        """Raises `ConfigError` when `fallback_price` is not an amount."""
        self._book = book
        self._config = config
        self._fallback = _fallback(config)
        self._minute = 0
        self._prices: dict[tuple[str, str], Price | None] = {}

    def quote(self, request: DecisionRequest, now_ns: int) -> Quote | None:
        """The quote of a request; `None` when it has no model cost or no known price."""
        if request.action not in COSTED_ACTIONS:
            return None
        price = self.price(request.provider, request.model, now_ns)
        if price is None:
            return None
        basis: HoldBasis = "worst_case"
        output = request.max_output_tokens
        if output is None:
            basis, output = "default_output", self._config.default_max_output_tokens
        amount = 0 if price.free else max(1, price.cost(request.input_tokens, output))
        return Quote(amount, basis, price.basis, price.digest)

    def price(self, provider: str, model: str, now_ns: int) -> Price | None:
        """The price of a model now, or the fallback price where the configuration wants one."""
        minute = now_ns // MINUTE_NS
        if minute != self._minute or len(self._prices) >= _MAX_CACHED:
            self._minute = minute
            self._prices.clear()
        key = (provider, model)
        if key not in self._prices:
            found = self._book.lookup(provider, model, now_ns)
            self._prices[key] = self._fallback if found is None else _price(found)
        return self._prices[key]


def _price(prices: UnitPrices) -> Price:
    if not all(rates.integral() for _, rates in prices.tiers):
        return Price(_exact(prices), basis="exact", digest=prices.digest)
    # Fractions cost more than the rest of a decision; whole pico-USD give the same sums.
    tiers = [
        (above, int(rates.input), int(rates.output), int(rates.request)) for above, rates in reversed(prices.tiers)
    ]

    def cost(input_tokens: int, output_tokens: int) -> int:
        _, input_, output, request = next(tier for tier in tiers if input_tokens > tier[0])
        return round_pico(input_tokens * input_ + output_tokens * output + request)

    return Price(cost, basis="exact", digest=prices.digest)


def _exact(prices: UnitPrices) -> Cost:
    return lambda input_tokens, output_tokens: prices.cost_nano(input_tokens=input_tokens, output_tokens=output_tokens)


def _fallback(config: Config) -> Price | None:
    if config.on_unknown_price != "fallback":
        return None
    input_ = parse_usd(config.fallback_price.input) * PICO_PER_NANO // _TOKENS_PER_PRICE
    output = parse_usd(config.fallback_price.output) * PICO_PER_NANO // _TOKENS_PER_PRICE
    return Price(lambda i, o: round_pico(i * input_ + o * output), basis="fallback", digest="")
