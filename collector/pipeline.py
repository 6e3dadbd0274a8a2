"""Spool frames → priced, deduplicated journal rows → the owner's state → sealed segments.

One thread follows the spool file; after a crash it follows it again from the committed position, by
the same code. Order of one booking: rows durable in the journal, then the owner commits budgets,
dedupe keys and both positions in one transaction. A crash in between leaves journal rows the owner
never heard of; the journal forgets them when it is opened, and they are booked anew.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from collector.control.link import OwnerLink
from collector.frames import FrameLog
from collector.processing import Processing
from collector.processors.entries import row_entries
from collector.receivers.commit_group import Frame, read_payload
from collector.sealing.anchor import Anchor
from collector.sealing.journal import Journal
from collector.sealing.writer import LedgerWriter
from schemas.booking import Booked, Booking, Event, Pending, Poll
from schemas.conservation import Counts, SignalCounts
from schemas.errors import Fatal, Retryable, SpanwardError

_log = logging.getLogger(__name__)

# Pricing and Parquet are cheapest in slabs of this size; more would only delay the next booking.
SLAB_ROWS = 32_768
_POLL_MS = 1_000
# A booking costs milliseconds however few rows it has; what arrives within this time shares one.
_MIN_INTERVAL_S = 0.05
# Nobody waits for a booking: those who wait for an answer, or for a request to be acknowledged, go first.
_NICENESS = 10
# The owner hands out thousands of events at a time; a seal waits for this many times at the most.
_SETTLE_ROUNDS = 100


class Slab(NamedTuple):
    """Consecutive spool frames booked together; `end` is the frame after the last of them."""

    end: int
    headers: list[Frame]
    rows: pa.Table


class Parts(NamedTuple):
    """What a booker works on: two logs, the sealer, two connections to the owner, the steps between.

    `anchor` is None where another process writes the anchor.
    """

    spool: FrameLog
    journal: Journal
    writer: LedgerWriter
    booking_link: OwnerLink
    poll_link: OwnerLink
    processing: Processing
    anchor: Anchor | None


class Booker:
    """The booking thread and the one that listens for the owner's events.

    `_pending` and `_wanted_seal` are shared under `_wake`; everything else belongs to the booking thread.
    """

    def __init__(
        self,
        parts: Parts,
        position: int,
        *,
        clock: Callable[[], int],
        on_fatal: Callable[[SpanwardError], None],
    ) -> None:
        self._spool, self._journal, self._writer, self._link, self._poll_link, self._processing, self._anchor = parts
        self._position = position
        self._clock = clock
        self._on_fatal = on_fatal
        self._outbox_taken = 0
        self._wake = threading.Condition()
        self._pending: dict[int, Event] = {}
        self._wanted_seal = 0
        self._sealed = 0
        self._woken = False
        self._stopping = False
        self._last_booking_s = 0.0
        self.booked_rows = 0
        self._threads = [
            threading.Thread(target=self._guarded, args=(loop,), name=name, daemon=True)
            for name, loop in (("booker", self._run), ("owner-poll", self._listen))
        ]

    @property
    def position(self) -> int:
        """The next spool frame to book; frames below it are in the ledger's journal."""
        return self._position

    def start(self) -> None:
        """Begin to follow the spool."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """New frames are durable. Callable from any thread."""
        with self._wake:
            self._woken = True
            self._wake.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Book and seal everything acknowledged so far, then end; False if time ran out first."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._threads[0].join(timeout_s)
        return not self._threads[0].is_alive()

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except SpanwardError as error:
            if not self._stopping or isinstance(error, Fatal):
                self._on_fatal(error)
        except Exception as error:
            # Whatever went wrong, the state of this booking is unknown: recovery is the only way on.
            self._on_fatal(Fatal(f"Booking failed: {error!r}.", fix="Start again; if it repeats, report the message."))
            raise

    def _run(self) -> None:
        _step_back()
        while True:
            with self._wake:
                if not self._woken and not self._stopping and not self._pending:
                    self._wake.wait(timeout=_POLL_MS / 4000)
                self._wake.wait_for(self._hurries, timeout=self._last_booking_s + _MIN_INTERVAL_S - time.monotonic())
                stopping, wanted, self._woken = self._stopping, self._wanted_seal, False
            try:
                self._advance(seal=wanted, stopping=stopping)
            except Retryable as error:
                # Disk or store cannot take it now. Nothing is lost: the spool keeps what was acknowledged.
                _log.warning("booking waits: %s", error.diagnostics())
                time.sleep(error.retry_after_s)
                continue
            if stopping:
                return

    def _advance(self, *, seal: int, stopping: bool) -> None:
        """Book what is durable, then seal if it was asked for or is due."""
        self._book_all()
        if seal > self._sealed or stopping:
            self._settle_down()
            self._writer.seal("stop" if stopping else "request")
            self._anchor_heads(stopping=stopping)
            self._sealed = seal
            with self._wake:
                self._wake.notify_all()

    def _listen(self) -> None:
        """Long-poll the owner; hand what it says to the booking thread and wait until it was taken."""
        while not self._stopping:
            pending = self._poll_link.request(Poll(wait_ms=_POLL_MS, sealed=self._sealed))
            assert isinstance(pending, Pending)
            with self._wake:
                self._receive(pending.events)
                self._wanted_seal = max(self._wanted_seal, pending.seal)
                self._woken = True
                self._wake.notify_all()
                self._wake.wait_for(lambda: self._stopping or self._listened(), timeout=_POLL_MS / 1000)

    def _hurries(self) -> bool:
        """Whether somebody waits for what is booked now."""
        return self._stopping or self._wanted_seal > self._sealed

    def _listened(self) -> bool:
        return not self._pending and self._sealed >= self._wanted_seal

    def _receive(self, events: list[tuple[int, Event]]) -> None:
        self._pending.update((number, event) for number, event in events if number > self._outbox_taken)

    def _settle_down(self) -> None:
        """Book what was acknowledged before now, and the events it made: a booking can itself cross a budget.

        What keeps arriving meanwhile does not prolong it.
        """
        end = self._spool.durable
        for _ in range(_SETTLE_ROUNDS):
            pending = self._link.request(Poll(wait_ms=0, sealed=self._sealed))
            assert isinstance(pending, Pending)
            with self._wake:
                self._receive(pending.events)
                quiet = not self._pending and self._position >= end
            if quiet:
                return
            self._book_all()

    def _book_all(self) -> None:
        """Book what is durable now, and seal whenever that is due."""
        for slab in self._slabs(self._spool.durable):
            self._book_slab(slab)
            self._seal_if_due()
        self._seal_if_due()

    def _seal_if_due(self) -> None:
        if reason := self._writer.due():
            self._writer.seal(reason)
        self._anchor_heads(stopping=False)

    def _anchor_heads(self, *, stopping: bool) -> None:
        if self._anchor is None or not (stopping or self._anchor.due()):
            return
        try:
            self._anchor.write()
        except Retryable as error:
            # Booking does not wait for it: a later anchor covers what this one would have.
            _log.warning("the ledger's anchor waits: %s", error.diagnostics())

    def _slabs(self, end: int) -> Iterator[Slab]:
        """Slabs of the frames before `end`; one without rows when only events wait."""
        headers: list[Frame] = []
        tables: list[pa.Table] = []
        rows = 0
        for frame in takewhile(lambda frame: frame.number < end, self._spool.read(self._position)):
            header, table = read_payload(frame.payload)
            headers.append(header)
            received = pa.array(np.full(len(table), header.received_time, np.int64))
            tables.append(table.replace_schema_metadata().append_column("received_time", received))
            rows += len(table)
            if rows >= SLAB_ROWS:
                yield Slab(frame.number + 1, headers, pa.concat_tables(tables, promote_options="default"))
                headers, tables, rows = [], [], 0
        if headers:
            yield Slab(self._position + len(headers), headers, pa.concat_tables(tables, promote_options="default"))
        elif self._pending:
            yield Slab(self._position, [], pa.table({}))

    def _book_slab(self, slab: Slab) -> None:
        with self._wake:
            events = dict(self._pending)
        taken = max(events, default=self._outbox_taken)
        made = self._processing.process(slab.rows)
        told = row_entries(event.row for event in events.values())
        # A crash after this line leaves rows in the journal that the owner never committed.
        self._journal.append(pa.concat_tables([made.all(), told]), _counts(slab.headers, made.stored, made.duplicate))
        booking = Booking(
            spool_frame=slab.end,
            journal_frame=self._journal.next_frame,
            outbox_taken=taken,
            dedupe=made.dedupe,
            spends=made.spends(),
            calls=made.metered_calls(),
            sightings=made.sightings,
        )
        booked = self._link.request(booking)
        assert isinstance(booked, Booked)
        self._journal.confirm(booking.journal_frame)
        self._processing.commit(made, [event.row for event in events.values()])
        # A crash after this line leaves spool frames that the next start skips.
        self._position, self._outbox_taken = slab.end, taken
        self._last_booking_s = time.monotonic()
        self.booked_rows += len(made.rows) + len(made.points)
        self._spool.drop(self._position)
        with self._wake:
            self._pending = {number: event for number, event in self._pending.items() if number > taken}
            self._receive(booked.events)
            self._wake.notify_all()


def _step_back() -> None:
    """Make this thread nice; only Linux knows niceness by thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _counts(headers: list[Frame], stored: dict[str, int], duplicate: dict[str, int]) -> Counts:
    """What the frames' headers counted at the door, with what became of the rows here."""
    by_signal: dict[str, SignalCounts] = {}
    for signal in ("traces", "logs", "metrics"):
        rejected: dict[str, int] = {}
        for header in headers:
            for reason, number in header.rejected.get(signal, {}).items():
                rejected[reason] = rejected.get(reason, 0) + number
        by_signal[signal] = SignalCounts(
            received=sum(header.received.get(signal, 0) for header in headers),
            stored=stored.get(signal, 0),
            duplicate=duplicate.get(signal, 0),
            rejected=rejected,
            not_stored=sum(header.not_stored.get(signal, 0) for header in headers),
        )
    times = [header.received_time for header in headers]
    return Counts(from_ns=min(times, default=None), to_ns=max(times, default=None), **by_signal)
