"""Rows of an overlay file → which of them price a call, and when that changes.

A row gives prices, which stand before the price list's, or a discount, which is taken off whatever
price is found; the two are looked for apart. Among the rows that match a call the most specific
one holds, in this order: an exact model before a pattern, the pattern with more letters, an exact
region before a pattern before none, a tier before none, batch said before not. Invariant: no two
rows of the same rank can match one call at one time; such a file is refused with both lines.
Reading the file is left to `collector.config`.
"""

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import combinations
from typing import NamedTuple

import msgspec

from collector.pricing.instants import parse_instant
from collector.pricing.spellings import canonical
from collector.pricing.unit_prices import per_token
from schemas.errors import ConfigError, Permanent

FOR_EVER = 2**63 - 1
MAX_USD_PER_MILLION = 1_000_000
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,12})?)%")


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """USD per million tokens, `request` USD per request. What is left out costs what the price list says."""

    input: str | None = None
    cache_read: str | None = None
    cache_write: str | None = None
    cache_write_1h: str | None = None
    output: str | None = None
    reasoning: str | None = None
    input_audio: str | None = None
    output_audio: str | None = None
    request: str | None = None


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row as written. `model` and `region` may hold `*` and `?`; times are RFC 3339, `effective_to` excluded."""

    provider: str
    model: str
    region: str | None = None
    tier: str | None = None
    batch: bool | None = None
    effective_from: str
    effective_to: str | None = None
    prices: Prices | None = None
    discount: str | None = None
    source: str
    reason: str | None = None


class OverlayFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    rows: tuple[Row, ...] = ()


class Written(msgspec.Struct, frozen=True):
    """A row and where it stands, `FILE:LINE`."""

    place: str
    row: Row


class Asked(NamedTuple):
    """What a price is asked for, in canonical names; "" where it is not known."""

    provider: str
    model: str
    tier: str = ""
    region: str = ""

    @property
    def batch(self) -> bool:
        """Whether the call came through the provider's batch API."""
        return self.tier.lower() == "batch"


class Pattern(NamedTuple):
    """A name with wildcards; `rank` is higher the more it says."""

    text: str
    regex: re.Pattern[str]
    rank: tuple[bool, int]

    @classmethod
    def of(cls, text: str) -> "Pattern":
        """Names compare without case."""
        lower = text.lower()
        parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in lower)
        letters = sum(c not in "*?" for c in lower)
        return cls(lower, re.compile("".join(parts), re.DOTALL), (letters == len(lower), letters))

    @property
    def exact(self) -> bool:
        """Whether it is one name, without wildcards."""
        return self.rank[0]

    def matches(self, name: str) -> bool:
        """Whether this is such a name."""
        return self.regex.fullmatch(name.lower()) is not None


class Term(NamedTuple):
    """A checked row. `prices` in pico-USD per token (request: per request), or `factor`, what a discount leaves."""

    written: Written
    provider: str
    model: Pattern
    region: Pattern | None
    start_ns: int
    end_ns: int
    prices: dict[str, Fraction]
    factor: Fraction | None

    @property
    def rank(self) -> tuple[object, ...]:
        """Higher is more specific."""
        row = self.written.row
        region = self.region.rank if self.region else (False, -1)
        return (*self.model.rank, *region, row.tier is not None, row.batch is not None)

    def matches(self, asked: Asked) -> bool:
        """Whether the row speaks of such calls, at whatever time."""
        row = self.written.row
        return (
            self.provider == asked.provider
            and self.model.matches(asked.model)
            and (self.region is None or self.region.matches(asked.region))
            and (row.tier is None or row.tier.lower() == asked.tier.lower())
            and (row.batch is None or row.batch == asked.batch)
        )

    @property
    def rivals(self) -> tuple[object, ...]:
        """Equal for two rows of which neither is before the other, whatever their times and patterns."""
        row = self.written.row
        model = self.model.text if self.model.exact else None
        return (self.rank, self.provider, self.factor is None, (row.tier or "").lower(), row.batch, model)

    def overlaps(self, rival: "Term") -> bool:
        """Whether both could hold for one call at one time."""
        return (
            self.start_ns < rival.end_ns
            and rival.start_ns < self.end_ns
            and meet(self.model.text, rival.model.text)
            and (self.region is None or rival.region is None or meet(self.region.text, rival.region.text))
        )


