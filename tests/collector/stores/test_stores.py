"""The write-once contract over every store, and what a folder has to do to keep it."""

import errno
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread

import pytest

from collector.stores.contract import Exists, ObjectStore
from collector.stores.directory import DirectoryStore
from collector.stores.s3 import S3Store
from schemas.errors import Fatal, Retryable
from tests.collector.stores.gateway import Gateway

KEY = "ledger/v1/events/date=2026-11-24/writer=w-00000000/000000000000.parquet"
UNTIL = (int(time.time()) + 86_400) * 10**9


@pytest.fixture(params=["directory", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "directory":
        return DirectoryStore(tmp_path / "store")
    gateway: Gateway = request.getfixturevalue("gateway")
    return S3Store(gateway.address(f"contract/{secrets.token_hex(4)}"))


def test_an_object_is_read_back(store: ObjectStore) -> None:
    for key, data in {KEY: b"\x00" * 100_000, "ledger/v1/schema/ab.json": b""}.items():
        store.put_new(key, data, UNTIL)
        assert store.get(key) == data


def test_a_name_is_given_once_and_keeps_its_first_content(store: ObjectStore) -> None:
    store.put_new(KEY, b"first", UNTIL)
    for again in (b"first", b"second", b""):
        with pytest.raises(Exists):
            store.put_new(KEY, again, UNTIL)
        assert store.get(KEY) == b"first"


def test_what_was_not_put_is_not_there(store: ObjectStore) -> None:
    assert store.get(KEY) is None
    assert store.list("ledger/v1/") == []
    store.put_new(KEY, b"", UNTIL)
    assert store.get(KEY.replace("0.parquet", "1.parquet")) is None


def test_a_listing_names_every_object_below_a_prefix_in_order(store: ObjectStore) -> None:
    keys = [f"ledger/v1/log/w-{letter}/entry/{number:012d}" for letter in "ba" for number in (10, 2, 0)]
    for key in [*keys, KEY]:
        store.put_new(key, b"x", UNTIL)
    assert store.list("ledger/v1/log/") == sorted(keys)
    assert store.list("ledger/v1/log/w-a/") == sorted(keys[3:])
    assert store.list("ledger/") == sorted([*keys, KEY])


def test_of_many_who_put_one_name_at_once_exactly_one_wins(store: ObjectStore) -> None:
    for number in range(10):
        key, barrier, won = f"ledger/v1/log/w/entry/{number:012d}", Barrier(8), list[bytes]()

        def race(data: bytes, key: str = key, barrier: Barrier = barrier, won: list[bytes] = won) -> None:
            barrier.wait()
            try:
                store.put_new(key, data, UNTIL)
            except Exists:
                return
            won.append(data)

        threads = [Thread(target=race, args=(b"%d" % n * 1000,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [store.get(key)] == won


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store"


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_a_file_is_read_only_and_leaves_no_temporary_name(root: Path) -> None:
    DirectoryStore(root).put_new(KEY, b"data", 0)
    assert names(root) == [KEY]
    assert (root / KEY).stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("key", ["../out", "a/../b", "/etc/x", "a//b", "a/", "", ".tmp-1", "a/.b", "A", "a\0b", "ä"])
def test_a_key_that_could_leave_the_folder_is_a_bug_and_stops(root: Path, key: str) -> None:
    with pytest.raises(AssertionError):
        DirectoryStore(root).put_new(key, b"", 0)
    assert not root.exists()


@pytest.mark.parametrize("depth", range(1, 6))
def test_no_symbolic_link_is_followed(root: Path, tmp_path: Path, depth: int) -> None:
    store = DirectoryStore(root)
    store.put_new(KEY, b"data", 0)
    link = root.joinpath(*KEY.split("/")[:depth])
    (tmp_path / "elsewhere").mkdir()
    link.rename(tmp_path / "elsewhere" / link.name)
    link.symlink_to(tmp_path / "elsewhere" / link.name)
    for refused in (lambda: store.get(KEY), lambda: store.list("ledger/"), lambda: store.put_new(KEY + "2", b"", 0)):
        with pytest.raises(Fatal, match=f"failed: .*{link.name}"):
            refused()


def test_a_link_or_pipe_under_an_objects_name_is_refused_and_never_read(root: Path, tmp_path: Path) -> None:
    store = DirectoryStore(root)
    store.put_new(KEY, b"data", 0)
    (tmp_path / "secret").write_bytes(b"secret")
    link = root / KEY.replace("0.parquet", "1.parquet")
    link.symlink_to(tmp_path / "secret")
    pipe = root / KEY.replace("0.parquet", "2.parquet")
    os.mkfifo(pipe)
    for path in (link, pipe):
        with pytest.raises(Fatal):
            store.get(str(path.relative_to(root)))
        with pytest.raises(Exists):
            store.put_new(str(path.relative_to(root)), b"mine", 0)
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_a_temporary_file_of_a_crashed_put_is_no_object(root: Path) -> None:
    store = DirectoryStore(root)
    store.put_new(KEY, b"data", 0)
    (root / KEY).with_name(".tmp-1-ab").write_bytes(b"half")
    assert store.list("ledger/") == [KEY]


@pytest.mark.parametrize("call", ["write", "fsync", "link", "mkdir"])
@pytest.mark.parametrize(("code", "expected"), [(errno.ENOSPC, Retryable), (errno.EIO, Fatal)])
def test_a_failed_put_says_whether_to_wait_and_the_next_one_succeeds(
    root: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, expected: type[Exception]
) -> None:
    store = DirectoryStore(root)

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(expected):
            store.put_new(KEY, b"data", 0)
    assert store.get(KEY) is None
    store.put_new(KEY, b"data", 0)
    assert (store.get(KEY), names(root)) == (b"data", [KEY])


def test_data_is_synced_before_it_has_a_name_and_the_name_before_the_put_returns(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DirectoryStore(root)
    store.put_new(KEY, b"data", 0)
    calls: list[str] = []

    def recorded(name: str) -> Callable[..., object]:
        real: Callable[..., object] = getattr(os, name)

        def record(*arguments: object, **options: object) -> object:
            calls.append(name)
            return real(*arguments, **options)

        return record

    for name in ("write", "fsync", "link", "unlink"):
        monkeypatch.setattr(os, name, recorded(name))
    store.put_new(KEY.replace("0.parquet", "1.parquet"), b"data", 0)
    assert calls == ["write", "fsync", "link", "unlink", "fsync"]
    calls.clear()
    with pytest.raises(Exists):
        store.put_new(KEY, b"data", 0)
    # Whoever gave it the name may have crashed before the last step, so it is done again.
    assert calls == ["write", "fsync", "link", "unlink", "fsync"]


def test_a_folder_left_by_a_crashed_process_is_made_durable_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DirectoryStore(root).put_new(KEY, b"data", 0)
    synced: list[int] = []
    real = os.fsync

    def record(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)
        real(fd)

    monkeypatch.setattr(os, "fsync", record)
    DirectoryStore(root).put_new(KEY.replace("0.parquet", "1.parquet"), b"data", 0)
    folders = [root.parent, root, *(root.joinpath(*KEY.split("/")[:depth]) for depth in range(1, 5))]
    assert {folder.stat().st_ino for folder in folders} <= set(synced)
