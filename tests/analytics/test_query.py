"""What a person types: times, zones, lists and names, and the answer to each slip."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.query import parse_range, parse_time, parse_where, split_words, unknown
from schemas.errors import ConfigError
from tests.analytics.written import HOUR_NS, NOON_NS

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time_zone", "expected"),
    [
        ("2026-11-24T12:00:00Z", "UTC", NOON_NS),
        ("2026-11-24T12:00:00Z", "Asia/Tokyo", NOON_NS),  # An offset is an offset, wherever one is.
        ("2026-11-24t13:00:00+01:00", "UTC", NOON_NS),
        ("2026-11-24T12:00:00.000000001Z", "UTC", NOON_NS + 1),
        ("2026-11-24T12:00:00.5Z", "UTC", NOON_NS + 500_000_000),
        ("2026-11-24 12:00", "UTC", NOON_NS),
        ("2026-11-24T21:00", "Asia/Tokyo", NOON_NS),
        ("2026-11-24", "UTC", NOON_NS - 12 * HOUR_NS),
        ("2026-11-24", "Asia/Tokyo", NOON_NS - 21 * HOUR_NS),
        ("24h", "UTC", NOON_NS - 24 * HOUR_NS),
        ("7d", "UTC", NOON_NS - 7 * 24 * HOUR_NS),
        ("1970-01-01", "UTC", 0),
    ],
)
def test_a_time_can_be_written_as_people_write_it(text: str, time_zone: str, expected: int) -> None:
    assert parse_time(text, time_zone=time_zone, now_ns=NOON_NS) == expected


@given(st.integers(0, 2**63 - 1))
def test_every_moment_of_the_ledger_can_be_named_to_the_nanosecond(ns: int) -> None:
    whole = EPOCH + timedelta(seconds=ns // 10**9)
    text = f"{whole:%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09d}Z"
    assert parse_time(text, time_zone="UTC", now_ns=0) == ns


@pytest.mark.parametrize(
    "text",
    ["yesterday", "", "2026-13-01", "2026-11-24T25:00Z", "24 h", "24x", "1969-12-31", "9999-01-01", "99999999d", "-1h"],
)
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_time(text, time_zone="UTC", now_ns=NOON_NS)
    assert text in refused.value.what
    assert refused.value.fix


@given(st.text(max_size=40))
def test_no_text_gets_anything_but_a_time_or_a_refusal(text: str) -> None:
    with suppress(ConfigError):
        assert 0 <= parse_time(text, time_zone="UTC", now_ns=NOON_NS) < 2**63


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ConfigError, match="--from 2026-11-24 is not before --to 2026-11-24"):
        parse_range("2026-11-24", "2026-11-24", time_zone="UTC", now_ns=NOON_NS)
    assert parse_range(None, None, time_zone="UTC", now_ns=NOON_NS) == (None, None)


def test_lists_are_read_as_they_are_written() -> None:
    assert split_words(" a, b ,,c") == ("a", "b", "c")
    assert split_words(None) == ()


def test_an_agent_path_names_org_and_tenant_too() -> None:
    assert parse_where({"agent": "acme/support/triage", "kind": None}) == {
        "agent": ("triage",),
        "org": ("acme",),
        "tenant": ("support",),
    }
    assert parse_where({"agent": "a,b", "org": "acme"}) == {"agent": ("a", "b"), "org": ("acme",)}


@pytest.mark.parametrize(
    "words", [{"agent": "acme/support/triage", "org": "bolt"}, {"agent": "acme/support/a,b"}, {"agent": "acme/support"}]
)
def test_an_agent_path_that_contradicts_or_is_none_is_refused(words: dict[str, str | None]) -> None:
    with pytest.raises(ConfigError, match="agent"):
        parse_where(words)


def test_an_unknown_word_meets_its_nearest_and_all_the_others() -> None:
    assert unknown("report", "spent", ["spend", "activity"]).diagnostics() == (
        "There is no report 'spent'. Did you mean 'spend'? Known: spend, activity."
    )
    assert unknown("report", "xyz", ["spend"]).diagnostics() == "There is no report 'xyz'. Known: spend."
