"""A folder becomes the names and bytes below it that are safe to use.

Invariant: nothing outside the folder is read or written through it. A link is followed only when
it ends inside (mounted configuration is made of such links), only regular files are opened, and
names, sizes and numbers are bounded.

Leaves to `directory` what the names mean.
"""

import os
import stat
from pathlib import Path, PurePosixPath

import msgspec

from collector.access.yaml_file import did_you_mean
from schemas.errors import ConfigError, Permanent
from schemas.ids import check_id
from schemas.quantities import Size


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much a governance directory may hold."""

    max_file_size: Size = Size("64KiB")
    """The largest governance file that is read."""

    max_entries: int = 200_000
    """The most files and folders a governance directory may have in all."""

    max_nesting: int = 16
    """How deep mappings and lists may be nested in one file."""


class Tree:
    """Reads below one folder. Places are paths relative to it, such as `acme/org.yaml`."""

    def __init__(self, root: Path, config: Config) -> None:
        """Raises `ConfigError` when `root` is not a folder."""
        if not root.is_dir():
            raise ConfigError(
                f"There is no governance directory at {root}.",
                fix="Restore it, or create it with a folder ORG that holds org.yaml.",
            )
        self.config = config
        self._root = root.resolve()
        self._entries_left = config.max_entries

    def shown(self, place: str) -> str:
        """How a place is called in errors: from the governance directory's own name on."""
        return str(PurePosixPath(self._root.name, place))

    def entries(self, place: str) -> tuple[list[str], list[str]]:
        """Names of the folders and of the files in a folder, sorted.

        Hidden names and `*.md` are skipped: version control and notes may live beside the policy.
        """
        folders: list[str] = []
        files: list[str] = []
        for name in sorted(_list(self.inside(place), self.shown(place))):
            if name.startswith(".") or name.endswith(".md"):
                continue
            (folders if self.inside(str(PurePosixPath(place, name))).is_dir() else files).append(name)
        self._entries_left -= len(folders) + len(files)
        if self._entries_left < 0:
            raise ConfigError(
                f"The governance directory holds more than {self.config.max_entries} files and folders.",
                fix="Raise max_entries, or check that the right directory was named.",
            )
        return folders, files

    def inside(self, place: str) -> Path:
        """The real path of a place, its links followed; raises `ConfigError` when it lies outside or leads nowhere."""
        path = self._root / place
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            # RuntimeError is how Python 3.11 reports a loop of links, ValueError a NUL in a name.
            raise ConfigError(
                f"{self.shown(place)!r} cannot be followed: {error}.", fix="Remove the broken link or name."
            ) from error
        if not real.is_relative_to(self._root):
            raise ConfigError(
                f"{self.shown(place)!r} is a link that leaves the governance directory.",
                fix="Copy the file or folder into it.",
            )
        return real

    def read(self, place: str) -> bytes:
        """The content of a regular file, bounded by `max_file_size`."""
        try:
            # Non-blocking, because opening a named pipe would wait for its other end for ever.
            descriptor = os.open(self.inside(place), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
                content = file.read(self.config.max_file_size.bytes + 1) if regular else b""
        except OSError as error:
            raise ConfigError(
                f"{self.shown(place)} cannot be read: {error.strerror}.", fix="Check its owner and mode."
            ) from error
        if not regular:
            raise ConfigError(f"{self.shown(place)} is not a regular file.", fix="Replace it by a file.")
        if len(content) > self.config.max_file_size.bytes:
            raise ConfigError(
                f"{self.shown(place)} is larger than max_file_size ({self.config.max_file_size}).",
                fix="Shorten it, or raise the limit.",
            )
        return content


def checked_id(text: str, *, where: str) -> str:
    """`text` if it is a valid id, else a `ConfigError`: a wrong name in the tree is the operator's to mend."""
    try:
        return check_id(text, where=where)
    except Permanent as error:
        raise ConfigError(error.what, fix=error.fix) from error


def require_file(shown: str, found: list[str], *, required: str) -> None:
    """The folder must hold the file `required` and no other: a misnamed file would silently not count."""
    for name in found:
        if name != required:
            raise ConfigError(f"{shown}/ holds an unknown file {name!r}.", fix=did_you_mean(name, [required]))
    if required not in found:
        raise ConfigError(f"{shown}/ has no {required}.", fix="Create it; it may be empty.")


def _list(path: Path, place: str) -> list[str]:
    try:
        return [entry.name for entry in path.iterdir()]
    except OSError as error:
        raise ConfigError(f"{place} cannot be listed: {error.strerror}.", fix="Check its owner and mode.") from error
