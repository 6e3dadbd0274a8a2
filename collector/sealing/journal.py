"""Booked rows in, numbered and durable rows out, until their segment is in the store.

The journal is a frame log of two kinds of frames. A ROWS frame holds one booking: the length of its
head (u32, little-endian), the head (JSON: first number, how many rows, counts) and the rows as an
Arrow IPC stream inside one zstd frame, without the columns that are null throughout. A CUT frame
(JSON) fixes everything that segment `k` will hold.

Invariants: `seq` and `k` are dense; a row that the owner of the state did not commit is never part of
a cut; the newest published CUT frame stays, so the journal alone knows the next `seq` and `k`.
When to cut, and what becomes of a cut, is the writer's to decide.
"""

import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import zstandard

from collector.frames import FrameLog, sync_folder
from collector.ledger import rows
from schemas.conservation import Counts
from schemas.errors import Fatal
from schemas.tables import LEDGER_SCHEMA

ROWS, CUT = 1, 2
SEGMENT_BYTES = 64 * 2**20
ROW_SCHEMA = pa.schema([each for each in LEDGER_SCHEMA if each.name != "seq"])

_HEAD_LENGTH = struct.Struct("<I")
_ZSTD_LEVEL = 1

Failpoint = Callable[[str], None]


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Segment `k`, fixed before anything of it is in the store: a retry makes the same one.

    `first` and `last` are the numbers of its rows, `last` being the conservation row's; `schema` is
    the document of its columns, so an upgrade between two tries does not change its leaves.
    """

    k: int
    first: int
    last: int
    sealed_at: int
    writer: str
    reason: str
    schema: str
    conservation: dict[str, str | int | bool | None]


class _Head(msgspec.Struct, frozen=True):
    """Head of a ROWS frame: number of its first row, how many, when appended (Unix ns), counts."""

    first: int
    rows: int
    at: int
    counts: Counts


class _Name(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of `writer.json`."""

    writer: Annotated[str, msgspec.Meta(pattern=r"\Aw-[0-9a-f]{8}\Z")]


class _PlacedCut(NamedTuple):
    """A cut and where it stands: its rows are the ROWS frames from `start` up to frame `number`."""

    cut: Cut
    start: int
    number: int


@dataclass
class _Pending:
    """The ROWS frames since the last cut."""

    start: int
    rows: int = 0
    bytes: int = 0
    oldest_ns: int | None = None
    counts: Counts = field(default_factory=Counts)


