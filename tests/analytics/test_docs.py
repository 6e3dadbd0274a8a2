"""The published page is made from the registry, and is up to date."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from analytics.completeness import Completeness
from analytics.docs import __main__ as command
from analytics.docs import page
from analytics.query import FILTERS
from analytics.reconcile.columns import COLUMNS, PLACE_COLUMNS
from analytics.reconcile.reasons import Verdict
from analytics.reconcile.shapes import SHAPES
from analytics.reports import REPORTS


def test_the_page_in_docs_is_the_one_the_registry_makes() -> None:
    assert command.PATH.read_text(encoding="utf-8") == page()


def test_the_page_explains_every_report_column_filter_and_member_of_completeness() -> None:
    text = page()
    for report in REPORTS:
        assert f"\n## {report.name}\n" in text
        assert all(f"| `{column.name}` | {column.type} |" in text for column in (*report.dimensions, *report.columns))
    assert all(f"| `--{known.name}` |" in text for known in FILTERS)
    members = Completeness.__struct_encode_fields__
    assert all(f"`{name}`" in text.partition("## spend")[0] for name in members)


def test_the_page_explains_every_shape_verdict_and_column_of_a_reconciliation() -> None:
    text = page().partition("# Bill against ledger\n")[2]
    verdicts = [value for name, value in vars(Verdict).items() if name.isupper()]
    assert all(f"| `{name}` |" in text for name in (*verdicts, *(shape.name for shape in SHAPES)))
    assert all(f"| `{column.name}` | {column.type} |" in text for column in (*PLACE_COLUMNS, *COLUMNS))


def test_every_column_says_what_it_means() -> None:
    reported = (column for report in REPORTS for column in (*report.dimensions, *report.columns))
    for column in (*reported, *PLACE_COLUMNS, *COLUMNS):
        assert column.doc.endswith((".", "…")), column.name
        assert column.unit if column.type == "usd" else True


def test_check_says_when_the_page_is_out_of_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PATH", tmp_path / "reports.md")
    run = CliRunner()
    assert run.invoke(command.main, ["--check"]).exit_code == 1
    assert run.invoke(command.main, []).exit_code == 0
    assert run.invoke(command.main, ["--check"]).exit_code == 0
    command.PATH.write_text("stale")
    done = run.invoke(command.main, ["--check"])
    assert done.exit_code == 1
    assert "Run python -m analytics.docs." in done.stderr
