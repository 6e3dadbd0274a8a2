"""Bytes become a file that is whole, durable and of the stated mode, or is not there at all.

Invariant: a reader never sees half a file, and what returned is still there after a power cut:
content goes to a hidden neighbour first, is synced, takes its name in one step, and the folder is
synced. A crash before that step leaves only the hidden neighbour, which every reader of ours skips.

Leaves to callers which folder is safe to write to.
"""

import os
import secrets
from pathlib import Path

from collector.frames import sync_folder


def create_file(path: Path, content: bytes, *, mode: int) -> bool:
    """Write `path` unless it exists; False means it did and was left as it is."""
    staged = _stage(path, content, mode)
    try:
        # link() is the step that fails when the name is taken; rename() would replace the file.
        os.link(staged, path)
    except FileExistsError:
        return False
    finally:
        staged.unlink()
    sync_folder(path.parent)
    return True


def replace_file(path: Path, content: bytes, *, mode: int) -> None:
    """Write `path`, replacing what was there in one step."""
    staged = _stage(path, content, mode)
    try:
        staged.replace(path)
    except OSError:
        staged.unlink()
        raise
    sync_folder(path.parent)


def _stage(path: Path, content: bytes, mode: int) -> Path:
    staged = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        try:
            file.write(content)
            file.flush()
            # Explicit, because the mode given to open() is narrowed by the umask.
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        except OSError:
            staged.unlink()
            raise
    return staged
