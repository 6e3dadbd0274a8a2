"""Requests through the real decode and processing steps, without doors or disk."""

import time
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from collector.accounting.account import Account
from collector.accounting.account import Config as AccountingConfig
from collector.dialects import DIALECTS
from collector.dialects.dialect import wanted_keys
from collector.pricing.book import PriceBook
from collector.processing import Entries, Processing
from collector.processors.dedupe import DedupeWindow
from collector.receivers.body import from_json
from collector.receivers.decode import RowLimits, TableBuilder
from collector.receivers.decode_metrics import MetricsBuilder
from tests.captures_on_disk import Recorded, requests

LIMITS = RowLimits(max_attributes=4_096, max_value_bytes=65_536, max_future_ns=300 * 10**9)
AGENT = {"org": "acme", "tenant": "support", "agent": "triage", "credential_id": "key-1"}
TENANT = AGENT | {"agent": None}
"""Whose rows are those of a key that belongs to one agent, or to a tenant."""


def new_window(max_keys: int = 100_000) -> DedupeWindow:
    return DedupeWindow(max_keys=max_keys, secret=b"0123456789abcdef")


def decode(
    recorded: list[Recorded],
    limits: RowLimits = LIMITS,
    now_ns: int | None = None,
    owner: Mapping[str, str | None] | None = None,
) -> pa.Table:
    """Rows of these requests as the commit group leaves them in the spool, but for those of metrics."""
    now_ns = now_ns or time.time_ns()
    builder = TableBuilder(wanted_keys(DIALECTS), limits, now_ns)
    for index, request in enumerate(recorded):
        if request.signal != "metrics":
            (builder.add_traces if request.signal == "traces" else builder.add_logs)(index, _protobuf(request))
    return _stamped(builder.table(), owner or AGENT, now_ns)


def decode_points(recorded: list[Recorded], owner: Mapping[str, str | None] | None = None) -> pa.Table:
    """Rows of the metrics among these requests as the commit group leaves them in the spool."""
    builder = MetricsBuilder(max_items=10_000, max_value_bytes=LIMITS.max_value_bytes)
    for index, request in enumerate(recorded):
        if request.signal == "metrics":
            builder.add(index, _protobuf(request))
    return _stamped(builder.table(), owner or AGENT, time.time_ns())


def _protobuf(request: Recorded) -> bytes:
    return from_json(request.body, request.signal) if request.as_json else request.body  # type: ignore[arg-type]


def _stamped(table: pa.Table, owner: Mapping[str, str | None], now_ns: int) -> pa.Table:
    table = table.drop_columns(["request"])
    for name, value in owner.items():
        table = table.append_column(name, pa.array([value] * len(table), pa.string()))
    return table.append_column("received_time", pa.array([now_ns] * len(table), pa.int64()))


class Books:
    """A collector's books in memory: what was booked so far, in `tables`."""

    def __init__(self, *, max_records: int = 100_000, max_keys: int = 100_000) -> None:
        self.tables: list[pa.Table] = []
        self._max_records = max_records
        self._window = new_window(max_keys)
        self._start(Account(AccountingConfig(max_records=max_records), time.time_ns))

    def book(self, rows: pa.Table) -> pa.Table:
        """Book received rows; returns all ledger rows that made."""
        return self.make(rows).all()

    def make(self, rows: pa.Table) -> Entries:
        """Book received rows; returns what that made."""
        made = self._processing.process(rows)
        self._processing.commit(made)
        self.tables.append(made.all())
        return made

    def process(self, rows: pa.Table) -> None:
        """A booking that fails before it is committed."""
        self._processing.process(rows)

    def restart(self) -> None:
        """Forget everything but what the ledger says."""
        account = Account(AccountingConfig(max_records=self._max_records), time.time_ns)
        account.restore(self.tables)
        self._start(account)

    def all(self) -> pa.Table:
        """Everything booked."""
        return pa.concat_tables(self.tables)

    def effective(self) -> pa.Array:
        """Which rows of `all` count for calls and money."""
        rows = self.all()
        counted = pc.or_(pc.not_equal(rows["call_count"], 0), pc.not_equal(rows["failed_count"], 0))
        counts = pc.or_(counted, pc.equal(rows["kind"], "correction"))
        return pc.fill_null(pc.and_(counts, pc.not_equal(rows["accounting_role"], "tool")), False)

    def _start(self, account: Account) -> None:
        self._processing = Processing(self._window, account, PriceBook(), time.time_ns)


def book(rows: pa.Table) -> pa.Table:
    """Ledger rows of received rows."""
    return Books().book(rows)


def book_emitter(emitter: str) -> pa.Table:
    """Ledger rows of one capture."""
    return book(decode(list(requests(emitter))))
