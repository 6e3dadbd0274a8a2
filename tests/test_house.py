"""The tree in, every broken rule of the house out: types, style, sizes, words, structure, documents.

The rules themselves live in `tests/house/`; that each of them catches a breach is shown there.
"""

import doctest
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.harness import Served
from tests.house import dependencies, documents, sizes, structure, words
from tests.house.source import CLIENT, ROOT, Source, load

BIN = Path(sys.executable).parent

CODE_RULES: dict[str, Callable[[Sequence[Source]], Iterable[str]]] = {
    "files_are_short": sizes.long_files,
    "functions_are_short": sizes.long_functions,
    "parameters_are_few": sizes.many_parameters,
    "folders_are_small": sizes.crowded_folders,
    "modules_say_what_becomes_of_what": words.module_docstrings,
    "settings_are_documented_and_have_defaults": words.config_fields,
    "names_say_something": words.nameless_names,
    "nothing_is_unfinished": words.unfinished,
    "only_command_lines_print": words.printing,
    "no_test_is_left_out_in_silence": words.left_out_tests,
    "no_file_is_dead": partial(
        structure.dead_files, pyprojects=[ROOT / "pyproject.toml", ROOT / CLIENT / "pyproject.toml"]
    ),
    "every_import_is_declared": lambda sources: dependencies.undeclared_imports(
        sources, root=ROOT, owners=dependencies.installed_modules()
    ),
    "every_dialect_is_registered": partial(
        structure.unregistered, folder="collector/dialects", kind="Dialect", registry="DIALECTS"
    ),
    "every_report_is_registered": partial(
        structure.unregistered, folder="analytics/reports", kind="Report", registry="REPORTS"
    ),
}

TEXT_RULES = {
    "every_room_has_its_readme": documents.room_readmes,
    "every_module_is_in_its_rooms_readme": documents.listed_files,
    "no_path_of_one_machine": documents.machine_paths,
    "no_registry_host": documents.registry_hosts,
}

TOOLS = {
    "ruff_check": ["ruff", "check", "--quiet", "--output-format=concise", "."],
    "ruff_format": ["ruff", "format", "--check", "--quiet", "."],
    "mypy": ["mypy", "--no-error-summary"],
}


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    return load(ROOT)


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return documents.committed(ROOT)


@pytest.mark.parametrize("rule", CODE_RULES.values(), ids=CODE_RULES.keys())
def test_code(rule: Callable[[Sequence[Source]], Iterable[str]], sources: list[Source]) -> None:
    findings = list(rule(sources))
    assert not findings, "\n".join(["", *findings])


@pytest.mark.parametrize("rule", TEXT_RULES.values(), ids=TEXT_RULES.keys())
def test_documents(rule: Callable[[dict[str, str]], Iterable[str]], texts: dict[str, str]) -> None:
    findings = list(rule(texts))
    assert not findings, "\n".join(["", *findings])


@pytest.mark.parametrize("command", TOOLS.values(), ids=TOOLS.keys())
def test_tool(command: list[str]) -> None:
    program, *arguments = command
    done = subprocess.run([BIN / program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_console_blocks_run_as_printed(
    texts: dict[str, str], served: Served, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """Each block runs in a folder that looks like a fresh clone after `make setup`, beside a data
    directory, `data`, that was served once and holds no call. What it writes is thrown away.
    Output that the README shows must come out; `...` stands for what differs from run to run.
    """
    served.stop()
    blocks = [
        (path, block) for path, text in texts.items() if path.endswith(".md") for block in documents.consoles(text)
    ]
    assert "README.md" in {path for path, _ in blocks}, f"README.md has no console block under {documents.RUN_MARKER}"
    for path, block in blocks:
        with subtests.test(f"{path}:{block.line}"):
            clone = tmp_path / f"clone-{path.replace('/', '-')}-{block.line}"
            clone.mkdir()
            for name in {".venv", *(committed.partition("/")[0] for committed in texts)}:
                (clone / name).symlink_to(ROOT / name)
            shutil.copytree(served.data, clone / "data")
            for command, promised in block.steps:
                printed = _run_as_a_reader(command, clone)
                if promised.strip():
                    assert doctest.OutputChecker().check_output(promised, printed, LOOSELY), printed


LOOSELY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _run_as_a_reader(command: str, folder: Path) -> str:
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120"}
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
    return done.stdout
