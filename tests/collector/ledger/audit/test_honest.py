"""Ledgers that crashed, met failing stores and lost their journals, but that nobody tampered with: no findings.

Issue 6, "Must show" 2: at least 300 of them, judged by both verifiers, also at the moment of the crash.
"""

import random
import shutil
from pathlib import Path

import pytest

from collector.ledger import layout
from collector.sealing.journal import Journal
from collector.sealing.keys import Keyring
from collector.sealing.register import Register
from collector.sealing.writer import RETRY, Config, LedgerWriter
from schemas.errors import Retryable
from tests.collector.ledger.audit.both import both
from tests.collector.ledger.memory_store import MemoryStore
from tests.collector.ledger.samples import DEPLOYMENT, SECOND_NS, Clock, book, calls

LEDGERS = 300
DAY_NS = 86_400 * SECOND_NS


class CrashedError(BaseException):
    """The process died here."""


class Life:
    """One collector's ledger through crashes, outages, lost disks and changed keys, under a seeded chance."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.clock = Clock()
        self.store = MemoryStore(failpoint=self.reached)
        self.crashing = self.failing = 0.0
        self.committed = 0
        self.booked: list[str] = []
        self.lost: set[str] = set()
        self.judged = 0

    def reached(self, name: str) -> None:
        """Every step of journal and store: a crash, or for a store's put a failure before or after its effect."""
        if self.chance.random() < self.crashing:
            raise CrashedError
        if name.startswith(layout.PREFIX) and self.chance.random() < self.failing:
            raise Retryable("the store is away")

    def open(self) -> None:
        """Start until it succeeds."""
        while True:
            journal = Journal(
                self.folder / "journal", committed_frame=self.committed, clock=self.clock, failpoint=self.reached
            )
            try:
                register = Register(
                    self.store,
                    Keyring(self.folder / "keys", DEPLOYMENT),
                    memory=self.folder / "journal",
                    clock=self.clock,
                    retention_ns=Config().retention_ns,
                )
                log = register.open(journal.writer_id)
                writer = LedgerWriter(self.store, journal, log, config=Config(), clock=self.clock)
                writer.recover()
                anchor = register.anchor()
                assert anchor is not None
                anchor.write()
            except (Retryable, CrashedError):
                journal.close()
                self.clock.now_ns += SECOND_NS
                continue
            self.journal, self.register, self.writer, self.anchor = journal, register, writer, anchor
            return

    def step(self) -> None:
        """Book, seal, or write the anchor."""
        self.clock.now_ns += self.chance.randrange(1, 40) * SECOND_NS
        ids = [f"{len(self.booked) + row}" for row in range(self.chance.randrange(4))]
        book(self.journal, calls(ids, at=self.clock.now_ns))
        self.committed = self.journal.next_frame
        self.booked += ids
        try:
            self.writer.seal(self.chance.choice(["test", RETRY]))
            if self.anchor.due():
                self.anchor.write()
        except Retryable:
            pass

    def crash(self) -> None:
        """The process is gone; what the ledger is at that moment must already be honest."""
        self.journal.close()
        self.judge()
        if self.chance.random() < 0.2:
            self.clock.now_ns += self.chance.randrange(3) * DAY_NS
        if self.chance.random() < 0.1:
            shutil.rmtree(self.folder / "journal")
            self.committed = 0
        elif self.chance.random() < 0.1:
            self.rotate()

    def rotate(self) -> None:
        """A new key for a log, by hand, while nothing runs."""
        crashing, self.crashing, failing, self.failing = self.crashing, 0, self.failing, 0
        keyring = Keyring(self.folder / "keys", DEPLOYMENT)
        register = Register(self.store, keyring, memory=self.folder, clock=self.clock, retention_ns=DAY_NS)
        assert register.chain.newest is not None
        register.rotate(self.chance.choice([log for log in register.chain.newest.logs if register.may_sign(log)]))
        self.crashing, self.failing = crashing, failing

    def judge(self) -> None:
        """Both verifiers, now."""
        root = Keyring(self.folder / "keys", DEPLOYMENT).root()
        if root is not None and self.store.list(layout.TRUST):
            assert both(self.store, str(root), self.clock.now_ns).findings == []
            self.judged += 1


@pytest.mark.parametrize("seeds", [range(start, start + 20) for start in range(0, LEDGERS, 20)], ids=str)
def test_a_ledger_that_crashed_and_recovered_has_no_findings(tmp_path: Path, seeds: range) -> None:
    for seed in seeds:
        life = Life(tmp_path / str(seed), seed)
        life.open()
        life.crashing, life.failing = life.chance.choice([(0.05, 0.0), (0.02, 0.05), (0.0, 0.2)])
        for _ in range(3):
            try:
                for _ in range(life.chance.randrange(1, 4)):
                    life.step()
            except CrashedError:
                pass
            life.crash()
            life.open()
        life.crashing = life.failing = 0
        life.writer.seal("stop")
        life.anchor.write()
        life.journal.close()
        life.judge()
        life.clock.now_ns += 40 * DAY_NS
        life.judge()
        assert life.judged >= 5
