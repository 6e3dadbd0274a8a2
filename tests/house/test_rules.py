"""A planted breach in, its name out: every rule of the house catches what it is there for."""

import ast
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from tests.house import dependencies, documents, sizes, structure, words
from tests.house.source import Source


def source(text: str, path: str = "collector/thing.py") -> Source:
    return Source(path, text, ast.parse(text))


BREACHES: list[tuple[str, Callable[[Sequence[Source]], Iterable[str]], Source]] = [
    ("long_file", sizes.long_files, source("x = 1\n" * 401)),
    ("long_test_file", sizes.long_files, source("x = 1\n" * 601, "tests/test_thing.py")),
    ("long_function", sizes.long_functions, source("def f():\n" + "    x = 1\n" * 60)),
    ("long_method", sizes.long_functions, source("class A:\n  def f(self):\n" + "    x = 1\n" * 60)),
    ("six_parameters", sizes.many_parameters, source("def f(a, b, *, c, d, e, f): ...")),
    ("no_docstring", words.module_docstrings, source("x = 1\n")),
    ("empty_package_of_a_room", words.module_docstrings, source("", "collector/__init__.py")),
    ("half_a_sentence", words.module_docstrings, source('"""Spans to calls"""')),
    ("says_nothing", words.module_docstrings, source('"""This module contains the spool."""')),
    ("undocumented_setting", words.config_fields, source("class Config:\n    size: int = 1\n    other: int = 2\n")),
    ("setting_without_default", words.config_fields, source('class Config:\n    size: int\n    """Bytes."""\n')),
    ("nameless_file", words.nameless_names, source("", "collector/ledger/tree_utils.py")),
    ("nameless_class", words.nameless_names, source("class SessionManager: ...")),
    ("unfinished", words.unfinished, source(f"# {words.UNFINISHED[0]}: later\n")),
    ("prints", words.printing, source("print(1)")),
    ("skips", words.left_out_tests, source("import pytest\npytest.skip('no time')", "tests/test_thing.py")),
    ("marked_skip", words.left_out_tests, source("import pytest\n@pytest.mark.skipif(True)\ndef f(): ...")),
]


@pytest.mark.parametrize(("rule", "breach"), [b[1:] for b in BREACHES], ids=[b[0] for b in BREACHES])
def test_breach_is_found(rule: Callable[[Sequence[Source]], Iterable[str]], breach: Source) -> None:
    findings = list(rule([breach]))
    assert findings
    assert all(finding.startswith(breach.path) for finding in findings)


def test_good_file_breaks_no_rule() -> None:
    good = source('"""Spans in, calls out."""\n\n\ndef call(span: int) -> int:\n    """The call."""\n    return span\n')
    for _, rule, _ in BREACHES:
        assert list(rule([good])) == []


def test_folder_of_thirteen_modules_is_crowded() -> None:
    modules = [source("", f"collector/ledger/m{number}.py") for number in range(13)]
    assert list(sizes.crowded_folders(modules)) == ["collector/ledger: has 13 modules, 12 are allowed"]
    assert list(sizes.crowded_folders(modules[:12])) == []


def test_command_may_have_as_many_parameters_as_options() -> None:
    command = "@click.option('--a')\ndef report(a, b, c, d, e, f): ..."
    assert list(sizes.many_parameters([source(command)])) == []


@pytest.fixture
def pyproject(tmp_path: Path) -> Path:
    path = tmp_path / "pyproject.toml"
    path.write_text('[project.scripts]\nspanward = "collector.cli:main"\n', encoding="utf-8")
    return path


def test_module_nobody_imports_is_dead(pyproject: Path) -> None:
    alive = [
        source("from collector.ledger import tree\nimport collector.spool", "collector/cli.py"),
        source("", "collector/ledger/tree.py"),
        source("CHILD = 'collector.worker'", "collector/spool.py"),
        source("", "collector/worker.py"),
        source("", "collector/control/__main__.py"),
        source("if __name__ == '__main__':\n    print(1)", "collector/reference.py"),
    ]
    dead = source("import collector.dead", "collector/dead.py")
    only_tested = source("", "collector/tested.py")
    test = source("import collector.tested", "tests/test_tested.py")
    findings = list(structure.dead_files([*alive, dead, only_tested, test], pyprojects=[pyproject]))
    assert [finding.partition(":")[0] for finding in findings] == ["collector/dead.py", "collector/tested.py"]


