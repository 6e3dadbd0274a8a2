"""Frames in, durable bytes out: an append-only log in segment files.

A frame is a header (payload length u32, CRC32C u32, frame number u64, kind u8, little-endian) and
its payload; the checksum covers the other header fields and the payload. Numbers are dense. A file
is named after its first frame, and a new one is begun at `segment_bytes`.

Invariant: after `sync` returns, every frame appended before it is read back unchanged, or opening
the log raises `Fatal`; it is never left out silently. The highest bit of `kind` makes that exact: it
is set on the first frame after a sync, so a bad frame with such a frame behind it was durable once
and is damage, while a bad frame with none behind it was never acknowledged and is cut.

What the payloads mean, and when frames may be dropped, is left to the owner of the log.
"""

import errno
import fcntl
import mmap
import os
import re
import struct
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from schemas.errors import Fatal, Retryable

MAX_KIND = 0x7F
_SYNCED_BEFORE = 0x80
_HEADER = struct.Struct("<IIQB")
_CHECKED_FIELDS = struct.Struct("<IQB")
_NUMBER = struct.Struct("<Q")
_NUMBER_AT = 8
_CLOSED = -1
_NAME = re.compile(r"(\d{20})\.frames")
# Damage longer than this many frames, up to the end of the log, looks like a torn tail.
_LOOK_AHEAD_FRAMES = 64
# A full disk or log empties at the pace of sealing, which is seconds.
_RETRY_AFTER_S = 5


# An alias, because inside the log `bytes` is its size.
Payload = bytes


class Frame(NamedTuple):
    """One frame as it was appended."""

    number: int
    kind: int
    payload: Payload


@dataclass(slots=True)
class _Segment:
    """One file. `offsets` has the start of each frame and, last, the end of the newest one."""

    path: Path
    first: int
    offsets: "array[int]"

    @property
    def next(self) -> int:
        return self.first + len(self.offsets) - 1

    @property
    def size(self) -> int:
        return self.offsets[-1]


