"""What readers see of a ledger: what is committed, whole and in order, and nothing else."""

from pathlib import Path

import msgspec
import pytest

from collector.ledger import layout
from collector.ledger.entry import SegmentEntry, digest, parse
from collector.ledger.reader import Evidence
from collector.sealing.journal import Journal
from collector.stores.directory import DirectoryStore
from schemas.errors import Fatal, Permanent
from tests.collector.ledger.samples import SECOND_NS, START_NS, Clock, book, calls, writer_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two writers with three segments each; segment n holds a row of n minutes after the start."""
    for name in ("one", "two"):
        clock = Clock()
        journal = Journal(tmp_path / name, committed_frame=0)
        writer = writer_of(journal, DirectoryStore(tmp_path / "store"), tmp_path, clock=clock)
        writer.recover()
        for minute in range(3):
            clock.now_ns = START_NS + minute * 60 * SECOND_NS
            book(journal, calls([f"{name}-{minute}"], at=clock.now_ns))
            writer.seal("test")
        journal.close()
    return tmp_path / "store"


def replace(root: Path, key: str, data: bytes | None) -> None:
    (root / key).unlink()
    if data is not None:
        (root / key).write_bytes(data)


def keys(root: Path) -> list[str]:
    return [key for key in DirectoryStore(root).list(layout.LOGS) if layout.parse_entry_key(key)]


def test_entries_come_writer_by_writer_in_order(root: Path) -> None:
    found = list(Evidence(root).entries())
    assert [entry.k for entry in found] == [0, 1, 2, 0, 1, 2]
    assert [entry.seq for entry in found] == [(0, 1), (2, 3), (4, 5)] * 2
    writers = [entry.origin for entry in found]
    assert writers == sorted(writers)
    assert len(set(writers)) == 2


def test_a_ledger_that_was_never_written_is_empty(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / "store")
    assert (list(evidence.entries()), evidence.objects(0, 2**63 - 1)) == ([], [])
    assert not (tmp_path / "store").exists()


def test_data_without_an_entry_does_not_exist(root: Path) -> None:
    before = Evidence(root).objects(0, 2**63 - 1)
    orphan = before[0].with_name("000000000003.parquet")
    orphan.write_bytes(before[0].read_bytes())
    assert Evidence(root).objects(0, 2**63 - 1) == before
    assert len(before) == 6


@pytest.mark.parametrize(
    ("from_s", "to_s", "minutes"),
    [(-999, 0, [0]), (-999, -1, []), (0, 1, [0]), (1, 60, [1]), (60, 61, [1]), (30, 9999, [1, 2]), (121, 9999, [])],
)
def test_objects_are_chosen_by_when_their_rows_happened_or_were_received(
    root: Path, from_s: int, to_s: int, minutes: list[int]
) -> None:
    # Rows happen 5 ns before they are received, so segment 1 reaches just below second 60.
    found = Evidence(root).objects(START_NS + from_s * SECOND_NS, START_NS + to_s * SECOND_NS)
    assert [int(path.stem) for path in found] == minutes * 2
    assert all(path.is_file() for path in found)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_entry_stops_reading_and_is_named(root: Path, missing: int) -> None:
    key = keys(root)[missing]
    replace(root, key, None)
    with pytest.raises(Permanent, match=f"The ledger is not whole: {key} is missing"):
        list(Evidence(root).entries())


def test_a_listing_that_missed_a_fresh_entry_is_no_gap(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(Evidence(root).entries())
    listed = [key for key in keys(root) if not key.endswith("1")]
    monkeypatch.setattr(DirectoryStore, "list", lambda *_: listed)
    assert list(Evidence(root).entries()) == before


def test_entries_that_do_not_follow_each_other_stop_reading(root: Path) -> None:
    _, key, last = keys(root)[:3]
    place = layout.parse_entry_key(key)
    assert place is not None
    entry = parse((root / key).read_bytes(), writer=place[0], k=place[1])
    forgeries: list[SegmentEntry] = [
        msgspec.structs.replace(entry, prev=digest(b"")),
        msgspec.structs.replace(entry, prev=""),
        msgspec.structs.replace(entry, seq=(3, 4)),
        # Consistent in itself; the next entry's `prev` gives it away.
        msgspec.structs.replace(entry, records_root="00" * 32),
    ]
    for forged, named in zip(forgeries, [key, key, key, last], strict=True):
        replace(root, key, forged.encode())
        with pytest.raises(Permanent, match=f"{named} does not follow the entry before it"):
            list(Evidence(root).entries())


def test_an_entry_that_is_not_one_stops_reading(root: Path) -> None:
    replace(root, keys(root)[4], b"{}")
    with pytest.raises(Permanent, match=r"Entry 1 of writer .* cannot be used"):
        list(Evidence(root).entries())


def test_an_entry_behind_a_symbolic_link_is_not_read(root: Path, tmp_path: Path) -> None:
    key = keys(root)[0]
    (root / key).rename(tmp_path / "moved")
    (root / key).symlink_to(tmp_path / "moved")
    with pytest.raises(Fatal, match="symbolic link"):
        list(Evidence(root).entries())


def test_other_objects_of_a_log_are_left_to_others(root: Path) -> None:
    before = list(Evidence(root).entries())
    log = keys(root)[0].rpartition("/entry/")[0]
    DirectoryStore(root).put_new(f"{log}/checkpoint/000000000009", b"no signed note", 0)
    assert list(Evidence(root).entries()) == before
