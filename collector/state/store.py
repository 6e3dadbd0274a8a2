"""Groups of changes in, one durable SQLite transaction a group out; at start, everything back.

`state.db` (WAL, `synchronous=FULL`) has one owner, which also holds the lock file beside it.
Invariants: a group is on disk whole or not at all; after `commit` returns it survives power loss.
An error of the database is `StoreFailed`: memory may then be ahead of the disk, and only reading
everything back makes them equal. What the rows mean is left to `governance`, when to commit to `control`.
"""

import fcntl
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec

from collector.state import tables
from collector.state.notices import Notice
from collector.state.rows import (
    Asker,
    Booked,
    Crossing,
    Delivery,
    DeliveryState,
    Entry,
    Group,
    HoldChange,
    HoldRow,
    Increase,
    Keep,
    KeptDecision,
    KillRow,
    Named,
    Positions,
    ReleaseRow,
    Ruling,
    Spend,
    StoredHold,
    StoredNotice,
)
from schemas.errors import ConfigError, Fatal

# Nobody else writes here; a backup tool that holds the file longer stops the owner.
FOREIGN_LOCK_S = 2.0
# A booking's blob has 128 bits of key and 64 bits of content for each row it remembers.
DEDUPE_ITEM_BYTES = 24
# Pages of the log after which a commit carries them over into the file: a millisecond, and four times that at 1000.
CHECKPOINT_PAGES = 250
# Rows of one table that one call of `prune` deletes: one or two milliseconds.
PRUNED_AT_ONCE = 500
# The owner of a serve that was killed needs this long at most to write its last group and let go.
LOCK_WAIT_S = 15.0

_NOTICE = msgspec.msgpack.Decoder(Notice)
_HOLD_COLUMNS = len(HoldRow._fields)


class StoreFailed(Fatal):
    """The disk did not do what it was told: what memory says is not to be trusted before it is read back."""


