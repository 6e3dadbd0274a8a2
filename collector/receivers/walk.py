"""Bytes of a traces request → cells of the wanted values → Arrow buffers, in kernels that Numba compiles.

Invariants: a request is read whole or not at all; it is read only if it is plain (`plain`) and
unremarkable: every span has an identity and a possible time, wanted text is text and wanted counts
are integers, no key is wanted twice, nothing is over a limit. The kernels refuse nothing and mark
nothing: what is not so is left to `decode.TableBuilder`.

A sheet is rows of two numbers: first its state, then its cells. A cell is a column at a row, and its
value; text lies in the arena, and the value says where.
"""

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numba import njit

from collector.receivers import plain
from collector.receivers.plain import NESTING_MAX, Grid, Vector, copy, is_text, kernel, length, nested, pair, scalar, unknown, varint, word

# Columns every row has; those of the wanted keys follow. Three of bytes, four of text, then numbers.
TRACE_ID, SPAN_ID, PARENT, NAME, SERVICE, SCOPE, VERSION, KIND, START, END, STATUS, WANTED = range(12)

# Rows of a sheet: the limits, in their first number; what is used of the sheet and its arena, and the bytes of text
# in all columns; the fields of the span at hand, by number, and what its resource and scope say: start and end in the
# body, or the number itself; by column, the last row that has it. Cells follow.
MAX_ATTRIBUTES, MAX_VALUE_BYTES, LATEST_NS, ROWS, USED, ARENA, TEXT, FIELD = range(8)
_SERVICE_NAME, _SCOPE_NAME, _SCOPE_VERSION, _LEVEL = range(FIELD + 16, FIELD + 20)
SEEN = _LEVEL + NESTING_MAX

# A key's row in the table: its column (-1: the row is free), whether it counts, its length, its words.
KEY_COLUMN, KEY_COUNTS, KEY_SIZE, KEY_WORDS = range(4)

# A cell's column is in the low bits, its row above; so are a text's length and its start.
COLUMN_BITS = 12
LENGTH_BITS = 32
_LENGTH_MASK = (1 << LENGTH_BITS) - 1

# Arrow's offsets are 32 bits wide, and `copy` may write seven bytes after a text.
TEXT_BYTES_MAX = 2**31 - 1
SLACK_BYTES = 8

# Fields that `wire` declares, as bits by number.
_RESOURCE_SPANS_FIELDS = _SCOPE_SPANS_FIELDS = _SCOPE_FIELDS = 0b110
_REQUEST_FIELDS = _RESOURCE_FIELDS = 0b10
_STATUS_FIELDS = 0b1100
_SPAN_FIELDS = 0b1000_0011_1111_0110


def key_hash(first: int, second: int, size: int) -> int:
    """Where the search for a key begins, before the table's mask; the same in Python and in a kernel."""
    return (first * 0x5851F42D4C957F2D + second * 0x2545F4914F6CDD1D + size * 0x14057B7EF767814F) >> 48


_key_hash = kernel(key_hash)


@kernel
def _tail(body: Vector, at: int, size: int) -> int:
    """Fewer than eight bytes."""
    return word(body, at) & ((1 << 8 * size) - 1)


@kernel
def _find(body: Vector, at: int, end: int, keys: Grid) -> int:
    """The key's place in the table, or the free one where it would be. Its last sixteen bytes lead there."""
    size = end - at
    if size >= 8:
        place = _key_hash(word(body, end - 8), word(body, end - 16 if size >= 16 else at), size)
    else:
        place = _key_hash(_tail(body, at, size), 0, size)
    # The last row is no place of the table: it holds "service.name".
    mask = keys.shape[0] - 2
    while keys[place & mask, KEY_COLUMN] >= 0 and not _is_key(body, at, size, keys, place & mask):
        place += 1
    return place & mask


@kernel
def _is_key(body: Vector, at: int, size: int, keys: Grid, place: int) -> bool:
    if keys[place, KEY_SIZE] != size:
        return False
    words, rest = size >> 3, size & 7
    for i in range(words):
        if word(body, at + 8 * i) != keys[place, KEY_WORDS + i]:
            return False
    return rest == 0 or _tail(body, at + 8 * words, rest) == keys[place, KEY_WORDS + words]


@kernel
def _is_small(body: Vector, at: int, end: int, sheet: Grid) -> bool:
    """A plain AnyValue that stays within the limit however protobuf would write it."""
    size, limit = end - at, sheet[MAX_VALUE_BYTES, 0]
    if size > 0 and (body[at] == 0x2A or body[at] == 0x32):
        # A map's entry without a value grows by half when it is written again.
        return 4 * size <= limit and nested(body, at, end, sheet, _LEVEL)
    return size <= limit and scalar(body, at, end)


