"""Key and bytes in, a read-only file out: the store for one machine.

It keeps the contract of `contract.py` against crashes and against every honest process: a temporary
file is written and synced, `link` gives it its name only if the name is free, the folder is synced,
the mode is 0444. It is tamper-evident, not tamper-proof: whoever may write to the folder can replace
a file, and nothing here enforces retention. What was replaced shows, because names are dense and
every entry hashes its data and the entry before it.
"""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from collector.frames import make_folder
from collector.stores.contract import Exists, Found, Held
from schemas.errors import Fatal, Retryable

_PART = re.compile(r"[a-z0-9_-][a-z0-9=._-]{0,199}")
# Temporary names start with a dot, which no part of a key does. A crash can leave one behind.
_TEMPORARY = ".tmp-"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class DirectoryStore:
    """Objects as files below `root`, which may be missing until the first put.

    Every path is walked from the root's descriptor, one part at a time, and never through a
    symbolic link.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        # Folders whose own name this process has made durable; an earlier process may have crashed before.
        self._durable: set[tuple[str, ...]] = set()

    def put_new(self, key: str, data: bytes, retain_until_ns: int) -> None:  # noqa: ARG002 - a folder keeps no dates
        """Create a file; see `ObjectStore.put_new`."""
        *folders, name = _parts(key)
        with self._open("Writing to", folders, create=True) as folder:
            assert folder is not None
            _link_new(folder, name, data)

    def get(self, key: str) -> bytes | None:
        """Read a file; see `ObjectStore.get`."""
        *folders, name = _parts(key)
        with self._open("Reading from", folders) as folder:
            return None if folder is None else _read_plain_file(folder, name)

    def inventory(self, prefix: str) -> list[Found]:
        """Walk a folder without stopping at an odd name; a folder vouches for no time."""
        with self._open("Listing", _parts(prefix[:-1])) as folder:
            return [] if folder is None else sorted(_walk(folder, prefix))

    def find(self, key: str) -> Found | None:
        """Look for one file; see `EvidenceStore.find`."""
        return next((found for found in self.inventory(f"{key.rpartition('/')[0]}/") if found.key == key), None)

    def read(self, found: Found) -> Held | None:
        """Read a listed file; see `EvidenceStore.read`."""
        assert found.plain
        *folders, name = found.key.split("/")
        with self._open("Reading from", folders) as folder:
            data = None if folder is None else _read_plain_file(folder, name)
        return None if data is None else Held(data)

    @contextmanager
    def _open(self, act: str, folders: Sequence[str], *, create: bool = False) -> Iterator[int | None]:
        """Descriptor of a folder below the root, None if it is missing; errors inside become the contract's."""
        try:
            if create and not self._durable:
                make_folder(self._root)
            folder = self._walk_down(folders, create=create)
            try:
                yield folder
            finally:
                if folder is not None:
                    os.close(folder)
        except OSError as error:
            what = f"{act} {self._root.joinpath(*folders)} failed: {error}."
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Retryable(what, fix="Free space on the disk; nothing is lost.", retry_after_s=5) from error
            raise Fatal(
                what, fix="Check the disk, its permissions and who else writes there; symbolic links are not followed."
            ) from error

    def _walk_down(self, parts: Sequence[str], *, create: bool) -> int | None:
        try:
            folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return None
        for depth, part in enumerate(parts, start=1):
            try:
                if create and tuple(parts[:depth]) not in self._durable:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=folder)
                    os.fsync(folder)
                    self._durable.add(tuple(parts[:depth]))
                child = os.open(part, _FOLDER, dir_fd=folder)
            except FileNotFoundError:
                return None
            finally:
                os.close(folder)
            folder = child
        return folder

    def list(self, prefix: str) -> list[str]:
        """Walk a folder; see `ObjectStore.list`."""
        assert prefix.endswith("/")
        with self._open("Listing", _parts(prefix[:-1])) as folder:
            found = [] if folder is None else sorted(_walk(folder, prefix))
            for each in found:
                if not each.plain:
                    raise OSError(errno.ELOOP, f"{each.key} is a symbolic link or another thing that is no file")
            return [each.key for each in found]


def is_key(text: str) -> bool:
    """Whether a name could be an object's here."""
    return all(_PART.fullmatch(part) for part in text.split("/"))


def _parts(key: str) -> list[str]:
    assert is_key(key), key
    return key.split("/")


def _link_new(folder: int, name: str, data: bytes) -> None:
    temporary = f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        with os.fdopen(fd, "wb"):
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fchmod(fd, 0o444)
            os.fsync(fd)
        try:
            os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            raise Exists(name) from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        # Also when the name was there: whoever linked it may have crashed before this line.
        os.fsync(folder)


def _read_plain_file(folder: int, name: str) -> bytes | None:
    try:
        # Non-blocking: a pipe that somebody put there must not stop the reader.
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, f"{name} is not a plain file")
        return file.read()


def _walk(folder: int, prefix: str) -> Iterator[Found]:
    with os.scandir(folder) as found:
        for entry in found:
            # A name that is no text would not come out of a report.
            key = os.fsencode(prefix + entry.name).decode(errors="replace")
            if entry.is_dir(follow_symlinks=False):
                child = os.open(entry.name, _FOLDER, dir_fd=folder)
                try:
                    yield from _walk(child, f"{key}/")
                finally:
                    os.close(child)
            elif not entry.name.startswith(_TEMPORARY):
                yield Found(key, plain=entry.is_file(follow_symlinks=False))
