"""Requests in, one durable spool frame a group, then every request's answer.

What arrives while one group is being written forms the next: under load groups grow, at rest a
request waits for nobody. Invariants: no request is answered before its rows are on disk; a request
that is refused harms none of its group; identity comes from the credential, never from the payload.
What the rows mean is left to whoever follows the spool.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
import pyarrow as pa

from collector.frames import FrameLog
from collector.receivers.body import Signal, from_json, inflate
from collector.receivers.builders import Build, Builder
from collector.receivers.config import Config
from collector.receivers.decode import Outcome, RowLimits
from collector.receivers.decode_metrics import MetricsBuilder
from collector.receivers.wire import item_count
from schemas.errors import Fatal, Permanent, Retryable, SpanwardError
from schemas.ids import AgentPath, TenantPath

RECEIVED_FRAME = 1
IDENTITY_COLUMNS = ("org", "tenant", "agent", "credential_id")


class Sender(NamedTuple):
    """Who a request was authenticated as: an agent, or a tenant whose telemetry names its agents."""

    path: AgentPath | TenantPath
    credential_id: str


class Request(NamedTuple):
    """One export request as it came through a door."""

    sender: Sender
    signal: Signal
    body: bytes
    encoding: str = ""
    as_json: bool = False


class Reply(NamedTuple):
    """An acknowledged request: rows kept and refused, and what its sender should be told."""

    accepted: int
    rejected: int
    warnings: list[str]


class Frame(msgspec.Struct, frozen=True):
    """Header of one spool frame, beside its rows: when it was received and what was counted."""

    received_time: int
    received: dict[str, int]
    rejected: dict[str, dict[str, int]]
    not_stored: dict[str, int]


class Hooks(NamedTuple):
    """What a commit group needs of the process: Unix ns now, and whom to tell of durable frames and of the end."""

    clock: Callable[[], int]
    durable: Callable[[], None]
    fatal: Callable[[Fatal], None]


class _Waiting(NamedTuple):
    request: Request
    future: asyncio.Future[Reply]


class _Builders(NamedTuple):
    """What the rows of one group are put into: spans and log records, and points of metrics."""

    items: Builder
    metrics: MetricsBuilder

    def table(self) -> pa.Table:
        """All rows so far; without points there are no columns for them."""
        items = self.items.table()
        return pa.concat_tables([items, self.metrics.table()], promote_options="default") if self.metrics else items


class CommitGroup:
    """The committing thread. `submit` may be called from any running event loop.

    `_queue` and `_in_flight` are shared under `_changed`; everything else is owned by the thread.
    """

    def __init__(self, spool: FrameLog, build: Build, wanted: Mapping[str, type], config: Config, hooks: Hooks) -> None:
        self._spool = spool
        self._build = build
        self._wanted = wanted
        self._config = config
        self._limits = RowLimits(
            config.limits.max_attributes, config.limits.max_attribute_value.bytes, config.limits.max_clock_ahead.ns
        )
        self._hooks = hooks
        self._changed = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._in_flight = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="commit-group", daemon=True)

    def start(self) -> None:
        """Begin to write groups."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is queued, answer it, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    async def submit(self, request: Request) -> Reply:
        """Returns once the request's rows are durable; raises the error to answer it with otherwise."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._stopping:
                raise Retryable("The collector is shutting down.", fix="Retry; the next start accepts it.")
            limit = self._config.limits.max_in_flight.bytes
            if self._in_flight + len(request.body) > limit:
                raise Retryable(
                    f"More than limits.max_in_flight ({limit} bytes) wait for their durable write.",
                    fix="Retry after the given delay.",
                    overloaded=True,
                )
            self._in_flight += len(request.body)
            self._queue.append(_Waiting(request, future))
            self._changed.notify()
        return await future

    def _run(self) -> None:
        while group := self._take():
            answers = self._commit([waiting.request for waiting in group])
            with self._changed:
                self._in_flight -= sum(len(waiting.request.body) for waiting in group)
            _answer(group, answers)

    def _take(self) -> list[_Waiting]:
        with self._changed:
            while not self._queue and not self._stopping:
                self._changed.wait()
            group: list[_Waiting] = []
            size = 0
            # A body of n bytes holds at most n/2 rows and rarely more than n/100; by bytes the bound needs no parse.
            while self._queue and size < self._config.group_items * 100:
                waiting = self._queue.popleft()
                size += len(waiting.request.body)
                group.append(waiting)
            return group

    def _commit(self, requests: list[Request]) -> list[Reply | SpanwardError]:
        now = self._hooks.clock()
        limits = self._config.limits
        builders = _Builders(
            self._build(self._wanted, self._limits, now),
            MetricsBuilder(max_items=limits.max_items, max_value_bytes=limits.max_attribute_value.bytes),
        )
        read = [self._read(builders, index, request) for index, request in enumerate(requests)]
        taken = [(requests[i], outcome) for i, outcome in enumerate(read) if isinstance(outcome, Outcome)]
        if taken:
            try:
                self._spool.append(RECEIVED_FRAME, _payload(builders.table(), requests, _header(now, taken)))
                self._spool.sync()
                self._hooks.durable()
            except Fatal as error:
                self._hooks.fatal(error)
                return [error for _ in requests]
            except Retryable as error:
                return [error if isinstance(outcome, Outcome) else outcome for outcome in read]
        return [_reply(outcome) if isinstance(outcome, Outcome) else outcome for outcome in read]

    def _read(self, builders: _Builders, index: int, request: Request) -> Outcome | SpanwardError:
        try:
            body = inflate(request.body, request.encoding, self._config.limits.max_inflated.bytes)
            if request.as_json:
                body = from_json(body, request.signal)
            if request.signal == "metrics":
                return builders.metrics.add(index, body)
            limit = self._config.limits.max_items
            if len(body) > 2 * limit and item_count(body, limit) > limit:
                raise Permanent(
                    f"The request holds more than limits.max_items ({limit}) rows.", fix="Send smaller batches."
                )
            items = builders.items
            return (items.add_traces if request.signal == "traces" else items.add_logs)(index, body)
        except SpanwardError as error:
            return error


def _reply(outcome: Outcome) -> Reply:
    rejected = sum(outcome.rejected.values())
    return Reply(outcome.received - rejected, rejected, outcome.warnings)


def _header(now: int, taken: list[tuple[Request, Outcome]]) -> Frame:
    received: dict[str, int] = {}
    rejected: dict[str, dict[str, int]] = {}
    not_stored: dict[str, int] = {}
    for request, outcome in taken:
        received[request.signal] = received.get(request.signal, 0) + outcome.received
        if outcome.not_stored:
            not_stored[request.signal] = not_stored.get(request.signal, 0) + outcome.not_stored
        for reason, count in outcome.rejected.items():
            reasons = rejected.setdefault(request.signal, {})
            reasons[reason] = reasons.get(reason, 0) + count
    return Frame(now, received, rejected, not_stored)


def _payload(table: pa.Table, requests: list[Request], header: Frame) -> bytes:
    """The rows with their senders' identity, as an Arrow IPC stream with the header in its metadata.

    `agent` is null where the credential names none.
    LZ4, because a frame lives for seconds and zstd costs more than decoding did.
    """
    which = table["request"].combine_chunks()
    identity = zip(*(_identity(request.sender) for request in requests), strict=True)
    for name, values in zip(IDENTITY_COLUMNS, identity, strict=True):
        table = table.append_column(name, pa.array(values, pa.string()).take(which))
    table = table.drop_columns(["request"]).replace_schema_metadata({"header": msgspec.json.encode(header)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _identity(sender: Sender) -> tuple[str, str, str | None, str]:
    """What `IDENTITY_COLUMNS` hold of a sender."""
    path = sender.path
    agent = path.agent if isinstance(path, AgentPath) else None
    return path.org, path.tenant, agent, sender.credential_id


def read_payload(payload: bytes) -> tuple[Frame, pa.Table]:
    """Header and rows of one spool frame."""
    table = pa.ipc.open_stream(payload).read_all()
    return msgspec.json.decode(table.schema.metadata[b"header"], type=Frame), table


def _answer(group: list[_Waiting], answers: list[Reply | SpanwardError]) -> None:
    """Hand each answer to its own event loop, one call a loop."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Reply], Reply | SpanwardError]]] = {}
    for waiting, answer in zip(group, answers, strict=True):
        loops.setdefault(waiting.future.get_loop(), []).append((waiting.future, answer))
    for loop, pairs in loops.items():
        loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: list[tuple[asyncio.Future[Reply], Reply | SpanwardError]]) -> None:
    for future, answer in pairs:
        if future.cancelled():
            continue
        if isinstance(answer, Reply):
            future.set_result(answer)
        else:
            future.set_exception(answer)
