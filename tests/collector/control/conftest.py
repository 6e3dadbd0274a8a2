"""Owners that end with their test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.collector.control.owned import Owned, OwnerProcess, OwnerThread


@pytest.fixture
def made() -> Iterator[list[Owned]]:
    """The owners of this test."""
    owners: list[Owned] = []
    yield owners
    for owner in owners:
        owner.end()


@pytest.fixture
def start(made: list[Owned], tmp_path: Path) -> Callable[..., OwnerThread]:
    """`start(limits=…, control=…, budgets=…)` starts an owner on a fresh data directory."""

    def make(**settings: object) -> OwnerThread:
        owner = OwnerThread(tmp_path / f"data{len(made)}", **settings)  # type: ignore[arg-type]
        made.append(owner)
        return owner.start()

    return make


@pytest.fixture
def prepare(made: list[Owned], tmp_path: Path) -> Callable[..., OwnerProcess]:
    """`prepare(…)` makes a data directory whose owner, a process of its own, can be started."""

    def make(**settings: object) -> OwnerProcess:
        owner = OwnerProcess(tmp_path / f"data{len(made)}", **settings)  # type: ignore[arg-type]
        made.append(owner)
        return owner

    return make
