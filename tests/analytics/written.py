"""Rows of plain Python in, a ledger on disk out, written by the collector's own journal and writer."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from collector.sealing.journal import ROW_SCHEMA, Journal
from collector.stores.directory import DirectoryStore
from schemas.accounting import Role, Rule
from schemas.conservation import Counts, SignalCounts
from schemas.tables import EntryKind
from tests.collector.ledger.samples import writer_of

NOON_NS = 1_795_521_600_000_000_000  # 2026-11-24T12:00:00Z
SECOND_NS = 10**9
HOUR_NS = 3600 * SECOND_NS
_SIGNALS = {EntryKind.LOG: "logs", EntryKind.METRIC: "metrics"}


class Written:
    """The ledger of one data directory while it is being written. `now_ns` is its clock."""

    def __init__(self, data_dir: Path, *, now_ns: int = NOON_NS, name: str = "journal") -> None:
        self.data_dir = data_dir
        self.now_ns = now_ns
        data_dir.mkdir(exist_ok=True)
        (data_dir / name).mkdir()
        self._journal = Journal(data_dir / name, committed_frame=0, clock=lambda: self.now_ns)
        store = DirectoryStore(data_dir / "store")
        self._writer = writer_of(self._journal, store, data_dir, clock=lambda: self.now_ns)
        self._writer.recover()

    def book(self, *rows: dict[str, Any], counts: Counts | None = None) -> None:
        """Append rows as one booking; without counts, those of a collector that kept everything."""
        filled = [self._filled(number, row) for number, row in enumerate(rows)]
        kept = Counter(row["signal"] for row in filled)
        if counts is None:
            counts = Counts(
                traces=SignalCounts(received=kept["traces"], stored=kept["traces"]),
                logs=SignalCounts(received=kept["logs"], stored=kept["logs"]),
                metrics=SignalCounts(received=kept["metrics"], stored=kept["metrics"]),
            )
        self._journal.append(pa.Table.from_pylist(filled, schema=ROW_SCHEMA), counts)
        self._journal.confirm(self._journal.next_frame)

    def seal(self) -> None:
        """Make a committed segment of what was booked."""
        self._writer.seal("request")

    def close(self) -> None:
        """Release the journal's folder."""
        self._journal.close()

    def _filled(self, number: int, row: dict[str, Any]) -> dict[str, Any]:
        base = {
            "entry_id": f"{self._journal.next_seq + number:032x}",
            "kind": EntryKind.CALL,
            "event_time": self.now_ns,
            "received_time": self.now_ns,
            "software_version": "0.0",
        }
        filled = base | row
        if filled["kind"] in {EntryKind.CALL, EntryKind.TOOL, EntryKind.SPAN, *_SIGNALS}:
            filled.setdefault("signal", _SIGNALS.get(filled["kind"], "traces"))
        return {name: filled.get(name) for name in ROW_SCHEMA.names} | {"signal": filled.get("signal")}


def call(agent: str = "triage", **columns: object) -> dict[str, Any]:
    """A metered and priced call, but for what is said otherwise."""
    return {
        "kind": EntryKind.CALL,
        "org": "acme",
        "tenant": "support",
        "agent": agent,
        "actor": f"agent:acme/support/{agent}",
        "action": "llm.call",
        "subject": "gpt-4o-mini-2024-07-18",
        "outcome": "ok",
        "provider": "openai",
        "model": "gpt-4o-mini-2024-07-18",
        "metered": True,
        "input_tokens": 100,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "output_tokens": 20,
        "reasoning_tokens": 0,
        "cost_nano_usd": 27_000,
    } | columns


def unmetered(agent: str = "triage", **columns: object) -> dict[str, Any]:
    """A call whose usage was not sent."""
    unknown = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
    return call(agent, metered=False, cost_nano_usd=None, **dict.fromkeys(unknown), **columns)


def failed(agent: str = "triage", **columns: object) -> dict[str, Any]:
    """A call the provider refused."""
    return unmetered(agent, outcome="error", **columns)


def counted(row: dict[str, Any], **columns: object) -> dict[str, Any]:
    """The row as the account leaves it: one call, by its own usage or without."""
    metered = row["metered"] is True
    rule = Rule.USAGE if metered else Rule.FAILED if row["outcome"] == "error" else Rule.NO_USAGE
    count = 0 if rule == Rule.FAILED else 1
    return row | {"accounting_role": Role.CALL, "accounting_rule": rule, "call_count": count} | columns


def merged(row: dict[str, Any], **columns: object) -> dict[str, Any]:
    """The row as one that another record counts."""
    return counted(row) | {"accounting_rule": Rule.SAME_RESPONSE, "call_count": 0} | columns


def reversal(row: dict[str, Any], **columns: object) -> dict[str, Any]:
    """The correction that takes a counted row back: its numbers with the other sign."""
    numbers = {name: -value for name, value in row.items() if type(value) is int and name != "event_time"}
    return row | numbers | {"kind": EntryKind.CORRECTION, "call_count": -1} | columns
