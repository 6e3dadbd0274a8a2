"""Days and months of every zone tile time: no moment is in two windows or in none.

Complaints of others covered here (window that never resets, or that resets at the wrong time):
LiteLLM #8364, #7129, #5651; wso2/api-platform#2936 (a window that was really a refill rate).
"""

import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.governance.windows import SLOT_NS, Window, slot_of, utc_text, windows_at
from schemas.errors import ConfigError

ZONES = sorted(zoneinfo.available_timezones())
START, END = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1995, 2038))
instants = st.integers(START * 10**9, END * 10**9)


def local_midnight(window: Window, zone: str) -> datetime:
    return datetime.fromtimestamp(window.start / 10**9, zoneinfo.ZoneInfo(zone))


@given(zone=st.sampled_from(ZONES), at_ns=instants)
def test_windows_tile_time_without_gap_or_overlap(zone: str, at_ns: int) -> None:
    windows = windows_at(zone, at_ns)
    for kind in ("daily", "monthly"):
        window: Window = getattr(windows, kind)
        assert window.start <= at_ns < window.end
        assert getattr(windows_at(zone, window.start), kind) == window
        assert getattr(windows_at(zone, window.end - 1), kind) == window
        assert getattr(windows_at(zone, window.end), kind).start == window.end
        assert getattr(windows_at(zone, window.start - 1), kind).end == window.start


@given(zone=st.sampled_from(ZONES), at_ns=instants)
def test_a_day_lies_in_one_month_and_edges_on_quarters_of_an_hour(zone: str, at_ns: int) -> None:
    windows = windows_at(zone, at_ns)
    assert windows.monthly.start <= windows.daily.start < windows.daily.end <= windows.monthly.end
    assert not any(edge % SLOT_NS for window in windows for edge in window)


@given(zone=st.sampled_from(ZONES), at_ns=instants)
def test_every_moment_of_a_quarter_belongs_to_the_same_windows(zone: str, at_ns: int) -> None:
    assert windows_at(zone, at_ns) == windows_at(zone, slot_of(at_ns))


@given(at_ns=instants)
def test_utc_windows_are_plain_calendar_days_and_months(at_ns: int) -> None:
    day = datetime.fromtimestamp(at_ns // 10**9, UTC).replace(hour=0, minute=0, second=0)
    windows = windows_at("UTC", at_ns)
    assert windows.daily == Window(int(day.timestamp()) * 10**9, int((day + timedelta(days=1)).timestamp()) * 10**9)
    assert utc_text(windows.monthly.start) == day.strftime("%Y-%m-01T00:00:00Z")


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        pytest.param("Europe/Berlin", datetime(2026, 3, 29), 23, id="spring: an hour is skipped"),
        pytest.param("Europe/Berlin", datetime(2026, 10, 25), 25, id="autumn: an hour is repeated"),
        pytest.param("America/New_York", datetime(2026, 3, 8), 23, id="at another date in another zone"),
        pytest.param("Australia/Lord_Howe", datetime(2026, 4, 5), 24.5, id="a change of half an hour"),
        pytest.param("Asia/Beirut", datetime(2026, 3, 29), 23, id="midnight itself is skipped: the day starts at one"),
        pytest.param(
            "America/Havana", datetime(2026, 11, 1), 25, id="midnight itself is repeated: the day starts once"
        ),
        pytest.param("America/St_Johns", datetime(2010, 11, 7), 25, id="clocks put back into the day before"),
        pytest.param("Africa/Cairo", datetime(2026, 4, 24), 23, id="midnight is skipped"),
        pytest.param("Asia/Kathmandu", datetime(2026, 7, 1), 24, id="an offset of quarters"),
    ],
)
def test_a_day_of_a_clock_change_has_the_hours_people_lived_through(zone: str, day: datetime, hours: float) -> None:
    noon = day.replace(hour=12, tzinfo=zoneinfo.ZoneInfo(zone))
    window = windows_at(zone, int(noon.timestamp()) * 10**9).daily
    assert (window.end - window.start) / 3600e9 == hours
    assert local_midnight(window, zone).date() == day.date()


def test_a_date_that_never_was_has_no_window_and_leaves_no_gap() -> None:
    """Samoa crossed the date line at the end of 2011-12-29; there was no 2011-12-30."""
    before = int(datetime(2011, 12, 29, 12, tzinfo=zoneinfo.ZoneInfo("Pacific/Apia")).timestamp()) * 10**9
    thursday = windows_at("Pacific/Apia", before).daily
    saturday = windows_at("Pacific/Apia", thursday.end).daily
    assert local_midnight(saturday, "Pacific/Apia").date().isoformat() == "2011-12-31"
    assert saturday.end - saturday.start == 24 * 3600 * 10**9


@pytest.mark.parametrize("name", ["Europe/Berln", "", "../../etc/passwd", "Europe", "\x00"])
def test_an_unknown_zone_is_a_configuration_error_that_names_it(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a time zone"):
        windows_at(name, START * 10**9)
