"""Bytes of a traces request → cells of the wanted values, in kernels that Numba compiles.

Invariants: what is taken here upb takes too, and reads the same; every read is checked against the
end of its message, every message against the end of its parent. The kernels know the *plain* form
only, which is what SDKs and collectors send: short tags, each entry a key and then its value, each
AnyValue one field, wanted text as text, wanted counts as integers, a valid identity, a possible time,
nothing over a limit. They refuse nothing and mark nothing: a request that is not plain is given up
whole, with nothing kept, and left to `decode.TableBuilder`.

All kernels are in this one file because Numba's cache watches only the file of the kernel it stores.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numba import njit

# Columns every row has; the wanted keys' columns follow. The first `BINARY` of them are bytes.
TRACE_ID, SPAN_ID, PARENT, NAME, SERVICE, SCOPE, VERSION = range(7)
BINARY = 3
FIXED = 7

# Rows of `Sheet.numbers`.
KIND, START, END, STATUS = range(4)

# Places in `Sheet.cursor`: rows, cells and arena bytes used; bytes of text all cells together stand for.
ROWS, CELLS, ARENA, TEXT = range(4)

# Places in `Sheet.limits`.
MAX_ATTRIBUTES, MAX_VALUE_BYTES, LATEST_NS = range(3)

# A cell names its column in its low bits, its row above; text is its start and length in the arena.
COLUMN_BITS = 10
_COLUMN_MASK = (1 << COLUMN_BITS) - 1
_LENGTH_MASK = (1 << 32) - 1

# Arrow's offsets are 32 bits wide, and `_put` may write seven bytes past the end of a text.
TEXT_BYTES_MAX = 2**31 - 1
SLACK_BYTES = 8

HASH_FACTOR = 0x9E3779B97F4A7C1
_EVERY_HIGH_BIT = -0x7F7F7F7F7F7F7F80

# protobuf's own limit is 100 messages; nine are used up above the first list or map, and a level of a map takes three.
_NESTING_MAX = 16

# Field numbers `wire` declares, as bits: under a wire type of another kind upb keeps them as unknown.
_REQUEST_FIELDS = 1 << 1
_RESOURCE_SPANS_FIELDS = 1 << 1 | 1 << 2
_RESOURCE_FIELDS = 1 << 1
_SCOPE_FIELDS = 1 << 1 | 1 << 2
_STATUS_FIELDS = 1 << 2 | 1 << 3
_SPAN_FIELDS = 0b1000_0011_1111_0110

# Rows of `Sheet.note` after a span's fields by their numbers: first and last byte of what its scope and resource say.
_NOTE_SERVICE, _NOTE_SCOPE, _NOTE_VERSION = 16, 17, 18
NOTES = 19


class Vector(Protocol):
    """An array as a kernel sees it: its elements are machine integers."""

    @property
    def size(self) -> int: ...

    def __getitem__(self, at: int, /) -> int: ...

    def __setitem__(self, at: int, value: int, /) -> None: ...


class Grid(Protocol):
    """The same with two dimensions."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, at: tuple[int, int], /) -> int: ...

    def __setitem__(self, at: tuple[int, int], value: int, /) -> None: ...


class Keys(NamedTuple):
    """The wanted keys as a hash table with open addressing; the key "service.name" begins `names`."""

    slots: Grid
    """Column (-1: empty), start in `names`, length."""
    names: Vector
    counts: Vector
    """By column: 1 where it holds counts, 0 where text."""


class Sheet(NamedTuple):
    """What the walk writes: cells in the order they were met, their text in one arena."""

    limits: Vector
    cursor: Vector
    cells: Grid
    numbers: Grid
    arena: Vector
    seen: Vector
    """By column: the last row that has it, so that a key given twice is noticed."""
    note: Grid
    """Fields of the message at hand, by number: start and end, or the number itself."""


Kernel = TypeVar("Kernel", bound=Callable[..., object])


def _kernel(function: Kernel) -> Kernel:
    return njit(nogil=True)(function)


