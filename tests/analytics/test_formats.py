"""The same rows in every format: safe in a spreadsheet, exact in Parquet, the same bytes each time."""

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analytics.answer import Answer, ask
from analytics.columns import ReportColumn
from analytics.formats import FORMATS
from analytics.query import Query
from analytics.report import Report
from analytics.reports import REPORTS
from schemas.money import format_usd
from tests.analytics.asking import answer, report, written, written_with_notes
from tests.analytics.written import NOON_NS, Written, call, unmetered

TEXT = ReportColumn(name="text", type="text", doc="What somebody sent.")
COST = ReportColumn(name="cost_usd", type="usd", unit="USD", doc="What it cost.")
STARTS = ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"]


@pytest.fixture
def asked(ledger: Written) -> Path:
    """A ledger with calls of every sort, in two segments."""
    ledger.book(call("a", cost_nano_usd=-1), call("b", event_time=NOON_NS - 1), unmetered("b"))
    ledger.seal()
    ledger.book(unmetered("c", message='said "no",\r\nthen =1+1'), call("=cmd()", subject="", cost_nano_usd=2**62))
    ledger.seal()
    return ledger.data_dir


def given_rows(tmp: Path, column: ReportColumn, values: list[object], dtype: pl.DataType | None = None) -> Answer:
    """An answer of one column beside a constant, with the completeness of an empty ledger."""
    columns = (column, ReportColumn(name="beside", type="int", doc="A neighbour."))
    frame = pl.DataFrame({column.name: pl.Series(values, dtype=dtype or pl.String), "beside": [1] * len(values)})
    shown = Report(name="x", title="X", question="?", filters=(), columns=columns, plan=lambda entries, _: entries)
    return msgspec.structs.replace(ask(shown, tmp, Query()), batches=iter([frame]))


def cells(raw: bytes) -> list[str]:
    """First cell of each row but the header, as Python's reader sees it."""
    return [row[0] for row in csv.reader(io.StringIO(raw.decode(), newline=""))][1:]


@pytest.mark.parametrize("start", STARTS)
def test_text_that_a_spreadsheet_would_run_is_made_text(start: str, tmp_path: Path) -> None:
    payloads = [start, f"{start}1+1", f'{start}HYPERLINK("x","y")', f"a{start}b"]
    found = cells(written(given_rows(tmp_path, TEXT, list(payloads)), "csv"))
    assert found == [f"'{payloads[0]}", f"'{payloads[1]}", f"'{payloads[2]}", payloads[3]]


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=3))
@example(["\ufeff=1", "\u2028", '"', ",", "\x00", "a\rb", "'=1"])
def test_any_text_survives_a_csv_reader_and_never_begins_as_a_formula(texts: list[str]) -> None:
    found = cells(written(given_rows(Path(), TEXT, list(texts)), "csv"))
    assert [cell.removeprefix("'") for cell in found] == [text.removeprefix("'") for text in texts]
    assert not any(cell.startswith(tuple(STARTS)) for cell in found)


def test_a_negative_amount_is_a_number_and_stays_one(tmp_path: Path) -> None:
    raw = written(given_rows(tmp_path, COST, [-1, None, 2**70], pl.Int128()), "csv")
    assert cells(raw) == ["-0.000000001", "", "1180591620717.411303424"]


def test_csv_has_rfc_4180_line_ends_and_tells_empty_from_unknown(tmp_path: Path) -> None:
    raw, notes = written_with_notes(given_rows(tmp_path, TEXT, ["", None, "a"]), "csv")
    assert raw == b'text,beside\r\n"",1\r\n,1\r\na,1\r\n'
    assert notes == "complete: received 0 = stored 0 + duplicate 0 + rejected 0\n"


def test_csv_of_nothing_is_its_header(tmp_path: Path) -> None:
    raw = written(answer(tmp_path, "spend"), "csv")
    assert raw.startswith(b"agent,calls,unmetered_calls,")
    assert raw.count(b"\r\n") == 1


def test_json_is_one_object_with_a_row_a_line(asked: Path) -> None:
    raw = written(answer(asked, "spend"), "json")
    found = json.loads(raw)
    assert list(found) == ["report", "completeness", "rows"]
    assert found["report"] == "spend"
    assert len(raw.splitlines()) == len(found["rows"]) + 2
    assert {row["agent"]: row["cost_usd"] for row in found["rows"]} == {
        "=cmd()": "4611686018.427387904",
        "a": "-0.000000001",
        "b": "0.000027000",
        "c": None,
    }