class Overlay:
    """All rows, checked. Raises `ConfigError` naming the line, or both lines of two rows that contradict."""

    def __init__(self, rows: Sequence[Written], listed: frozenset[str]) -> None:
        """`listed` are the price list's providers, by which spellings of a provider are told to be one."""
        self.terms = tuple(_term(written, listed) for written in rows)
        rivals: dict[tuple[object, ...], list[Term]] = {}
        for term in self.terms:
            rivals.setdefault(term.rivals, []).append(term)
        for one, other in (pair for among in rivals.values() for pair in combinations(among, 2)):
            if one.overlaps(other):
                raise ConfigError(
                    f"{other.written.place}: this row and {one.written.place} price the same calls at the same time.",
                    fix="End one with effective_to before the other starts, or make one more specific.",
                )

    def about(self, asked: Asked) -> tuple[Term, ...]:
        """The rows that match such calls at some time, most specific first."""
        found = [term for term in self.terms if term.matches(asked)]
        return tuple(sorted(found, key=lambda term: term.rank, reverse=True))


def changes(terms: Iterable[Term]) -> tuple[int, ...]:
    """The instants (Unix ns) at which one of the rows begins or ends, ascending."""
    return tuple(sorted({at for term in terms for at in (term.start_ns, term.end_ns) if at != FOR_EVER}))


def holding(terms: Iterable[Term], at_ns: int) -> tuple[Term | None, Term | None]:
    """The row with prices and the row with a discount that hold at `at_ns`, of rows most specific first."""
    now = [term for term in terms if term.start_ns <= at_ns < term.end_ns]
    prices = next((term for term in now if term.factor is None), None)
    return prices, next((term for term in now if term.factor is not None), None)


def meet(one: str, other: str) -> bool:
    """Whether some name matches both patterns."""
    ends = {0}
    # `ends` holds how much of `other` can be used up once `one` is read so far.
    ends = _skipped(ends, other)
    for letter in one:
        step = set() if letter != "*" else set(ends)
        for at in ends:
            for taken in range(at, len(other) if letter == "*" else min(at + 1, len(other))):
                if letter in "*?" or other[taken] in ("*", "?", letter):
                    step.add(taken + 1)
                    if other[taken] == "*":
                        step.add(taken)
        ends = _skipped(step, other)
    return len(other) in ends


def _skipped(ends: set[int], other: str) -> set[int]:
    """`*` may stand for nothing."""
    found = set(ends)
    for at in sorted(ends):
        end = at
        while end < len(other) and other[end] == "*":
            end += 1
            found.add(end)
    return found


def _term(written: Written, listed: frozenset[str]) -> Term:
    row = written.row
    try:
        if (row.prices is None) == (row.discount is None):
            raise ConfigError("A row gives either prices or a discount.", fix="Write prices: {input: …} or discount: …")
        start, end = parse_instant(row.effective_from), FOR_EVER
        if row.effective_to is not None:
            end = parse_instant(row.effective_to)
        if start >= end:
            raise ConfigError(
                f"The row ends at {row.effective_to}, not after it begins at {row.effective_from}.",
                fix="Exchange the two dates.",
            )
        return Term(
            written,
            canonical(row.provider, listed),
            Pattern.of(row.model),
            Pattern.of(row.region) if row.region is not None else None,
            start,
            end,
            _prices(row.prices) if row.prices is not None else {},
            _left(row.discount) if row.discount is not None else None,
        )
    except Permanent as error:
        raise ConfigError(f"{written.place}: {error.what}", fix=error.fix) from None


def _prices(prices: Prices) -> dict[str, Fraction]:
    texts = {name: text for name, text in msgspec.structs.asdict(prices).items() if text is not None}
    if not texts:
        raise ConfigError("The row's prices are empty.", fix="Give at least one, such as input: 2.50.")
    found = {name: per_token(text) for name, text in texts.items()}
    for name, text in texts.items():
        if found[name] > per_token(str(MAX_USD_PER_MILLION)):
            raise ConfigError(f"{name}: {text} USD is more than {MAX_USD_PER_MILLION}.", fix="Check the unit.")
    if "request" in found:
        found["request"] *= 1_000_000
    return found


def _left(discount: str) -> Fraction:
    """What remains of a price, from `12.5%`."""
    match = _PERCENT.fullmatch(discount.strip())
    if match is None or Fraction(match[1]) > 100:
        raise ConfigError(
            f"{discount!r} is not a discount.", fix='Write a percentage from 0% to 100%, such as "12.5%".'
        )
    return 1 - Fraction(match[1]) / 100