def _entry(function: Kernel) -> Kernel:
    """A kernel Python calls: kept on disk for the next start, if there is a folder to keep it in."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


@_kernel
def _word(data: Vector, at: int) -> int:
    """Eight bytes, little-endian; zeros beyond the end. LLVM makes one load of the loop."""
    value = np.int64(0)
    if at + 8 <= data.size:
        for i in range(8):
            value |= np.int64(data[np.uint64(at) + np.uint64(i)]) << (8 * i)
    else:
        for i in range(data.size - at):
            value |= np.int64(data[at + i]) << (8 * i)
    return value


@_kernel
def _put(data: Vector, at: int, word: int) -> None:
    """Write eight bytes, as many of them as fit. LLVM makes one store of the loop."""
    if at + 8 <= data.size:
        for i in range(8):
            data[np.uint64(at) + np.uint64(i)] = np.uint8(word >> (8 * i))
    else:
        for i in range(data.size - at):
            data[at + i] = np.uint8(word >> (8 * i))


@_kernel
def _copy(source: Vector, start: int, size: int, target: Vector, at: int) -> None:
    for i in range(0, size, 8):
        _put(target, at + i, _word(source, start + i))


@_kernel
def _varint(body: Vector, at: int, end: int) -> tuple[int, int]:
    """A number and the place after it; a place of -1 if it does not end within ten bytes and its message."""
    value, shift = np.int64(0), 0
    while at < end and shift < 70:
        byte = np.int64(body[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at if shift < 63 or byte == 1 else -1
        shift += 7
    return value, -1


@_kernel
def _length(body: Vector, at: int, end: int) -> tuple[int, int]:
    """First byte of a delimited field and the place after its last; -1 and -1 unless it fits its message."""
    if at < end and body[at] < 128:
        size, start = np.int64(body[at]), at + 1
    else:
        size, start = _varint(body, at, end)
        if start < 0 or start - at > 5:
            return -1, -1
    if size < 0 or size > end - start:
        return -1, -1
    return start, start + size


@_kernel
def _unknown(body: Vector, at: int, end: int, known: int) -> int:
    """The place after a field `wire` does not declare; -1 for a declared one, a group, or a long tag."""
    kind, number = body[at] & 7, body[at] >> 3
    at += 1
    if number >= 16:
        if at == end or body[at] == 0 or body[at] >= 128:
            return -1
        number = number & 15 | np.int64(body[at]) << 4
        at += 1
    elif number == 0 or known >> number & 1:
        return -1
    if kind == 0:
        _, at = _varint(body, at, end)
    elif kind == 2:
        _, at = _length(body, at, end)
    elif kind == 1:
        at += 8
    elif kind == 5:
        at += 4
    else:
        return -1
    return at if at <= end else -1


@_kernel
def _is_text(body: Vector, at: int, end: int) -> bool:
    """UTF-8 as the Unicode standard defines it (table 3-7), which proto3 demands of every string."""
    while end - at >= 8 and not _word(body, at) & _EVERY_HIGH_BIT:
        at += 8
    while at < end:
        lead = body[at]
        if lead < 0x80:
            at += 1
            continue
        more = 1 if 0xC2 <= lead < 0xE0 else 2 if 0xE0 <= lead < 0xF0 else 3 if 0xF0 <= lead < 0xF5 else 0
        if more == 0 or end - at <= more:
            return False
        low = 0xA0 if lead == 0xE0 else 0x90 if lead == 0xF0 else 0x80
        high = 0x9F if lead == 0xED else 0x8F if lead == 0xF4 else 0xBF
        if not low <= body[at + 1] <= high:
            return False
        for i in range(2, more + 1):
            if body[at + i] & 0xC0 != 0x80:
                return False
        at += more + 1
    return True


def key_hash(last_word: int, size: int) -> int:
    """Where the search for a key begins, before the table's mask; the same in Python and in a kernel."""
    return ((last_word ^ size << 40) * HASH_FACTOR) >> 32


_key_hash = _kernel(key_hash)


@_kernel
def _find(body: Vector, at: int, end: int, keys: Keys) -> int:
    """The wanted key's slot, or -1."""
    size = end - at
    mask = keys.slots.shape[0] - 1
    place = _key_hash(_word(body, end - 8) if size >= 8 else 0, size)
    while True:
        place &= mask
        if keys.slots[place, 0] < 0:
            return -1
        if keys.slots[place, 2] == size and _same(body, at, keys.names, keys.slots[place, 1], size):
            return place
        place += 1


@_kernel
def _same(body: Vector, at: int, names: Vector, start: int, size: int) -> bool:
    for i in range(0, size - 7, 8):
        if _word(body, at + i) != _word(names, start + i):
            return False
    for i in range(size & ~7, size):
        if body[at + i] != names[start + i]:
            return False
    return True