def test_json_of_nothing_is_valid(tmp_path: Path) -> None:
    assert json.loads(written(answer(tmp_path, "activity"), "json"))["rows"] == []


def test_parquet_is_typed_and_explains_itself_to_pyarrow(asked: Path) -> None:
    raw = written(answer(asked, "spend", by=("day", "hour", "agent")), "parquet")
    table = pq.read_table(pa.BufferReader(raw))
    types = {field.name: str(field.type) for field in table.schema}
    assert types["day"] == "date32[day]"
    assert types["hour"] == "timestamp[ns, tz=UTC]"
    assert types["agent"] == "string"
    assert types["cost_usd"] == "decimal128(38, 9)"
    assert {types[name] for name in ("calls", "input_tokens", "failed_calls")} == {"int64"}
    described = {field.name: field.metadata[b"description"].decode() for field in table.schema}
    assert described["agent"] == "Agent within the tenant."
    assert all(described.values())
    assert table.schema.field("input_tokens").metadata[b"unit"] == b"tokens"
    assert table.schema.metadata[b"spanward.report"] == b"spend"
    assert json.loads(table.schema.metadata[b"spanward.completeness"])["received"] == 5
    assert table["agent"].to_pylist() == ["b", "=cmd()", "a", "b", "c"]
    amounts = ["0.000027", "4611686018.427387904", "-1E-9", None, None]
    assert table["cost_usd"].to_pylist() == [None if text is None else Decimal(text) for text in amounts]
    assert set(table["day"].to_pylist()) == {date(2026, 11, 24)}


def test_parquet_is_typed_and_explains_itself_to_polars(asked: Path, tmp_path: Path) -> None:
    path = tmp_path / "activity.parquet"
    path.write_bytes(written(answer(asked, "activity", time_zone="Asia/Tokyo"), "parquet"))
    frame = pl.read_parquet(path)
    assert frame.schema["time"] == pl.Datetime("ns", "UTC")
    assert frame.schema["cost_usd"] == pl.Decimal(38, 9)
    assert frame.schema["seq"] == pl.Int64
    assert frame.schema["message"] == pl.String
    columns = json.loads(pl.read_parquet_metadata(path)["spanward.columns"])
    assert list(columns) == frame.columns
    assert columns["cost_usd"]["unit"] == "USD"
    first = frame.filter(kind="call").row(0, named=True)
    assert (first["agent"], first["cost_usd"]) == ("b", Decimal("0.000027"))
    assert first["time"] == datetime(2026, 11, 24, 11, 59, 59, 999999, tzinfo=UTC)


@given(st.lists(st.one_of(st.none(), st.integers(-(2**100), 2**100)), min_size=1))
def test_amounts_are_the_same_in_every_format(nano_usd: list[int | None]) -> None:
    def asked() -> Answer:
        return given_rows(Path(), COST, list(nano_usd), pl.Int128())

    expected = [None if nano is None else format_usd(nano) for nano in nano_usd]
    assert [row["cost_usd"] for row in json.loads(written(asked(), "json"))["rows"]] == expected
    assert cells(written(asked(), "csv")) == [text or "" for text in expected]
    table = pq.read_table(pa.BufferReader(written(asked(), "parquet")))
    assert table["cost_usd"].to_pylist() == [None if text is None else Decimal(text) for text in expected]


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("name", [report.name for report in REPORTS])
def test_the_same_ledger_gives_the_same_bytes(name: str, format_name: str, asked: Path) -> None:
    first, second = (written(answer(asked, name), format_name) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", [report.name for report in REPORTS])
def test_every_format_has_the_documented_columns_in_order(name: str, asked: Path) -> None:
    chosen = report(name)
    documented = [column.name for column in chosen.columns_of(chosen.check(Query()))]
    header = next(csv.reader(io.StringIO(written(answer(asked, name), "csv").decode(), newline="")))
    rows = json.loads(written(answer(asked, name), "json"))["rows"]
    table = pq.read_table(pa.BufferReader(written(answer(asked, name), "parquet")))
    assert header == table.column_names == list(rows[0]) == documented
