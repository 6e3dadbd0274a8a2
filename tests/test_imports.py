"""Import statements in, arrows that point the wrong way out."""

import ast
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from tests.house.source import ROOMS, ROOT, load

BIN = Path(sys.executable).parent
PACKAGES = (*ROOMS, "spanward_client")


def test_every_contract_is_kept() -> None:
    done = subprocess.run([BIN / "lint-imports", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions count: a lazy import hides a circle, it does not remove it."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    arrows = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    while leaves := {module for module, below in arrows.items() if not below & arrows.keys()}:
        arrows = {module: below for module, below in arrows.items() if module not in leaves}
    assert sorted(arrows) == []


def test_no_import_hides_behind_type_checking() -> None:
    hidden = [
        source.at(node.lineno, "imports only for the type checker")
        for source in load(ROOT, ROOMS)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    assert hidden == []


@pytest.mark.parametrize(
    ("module", "strangers"),
    [
        # Reading the ledger must not need the doors, and serving must not need the reports.
        ("analytics.cli", {"grpc", "uvicorn", "collector.receivers", "collector.control"}),
        ("collector.cli", {"grpc", "uvicorn", "polars", "pyarrow", "collector.receivers"}),
        ("collector.serve", {"polars", "analytics"}),
        # What runs in other people's agents brings nothing of ours along.
        ("spanward_client", {*ROOMS, "grpc", "pyarrow", "polars", "msgspec"}),
    ],
)
def test_importing_a_room_brings_no_stranger(module: str, strangers: set[str]) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert strangers & set(done.stdout.split()) == set()
