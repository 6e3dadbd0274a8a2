"""The bytes of a provider's CSV export in, calls, tokens and money by day, model and key out.

Invariant: a cell is read exactly or the file is refused with line and column; nothing is guessed, so
`1,234` is no number and a row with a cell too many is no row. Fractions of a nano-USD are added up
exactly, and a sum is rounded once (half to even). What is compared with it is left to `compare`.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, TextIO

import msgspec

from analytics.query import check_time_zone, parse_time
from analytics.reconcile.shapes import COUNTS, GENERIC, QUANTITIES, Shape, missing, recognise
from schemas.errors import ConfigError
from schemas.money import NANO_PER_USD

# OpenAI writes counts as `59200.0`.
_COUNT = re.compile(r"(\d{1,18})(?:\.0*)?")
_MONEY = re.compile(r"-?\d{1,18}(?:\.\d{1,60})?(?:[eE][+-]?\d{1,2})?")
_UNIX_S = re.compile(r"\d{9,10}")


class Place(NamedTuple):
    """What a line of the bill is about; `None` where the export does not say."""

    day: date
    model: str | None
    key: str | None


class Billed(msgspec.Struct):
    """What was billed: counts, exact USD, and the rows it was read from."""

    counts: dict[str, int]
    usd: Fraction = Fraction(0)
    rows: int = 0

    def add(self, other: "Billed") -> None:
        """Count another line too."""
        for name, value in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + value
        self.usd += other.usd
        self.rows += other.rows

    @property
    def nano_usd(self) -> int:
        """The money, rounded half to even."""
        return round(self.usd * NANO_PER_USD)


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """A whole export. `quantities` are those it states; its days are from `first` to `last`."""

    shape: Shape
    quantities: tuple[str, ...]
    places: tuple[str, ...]
    lines: dict[Place, Billed]
    first: date
    last: date


def read(path: Path, shape: Shape | None, *, time_zone: str) -> Invoice:
    """Read an export, recognising its shape unless it is given.

    Raises `ConfigError` for what cannot be read exactly, `OSError` when the file cannot be read at all.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(_rows(file), shape, time_zone)
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text.", fix="Export it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise ConfigError(f"{path} is not CSV as RFC 4180 has it: {error}.", fix="Export it again.") from None


def _rows(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(file, strict=True)
    for row in reader:
        yield reader.line_num, row


def _read(rows: Iterator[tuple[int, list[str]]], shape: Shape | None, time_zone: str) -> Invoice:
    _, header = next(rows, (0, list[str]()))
    if len(set(header)) < len(header):
        raise ConfigError(f"The header names a column twice: {', '.join(header)}.", fix="Export it again.")
    if shape is None:
        shape = recognise(header)
    elif lacks := missing(shape, header):
        raise ConfigError(
            f"The export lacks {', '.join(lacks)}.", fix=f"{shape.name} needs them; it has {', '.join(header)}."
        )
    if shape.name != GENERIC.name and time_zone != "UTC":
        raise ConfigError(f"{shape.title} counts days in UTC, not in {time_zone}.", fix="Leave --time-zone out.")
    columns = shape.found(header)
    reader = _Rows(shape, columns, time_zone)
    for line, row in rows:
        if row:
            reader.take(_cells(header, row, line), line)
    if reader.first is None or reader.last is None:
        raise ConfigError("The export has no rows.", fix="Choose a period in which something was used.")
    return Invoice(
        shape=shape,
        quantities=tuple(name for name in QUANTITIES if name in columns),
        places=tuple(name for name in Place._fields if name in reader.seen),
        lines=reader.lines,
        first=reader.first,
        last=reader.last,
    )


def _cells(header: list[str], row: list[str], line: int) -> dict[str, str]:
    if len(row) != len(header):
        raise ConfigError(
            f"Line {line} has {len(row)} cells, the header {len(header)}.",
            fix="A comma inside a cell needs quotes around it; export numbers without thousands separators.",
        )
    return dict(zip(header, row, strict=True))


class _Rows:
    """Adds up rows as they come; `seen` are the places that at least one row names."""

    def __init__(self, shape: Shape, columns: Mapping[str, tuple[str, ...]], time_zone: str) -> None:
        self.lines: dict[Place, Billed] = {}
        self.seen = {"day"}
        self.first: date | None = None
        self.last: date | None = None
        self._shape, self._columns = shape, columns
        self._time_zone = time_zone

    def take(self, cells: dict[str, str], line: int) -> None:
        """Add one row; raises `ConfigError` with line and column."""
        day = self._day(_Cell(line, self._columns["day"][0], cells))
        self.first = day if self.first is None else min(self.first, day)
        self.last = day if self.last is None else max(self.last, day)
        values = [cells[column] for name, names in self._columns.items() if name != "day" for column in names]
        # OpenAI lists buckets in which nothing was used, with nothing but their times.
        if any(values):
            self._check_currency(cells, line)
            place = Place(day, self._text("model", cells), self._text("key", cells))
            self.lines.setdefault(place, Billed({})).add(self._billed(cells, line))

    def _billed(self, cells: dict[str, str], line: int) -> Billed:
        counts = {
            name: sum(_Cell(line, column, cells).count() for column in self._columns[name])
            for name in COUNTS
            if name in self._columns
        }
        usd = sum((_Cell(line, column, cells).money() for column in self._columns.get("cost", ())), Fraction(0))
        return Billed(counts, usd, 1)

    def _text(self, name: str, cells: dict[str, str]) -> str | None:
        text = " ".join(cells[column].strip() for column in self._columns.get(name, ())).strip()
        if name == "model" and self._shape.model_ends_at:
            text = text.partition(self._shape.model_ends_at)[0]
        if text:
            self.seen.add(name)
        return text or None

    def _day(self, cell: "_Cell") -> date:
        text, zone = cell.text, check_time_zone(self._time_zone)
        if _UNIX_S.fullmatch(text):
            return datetime.fromtimestamp(int(text), UTC).astimezone(zone).date()
        try:
            ns = parse_time(text if text[4:5] == "-" else "", time_zone=self._time_zone, now_ns=0)
        except ConfigError:
            raise cell.wrong("a day", "Write days as 2026-11-24, or moments in RFC 3339.") from None
        return datetime.fromtimestamp(ns // 10**9, UTC).astimezone(zone).date()

    def _check_currency(self, cells: dict[str, str], line: int) -> None:
        if self._shape.currency and (cell := _Cell(line, self._shape.currency, cells)).text.lower() not in ("usd", ""):
            raise cell.wrong("US dollars", "The ledger is in USD; convert the export first.")


class _Cell:
    """One cell with its place in the file."""

    def __init__(self, line: int, column: str, cells: dict[str, str]) -> None:
        self._line, self._column, self.text = line, column, cells[column].strip()

    def count(self) -> int:
        """A whole number; an empty cell is none used."""
        match = _COUNT.fullmatch(self.text or "0")
        if match is None:
            raise self.wrong("a whole number", "Export numbers as digits, without thousands separators.")
        return int(match[1])

    def money(self) -> Fraction:
        """Exact USD; an empty cell is nothing billed."""
        if _MONEY.fullmatch(self.text or "0") is None:
            raise self.wrong("an amount", "Export amounts as digits with a decimal point, without $ or separators.")
        return Fraction(self.text or "0")

    def wrong(self, what: str, fix: str) -> ConfigError:
        """The error for a cell that is not what its column holds."""
        return ConfigError(f"Line {self._line}, column {self._column}: {self.text!r} is not {what}.", fix=fix)
