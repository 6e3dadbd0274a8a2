"""A path → the demo's data directory, fresh.

Invariant: a folder that the demo did not make is never deleted, nor one a demo is running in.
"""

import fcntl
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import IO

import click

from collector.demo.fleet import write_governance

_LOGS = "demo-logs"


def logs_of(data: Path) -> Path:
    """Where the parts of the demo log to; it also marks the data directory as the demo's own."""
    return data / _LOGS


def prepare(data: Path, *, keep: bool) -> IO[bytes]:
    """Make it ready, emptied unless `keep`, and return its lock: it is this demo's until that is closed.

    Raises `click.ClickException` for somebody else's folder and for one that is in use.
    """
    if data.exists() and not logs_of(data).is_dir() and any(data.iterdir()):
        raise click.ClickException(f"{data} is not the demo's, so it is left alone. Choose another with --data.")
    if logs_of(data).is_dir() and not keep:
        with _locked(data):
            rmtree(data)
    # The server prints its first keys to its log, and those are for their owner alone.
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    logs_of(data).mkdir(mode=0o700, exist_ok=True)
    lock = _locked(data)
    # Nobody wants to commit it, wherever it is.
    (data / ".gitignore").write_text("*\n")
    write_governance(data / "governance", datetime.now(UTC))
    return lock


def _locked(data: Path) -> IO[bytes]:
    lock = (logs_of(data) / "lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise click.ClickException(f"A demo is running in {data}. Stop it, or choose another with --data.") from None
    return lock
