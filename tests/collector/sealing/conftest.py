"""A folder in memory where there is one: these tests kill processes and fail calls, they do not cut the power.

What a process has written survives its death on any file system, so a real disk would only add the
time of some thousand flushes. That the flushes are made, and in which order, is asserted by name.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A fresh folder, removed after the test."""
    in_memory = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    with tempfile.TemporaryDirectory(prefix="spanward-", dir=MEMORY if in_memory else None) as folder:
        yield Path(folder)
