"""A bare or changed machine in, a ready one or the command that mends it out: `make` and `.ci/setup`."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.house.source import ROOT

# What .ci/setup needs of a machine besides Python: POSIX, and nothing else.
POSIX = ("sh", "cat", "cksum", "dirname", "id", "rm")


def test_make_alone_tells_what_can_be_done() -> None:
    done = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = re.findall(r"^  make (\w+)", done.stdout, re.MULTILINE)
    assert listed == ["help", "setup", "demo", "test", "bench", "lint"]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout on a machine with nothing but POSIX tools, and no right to install any."""
    (tmp_path / "src/.ci").mkdir(parents=True)
    (tmp_path / "src/collector/client").mkdir(parents=True)
    for name in (".ci/setup", "uv.lock", "pyproject.toml", "collector/client/pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / "src" / name)
    (tmp_path / "bin").mkdir()
    for name in POSIX:
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    return tmp_path


def setup(machine: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(machine / "bin"), "HOME": str(machine)}
    return subprocess.run(
        [machine / "bin/sh", ".ci/setup"],
        cwd=machine / "src",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_machine_without_python_is_told_the_command_that_installs_it(machine: Path) -> None:
    done = setup(machine)
    assert done.returncode == 1
    assert "sudo apt-get install -y python3.11 python3.11-venv" in done.stderr


def test_python_that_cannot_make_environments_is_told_the_package_it_misses(machine: Path) -> None:
    # Debian's python3 without python3-venv: it runs, says its version, and has no ensurepip.
    python = machine / "bin/python3"
    python.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; *print*) echo 3.12;; esac\n', encoding="utf-8")
    python.chmod(0o755)
    done = setup(machine)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].strip() == "sudo apt-get install -y python3.12-venv"


def test_old_python_is_passed_over(machine: Path) -> None:
    python = machine / "bin/python3"
    python.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    python.chmod(0o755)
    assert "this machine lacks python3.11" in setup(machine).stderr


@pytest.mark.parametrize(("name", "folder"), [("spanward", "."), ("spanward-client", "collector/client")])
def test_lock_file_belongs_to_this_pyproject(name: str, folder: str) -> None:
    """`uv sync --frozen` trusts the lock file, so a forgotten `uv lock` would install yesterday's dependencies."""
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    metadata = next(package["metadata"] for package in locked["package"] if package["name"] == name)
    assert _locked(metadata["requires-dist"]) == {_normal(text) for text in project["project"]["dependencies"]}
    for group, members in project.get("dependency-groups", {}).items():
        assert {_normal(text) for text in members if isinstance(text, str)} <= _locked(metadata["requires-dev"][group])


def _locked(rows: list[dict[str, str]]) -> set[str]:
    """Requirements as the lock file keeps them; those of extras are left out."""
    return {row["name"] + _normal(row.get("specifier", "")) for row in rows if "marker" not in row}


def _normal(requirement: str) -> str:
    """A requirement with its bounds in one order and no spaces."""
    name = re.match(r"[\w-]*", requirement.strip())
    assert name is not None
    bounds = requirement.strip()[name.end() :].replace(" ", "").split(",")
    return name.group() + ",".join(sorted(bounds))