@_kernel
def _pair(body: Vector, at: int, end: int) -> tuple[int, int, int]:
    """An entry that is a key and perhaps a value: the key's bounds, the value's start (`end`: none); -1 if it is not."""
    if at == end or body[at] != 0x0A:
        return -1, -1, -1
    key, after = _length(body, at + 1, end)
    if after < 0 or after == end:
        return key, after, after
    if body[after] != 0x12:
        return -1, -1, -1
    value, stop = _length(body, after + 1, end)
    return (key, after, value) if stop == end else (-1, -1, -1)


@_kernel
def _scalar(body: Vector, at: int, end: int) -> bool:
    """An AnyValue that is empty or one text, number, boolean or byte string, and nothing else."""
    if at == end:
        return True
    tag = body[at]
    if tag == 0x0A:
        start, stop = _length(body, at + 1, end)
        return stop == end and _is_text(body, start, stop)
    if tag == 0x10 or tag == 0x18:
        _, stop = _varint(body, at + 1, end)
        return stop == end
    if tag == 0x3A:
        _, stop = _length(body, at + 1, end)
        return stop == end
    return tag == 0x21 and end - at == 9


@_kernel
def _nested(body: Vector, at: int, end: int) -> bool:
    """An AnyValue that is a list or map of such values, to `_NESTING_MAX` levels."""
    ends = np.empty((_NESTING_MAX, 2), np.int64)
    depth = -1
    stop, is_map = end, False
    while True:
        if at < stop and (body[at] == 0x2A or body[at] == 0x32):
            depth += 1
            if depth == _NESTING_MAX:
                return False
            is_map = body[at] == 0x32
            at, inner = _length(body, at + 1, stop)
            if inner != stop:
                return False
            ends[depth, 0], ends[depth, 1] = stop, is_map
        elif _scalar(body, at, stop):
            at = stop
        else:
            return False
        while depth >= 0 and at == ends[depth, 0]:
            depth -= 1
        if depth < 0:
            return at == end
        if body[at] != 0x0A:
            return False
        at, stop = _length(body, at + 1, ends[depth, 0])
        if stop < 0:
            return False
        if ends[depth, 1]:
            key, after, at = _pair(body, at, stop)
            if at < 0 or not _is_text(body, key, after):
                return False


@_kernel
def _value(body: Vector, at: int, end: int, limits: Vector) -> bool:
    """An AnyValue nobody wants: plain, and too small to exceed the limit however protobuf would write it."""
    size = end - at
    if size > 0 and (body[at] == 0x2A or body[at] == 0x32):
        # A map's entry without a value grows by half when it is written again.
        return 4 * size <= limits[MAX_VALUE_BYTES] and _nested(body, at, end)
    return size <= limits[MAX_VALUE_BYTES] and _scalar(body, at, end)


@_kernel
def _cell(sheet: Sheet, column: int, row: int, value: int) -> bool:
    """Note what a column holds at a row; False when the sheet is full."""
    cell = sheet.cursor[CELLS]
    if cell >= sheet.cells.shape[0]:
        return False
    sheet.cells[cell, 0] = row << COLUMN_BITS | column
    sheet.cells[cell, 1] = value
    sheet.cursor[CELLS] = cell + 1
    return True


@_kernel
def _keep(body: Vector, at: int, end: int, sheet: Sheet) -> int:
    """Copy text into the arena; what a cell says of it."""
    start, size = sheet.cursor[ARENA], end - at
    _copy(body, at, size, sheet.arena, start)
    sheet.cursor[ARENA] = start + size
    sheet.cursor[TEXT] += size
    return start << 32 | size


@_kernel
def _wanted(body: Vector, at: int, end: int, column: int, sheet: Sheet) -> bool:
    """A wanted attribute of the span at hand that is text."""
    if at == end or body[at] != 0x0A or end - at > sheet.limits[MAX_VALUE_BYTES]:
        return False
    start, stop = _length(body, at + 1, end)
    if stop != end or not _is_text(body, start, end):
        return False
    return _cell(sheet, column, sheet.cursor[ROWS], _keep(body, start, end, sheet))


