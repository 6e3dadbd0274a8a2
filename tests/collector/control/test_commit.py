"""Nobody is told of a change before it is on disk, and groups are written in the order they were recorded."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from collector.control.commit import Committer
from collector.governance.budgets import Budgets, Config
from collector.governance.counters import Amount
from collector.governance.holds import Hold, Terms
from collector.state.rows import Group, Keep, SpendLine
from collector.state.store import State, StoreFailed
from schemas.errors import Retryable
from schemas.ids import AgentPath

KEEP = Keep(
    spends_since=0,
    entries_since=10,
    decisions_since=0,
    decisions=10,
    dedupe_keys=10,
    rulings=10**9,
    askers_since=0,
    findings=10**9,
)


class Desk:
    """A committer at work on a real state file."""

    def __init__(self, folder: Path) -> None:
        self.state = State(folder / "state.db")
        self.budgets = Budgets(Config(), Group())
        self.committer = Committer(self.state, self.budgets)
        self.task = asyncio.create_task(self.committer.run())

    def event(self, name: str) -> None:
        self.committer.group.event({"entry_id": name})

    def hold(self, number: int) -> Hold:
        account = self.budgets.account(AgentPath("acme", "support", "triage"))
        terms = Terms(
            f"hold_{number}", f"dec_{number}", "key", "openai", "gpt-4o", "worst_case", Amount(5, 5), number, 10**18
        )
        return self.budgets.hold(account, terms)

    async def stop(self) -> None:
        self.committer.stop()
        await self.task


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    if not desk.task.done():
        await desk.stop()
    desk.state.close()


async def test_what_was_recorded_is_on_disk_when_its_wait_is_over(desk: Desk) -> None:
    desk.event("one")
    assert desk.state.last_event == 0
    await desk.committer.durable()
    assert desk.state.last_event == 1


async def test_nothing_to_write_is_nothing_to_wait_for(desk: Desk) -> None:
    async with asyncio.timeout(5):
        await desk.committer.durable()


async def test_who_comes_while_a_group_is_written_waits_for_it(desk: Desk) -> None:
    desk.event("one")
    first = asyncio.create_task(desk.committer.durable())
    await until(lambda: not desk.committer.group)
    await desk.committer.durable()
    assert desk.state.last_event == 1
    await first


async def test_one_who_stops_waiting_does_not_end_the_wait_of_the_others(desk: Desk) -> None:
    desk.event("one")
    impatient, patient = (asyncio.create_task(desk.committer.durable()) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await patient
    assert desk.state.last_event == 1
    assert not desk.task.done()


async def test_groups_are_written_in_order_and_shared_by_those_who_come_together(desk: Desk) -> None:
    async def ask(number: int) -> int:
        desk.event(str(number))
        await desk.committer.durable()
        return desk.state.last_event

    seen = await asyncio.gather(*(ask(number) for number in range(50)))
    assert sorted(seen) == seen
    assert all(at >= number + 1 for number, at in enumerate(seen))
    assert [number for number, _ in desk.state.events(0, 100)] == list(range(1, 51))
    assert len(set(seen)) < 50


async def test_a_final_hold_leaves_memory_once_it_is_on_disk(desk: Desk) -> None:
    hold = desk.hold(1)
    await desk.committer.durable()
    desk.budgets.void(hold, actor="agent:x", now_ns=2)
    assert desk.budgets.find("hold_1") is hold
    await desk.committer.durable()
    assert desk.budgets.find("hold_1") is None
    stored = desk.state.hold("hold_1")
    assert stored is not None
    assert stored.change is not None
    assert stored.change.state == "void"


async def test_an_exclusive_job_finds_memory_and_disk_equal_even_under_load(desk: Desk) -> None:
    stop = False

    async def load() -> None:
        while not stop:
            desk.event("more")
            await desk.committer.durable()

    askers = [asyncio.create_task(load()) for _ in range(4)]
    seen: list[tuple[bool, int]] = []
    for _ in range(5):
        await desk.committer.exclusively(lambda: seen.append((bool(desk.committer.group), desk.state.last_event)))
    stop = True
    await asyncio.gather(*askers)
    assert [pending for pending, _ in seen] == [False] * 5


async def test_pruning_goes_on_until_nothing_is_left_to_prune(desk: Desk) -> None:
    desk.committer.group.lines += [SpendLine("acme", "support", "triage", 0, 1, 0, 0) for _ in range(1_200)]
    await desk.committer.durable()
    desk.committer.prune(KEEP)
    await until(lambda: not desk.state.entries())


async def test_stopping_writes_what_is_recorded(desk: Desk) -> None:
    desk.event("last")
    await desk.stop()
    assert desk.state.last_event == 1


async def test_a_group_that_cannot_be_written_ends_the_run_and_everybody_is_told_to_ask_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Group) -> None:
        raise StoreFailed("The disk is gone.")

    monkeypatch.setattr(desk.state, "commit", fail)
    desk.event("lost")
    waiting = asyncio.create_task(desk.committer.durable())
    with pytest.raises(StoreFailed, match="The disk is gone"):
        await desk.task
    with pytest.raises(Retryable):
        await waiting
    desk.event("later")
    with pytest.raises(Retryable):
        await desk.committer.durable()


async def test_a_slow_disk_does_not_hold_up_the_loop(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first flush tells that it is slow; from then on the loop goes on while the thread waits for the disk."""
    flushing, go_on = threading.Event(), threading.Event()
    commit = desk.state.commit

    def slow(group: Group) -> None:
        flushing.set()
        assert go_on.wait(30)
        commit(group)

    def late(group: Group) -> None:
        time.sleep(0.1)
        commit(group)

    desk.event("first")
    monkeypatch.setattr(desk.state, "commit", late)
    await desk.committer.durable()
    monkeypatch.setattr(desk.state, "commit", slow)
    desk.event("second")
    waiting = asyncio.create_task(desk.committer.durable())
    await until(flushing.is_set)
    assert not waiting.done()
    go_on.set()
    await waiting
    assert desk.state.last_event == 2