class State:
    """`state.db`, open. `commit` and `prune` belong to the committing thread, the rest to the loop."""

    def __init__(self, path: Path, *, lock_wait_s: float = LOCK_WAIT_S) -> None:
        """Open or create the file; raises `ConfigError` when another owner has it or a newer version wrote it."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undo, self._failing("open"):
            undo.enter_context(_lock(path, lock_wait_s))
            self._writer = undo.enter_context(closing(_connect(path)))
            _create_tables(self._writer, path)
            self._reader = undo.enter_context(closing(_connect(path)))
            self._reader.execute("PRAGMA query_only = 1")
            newest = self._reader.execute("SELECT max(id) FROM outbox").fetchone()[0]
            self._open = undo.pop_all()
        self.last_event: int = newest or self.positions().outbox_taken
        """Id of the newest durable event. Written by the committing thread."""
        self.last_notice: int = self._read(tables.LAST_NOTICE)[0][0]
        """Number of the newest durable notice. Written by the committing thread."""

    def commit(self, group: Group) -> None:
        """Make a group durable, whole; raises `StoreFailed` when it may not be."""
        findings = [(key, *stored) for key, stored in group.findings.items()]
        notices = [(notice.key, notice.time, msgspec.msgpack.encode(notice)) for notice in group.notices]
        spends = [(slot, *path, *amounts) for (*path, slot), amounts in group.spends.items()]
        with self._failing("write"), _transaction(self._writer):
            for statement, rows in (
                (tables.ADD_HOLD, group.holds),
                (tables.ADD_CHANGE, group.changes),
                (tables.ADD_LINE, group.lines),
                (tables.ADD_SPEND, spends),
                (tables.ADD_CROSSING, group.crossings),
                (tables.ADD_CORRECTION, group.corrections),
                (tables.ADD_INCREASE, group.increases),
                (tables.END_INCREASE, [(increase_id,) for increase_id in group.ended]),
                (tables.ADD_DECISION, group.decisions),
                (tables.ADD_RULING, group.rulings),
                (tables.PUT_ASKER, list(group.askers.values())),
                (tables.PUT_FINDING, findings),
                (tables.ADD_NOTICE, notices),
                (tables.PUT_DELIVERY, group.deliveries),
                (tables.ADD_KILL, group.kills),
                (tables.ADD_RELEASE, group.releases),
                (tables.ADD_NAMED, group.named),
                (tables.ADD_EVENT, list(enumerate(group.events, self.last_event + 1))),
                (tables.PUT_META, list(group.meta.items())),
            ):
                if rows:
                    self._writer.executemany(statement, rows)
            if group.booked is not None:
                self._book(group.booked)
            last_notice = self._writer.execute(tables.LAST_NOTICE).fetchone()[0] if notices else self.last_notice
        self.last_event += len(group.events)
        self.last_notice = last_notice

    def prune(self, keep: Keep) -> bool:
        """Delete what nobody will ask for again, a bounded number of rows a call. True when more is left."""
        values = keep._asdict() | {"at_once": PRUNED_AT_ONCE, "dedupe_bytes": keep.dedupe_keys * DEDUPE_ITEM_BYTES}
        with self._failing("prune"), _transaction(self._writer):
            few = (
                tables.PRUNE_SPENDS, tables.PRUNE_CROSSINGS, tables.PRUNE_CHANGES, tables.PRUNE_DELIVERIES,
                tables.PRUNE_ASKERS,
            )  # fmt: skip
            for statement in few:
                self._writer.execute(statement, values)
            bounded = (
                tables.PRUNE_HOLDS, tables.PRUNE_LINES, tables.PRUNE_CORRECTIONS, tables.PRUNE_DECISIONS,
                tables.PRUNE_DEDUPE, tables.PRUNE_NOTICES, tables.PRUNE_RULINGS, tables.PRUNE_FINDINGS,
            )  # fmt: skip
            most = max(self._writer.execute(statement, values).rowcount for statement in bounded)
        return most == PRUNED_AT_ONCE

    def spends(self, since: int) -> Iterator[Spend]:
        """What was settled in the quarters of an hour from `since` on."""
        sql = "SELECT org, tenant, agent, slot_time, settled, tokens FROM spends WHERE slot_time >= ?"
        return map(Spend._make, self._read(sql, since))

    def burn(self, since: int, until: int) -> list[Spend]:
        """What each agent settled in the quarters of an hour from `since` to before `until`; slot times are 0."""
        return [Spend._make(row) for row in self._read(tables.BURN, since, until)]

    def settled(self, most: int) -> list[tuple[str, str, str, str, int, int]]:
        """The settled ones of the `most` newest holds, oldest first: org, tenant, agent, model, amount, tokens."""
        return self._read(tables.SETTLED, most)

    def increases(self) -> list[Increase]:
        """Increases of limits that have not ended, oldest first."""
        return [Increase._make(row) for row in self._read(tables.INCREASES)]

    def open_holds(self) -> list[StoredHold]:
        """Holds that can still change: live, or resolved and waiting for their span; oldest first."""
        return [_hold(row) for row in self._read(tables.OPEN_HOLDS)]

    def hold(self, hold_id: str) -> StoredHold | None:
        """One hold as it was last committed."""
        return next((_hold(row) for row in self._read(tables.HOLD, hold_id)), None)

    def holds(self, hold_ids: Sequence[str]) -> dict[str, StoredHold]:
        """Those of these holds there are, as they were last committed."""
        rows = self._read(tables.HOLDS.format(", ".join("?" * len(hold_ids))), *hold_ids)
        return {row[0]: _hold(row) for row in rows}

    def rulings(self) -> list[Ruling]:
        """Decisions that no hold tells of, oldest first."""
        return [Ruling._make(row[1:]) for row in self._read("SELECT * FROM rulings ORDER BY id")]

    def askers(self) -> list[Asker]:
        """Agents that ask before they act."""
        return [Asker._make(row) for row in self._read("SELECT * FROM askers")]

    def findings(self) -> list[tuple[str, bytes]]:
        """Findings by their key, oldest change first."""
        return self._read("SELECT key, finding FROM findings ORDER BY recorded_time")

    def crossings(self, since: int) -> list[Crossing]:
        """Recorded crossings of windows that started at `since` or later."""
        return [Crossing._make(row) for row in self._read("SELECT * FROM crossings WHERE window_start >= ?", since)]

    def decisions(self) -> list[KeptDecision]:
        """Kept answers, oldest first."""
        return [KeptDecision._make(row[1:]) for row in self._read("SELECT * FROM decisions ORDER BY id")]

    def notices(self, after: int, limit: int) -> list[StoredNotice]:
        """Durable notices with a number above `after`, oldest first."""
        rows = self._read(tables.NOTICES, after, limit)
        return [StoredNotice(number, _NOTICE.decode(notice)) for number, notice in rows]

    def deliveries(self, state: DeliveryState, limit: int) -> list[Delivery]:
        """The newest deliveries in this state, newest first."""
        return [Delivery._make(row) for row in self._read(tables.DELIVERIES, state, limit)]

    def corrections(self, entry_ids: Sequence[bytes]) -> set[bytes]:
        """Those of these corrections that are durable."""
        marks = ", ".join("?" * len(entry_ids))
        return {entry_id for (entry_id,) in self._read(tables.CORRECTIONS.format(marks), *entry_ids)}

    def kills(self) -> list[KillRow]:
        """Every kill there ever was, oldest first."""
        return [KillRow._make(row) for row in self._read("SELECT * FROM kills ORDER BY epoch")]

    def releases(self) -> list[ReleaseRow]:
        """Every release of a kill, oldest first."""
        return [ReleaseRow._make(row) for row in self._read("SELECT * FROM kill_releases ORDER BY epoch")]

    def named(self) -> list[Named]:
        """Models and tools that were asked about."""
        return [Named._make(row) for row in self._read("SELECT kind, name FROM named")]

    def entries(self) -> list[Entry]:
        """The budget book, oldest first."""
        return [Entry._make(row) for row in self._read(tables.ENTRIES)]

    def events(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Durable events above `after`, oldest first, each the MessagePack of a `schemas.booking.Event`."""
        return self._read("SELECT id, event FROM outbox WHERE id > ? ORDER BY id LIMIT ?", after, limit)

    def dedupe(self) -> list[bytes]:
        """The dedupe keys of each booking in the window, oldest first."""
        return [keys for (keys,) in self._read("SELECT keys FROM dedupe ORDER BY journal_frame")]

    def positions(self) -> Positions:
        """Where ingest stands."""
        return Positions._make(self._read("SELECT spool_frame, journal_frame, outbox_taken FROM positions")[0])

    def meta(self, key: str) -> bytes | None:
        """A value stored under a name."""
        return next((value for (value,) in self._read("SELECT value FROM meta WHERE key = ?", key)), None)

    def rewrite_log(self) -> None:
        """Carry the log over into the file.

        After a flush that failed the kernel may hold pages for written that are not on disk, and the
        next flush would pass them over; here they are written anew.
        """
        with self._failing("write"):
            busy, *_ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise sqlite3.OperationalError("another process reads the file")

    def close(self) -> None:
        """Let go of the file; the last group has been committed."""
        self._open.close()

    def _book(self, booked: Booked) -> None:
        self._writer.execute(tables.PUT_POSITIONS, booked.positions)
        self._writer.execute(tables.TAKE_EVENTS, (booked.positions.outbox_taken,))
        if booked.dedupe:
            self._writer.execute(tables.ADD_DEDUPE, {"frame": booked.positions.journal_frame, "keys": booked.dedupe})

    def _read(self, sql: str, *values: str | int | bytes) -> list[Any]:
        with self._failing("read"):
            return self._reader.execute(sql, values).fetchall()

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreFailed(
                f"Cannot {what} {self._path}: {error}.",
                fix="Check the disk's free space and health; the state goes on from the last durable group.",
            ) from error


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    # Nothing to undo on an error: the file is closed with its transaction open.
    yield
    connection.execute("COMMIT")


