"""Sources in, giants out: files, functions and folders that hold more than one job."""

import ast
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.house.source import Source, functions

FILE_LINES_MAX = 400
TEST_FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
PARAMETERS_MAX = 5
FOLDER_FILES_MAX = 12


def long_files(sources: Sequence[Source]) -> Iterator[str]:
    """A file has one job, and one job fits in 400 lines (a test file in 600)."""
    for source in sources:
        lines = source.text.count("\n")
        limit = FILE_LINES_MAX if source.in_rooms else TEST_FILE_LINES_MAX
        if lines > limit:
            yield source.at(1, f"has {lines} lines, {limit} are allowed: split it by job")


def long_functions(sources: Sequence[Source]) -> Iterator[str]:
    """A function is seen at one glance: at most 60 lines, its signature and docstring included."""
    for source in sources:
        for function in functions(source.tree):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield source.at(function.lineno, f"{function.name} has {lines} lines, {FUNCTION_LINES_MAX} are allowed")


def many_parameters(sources: Sequence[Source]) -> Iterator[str]:
    """At most five parameters: more of them are a thing that wants a name."""
    for source in sources:
        for function in functions(source.tree):
            arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
            count = sum(argument.arg not in {"self", "cls"} for argument in arguments)
            if count > PARAMETERS_MAX and not _is_command(function):
                yield source.at(
                    function.lineno, f"{function.name} takes {count} parameters, {PARAMETERS_MAX} are allowed"
                )


def crowded_folders(sources: Sequence[Source]) -> Iterator[str]:
    """A folder of the product is read in one look: at most twelve modules."""
    modules = [source for source in sources if source.in_rooms and not source.path.endswith("__.py")]
    for folder, count in Counter(source.path.rpartition("/")[0] for source in modules).items():
        if count > FOLDER_FILES_MAX:
            yield f"{folder}: has {count} modules, {FOLDER_FILES_MAX} are allowed"


def _is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A click command has one parameter an option: they are the command line, not our choice."""
    return any("option" in ast.unparse(decorator) for decorator in function.decorator_list)
