"""OTLP requests → the table `decode` makes of them, many times as fast where nothing is remarkable.

Invariant: for every input the table and the outcomes equal those of `decode.TableBuilder`, because a
request the kernels of `walk` cannot read, or in which there is anything to refuse, to mark or to warn
about, is given to a `TableBuilder` whole. So are logs.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from collector.receivers.content_id import SUFFIX, content_id, content_key
from collector.receivers.decode import (
    AGENT_KEYS,
    BASE_FIELDS,
    HOST_KEYS,
    MAX_TIME_NS,
    SERVICE_KEY,
    Outcome,
    RowLimits,
    TableBuilder,
    Wire,
)
from collector.receivers.kernels import pack, walk
from collector.receivers.kernels.plain import KEY_COLUMN, KEY_SIZE, KEY_WORDS, NOTED, key_hash
from collector.receivers.wire import TracesRequest

_TEXT = {
    "trace_id": walk.TRACE_ID,
    "span_id": walk.SPAN_ID,
    "parent_span_id": walk.PARENT,
    "name": walk.NAME,
    "service_name": walk.SERVICE,
    "resource_agent": walk.AGENT,
    "resource_host": walk.HOST,
    "scope_name": walk.SCOPE,
    "scope_version": walk.VERSION,
}
_NUMBERS = {"kind": walk.KIND, "start_time": walk.START, "end_time": walk.END, "status": walk.STATUS}
_BASE_NAMES = tuple(name for name, _ in BASE_FIELDS)

# A span takes 39 bytes at least and fills thirteen cells at most; a wanted attribute takes eight bytes and fills one.
_BYTES_PER_CELL = 3

Words = npt.NDArray[np.int64]
Array = TypeVar("Array", Words, npt.NDArray[np.uint8])


class _Plan(NamedTuple):
    """Which column each name has, and the wanted keys as the kernels look them up."""

    columns: Mapping[str, int]
    numbers: int
    keys: Words
    usable: bool
    """False where a wanted key bears the name of a column every row has, where a key is wanted both whole and for the
    id in it, or where there are more than cells can number."""


class _Run(NamedTuple):
    """Rows of one request, and whether the kernels read them."""

    request: int
    rows: int
    compiled: bool


class CompiledTableBuilder:
    """Rows of one commit group, filled request by request, then `table()` once. Takes the place of a `TableBuilder`.

    Owned by one thread; while the kernels work, others may run.
    """

    def __init__(self, wanted: Mapping[str, type], limits: RowLimits, now_ns: int) -> None:
        self._wanted = wanted
        self._reference = TableBuilder(wanted, limits, now_ns)
        self._plan = _plan(tuple(wanted.items()))
        self._runs: list[_Run] = []
        self._sheet = _sheet(self._plan, limits, now_ns)
        self._arena = np.empty(0, np.uint8)

    def add_traces(self, request: int, body: bytes) -> Outcome:
        """Read one ExportTraceServiceRequest; raises `Permanent` and adds nothing if it does not parse."""
        before = self.compiled_rows
        # What is reserved and never written takes no memory, so room is made for the worst case.
        self._sheet = _grown(self._sheet, self._state(walk.USED), len(body) // _BYTES_PER_CELL)
        self._arena = _grown(self._arena, self._state(walk.ARENA), len(body) + walk.SLACK_BYTES)
        data = np.frombuffer(body, np.uint8)
        if not (self._plan.usable and walk.walk(data, self._plan.keys, self._sheet, self._arena)):
            return self._refer(self._reference.add_traces, request, body)
        outcome = Outcome()
        outcome.received = self.compiled_rows - before
        self._runs.append(_Run(request, outcome.received, compiled=True))
        return outcome

    def add_logs(self, request: int, body: bytes) -> Outcome:
        """Read one ExportLogsServiceRequest; raises `Permanent` and adds nothing if it does not parse."""
        return self._refer(self._reference.add_logs, request, body)

    @property
    def compiled_rows(self) -> int:
        """How many of the rows so far the kernels read."""
        return self._state(walk.ROWS)

    def table(self) -> pa.Table:
        """All rows so far: `BASE_FIELDS`, then one column for each wanted key that was seen."""
        compiled = [run for run in self._runs if run.compiled]
        if not compiled:
            return self._reference.table()
        table = self._compiled_table(compiled)
        if len(compiled) == len(self._runs):
            return table
        both = pa.concat_tables([table, self._reference.table()], promote_options="default")
        names = [*_BASE_NAMES, *(key for key in self._wanted if key in both.column_names)]
        return both.select(names).take(_order(self._runs)).combine_chunks()

    def _refer(self, add: Callable[[int, bytes], Outcome], request: int, body: bytes) -> Outcome:
        outcome = add(request, body)
        self._runs.append(_Run(request, outcome.received - sum(outcome.rejected.values()), compiled=False))
        return outcome

    def _state(self, row: int) -> int:
        return int(self._sheet[row, 0])

    def _compiled_table(self, runs: Sequence[_Run]) -> pa.Table:
        packed = _Packed(self._plan, self._sheet, self._arena)
        requests = np.repeat(np.array([run.request for run in runs], np.int32), [run.rows for run in runs])
        fixed = {
            "request": pa.array(requests, pa.int32()),
            "signal": pa.repeat(pa.scalar("traces", pa.string()), packed.rows),
        }
        arrays = {}
        for name, kind in BASE_FIELDS:
            if name in fixed:
                arrays[name] = fixed[name]
            elif name in self._plan.columns:
                arrays[name] = packed.array(name, kind)
            else:
                arrays[name] = pa.nulls(packed.rows, kind)
        for key, python_type in self._wanted.items():
            if packed.has(key):
                array = packed.array(key, pa.int64()) if python_type is int else packed.text(key)
                array = _content_ids(array) if key.endswith(SUFFIX) else array
                if array.null_count < packed.rows:
                    arrays[key] = array
        return pa.table(arrays)


def _content_ids(contents: pa.Array) -> pa.Array:
    """The ids that stand in content, which the kernels have copied and which ends here."""
    return pa.array([None if text is None else content_id(text) for text in contents.to_pylist()], pa.string())


def warm_up() -> bool:
    """Whether the kernels, compiled for this very processor, read a specimen as the reference does."""
    wanted = {"text": str, "numeral": str, "count": int, "absent": str, "content" + SUFFIX: str}
    arguments = wanted, RowLimits(8, 100, 0), 2 * 10**18
    compiled, reference = CompiledTableBuilder(*arguments), TableBuilder(*arguments)
    for builder in (compiled, reference):
        builder.add_traces(1, _specimen(2 * 10**18))
    table = reference.table()
    return compiled.compiled_rows == len(table) and bool(compiled.table().equals(table))


def _specimen(time_ns: int) -> bytes:
    """Three spans with something of everything the kernels read."""
    message: Wire = TracesRequest()
    resource = message.resources.add()
    for key in (SERVICE_KEY, *AGENT_KEYS, *HOST_KEYS):
        resource.resource.attributes[key].string_value = "specimen"
    scope = resource.scopes.add()
    scope.scope.name = "über"
    for number in range(3):
        span = scope.items.add(name="a span" * number, kind=number, start_time_unix_nano=time_ns - number)
        span.trace_id, span.span_id, span.parent_span_id = b"\1" * 16, b"\2" * 8, b"\3" * (8 * number)
        span.end_time_unix_nano, span.status.code = time_ns + number, number
        span.attributes["text"].string_value = "日本語" * number
        span.attributes["list"].array_value.values.add().kvlist_value.values["key"].double_value = 0.5
        span.attributes["content"].string_value = '{"id": "specimen"}'
        if number:
            span.attributes["count"].int_value = 10**number
        if number == 1:
            span.attributes["numeral"].double_value = 3.555e-05
        elif number == 2:
            span.attributes["numeral"].int_value = -5
    return bytes(message.SerializeToString())


class _Packed:
    """A sheet's columns as Arrow arrays, which share one block of memory."""

    def __init__(self, plan: _Plan, sheet: Words, arena: npt.NDArray[np.uint8]) -> None:
        block, layout = pack.pack(len(plan.columns), sheet, arena)
        self._plan = plan
        self._block = pa.py_buffer(block)
        self._layout: list[list[int]] = np.asarray(layout).tolist()
        self._numerals = bool(sheet[walk.NUMERALS, 0])
        self._max_bytes = int(sheet[walk.MAX_VALUE_BYTES, 0])
        self.rows = int(sheet[walk.ROWS, 0])

    def has(self, name: str) -> bool:
        """Whether any row has a value for it."""
        return self._layout[self._plan.columns[name]][pack.CELLS] > 0

    def array(self, name: str, kind: pa.DataType) -> pa.Array:
        """The column of that name."""
        if not self.has(name):
            return pa.nulls(self.rows, kind)
        column = self._plan.columns[name]
        layout, rows = self._layout[column], self.rows
        nulls = rows - layout[pack.CELLS]
        buffers = [self._block.slice(layout[pack.BITS], (rows + 7) // 8) if nulls else None]
        if column < self._plan.numbers:
            buffers.append(self._block.slice(layout[pack.OFFSETS], 4 * (rows + 1)))
            buffers.append(self._block.slice(layout[pack.VALUES], layout[pack.BYTES]))
        else:
            buffers.append(self._block.slice(layout[pack.VALUES], 8 * rows))
        return pa.Array.from_buffers(kind, rows, buffers, nulls)

    def text(self, name: str) -> pa.Array:
        """The column of that name, in which the wire forms of numbers are written out."""
        layout = self._layout[self._plan.columns[name]]
        start, size = layout[pack.VALUES], layout[pack.BYTES]
        if not self._numerals or np.frombuffer(self._block.slice(start, size), np.uint8).max(initial=0) < _NUMERALS[0]:
            return self.array(name, pa.string())
        values = self.array(name, pa.binary()).to_pylist()
        return pa.array(
            [None if value is None else _written(value)[: self._max_bytes] for value in values], pa.string()
        )


# First bytes of numbers in columns of text, of which the lowest is above every byte of UTF-8.
_NUMERALS = _INTEGER, _DOUBLE = 0x18 + walk.NUMERAL_MARK, 0x21 + walk.NUMERAL_MARK


def _written(value: bytes) -> str:
    """A text, or a number as the reference writes it."""
    if value[:1] == bytes([_DOUBLE]):
        return msgspec.json.encode(struct.unpack("<d", value[1:])[0]).decode()
    if value[:1] != bytes([_INTEGER]):
        return value.decode()
    number = sum((byte & 127) << 7 * place for place, byte in enumerate(value[1:])) & (2**64 - 1)
    return str(number - (number >> 63 << 64))


@lru_cache(maxsize=4)
def _plan(wanted: tuple[tuple[str, type], ...]) -> _Plan:
    text = [key for key, kind in wanted if kind is not int]
    counts = [key for key, kind in wanted if kind is int]
    numbers = walk.WANTED_TEXT + len(text)
    columns = dict(_TEXT)
    columns.update((key, column) for column, key in enumerate(text, walk.WANTED_TEXT))
    columns.update((name, numbers + column) for name, column in _NUMBERS.items())
    columns.update((key, column) for column, key in enumerate(counts, numbers + walk.WANTED_COUNTS))
    keys = {content_key(key).encode(): columns[key] for key, _ in wanted}
    unique = len(keys) == len(wanted) and not {*text, *counts} & {*_BASE_NAMES}
    usable = unique and len(columns) <= 1 << walk.COLUMN_BITS
    return _Plan(columns, numbers, _table_of_keys(keys), usable)


def _table_of_keys(columns: Mapping[bytes, int]) -> Words:
    """The hash table `plain.find` searches, a quarter full at most so that most searches end where they begin."""
    places = 1 << (4 * len(columns) + 1).bit_length()
    noted = [key.encode() for key in (SERVICE_KEY, *AGENT_KEYS, *HOST_KEYS)]
    widest = max(map(len, [*columns, *noted]))
    table = np.zeros((places + NOTED, KEY_WORDS + (widest + 7) // 8), np.int64)
    table[:, KEY_COLUMN] = -1
    for key, column in columns.items():
        place = key_hash(*_last_words(key), len(key)) % places
        while table[place, KEY_COLUMN] >= 0:
            place = (place + 1) % places
        _write_key(table[place], key, column)
    for number, key in enumerate(noted):
        _write_key(table[places + number], key, 0)
    return table


def _write_key(row: Words, key: bytes, column: int) -> None:
    words = _words(key)
    row[KEY_COLUMN], row[KEY_SIZE], row[KEY_WORDS : KEY_WORDS + len(words)] = column, len(key), words


def _words(data: bytes) -> list[int]:
    return [int(word) for word in np.frombuffer(data + bytes(-len(data) % 8), "<i8")]


def _last_words(key: bytes) -> tuple[int, int]:
    """As `plain.find` takes them: the last eight bytes and the eight before, which overlap in a short key."""
    if len(key) < 8:
        return (*_words(key), 0)[0], 0
    first, second = _words(key[-8:] + (key[-16:-8] if len(key) >= 16 else key[:8]))
    return first, second


def _sheet(plan: _Plan, limits: RowLimits, now_ns: int) -> Words:
    first = walk.SEEN + len(plan.columns)
    sheet = np.zeros((first, 2), np.int64)
    sheet[walk.MAX_ATTRIBUTES, 0] = limits.max_attributes
    sheet[walk.MAX_VALUE_BYTES, 0] = limits.max_value_bytes
    sheet[walk.LATEST_NS, 0] = max(0, min(now_ns + limits.max_future_ns, MAX_TIME_NS))
    sheet[walk.NUMBERS, 0] = plan.numbers
    sheet[walk.FIRST, 0] = sheet[walk.USED, 0] = first
    sheet[walk.SEEN :, 0] = -1
    return sheet


def _grown(array: Array, used: int, more: int) -> Array:
    """An array with room for `more` after what is used of it."""
    if used + more <= len(array):
        return array
    larger = np.empty((max(used + more, 2 * len(array)), *array.shape[1:]), array.dtype)
    larger[:used] = array[:used]
    return larger


def _order(runs: Sequence[_Run]) -> Words:
    """For each row, where it is in a table that has all compiled rows first."""
    return np.concatenate(list(_places(runs)))


def _places(runs: Sequence[_Run]) -> Iterator[Words]:
    next_compiled, next_referred = 0, sum(run.rows for run in runs if run.compiled)
    for run in runs:
        start = next_compiled if run.compiled else next_referred
        yield np.arange(start, start + run.rows)
        next_compiled += run.rows if run.compiled else 0
        next_referred += 0 if run.compiled else run.rows
