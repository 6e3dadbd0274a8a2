"""A group's differences in, the verdict and the likely reason out.

Invariant: a verdict follows from numbers alone. `shadow` and `missing_on_bill` are said only when
nothing known of the calls could explain the difference; a reason names what the numbers show and no more.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import groupby
from typing import Final, NamedTuple

import msgspec

from analytics.reconcile.recorded import Recorded


class Verdict:
    """What is said of a group."""

    EXPLAINED: Final = "explained"
    """Bill and ledger agree within the tolerance."""
    SHADOW: Final = "shadow"
    """On the bill, and no span explains it."""
    MISSING: Final = "missing_on_bill"
    """In the ledger, and not on the bill."""
    DIFFERS: Final = "differs"
    """Both know it, and not the same; the reason says why, where the numbers show it."""
    NOT_COMPARED: Final = "not_compared"
    """A key's part of the bill: the ledger does not know the provider's keys."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A group of both sides. `exact` is bill less ledger, `outside` the quantities beyond the tolerance."""

    billed: Mapping[str, int]
    recorded: Recorded
    exact: Mapping[str, int]
    outside: tuple[str, ...]


class Spot(NamedTuple):
    """What is compared: a day, a model, both or neither."""

    day: date | None
    model: str | None


def shifted(differences: Mapping[Spot, Difference]) -> set[Spot]:
    """Groups of adjacent days of one model whose differences cancel: the days were cut elsewhere."""
    off = sorted(
        ((spot.model or "", spot.day) for spot, difference in differences.items() if spot.day and difference.outside),
    )
    found: set[Spot] = set()
    # Days in a row have one number in common: the day less its place in the order.
    for (name, _), run in groupby(enumerate(off), key=lambda n: (n[1][0], n[1][1] - timedelta(days=n[0]))):
        spots = [Spot(day, name or None) for _, (_, day) in run]
        exact = [differences[spot].exact for spot in spots]
        if len(spots) > 1 and all(sum(each[quantity] for each in exact) == 0 for quantity in exact[0]):
            found.update(spots)
    return found


_SHADOW = "On the bill, and no span explains it: calls that bypass the fleet, or lost telemetry."


def judge(difference: Difference, *, is_shifted: bool) -> tuple[str, str]:
    """The verdict and one sentence (nothing for what is explained)."""
    if not difference.outside:
        return Verdict.EXPLAINED, ""
    signs = {difference.exact[name] > 0 for name in difference.outside}
    if causes := _causes(difference, is_shifted=is_shifted, higher=signs == {True}):
        return Verdict.DIFFERS, f"{'; '.join(causes)}."
    if signs == {True}:
        unmetered = difference.recorded.unmetered
        part = f" {_calls(unmetered)} of the ledger came without usage, which is part of it." if unmetered else ""
        return Verdict.SHADOW, f"{_SHADOW}{part}"
    if signs == {False}:
        return Verdict.MISSING, "In the ledger and not on this bill: another account or provider bills it, or nobody."
    return Verdict.DIFFERS, "Some of it is higher on the bill and some lower."


def _causes(difference: Difference, *, is_shifted: bool, higher: bool) -> list[str]:
    calls, outside = difference.recorded, difference.outside
    if is_shifted:
        return ["The days beside it differ by as much the other way: one side cuts days in another time zone"]
    if not calls.amounts.get("calls") or not any(difference.billed.values()):
        return []
    causes = []
    # Calls without usage explain tokens and money, but no call that the ledger does not have.
    if higher and calls.unmetered and "calls" not in outside:
        causes.append(f"{_calls(calls.unmetered)} of this group came without usage (`spanward report coverage`)")
    if outside == ("cost",):
        causes += _price(difference, higher=higher)
    return causes


def _price(difference: Difference, *, higher: bool) -> list[str]:
    """Why the money differs where nothing else does."""
    unpriced = difference.recorded.unpriced
    if higher and unpriced:
        return [f"{_calls(unpriced)} of this group came without a known price: add the model to the price overlay"]
    if len(difference.billed) > 1:
        return ["The counts agree and the price does not: a discount, a tier or a changed price; re-rate the period"]
    if higher:
        return ["A bill of costs alone cannot tell a changed price from calls without a span: compare the usage export"]
    return ["The bill is lower: a discount, a credit or a changed price"]


def _calls(number: int) -> str:
    return f"{number:,} call{'' if number == 1 else 's'}"
