"""Sealed entries and the prices of today → the corrections that bring the cost of a period up to date.

The *line* of a call is its entry with every correction of it: what was taken back, booked anew or
rerated before. It is counted once or not at all, and its cost is the sum. Invariant: a line's cost
plus its new correction is what the line costs at its own time by this price book, to the nano-USD;
what was written is never touched. A price that is not known changes nothing.

Memory is bounded by a segment and a chunk: corrections are gathered in a private file that SQLite
deletes. Handing the rows in is left to `cli`.
"""

import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.ledger.reader import Evidence
from collector.ledger.rows import align, from_parquet
from collector.pricing.book import PriceBook
from collector.processors.entries import ENTRY_SCHEMA, PRICE_COLUMNS
from collector.processors.price import price
from schemas.accounting import PRICE_FOUND, Role, Rule
from schemas.money import format_usd
from schemas.tables import LEDGER_SCHEMA, EntryKind

Row = dict[str, str | int | bool | None]

ACTION = "prices.rerate"
CHUNK_ROWS = 250
# Records of one call may start that far apart, so its line may have parts before and after the period.
_MARGIN_NS = 86_400 * 10**9
_BATCH_LINES = 10_000
# What a correction repeats of the call, beside the new prices: whatever a report groups or filters by.
_KEPT = (
    "event_time", "org", "tenant", "agent", "attribution_source", "credential_id", "trace_id", "span_id",
    "service_name", "scope_name", "scope_version", "claimed_agent", "claim_source", "conversation_id", "dialect",
    "operation", "provider", "request_model", "response_model", "model", "response_id", "request_id",
    "server_address", "region", "service_tier", "accounting_role",
)  # fmt: skip
_PRICES = tuple(name for name in PRICE_COLUMNS if name != "cost_nano_usd")
_TABLE = """
CREATE TABLE line (
    entry_id TEXT PRIMARY KEY, corrections INTEGER NOT NULL, calls INTEGER NOT NULL, cost INTEGER NOT NULL, row BLOB
) WITHOUT ROWID
"""
_ADD = """
INSERT INTO line VALUES (?, 1, ?, ?, ?) ON CONFLICT DO UPDATE SET corrections = corrections + 1,
    calls = calls + excluded.calls, cost = cost + excluded.cost, row = coalesce(excluded.row, row)
"""
_ADD_ENTRY = "UPDATE line SET calls = calls + 1, cost = cost + ? WHERE entry_id = ?"
_FIND = "SELECT entry_id, corrections, cost, row IS NOT NULL FROM line JOIN json_each(?) ON entry_id = value"
_BOOKED_ANEW = "SELECT * FROM line WHERE row IS NOT NULL AND calls IN (0, 1) ORDER BY entry_id"


class Period(NamedTuple):
    """Unix ns; the end is not part of it."""

    start: int
    end: int


class Sum(msgspec.Struct):
    """What the calls of one model cost before and after, and how many of them change."""

    calls: int = 0
    unpriced: int = 0
    corrections: int = 0
    old_nano_usd: int = 0
    new_nano_usd: int = 0

    def changes(self, old: int, new: int | None) -> bool:
        """Add what a line cost and costs; true when that differs. Nobody knows what `None` costs: it stays."""
        changed = new is not None and new != old
        self.unpriced += new is None
        self.corrections += changed
        self.old_nano_usd += old
        self.new_nano_usd += old if new is None else new
        return changed

    def __add__(self, other: "Sum") -> "Sum":
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Sum(*(mine + yours for mine, yours in pairs))


class _Lines(NamedTuple):
    """Lines to price: the row that says what each is, and what was booked for it."""

    rows: pa.Table
    booked: list[int]
    corrections: list[int]