class Journal:
    """The journal in one folder; owned by one thread.

    Opening it keeps what the owner committed: frames below `committed_frame`, and the CUT frames that
    follow. The first ROWS frame after them and all behind it are cut off, because their bookings will
    be made again. Raises `Fatal` if journal and owner do not belong together. `failpoint` is called
    with a name at every step whose crash a test wants to see.
    """

    def __init__(
        self,
        directory: Path,
        *,
        committed_frame: int,
        clock: Callable[[], int] = time.time_ns,
        failpoint: Failpoint = lambda name: None,  # noqa: ARG005 - does nothing, whatever the name
    ) -> None:
        self._clock = clock
        self.failpoint = failpoint
        self._directory = directory
        self._log = FrameLog(directory, segment_bytes=SEGMENT_BYTES)
        try:
            self.writer_id = _writer_id(directory, fresh=self._log.next == 0)
            self._next_seq: int | None = None
            self._cuts: list[_PlacedCut] = []
            self._pending = _Pending(self._log.first)
            # A ROWS frame below _confirmed is committed by the owner; none is at or above _rows_end.
            self._confirmed = committed_frame
            self._rows_end = 0
            self._recover(committed_frame)
        except BaseException:
            self._log.close()
            raise

    @property
    def next_frame(self) -> int:
        """Number of the next frame: what a booking of everything appended so far tells the owner."""
        return self._log.next

    @property
    def next_seq(self) -> int:
        """Number of the next row."""
        return self._next_seq or 0

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """The cuts that are still here, oldest first: after recovery the newest published, then the waiting."""
        return tuple(placed.cut for placed in self._cuts)

    @property
    def pending_rows(self) -> int:
        """Rows since the last cut."""
        return self._pending.rows

    @property
    def pending_bytes(self) -> int:
        """Bytes of the frames since the last cut, as they are on disk."""
        return self._pending.bytes

    @property
    def oldest_pending_ns(self) -> int | None:
        """When the oldest frame since the last cut was appended (Unix ns); None when nothing waits."""
        return self._pending.oldest_ns

    @property
    def pending_counts(self) -> Counts:
        """What became of everything received since the last cut."""
        return self._pending.counts

    def append(self, table: pa.Table, counts: Counts) -> int:
        """Number the rows, make them durable with their counts, and return the frame's number.

        `table` has the ledger's columns without `seq`. The owner commits one booking, and `confirm` says
        so, before the next. Raises `Retryable` when there is no room.
        """
        assert table.schema.equals(ROW_SCHEMA), table.schema
        assert counts.balanced, counts
        assert self._confirmed >= self._rows_end, "the booking before this one is not confirmed"
        if table.num_rows:
            received = pc.min_max(table["received_time"]).as_py()
            counts += Counts(from_ns=received["min"], to_ns=received["max"])
        head = _Head(first=self.next_seq, rows=table.num_rows, at=self._clock(), counts=counts)
        payload = _encode(table, head)
        number = self._log.append(ROWS, payload)
        self.failpoint("rows-written")
        self._log.sync()
        # A crash until the owner commits leaves a frame it does not know of, and opening cuts it off.
        self.failpoint("rows-durable")
        self._note_rows(number, head, len(payload))
        return number

    def confirm(self, next_frame: int) -> None:
        """The owner has committed the position `next_frame`: rows below it may be sealed."""
        assert self._confirmed <= next_frame <= self.next_frame
        self._confirmed = next_frame

    def cut(self, cut: Cut) -> None:
        """Make durable what the next segment is; `cut` covers every pending row and one more."""
        assert self._confirmed >= self._rows_end, "rows the owner has not committed"
        assert (cut.first, cut.last) == (self.next_seq - self.pending_rows, self.next_seq)
        number = self._log.append(CUT, msgspec.json.encode(cut))
        self.failpoint("cut-written")
        self._log.sync()
        self.failpoint("cut-durable")
        self._note_cut(number, cut)

    def rows(self, cut: Cut) -> pa.Table:
        """The rows of a cut without `seq`, its conservation row last; raises `Fatal` if any is gone."""
        placed = next(placed for placed in self._cuts if placed.cut == cut)
        schema = rows.parse_schema(cut.schema.encode())
        schema = schema.remove(schema.get_field_index("seq"))
        frames = takewhile(lambda frame: frame.number < placed.number, self._log.read(placed.start))
        tables = [_decode(frame.payload) for frame in frames]
        tables.append(pa.Table.from_pylist([cut.conservation], schema=schema))
        table = rows.align(pa.concat_tables(tables, promote_options="default").combine_chunks(), schema)
        if table.num_rows != cut.last - cut.first + 1:
            raise Fatal(
                f"The store has no entry {cut.k} of {cut.writer}, and {self._directory} no longer has all its rows.",
                fix="The store has lost objects: put them back from a copy.",
            )
        return table

    def pending_tables(self) -> list[pa.Table]:
        """The committed rows that wait for a cut, oldest first, without `seq`."""
        frames = self._log.read(self._pending.start)
        return [rows.align(_decode(frame.payload), ROW_SCHEMA) for frame in frames if frame.kind == ROWS]

    def published(self, cut: Cut) -> None:
        """The entry of `cut` is in the store: forget the cuts before it and drop their frames."""
        self._cuts = [placed for placed in self._cuts if placed.cut.k >= cut.k]
        # A crash in here leaves frames that belong to published cuts; the next start drops them again.
        self._log.drop(self._cuts[0].number)

    def close(self) -> None:
        """Release the folder. Everything appended is durable already."""
        self._log.close()

    def _recover(self, committed_frame: int) -> None:
        if not self._log.first <= committed_frame <= self._log.next:
            raise self._of_another_time(committed_frame)
        frames = self._log.read(self._log.first)
        for frame in frames:
            if frame.kind == CUT:
                self._note_cut(frame.number, msgspec.json.decode(frame.payload, type=Cut))
            elif frame.number < committed_frame:
                self._note_rows(frame.number, _head(frame.payload), len(frame.payload))
            elif any(later.kind == CUT for later in frames):
                # They were committed once, or they would not be cut: the owner has gone back in time.
                raise self._of_another_time(committed_frame)
            else:
                self._log.truncate(frame.number)

    def _note_rows(self, number: int, head: _Head, size: int) -> None:
        assert self._next_seq in (None, head.first)
        self._next_seq = head.first + head.rows
        self._rows_end = number + 1
        pending = self._pending
        pending.rows += head.rows
        pending.bytes += size
        pending.counts += head.counts
        pending.oldest_ns = head.at if pending.oldest_ns is None else min(pending.oldest_ns, head.at)

    def _note_cut(self, number: int, cut: Cut) -> None:
        assert self._next_seq in (None, cut.last)
        self._cuts.append(_PlacedCut(cut, self._pending.start, number))
        self._next_seq = cut.last + 1
        self._pending = _Pending(number + 1)

    def _of_another_time(self, committed_frame: int) -> Fatal:
        return Fatal(
            f"{self._directory} holds frames {self._log.first} to {self._log.next - 1}, "
            f"and the state was committed up to frame {committed_frame}.",
            fix="The state and the journal are from different times: put back the copies that belong together.",
        )


def _encode(table: pa.Table, head: _Head) -> bytes:
    known = [each for each in ROW_SCHEMA if table[each.name].null_count < table.num_rows]
    schema = pa.schema([pa.field(each.name, each.type) for each in known])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_table(pa.Table.from_arrays([table[each.name] for each in known], schema=schema))
    start = msgspec.json.encode(head)
    # One zstd frame over all: Arrow's own compression makes one a buffer, 20 times the work for few rows.
    return _HEAD_LENGTH.pack(len(start)) + start + zstandard.compress(sink.getvalue(), _ZSTD_LEVEL)


def _decode(payload: bytes) -> pa.Table:
    (length,) = _HEAD_LENGTH.unpack_from(payload)
    return pa.ipc.open_stream(zstandard.decompress(payload[_HEAD_LENGTH.size + length :])).read_all()


def _head(payload: bytes) -> _Head:
    (length,) = _HEAD_LENGTH.unpack_from(payload)
    return msgspec.json.decode(payload[_HEAD_LENGTH.size : _HEAD_LENGTH.size + length], type=_Head)


def _writer_id(directory: Path, *, fresh: bool) -> str:
    """The writer's id, kept in `writer.json`; one is made for a journal that never held a frame."""
    path = directory / "writer.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Name).writer
    except (FileNotFoundError, msgspec.DecodeError):
        if not fresh:
            raise Fatal(f"{path} does not name the journal's writer.", fix="Put it back from a copy.") from None
    name = _Name(f"w-{os.urandom(4).hex()}")
    with path.open("wb") as file:
        file.write(msgspec.json.encode(name))
        file.flush()
        os.fsync(file.fileno())
    sync_folder(directory)
    return name.writer
