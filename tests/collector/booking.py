"""Requests through the real decode, normalise, price and dedupe steps, without doors or disk."""

import time

import pyarrow as pa

from collector.dialects import DIALECTS
from collector.dialects.dialect import wanted_keys
from collector.pricing.book import PriceBook
from collector.processors.dedupe import DedupeWindow, blob
from collector.processors.entries import entries
from collector.processors.normalise import normalise
from collector.processors.price import price
from collector.receivers.body import from_json
from collector.receivers.decode import RowLimits, TableBuilder
from tests.captures_on_disk import Recorded, requests

LIMITS = RowLimits(max_attributes=4_096, max_value_bytes=65_536, max_future_ns=300 * 10**9)


def new_window(max_keys: int = 100_000) -> DedupeWindow:
    return DedupeWindow(max_keys=max_keys, secret=b"0123456789abcdef")


def decode(recorded: list[Recorded], limits: RowLimits = LIMITS, now_ns: int | None = None) -> pa.Table:
    """Rows of these requests as the commit group leaves them in the spool."""
    now_ns = now_ns or time.time_ns()
    builder = TableBuilder(wanted_keys(DIALECTS), limits, now_ns)
    for index, request in enumerate(recorded):
        body = from_json(request.body, request.signal) if request.as_json else request.body  # type: ignore[arg-type]
        if request.signal != "metrics":
            (builder.add_traces if request.signal == "traces" else builder.add_logs)(index, body)
    table = builder.table().drop_columns(["request"])
    for name, value in (("org", "acme"), ("tenant", "support"), ("agent", "triage"), ("credential_id", "key-1")):
        table = table.append_column(name, pa.array([value] * len(table), pa.string()))
    return table.append_column("received_time", pa.array([now_ns] * len(table), pa.int64()))


def book(rows: pa.Table, window: DedupeWindow | None = None) -> pa.Table:
    """Ledger rows of received rows."""
    window = window or new_window()
    priced = price(normalise(rows, DIALECTS), PriceBook())
    verdicts = window.judge(priced)
    window.remember([blob(verdicts)])
    return entries(priced.filter(pa.array(verdicts.keep)), verdicts.conflict[verdicts.keep], time.time_ns())


def book_emitter(emitter: str) -> pa.Table:
    """Ledger rows of one capture."""
    return book(decode(list(requests(emitter))))
