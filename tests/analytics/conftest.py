"""Ledgers that close themselves after a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.analytics.written import Written


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Written]:
    """An empty ledger in a fresh data directory, open for writing."""
    written = Written(tmp_path / "data")
    yield written
    written.close()
