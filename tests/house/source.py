"""Folders in, parsed Python files out: what every rule of the house looks at."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The rooms are the product; tests and benchmarks are judged more gently where a rule says so.
ROOMS = ("schemas", "collector", "analytics")
CODE = (*ROOMS, "tests", "benchmarks")

CLIENT = "collector/client/"


@dataclass(frozen=True)
class Source:
    """One Python file: where it is, what it says, and its syntax tree."""

    path: str
    text: str
    tree: ast.Module = field(repr=False)

    @property
    def in_rooms(self) -> bool:
        """True for the product's own code, false for tests and benchmarks."""
        return self.path.startswith(tuple(f"{room}/" for room in ROOMS))

    @property
    def module(self) -> str:
        """The dotted name it is imported by."""
        dotted = self.path.removeprefix(CLIENT).removesuffix(".py").replace("/", ".")
        return dotted.removesuffix(".__init__")

    def at(self, line: int, sentence: str) -> str:
        """One finding, as an editor can jump to it."""
        return f"{self.path}:{line}: {sentence}"


def load(root: Path, folders: Sequence[str] = CODE) -> list[Source]:
    """Every Python file below the named folders of `root`."""
    return [
        Source(path.relative_to(root).as_posix(), text, ast.parse(text, filename=str(path)))
        for folder in folders
        for path in sorted((root / folder).rglob("*.py"))
        if "__pycache__" not in path.parts
        for text in [path.read_text(encoding="utf-8")]
    ]


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
