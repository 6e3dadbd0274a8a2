"""The settings' structs → `docs/configuration.md`: every key, its default and what it means.

`python -m collector.reference` writes the page, `--check` compares it. The text is the docstring
under each field, so the page cannot say something else than the code.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec

from collector.config import Config

PAGE = Path("docs/configuration.md")
_HEAD = """\
# Configuration

`spanward serve` needs no file. `--config spanward.yaml` gives one, `--set path.to.key=value` sets one key, and
`${env:NAME}` or `${env:NAME:-default}` inside a value is replaced from the environment. An unknown key is an error that
says where it stands and which key was probably meant. `spanward validate` checks, `spanward print-config` prints
everything with its defaults, secrets masked. This page is generated from the code.

| key | default | meaning |
|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = (f"| `{path}` | {default} | {text} |\n" for path, default, text in _settings(Config, Config(), ""))
    return _HEAD + "".join(rows)


def _settings(kind: type[msgspec.Struct], value: msgspec.Struct, prefix: str) -> Iterator[tuple[str, str, str]]:
    """Path, default and meaning of every leaf below a struct."""
    texts, hints = _docstrings(kind), get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        path, default = f"{prefix}{field.encode_name}", getattr(value, field.name)
        if isinstance(default, msgspec.Struct):
            yield from _settings(type(default), default, f"{path}.")
        else:
            yield path, _shown(default), _meaning(texts.get(field.name, ""), hints[field.name])


def _docstrings(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Field → the string literal under it."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            assert isinstance(text.value, ast.Constant)
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def _shown(default: object) -> str:
    return "none" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _meaning(text: str, hint: object) -> str:
    choices = [str(choice) for choice in get_args(hint) if isinstance(choice, str)]
    return f"{text} One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else text


def main() -> int:
    """Write the page, or with `--check` say whether it is current."""
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text(encoding="utf-8") == page() else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
