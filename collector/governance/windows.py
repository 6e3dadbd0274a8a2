"""Instant → the calendar day and month it belongs to, in one time zone.

A window runs from the first instant whose local date lies in it to the first instant whose local
date lies beyond it, so a day of a clock change has 23 or 25 hours and no moment is in two windows
or in none. Edges fall on quarters of an hour, because spend is kept by quarter: every offset in use
since 1972 is a whole number of quarters, and an older edge moves to the next one.
What a window is used for is left to `budgets`.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from schemas.errors import ConfigError

SLOT_NS = 15 * 60 * 10**9
SLOT_S = 15 * 60

WindowKind = Literal["daily", "monthly"]
WINDOW_KINDS: tuple[WindowKind, WindowKind] = ("daily", "monthly")
"""In the order of `Windows`."""


class Window(NamedTuple):
    """Start and end (exclusive) of a window, Unix ns."""

    start: int
    end: int


class Windows(NamedTuple):
    """The two windows an instant belongs to."""

    daily: Window
    monthly: Window


def slot_of(at_ns: int) -> int:
    """Start of the quarter of an hour that holds an instant, Unix ns."""
    return at_ns - at_ns % SLOT_NS


def windows_at(zone: str, at_ns: int) -> Windows:
    """The day and month of an instant in an IANA zone; raises `ConfigError` for a zone nobody knows."""
    return _windows(zone, at_ns // SLOT_NS)


# A call is weighed in the quarters of the last minutes; reports of late calls reach back a month.
@lru_cache(maxsize=16384)
def _windows(zone: str, slot: int) -> Windows:
    at_s = slot * SLOT_S
    # Clocks put back over midnight give one instant a date whose end has passed: step to the day that holds it.
    day = datetime.fromtimestamp(at_s, time_zone(zone)).date()
    while _edge_s(zone, day) > at_s:
        day -= timedelta(days=1)
    while _edge_s(zone, day + timedelta(days=1)) <= at_s:
        day += timedelta(days=1)
    month = day.replace(day=1)
    return Windows(_window(zone, day, day + timedelta(days=1)), _window(zone, month, _next_month(month)))


def _window(zone: str, first: date, beyond: date) -> Window:
    return Window(_edge_s(zone, first) * 10**9, _edge_s(zone, beyond) * 10**9)


def _next_month(month: date) -> date:
    return (month + timedelta(days=31)).replace(day=1)


@lru_cache(maxsize=4096)
def _edge_s(zone: str, day: date) -> int:
    """Unix seconds of the first quarter of an hour that begins on or after the first instant of a local date."""
    return -(-_first_instant_s(zone, day) // SLOT_S) * SLOT_S


def _first_instant_s(zone: str, day: date) -> int:
    midnight = datetime(day.year, day.month, day.day, tzinfo=time_zone(zone))
    first = int(midnight.timestamp())
    if _local(zone, first) == midnight.replace(tzinfo=None):
        return first
    # Local midnight was skipped. The clock jumped somewhere between its two readings: find the jump.
    before, after = int(midnight.replace(fold=1).timestamp()), first
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (middle, after) if _local(zone, middle) < midnight.replace(tzinfo=None) else (before, middle)
    return after


def _local(zone: str, at_s: int) -> datetime:
    return datetime.fromtimestamp(at_s, UTC).astimezone(time_zone(zone)).replace(tzinfo=None)


@lru_cache(maxsize=1024)
def time_zone(name: str) -> ZoneInfo:
    """The IANA zone of that name; raises `ConfigError` if there is none."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ConfigError(
            f"{name!r} is not a time zone.", fix="Use an IANA name such as UTC, Europe/Berlin or America/New_York."
        ) from None


def utc_text(at_ns: int) -> str:
    """An instant as RFC 3339 in UTC, whole seconds."""
    return _utc_text(at_ns // 10**9)


# Answers of one second share their texts, and a window's end is asked for with every answer.
@lru_cache(maxsize=4096)
def _utc_text(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
