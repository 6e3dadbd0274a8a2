"""How an export is read: exactly, or not at all and with the cell that is wrong."""

from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.reconcile.invoice import Invoice, Place, read
from analytics.reconcile.shapes import GENERIC, SHAPES, mapped
from schemas.errors import ConfigError
from tests.analytics.reconcile import exports
from tests.analytics.reconcile.exports import DAY_S, NOON_DAY_S, export

DAY = date(2026, 11, 24)


def generic(tmp_path: Path, text: str, *, time_zone: str = "UTC", **columns: str) -> Invoice:
    path = tmp_path / "bill.csv"
    path.write_bytes(text.encode())
    return read(path, mapped(columns, ""), time_zone=time_zone)


def refusal(tmp_path: Path, text: str, **columns: str) -> str:
    with pytest.raises(ConfigError) as refused:
        generic(tmp_path, text, **columns)
    return refused.value.diagnostics()


def test_openai_usage_counts_requests_and_all_input_with_its_cached_part(tmp_path: Path) -> None:
    used = {
        "start_time": NOON_DAY_S,
        "num_model_requests": "10.0",
        "model": "gpt-4o-2024-08-06",
        "api_key_id": "key_1",
        "input_tokens": "59200.0",
        "output_tokens": "10646.0",
        "input_cached_tokens": "5760.0",
    }
    empty = {"start_time": NOON_DAY_S + DAY_S, "start_time_iso": "2026-11-25T00:00:00+00:00"}
    invoice = read(export(tmp_path / "u.csv", exports.OPENAI_USAGE, used, used, empty), None, time_zone="UTC")
    assert invoice.shape.name == "openai-usage"
    assert invoice.quantities == ("calls", "input", "cache_read", "output")
    assert (invoice.first, invoice.last) == (DAY, date(2026, 11, 25))
    ((place, line),) = invoice.lines.items()
    assert place == Place(DAY, "gpt-4o-2024-08-06", "key_1")
    assert line.counts == {"calls": 20, "input": 118_400, "cache_read": 11_520, "output": 21_292}


def test_openai_costs_name_a_model_before_the_class_and_amounts_longer_than_a_nano_dollar(tmp_path: Path) -> None:
    items = {"gpt-4o-2024-08-06, input": "0.8958740000000000", "gpt-4o-2024-08-06, output": "5.25e-05"}
    rows = [
        {"start_time": NOON_DAY_S, "amount_value": amount, "amount_currency": "usd", "line_item": item}
        for item, amount in items.items()
    ]
    invoice = read(export(tmp_path / "c.csv", exports.OPENAI_COSTS, *rows), None, time_zone="UTC")
    assert (invoice.shape.name, invoice.quantities) == ("openai-costs", ("cost",))
    assert {place.model: line.nano_usd for place, line in invoice.lines.items()} == {"gpt-4o-2024-08-06": 895_926_500}


def test_anthropic_usage_adds_the_cached_classes_to_the_input(tmp_path: Path) -> None:
    used = {
        "usage_date_utc": "2026-11-24",
        "model_version": "claude-sonnet-4-5-20250929",
        "api_key": "prod",
        "usage_input_tokens_no_cache": 1,
        "usage_input_tokens_cache_write_5m": 20,
        "usage_input_tokens_cache_write_1h": 300,
        "usage_input_tokens_cache_read": 4000,
        "usage_output_tokens": 7,
    }
    hourly = used | {"usage_date_utc": "2026-11-24 15:00"}
    invoice = read(export(tmp_path / "u.csv", exports.ANTHROPIC_USAGE, used, hourly), None, time_zone="UTC")
    assert (invoice.shape.name, invoice.places) == ("anthropic-usage", ("day", "model", "key"))
    assert [line.counts for line in invoice.lines.values()] == [
        {"input": 8642, "cache_read": 8000, "cache_write": 640, "output": 14}
    ]


def test_anthropic_costs_are_in_cents_a_row(tmp_path: Path) -> None:
    rows = [
        {"usage_date_utc": "2026-11-24", "model": "Claude Haiku 4.5", "token_type": kind, "cost_usd": cost}
        for kind, cost in (("input_no_cache", "0.05"), ("output", "0.02"))
    ]
    invoice = read(export(tmp_path / "c.csv", exports.ANTHROPIC_COSTS, *rows), None, time_zone="UTC")
    assert (invoice.shape.name, invoice.shape.cost_unit_nano_usd) == ("anthropic-costs", 10_000_000)
    assert [(line.nano_usd, line.rows) for line in invoice.lines.values()] == [(70_000_000, 2)]