def in_use(path: Path) -> bool:
    """Say whether an owner has the state at `path` open; its folder must exist."""
    try:
        _lock(path, 0).close()
    except ConfigError:
        return True
    return False


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=FOREIGN_LOCK_S)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    # Some builds of SQLite write zeros over every row that is deleted; entries pass through the outbox by the thousand.
    connection.execute("PRAGMA secure_delete = OFF")
    return connection


def _create_tables(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == tables.SCHEMA_VERSION:
        return
    if not 0 <= version < tables.SCHEMA_VERSION:
        raise ConfigError(
            f"{path} has schema {version}, written by a newer spanward; this one knows {tables.SCHEMA_VERSION}.",
            fix="Start the version that wrote it, or a later one.",
        )
    # One transaction: a crash in the middle leaves the file as it was, and the next start tries again.
    steps = "".join(tables.STEPS[version:])
    connection.executescript(f"BEGIN; {steps} PRAGMA user_version = {tables.SCHEMA_VERSION}; COMMIT;")


def _lock(path: Path, wait_s: float) -> FileIO:
    """The lock file of `path`, held until closed or the process ends."""
    lock = FileIO(path.with_name(path.name + ".lock"), "a")
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                lock.close()
                raise ConfigError(
                    f"{path} is in use by another process.", fix="Stop the other spanward serve on this data directory."
                ) from None
            time.sleep(0.05)
        else:
            return lock


def _hold(row: tuple[Any, ...]) -> StoredHold:
    made, change, overdraw = row[:_HOLD_COLUMNS], row[_HOLD_COLUMNS:-2], row[-2:]
    return StoredHold(HoldRow._make(made), None if change[0] is None else HoldChange._make(change), overdraw)
