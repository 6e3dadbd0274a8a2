"""Cache writes of one count and a stated cost → how many of them are kept for an hour.

Anthropic's API says how many tokens it keeps for five minutes and how many for an hour, at different
prices; most emitters pass on the sum and their own cost. The cost then has one unknown and is solved
for it. Invariant: a split is taken only when it gives the stated cost to the nano-USD (the emitter's
is a rounded binary fraction); anything else is priced at five minutes, the API's default, and marked.

Prices and default: https://platform.claude.com/docs/en/build-with-claude/prompt-caching.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.columns import Bools, numpy_of, replaced
from collector.pricing.book import PriceBook
from collector.pricing.rate import Calls, Ints, Priced, rate, taken
from schemas.accounting import SPLIT_FROM_COST
from schemas.money import PICO_PER_NANO

ASSUMED = "cache_write_lifetime_assumed"
_TOLERANCE_NANO = 1
# Beyond this no call costs that much, and the arithmetic would leave 64 bits.
_BELIEVED_NANO = 10**15


class Split(NamedTuple):
    """Aligned with the calls: where a split was found, the tokens kept for an hour, and where none was found."""

    where: Bools
    one_hour: Ints
    assumed: Bools


def split(rows: pa.Table, calls: Calls, priced: Priced, skipped: Bools, book: PriceBook) -> Split:
    """Solve for the calls whose writes have an unknown lifetime that matters.

    Emitters state a cost at list price; a discount of ours is not theirs.
    """
    unsaid = numpy_of(pc.is_null(rows["cache_write_1h_tokens"])) & ~skipped
    open_ = unsaid & (calls.tokens.cache_write > 0) & (priced.cache_write_1h_price != priced.cache_write_price)
    one_hour, found = calls.tokens.cache_write_1h.copy(), np.zeros(len(rows), np.bool_)
    stated = open_ & numpy_of(pc.is_valid(rows["emitted_cost_nano_usd"]))
    if stated.any():
        emitted = numpy_of(pc.fill_null(rows["emitted_cost_nano_usd"], 0)).astype(np.int64)[stated]
        solution, holds = _solve(taken(calls, stated), emitted, book)
        one_hour[stated] = np.where(holds, solution, 0)
        found[stated] = holds
    return Split(found, one_hour, open_ & ~found)


def with_split(rows: pa.Table, where: Ints, found: Split) -> pa.Table:
    """The rows with the tokens that were found, and the rule that found them; `where` are the calls' rows."""
    if not found.where.any():
        return rows
    solved = np.zeros(len(rows), np.bool_)
    solved[where] = found.where
    counts = np.zeros(len(rows), np.int64)
    counts[where] = found.one_hour
    mask = pa.array(solved)
    tokens = pc.if_else(mask, pa.array(counts), rows["cache_write_1h_tokens"])
    rule = pc.binary_join_element_wise(pc.fill_null(rows["usage_rule"], ""), SPLIT_FROM_COST, "")
    rows = replaced(rows, "usage_rule", pc.if_else(mask, rule, rows["usage_rule"]))
    return replaced(rows, "cache_write_1h_tokens", tokens)


def _solve(calls: Calls, emitted: Ints, book: PriceBook) -> tuple[Ints, Bools]:
    """Tokens kept for an hour, and whether they give the stated cost."""
    base = rate(calls, book.list_only)
    dearer = base.cache_write_1h_price - base.cache_write_price
    rest = emitted - base.cost_nano_usd
    solvable = base.known & (dearer > 0) & (np.abs(rest) < _BELIEVED_NANO)
    step = np.where(solvable, dearer, 1)
    count = (2 * PICO_PER_NANO * np.where(solvable, rest, 0) + step) // (2 * step)
    holds = solvable & (count >= 0) & (count <= calls.tokens.cache_write)
    count = np.where(holds, count, 0)
    cost = rate(calls._replace(tokens=calls.tokens._replace(cache_write_1h=count)), book.list_only).cost_nano_usd
    return count, holds & (np.abs(cost - emitted) <= _TOLERANCE_NANO)
