"""A clock that stands still, and a key store and a governance tree to try things on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from collector.access.keys import KeyStore
from schemas.ids import AgentPath

TRIAGE = AgentPath("acme", "support", "triage")
OPERATOR = "user:ada@bench"
# A loaded machine is no reason to fail, and one tree or store serves all examples of a test.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
START_NS = 1_795_500_000 * 10**9
SECOND_NS = 10**9


class Clock:
    """Unix ns that move only when a test says so."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def __call__(self) -> int:
        """Read the time."""
        return self.now_ns

    def advance(self, ns: int) -> None:
        """Move on, or back when `ns` is negative."""
        self.now_ns += ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "state" / "access.db"


@pytest.fixture
def store(db: Path, clock: Clock) -> Iterator[KeyStore]:
    with KeyStore(db, clock=clock) as opened:
        yield opened


@pytest.fixture
def governance(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """`governance({"acme/org.yaml": "…"})` writes these files and returns their root."""

    def write(files: dict[str, str]) -> Path:
        root = tmp_path / "governance"
        for place, text in files.items():
            path = root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return root

    return write
