"""Owner processes that end with their test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.collector.control.owner_process import OwnerProcess


@pytest.fixture
def prepare(tmp_path: Path) -> Iterator[Callable[..., OwnerProcess]]:
    """`prepare(limits=…, control=…, budgets=…)` makes a data directory whose owner can be started."""
    made: list[OwnerProcess] = []

    def make(**settings: object) -> OwnerProcess:
        made.append(OwnerProcess(tmp_path / f"data{len(made)}", **settings))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for owner in made:
        owner.end()


@pytest.fixture
def start(prepare: Callable[..., OwnerProcess]) -> Callable[..., OwnerProcess]:
    """`start(limits=…, control=…, budgets=…)` starts an owner on a fresh data directory."""
    return lambda **settings: prepare(**settings).start()
