"""Rows booked, numbered and kept; what the owner did not commit is not."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.ledger import rows
from collector.sealing import journal as journals
from collector.sealing.journal import ROW_SCHEMA, Cut, Journal
from schemas.conservation import Counts, SignalCounts
from schemas.errors import Fatal, Retryable
from schemas.tables import LEDGER_SCHEMA
from tests.collector.ledger.samples import START_NS, Clock, book, calls, counted


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    journal = Journal(folder, committed_frame=0, clock=Clock())
    yield journal
    journal.close()


def reopened(journal: Journal, folder: Path, *, committed_frame: int | None = None) -> Journal:
    journal.close()
    return Journal(folder, committed_frame=journal.next_frame if committed_frame is None else committed_frame)


def cut_of(journal: Journal) -> Cut:
    return Cut(
        k=journal.cuts[-1].k + 1 if journal.cuts else 0,
        first=journal.next_seq - journal.pending_rows,
        last=journal.next_seq,
        sealed_at=START_NS,
        writer=journal.writer_id,
        reason="test",
        schema=rows.schema_document(LEDGER_SCHEMA).decode(),
        conservation={"entry_id": "conservation"},
    )


def test_rows_get_dense_numbers_that_go_on_after_reopening(journal: Journal, folder: Path) -> None:
    assert (journal.next_seq, journal.next_frame) == (0, 0)
    assert book(journal, calls("abc")) == 0
    assert book(journal, calls("d")) == 1
    journal = reopened(journal, folder)
    assert (journal.next_seq, journal.next_frame, journal.pending_rows) == (4, 2, 4)
    journal.cut(cut_of(journal))
    assert (journal.next_seq, journal.next_frame, journal.pending_rows) == (5, 3, 0)
    book(journal, calls("e"))
    assert journal.next_seq == 6
    journal.close()


def test_rows_of_a_cut_come_back_in_order_with_its_conservation_row_last(journal: Journal, folder: Path) -> None:
    table = calls(["\0", "😀"], message="-,", metered=True, cost_nano_usd=-(2**63))
    book(journal, table)
    book(journal, calls([]), counted(0, duplicate=3))
    book(journal, calls(["x"], at=START_NS + 9))
    cut = cut_of(journal)
    journal.cut(cut)
    book(journal, calls(["next segment"]))
    journal = reopened(journal, folder)
    assert journal.cuts == (cut,)
    found = journal.rows(cut)
    assert found.schema.equals(ROW_SCHEMA, check_metadata=True)
    assert found.slice(0, 3).equals(pa.concat_tables([table, calls(["x"], at=START_NS + 9)]))
    assert [row["entry_id"] for row in found.slice(3).to_pylist()] == ["conservation"]
    journal.close()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=5), st.none() | st.integers(-(2**63), 2**63 - 1), st.none() | st.booleans()))
)
def test_any_values_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[str, int | None, bool | None]]
) -> None:
    columns = ("message", "cost_nano_usd", "metered")
    booked = [{"received_time": START_NS, **dict(zip(columns, row, strict=True))} for row in values]
    table = pa.Table.from_pylist(booked, schema=ROW_SCHEMA)
    journal = Journal(tmp_path_factory.mktemp("journal"), committed_frame=0)
    book(journal, table)
    cut = cut_of(journal)
    journal.cut(cut)
    assert journal.rows(cut).slice(0, len(values)).equals(table)
    journal.close()


def test_what_waits_is_known_again_after_reopening(folder: Path) -> None:
    clock = Clock()
    journal = Journal(folder, committed_frame=0, clock=clock)
    assert (journal.pending_rows, journal.pending_bytes, journal.oldest_pending_ns) == (0, 0, None)
    book(journal, calls("ab", at=START_NS - 70), counted(2, rejected={"too_large": 1}))
    clock.now_ns += 50
    book(journal, calls([]), counted(0, duplicate=2, rejected={"too_large": 3, "malformed": 1}))
    before = [getattr(journal, name) for name in PENDING]
    traces = SignalCounts(received=9, stored=2, duplicate=2, rejected={"malformed": 1, "too_large": 4})
    assert journal.pending_counts == Counts(traces=traces, from_ns=START_NS - 70, to_ns=START_NS - 70)
    assert (journal.pending_rows, journal.oldest_pending_ns) == (2, START_NS)
    assert journal.pending_bytes > 0
    journal = reopened(journal, folder)
    assert [getattr(journal, name) for name in PENDING] == before
    journal.close()


PENDING = ["pending_rows", "pending_bytes", "oldest_pending_ns", "pending_counts"]


def test_rows_the_owner_did_not_commit_are_cut_off_and_their_numbers_used_again(journal: Journal, folder: Path) -> None:
    book(journal, calls("ab"))
    journal.append(calls("lost"), counted(4))
    journal = reopened(journal, folder, committed_frame=1)
    assert (journal.next_frame, journal.next_seq, journal.pending_rows) == (1, 2, 2)
    assert book(journal, calls("c")) == 1
    cut = cut_of(journal)
    journal.cut(cut)
    assert journal.rows(cut)["entry_id"].to_pylist() == ["a", "b", "c", "conservation"]
    journal.close()


def test_a_cut_behind_the_last_committed_rows_is_kept(journal: Journal, folder: Path) -> None:
    book(journal, calls("ab"))
    cut = cut_of(journal)
    journal.cut(cut)
    journal.append(calls("lost"), counted(4))
    journal = reopened(journal, folder, committed_frame=1)
    assert (journal.cuts, journal.next_frame, journal.next_seq, journal.pending_rows) == ((cut,), 2, 3, 0)
    journal.close()


def test_rows_are_neither_cut_nor_followed_before_the_owner_committed_them(journal: Journal) -> None:
    journal.append(calls("ab"), counted(2))
    with pytest.raises(AssertionError, match="is not confirmed"):
        journal.append(calls("ab"), counted(2))
    with pytest.raises(AssertionError, match="rows the owner has not committed"):
        journal.cut(cut_of(journal))
    journal.confirm(journal.next_frame)
    journal.cut(cut_of(journal))


@pytest.mark.parametrize("committed_frame", [0, 3])
def test_an_owner_from_another_time_stops_the_start(journal: Journal, folder: Path, committed_frame: int) -> None:
    book(journal, calls("ab"))
    journal.cut(cut_of(journal))
    with pytest.raises(Fatal, match=f"holds frames 0 to 1, and the state was committed up to frame {committed_frame}"):
        reopened(journal, folder, committed_frame=committed_frame)
    # It stopped before it changed anything.
    Journal(folder, committed_frame=1).close()


def test_published_frames_are_dropped_and_the_numbers_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 1)
    journal = Journal(folder, committed_frame=0)
    for number in range(3):
        book(journal, calls([str(number)]))
        cut = cut_of(journal)
        journal.cut(cut)
        journal.published(cut)
        assert journal.cuts == (cut,)
    assert len(list(folder.glob("*.frames"))) == 1
    journal = reopened(journal, folder)
    with pytest.raises(Fatal, match="no longer has all its rows"):
        journal.rows(cut)
    assert (journal.next_seq, journal.next_frame, journal.cuts) == (6, 6, (cut,))
    journal.close()


def test_a_writer_has_one_name_for_the_life_of_its_journal(journal: Journal, folder: Path, tmp_path: Path) -> None:
    writer_id = journal.writer_id
    book(journal, calls("a"))
    journal = reopened(journal, folder)
    assert journal.writer_id == writer_id
    assert msgspec.json.decode((folder / "writer.json").read_bytes()) == {"writer": writer_id}
    other = Journal(tmp_path / "other", committed_frame=0)
    assert other.writer_id != writer_id
    other.close()
    journal.close()


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b'{"writer":"../x"}', b'{"writer":"w-00000000\\n"}'])
def test_a_journal_that_lost_its_name_does_not_start_under_another(
    journal: Journal, folder: Path, content: bytes | None
) -> None:
    book(journal, calls("a"))
    journal.close()
    (folder / "writer.json").unlink()
    if content is not None:
        (folder / "writer.json").write_bytes(content)
    for _ in range(2):
        with pytest.raises(Fatal, match=r"writer\.json does not name the journal's writer"):
            Journal(folder, committed_frame=1)


def test_a_full_disk_refuses_a_booking_and_changes_nothing(
    journal: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book(journal, calls("a"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(Retryable):
            journal.append(calls("b"), counted(1))
        with pytest.raises(Retryable):
            journal.cut(cut_of(journal))
    book(journal, calls("c"))
    journal = reopened(journal, folder)
    journal.cut(cut_of(journal))
    assert journal.rows(journal.cuts[0])["entry_id"].to_pylist() == ["a", "c", "conservation"]
    journal.close()


def test_a_table_of_other_columns_is_a_bug_and_stops(journal: Journal) -> None:
    for table in (pa.table({}), calls("a").append_column("seq", pa.array([1])), calls("a").drop_columns(["kind"])):
        with pytest.raises(AssertionError):
            journal.append(table, counted(0))


@pytest.mark.parametrize(
    "fields",
    [{"received": 1}, {"stored": 1}, {"received": 3, "stored": 1, "duplicate": 1}, {"rejected": {"malformed": 2}}],
    ids=str,
)
def test_counts_that_do_not_add_up_are_a_bug_and_stop(journal: Journal, fields: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        journal.append(calls(()), Counts(traces=SignalCounts(**fields)))


def test_only_metrics_may_be_received_and_not_stored(journal: Journal) -> None:
    read = SignalCounts(received=5, not_stored=5)
    book(journal, calls(()), Counts(metrics=read))
    for counts in (Counts(traces=read), Counts(logs=read)):
        with pytest.raises(AssertionError):
            journal.append(calls(()), counts)


SIGNAL = st.builds(
    lambda stored, duplicate, rejected: SignalCounts(
        received=stored + duplicate + sum(rejected.values()), stored=stored, duplicate=duplicate, rejected=rejected
    ),
    st.integers(0, 9),
    st.integers(0, 9),
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 9)),
)
TIME = st.none() | st.integers(0, 99)
COUNTS = st.builds(Counts, traces=SIGNAL, logs=SIGNAL, metrics=SIGNAL, from_ns=TIME, to_ns=TIME)


@given(COUNTS, COUNTS, COUNTS)
def test_counts_add_up_in_any_order_and_survive_json(a: Counts, b: Counts, c: Counts) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert (a + b).traces.received == a.traces.received + b.traces.received
    assert msgspec.json.decode(msgspec.json.encode(a), type=Counts) == a
    assert {"from", "to"} < msgspec.json.decode(msgspec.json.encode(a)).keys()