@kernel
def _cell(column: int, value: int, sheet: Grid) -> None:
    """Note a number, or the bounds of a text, at the row at hand; a cell for which there is no room only counts."""
    cell = sheet[USED, 0]
    if cell < sheet.shape[0]:
        sheet[cell, 0] = sheet[ROWS, 0] << COLUMN_BITS | column
        sheet[cell, 1] = value
    sheet[USED, 0] = cell + 1


@kernel
def _attribute(body: Vector, at: int, end: int, keys: Grid, sheet: Grid) -> bool:
    """One entry of a span's attributes; a wanted one becomes a cell."""
    key, after, value = pair(body, at, end)
    if value < 0:
        return False
    place = _find(body, key, after, keys)
    column = keys[place, KEY_COLUMN]
    if column < 0:
        return is_text(body, key, after) and _is_small(body, value, end, sheet)
    if sheet[SEEN + column, 0] == sheet[ROWS, 0] or value == end or end - value > sheet[MAX_VALUE_BYTES, 0]:
        return False
    sheet[SEEN + column, 0] = sheet[ROWS, 0]
    if keys[place, KEY_COUNTS]:
        count, stop = varint(body, value + 1, end)
        _cell(column, count, sheet)
        return body[value] == 0x18 and stop == end and count >= 0
    text, stop = length(body, value + 1, end)
    _cell(column, text << LENGTH_BITS | end - text, sheet)
    return body[value] == 0x0A and stop == end and is_text(body, text, end)


@kernel
def _span(body: Vector, at: int, end: int, keys: Grid, sheet: Grid) -> bool:
    """One span: attributes are read as they come, other fields are noted, and its row is written last."""
    attributes = 0
    for field in range(FIELD, FIELD + 16):
        sheet[field, 0] = sheet[field, 1] = 0
    while at < end:
        tag = body[at]
        field = FIELD + (tag >> 3)
        if tag == 0x4A:
            start, at = length(body, at + 1, end)
            attributes += 1
            if at < 0 or not _attribute(body, start, at, keys, sheet):
                return False
        elif tag == 0x0A or tag == 0x12 or tag == 0x22 or tag == 0x2A:
            start, at = length(body, at + 1, end)
            if at < 0 or (tag == 0x2A and not is_text(body, start, at)):
                return False
            sheet[field, 0], sheet[field, 1] = start, at
        elif tag == 0x39 or tag == 0x41:
            if end - at < 9:
                return False
            sheet[field, 0] = word(body, at + 1)
            at += 9
        elif tag == 0x30:
            sheet[field, 0], at = varint(body, at + 1, end)
            if at < 0:
                return False
        elif tag == 0x7A:
            start, at = length(body, at + 1, end)
            if at < 0 or not _status(body, start, at, sheet):
                return False
        else:
            at = unknown(body, at, end, _SPAN_FIELDS)
            if at < 0:
                return False
    return attributes <= sheet[MAX_ATTRIBUTES, 0] and _row(body, sheet)


@kernel
def _status(body: Vector, at: int, end: int, sheet: Grid) -> bool:
    """The code is noted as the status field's number."""
    while at < end:
        if body[at] == 0x18:
            sheet[FIELD + 15, 0], at = varint(body, at + 1, end)
        elif body[at] == 0x12:
            start, at = length(body, at + 1, end)
            if at >= 0 and not is_text(body, start, at):
                return False
        else:
            at = unknown(body, at, end, _STATUS_FIELDS)
        if at < 0:
            return False
    return True


@kernel
def _row(body: Vector, sheet: Grid) -> bool:
    """The noted fields as cells; False unless they are an identity and a time that may be."""
    trace, span, parent, name = sheet[FIELD + 1, 0], sheet[FIELD + 2, 0], sheet[FIELD + 4, 0], sheet[FIELD + 5, 0]
    if sheet[FIELD + 1, 1] - trace != 16 or not word(body, trace) | word(body, trace + 8):
        return False
    if sheet[FIELD + 2, 1] - span != 8 or not word(body, span):
        return False
    # A time of 2**63 ns or more is negative here.
    start, end = sheet[FIELD + 7, 0], sheet[FIELD + 8, 0]
    if not 0 < start <= sheet[LATEST_NS, 0]:
        return False
    name_size, parent_size = sheet[FIELD + 5, 1] - name, sheet[FIELD + 4, 1] - parent
    if name_size > sheet[MAX_VALUE_BYTES, 0]:
        return False
    _cell(TRACE_ID, trace << LENGTH_BITS | 16, sheet)
    _cell(SPAN_ID, span << LENGTH_BITS | 8, sheet)
    if parent_size > 0:
        _cell(PARENT, parent << LENGTH_BITS | parent_size, sheet)
    _cell(NAME, name << LENGTH_BITS | name_size, sheet)
    _cell(KIND, _int32(sheet[FIELD + 6, 0]), sheet)
    _cell(START, start, sheet)
    _cell(END, max(end, start) if end >= 0 else 2**63 - 1, sheet)
    _cell(STATUS, _int32(sheet[FIELD + 15, 0]), sheet)
    sheet[ROWS, 0] += 1
    return True


