"""Imports in, packages nobody declared out: what an installation without the test tools would miss."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from tests.house.source import CLIENT, ROOMS, Source

OURS = {*ROOMS, "spanward_client"}


def undeclared_imports(sources: Sequence[Source], *, root: Path, owners: Mapping[str, str]) -> Iterator[str]:
    """A package the product imports is declared by the product itself, not brought along by another.

    The demo may also use its dependency group; the client has a declaration of its own.
    """
    project = _read(root / "pyproject.toml")
    declared = _names(project["project"]["dependencies"])
    demo = declared | _names(project["dependency-groups"]["demo"])
    client_project = _read(root / CLIENT / "pyproject.toml")["project"]
    client = _names(client_project["dependencies"])
    client |= {name for extra in client_project["optional-dependencies"].values() for name in _names(extra)}
    for source in sources:
        if not source.in_rooms:
            continue
        inside_client = source.path.startswith(CLIENT)
        allowed = client if inside_client else demo if source.path.startswith("collector/demo/") else declared
        for line, module in _foreign_imports(source):
            owner = _owner(module, owners)
            if owner not in allowed:
                yield source.at(line, f"imports {module}, which is of {owner or 'no installed package'}: declare it")


def installed_modules() -> dict[str, str]:
    """Each importable module of the environment and the distribution that owns it.

    Namespaces (`google`, `opentelemetry`) belong to nobody, the modules inside them do.
    """
    owners: dict[str, str] = {}
    for distribution in distributions():
        for file in distribution.files or []:
            module = re.match(r"[\w/]+(?=\.(py|.*so)$)", str(file))
            if module:
                owners[module.group().removesuffix("/__init__").replace("/", ".")] = _normal(distribution.name)
    return owners


def _foreign_imports(source: Source) -> Iterator[tuple[int, str]]:
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        package = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        for name in (package + alias.name for alias in node.names):
            if name.partition(".")[0] not in OURS | sys.stdlib_module_names:
                yield node.lineno, name


def _owner(module: str, owners: Mapping[str, str]) -> str:
    while module and module not in owners:
        module = module.rpartition(".")[0]
    return owners.get(module, "")


def _names(requirements: Sequence[object]) -> set[str]:
    return {_normal(re.split(r"[\s<>=!~;\[]", text)[0]) for text in requirements if isinstance(text, str)}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))
