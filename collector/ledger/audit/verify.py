"""A store and one public key in, everything that is wrong with the ledger out.

It trusts nothing it can recompute and never raises about what it reads: whatever is there is either
intact or a finding. Only a store that cannot be read at all raises (`Retryable`, `Fatal`).
The steps are those of the README, section "Verification".
"""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import pyarrow as pa

from collector.ledger import layout, rows
from collector.ledger.audit.bucket import Bucket
from collector.ledger.audit.findings import Report
from collector.ledger.audit.signed_log import GRACE_NS, SignedLog
from collector.ledger.entry import (
    EXTRA_NS,
    AnchorEntry,
    ObjectRef,
    SegmentEntry,
    digest,
    parse,
    parse_anchor,
)
from collector.ledger.note import Checkpoint, Vkey
from collector.ledger.trust import TrustDocument, follow
from collector.stores.contract import EvidenceStore
from schemas.errors import Permanent

# How far two honest clocks may be apart.
SKEW_NS = 300 * 10**9
# The least that evidence is kept.
YEAR_NS = 366 * 86_400 * 10**9


class Rows(NamedTuple):
    """What the rows of a data object say by themselves."""

    schema: str
    records_root: str
    seq: tuple[int, int]
    received: tuple[int, int]
    event_time: tuple[int, int]


class Question(NamedTuple):
    """What is asked of a ledger: from whose root key, at what time (Unix ns), how deep, since when.

    With `new_only`, data that the kept checkpoint of the anchor covers must be there and is not read again;
    entries, signatures and anchors are judged from the first on, whatever was kept.
    """

    root: Vkey
    now: int
    deep: bool = True
    kept: Checkpoint | None = None
    new_only: bool = False
    progress: Callable[[int], None] = lambda rows: None  # noqa: ARG005 - nobody watches


def verify(store: EvidenceStore, question: Question) -> Report:
    """Look at everything below the ledger's prefix."""
    report = Report()
    verification = _Verification(Bucket(store, report), report, question)
    verification.run()
    report.findings.sort()
    report.notices.sort()
    return report


def examine(data: bytes) -> Rows | None:
    """Recompute everything from the rows of a data object; None if it does not hold rows of a ledger."""
    try:
        table = rows.from_parquet(data)
        seq = rows.time_range(table, "seq")
        dense = table.num_rows == seq[1] - seq[0] + 1
        if not dense or table["seq"].to_pylist() != list(range(seq[0], seq[1] + 1)):
            return None
        document = rows.schema_document(table.schema)
        ranges = [rows.time_range(table, name) for name in ("received_time", "event_time")]
        return Rows(rows.schema_id(document), rows.records_root(table), seq, *ranges)
    except (Permanent, pa.ArrowException, ArithmeticError, LookupError, MemoryError, OSError, TypeError, ValueError):
        return None


def _is_schema(document: bytes) -> bool:
    try:
        return rows.schema_document(rows.parse_schema(document)) == document
    except Permanent:
        return False


