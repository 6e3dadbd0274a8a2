"""A missing tool in, a named gap out: nothing that could not be tested goes by in silence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import ROOT

NEEDY = "def test_of_a_peer(tool):\n    assert tool('telemetrygen')\n\n\ndef test_of_our_own():\n    pass\n"


@pytest.fixture
def needy(tmp_path: Path) -> Path:
    """A suite of two tests, one of which needs a tool."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n", encoding="utf-8")
    (tmp_path / "test_needy.py").write_text(NEEDY, encoding="utf-8")
    (tmp_path / "tools").mkdir()
    return tmp_path


def run(needy: Path, *, ci: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CI": ci, "SPANWARD_TOOLS": str(needy / "tools"), "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--rootdir",
        str(needy),
        "-p",
        "no:cacheprovider",
        "--color=no",
        str(needy),
    ]
    return subprocess.run(command, cwd=needy, env=environment, capture_output=True, text=True, check=False)


def test_on_a_persons_machine_the_rest_runs_and_the_gap_is_named_with_its_remedy(needy: Path) -> None:
    done = run(needy, ci="")
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped" in done.stdout
    assert "left out: 1 of the tests" in done.stdout
    assert "test_of_a_peer" in done.stdout
    assert "needs the OpenTelemetry load generator (telemetrygen v0.161.0). Install Go 1.26 or newer" in done.stdout


def test_in_ci_a_left_out_test_is_a_failure(needy: Path) -> None:
    done = run(needy, ci="true")
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
