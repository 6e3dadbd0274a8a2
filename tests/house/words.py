"""Sources in, missing or forbidden words out: docstrings that say nothing, names that say nothing."""

import ast
import re
from collections.abc import Iterator, Sequence

from tests.house.source import Source

# A name that fits everything says nothing about what is inside.
NAMELESS = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "base", "misc"}

# Written in parts, so that this file does not break its own rule.
UNFINISHED = tuple(
    first + second
    for first, second in (("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK"), ("NotImplemented", "Error"))
)

OPENINGS_THAT_SAY_NOTHING = re.compile(
    r"(this|the|an?) (module|package|file|class|script|code|tests?)\s"
    r"|(unit )?tests? (of|for)\b"
    r"|(contains|implements|provides|various)\b",
    re.IGNORECASE,
)

# Where output is the job: command lines, the demo, and what a developer runs by hand.
PRINTERS = re.compile(r"(^|/)(cli|__main__)\.py$|^collector/(demo/|cli\.py)|^benchmarks/|^tests/tools/")


def module_docstrings(sources: Sequence[Source]) -> Iterator[str]:
    """A module's first line is one whole sentence that says what becomes of what."""
    for source in sources:
        if source.path.endswith("/__init__.py") and not source.in_rooms and not source.text.strip():
            continue
        first = (ast.get_docstring(source.tree) or "").partition("\n")[0].strip()
        if not first:
            yield source.at(1, "has no module docstring")
        elif not first.endswith((".", "!", "?")):
            yield source.at(1, f"the docstring's first line is not a whole sentence: {first!r}")
        elif len(first.split()) < 3 or OPENINGS_THAT_SAY_NOTHING.match(first):
            yield source.at(1, f"the docstring's first sentence does not say what becomes of what: {first!r}")


def config_fields(sources: Sequence[Source]) -> Iterator[str]:
    """Every field of a component's `Config` has a default and a docstring: they are the reference page."""
    for source in sources:
        if not source.in_rooms:
            continue
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef) and node.name == "Config":
                yield from _undocumented_fields(source, node)


def _undocumented_fields(source: Source, config: ast.ClassDef) -> Iterator[str]:
    for position, statement in enumerate(config.body):
        if not isinstance(statement, ast.AnnAssign):
            continue
        name = ast.unparse(statement.target)
        following = config.body[position + 1 : position + 2]
        documented = following and isinstance(following[0], ast.Expr) and isinstance(following[0].value, ast.Constant)
        if not documented:
            yield source.at(statement.lineno, f"the setting {name} has no docstring under it")
        if statement.value is None:
            yield source.at(statement.lineno, f"the setting {name} has no default")


def nameless_names(sources: Sequence[Source]) -> Iterator[str]:
    """No file or class is called utils, common, helper, manager or base."""
    for source in sources:
        for part in source.path.removesuffix(".py").split("/"):
            if NAMELESS & set(part.lower().split("_")):
                yield source.at(1, f"the name {part!r} says nothing about what is inside")
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                words = {word.lower() for word in re.findall(r"[A-Z][a-z0-9]*", node.name)}
                if NAMELESS & words:
                    yield source.at(node.lineno, f"the class name {node.name!r} says nothing about what is inside")


def unfinished(sources: Sequence[Source]) -> Iterator[str]:
    """Nothing on the main branch waits to be finished."""
    pattern = re.compile(r"\b(" + "|".join(UNFINISHED) + r")\b")
    for source in sources:
        for number, line in enumerate(source.text.splitlines(), start=1):
            found = pattern.search(line)
            if found:
                yield source.at(number, f"{found.group()} is left")


def printing(sources: Sequence[Source]) -> Iterator[str]:
    """Only a command line prints; a room returns, raises or logs."""
    for source in sources:
        if PRINTERS.search(source.path):
            continue
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                yield source.at(node.lineno, "prints; return, raise or log instead")


def left_out_tests(sources: Sequence[Source]) -> Iterator[str]:
    """A test is never skipped or expected to fail; one that needs a tool asks the `tool` fixture, which says so."""
    for source in sources:
        if source.path == "tests/conftest.py":
            continue
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in LEAVING_OUT:
                yield source.at(node.lineno, f"{ast.unparse(node)} leaves a test out in silence")


LEAVING_OUT = {f"pytest.{name}" for name in ("skip", "xfail", "importorskip", "mark.skip", "mark.skipif", "mark.xfail")}
