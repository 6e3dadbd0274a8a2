"""A bill and the ledger's calls in, one verdict a group out.

Invariant: every line of the bill and every call of its provider in its days is in exactly one compared
group, so the differences add up to the difference of the whole; differences are exact integers. Only
a verdict knows a tolerance. Which columns are shown is left to `analytics.reconcile.columns`.
"""

import re
from collections.abc import Mapping
from datetime import date

import msgspec

from analytics.reconcile.invoice import Billed, Invoice, Place
from analytics.reconcile.models import Aliases
from analytics.reconcile.reasons import Difference, Spot, Verdict, judge, shifted
from analytics.reconcile.recorded import Recorded, Sold
from schemas.errors import ConfigError, SpanwardError
from schemas.money import parse_usd


class Tolerance(msgspec.Struct, frozen=True):
    """What a group may differ by: parts per million of any billed quantity, nano-USD of its cost."""

    ppm: int = 0
    nano_usd: int = 0

    def allows(self, name: str, difference: int, billed: int) -> bool:
        """Whether a quantity's difference is small enough."""
        absolute = self.nano_usd if name == "cost" else 0
        return abs(difference) <= absolute or abs(difference) * 1_000_000 <= abs(billed) * self.ppm


def parse_tolerance(text: str) -> Tolerance:
    """`0.5%` of everything, or an amount in USD of the cost; raises `ConfigError`."""
    if match := re.fullmatch(r"(\d{1,2})(?:\.(\d{1,4}))?%", text):
        return Tolerance(ppm=int(match[1] + (match[2] or "").ljust(4, "0")))
    try:
        return Tolerance(nano_usd=parse_usd(text))
    except SpanwardError:
        raise ConfigError(
            f"{text!r} is no tolerance.", fix="Write 0.5% of each quantity, or 0.01 for that many USD of each cost."
        ) from None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the answer. `billed` and `recorded` have the quantities each side knows; money in nano-USD."""

    day: date | None
    model: str | None
    key: str | None = None
    billed: Mapping[str, int]
    recorded: Recorded | None
    verdict: str
    reason: str

    @property
    def differences(self) -> dict[str, int]:
        """Bill less ledger, of every quantity the bill states."""
        if self.recorded is None:
            return {}
        return {name: value - self.recorded.amounts.get(name, 0) for name, value in self.billed.items()}


def compare(
    invoice: Invoice, ledger: Mapping[Sold, Recorded], by: tuple[str, ...], tolerance: Tolerance
) -> list[Group]:
    """Compared groups in order of day and model, then the keys of the bill, which the ledger does not know."""
    ours = _sold_by(invoice, ledger)
    aliases = Aliases(
        (sold.model for sold in ours if sold.model is not None),
        (place.model for place in invoice.lines if place.model is not None),
    )
    billed, recorded = dict[Spot, Billed](), dict[Spot, Recorded]()
    for place, line in invoice.lines.items():
        billed.setdefault(_spot(place, by, aliases), Billed({})).add(line)
    for sold, calls in ours.items():
        recorded.setdefault(_spot(sold, by, aliases), Recorded({})).add(calls)
    differences = {
        spot: _difference(invoice, billed.get(spot), recorded.get(spot), tolerance)
        for spot in sorted(billed.keys() | recorded.keys(), key=_in_order)
    }
    moved = shifted(differences)
    groups = [_group(spot, difference, is_shifted=spot in moved) for spot, difference in differences.items()]
    return [*groups, *_keys(invoice, by, aliases)] if "key" in by else groups


def _sold_by(invoice: Invoice, ledger: Mapping[Sold, Recorded]) -> dict[Sold, Recorded]:
    """The calls that belong on the bill: of its provider, and of nobody's when the bill knows the model."""
    provider = invoice.shape.provider
    if not provider:
        return dict(ledger)
    own = {sold: calls for sold, calls in ledger.items() if sold.provider == provider}
    unclaimed = {sold: calls for sold, calls in ledger.items() if sold.provider is None}
    aliases = Aliases(
        (sold.model for sold in unclaimed if sold.model is not None),
        (place.model for place in invoice.lines if place.model is not None),
    )
    on_bill = {aliases.of(place.model) for place in invoice.lines} - {None}
    return own | {sold: calls for sold, calls in unclaimed.items() if aliases.of(sold.model) in on_bill}


def _spot(of: Place | Sold, by: tuple[str, ...], aliases: Aliases) -> Spot:
    return Spot(of.day if "day" in by else None, aliases.of(of.model) if "model" in by else None)


def _in_order(spot: Spot) -> tuple[date, bool, str]:
    return spot.day or date.min, spot.model is None, spot.model or ""


def _amounts(invoice: Invoice, billed: Billed) -> dict[str, int]:
    known: dict[str, int] = {name: billed.counts.get(name, 0) for name in invoice.quantities if name != "cost"}
    return known | ({"cost": billed.nano_usd} if "cost" in invoice.quantities else {})


def _difference(invoice: Invoice, billed: Billed | None, recorded: Recorded | None, tolerance: Tolerance) -> Difference:
    line, calls = billed or Billed({}), recorded or Recorded({})
    amounts = _amounts(invoice, line)
    exact = {name: value - calls.amounts.get(name, 0) for name, value in amounts.items()}
    # Each side rounds: the ledger every call to a nano-USD, some exports every row to a cent.
    rounding = (line.rows * invoice.shape.cost_unit_nano_usd + calls.amounts.get("calls", 0) + 1) // 2
    outside = tuple(
        name
        for name, value in exact.items()
        if not tolerance.allows(name, value, amounts[name]) and not (name == "cost" and abs(value) <= rounding)
    )
    return Difference(billed=amounts, recorded=calls, exact=exact, outside=outside)


def _group(spot: Spot, difference: Difference, *, is_shifted: bool) -> Group:
    verdict, reason = judge(difference, is_shifted=is_shifted)
    return Group(
        day=spot.day,
        model=spot.model,
        billed=difference.billed,
        recorded=difference.recorded,
        verdict=verdict,
        reason=reason,
    )


def _keys(invoice: Invoice, by: tuple[str, ...], aliases: Aliases) -> list[Group]:
    """What each provider key was billed: listed, because the ledger knows its own keys only."""
    billed: dict[tuple[Spot, str | None], Billed] = {}
    for place, line in invoice.lines.items():
        billed.setdefault((_spot(place, by, aliases), place.key), Billed({})).add(line)
    in_order = sorted(billed.items(), key=lambda item: (item[0][1] is None, item[0][1] or "", _in_order(item[0][0])))
    return [
        Group(
            day=spot.day,
            model=spot.model,
            key=key,
            billed=_amounts(invoice, line),
            recorded=None,
            verdict=Verdict.NOT_COMPARED,
            reason="",
        )
        for (spot, key), line in in_order
    ]