def test_a_generic_export_is_read_by_the_columns_a_person_names(tmp_path: Path) -> None:
    text = 'Date,SKU,"Fresh, in",Cached,USD\r\n2026-11-24,m,10,3,-1.5\r\n'
    invoice = generic(tmp_path, text, day="Date", model="SKU", input="Fresh, in+Cached", cost="USD")
    ((place, line),) = invoice.lines.items()
    assert place == Place(DAY, "m", None)
    assert (line.counts, line.nano_usd) == ({"input": 13}, -1_500_000_000)


def test_moments_are_days_of_the_time_zone_and_days_are_days(tmp_path: Path) -> None:
    text = f"day,calls\n2026-11-24T20:00:00Z,1\n{NOON_DAY_S + 72_000},10\n2026-11-24,100\n"
    invoice = generic(tmp_path, text, time_zone="Asia/Tokyo")
    found = {place.day: line.counts["calls"] for place, line in invoice.lines.items()}
    assert found == {date(2026, 11, 25): 11, DAY: 100}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('day,calls\n2026-11-24,"1,234"\n', "Line 2, column calls: '1,234' is not a whole number."),
        ('day,cost\n2026-11-24,"1,234.50"\n', "Line 2, column cost: '1,234.50' is not an amount."),
        ("day,cost\n2026-11-24,$5\n", "Line 2, column cost: '$5' is not an amount."),
        ("day,cost\n2026-11-24,NaN\n", "Line 2, column cost: 'NaN' is not an amount."),
        ("day,calls\n2026-11-24,1.5\n", "Line 2, column calls: '1.5' is not a whole number."),
        ("day,calls\n2026-11-24,-1\n", "Line 2, column calls: '-1' is not a whole number."),
        ('day,calls\n"2026-11-24",1\n24.11.2026,1\n', "Line 3, column day: '24.11.2026' is not a day."),
        ("day,calls\n2026-02-30,1\n", "Line 2, column day: '2026-02-30' is not a day."),
        ("day,calls\n24h,1\n", "Line 2, column day: '24h' is not a day."),
        ("day,calls\n2026-11-24,1,2\n", "Line 2 has 3 cells, the header 2. A comma inside a cell needs quotes"),
        ("day,calls,calls\n2026-11-24,1,2\n", "The header names a column twice"),
        ('day,calls\n2026-11-24,"1"2\n', "is not CSV as RFC 4180 has it"),
        ("day,calls\n", "The export has no rows."),
        ("", "The export lacks day."),
    ],
)
def test_what_cannot_be_read_exactly_is_refused_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    assert message in refusal(tmp_path, text)


def test_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bill.csv"
    path.write_bytes("day,model\n2026-11-24,é\n".encode("utf-16"))
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        read(path, GENERIC, time_zone="UTC")


def test_another_currency_is_refused(tmp_path: Path) -> None:
    row = {"start_time": NOON_DAY_S, "amount_value": "1", "amount_currency": "eur"}
    with pytest.raises(ConfigError, match="Line 2, column amount_currency: 'eur' is not US dollars"):
        read(export(tmp_path / "c.csv", exports.OPENAI_COSTS, row), None, time_zone="UTC")


def test_a_file_of_no_known_shape_is_told_what_each_shape_needs(tmp_path: Path) -> None:
    path = export(tmp_path / "x.csv", ("Date", "Amount"), {"Date": "2026-11-24"})
    with pytest.raises(ConfigError) as refused:
        read(path, None, time_zone="UTC")
    assert "The columns Date, Amount are of no known export." in refused.value.what
    assert all(f"{shape.name} also needs" in refused.value.fix for shape in SHAPES)


def test_the_days_of_a_provider_are_utc_and_no_other(tmp_path: Path) -> None:
    path = export(tmp_path / "u.csv", exports.OPENAI_USAGE, {"start_time": NOON_DAY_S})
    with pytest.raises(ConfigError, match="counts days in UTC, not in Asia/Tokyo"):
        read(path, None, time_zone="Asia/Tokyo")


def test_a_field_nobody_compares_meets_its_nearest() -> None:
    with pytest.raises(ConfigError, match="--map has no 'modle'") as refused:
        mapped({"modle": "M"}, "")
    assert "Did you mean 'model'?" in refused.value.fix


@given(amounts=st.lists(st.decimals("-1000000", "1000000", places=12), min_size=1, max_size=20))
def test_money_is_added_exactly_and_rounded_once(
    amounts: list[object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = "".join(f"2026-11-24,{amount:f}\n" for amount in amounts)
    invoice = generic(tmp_path_factory.mktemp("bill"), f"day,cost\n{rows}")
    pico = sum(int(f"{amount:.12f}".replace(".", "")) for amount in amounts)
    (line,) = invoice.lines.values()
    assert abs(line.nano_usd * 1000 - pico) <= 500


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=80))
def test_no_bytes_get_anything_but_an_invoice_or_a_refusal(
    raw: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"day,model,calls,cost\n" + raw)
    with suppress(ConfigError):
        assert read(path, GENERIC, time_zone="UTC").lines is not None
