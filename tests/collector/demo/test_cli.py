"""The command line of the demo: what it refuses before anything starts, and the commands it recommends."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from collector.cli import COMMANDS
from collector.demo import cli
from collector.demo.closing import command, next_steps


def test_missing_packages_are_named_before_anything_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cli, "NEEDED", ("msgspec", "no_such_package", "no_such.package_either"))
    result = CliRunner().invoke(cli.demo, ["--data", str(tmp_path / "data")])
    assert result.exit_code == 1
    assert "need no_such_package, no_such.package_either." in result.output
    assert not (tmp_path / "data").exists()


def test_a_folder_of_somebody_else_ends_it_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    result = CliRunner().invoke(cli.demo, ["--data", str(tmp_path)])
    assert result.exit_code == 1
    assert "left alone" in result.output


def test_commands_are_recommended_as_this_user_has_to_write_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed = tmp_path / "bin" / "spanward"
    installed.parent.mkdir()
    installed.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", [str(installed)])
    assert command() == str(installed)
    monkeypatch.setenv("PATH", str(installed.parent))
    assert command() == "spanward"
    monkeypatch.setattr("sys.argv", ["collector/__main__.py"])
    assert command() == "spanward"


def test_every_recommended_command_exists(tmp_path: Path) -> None:
    assert {line.split()[1] for line in next_steps(tmp_path)} <= COMMANDS.keys()
