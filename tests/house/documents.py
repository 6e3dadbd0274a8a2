"""Text files in, false or unportable sentences out: READMEs, paths of one machine, registry hosts."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

HEADINGS = ("What comes in and goes out", "Files", "Add one", "Promises", "Decisions")

# A README's console block under this line is run by `tests/test_house.py`.
RUN_MARKER = "<!-- run -->"

# The lock file is the package manager's own; captures are bytes that others sent.
NOT_OURS = re.compile(r"(^|/)(uv\.lock|go\.sum)$|^tests/captures/")

# Host names are written in parts, so that this file names none.
REGISTRY_HOSTS = tuple(
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("proxy", "golang", "org"),
        ("sum", "golang", "org"),
        ("registry", "npmjs", "org"),
        ("crates", "io"),
        ("repo1", "maven", "org"),
        ("repo", "maven", "apache", "org"),
        ("deb", "debian", "org"),
        ("archive", "ubuntu", "com"),
    )
)
MACHINE_FOLDERS = tuple(f"/{name}/" for name in ("work", "root", "farm", "home", "Users", "tmp"))
MACHINE_PATH = re.compile(r"(?<![\w.$}>*-])(?:" + "|".join(MACHINE_FOLDERS) + r")[\w.]")


def committed(root: Path) -> dict[str, str]:
    """Every text file that is, or would be, committed: path → text."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    texts: dict[str, str] = {}
    for name in sorted(set(listing.stdout.split("\0")) - {""}):
        path = root / name
        try:
            texts[name] = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # a picture or a capture; or removed but not yet committed so
    return texts


def machine_paths(texts: Mapping[str, str]) -> Iterator[str]:
    """No file names a folder that exists on one machine only."""
    yield from _lines_with(texts, MACHINE_PATH, "names a path of one machine")


def registry_hosts(texts: Mapping[str, str]) -> Iterator[str]:
    """No file names the host of a package registry: clients know theirs, and mirrors differ."""
    hosts = re.compile("|".join(map(re.escape, REGISTRY_HOSTS)))
    yield from _lines_with(texts, hosts, "names the host of a package registry")


def _lines_with(texts: Mapping[str, str], pattern: re.Pattern[str], sentence: str) -> Iterator[str]:
    for path, text in texts.items():
        if NOT_OURS.search(path):
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if pattern.search(line):
                yield f"{path}:{number}: {sentence}: {line.strip()[:100]}"


def room_readmes(texts: Mapping[str, str]) -> Iterator[str]:
    """Each room has a README with the five headings, in their order."""
    for room in _rooms(texts):
        text = texts.get(f"{room}/README.md")
        if text is None:
            yield f"{room}/README.md: is missing"
            continue
        found = [match.strip() for match in re.findall(r"^##\s+(.+)$", text, re.MULTILINE)]
        if tuple(heading for heading in found if heading in HEADINGS) != HEADINGS:
            yield f"{room}/README.md: has the headings {found}, wanted are {list(HEADINGS)}"


def listed_files(texts: Mapping[str, str]) -> Iterator[str]:
    """A room's README names each of its modules under "Files"."""
    for room in _rooms(texts):
        text = texts.get(f"{room}/README.md", "")
        for path in map(PurePosixPath, texts):
            is_module = str(path.parent) == room and path.suffix == ".py" and not path.name.startswith("__")
            if is_module and path.name not in text:
                yield f"{room}/README.md: does not mention {path.name}"


def _rooms(texts: Mapping[str, str]) -> list[str]:
    """The packages of the product: each floor, and each part of the collector."""
    packages = {str(PurePosixPath(path).parent) for path in texts if path.endswith("/__init__.py")}
    return sorted(
        package
        for package in packages
        if package in {"schemas", "collector", "analytics"} or re.fullmatch(r"collector/(?!client)\w+", package)
    )


@dataclass(frozen=True)
class Console:
    """One console block of a README: the commands, and the output it promises after each."""

    line: int
    steps: list[tuple[str, str]]


def consoles(text: str) -> Iterator[Console]:
    """The console blocks that stand under the run marker."""
    pattern = re.compile(rf"^{re.escape(RUN_MARKER)}\s*\n```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
    for match in pattern.finditer(text):
        steps: list[tuple[str, str]] = []
        for line in match.group(1).splitlines(keepends=True):
            if line.startswith("$ "):
                steps.append((line[2:].strip(), ""))
            elif steps:
                command, output = steps[-1]
                steps[-1] = (command, output + line)
        yield Console(text.count("\n", 0, match.start()) + 1, steps)
