"""Sources in, loose ends out: dead files, unregistered members, modules nobody can reach."""

import ast
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.house.source import Source


def dead_files(sources: Sequence[Source], *, pyprojects: Sequence[Path]) -> Iterator[str]:
    """A module of the product is imported, run as a program, or named as an entry point."""
    reached = {module for pyproject in pyprojects for module in _entry_points(pyproject)}
    for source in sources:
        if source.in_rooms:
            reached |= _imports(source)
    for source in sources:
        if not source.in_rooms or source.path.endswith(("/__init__.py", "/__main__.py")) or _is_program(source):
            continue
        if source.module not in reached:
            yield source.at(1, "is dead: no module of the product imports it and no entry point names it")


def unregistered(sources: Sequence[Source], *, folder: str, kind: str, registry: str) -> Iterator[str]:
    """A member that is in the folder is in the folder's tuple: registration is explicit and complete.

    A member is a module that builds a `kind` at its top level; `registry` is the tuple in `__init__.py`.
    """
    inside = [source for source in sources if source.path.rpartition("/")[0] == folder]
    door = next((source for source in inside if source.path.endswith("/__init__.py")), None)
    if door is None:
        return
    registered = _names_in_tuple(door, registry)
    if registered is None:
        yield door.at(1, f"defines no tuple {registry}")
        return
    homes = {alias.asname or alias.name: module for module, alias in _imported_names(door)}
    known = {homes.get(name.partition(".")[0], "") for name in registered}
    known |= {f"{door.module}.{name.partition('.')[0]}" for name in registered}
    for source in inside:
        if source is not door and _builds(source, kind) and source.module not in known:
            yield source.at(1, f"builds a {kind} that {registry} in {door.path} does not list")


def _entry_points(pyproject: Path) -> set[str]:
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    tables = [project.get("scripts", {}), *project.get("entry-points", {}).values()]
    return {target.partition(":")[0] for table in tables for target in table.values()}


def _is_program(source: Source) -> bool:
    """True for a module that `python -m` runs."""
    return any(
        isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'" for node in source.tree.body
    )


def _imports(source: Source) -> set[str]:
    """Modules this file imports, or starts as programs by their dotted name; never itself."""
    names: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value.partition(":")[0])
    return names - {source.module}


def _imported_names(source: Source) -> Iterator[tuple[str, ast.alias]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias) for alias in node.names)


def _names_in_tuple(source: Source, registry: str) -> list[str] | None:
    for node in source.tree.body:
        target = (
            node.targets[0]
            if isinstance(node, ast.Assign)
            else node.target
            if isinstance(node, ast.AnnAssign)
            else None
        )
        if isinstance(target, ast.Name) and target.id == registry:
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            if isinstance(value, ast.Tuple):
                return [ast.unparse(element) for element in value.elts]
    return None


def _builds(source: Source, kind: str) -> bool:
    return any(
        isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func).rpartition(".")[2] == kind
        for node in source.tree.body
    )