class FrameLog:
    """The log in one folder. One thread appends and syncs; any thread may read, one may drop.

    Opening checks every frame, cuts a torn tail (`cut_bytes` says how much), makes the rest durable
    and locks the folder against other processes; it raises `Fatal` when the folder is in use or a
    frame that was durable is damaged. `limit_name` is the setting that `max_bytes` came from.
    """

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int = 64 * 2**20,
        max_bytes: int | None = None,
        limit_name: str = "spool.max_bytes",
    ) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._limit_name = limit_name
        self._failed = ""
        # Guards `_segments` (replaced, never changed in place) and `_bytes` between appending and dropping.
        self._guard = threading.Lock()
        make_folder(directory)
        self._lock_fd = _lock(directory)
        try:
            self._segments, self.cut_bytes = _open_segments(directory)
            self._fd = self._make_durable()
        except BaseException:
            os.close(self._lock_fd)
            raise
        self._bytes = sum(segment.size for segment in self._segments)
        # Written by the appending thread, read by all: frames below it survive a power cut.
        self.durable = self.next
        self._synced_before = True

    @property
    def first(self) -> int:
        """Number of the oldest frame still here; equals `next` when there is none."""
        return self._segments[0].first

    @property
    def next(self) -> int:
        """Number the next appended frame gets."""
        return self._segments[-1].next

    @property
    def bytes(self) -> int:
        """Size of all frames, headers included."""
        return self._bytes

    def append(self, kind: int, payload: Payload) -> int:
        """Write one frame and return its number; it is durable after the next `sync`.

        Raises `Retryable` and changes nothing when the disk is full or `max_bytes` is reached,
        `Fatal` when the file's state is no longer known.
        """
        assert 0 <= kind <= MAX_KIND
        self._check_usable()
        size = _HEADER.size + len(payload)
        with self._guard:
            if self._max_bytes is not None and self._bytes + size > self._max_bytes:
                full = f"{self._directory} holds {self._bytes} bytes and has reached its limit {self._limit_name}."
                raise Retryable(full, fix="Wait until it drains, or raise the limit.", retry_after_s=_RETRY_AFTER_S)
            if self._segments[-1].size and self._segments[-1].size + size > self._segment_bytes:
                self._roll()
            segment = self._segments[-1]
            number = segment.next
            stored_kind = kind | (_SYNCED_BEFORE if self._synced_before else 0)
            checksum = _checksum(number, stored_kind, payload)
            self._write(_HEADER.pack(len(payload), checksum, number, stored_kind) + payload, segment.size)
            segment.offsets.append(segment.size + size)
            self._bytes += size
        self._synced_before = False
        return number

    def sync(self) -> None:
        """Make every appended frame durable. Raises `Fatal` on any error, and so does every later call.

        After a failed fdatasync the kernel may have thrown the pages away and marked them clean, so
        a second try on the same file would report success for data that is gone.
        """
        self._check_usable()
        appended = self.next
        if appended == self.durable:
            return
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise self._fail(f"Syncing {self._segments[-1].path} failed: {error}.") from error
        self.durable = appended
        self._synced_before = True

    def read(self, start: int) -> Iterator[Frame]:
        """Durable frames from number `start` on, ending where the log is durable at that moment.

        Raises `Fatal` when `start` was dropped or never written, or when a frame is damaged.
        """
        if not self.first <= start <= self.next:
            raise Fatal(
                f"{self._directory} holds frames {self.first} to {self.next - 1}, and frame {start} was asked for.",
                fix="The log and whoever asks are from different times: put back the copies that belong together.",
            )
        return self._read(start)

    def truncate(self, first_dropped: int) -> None:
        """Forget frame `first_dropped` and all after it, durably. For recovery, before anything is appended."""
        assert self.first <= first_dropped <= self.next
        self._check_usable()
        try:
            # Newest file first: a crash in between leaves a shorter log, never a hole.
            while self._segments[-1].first > first_dropped:
                self._segments[-1].path.unlink()
                sync_folder(self._directory)
                self._segments = self._segments[:-1]
            last = self._segments[-1]
            del last.offsets[first_dropped - last.first + 1 :]
            old, self._fd = self._fd, self._make_durable()
            os.close(old)
        except OSError as error:
            raise self._fail(f"Truncating {self._directory} failed: {error}.") from error
        self._bytes = sum(segment.size for segment in self._segments)
        self.durable = first_dropped

    def drop(self, before: int) -> None:
        """Delete the files whose frames are all below `before`, durably; never the one being appended to."""
        self._check_usable()
        while True:
            with self._guard:
                oldest = self._segments[0]
                if len(self._segments) == 1 or oldest.next > before:
                    return
                self._segments = self._segments[1:]
                self._bytes -= oldest.size
            try:
                # Each deletion is durable before the next: a power cut never leaves a hole among the oldest.
                oldest.path.unlink()
                sync_folder(self._directory)
            except OSError as error:
                raise self._fail(f"Deleting {oldest.path} failed: {error}.") from error

    def close(self) -> None:
        """Free the folder for another process. Frames appended since the last `sync` may be lost."""
        self._failed = f"{self._directory} is closed."
        for fd in {self._fd, self._lock_fd} - {_CLOSED}:
            os.close(fd)
        self._fd = self._lock_fd = _CLOSED

    def _read(self, number: int) -> Iterator[Frame]:
        while number < self.durable:
            segments = self._segments
            segment = segments[bisect_right(segments, number, key=lambda s: s.first) - 1]
            with segment.path.open("rb") as file:
                while number < min(segment.next, self.durable):
                    start, end = segment.offsets[number - segment.first : number - segment.first + 2]
                    found = _frame_at(os.pread(file.fileno(), end - start, start), 0)
                    if found is None or found[0].number != number:
                        raise _damaged(segment.path, start, number)
                    yield Frame(number, found[0].kind & MAX_KIND, found[0].payload)
                    number += 1

    def _write(self, data: Payload, offset: int) -> None:
        view, at = memoryview(data), offset
        try:
            while view:
                done = os.pwrite(self._fd, view, at)
                view, at = view[done:], at + done
        except OSError as error:
            try:
                os.ftruncate(self._fd, offset)
            except OSError as second:
                raise self._fail(f"Cutting {self._segments[-1].path} back failed: {second}.") from error
            raise self._refusal(f"Writing {self._segments[-1].path} failed", error) from error

    def _roll(self) -> None:
        # The full file is durable before the next one exists, so only the last file can have a torn tail.
        self.sync()
        path = _segment_path(self._directory, self.next)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise self._refusal(f"Creating {path} failed", error) from error
        os.close(self._fd)
        self._fd = fd
        try:
            sync_folder(self._directory)
        except OSError as error:
            raise self._fail(f"Syncing {self._directory} failed: {error}.") from error
        self._segments = [*self._segments, _Segment(path, self.next, array("Q", [0]))]

    def _make_durable(self) -> int:
        """Open the last file for appending, cut to its good frames and durable with its name."""
        last = self._segments[-1]
        fd = os.open(last.path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(fd, last.size)
        os.fsync(fd)
        sync_folder(self._directory)
        return fd

    def _refusal(self, what: str, error: OSError) -> Fatal | Retryable:
        """A full disk is the caller's to wait out; after any other error the file's state is unknown."""
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return self._fail(f"{what}: {error}.")
        return Retryable(
            f"{what}: the disk is full.",
            fix=f"Free space on it, or lower {self._limit_name} so that it never fills.",
            retry_after_s=_RETRY_AFTER_S,
        )

    def _fail(self, what: str) -> Fatal:
        self._failed = what
        return Fatal(what, fix="Check the disk, then start again: recovery reads back what is durable.")

    def _check_usable(self) -> None:
        if self._failed:
            raise self._fail(self._failed)


def _checksum(number: int, kind: int, payload: bytes) -> int:
    fields = _CHECKED_FIELDS.pack(len(payload), number, kind)
    return int(google_crc32c.extend(google_crc32c.value(fields), payload))


def _frame_at(data: bytes | mmap.mmap, offset: int) -> tuple[Frame, int] | None:
    """The intact frame that starts at `offset`, its kind as stored, and where it ends; None if there is none."""
    start = offset + _HEADER.size
    if offset < 0 or start > len(data):
        return None
    length, checksum, number, kind = _HEADER.unpack_from(data, offset)
    if start + length > len(data):
        return None
    payload = data[start : start + length]
    if _checksum(number, kind, payload) != checksum:
        return None
    return Frame(number, kind, payload), start + length


def _open_segments(directory: Path) -> tuple[list[_Segment], int]:
    """Check every file; returns them with the number of torn bytes behind the last good frame."""
    segments: list[_Segment] = []
    torn_bytes = 0
    for path in sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name)):
        first = int(path.stem)
        if torn_bytes or (segments and segments[-1].next != first):
            raise _damaged(segments[-1].path, segments[-1].size, segments[-1].next)
        segment, torn_bytes = _scan(path, first)
        segments.append(segment)
    return segments or [_Segment(_segment_path(directory, 0), 0, array("Q", [0]))], torn_bytes