def test_package_that_only_another_one_brings_along_is_undeclared(tmp_path: Path) -> None:
    (tmp_path / "collector/client").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["protobuf>=6"]\n[dependency-groups]\ndemo = ["openai"]\n', encoding="utf-8"
    )
    (tmp_path / "collector/client/pyproject.toml").write_text(
        '[project]\ndependencies = ["httpx"]\n[project.optional-dependencies]\n', encoding="utf-8"
    )
    owners = {"google.protobuf": "protobuf", "google.rpc": "googleapis-common-protos", "openai": "openai"}
    sources = [
        source("import os\nfrom google.protobuf import message\nimport schemas.ids", "collector/good.py"),
        source("from google.rpc import status_pb2", "collector/bad.py"),
        source("import openai", "collector/demo/good.py"),
        source("import openai", "collector/serve.py"),
        source("import nowhere", "collector/lost.py"),
    ]
    findings = dependencies.undeclared_imports(sources, root=tmp_path, owners=owners)
    blamed = [finding.partition(":")[0] for finding in findings]
    assert blamed == ["collector/bad.py", "collector/serve.py", "collector/lost.py"]


REGISTERED = [
    # By its object, by an alias of it, and by its module: three ways to write the same line.
    ("from collector.dialects.genai import GENAI\nDIALECTS = (GENAI,)", []),
    ("from collector.dialects.genai import TABLE as G\nDIALECTS: tuple[Dialect, ...] = (G,)", []),
    ("from collector.dialects import genai\nDIALECTS = (genai.DIALECT,)", []),
    ("DIALECTS = ()", ["collector/dialects/genai.py"]),
    ("from collector.dialects.genai import GENAI\n", ["collector/dialects/__init__.py"]),
]


@pytest.mark.parametrize(("door", "blamed"), REGISTERED)
def test_member_missing_from_the_tuple_is_found(door: str, blamed: list[str]) -> None:
    folder = [
        source(door, "collector/dialects/__init__.py"),
        source("GENAI = Dialect(name='genai')", "collector/dialects/genai.py"),
        source("class Dialect: ...", "collector/dialects/dialect.py"),
    ]
    findings = structure.unregistered(folder, folder="collector/dialects", kind="Dialect", registry="DIALECTS")
    assert [finding.partition(":")[0] for finding in findings] == blamed


def test_path_of_one_machine_is_found() -> None:
    folder = documents.MACHINE_FOLDERS[0]
    texts = {"a.md": f"see {folder}notes.txt", "b.md": "see $HOME/work/notes.txt and ../work/notes.txt"}
    assert [finding.partition(":")[0] for finding in documents.machine_paths(texts)] == ["a.md"]


def test_registry_host_is_found_except_in_the_lock_file() -> None:
    host = documents.REGISTRY_HOSTS[0]
    texts = {"Makefile": f"pip install --index-url {host}", "uv.lock": host}
    assert [finding.partition(":")[0] for finding in documents.registry_hosts(texts)] == ["Makefile"]


def test_room_without_its_five_headings_is_found() -> None:
    complete = "".join(f"## {heading}\n" for heading in documents.HEADINGS)
    texts = {
        "schemas/__init__.py": "",
        "schemas/README.md": complete,
        "collector/__init__.py": "",
        "collector/ledger/__init__.py": "",
        "collector/ledger/README.md": "## Files\n## Add one\n",
        "collector/client/spanward_client/__init__.py": "",
    }
    blamed = [finding.partition(":")[0] for finding in documents.room_readmes(texts)]
    assert blamed == ["collector/README.md", "collector/ledger/README.md"]


def test_module_that_its_readme_does_not_mention_is_found() -> None:
    texts = {"schemas/__init__.py": "", "schemas/ids.py": "", "schemas/money.py": "", "schemas/README.md": "`ids.py`"}
    assert list(documents.listed_files(texts)) == ["schemas/README.md: does not mention money.py"]


def test_only_console_blocks_under_the_marker_are_run() -> None:
    text = f"```console\n$ rm -r /\n```\n\n{documents.RUN_MARKER}\n```console\n$ echo a\na\n$ true\n```\n"
    assert list(documents.consoles(text)) == [documents.Console(5, [("echo a", "a\n"), ("true", "")])]
