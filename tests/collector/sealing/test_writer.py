"""What a segment holds, when it is sealed, and that no failure loses or doubles a row."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from collector.ledger import layout, rows
from collector.ledger.entry import SegmentEntry, parse
from collector.ledger.reader import Evidence
from collector.sealing import journal as journals
from collector.sealing import writer as writers
from collector.sealing.journal import Journal
from collector.sealing.keys import Keyring
from collector.sealing.register import Register
from collector.sealing.writer import RETRY, Config
from collector.stores.directory import DirectoryStore
from schemas.conservation import Counts
from schemas.errors import ConfigError, Fatal, Retryable
from schemas.quantities import Duration, Size
from schemas.tables import LEDGER_SCHEMA, EntryKind
from tests.collector.ledger.samples import (
    DEPLOYMENT,
    SECOND_NS,
    START_NS,
    Clock,
    audit,
    book,
    calls,
    counted,
    ids_in_any_object,
    writer_of,
)
from tests.collector.sealing.failing_store import Effect, FailingStore, kind_of

DAY_NS = 86_400 * SECOND_NS


class House:
    """A journal, a store and a writer in one folder, which can be stopped and started."""

    def __init__(self, folder: Path, *, plan: Callable[[str], Effect | None] = lambda _: None) -> None:
        self.folder = folder
        self.store = FailingStore(folder / "store", plan)
        self.clock = Clock()
        self.committed = 0
        self.open()

    def open(self) -> None:
        """Start; `committed` is what the owner would say."""
        self.journal = Journal(self.folder / "journal", committed_frame=self.committed, clock=self.clock)
        self.writer = writer_of(self.journal, self.store, self.folder, clock=self.clock)

    def restart(self) -> None:
        """Stop and start; recovery repeats until the store lets it through."""
        self.journal.close()
        self.open()
        while True:
            try:
                self.writer.recover()
            except Retryable:
                continue
            return

    def book(self, ids: list[str]) -> None:
        """One booking, committed by the owner."""
        book(self.journal, calls(ids, at=self.clock.now_ns))
        self.committed = self.journal.next_frame

    def seal(self) -> SegmentEntry:
        """A seal that must make a segment."""
        entry = self.writer.seal("test")
        assert entry is not None
        return entry


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.writer.recover()
    return house


def test_a_segment_holds_the_rows_in_order_and_accounts_for_what_was_received(house: House, tmp_path: Path) -> None:
    book(house.journal, calls("ab", at=START_NS - 7), counted(2, duplicate=1, rejected={"too_large": 4}))
    book(house.journal, calls(["c"], at=START_NS - 3), counted(1, rejected={"malformed": 2}))
    entry = house.seal()
    (path,) = Evidence(tmp_path / "store").objects(START_NS - 10, START_NS)
    table = pq.read_table(path)
    assert table.schema.equals(LEDGER_SCHEMA)
    assert table["seq"].to_pylist() == [0, 1, 2, 3]
    assert table["entry_id"].to_pylist()[:3] == ["a", "b", "c"]
    last = {name: value for name, value in table.slice(3).to_pylist()[0].items() if value is not None}
    assert len(last.pop("entry_id")) == 36
    assert last.pop("software_version")
    assert msgspec.json.decode(last.pop("detail")) == {
        "from": START_NS - 7,
        "to": START_NS - 3,
        "traces": {
            "received": 10,
            "stored": 3,
            "duplicate": 1,
            "rejected": {"malformed": 2, "too_large": 4},
            "not_stored": 0,
        },
        "logs": {"received": 0, "stored": 0, "duplicate": 0, "rejected": {}, "not_stored": 0},
        "metrics": {"received": 0, "stored": 0, "duplicate": 0, "rejected": {}, "not_stored": 0},
    }
    assert last == {
        "seq": 3,
        "kind": EntryKind.CONSERVATION,
        "event_time": START_NS - 3,
        "received_time": START_NS,
        "attribution_source": "system",
        "actor": "system:ledger",
        "action": "ledger.seal",
        "subject": house.journal.writer_id,
        "outcome": "ok",
        "message": "10 rows received, 3 of them stored.",
    }
    assert (entry.received, entry.event_time) == ((START_NS - 7, START_NS), (START_NS - 12, START_NS - 3))


def test_an_entry_names_everything_that_belongs_to_its_segment(house: House, tmp_path: Path) -> None:
    house.book(["a"])
    first = house.seal()
    house.book(["b"])
    second = house.seal()
    writer = house.journal.writer_id
    (ref,) = second.objects
    assert (first.k, first.seq, first.rows, first.prev) == (0, (0, 1), 2, "")
    assert (second.k, second.seq, second.rows) == (1, (2, 3), 2)
    assert (second.origin, second.cut) == (f"{DEPLOYMENT}/{writer}", "test")
    assert second.retain_until == second.sealed_at + 366 * DAY_NS
    assert ref.key == layout.data_key(writer, 1, sealed_at=second.sealed_at)
    metadata = pq.read_schema(tmp_path / "store" / ref.key).metadata
    expected = {"records_root": second.records_root, "seq": "2-3", "schema": second.schema}
    assert {name: metadata[name.encode()].decode() for name in expected} == expected
    schema = (tmp_path / "store" / layout.schema_key(second.schema)).read_bytes()
    assert rows.schema_id(schema) == second.schema
    assert audit(tmp_path / "store").findings == []


def test_nothing_is_sealed_when_nothing_waits(house: House) -> None:
    assert house.writer.seal("test") is None
    house.book(["a"])
    assert house.writer.seal("test") is not None
    assert house.writer.seal("test") is None
    writer = house.journal.writer_id
    assert house.store.list("ledger/v1/log/") == [layout.checkpoint_key(writer, 1), layout.entry_key(writer, 0)]


def test_what_was_only_rejected_is_accounted_for_too(house: House, tmp_path: Path) -> None:
    book(house.journal, calls([]), counted(0, rejected={"malformed": 5}))
    entry = house.seal()
    assert (entry.rows, entry.event_time) == (1, (START_NS, START_NS))
    assert audit(tmp_path / "store").counts.traces.rejected == {"malformed": 5}


def test_one_booking_is_never_split(house: House) -> None:
    house.book([str(number) for number in range(300)])
    assert house.seal().rows == 301


@pytest.mark.parametrize("moves", [[0, 0, 0], [-DAY_NS, -1, 5], [1, -10 * DAY_NS, DAY_NS]], ids=str)
def test_sealing_times_rise_whatever_the_clock_does(house: House, tmp_path: Path, moves: list[int]) -> None:
    for move in [*moves, *moves]:
        house.clock.now_ns += move
        house.book([str(house.journal.next_seq)])
        house.seal()
        house.restart()
    times = [entry.sealed_at for entry in Evidence(tmp_path / "store").entries()]
    assert times == sorted(set(times))
    assert audit(tmp_path / "store").findings == []


CONFIG = Config(seal_rows=20, seal_bytes=Size("6KiB"), seal_idle_rows=5)


@pytest.mark.parametrize(
    ("booked", "message", "age_s", "expected"),
    [
        (0, "", 9999, None),
        (1, "", 59, None),
        (1, "", 60, "age"),
        (4, "", 10, None),
        (5, "", 9, None),
        (5, "", 10, "age"),
        (19, "", 0, None),
        (20, "", 0, "rows"),
        (1, "".join(random.Random(1).choices("0123456789abcdef", k=12_000)), 0, "bytes"),
        (1, "", -1, "age"),
    ],
)
def test_sealing_is_due_by_rows_bytes_or_age(
    tmp_path: Path, booked: int, message: str, age_s: int, expected: str | None
) -> None:
    clock = Clock()
    journal = Journal(tmp_path / "journal", committed_frame=0, clock=clock)
    writer = writer_of(journal, DirectoryStore(tmp_path / "store"), tmp_path, clock=clock, config=CONFIG)
    writer.recover()
    if booked:
        book(journal, calls(map(str, range(booked)), message=message))
    clock.now_ns += age_s * SECOND_NS
    assert writer.due() == expected
    if expected:
        writer.seal(expected)
        assert writer.due() is None
    journal.close()


def test_defaults_are_the_documented_ones_and_retention_is_never_below_a_year() -> None:
    config = Config()
    assert (config.seal_rows, config.seal_bytes.bytes, config.retention_days) == (50_000, 8 * 2**20, 366)
    assert (config.seal_interval.ns, config.seal_idle_interval.ns) == (Duration("10s").ns, Duration("60s").ns)
    assert Config(retention_days=3_000).retention_days == 3_000
    with pytest.raises(ConfigError, match="retention_days is 365"):
        Config(retention_days=365)
    with pytest.raises(ConfigError, match="retention_days is 30"):
        msgspec.json.decode(b'{"retention_days":30}', type=Config)


@pytest.mark.parametrize("deployment", ["", "a b", "Ä", "/x", "x/", "a//b", "a\nb", "a+b", "A"])
def test_a_deployment_name_that_no_checkpoint_could_carry_is_refused(tmp_path: Path, deployment: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a deployment"):
        Keyring(tmp_path, deployment)


PUTS = [("schema", 0), *((kind, nth) for kind in ("events", "entry", "checkpoint") for nth in (0, 1))]


@pytest.mark.parametrize("restart", [False, True], ids=["retry", "restart"])
@pytest.mark.parametrize("effect", Effect)
@pytest.mark.parametrize(("kind", "nth"), PUTS)
def test_a_failed_put_loses_and_doubles_nothing(
    tmp_path: Path, kind: str, nth: int, effect: Effect, *, restart: bool
) -> None:
    seen: list[str] = []

    def plan(key: str) -> Effect | None:
        seen.append(kind_of(key))
        return effect if seen[-1] == kind and seen.count(kind) == nth + 1 else None

    house = House(tmp_path, plan=plan)
    house.writer.recover()
    failures = 0
    for number in range(4):
        house.book([f"{number}-a", f"{number}-b"])
        try:
            house.writer.seal("test")
        except Retryable:
            failures += 1
            assert house.writer.due() == RETRY
            # Acknowledging goes on while the store is away.
            house.book([f"{number}-late"])
            if restart:
                house.restart()
            else:
                house.writer.seal(RETRY)
    house.writer.seal("test")
    found = audit(tmp_path / "store")
    assert failures == 1
    assert found.findings == []
    assert found.ids == [f"{n}-{x}" for n in range(4) for x in ("a", "b", "late") if x != "late" or n == nth]


@pytest.mark.parametrize("seed", range(25))
def test_a_flaky_store_and_random_restarts_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    share = chance.choice([0.05, 0.2, 0.4])

    def plan(key: str) -> Effect | None:
        return chance.choice(list(Effect)) if key and chance.random() < share else None

    house = House(tmp_path, plan=plan)
    house.restart()
    booked: list[str] = []
    for step in range(25):
        house.clock.now_ns += chance.randrange(-SECOND_NS, DAY_NS // 4)
        if chance.random() < 0.6:
            ids = [f"{step}-{number}" for number in range(chance.randrange(4))]
            house.book(ids)
            booked += ids
        elif chance.random() < 0.3:
            house.journal.append(calls([f"{step}-not-committed"]), counted(1))
            house.restart()
        else:
            try:
                house.writer.seal(house.writer.due() or "test")
            except Retryable:
                if chance.random() < 0.5:
                    house.restart()
    house.store = FailingStore(tmp_path / "store", lambda _: None)
    house.restart()
    house.writer.seal("test")
    found = audit(tmp_path / "store")
    assert found.findings == []
    assert found.ids == booked
    assert ids_in_any_object(tmp_path / "store").most_common(1)[0][1] == 1
    assert found.counts.traces.stored == len(booked)


def test_segments_stay_small_while_the_store_is_away_and_all_are_sealed_after(tmp_path: Path) -> None:
    away = [True]
    store = FailingStore(tmp_path / "store", lambda _: Effect.NONE if away[0] else None)
    clock = Clock()
    journal = Journal(tmp_path / "journal", committed_frame=0, clock=clock)
    writer = writer_of(journal, store, tmp_path, clock=clock, config=CONFIG)
    writer.recover()
    for number in range(30):
        book(journal, calls([f"{number}-{row}" for row in range(7)]))
        clock.now_ns += 3 * SECOND_NS
        if reason := writer.due():
            with pytest.raises(Retryable):
                writer.seal(reason)
    away[0] = False
    assert writer.due() == RETRY
    newest = writer.seal(RETRY)
    assert newest is not None
    writer.seal("test")
    found = audit(tmp_path / "store")
    assert found.findings == []
    assert len(found.ids) == 210
    assert max(entry.rows for entry in found.entries) == 22
    journal.close()


def other_process(house: House, tmp_path: Path) -> House:
    """The same writer id on a copied data directory: what a careless restore or clone makes."""
    other = House.__new__(House)
    other.folder, other.clock, other.committed = tmp_path / "clone", Clock(START_NS + 1), 0
    (tmp_path / "clone" / "journal").mkdir(parents=True)
    name = (house.folder / "journal" / "writer.json").read_bytes()
    (tmp_path / "clone" / "journal" / "writer.json").write_bytes(name)
    for keys in house.folder.glob("*keys*"):
        shutil.copytree(keys, tmp_path / "clone" / keys.name)
    (tmp_path / "clone" / "store").symlink_to(house.folder / "store")
    other.store = house.store
    other.open()
    other.writer.recover()
    return other


def test_another_process_under_the_same_name_is_fenced_and_overwrites_nothing(house: House, tmp_path: Path) -> None:
    other = other_process(house, tmp_path)
    house.book(["a"])
    house.seal()
    before = {key: house.store.get(key) for key in house.store.list("ledger/v1/")}
    other.book(["b"])
    with pytest.raises(Fatal, match="is not what this writer would put there"):
        other.writer.seal("test")
    assert {key: house.store.get(key) for key in house.store.list("ledger/v1/")} == before
    with pytest.raises(Fatal, match="is not what this writer would put there"):
        other.restart()
    house.book(["c"])
    house.seal()
    assert audit(house.folder / "store").ids == ["a", "c"]


def test_a_clone_is_fenced_at_its_entry_when_it_sealed_on_another_day(house: House, tmp_path: Path) -> None:
    other = other_process(house, tmp_path)
    other.clock.now_ns += DAY_NS
    house.book(["a"])
    house.seal()
    other.book(["b"])
    with pytest.raises(Fatal, match=r"entry/0{12} in the store is not what"):
        other.writer.seal("test")
    assert audit(house.folder / "store").ids == ["a"]


def test_entries_beyond_the_journal_stop_the_start(house: House, tmp_path: Path) -> None:
    house.book(["a"])
    house.seal()
    with pytest.raises(Fatal, match=r"entry/0{12} in the store is not what"):
        other_process(house, tmp_path)


@pytest.mark.parametrize("data", [b"", b"not parquet", None], ids=["empty", "garbage", "other rows"])
def test_foreign_data_under_a_segments_name_is_fenced(house: House, data: bytes | None) -> None:
    house.book(["a"])
    key = layout.data_key(house.journal.writer_id, 0, sealed_at=START_NS)
    table = rows.align(calls(["b"]), LEDGER_SCHEMA)
    house.store.put_new(key, rows.to_parquet(table, {}) if data is None else data, 0)
    with pytest.raises(Fatal, match="is not what this writer would put there"):
        house.writer.seal("test")
    assert house.store.list(layout.LOGS) == []


@pytest.mark.parametrize("change", ["records_root", "prev", "objects"])
def test_an_entry_that_differs_from_what_would_be_put_is_fenced(tmp_path: Path, change: str) -> None:
    house = House(tmp_path, plan=lambda key: Effect.WHOLE if kind_of(key) == "entry" else None)
    house.writer.recover()
    house.book(["a"])
    with pytest.raises(Retryable):
        house.writer.seal("test")
    path = tmp_path / "store" / layout.entry_key(house.journal.writer_id, 0)
    entry = parse(path.read_bytes(), writer=house.journal.writer_id, k=0)
    forged = {
        "records_root": "00" * 32,
        "prev": "00" * 32,
        "objects": (msgspec.structs.replace(entry.objects[0], sha256="00" * 32),),
    }
    path.unlink()
    path.write_bytes(msgspec.structs.replace(entry, **{change: forged[change]}).encode())
    with pytest.raises(Fatal, match=r"entry/0{12} in the store is not what"):
        house.writer.seal(RETRY)


def lose_entries(house: House) -> dict[str, bytes]:
    """Delete every entry behind the writer's back; returns them."""
    lost = {}
    for path in (house.folder / "store" / "ledger").rglob("entry/*"):
        lost[path.name] = path.read_bytes()
        path.unlink()
    return lost