@_kernel
def _attribute(body: Vector, at: int, end: int, keys: Keys, sheet: Sheet) -> bool:
    """One entry of a span's attributes."""
    key, after, value = _pair(body, at, end)
    if value < 0:
        return False
    slot = _find(body, key, after, keys)
    if slot < 0:
        return _is_text(body, key, after) and _value(body, value, end, sheet.limits)
    column, row = keys.slots[slot, 0], sheet.cursor[ROWS]
    if sheet.seen[column] == row:
        return False
    sheet.seen[column] = row
    if not keys.counts[column]:
        return _wanted(body, value, end, column, sheet)
    if value == end or body[value] != 0x18 or end - value > sheet.limits[MAX_VALUE_BYTES]:
        return False
    count, stop = _varint(body, value + 1, end)
    return stop == end and count >= 0 and _cell(sheet, column, row, count)


@_kernel
def _span(body: Vector, at: int, end: int, keys: Keys, sheet: Sheet) -> bool:
    """One span: attributes are read as they come, other fields noted, and the row is written last."""
    note, attributes = sheet.note, 0
    note[:16] = 0
    while at < end:
        tag = body[at]
        field = tag >> 3
        if tag == 0x4A:
            start, at = _length(body, at + 1, end)
            attributes += 1
            if at < 0 or not _attribute(body, start, at, keys, sheet):
                return False
        elif tag == 0x0A or tag == 0x12 or tag == 0x22 or tag == 0x2A:
            start, at = _length(body, at + 1, end)
            if at < 0 or (tag == 0x2A and not _is_text(body, start, at)):
                return False
            note[field, 0], note[field, 1] = start, at
        elif tag == 0x39 or tag == 0x41:
            if end - at < 9:
                return False
            note[field, 0] = _word(body, at + 1)
            at += 9
        elif tag == 0x30:
            note[field, 0], at = _varint(body, at + 1, end)
            if at < 0:
                return False
        elif tag == 0x7A:
            start, at = _length(body, at + 1, end)
            if at < 0 or not _status(body, start, at, note):
                return False
        else:
            at = _unknown(body, at, end, _SPAN_FIELDS)
            if at < 0:
                return False
    return attributes <= sheet.limits[MAX_ATTRIBUTES] and _row(body, sheet)


@_kernel
def _status(body: Vector, at: int, end: int, note: Grid) -> bool:
    while at < end:
        if body[at] == 0x18:
            note[15, 0], at = _varint(body, at + 1, end)
        elif body[at] == 0x12:
            start, at = _length(body, at + 1, end)
            if at >= 0 and not _is_text(body, start, at):
                return False
        else:
            at = _unknown(body, at, end, _STATUS_FIELDS)
        if at < 0:
            return False
    return True


@_kernel
def _row(body: Vector, sheet: Sheet) -> bool:
    """The noted fields as a row; False unless it has an identity, a time that is past, and room."""
    note, row = sheet.note, sheet.cursor[ROWS]
    trace, span, parent, name = note[1, 0], note[2, 0], note[4, 0], note[5, 0]
    start, end = note[7, 0], note[8, 0]
    if note[1, 1] - trace != 16 or not (_word(body, trace) | _word(body, trace + 8)):
        return False
    if note[2, 1] - span != 8 or not _word(body, span):
        return False
    # A time of 2**63 ns or more is negative here.
    if not 0 < start <= sheet.limits[LATEST_NS] or row == sheet.numbers.shape[1]:
        return False
    if note[5, 1] - name > sheet.limits[MAX_VALUE_BYTES]:
        return False
    sheet.numbers[KIND, row] = _int32(note[6, 0])
    sheet.numbers[STATUS, row] = _int32(note[15, 0])
    sheet.numbers[START, row] = start
    sheet.numbers[END, row] = max(end, start) if end >= 0 else 2**63 - 1
    full = not _cell(sheet, TRACE_ID, row, _keep(body, trace, trace + 16, sheet))
    full |= not _cell(sheet, SPAN_ID, row, _keep(body, span, span + 8, sheet))
    full |= not _cell(sheet, NAME, row, _keep(body, name, note[5, 1], sheet))
    if note[4, 1] > parent:
        full |= not _cell(sheet, PARENT, row, _keep(body, parent, note[4, 1], sheet))
    sheet.cursor[ROWS] = row + 1
    return not full


