"""The command as finance uses it: a bill made of the ledger is explained, and one call less is shadow usage."""

import csv
import io
import json
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.reconcile.cli import reconcile
from schemas.money import format_usd
from tests.analytics.reconcile import exports
from tests.analytics.reconcile.exports import DAY_S, NOON_DAY_S, export
from tests.analytics.written import HOUR_NS, NOON_NS, Written, call, counted, failed, merged, reversal, unmetered

GENERIC = ("day", "model", "calls", "input", "cache_read", "cache_write", "output", "cost")


def run(invoice: Path, data: Path, *words: str) -> Result:
    return CliRunner().invoke(reconcile, ["--invoice", str(invoice), "--data", str(data), *words])


def answered(done: Result) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows


def line(entry: dict[str, Any]) -> dict[str, object]:
    """One call as a provider would bill it."""
    return {
        "day": datetime.fromtimestamp(entry["event_time"] // 10**9, UTC).date(),
        "model": entry["model"],
        "calls": 1,
        "input": entry["input_tokens"],
        "cache_read": entry["cache_read_tokens"],
        "cache_write": entry["cache_write_tokens"],
        "output": entry["output_tokens"],
        "cost": format_usd(entry["cost_nano_usd"]),
    }


calls = st.builds(
    lambda agent, **columns: counted(call(agent, **columns)),
    agent=st.sampled_from(["a", "b"]),
    model=st.sampled_from(["gpt-5-mini-2025-08-07", "gpt-4o-mini-2024-07-18", None]),
    event_time=st.integers(NOON_NS - 40 * HOUR_NS, NOON_NS),
    input_tokens=st.integers(1, 10**9),
    cache_read_tokens=st.integers(0, 10**6),
    cache_write_tokens=st.integers(0, 10**6),
    output_tokens=st.integers(1, 10**6),
    cost_nano_usd=st.integers(1, 10**15),
)


@settings(max_examples=25, deadline=None)
@given(billed=st.lists(calls, min_size=1, max_size=8), data=st.data())
def test_a_bill_made_of_the_ledger_is_explained_and_a_call_less_is_shadow_of_its_size(
    billed: list[dict[str, Any]], data: st.DataObject
) -> None:
    lost = data.draw(st.integers(0, len(billed) - 1))
    noise = [failed(), merged(billed[0]), moved := counted(call("c")), reversal(moved)]
    with tempfile.TemporaryDirectory() as folder:
        invoice = export(Path(folder) / "bill.csv", GENERIC, *map(line, billed))
        whole, short = Written(Path(folder) / "whole"), Written(Path(folder) / "short")
        whole.book(*billed, *noise)
        short.book(*billed[:lost], *billed[lost + 1 :], *noise)
        for ledger in (whole, short):
            ledger.seal()
            ledger.close()
        explained = run(invoice, whole.data_dir, "--json", "--shape", "generic")
        differs = run(invoice, short.data_dir, "--json", "--shape", "generic")
    names = ("calls", "input", "cache_read", "cache_write", "output")
    rows = answered(explained)
    assert explained.exit_code == 0
    assert {row["verdict"] for row in rows} == {"explained"}
    assert all(row[f"{name}_difference"] == 0 for row in rows for name in names)
    assert all(row["cost_difference_usd"] == "0.000000000" for row in rows)
    (shadow,) = (row for row in answered(differs) if row["verdict"] != "explained")
    gone = line(billed[lost])
    assert differs.exit_code == 1
    assert (shadow["verdict"], shadow["day"], shadow.get("model")) == ("shadow", str(gone["day"]), gone["model"])
    assert [shadow[f"{name}_difference"] for name in names] == [gone[name] for name in names]
    assert shadow["cost_difference_usd"] == gone["cost"]


@pytest.fixture
def data(ledger: Written) -> Path:
    """Two calls on a bill, and one whose usage was not sent."""
    ledger.book(counted(call()), counted(call(event_time=NOON_NS - 24 * HOUR_NS)), counted(unmetered(model="gpt-5")))
    ledger.seal()
    return ledger.data_dir


def openai_usage(path: Path, *lines: tuple[int, str, int]) -> Path:
    """A usage export: day (0 is that of the ledger's noon), model and calls of 100 tokens in and 20 out."""
    rows = [
        {
            "start_time": NOON_DAY_S + day * DAY_S,
            "model": model,
            "api_key_id": f"key_{model}",
            "num_model_requests": f"{calls}.0",
            "input_tokens": f"{100 * calls}.0",
            "output_tokens": f"{20 * calls}.0",
            "input_cached_tokens": "0.0",
        }
        for day, model, calls in lines
    ]
    return export(path, exports.OPENAI_USAGE, *rows)


def test_the_page_says_what_is_not_explained_and_why(data: Path, tmp_path: Path) -> None:
    bill = openai_usage(tmp_path / "u.csv", (0, "gpt-4o-mini", 1), (0, "gpt-5-2025-08-07", 1), (0, "o3", 2))
    done = run(bill, data)
    assert done.exit_code == 1
    page = done.stdout.splitlines()
    assert page[0] == "Bill against ledger by day, model · 2026-11-24 to 2026-11-25 UTC"
    assert [text.split()[:3] for text in page if text.startswith("2026")] == [
        ["2026-11-24", "gpt-4o-mini-2024-07-18", "explained"],
        ["2026-11-24", "gpt-5", "differs"],
        ["2026-11-24", "o3", "shadow"],
    ]
    assert any("1 call of this group came without usage (`spanward report coverage`)." in text for text in page)
    assert page[-1].startswith("complete: received 3 = stored 3")


def test_the_days_are_the_exports_unless_others_are_asked_for(data: Path, tmp_path: Path) -> None:
    bill = openai_usage(tmp_path / "u.csv", (-1, "gpt-4o-mini", 1), (0, "gpt-4o-mini", 1), (0, "gpt-5", 1))
    dayless = [(row["model"], row["verdict"]) for row in answered(run(bill, data, "--json", "--by", "model"))]
    assert dayless == [("gpt-4o-mini-2024-07-18", "explained"), ("gpt-5", "differs")]
    before = run(bill, data, "--json", "--to", "2026-11-24")
    assert [(row["day"], row["verdict"]) for row in answered(before)] == [("2026-11-23", "explained")]
    assert before.exit_code == 0
    wider = answered(run(openai_usage(tmp_path / "w.csv", (0, "gpt-5", 1)), data, "--json", "--from", "2026-11-23"))
    assert [row["verdict"] for row in wider] == ["missing_on_bill", "missing_on_bill", "differs"]


def test_keys_are_listed_after_what_is_compared(data: Path, tmp_path: Path) -> None:
    bill = openai_usage(tmp_path / "u.csv", (0, "gpt-4o-mini", 1), (0, "gpt-5", 1))
    rows = answered(run(bill, data, "--json", "--by", "key"))
    assert [(row["key"], row["verdict"], row["calls_billed"], row["calls_recorded"]) for row in rows] == [
        (None, "differs", 2, 2),
        ("key_gpt-4o-mini", "not_compared", 1, None),
        ("key_gpt-5", "not_compared", 1, None),
    ]
    assert "total" not in run(bill, data, "--by", "key").stdout


def test_an_organisation_can_be_compared_alone(data: Path, tmp_path: Path) -> None:
    bill = openai_usage(tmp_path / "u.csv", (0, "gpt-4o-mini", 1))
    assert [row["verdict"] for row in answered(run(bill, data, "--json", "--org", "bolt"))] == ["shadow"]


def test_a_generic_bill_is_of_one_provider_or_of_all(data: Path, tmp_path: Path) -> None:
    row = {"Date": date(2026, 11, 24), "SKU": "gpt-4o-mini", "Requests": 1}
    bill = export(tmp_path / "g.csv", row, row)
    words = ("--map", "day=Date", "--map", "model=SKU", "--map", "calls=Requests", "--json")
    assert [r["verdict"] for r in answered(run(bill, data, *words))] == ["explained", "missing_on_bill"]
    other = answered(run(bill, data, *words, "--provider", "aws.bedrock"))
    assert [r["verdict"] for r in other] == ["shadow"]


def test_every_format_has_the_same_columns(data: Path, tmp_path: Path) -> None:
    bill = openai_usage(tmp_path / "u.csv", (0, "gpt-4o-mini", 1), (0, "gpt-5", 1))
    (row, _) = answered(run(bill, data, "--json"))
    header = next(csv.reader(io.StringIO(run(bill, data, "--format", "csv").stdout, newline="")))
    assert run(bill, data, "--output", str(tmp_path / "out.parquet")).exit_code == 1
    table = pq.read_table(tmp_path / "out.parquet")
    assert list(row) == header == table.column_names
    assert str(table.schema.field("cost_recorded_usd").type) == "decimal128(38, 9)"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shape", "openai"], "There is no shape 'openai'. Did you mean 'openai-usage'?"),
        (["--shape", "openai-costs"], "The export lacks amount_value, amount_currency."),
        (["--by", "agent"], "There is no --by column 'agent'."),
        (["--by", "day,day"], "--by day,day names a column twice."),
        (["--from", "2026-11-24T01:00"], "--from is not midnight in UTC."),
        (["--from", "2026-12-01"], "The export's days, 2026-11-24 to 2026-11-24, are not in the period asked for."),
        (["--map", "day"], "--map day is no pair."),
        (["--map", "dya=Date"], "--map has no 'dya'. Did you mean 'day'?"),
        (["--map", "day=Date", "--shape", "openai-usage"], "--map and --provider do not go with --shape openai-usage."),
        (["--tolerance", "lots"], "'lots' is no tolerance."),
        (["--format", "xls"], "There is no format 'xls'."),
        (["--time-zone", "Europe/Berln"], "'Europe/Berln' is not a time zone."),
        (["--data", "nowhere"], "There is no data directory nowhere."),
        (["--invoice", "nowhere.csv"], "nowhere.csv: No such file or directory."),
    ],
)
def test_what_cannot_be_compared_is_explained_and_is_exit_code_2(
    words: list[str], message: str, data: Path, tmp_path: Path
) -> None:
    done = run(openai_usage(tmp_path / "u.csv", (0, "gpt-4o-mini", 1)), data, *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: {message}")


def test_an_export_without_a_model_is_compared_by_day(data: Path, tmp_path: Path) -> None:
    row = {"start_time": NOON_DAY_S, "amount_value": "0.000027", "amount_currency": "usd"}
    done = run(export(tmp_path / "c.csv", exports.OPENAI_COSTS, row), data)
    assert done.stdout.startswith("Bill against ledger by day · ")
    refused = run(export(tmp_path / "c.csv", exports.OPENAI_COSTS, row), data, "--by", "model")
    assert refused.stderr.startswith("Error: The export names no model. Export it grouped by model, or use --by day.")


def test_a_damaged_ledger_is_no_difference(data: Path, tmp_path: Path) -> None:
    for entry in (data / "store").glob("ledger/v1/log/*/entry/*"):
        entry.unlink()
        entry.write_text("{}")
    done = run(openai_usage(tmp_path / "u.csv", (0, "gpt-4o-mini", 1)), data)
    assert done.exit_code == 2
    assert "Run `spanward verify`" in done.stderr


def test_help_does_not_load_the_data_frame_library() -> None:
    program = "import sys, analytics.reconcile.cli; sys.exit('polars' in sys.modules or 'pyarrow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
