"""A cost as an emitter writes it, in US dollars → int nano-USD, exactly.

Invariant: no float is made of it; half a nano-dollar is rounded to even. It is evidence beside the
computed cost, never booked.
"""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal

import msgspec
import pyarrow as pa

from collector.columns import by_distinct, mark, numpy_of, one

UNREADABLE = "emitted_cost_unreadable"
MAX_USD = 1_000_000
"""No single call costs more; what claims to is not believed."""

_NUMBER = re.compile(r"\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_MAX_DIGITS = 64
_EXACT = Context(prec=2 * _MAX_DIGITS, rounding=ROUND_HALF_EVEN)


class _Costs(msgspec.Struct):
    """Langfuse's `cost_details`: costs by class, and their sum."""

    total: Decimal | None = None


def with_emitted_cost(rows: pa.Table) -> pa.Table:
    """Add `emitted_cost_nano_usd`, made of the text in `emitted_cost`; rows whose text says no cost are marked."""
    texts = one(rows["emitted_cost"])
    if texts.null_count == len(texts):
        return rows.append_column("emitted_cost_nano_usd", pa.nulls(len(rows), pa.int64()))
    costs = by_distinct(texts, nano_usd, pa.int64())
    missing = numpy_of(costs.is_null()) & numpy_of(texts.is_valid())
    return mark(rows.append_column("emitted_cost_nano_usd", costs), missing, UNREADABLE)


def nano_usd(text: str) -> int | None:
    """The cost in nano-USD, from a decimal number or an object with a `total`; `None` if it is none."""
    if text.startswith("{"):
        try:
            total = msgspec.json.decode(text, type=_Costs).total
        except (msgspec.DecodeError, RecursionError):
            return None
        text = "" if total is None else str(total)
    if len(text) > _MAX_DIGITS or not _NUMBER.fullmatch(text):
        return None
    usd = Decimal(text)
    if usd > MAX_USD:
        return None
    return int(usd.scaleb(9, _EXACT).to_integral_value(ROUND_HALF_EVEN))