@_kernel
def _int32(value: int) -> int:
    return ((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


@_kernel
def _fill(body: Vector, note_row: int, column: int, first: int, sheet: Sheet) -> bool:
    """Give what a scope or resource says to all its rows, now that it has been read whole."""
    at, end = sheet.note[note_row, 0], sheet.note[note_row, 1]
    if at < 0:
        return True
    text = _keep(body, at, end, sheet)
    rows = sheet.cursor[ROWS] - first
    sheet.cursor[TEXT] += (rows - 1) * (end - at)
    for row in range(first, first + rows):
        if not _cell(sheet, column, row, text):
            return False
    return True


@_kernel
def _scope(body: Vector, at: int, end: int, note: Grid) -> bool:
    while at < end:
        tag = body[at]
        if tag == 0x0A or tag == 0x12:
            start, at = _length(body, at + 1, end)
            if at < 0 or not _is_text(body, start, at):
                return False
            place = _NOTE_SCOPE if tag == 0x0A else _NOTE_VERSION
            note[place, 0], note[place, 1] = start if at > start else -1, at
        else:
            at = _unknown(body, at, end, _SCOPE_FIELDS)
            if at < 0:
                return False
    return True


@_kernel
def _scope_spans(body: Vector, at: int, end: int, keys: Keys, sheet: Sheet) -> bool:
    first = sheet.cursor[ROWS]
    sheet.note[_NOTE_SCOPE, 0] = sheet.note[_NOTE_VERSION, 0] = -1
    while at < end:
        tag = body[at]
        if tag == 0x12:
            start, at = _length(body, at + 1, end)
            if at < 0 or not _span(body, start, at, keys, sheet):
                return False
        elif tag == 0x0A:
            start, at = _length(body, at + 1, end)
            if at < 0 or not _scope(body, start, at, sheet.note):
                return False
        else:
            at = _unknown(body, at, end, _SCOPE_FIELDS)
            if at < 0:
                return False
    return _fill(body, _NOTE_SCOPE, SCOPE, first, sheet) and _fill(body, _NOTE_VERSION, VERSION, first, sheet)


@_kernel
def _resource(body: Vector, at: int, end: int, keys: Keys, sheet: Sheet) -> bool:
    """Attributes of a resource, of which "service.name" is noted; it must be text and given once."""
    while at < end:
        if body[at] != 0x0A:
            at = _unknown(body, at, end, _RESOURCE_FIELDS)
            if at < 0:
                return False
            continue
        start, at = _length(body, at + 1, end)
        if at < 0:
            return False
        key, after, value = _pair(body, start, at)
        if value < 0 or not _is_text(body, key, after) or not _value(body, value, at, sheet.limits):
            return False
        if after - key == 12 and _same(body, key, keys.names, 0, 12):
            if sheet.note[_NOTE_SERVICE, 0] >= 0 or value == at or body[value] != 0x0A:
                return False
            text, _ = _length(body, value + 1, at)
            sheet.note[_NOTE_SERVICE, 0], sheet.note[_NOTE_SERVICE, 1] = text, at
    return True


@_kernel
def _resource_spans(body: Vector, at: int, end: int, keys: Keys, sheet: Sheet) -> bool:
    first = sheet.cursor[ROWS]
    sheet.note[_NOTE_SERVICE, 0] = -1
    while at < end:
        tag = body[at]
        if tag == 0x12:
            start, at = _length(body, at + 1, end)
            if at < 0 or not _scope_spans(body, start, at, keys, sheet):
                return False
        elif tag == 0x0A:
            start, at = _length(body, at + 1, end)
            if at < 0 or not _resource(body, start, at, keys, sheet):
                return False
        else:
            at = _unknown(body, at, end, _RESOURCE_SPANS_FIELDS)
            if at < 0:
                return False
    return _fill(body, _NOTE_SERVICE, SERVICE, first, sheet)


@_entry
def walk(body: Vector, keys: Keys, sheet: Sheet) -> bool:
    """Add a request's spans to the sheet; False, with the sheet as it was, unless all of it is plain."""
    sheet.seen[:] = -1
    before = sheet.cursor.copy()
    at, end, plain = 0, body.size, True
    while plain and at < end:
        if body[at] == 0x0A:
            start, at = _length(body, at + 1, end)
            plain = at >= 0 and _resource_spans(body, start, at, keys, sheet)
        else:
            at = _unknown(body, at, end, _REQUEST_FIELDS)
            plain = at >= 0
    if not plain or sheet.cursor[TEXT] > TEXT_BYTES_MAX:
        sheet.cursor[:] = before
        return False
    return True
