"""kill -9 at every step and at any moment: no committed row is lost, none is in two segments.

Each life of a ledger is a process of its own that books, commits and seals until it is killed; the
next one recovers. At the end an audit recomputes everything from the store alone. The controls take
one promise away (the durable cut) and must find the damage, or these tests would prove nothing.
"""

import multiprocessing
import random
import signal
import time
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pytest

from collector.stores.directory import DirectoryStore
from schemas.conservation import Counts
from schemas.errors import Fatal
from tests.collector.ledger.samples import audit, ids_in_any_object
from tests.collector.sealing import crash_child


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes fork from one that has imported everything, so that a life is short."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.collector.sealing.crash_child"])
    return context


def killed(process: ForkServerProcess) -> bool:
    process.join()
    return process.exitcode == -signal.SIGKILL


def check(folder: Path) -> None:
    """The whole promise, from the store alone."""
    committed = crash_child.finish(folder)
    found = audit(folder / "store")
    booked = [crash_child.batch(number) for number in range(committed)]
    assert found.findings == []
    assert found.ids == [entry_id for table, _ in booked for entry_id in table["entry_id"].to_pylist()]
    assert max(ids_in_any_object(folder / "store").values(), default=1) == 1
    assert found.counts.traces == sum((counts for _, counts in booked), Counts()).traces


@pytest.mark.parametrize("failpoint", crash_child.FAILPOINTS)
def test_a_ledger_killed_at_a_named_step_again_and_again_is_whole(
    tmp_path: Path, processes: ForkServerContext, failpoint: str
) -> None:
    for nth in (1, 1, 2, 5):
        process = processes.Process(target=crash_child.live, args=(tmp_path, failpoint), kwargs={"nth": nth})
        process.start()
        assert killed(process), f"{failpoint} was not passed {nth} times"
    check(tmp_path)


def committed(folder: Path) -> int:
    """How many batches the owner has committed so far."""
    path = folder / "owner"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize("seed", range(3))
def test_a_ledger_killed_at_any_moment_is_whole(tmp_path: Path, processes: ForkServerContext, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(8):
        until = committed(tmp_path) + chance.randrange(1, 30)
        process = processes.Process(target=crash_child.live, args=(tmp_path, ""))
        process.start()
        while committed(tmp_path) < until:
            assert process.is_alive()
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        assert killed(process)
    check(tmp_path)


def test_without_a_durable_cut_a_crash_leaves_orphans_and_rows_twice(
    tmp_path: Path, processes: ForkServerContext
) -> None:
    forgetful = {"kind": crash_child.ForgetfulJournal, "day": -1}
    process = processes.Process(target=crash_child.live, args=(tmp_path, "data-put"), kwargs=forgetful)
    process.start()
    assert killed(process)
    # The next life seals a day later, so under another name.
    crash_child.finish(tmp_path)
    assert [finding for finding in audit(tmp_path / "store").findings if "no entry names it" in finding]
    assert max(ids_in_any_object(tmp_path / "store").values()) == 2


def test_without_a_durable_cut_a_writer_meets_its_own_other_segment_and_stops(
    tmp_path: Path, processes: ForkServerContext
) -> None:
    forgetful = {"kind": crash_child.ForgetfulJournal}
    process = processes.Process(target=crash_child.live, args=(tmp_path, "data-put"), kwargs=forgetful)
    process.start()
    assert killed(process)
    with pytest.raises(Fatal, match="is not what this writer would put there"):
        crash_child.finish(tmp_path)
    assert DirectoryStore(tmp_path / "store").list("ledger/v1/log/") == []
