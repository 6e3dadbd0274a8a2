"""The command line as people and scripts use it: stdout is data, slips are explained, files appear whole."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from analytics.cli import report
from analytics.formats import FORMATS
from analytics.query import FILTERS
from analytics.reports import REPORTS
from tests.analytics.written import Written, call, unmetered


@pytest.fixture
def data(ledger: Written) -> Path:
    """A ledger with three calls of two agents."""
    ledger.book(call("a"), call("b"), unmetered("b"))
    ledger.seal()
    return ledger.data_dir


def run(*words: str, data: Path) -> Result:
    return CliRunner().invoke(report, [*words, "--data", str(data)])


def test_the_answer_is_on_stdout_and_nothing_else(data: Path) -> None:
    done = run("spend", "--by", "agent,model", "--format", "json", data=data)
    assert done.exit_code == 0
    assert [row["calls"] for row in json.loads(done.stdout)["rows"]] == [1, 2]
    assert done.stderr == ""


def test_csv_says_its_completeness_on_stderr(data: Path) -> None:
    done = run("spend", "--format", "csv", data=data)
    assert done.stdout_bytes.count(b"\r\n") == 3
    assert done.stderr == (
        "complete: received 3 = stored 3 + duplicate 0 + rejected 0; 1 call unmetered (cost unknown)\n"
    )


def test_json_has_a_short_name_and_a_table_is_the_default(data: Path) -> None:
    assert run("spend", "--json", data=data).stdout == run("spend", "--format", "json", data=data).stdout
    assert run("spend", data=data).stdout.startswith("Spend by agent · all time\n")


def test_filters_and_periods_reach_the_report(data: Path) -> None:
    done = run("activity", "--kind", "call", "--agent", "acme/support/b", "--limit", "1", "--json", data=data)
    assert [row["agent"] for row in json.loads(done.stdout)["rows"]] == ["b"]
    assert json.loads(run("activity", "--from", "2026-11-25", "--json", data=data).stdout)["rows"] == []
    assert len(json.loads(run("spend", "--to", "2026-11-25", "--json", data=data).stdout)["rows"]) == 2


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_file_is_named_by_its_ending_and_appears_whole(format_name: str, data: Path, tmp_path: Path) -> None:
    path = tmp_path / f"spend.{format_name}"
    path.write_text("last month's")
    done = run("spend", "--output", str(path), data=data)
    assert (done.exit_code, done.stdout) == (0, "")
    assert b"last month" not in path.read_bytes()
    if format_name == "parquet":
        assert pq.read_table(path).num_rows == 2
    else:
        assert path.read_bytes() == run("spend", "--format", format_name, data=data).stdout_bytes
    assert not list(tmp_path.glob("*.partial"))


def test_a_report_that_fails_leaves_the_old_file_alone(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "spend.csv"
    path.write_text("last month's")
    (entry,) = (data / "store").glob("ledger/v1/log/*/entry/*")
    entry.unlink()
    entry.write_text("{}")
    done = run("spend", "--output", str(path), data=data)
    assert done.exit_code == 1
    assert "Run `spanward verify`" in done.stderr
    assert path.read_text() == "last month's"
    assert not list(tmp_path.glob("*.partial"))


def test_a_file_that_cannot_be_written_is_said_and_not_a_traceback(data: Path, tmp_path: Path) -> None:
    done = run("spend", "--output", str(tmp_path / "missing" / "x.csv"), data=data)
    assert done.exit_code == 1
    assert "No such file or directory" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["spent"], "There is no report 'spent'. Did you mean 'spend'? Known: spend, coverage, activity."),
        (["spend", "--by", "agnet"], "There is no --by column 'agnet'. Did you mean 'agent'? Known: org, tenant,"),
        (["spend", "--by", "agent,agent"], "--by agent,agent names a column twice."),
        (["spend", "--format", "cvs"], "There is no format 'cvs'. Did you mean 'csv'?"),
        (["spend", "--format", "parquet"], "A Parquet report is not for the terminal. Add --output FILE."),
        (["spend", "--from", "yesterday"], "'yesterday' is not a time. Write 2026-11-24,"),
        (["spend", "--from", "7x"], "'7x' is not a duration."),
        (["spend", "--from", "1h", "--to", "2h"], "--from 1h is not before --to 2h."),
        (["spend", "--time-zone", "Europe/Berln"], "'Europe/Berln' is not a time zone. Did you mean 'Europe/Berlin'?"),
        (["spend", "--kind", "call"], "spend has no filter --kind. It has --org, --tenant, --agent."),
        (["spend", "--limit", "3"], "spend has no --limit."),
        (["spend", "--agent", "acme/support"], "'acme/support' is not an agent path."),
        (["activity", "--kind", "cal"], "There is no kind of entry 'cal'. Did you mean 'call'?"),
        (["activity", "--by", "agent"], "activity shows single entries and has no --by."),
        (["activity", "--limit", "0"], "--limit 0 shows nothing."),
    ],
)
def test_a_slip_is_explained_and_is_exit_code_2(words: list[str], message: str, data: Path) -> None:
    done = run(*words, data=data)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"Error: {message}")


def test_a_data_directory_that_is_not_there_is_a_slip(tmp_path: Path) -> None:
    done = run("spend", data=tmp_path / "nowhere")
    assert done.exit_code == 2
    assert "There is no data directory" in done.stderr


def test_a_reader_that_has_seen_enough_hears_no_complaint(ledger: Written) -> None:
    ledger.book(*[call()] * 2_000)
    ledger.seal()
    program = "import sys; from analytics.cli import report; report(sys.argv[1:])"
    words = ["activity", "--format", "csv", "--data", str(ledger.data_dir)]
    with subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_help_names_every_report_filter_and_format() -> None:
    text = CliRunner().invoke(report, ["--help"]).stdout
    assert all(f"\n  {known.name}  " in text for known in REPORTS)
    assert all(f"--{known.name} " in text for known in FILTERS)
    assert all(name in text for name in FORMATS)


def test_help_does_not_load_the_data_frame_library() -> None:
    program = "import sys, analytics.cli; sys.exit('polars' in sys.modules or 'pyarrow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