class Repricing:
    """Corrections of one period. `sums`, by model, are complete once `chunks` has ended."""

    def __init__(self, store: Path, period: Period, book: PriceBook, *, reason: str) -> None:
        """Looks at the ledger in the folder `store` as it is committed now; raises `Permanent` when it is damaged."""
        self._paths = Evidence(store).objects(period.start - _MARGIN_NS, period.end + _MARGIN_NS)
        # What lies beyond 64 bits has no entries, and no place in a column of times.
        self._period = Period(max(period.start, 0), min(period.end, 2**63 - 1))
        self._book = book
        self._reason = reason
        self.sums: dict[str, Sum] = {}

    def chunks(self) -> Iterator[list[Row]]:
        """The corrections, at most `CHUNK_ROWS` at once, in an order that depends on the ledger alone."""
        rows = self._corrections()
        while chunk := list(islice(rows, CHUNK_ROWS)):
            yield chunk

    def _corrections(self) -> Iterator[Row]:
        # An empty name is a file of its own that SQLite keeps in memory while it is small.
        with closing(sqlite3.connect("", isolation_level=None)) as gathered:
            gathered.execute(_TABLE)
            gathered.execute("BEGIN")
            for table in self._tables(EntryKind.CORRECTION):
                gathered.executemany(_ADD, map(_gathered, table.to_pylist()))
            for table in self._tables(EntryKind.CALL):
                yield from self._priced(_unchanged(table, gathered))
            lines = gathered.execute(_BOOKED_ANEW)
            while found := lines.fetchmany(_BATCH_LINES):
                yield from self._priced(_booked_anew(found))

    def _tables(self, kind: str) -> Iterator[pa.Table]:
        """The entries of one kind, a segment at a time."""
        for path in self._paths:
            table = align(from_parquet(path.read_bytes()), LEDGER_SCHEMA)
            wanted = pc.equal(table["kind"], kind)
            if kind == EntryKind.CORRECTION:
                wanted = pc.and_(wanted, pc.not_equal(pc.fill_null(table["accounting_role"], ""), Role.TOOL))
            table = table.filter(wanted)
            if len(table):
                yield table

    def _priced(self, lines: _Lines) -> Iterator[Row]:
        """The corrections of those lines of the period that cost something else today."""
        time = lines.rows["event_time"]
        inside = pc.and_(pc.greater_equal(time, self._period.start), pc.less(time, self._period.end))
        where = np.flatnonzero(pc.fill_null(inside, False).to_numpy()).tolist()
        mine = lines.rows.take(pa.array(where, pa.int64()))
        without_price = pc.fill_null(pc.equal(mine["pricing_basis"], "unknown"), False).to_pylist()
        rows = price(mine.drop_columns(list(PRICE_COLUMNS)), self._book)
        told = rows.select(["entry_id", *_KEPT, *PRICE_COLUMNS, "call_count"]).to_pylist()
        for at, row, unknown in zip(where, told, without_price, strict=True):
            # What was taken back costs nothing, whatever is known of prices.
            new = row["cost_nano_usd"] if row["call_count"] else 0
            total = self.sums.setdefault(row["model"] or "", Sum())
            total.calls += row["call_count"]
            if total.changes(lines.booked[at], new):
                found: Row = {"findings": PRICE_FOUND} if unknown and not lines.booked[at] else {}
                yield self._correction(row, lines.booked[at], new, lines.corrections[at]) | found

    def _correction(self, row: Row, old: int, new: int, corrections: int) -> Row:
        kept = {name: row[name] for name in (*_KEPT, *_PRICES) if row[name] is not None}
        entry_id, model = str(row["entry_id"]), row["model"]
        return (
            kept
            | {
                "entry_id": _new_id(entry_id, corrections, str(row["price_digest"] or "")),
                "kind": EntryKind.CORRECTION,
                "corrects": entry_id,
                "accounting_rule": Rule.RERATED,
                "call_count": 0,
                "cost_nano_usd": new - old,
                "action": ACTION,
                "outcome": "ok",
                "message": f"Rerated from {format_usd(old)} to {format_usd(new)} USD: {self._reason}",
            }
            | ({"subject": model} if model else {})
        )


def _gathered(row: Row) -> tuple[str, int, int, bytes | None]:
    """A correction as `_ADD` takes it; one that counts a call, or takes one back, says what the line is now."""
    calls = int(row["call_count"] or 0)
    return str(row["corrects"]), calls, int(row["cost_nano_usd"] or 0), msgspec.msgpack.encode(row) if calls else None


def _unchanged(table: pa.Table, gathered: sqlite3.Connection) -> _Lines:
    """Those entries that still are what their lines are; the cost of the others is added to their lines."""
    # Ledgers from before calls were counted one by one: what has usage is billed.
    counted = pc.coalesce(table["call_count"], pc.fill_null(table["metered"], False).cast(pa.int64()))
    table = table.set_column(table.column_names.index("call_count"), "call_count", counted)
    table = table.filter(pc.equal(counted, 1))
    ids, costs = table["entry_id"].to_pylist(), pc.fill_null(table["cost_nano_usd"], 0).to_pylist()
    found = {entry_id: rest for entry_id, *rest in gathered.execute(_FIND, (msgspec.json.encode(ids).decode(),))}
    own: list[int] = []
    booked, corrections = [], []
    for at, (entry_id, cost) in enumerate(zip(ids, costs, strict=True)):
        number, added, is_another = found.get(entry_id, (0, 0, False))
        if is_another:
            gathered.execute(_ADD_ENTRY, (cost, entry_id))
            continue
        own.append(at)
        booked.append(cost + added)
        corrections.append(number)
    return _Lines(table.take(pa.array(own, pa.int64())).drop_columns(["seq"]), booked, corrections)


def _booked_anew(found: Iterable[tuple[str, int, int, int, bytes]]) -> _Lines:
    """Lines whose newest correction says what they are: booked by it, or taken back."""
    rows, booked, corrections = [], [], []
    for entry_id, number, calls, cost, row in found:
        rows.append(msgspec.msgpack.decode(row) | {"entry_id": entry_id, "call_count": calls})
        booked.append(cost)
        corrections.append(number)
    return _Lines(pa.Table.from_pylist(rows, schema=ENTRY_SCHEMA), booked, corrections)


def _new_id(entry_id: str, corrections: int, price_digest: str) -> str:
    """A UUIDv8 (RFC 9562 section 5.8) that the same ledger and the same price give again.

    The number of corrections is part of it: a price may come back to what it was.
    """
    text = f"spanward.rerated/1\n{entry_id}\n{corrections}\n{price_digest}"
    raw = bytearray(sha256(text.encode()).digest()[:16])
    raw[6] = 0x80 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    return str(uuid.UUID(bytes=bytes(raw)))