@kernel
def _int32(value: int) -> int:
    return ((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


@kernel
def _share(note: int, column: int, first: int, sheet: Grid) -> None:
    """Give what a scope or resource says to all its rows, now that it has been read whole."""
    start, end, rows = sheet[note, 0], sheet[note, 1], sheet[ROWS, 0]
    if start >= 0:
        for row in range(first, rows):
            sheet[ROWS, 0] = row
            _cell(column, start << LENGTH_BITS | end - start, sheet)
        sheet[ROWS, 0] = rows


@kernel
def _scope(body: Vector, at: int, end: int, sheet: Grid) -> bool:
    while at < end:
        tag = body[at]
        if tag == 0x0A or tag == 0x12:
            start, at = length(body, at + 1, end)
            if at < 0 or not is_text(body, start, at):
                return False
            note = _SCOPE_NAME if tag == 0x0A else _SCOPE_VERSION
            sheet[note, 0], sheet[note, 1] = start if at > start else -1, at
        else:
            at = unknown(body, at, end, _SCOPE_FIELDS)
            if at < 0:
                return False
    return True


@kernel
def _scope_spans(body: Vector, at: int, end: int, keys: Grid, sheet: Grid) -> bool:
    first = sheet[ROWS, 0]
    sheet[_SCOPE_NAME, 0] = sheet[_SCOPE_VERSION, 0] = -1
    while at < end:
        tag = body[at]
        if tag == 0x12:
            start, at = length(body, at + 1, end)
            if at < 0 or not _span(body, start, at, keys, sheet):
                return False
        elif tag == 0x0A:
            start, at = length(body, at + 1, end)
            if at < 0 or not _scope(body, start, at, sheet):
                return False
        else:
            at = unknown(body, at, end, _SCOPE_SPANS_FIELDS)
            if at < 0:
                return False
    _share(_SCOPE_NAME, SCOPE, first, sheet)
    _share(_SCOPE_VERSION, VERSION, first, sheet)
    return True


@kernel
def _resource(body: Vector, at: int, end: int, keys: Grid, sheet: Grid) -> bool:
    """Attributes of a resource, of which "service.name" is noted; it must be text and given once."""
    while at < end:
        if body[at] != 0x0A:
            at = unknown(body, at, end, _RESOURCE_FIELDS)
            if at < 0:
                return False
            continue
        start, at = length(body, at + 1, end)
        if at < 0:
            return False
        key, after, value = pair(body, start, at)
        if value < 0 or not is_text(body, key, after) or not _is_small(body, value, at, sheet):
            return False
        if _is_key(body, key, after - key, keys, keys.shape[0] - 1):
            if sheet[_SERVICE_NAME, 0] >= 0 or value == at or body[value] != 0x0A:
                return False
            sheet[_SERVICE_NAME, 0], sheet[_SERVICE_NAME, 1] = length(body, value + 1, at)
    return True


@kernel
def _resource_spans(body: Vector, at: int, end: int, keys: Grid, sheet: Grid) -> bool:
    first = sheet[ROWS, 0]
    sheet[_SERVICE_NAME, 0] = -1
    while at < end:
        tag = body[at]
        if tag == 0x12:
            start, at = length(body, at + 1, end)
            if at < 0 or not _scope_spans(body, start, at, keys, sheet):
                return False
        elif tag == 0x0A:
            start, at = length(body, at + 1, end)
            if at < 0 or not _resource(body, start, at, keys, sheet):
                return False
        else:
            at = unknown(body, at, end, _RESOURCE_SPANS_FIELDS)
            if at < 0:
                return False
    _share(_SERVICE_NAME, SERVICE, first, sheet)
    return True


@kernel
def _keep(body: Vector, first: int, sheet: Grid, arena: Vector) -> Vector:
    """Copy the text of the cells from `first` on into the arena, which may have to grow."""
    need = sheet[ARENA, 0] + body.size + SLACK_BYTES
    if need > arena.size:
        larger = np.empty(2 * need, np.uint8)
        larger[: sheet[ARENA, 0]] = arena[: sheet[ARENA, 0]]
        arena = larger
    return arena


@njit(nogil=True)
def walk(body: Vector, keys: Grid, sheet: Grid) -> bool:
    """Add a request's spans to the sheet; False, with the sheet as it was, unless all of it is plain."""
    rows, used = sheet[ROWS, 0], sheet[USED, 0]
    at, end, taken = 0, body.size, body.size >= 8
    while taken and at < end:
        if body[at] == 0x0A:
            start, at = length(body, at + 1, end)
            taken = at >= 0 and _resource_spans(body, start, at, keys, sheet)
        else:
            at = unknown(body, at, end, _REQUEST_FIELDS)
            taken = at >= 0
    if not taken or sheet[USED, 0] > sheet.shape[0]:
        sheet[ROWS, 0], sheet[USED, 0] = rows, used
        return False
    return True