def test_entries_the_store_lost_are_put_again_while_the_journal_has_their_rows(house: House) -> None:
    for number in range(2):
        house.book([str(number)])
        house.seal()
    lost = lose_entries(house)
    house.restart()
    assert lose_entries(house) == lost


def test_a_store_that_lost_entries_for_good_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 1)
    house = House(tmp_path)
    house.writer.recover()
    for number in range(2):
        house.book([str(number)])
        house.seal()
    lose_entries(house)
    with pytest.raises(Fatal, match="The store has no entry 1"):
        house.restart()


def test_a_renamed_deployment_stops_the_start_instead_of_splitting_the_log(house: House) -> None:
    house.book(["a"])
    house.seal()
    keyring = Keyring(house.folder / f"keys-{house.journal.writer_id}", "gov.example/new")
    with pytest.raises(ConfigError, match=r"of deployment gov\.example/prod, not gov\.example/new"):
        Register(house.store, keyring, memory=house.folder, clock=house.clock, retention_ns=0)


@pytest.mark.parametrize("put", ["events", "entry", "checkpoint"])
def test_an_upgrade_between_two_tries_changes_neither_columns_nor_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: str
) -> None:
    fail = [True]
    house = House(tmp_path, plan=lambda key: Effect.WHOLE if fail[0] and kind_of(key) == put else None)
    house.writer.recover()
    older = LEDGER_SCHEMA.remove(LEDGER_SCHEMA.get_field_index("tool_call_id"))
    house.book(["a"])
    with monkeypatch.context() as before_the_upgrade:
        before_the_upgrade.setattr(writers, "LEDGER_SCHEMA", older)
        with pytest.raises(Retryable):
            house.writer.seal("test")
    fail[0] = False
    real = rows.to_parquet
    # The newer library writes other bytes for the same rows.
    monkeypatch.setattr(rows, "to_parquet", lambda table, metadata: real(table, {**metadata, "by": "newer"}))
    house.restart()
    house.book(["b"])
    house.seal()
    found = audit(tmp_path / "store")
    assert (found.findings, found.ids) == ([], ["a", "b"])
    assert [entry.schema for entry in found.entries] == [
        rows.schema_id(rows.schema_document(schema)) for schema in (older, LEDGER_SCHEMA)
    ]


def test_counts_of_all_segments_add_up_to_what_was_booked(house: House, tmp_path: Path) -> None:
    total = Counts()
    for number in range(12):
        counts = counted(number % 3, duplicate=number % 2, rejected={f"reason-{number % 4}": number})
        book(house.journal, calls([f"{number}-{row}" for row in range(number % 3)]), counts)
        total += counts
        if number % 5 == 4:
            house.seal()
    house.seal()
    assert audit(tmp_path / "store").counts.traces == total.traces


def test_a_recovered_writer_says_what_is_newest(house: House) -> None:
    assert house.writer.recover() is None
    house.book(["a"])
    newest = house.seal()
    house.restart()
    assert house.writer.recover() == newest


def test_failpoints_are_passed_in_the_order_of_the_commit(tmp_path: Path) -> None:
    passed: list[str] = []
    journal = Journal(tmp_path / "journal", committed_frame=0, failpoint=passed.append)
    writer = writer_of(journal, DirectoryStore(tmp_path / "store"), tmp_path)
    writer.recover()
    book(journal, calls("a"))
    writer.seal("test")
    assert passed == [
        "rows-written",
        "rows-durable",
        "cut-written",
        "cut-durable",
        "schema-put",
        "data-put",
        "entry-put",
        "checkpoint-put",
        "journal-dropped",
    ]
    journal.close()
