"""Receivers and owners that end with their test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.collector.control.owned import Owned, OwnerProcess, OwnerThread
from tests.collector.notifications.receivers import HttpReceiver, MailReceiver

R = TypeVar("R", HttpReceiver, MailReceiver)


@pytest.fixture
def opened() -> Iterator[Callable[[R], R]]:
    """`opened(SlackReceiver())` is closed after the test."""
    receivers: list[Any] = []

    def keep(receiver: R) -> R:
        receivers.append(receiver)
        return receiver

    yield keep
    for receiver in receivers:
        receiver.close()


@pytest.fixture
def owners() -> Iterator[list[Owned]]:
    owners: list[Owned] = []
    yield owners
    for owner in owners:
        owner.end()


@pytest.fixture
def start(owners: list[Owned], tmp_path: Path) -> Callable[..., OwnerThread]:
    """`start(limits=…, notifications=…)` starts an owner in this process."""

    def make(**settings: object) -> OwnerThread:
        owner = OwnerThread(tmp_path / f"data{len(owners)}", **settings)  # type: ignore[arg-type]
        owners.append(owner)
        return owner.start()

    return make


@pytest.fixture
def prepare(owners: list[Owned], tmp_path: Path) -> Callable[..., OwnerProcess]:
    """The same in a process that can be killed, not started yet."""

    def make(**settings: object) -> OwnerProcess:
        owner = OwnerProcess(tmp_path / f"data{len(owners)}", **settings)  # type: ignore[arg-type]
        owners.append(owner)
        return owner

    return make
