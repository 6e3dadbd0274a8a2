"""Frames written, torn, flipped, dropped and read: nothing durable is lost or invented."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.frames import MAX_KIND, Frame, FrameLog
from schemas.errors import Fatal, Retryable

HEADER_BYTES = 17


@pytest.fixture
def log(tmp_path: Path) -> Iterator[FrameLog]:
    log = FrameLog(tmp_path / "log")
    yield log
    log.close()


def filled(directory: Path, payloads: list[bytes], *, segment_bytes: int = 2**20) -> list[Frame]:
    """A closed log of these payloads, each synced; returns its frames."""
    log = FrameLog(directory, segment_bytes=segment_bytes)
    for payload in payloads:
        log.append(1, payload)
        log.sync()
    frames = list(log.read(log.first))
    log.close()
    return frames


def opened(directory: Path) -> list[Frame]:
    log = FrameLog(directory)
    try:
        return list(log.read(log.first))
    finally:
        log.close()


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.frames"))


@settings(max_examples=40, deadline=None)
@given(
    groups=st.lists(st.lists(st.tuples(st.integers(0, MAX_KIND), st.binary(max_size=90)), max_size=4), max_size=6),
    segment_bytes=st.integers(1, 300),
)
def test_what_was_synced_is_read_back_after_reopening(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[tuple[int, bytes]]], segment_bytes: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    log = FrameLog(directory, segment_bytes=segment_bytes)
    written: list[Frame] = []
    for group in groups:
        for kind, payload in group:
            written.append(Frame(log.append(kind, payload), kind, payload))
        log.sync()
        assert list(log.read(0)) == written
    size = log.bytes
    log.close()
    again = FrameLog(directory, segment_bytes=segment_bytes)
    assert (again.first, again.next, again.durable, again.bytes) == (0, len(written), len(written), size)
    assert [frame.number for frame in written] == list(range(len(written)))
    assert list(again.read(0)) == written
    assert size == sum(HEADER_BYTES + len(frame.payload) for frame in written)
    again.close()


@pytest.mark.parametrize("fill", [b"", b"\x00", b"\xff"], ids=["cut", "zeros", "ones"])
def test_a_tail_torn_at_any_byte_is_cut_and_the_log_goes_on(tmp_path: Path, fill: bytes) -> None:
    frames = filled(tmp_path / "log", [b"first", b"second" * 9, b"\x01last frame"])
    (path,) = files(tmp_path / "log")
    whole = path.read_bytes()
    last_at = len(whole) - HEADER_BYTES - len(frames[-1].payload)
    for torn_at in range(last_at, len(whole)):
        tail = fill * (len(whole) - torn_at)
        path.write_bytes(whole[:torn_at] + tail)
        log = FrameLog(tmp_path / "log")
        assert log.next == 2
        assert log.cut_bytes == torn_at - last_at + len(tail)
        assert log.append(1, b"again") == 2
        log.sync()
        log.close()
        assert opened(tmp_path / "log") == [*frames[:2], Frame(2, 1, b"again")]


def test_every_flipped_bit_before_the_last_frame_stops_the_start_and_names_the_place(tmp_path: Path) -> None:
    frames = filled(tmp_path / "log", [b"first", b"second", b"last"])
    (path,) = files(tmp_path / "log")
    whole = path.read_bytes()
    second_at = HEADER_BYTES + len(frames[0].payload)
    last_at = second_at + HEADER_BYTES + len(frames[1].payload)
    for bit in range(last_at * 8):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        with pytest.raises(Fatal) as caught:
            opened(tmp_path / "log")
        offset = 0 if bit // 8 < second_at else second_at
        assert f"{path} is damaged at byte {offset}" in caught.value.what
        assert path.read_bytes() == broken


def test_a_flipped_bit_in_the_last_frame_is_never_read_as_data(tmp_path: Path) -> None:
    frames = filled(tmp_path / "log", [b"first", b"last"])
    (path,) = files(tmp_path / "log")
    whole = path.read_bytes()
    for bit in range((HEADER_BYTES + len(b"first")) * 8, len(whole) * 8):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        assert opened(tmp_path / "log") == frames[:1]
        path.write_bytes(whole)


def test_frames_of_one_unsynced_group_are_cut_together_when_a_power_cut_kept_only_the_later(tmp_path: Path) -> None:
    log = FrameLog(tmp_path / "log")
    for payload in (b"durable", b"lost page", b"kept page"):
        log.append(1, payload)
        if payload == b"durable":
            log.sync()
    log.close()
    (path,) = files(tmp_path / "log")
    path.write_bytes(path.read_bytes().replace(b"lost page", bytes(9)))
    assert opened(tmp_path / "log") == [Frame(0, 1, b"durable")]


def test_a_missing_or_shortened_file_in_the_middle_stops_the_start(tmp_path: Path) -> None:
    filled(tmp_path / "log", [b"a" * 50] * 3, segment_bytes=1)
    middle = files(tmp_path / "log")[1]
    whole = middle.read_bytes()
    for shortened in range(len(whole)):
        middle.write_bytes(whole[:shortened])
        with pytest.raises(Fatal, match="is damaged at byte 0: frame 1 "):
            opened(tmp_path / "log")
    middle.unlink()
    with pytest.raises(Fatal, match="is damaged at byte 67: frame 1 "):
        opened(tmp_path / "log")


def test_damage_after_the_start_is_found_on_reading(log: FrameLog, tmp_path: Path) -> None:
    log.append(1, b"payload")
    log.sync()
    (path,) = files(tmp_path / "log")
    path.write_bytes(path.read_bytes().replace(b"payload", b"pAyload"))
    with pytest.raises(Fatal, match="is damaged at byte 0"):
        list(log.read(0))


def test_only_synced_frames_are_read(log: FrameLog) -> None:
    log.append(1, b"synced")
    log.sync()
    log.append(1, b"not yet")
    assert (log.durable, log.next) == (1, 2)
    assert [frame.payload for frame in log.read(0)] == [b"synced"]
    assert list(log.read(1)) == []
    log.sync()
    assert [frame.payload for frame in log.read(1)] == [b"not yet"]


def test_a_reader_in_another_thread_sees_every_frame_once_and_in_order(tmp_path: Path) -> None:
    log = FrameLog(tmp_path / "log", segment_bytes=2_000)
    total = 600
    seen: list[Frame] = []
    failures: list[BaseException] = []

    def follow() -> None:
        try:
            while len(seen) < total:
                for frame in log.read(len(seen)):
                    assert frame.number < log.durable
                    seen.append(frame)
                log.drop(len(seen) // 2)
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    reader = threading.Thread(target=follow)
    reader.start()
    written = []
    for number in range(total):
        payload = b"%d" % number * (number % 40)
        written.append(Frame(log.append(number % 3, payload), number % 3, payload))
        if number % 7 == 0:
            log.sync()
    log.sync()
    reader.join()
    assert failures == []
    assert seen == written
    assert log.first > 0
    log.close()


def test_reaching_the_limit_is_retryable_names_the_setting_and_changes_nothing(tmp_path: Path) -> None:
    log = FrameLog(tmp_path / "log", max_bytes=2 * (HEADER_BYTES + 3), limit_name="forward.max_bytes")
    log.append(1, b"one")
    log.append(1, b"two")
    with pytest.raises(Retryable, match=r"reached its limit forward\.max_bytes") as caught:
        log.append(1, b"")
    assert caught.value.retry_after_s > 0
    log.sync()
    assert [frame.payload for frame in log.read(0)] == [b"one", b"two"]
    assert files(tmp_path / "log")[0].stat().st_size == log.bytes
    log.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("written", [0, 1, 20])
def test_a_full_disk_is_retryable_and_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, written: int
) -> None:
    log = FrameLog(tmp_path / "log")
    log.append(1, b"before")
    log.sync()
    real = os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        if offset > HEADER_BYTES + len(b"before") or not written:
            raise OSError(code, "full")
        return real(fd, data[:written], offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(Retryable, match="the disk is full"):
            log.append(1, b"does not fit")
    assert files(tmp_path / "log")[0].stat().st_size == log.bytes
    assert log.append(1, b"after") == 1
    log.sync()
    log.close()
    assert [frame.payload for frame in opened(tmp_path / "log")] == [b"before", b"after"]


def test_a_full_disk_while_beginning_a_file_is_retryable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = FrameLog(tmp_path / "log", segment_bytes=1)
    log.append(1, b"before")
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", _failing(errno.ENOSPC))
        with pytest.raises(Retryable):
            log.append(1, b"does not fit")
    assert log.append(1, b"after") == 1
    log.sync()
    assert [frame.payload for frame in log.read(0)] == [b"before", b"after"]
    log.close()


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_any_other_error_is_fatal_and_the_file_is_never_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    log = FrameLog(tmp_path / "log")
    log.append(1, b"acknowledged")
    log.sync()
    with monkeypatch.context() as patched:
        patched.setattr(os, call, _failing(errno.EIO))
        with pytest.raises(Fatal, match="failed"):
            _append_and_sync(log)
    for refused in (log.sync, lambda: log.append(1, b""), lambda: log.drop(0), lambda: log.truncate(0)):
        with pytest.raises(Fatal, match="failed"):
            refused()
    assert log.durable == 1
    assert [frame.payload for frame in log.read(0)] == [b"acknowledged"]
    log.close()


def _append_and_sync(log: FrameLog) -> None:
    log.append(1, b"unknown")
    log.sync()


def _failing(code: int) -> Callable[..., int]:
    def fail(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_new_file_begins_only_when_the_one_before_is_durable_and_its_name_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FrameLog(tmp_path / "log", segment_bytes=1)
    log.append(1, b"first")
    calls: list[str] = []
    for name in ("fdatasync", "fsync", "open"):
        monkeypatch.setattr(os, name, _recorded(name, calls))
    log.append(1, b"second")
    monkeypatch.undo()
    # The second open is of the folder, for its fsync.
    assert calls == ["fdatasync", "open", "open", "fsync"]
    assert [path.name for path in files(tmp_path / "log")] == [f"{number:020d}.frames" for number in (0, 1)]
    log.close()


def _recorded(name: str, calls: list[str]) -> Callable[..., object]:
    real: Callable[..., object] = getattr(os, name)

    def record(*arguments: object, **options: object) -> object:
        calls.append(name)
        return real(*arguments, **options)

    return record


@pytest.mark.parametrize("first_dropped", range(6))
def test_truncating_forgets_a_frame_and_all_after_it_for_good(tmp_path: Path, first_dropped: int) -> None:
    frames = filled(tmp_path / "log", [b"%d" % number * 30 for number in range(5)], segment_bytes=100)
    log = FrameLog(tmp_path / "log", segment_bytes=100)
    log.truncate(first_dropped)
    assert (log.next, log.durable) == (first_dropped, first_dropped)
    assert log.append(3, b"again") == first_dropped
    log.sync()
    size = log.bytes
    log.close()
    assert opened(tmp_path / "log") == [*frames[:first_dropped], Frame(first_dropped, 3, b"again")]
    assert size == sum(path.stat().st_size for path in files(tmp_path / "log"))


def test_dropping_deletes_whole_files_below_a_frame_and_never_the_newest(tmp_path: Path) -> None:
    frames = filled(tmp_path / "log", [b"x" * 30] * 5, segment_bytes=100)
    log = FrameLog(tmp_path / "log", segment_bytes=100)
    log.drop(3)
    assert (log.first, log.next) == (2, 5)
    log.drop(99)
    assert (log.first, log.next) == (4, 5)
    assert log.bytes == sum(path.stat().st_size for path in files(tmp_path / "log"))
    assert list(log.read(4)) == frames[4:]
    log.close()
    assert opened(tmp_path / "log") == frames[4:]


@pytest.mark.parametrize("start", [0, 1, 6])
def test_asking_for_a_frame_that_is_not_here_is_fatal(tmp_path: Path, start: int) -> None:
    filled(tmp_path / "log", [b"x" * 30] * 5, segment_bytes=100)
    log = FrameLog(tmp_path / "log", segment_bytes=100)
    log.drop(2)
    with pytest.raises(Fatal, match=f"holds frames 2 to 4, and frame {start} was asked for"):
        log.read(start)
    log.close()


def test_two_processes_cannot_open_one_log(log: FrameLog, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=rf"in use by process {os.getpid()} \(it holds .*lock\)"):
        FrameLog(tmp_path / "log")
    log.append(1, b"still usable")
    log.sync()


def test_a_closed_log_frees_the_folder_and_refuses_work(tmp_path: Path) -> None:
    log = FrameLog(tmp_path / "log")
    log.close()
    with pytest.raises(Fatal, match="is closed"):
        log.append(1, b"")
    assert opened(tmp_path / "log") == []


def test_a_failed_start_frees_the_folder(tmp_path: Path) -> None:
    filled(tmp_path / "log", [b"first", b"second"])
    (path,) = files(tmp_path / "log")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"first", b"FIRST"))
    with pytest.raises(Fatal, match="is damaged"):
        opened(tmp_path / "log")
    path.write_bytes(whole)
    assert len(opened(tmp_path / "log")) == 2