def _scan(path: Path, first: int) -> tuple[_Segment, int]:
    segment = _Segment(path, first, array("Q", [0]))
    size = path.stat().st_size
    if size == 0:
        return segment, 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        while (found := _frame_at(data, segment.size)) and found[0].number == segment.next:
            segment.offsets.append(found[1])
        if segment.size < size and _was_durable(data[segment.size :], segment.next):
            raise _damaged(path, segment.size, segment.next)
    return segment, size - segment.size


def _was_durable(rest: bytes, number: int) -> bool:
    """Whether a frame behind the bad frame `number`, which starts `rest`, was written after a sync.

    The bad frame's own length cannot be trusted, so later frames are searched for by their number.
    """
    for later in range(number + 1, number + 1 + _LOOK_AHEAD_FRAMES):
        wanted = _NUMBER.pack(later)
        at = rest.find(wanted)
        while at != -1:
            found = _frame_at(rest, at - _NUMBER_AT)
            if found is not None and found[0].kind & _SYNCED_BEFORE:
                return True
            at = rest.find(wanted, at + 1)
    return False


def _damaged(path: Path, offset: int, number: int) -> Fatal:
    return Fatal(
        f"{path} is damaged at byte {offset}: frame {number} was durable there and is not intact or is missing.",
        fix="Nothing was changed. Check the disk and put an intact copy of the file back.",
    )


def _segment_path(directory: Path, first: int) -> Path:
    return directory / f"{first:020d}.frames"


def make_folder(directory: Path) -> None:
    """Create a folder and its parents; its name is durable, also when an earlier process crashed creating it."""
    if not directory.parent.is_dir():
        make_folder(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    sync_folder(directory.parent)


def sync_folder(directory: Path) -> None:
    """Make durable which names a folder holds; raises `OSError`."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock(directory: Path) -> int:
    """Hold `directory/lock` until the process ends; the file says who holds it."""
    path = directory / "lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 32).decode("ascii", "replace").strip()
        os.close(fd)
        raise Fatal(
            f"{directory} is in use by process {holder} (it holds {path}).",
            fix="Stop that process first, or give this one another data directory.",
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd
