"""Plain values in, tables and ledgers out: what the ledger's tests book, and how they look at the result."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec
import pyarrow as pa

from collector.ledger import layout, rows
from collector.ledger.entry import SegmentEntry
from collector.ledger.reader import Evidence
from collector.sealing.journal import ROW_SCHEMA, Journal
from collector.sealing.keys import Keyring
from collector.sealing.register import Register
from collector.sealing.writer import Config, LedgerWriter
from collector.stores.contract import ObjectStore
from collector.stores.directory import DirectoryStore
from schemas.conservation import Counts, SignalCounts
from schemas.tables import EntryKind
from tests.collector.ledger.audit.both import both

START_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000
DEPLOYMENT = "gov.example/prod"


@dataclass
class Clock:
    """A clock that a test moves."""

    now_ns: int = START_NS

    def __call__(self) -> int:
        """The time, in Unix ns."""
        return self.now_ns


def calls(ids: Iterable[str], *, at: int = START_NS, **columns: str | int | bool | None) -> pa.Table:
    """One row an id, as the pipeline books them: every column but `seq`."""
    plain = {"kind": EntryKind.CALL, "event_time": at - 5, "received_time": at, "org": "acme", "signal": "traces"}
    return pa.Table.from_pylist([{**plain, **columns, "entry_id": each} for each in ids], schema=ROW_SCHEMA)


def counted(stored: int, *, duplicate: int = 0, rejected: Mapping[str, int] | None = None) -> Counts:
    """Counts of one booking of traces."""
    refused = dict(rejected or {})
    received = stored + duplicate + sum(refused.values())
    return Counts(traces=SignalCounts(received=received, stored=stored, duplicate=duplicate, rejected=refused))


def book(journal: Journal, table: pa.Table, counts: Counts | None = None) -> int:
    """Append and let the owner commit, as the booker does; returns the frame's number."""
    frame = journal.append(table, counted(table.num_rows) if counts is None else counts)
    journal.confirm(journal.next_frame)
    return frame


def register_of(journal: Journal, store: ObjectStore, folder: Path, clock: Callable[[], int]) -> Register:
    """The keys and trust chain of a writer that is registered; the writers of one folder share root and anchor."""
    shared, own = folder / "shared-keys", folder / f"keys-{journal.writer_id}"
    if not own.exists() and shared.exists():
        shutil.copytree(shared, own)
    register = Register(store, Keyring(own, DEPLOYMENT), memory=own, clock=clock, retention_ns=Config().retention_ns)
    register.open(journal.writer_id)
    shared.mkdir(exist_ok=True)
    for path in [*own.glob("root.*"), *own.glob("anchor.*.key")]:
        shutil.copy(path, shared)
    return register


def root_key(folder: Path) -> str:
    """The file that an auditor gets beside the store."""
    return (folder / "shared-keys" / "root.vkey").read_text().strip()


def writer_of(
    journal: Journal,
    store: ObjectStore,
    folder: Path,
    *,
    clock: Callable[[], int] | None = None,
    config: Config | None = None,
) -> LedgerWriter:
    """A writer whose log is registered. `folder` holds its keys."""
    clock = clock or Clock()
    register_of(journal, DirectoryStore(folder / "store"), folder, clock)
    register = register_of(journal, store, folder, clock)
    log = register.log(journal.writer_id)
    return LedgerWriter(store, journal, log, config=config or Config(), clock=clock)


class Ledger(msgspec.Struct):
    """What an auditor finds in a store: ids of the rows that are not our own, and the sum of the counts."""

    entries: list[SegmentEntry]
    ids: list[str]
    counts: Counts
    findings: list[str]


def audit(root: Path) -> Ledger:
    """Read everything that is committed and recompute whatever can be."""
    store = DirectoryStore(root)
    ledger = Ledger(list(Evidence(root).entries()), [], Counts(), [])
    sealed_at: dict[str, int] = {}
    for entry in ledger.entries:
        (ref,) = entry.objects
        data = store.get(ref.key) or b""
        if (len(data), sha256(data).hexdigest()) != (ref.bytes, ref.sha256):
            ledger.findings.append(f"{ref.key}: bytes differ from the entry")
            continue
        table = rows.from_parquet(data)
        if rows.records_root(table) != entry.records_root:
            ledger.findings.append(f"{ref.key}: records_root differs")
        if table["seq"].to_pylist() != list(range(entry.seq[0], entry.seq[1] + 1)):
            ledger.findings.append(f"{ref.key}: rows are not dense")
        if store.get(layout.schema_key(entry.schema)) != rows.schema_document(table.schema):
            ledger.findings.append(f"{ref.key}: schema is missing or differs")
        if entry.sealed_at <= sealed_at.get(entry.origin, 0):
            ledger.findings.append(f"{ref.key}: sealed before the segment before it")
        sealed_at[entry.origin] = entry.sealed_at
        *booked, last = zip(table["kind"].to_pylist(), table["entry_id"].to_pylist(), strict=True)
        ledger.ids += [entry_id for _, entry_id in booked]
        if last[0] != EntryKind.CONSERVATION:
            ledger.findings.append(f"{ref.key}: does not end with its conservation row")
        ledger.counts += msgspec.json.decode(table["detail"][-1].as_py(), type=Counts)
    named = {ref.key for entry in ledger.entries for ref in entry.objects}
    orphans = set(store.list(f"{layout.PREFIX}/events/")) - named
    ledger.findings += [f"{key}: no entry names it" for key in sorted(orphans)]
    ledger.findings += verdict(root, max((entry.committed_ns for entry in ledger.entries), default=START_NS))
    return ledger


def verdict(root: Path, now: int) -> list[str]:
    """What both verifiers say, with the root key beside the store, once the anchor has seen everything."""
    store, keys = DirectoryStore(root), root.parent / "shared-keys"
    register = Register(
        store, Keyring(keys, DEPLOYMENT), memory=keys, clock=lambda: now, retention_ns=Config().retention_ns
    )
    anchor = register.anchor()
    assert anchor is not None
    anchor.write()
    return [f"{each.key}: {each.message}" for each in both(store, root_key(root.parent), now).findings]


def ids_in_any_object(root: Path) -> Counter[str]:
    """How often each row is in the data objects, committed or not: what a glob over the files would count."""
    store = DirectoryStore(root)
    found: Counter[str] = Counter()
    for key in store.list(f"{layout.PREFIX}/events/"):
        found.update(rows.from_parquet(store.get(key) or b"")["entry_id"].to_pylist()[:-1])
    return found
