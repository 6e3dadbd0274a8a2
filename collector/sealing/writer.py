"""Journal in, signed segments in the store out: cut, schema, data, entry, checkpoint, drop, in that order.

Invariant: a row is in exactly one committed segment, whatever crashes or fails in between. Two things
keep it. The cut is durable before the first put, so every retry makes the same segment; and names are
dense and write-once, so a retry meets its own object, and another process under the same name is
found out. Normal sealing and recovery are the same `_publish`.

How rows are kept until then is the journal's, and whether objects can be tampered with the store's.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version

import msgspec
import numpy as np
import pyarrow as pa

from collector.ledger import entry as entries
from collector.ledger import layout, rows
from collector.ledger.entry import ObjectRef, SegmentEntry
from collector.sealing.journal import Cut, Journal
from collector.sealing.log import Log, fenced
from collector.stores.contract import Exists, Mode, ObjectStore
from schemas.conservation import Counts
from schemas.errors import ConfigError, Fatal, Permanent
from schemas.ids import new_id
from schemas.quantities import Duration, Size
from schemas.tables import LEDGER_SCHEMA, EntryKind

RETRY = "retry"
_SOFTWARE_VERSION = version("spanward")
_DAY_NS = 86_400 * 10**9
# Twelve months is what the audits we know of ask for, and one day more for the edges.
_RETENTION_DAYS_MIN = 366


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the journal is sealed into a segment, and how long segments are kept."""

    store: str = ""
    """Where evidence is kept: `s3://BUCKET/PREFIX?endpoint=https://HOST&region=NAME`; empty means the folder `store`
    of the data directory. Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the machine's role."""
    mode: Mode = "evident"
    """`compliance` starts only on a store that keeps evidence against its owner, as `spanward store check` finds out;
    `evident` starts on any, and says that what was changed can be seen, not that it cannot be."""
    seal_rows: int = 50_000
    """Rows waiting in the journal that make a segment. One booking is never split."""
    seal_bytes: Size = Size("8MiB")
    """Bytes waiting in the journal (compressed) that make a segment."""
    seal_interval: Duration = Duration("10s")
    """Longest wait of a row until its segment is sealed."""
    seal_idle_interval: Duration = Duration("60s")
    """The same while fewer than `seal_idle_rows` rows wait."""
    seal_idle_rows: int = 100
    """Fewer rows than this are worth waiting `seal_idle_interval` for."""
    retention_days: int = _RETENTION_DAYS_MIN
    """How long segments are kept after sealing; never less than 366 days."""

    @property
    def retention_ns(self) -> int:
        """The same in ns."""
        return self.retention_days * _DAY_NS

    def __post_init__(self) -> None:
        """Refuse a retention that would let evidence go within a year."""
        if self.retention_days < _RETENTION_DAYS_MIN:
            raise ConfigError(
                f"retention_days is {self.retention_days}, and evidence is kept for at least {_RETENTION_DAYS_MIN}.",
                fix=f"Set retention_days to {_RETENTION_DAYS_MIN} or more.",
            )


