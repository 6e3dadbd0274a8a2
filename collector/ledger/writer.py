"""Journal in, segments in the store out: cut, schema, data, entry, drop, in that order.

Invariant: a row is in exactly one committed segment, whatever crashes or fails in between. Two things
keep it. The cut is durable before the first put, so every retry makes the same segment; and names are
dense and write-once, so a retry meets its own object, and another process under the same name is
found out. Normal sealing and recovery are the same `_publish`.

How rows are kept until then is the journal's, and whether objects can be tampered with the store's.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.ledger import entry as entries
from collector.ledger import layout, rows
from collector.ledger.entry import ObjectRef, SegmentEntry
from collector.ledger.journal import Cut, Journal
from collector.ledger.store import Exists, ObjectStore
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
# Entries outlive their data, so that what was there, and that it expired, stays provable.
_ENTRY_EXTRA_NS = 365 * _DAY_NS
# C2SP checkpoint origins are one line of text; ours are also safe in a URL.
_DEPLOYMENT = re.compile(r"[a-z0-9.-]{1,100}(?:/[a-z0-9.-]{1,100}){0,4}")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the journal is sealed into a segment, and how long segments are kept."""

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

    def __post_init__(self) -> None:
        """Refuse a retention that would let evidence go within a year."""
        if self.retention_days < _RETENTION_DAYS_MIN:
            raise ConfigError(
                f"retention_days is {self.retention_days}, and evidence is kept for at least {_RETENTION_DAYS_MIN}.",
                fix=f"Set retention_days to {_RETENTION_DAYS_MIN} or more.",
            )


class LedgerWriter:
    """Seals one journal into one store; owned by the journal's thread. Call `recover` first.

    `clock` returns Unix ns. `deployment` and the journal's writer id are the log's origin, for ever.
    """

    def __init__(
        self, store: ObjectStore, journal: Journal, *, config: Config, clock: Callable[[], int], deployment: str
    ) -> None:
        if not _DEPLOYMENT.fullmatch(deployment):
            raise ConfigError(
                f"{deployment!r} cannot name a deployment.",
                fix="Use a-z, 0-9, '.', '-' and '/', for example gov.example/prod.",
            )
        self._store = store
        self._journal = journal
        self._config = config
        self._clock = clock
        self._origin = f"{deployment}/{journal.writer_id}"
        # Entries known to be in the store are 0 to _next_k - 1; _prev is the digest of the newest one.
        self._next_k: int | None = None
        self._prev = ""

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
                self._commit(newest, raw)
                self._journal.published(cut)
                break
        if newest is None and cuts and cuts[0].k > 0:
            # The journal keeps its newest published cut, so one of these entries was there.
            raise Fatal(
                f"The store has no entry {cuts[0].k} of {cuts[0].writer}, which was in it before.",
                fix="The store has lost objects: put them back from a copy.",
            )
        newest = self._publish_waiting() or newest
        beyond = layout.entry_key(self._journal.writer_id, self._next_k)
        if self._store.get(beyond) is not None:
            raise _fenced(beyond)
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
        entry = self._put_entry(segment, ref)
        # Committed. A crash here leaves frames of rows that are in the store: recovery drops them.
        failpoint("entry-put")
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
            retain_until=cut.sealed_at + self._config.retention_days * _DAY_NS,
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
                raise _fenced(key)
        except Permanent as error:
            raise _fenced(key) from error
        return existing

    def _put_entry(self, segment: "_Segment", ref: ObjectRef) -> SegmentEntry:
        cut = segment.cut
        entry = SegmentEntry(
            origin=self._origin,
            k=cut.k,
            seq=(cut.first, cut.last),
            rows=segment.table.num_rows,
            records_root=segment.root,
            schema=segment.schema_id,
            received=_range(segment.table["received_time"]),
            event_time=_range(segment.table["event_time"]),
            objects=(ref,),
            sealed_at=cut.sealed_at,
            retain_until=segment.retain_until,
            cut=cut.reason,
            prev=self._prev,
        )
        key, raw = layout.entry_key(cut.writer, cut.k), entry.encode()
        try:
            self._store.put_new(key, raw, segment.retain_until + _ENTRY_EXTRA_NS)
        except Exists:
            raw = self._store.get(key) or b""
            existing = self._parse(raw, cut)
            if (existing.records_root, existing.objects, existing.prev) != (entry.records_root, (ref,), entry.prev):
                raise _fenced(key) from None
            entry = existing
        self._commit(entry, raw)
        return entry

    def _parse(self, raw: bytes, cut: Cut) -> SegmentEntry:
        key = layout.entry_key(cut.writer, cut.k)
        try:
            entry = entries.parse(raw, writer=cut.writer, k=cut.k)
        except Permanent as error:
            raise _fenced(key) from error
        # Two processes that share a name share no nanosecond, nor would their rows have one root.
        if (entry.seq, entry.origin, entry.sealed_at) != ((cut.first, cut.last), self._origin, cut.sealed_at):
            raise _fenced(key)
        return entry

    def _commit(self, entry: SegmentEntry, raw: bytes) -> None:
        self._next_k = entry.k + 1
        self._prev = entries.digest(raw)


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


def _range(times: pa.ChunkedArray) -> tuple[int, int]:
    ends = pc.min_max(times).as_py()
    return ends["min"], ends["max"]


def _fenced(key: str) -> Fatal:
    return Fatal(
        f"{key} in the store is not what this writer would put there.",
        fix="Another process wrote under this writer's name, or the deployment's name was changed: "
        "stop the other one, or put the name or the data directory back as it was.",
    )