class _Verification:
    """One verification, step by step."""

    def __init__(self, bucket: Bucket, report: Report, question: Question) -> None:
        self._bucket = bucket
        self._report = report
        self._question = question
        self._writers: dict[str, SignedLog[SegmentEntry]] = {}
        self._committed: dict[str, list[int]] = {}
        self._trust_digests: list[str] = []
        self._schemas: set[str] = set()
        self._differ: set[str] = set()
        self._heads_of: dict[str, list[Checkpoint]] = {}
        self._seen_before: dict[str, int] = {}

    def run(self) -> None:
        trust = self._trust()
        if trust is not None:
            self._remember(trust)
            for name in trust.logs:
                if name != layout.ANCHOR:
                    self._writer(trust, name)
            self._schemas_beyond()
            self._unregistered(trust)
            self._anchor(trust)
            self._kept(trust)
        self._bucket.close()

    def _remember(self, trust: TrustDocument) -> None:
        """How far each log was at the kept checkpoint. That this entry is the kept one is judged by `_kept`."""
        kept, origin = self._question.kept, trust.origin(layout.ANCHOR)
        if kept is None or not self._question.new_only or kept.origin != origin:
            return
        raw = self._bucket.read(layout.entry_key(layout.ANCHOR, kept.size - 1))
        with suppress(Permanent):
            heads = parse_anchor(raw or b"", origin=origin, n=kept.size - 1).heads
            self._seen_before = {head.writer: head.size for head in heads}

    def _trust(self) -> TrustDocument | None:
        names = [name for name in self._bucket.names(layout.TRUST) if layout.number(name) is not None]
        notes: list[bytes] = []
        while (note := self._bucket.read(layout.trust_key(len(notes)))) is not None:
            notes.append(note)
        newest = None
        try:
            for newest in follow(notes, self._question.root):
                self._trust_digests.append(digest(notes[newest.n]))
        except Permanent as error:
            self._bucket.finding("trust", layout.trust_key(len(self._trust_digests)), error.what)
        if not notes:
            self._bucket.finding("missing", layout.trust_key(0), "there is no trust chain: nothing can be proven")
        elif len(names) > len(notes):
            self._bucket.finding("missing", layout.trust_key(len(notes)), f"later documents are there, as {names[-1]}")
            for name in names:
                self._bucket.leave(name)
        if newest is None:
            self._bucket.leave(f"{layout.PREFIX}/")
        return newest

    def _unregistered(self, trust: TrustDocument) -> None:
        known = set(trust.logs)
        for name in sorted({key.split("/")[3] for key in self._bucket.names(layout.LOGS)} - known):
            self._bucket.finding("trust", f"{layout.LOGS}{name}/", "this log has no key in the trust chain")
            self._bucket.leave(f"{layout.LOGS}{name}/")

    def _writer(self, trust: TrustDocument, name: str) -> None:
        log = SignedLog(
            self._bucket,
            trust,
            name,
            lambda raw, k: parse(raw, writer=name, k=k),
            lambda entry: (entry.committed_ns, entry.retain_until + EXTRA_NS),
        )
        before: SegmentEntry | None = None
        committed = self._committed[name] = []
        for key, entry, prev in log.entries(self._question.now):
            self._continues(key, entry, before, prev if before else "", log.origin)
            self._times(key, entry, before)
            self._schema(key, entry)
            for ref in entry.objects:
                self._object(key, entry, ref)
            committed.append(entry.committed_ns)
            before = entry
        self._writers[name] = log
        self._heads_of[log.origin] = log.heads
        self._data_beyond(name, len(committed), log.size, open_log=bool(trust.current(name)))
        self._report.writers += bool(committed)
        self._report.segments += len(committed)

    def _data_beyond(self, name: str, followed: int, size: int, *, open_log: bool) -> None:
        """Data of entries that could not be followed is not reported again; that of the next one is on its way."""
        for key in self._bucket.names(layout.EVENTS):
            writer, k = layout.parse_data_key(key) or ("", 0)
            if writer == name and followed <= k < size:
                self._bucket.leave(key)
            elif writer == name and k == size and open_log:
                self._bucket.pending(key, "no entry names it yet: a segment is being sealed, or its writer must start")

    def _schemas_beyond(self) -> None:
        """A schema is put before the first segment that has it."""
        for key in self._bucket.names(f"{layout.PREFIX}/schema/"):
            if key.removesuffix(".json").rpartition("/")[2] in self._schemas:
                continue
            document = self._bucket.peek(key)
            if document and key == layout.schema_key(rows.schema_id(document)) and _is_schema(document):
                self._bucket.pending(key, "no segment has this schema yet")

    def _continues(self, key: str, entry: SegmentEntry, before: SegmentEntry | None, prev: str, origin: str) -> None:
        first = before.seq[1] + 1 if before else 0
        if entry.origin != origin:
            self._bucket.finding("chain", key, f"it is of {entry.origin}")
        if entry.prev != prev:
            self._bucket.finding("chain", key, "it does not name the entry before it")
        if entry.seq[0] != first:
            self._bucket.finding("chain", key, f"its rows begin at {entry.seq[0]}, not at {first}")

    def _times(self, key: str, entry: SegmentEntry, before: SegmentEntry | None) -> None:
        committed, now = entry.committed_ns, self._question.now
        put_at = self._bucket.put_at(key)
        if before and (committed <= before.committed_ns or entry.sealed_at <= before.sealed_at):
            self._bucket.finding("time", key, "it is older than the entry before it")
        if entry.sealed_at > committed or entry.received[1] > committed + SKEW_NS or committed > now + SKEW_NS:
            self._bucket.finding("time", key, "it holds times that had not come when it was committed")
        if put_at is not None and abs(put_at - committed) > SKEW_NS:
            self._bucket.finding("time", key, f"it says {committed}, the store says {put_at}")
        if committed - entry.sealed_at > SKEW_NS:
            late = (committed - entry.sealed_at) // 10**9
            self._bucket.notice("late", key, f"committed {late} s after it was cut: the store or the writer was away")

    def _schema(self, key: str, entry: SegmentEntry) -> None:
        if entry.schema in self._schemas:
            return
        self._schemas.add(entry.schema)
        name = layout.schema_key(entry.schema)
        document = self._bucket.read(name, expected=True)
        if document is None:
            self._bucket.finding("missing", name, f"the schema of {key}")
        elif rows.schema_id(document) != entry.schema:
            self._bucket.finding("altered", name, "its name is not its hash")

    def _object(self, key: str, entry: SegmentEntry, ref: ObjectRef) -> None:
        if entry.k < self._seen_before.get(entry.writer, 0) and self._bucket.is_there(ref.key):
            return
        data = self._bucket.read(ref.key, expected=True)
        self._bucket.must_keep(ref.key, entry.retain_until)
        if data is None:
            if self._question.now < entry.retain_until:
                self._bucket.finding("missing", ref.key, f"{key} names it, and it is kept until {entry.retain_until}")
            else:
                self._bucket.notice("expired", ref.key, "its retention has ended")
            return
        if (len(data), digest(data)) != (ref.bytes, ref.sha256):
            self._bucket.finding("altered", ref.key, f"{key} names other bytes")
            return
        self._report.rows += entry.rows
        if self._question.deep:
            expected = Rows(entry.schema, entry.records_root, entry.seq, entry.received, entry.event_time)
            if examine(data) != expected:
                self._bucket.finding("rows", ref.key, f"its rows are not those of {key}")
            self._question.progress(entry.rows)

    def _anchor(self, trust: TrustDocument) -> None:
        origin = trust.origin(layout.ANCHOR)
        log = SignedLog(
            self._bucket,
            trust,
            layout.ANCHOR,
            lambda raw, n: parse_anchor(raw, origin=origin, n=n),
            lambda entry: (entry.at, entry.at + YEAR_NS + EXTRA_NS),
        )
        seen: dict[str, int] = {}
        at, now = 0, self._question.now
        for key, entry, prev in log.entries(now):
            put_at = self._bucket.put_at(key)
            if entry.prev != prev:
                self._bucket.finding("chain", key, "it does not name the entry before it")
            if entry.at <= at or entry.at > now + SKEW_NS or (put_at and abs(put_at - entry.at) > SKEW_NS):
                self._bucket.finding("time", key, f"its time {entry.at} cannot be")
            if self._trust_digests[entry.trust[0] : entry.trust[0] + 1] != [entry.trust[1]]:
                self._bucket.finding("trust", layout.trust_key(entry.trust[0]), f"{key} saw another one")
            self._heads(key, entry, seen, at)
            at = entry.at
            self._report.anchors += 1
        self._report.checkpoint = log.newest_note.decode()
        self._heads_of[log.origin] = log.heads
        self._unanchored(trust, seen, at)

    def _heads(self, key: str, entry: AnchorEntry, seen: dict[str, int], at: int) -> None:
        """Compare the heads of one anchor entry with the logs; `at` is the time of the anchor before."""
        for head in entry.heads:
            log, before = self._writers.get(head.writer), seen.get(head.writer, 0)
            known = log.digests if log else []
            name = layout.entry_key(head.writer, head.size - 1)
            if (head.size > len(known) or known[head.size - 1] != head.entry) and head.writer not in self._differ:
                self._differ.add(head.writer)
                self._bucket.finding("anchor", name, f"{key} saw another entry under this name")
            if head.size < before:
                self._bucket.finding("anchor", key, f"it saw {head.size} entries of {head.writer}, after {before}")
            for k, committed in enumerate(self._committed.get(head.writer, [])[before : head.size], before):
                if not at - SKEW_NS <= committed <= entry.at + SKEW_NS:
                    message = f"it says {committed}, and first shows between anchors of {at} and {entry.at}"
                    self._bucket.finding("time", layout.entry_key(head.writer, k), message)
            seen[head.writer] = head.size
        for writer in sorted(seen.keys() - {head.writer for head in entry.heads}):
            self._bucket.finding("anchor", key, f"it saw nothing of {writer}, which an earlier one saw")

    def _unanchored(self, trust: TrustDocument, seen: dict[str, int], at: int) -> None:
        now = self._question.now
        if not at and now - trust.at > GRACE_NS:
            self._bucket.finding("anchor", layout.entry_key(layout.ANCHOR, 0), "there is no anchor")
        elif now - at > GRACE_NS:
            self._bucket.notice("stale", layout.entry_key(layout.ANCHOR, 0), f"the newest anchor is of {at}")
        for writer, committed in self._committed.items():
            for k, time in enumerate(committed[seen.get(writer, 0) :], seen.get(writer, 0)):
                if now - time > GRACE_NS:
                    self._bucket.finding("anchor", layout.entry_key(writer, k), "no anchor saw it in time")
                else:
                    self._bucket.notice("pending", layout.entry_key(writer, k), "no anchor saw it yet")

    def _kept(self, trust: TrustDocument) -> None:
        kept = self._question.kept
        if kept is not None and kept not in self._heads_of.get(kept.origin, []):
            message = f"{kept.size} entries with the root you kept are not the beginning of {kept.origin}"
            self._bucket.finding("kept", trust.origin(layout.ANCHOR), message)
