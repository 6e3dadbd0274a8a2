"""Spans told by name: what stands under what, when, by which instrumentation, as rows of the spool."""

import hashlib
from collections.abc import Mapping
from typing import TypedDict, Unpack

import pyarrow as pa
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.captures_on_disk import Recorded
from tests.collector.booking import AGENT, TENANT, Books, decode
from tests.otlp import CHAT, Value, key_value, span, traces

START = 1_790_000_000_000_000_000
MS = 1_000_000
NO_USAGE: dict[str, Value] = {key: value for key, value in CHAT.items() if "usage" not in key}
AGENT_RUN: dict[str, Value] = {"gen_ai.operation.name": "invoke_agent"}


def usage(input_tokens: int, output_tokens: int) -> dict[str, Value]:
    return {"gen_ai.usage.input_tokens": input_tokens, "gen_ai.usage.output_tokens": output_tokens}


class Circumstances(TypedDict, total=False):
    """What a span has besides its name and attributes: `at` are its begin and end in milliseconds."""

    trace: str
    at: tuple[int, int]
    scope: str
    service: str
    failed: bool
    tenant_key: bool
    main_agent: str


def told(name: str, attributes: Mapping[str, Value], under: str = "", **given: Unpack[Circumstances]) -> pa.Table:
    """One span as a row of the spool: `name` is its id within its trace, `under` its parent's."""
    start, end = given.get("at", (0, 1_000))
    made = span(attributes, name=name, start_ns=START + start * MS)
    made.end_time_unix_nano = START + end * MS
    made.trace_id, made.span_id = _id(given.get("trace", "t"), 16), _id(name, 8)
    made.parent_span_id = _id(under, 8) if under else b""
    made.status.code = Status.STATUS_CODE_ERROR if given.get("failed") else Status.STATUS_CODE_UNSET
    request = traces(made, service=given.get("service", "app"))
    request.resource_spans[0].scope_spans[0].scope.name = given.get("scope", "one")
    if "main_agent" in given:
        resource = request.resource_spans[0].resource
        resource.attributes.append(key_value("gen_ai.main_agent.name", given["main_agent"]))
    recorded = Recorded("traces", "http", request.SerializeToString(), as_json=False)
    return decode([recorded], owner=TENANT if given.get("tenant_key") else AGENT)


def keyed(rows: pa.Table, agent: str, credential: str) -> pa.Table:
    """The rows as sent with the key of another agent."""
    for name, value in (("agent", agent), ("credential_id", credential)):
        rows = rows.set_column(rows.column_names.index(name), name, pa.array([value] * len(rows), pa.string()))
    return rows


def book(*pieces: pa.Table | list[pa.Table]) -> Books:
    """Books of these rows; a list is booked as one slab."""
    books = Books()
    for piece in pieces:
        rows = pa.concat_tables(piece, promote_options="default") if isinstance(piece, list) else piece
        books.book(rows)
    return books


def bill(books: Books) -> dict[str, int]:
    """Calls, unmetered calls, tokens and nano-USD of everything that counts."""
    rows = books.all().filter(books.effective()).to_pylist()
    return {
        "calls": sum(row["call_count"] for row in rows),
        "unmetered": sum(row["call_count"] for row in rows if not row["metered"]),
        "input": sum(row["input_tokens"] or 0 for row in rows),
        "output": sum(row["output_tokens"] or 0 for row in rows),
    }


def rules(books: Books) -> dict[str, str | None]:
    """The rule each span was first booked by."""
    return {row["span_name"]: row["accounting_rule"] for row in books.all().to_pylist() if row["kind"] != "correction"}


def _id(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()
