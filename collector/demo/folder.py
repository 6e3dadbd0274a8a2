"""A path → the demo's data directory, fresh.

Invariant: a folder that the demo did not make is never deleted.
"""

from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree

import click

from collector.demo.fleet import write_governance

_LOGS = "demo-logs"


def logs_of(data: Path) -> Path:
    """Where the parts of the demo log to; it also marks the data directory as the demo's own."""
    return data / _LOGS


def prepare(data: Path, *, keep: bool) -> None:
    """Make it ready: emptied unless `keep`; raises `click.ClickException` for somebody else's folder."""
    if data.exists() and not logs_of(data).is_dir() and any(data.iterdir()):
        raise click.ClickException(f"{data} is not the demo's, so it is left alone. Choose another with --data.")
    if data.exists() and not keep:
        rmtree(data)
    # The server prints its first keys to its log, and those are for their owner alone.
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    logs_of(data).mkdir(mode=0o700, exist_ok=True)
    # Nobody wants to commit it, wherever it is.
    (data / ".gitignore").write_text("*\n")
    write_governance(data / "governance", datetime.now(UTC))
