"""A collector's booking loop, killed: a stream of batches in, a ledger that survives out.

The owner of the state is a file that gets one line a commit, as the real one commits a booking. The
stream is the same in every life, so a batch that was not committed is booked again with the same ids.
"""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from collector.sealing import journal as journals
from collector.sealing.journal import Cut, Journal
from collector.sealing.writer import RETRY, Config
from collector.stores.directory import DirectoryStore
from schemas.conservation import Counts
from tests.collector.ledger.samples import SECOND_NS, START_NS, calls, counted, writer_of

FAILPOINTS = [
    "rows-written",
    "rows-durable",
    "owner-committed",
    "cut-written",
    "cut-durable",
    "schema-put",
    "data-put",
    "entry-put",
    "checkpoint-put",
    "journal-dropped",
]


def batch(number: int) -> tuple[pa.Table, Counts]:
    """Batch `number` of the stream: 0 to 6 rows, with what was not stored of it."""
    chance = random.Random(number)
    table = calls([f"{number}-{row}" for row in range(chance.randrange(7))], at=START_NS + number)
    return table, counted(table.num_rows, duplicate=chance.randrange(3), rejected={"malformed": chance.randrange(3)})


class Owner:
    """The committed position: next batch and next journal frame."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        lines = path.read_text().split("\n")[:-1]
        self.next_batch, self.next_frame = map(int, lines[-1].split()) if lines else (0, 0)

    def commit(self, next_batch: int, next_frame: int) -> None:
        """One write, as atomic as a transaction towards kill -9."""
        os.write(self._fd, f"{next_batch} {next_frame}\n".encode())


class ForgetfulJournal(Journal):
    """The control: a cut that is believed and not durable."""

    def cut(self, cut: Cut) -> None:
        """Remember the cut in memory only."""
        self.failpoint("cut-written")
        self.failpoint("cut-durable")
        self._note_cut(self.next_frame, cut)


def killed_at(failpoint: str, nth: int) -> Callable[[str], None]:
    """A hook that kills this process as kill -9 does, when `failpoint` is passed for the nth time."""
    passed = 0

    def hook(name: str) -> None:
        nonlocal passed
        passed += name == failpoint
        if passed == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def live(folder: Path, failpoint: str, *, nth: int = 1, day: int = 0, kind: type[Journal] = Journal) -> None:
    """Recover, then book and seal until killed; at the failpoint "" never by itself."""
    journals.SEGMENT_BYTES = 8_192
    hook = killed_at(failpoint, nth)
    owner = Owner(folder / "owner")
    ticks = iter(range(10**9))
    journal = kind(folder / "journal", committed_frame=owner.next_frame, failpoint=hook)
    writer = writer_of(
        journal,
        DirectoryStore(folder / "store"),
        folder,
        clock=lambda: START_NS + (day * 86_400 * SECOND_NS) + next(ticks),
        config=Config(seal_rows=12),
    )
    writer.recover()
    for number in range(owner.next_batch, 5_000):
        journal.append(*batch(number))
        owner.commit(number + 1, journal.next_frame)
        hook("owner-committed")
        journal.confirm(journal.next_frame)
        reason = writer.due()
        assert reason != RETRY
        if reason is not None and reason != "age":
            writer.seal(reason)


def finish(folder: Path) -> int:
    """The last life: recover and seal what waits; returns how many batches the owner had committed."""
    owner = Owner(folder / "owner")
    journal = Journal(folder / "journal", committed_frame=owner.next_frame)
    writer = writer_of(journal, DirectoryStore(folder / "store"), folder)
    writer.recover()
    writer.seal("shutdown")
    journal.close()
    return owner.next_batch
