"""Each test's own matching."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.collector.governance.adherence.matching import Matching


@pytest.fixture
def open_matching(tmp_path: Path) -> Iterator[Callable[..., Matching]]:
    """`open_matching(on_unasked=…)` starts one with these settings."""
    made: list[Matching] = []

    def start(**settings: object) -> Matching:
        made.append(Matching(tmp_path / f"{len(made)}.db", settings))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture
def matching(open_matching: Callable[..., Matching]) -> Matching:
    """One with the default settings."""
    return open_matching()