class LedgerWriter:
    """Seals one journal into one store; owned by the journal's thread. Call `recover` first.

    `log` is the log of the journal's writer. `clock` returns Unix ns.
    """

    def __init__(
        self, store: ObjectStore, journal: Journal, log: Log, *, config: Config, clock: Callable[[], int]
    ) -> None:
        assert log.name == journal.writer_id
        self._store = store
        self._journal = journal
        self._log = log
        self._config = config
        self._clock = clock
        # Entries known to be in the store are 0 to _next_k - 1.
        self._next_k: int | None = None
        self._committed_at = 0

    def recover(self) -> SegmentEntry | None:
        """Find the newest entry in the store and publish every later cut; returns the newest entry.

        Raises `Fatal` if the store lost entries or holds some that this journal did not make.
        """
        cuts = self._journal.cuts
        newest = None
        self._next_k = 0
        for cut in reversed(cuts):
            raw = self._store.get(layout.entry_key(cut.writer, cut.k))
            if raw is not None:
                newest = self._parse(raw, cut)
                self._next_k, self._committed_at = cut.k + 1, newest.committed_ns
                break
        if newest is None and cuts and cuts[0].k > 0:
            # The journal keeps its newest published cut, so one of these entries was there.
            raise Fatal(
                f"The store has no entry {cuts[0].k} of {cuts[0].writer}, which was in it before.",
                fix="The store has lost objects: put them back from a copy.",
            )
        self._log.resume(self._next_k)
        if newest is not None:
            self._journal.published(next(cut for cut in cuts if cut.k == newest.k))
        newest = self._publish_waiting() or newest
        beyond = layout.entry_key(self._journal.writer_id, self._next_k)
        if self._store.get(beyond) is not None:
            raise fenced(beyond)
        return newest

    def due(self) -> str | None:
        """Why `seal` should be called now: rows, bytes, retry (a cut is not in the store yet) or age; or None."""
        journal, config = self._journal, self._config
        if journal.pending_rows >= config.seal_rows:
            return "rows"
        if journal.pending_bytes >= config.seal_bytes.bytes:
            return "bytes"
        if self._waiting():
            return RETRY
        if journal.oldest_pending_ns is None:
            return None
        idle = journal.pending_rows < config.seal_idle_rows
        interval = config.seal_idle_interval if idle else config.seal_interval
        age = self._clock() - journal.oldest_pending_ns
        # A clock that was set back must not hold rows for as long as it was wrong.
        return "age" if age >= interval.ns or age < 0 else None

    def seal(self, reason: str) -> SegmentEntry | None:
        """Cut what is pending and publish every cut; returns the newest entry, None if there was nothing.

        `due() == "retry"` as the reason publishes without cutting anew. Raises `Retryable` when the
        store or the disk cannot take it now: nothing is lost, call again. Raises `Fatal` when another
        process sealed under this writer's name.
        """
        if reason != RETRY and self._journal.oldest_pending_ns is not None:
            self._journal.cut(self._make_cut(reason))
        return self._publish_waiting()

    def _make_cut(self, reason: str) -> Cut:
        journal = self._journal
        newest = journal.cuts[-1] if journal.cuts else None
        # Order is the number's; the time only never runs backwards, whatever the clock does.
        sealed_at = max(self._clock(), newest.sealed_at + 1 if newest else 0)
        return Cut(
            k=newest.k + 1 if newest else 0,
            first=journal.next_seq - journal.pending_rows,
            last=journal.next_seq,
            sealed_at=sealed_at,
            writer=journal.writer_id,
            reason=reason,
            schema=rows.schema_document(LEDGER_SCHEMA).decode(),
            conservation=_conservation(journal.pending_counts, sealed_at, journal.writer_id),
        )

    def _waiting(self) -> list[Cut]:
        next_k = self._next_k
        assert next_k is not None, "recover() comes first"
        return [cut for cut in self._journal.cuts if cut.k >= next_k]

    def _publish_waiting(self) -> SegmentEntry | None:
        entries_put = [self._publish(cut) for cut in self._waiting()]
        return entries_put[-1] if entries_put else None

    def _publish(self, cut: Cut) -> SegmentEntry:
        """Put everything of one segment. Called again after any crash or failure, it ends in the same state.

        What an earlier try put is met by name. Nothing there: put it. Data without entry: kept if it
        holds the same rows. Data and entry: done, drop the frames. Entry without data: the data is put
        again and must be the very bytes that the entry names.
        """
        failpoint = self._journal.failpoint
        # A crash here leaves the cut alone: the retry puts everything.
        segment = self._segment(cut)
        with suppress(Exists):
            self._store.put_new(layout.schema_key(segment.schema_id), cut.schema.encode(), segment.retain_until)
        # A crash here leaves a schema no entry names yet. Its name is its hash: the retry meets it.
        failpoint("schema-put")
        ref = self._put_data(segment)
        # A crash here leaves data no entry names yet: not committed, and the retry meets it.
        failpoint("data-put")
        entry, raw = self._put_entry(segment, ref)
        # Committed. A crash here leaves an entry nobody signed yet: recovery signs it.
        failpoint("entry-put")
        self._log.signed(raw)
        self._next_k = cut.k + 1
        # A crash here leaves frames of rows that are in the store: recovery drops them.
        failpoint("checkpoint-put")
        self._journal.published(cut)
        failpoint("journal-dropped")
        return entry

    def _segment(self, cut: Cut) -> "_Segment":
        table = self._journal.rows(cut)
        numbers = pa.array(np.arange(cut.first, cut.last + 1))
        table = rows.align(table.append_column("seq", numbers), rows.parse_schema(cut.schema.encode()))
        return _Segment(
            cut=cut,
            table=table,
            schema_id=rows.schema_id(cut.schema.encode()),
            root=rows.records_root(table),
            retain_until=cut.sealed_at + self._config.retention_ns,
        )

    def _put_data(self, segment: "_Segment") -> ObjectRef:
        cut = segment.cut
        key = layout.data_key(cut.writer, cut.k, sealed_at=cut.sealed_at)
        about = {"records_root": segment.root, "seq": f"{cut.first}-{cut.last}", "schema": segment.schema_id}
        data = rows.to_parquet(segment.table, about)
        try:
            self._store.put_new(key, data, segment.retain_until)
        except Exists:
            data = self._same_rows(key, data, segment.root)
        return ObjectRef(role=entries.EVENTS, key=key, bytes=len(data), sha256=entries.digest(data))

    def _same_rows(self, key: str, data: bytes, root: str) -> bytes:
        """What is under `key`, if it is these rows; a library upgrade may have changed their bytes."""
        existing = self._store.get(key) or b""
        try:
            if existing != data and rows.records_root(rows.from_parquet(existing)) != root:
                raise fenced(key)
        except Permanent as error:
            raise fenced(key) from error
        return existing

    def _put_entry(self, segment: "_Segment", ref: ObjectRef) -> tuple[SegmentEntry, bytes]:
        cut = segment.cut
        entry = SegmentEntry(
            origin=self._log.origin,
            k=cut.k,
            seq=(cut.first, cut.last),
            rows=segment.table.num_rows,
            records_root=segment.root,
            schema=segment.schema_id,
            received=rows.time_range(segment.table, "received_time"),
            event_time=rows.time_range(segment.table, "event_time"),
            objects=(ref,),
            sealed_at=cut.sealed_at,
            # The cut may have waited for the store or for a start: this is the time that anchors bound.
            committed_at=max(self._clock(), cut.sealed_at, self._committed_at + 1),
            retain_until=segment.retain_until,
            cut=cut.reason,
            prev=self._log.prev,
        )
        key, raw = layout.entry_key(cut.writer, cut.k), entry.encode()
        try:
            self._store.put_new(key, raw, entries.kept_until(raw))
        except Exists:
            raw = self._store.get(key) or b""
            existing = self._parse(raw, cut)
            if (existing.records_root, existing.objects, existing.prev) != (entry.records_root, (ref,), entry.prev):
                raise fenced(key) from None
            entry = existing
        self._committed_at = entry.committed_ns
        return entry, raw

    def _parse(self, raw: bytes, cut: Cut) -> SegmentEntry:
        key = layout.entry_key(cut.writer, cut.k)
        try:
            entry = entries.parse(raw, writer=cut.writer, k=cut.k)
        except Permanent as error:
            raise fenced(key) from error
        # Two processes that share a name share no nanosecond, nor would their rows have one root.
        if (entry.seq, entry.origin, entry.sealed_at) != ((cut.first, cut.last), self._log.origin, cut.sealed_at):
            raise fenced(key)
        return entry


@dataclass(frozen=True)
class _Segment:
    """A cut with its rows, numbered, and what follows from them."""

    cut: Cut
    table: pa.Table
    schema_id: str
    root: str
    retain_until: int


def _conservation(counts: Counts, sealed_at: int, writer: str) -> dict[str, str | int | bool | None]:
    """The row that accounts for everything received since the cut before: one rule, checked in `Counts`."""
    signals = (counts.traces, counts.logs, counts.metrics)
    received, stored = sum(s.received for s in signals), sum(s.stored for s in signals)
    return {
        "entry_id": new_id(),
        "kind": EntryKind.CONSERVATION,
        "event_time": sealed_at if counts.to_ns is None else min(counts.to_ns, sealed_at),
        "received_time": sealed_at,
        "attribution_source": "system",
        "actor": "system:ledger",
        "action": "ledger.seal",
        "subject": writer,
        "outcome": "ok",
        "message": f"{received} rows received, {stored} of them stored.",
        "detail": msgspec.json.encode(counts, order="sorted").decode(),
        "software_version": _SOFTWARE_VERSION,
    }
