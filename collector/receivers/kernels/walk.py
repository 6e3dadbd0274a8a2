"""Bytes of a traces request → cells of the wanted values, in kernels that Numba compiles.

Invariants: a request is read whole or not at all; it is read only if it is plain (`plain`) and
unremarkable: every span has an identity and a possible time, wanted text is text or a number, wanted
counts are integers, no key is wanted twice, nothing is over a limit. The kernels refuse nothing and mark
nothing: what is not so is left to `decode.TableBuilder`. Importing this module compiles it. Cells
become Arrow buffers in `pack`.

A sheet is rows of two numbers: first its state, then its cells. A cell is a column at a row, and its
value; of text the value says where it lies, in the body first and then in the arena.
"""

from collections.abc import Callable

from collector.receivers.kernels import plain
from collector.receivers.kernels.plain import Grid, Vector, kernel

# Columns of bytes and of text; those of wanted text follow, then these of numbers, then those of wanted counts.
TRACE_ID, SPAN_ID, PARENT, NAME, SERVICE, AGENT, HOST, SCOPE, VERSION, WANTED_TEXT = range(10)
KIND, START, END, STATUS, WANTED_COUNTS = range(5)

# Rows of a sheet: its limits; the first column of numbers, the first row of cells; what is used of it and of its arena,
# how much text all cells stand for, whether any is a numeral; the fields of the span at hand, by number, and what its
# resource and scope say (start and end in the body, or the number itself); where open lists and maps end; by column,
# the last row that has it.
MAX_ATTRIBUTES, MAX_VALUE_BYTES, LATEST_NS, NUMBERS, FIRST, USED, ROWS, ARENA, TEXT, NUMERALS, FIELD = range(11)
_SERVICE_NAME, _AGENT_NAME, _HOST_NAME = FIELD + 16, FIELD + 17, FIELD + 19
_SCOPE_NAME, _SCOPE_VERSION, _LEVEL = range(_SERVICE_NAME + plain.NOTED, _SERVICE_NAME + plain.NOTED + 3)
SEEN = _LEVEL + plain.NESTING_MAX

# A cell's column is in the low bits of its first number, a text's length in those of its second; the bit above the
# length says that the text is a number's wire form, the first byte of which is made one that no text has.
COLUMN_BITS = 12
LENGTH_BITS = 32
_NUMERAL = 1 << 31
NUMERAL_MARK = 0xDE
_DOUBLE, _INTEGER = 0x21, 0x18

# `copy` may write seven bytes after a text; Arrow's offsets are 32 bits wide.
SLACK_BYTES = 8
TEXT_BYTES_MAX = 2**31 - 1

# Fields that `wire` declares, as bits by number.
_RESOURCE_SPANS_FIELDS = _SCOPE_SPANS_FIELDS = _SCOPE_FIELDS = 0b110
_RESOURCE_FIELDS = 0b10
_STATUS_FIELDS = 0b1100
_SPAN_FIELDS = 0b1000_0011_1111_0110


@kernel
def _is_small(body: Vector, at: int, end: int, sheet: Grid) -> bool:
    """A plain AnyValue that stays within the limit however protobuf would write it."""
    size, limit = end - at, sheet[MAX_VALUE_BYTES, 0]
    if size > 0 and (body[at] == 0x2A or body[at] == 0x32):
        # A map's entry without a value grows by half when it is written again.
        return 4 * size <= limit and plain.nested(body, at, end, sheet, _LEVEL)
    return size <= limit and plain.scalar(body, at, end)


@kernel
def _cell(column: int, value: int, sheet: Grid) -> None:
    """Note a number, or the bounds of a text, at the row at hand; a cell for which there is no room only counts."""
    cell = sheet[USED, 0]
    if cell < sheet.shape[0]:
        sheet[cell, 0] = sheet[ROWS, 0] << COLUMN_BITS | column
        sheet[cell, 1] = value
    sheet[USED, 0] = cell + 1


@kernel
def _text(column: int, start: int, end: int, sheet: Grid) -> None:
    """Note a text of the body at the row at hand."""
    _cell(column, start << LENGTH_BITS | end - start, sheet)


@kernel
def size_of(value: int) -> int:
    """How long a text is, from its cell's value."""
    return value & (_NUMERAL - 1)


@kernel
def column_of(cell: int) -> int:
    """Which column a cell is in, from its first number."""
    return cell & ((1 << COLUMN_BITS) - 1)


@kernel
def _attribute(body: Vector, at: int, end: int, keys: Grid, sheet: Grid) -> bool:
    """One entry of a span's attributes; a wanted one becomes a cell."""
    key, after, value = plain.pair(body, at, end)
    if value < 0:
        return False
    place = plain.find(body, key, after, keys)
    column = keys[place, plain.KEY_COLUMN]
    if column < 0:
        return plain.is_text(body, key, after) and _is_small(body, value, end, sheet)
    if sheet[SEEN + column, 0] == sheet[ROWS, 0] or value == end or end - value > sheet[MAX_VALUE_BYTES, 0]:
        return False
    sheet[SEEN + column, 0] = sheet[ROWS, 0]
    if column >= sheet[NUMBERS, 0]:
        count, stop = plain.varint(body, value + 1, end)
        _cell(column, count, sheet)
        return body[value] == 0x18 and stop == end and count >= 0
    if body[value] == _DOUBLE or body[value] == _INTEGER:
        _cell(column, value << LENGTH_BITS | _NUMERAL | end - value, sheet)
        return plain.scalar(body, value, end)
    text, stop = plain.length(body, value + 1, end)
    _text(column, text, end, sheet)
    return body[value] == 0x0A and stop == end and plain.is_text(body, text, end)


@kernel
def _span(body: Vector, at: int, end: int, keys: Grid, sheet: Grid) -> bool:
    """One span: attributes are read as they come, other fields are noted, and its row is written last."""
    attributes = 0
    for field in range(FIELD, FIELD + 16):
        sheet[field, 0] = sheet[field, 1] = 0
    while at < end:
        if body[at] == 0x4A:
            attributes += 1
            start, at = plain.length(body, at + 1, end)
            if at < 0 or not _attribute(body, start, at, keys, sheet):
                return False
        else:
            at = _field(body, at, end, sheet)
            if at < 0:
                return False
    return attributes <= sheet[MAX_ATTRIBUTES, 0] and _row(body, sheet)


@kernel
def _field(body: Vector, at: int, end: int, sheet: Grid) -> int:
    """Note a field of a span; the place after it, or -1."""
    tag, field, start = body[at], FIELD + (body[at] >> 3), at + 1
    if tag in (0x0A, 0x12, 0x22, 0x2A):
        start, at = plain.length(body, start, end)
        sheet[field, 0], sheet[field, 1] = start, at
        return at if tag != 0x2A or plain.is_text(body, start, at) else -1
    if tag in (0x39, 0x41):
        if end - start < 8:
            return -1
        sheet[field, 0] = plain.word(body, start)
        return start + 8
    if tag == 0x30:
        sheet[field, 0], at = plain.varint(body, start, end)
        return at
    if tag == 0x7A:
        start, at = plain.length(body, start, end)
        return at if _status(body, start, at, sheet) else -1
    return plain.unknown(body, at, end, _SPAN_FIELDS)


@kernel
def _status(body: Vector, at: int, end: int, sheet: Grid) -> bool:
    """The code is noted as the status field's number."""
    while at < end:
        if body[at] == 0x18:
            sheet[FIELD + 15, 0], at = plain.varint(body, at + 1, end)
        elif body[at] == 0x12:
            start, at = plain.length(body, at + 1, end)
            if at >= 0 and not plain.is_text(body, start, at):
                return False
        else:
            at = plain.unknown(body, at, end, _STATUS_FIELDS)
        if at < 0:
            return False
    return True


@kernel
def _row(body: Vector, sheet: Grid) -> bool:
    """The noted fields as cells; False unless they are an identity, a possible time and a short name."""
    trace, span, parent, name = FIELD + 1, FIELD + 2, FIELD + 4, FIELD + 5
    trace_id, span_id, start, end = sheet[trace, 0], sheet[span, 0], sheet[FIELD + 7, 0], sheet[FIELD + 8, 0]
    if sheet[trace, 1] - trace_id != 16 or plain.word(body, trace_id) | plain.word(body, trace_id + 8) == 0:
        return False
    if sheet[span, 1] - span_id != 8 or plain.word(body, span_id) == 0:
        return False
    # A time of 2**63 ns or more is negative here.
    if not 0 < start <= sheet[LATEST_NS, 0] or sheet[name, 1] - sheet[name, 0] > sheet[MAX_VALUE_BYTES, 0]:
        return False
    _text(TRACE_ID, trace_id, sheet[trace, 1], sheet)
    _text(SPAN_ID, span_id, sheet[span, 1], sheet)
    if sheet[parent, 1] > sheet[parent, 0]:
        _text(PARENT, sheet[parent, 0], sheet[parent, 1], sheet)
    _text(NAME, sheet[name, 0], sheet[name, 1], sheet)
    numbers = sheet[NUMBERS, 0]
    _cell(numbers + KIND, _int32(sheet[FIELD + 6, 0]), sheet)
    _cell(numbers + START, start, sheet)
    _cell(numbers + END, max(end, start) if end >= 0 else 2**63 - 1, sheet)
    _cell(numbers + STATUS, _int32(sheet[FIELD + 15, 0]), sheet)
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
            _text(column, start, end, sheet)
        sheet[ROWS, 0] = rows


@kernel
def _share_first(note: int, after: int, column: int, first: int, sheet: Grid) -> None:
    """Share the first of the notes before `after` that says something."""
    while note < after and sheet[note, 1] <= sheet[note, 0]:
        note += 1
    if note < after:
        _share(note, column, first, sheet)


@kernel
def _scope(body: Vector, at: int, end: int, sheet: Grid) -> bool:
    while at < end:
        tag = body[at]
        if tag in (0x0A, 0x12):
            start, at = plain.length(body, at + 1, end)
            if at < 0 or at - start > sheet[MAX_VALUE_BYTES, 0] or not plain.is_text(body, start, at):
                return False
            note = _SCOPE_NAME if tag == 0x0A else _SCOPE_VERSION
            sheet[note, 0], sheet[note, 1] = start if at > start else -1, at
        else:
            at = plain.unknown(body, at, end, _SCOPE_FIELDS)
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
            start, at = plain.length(body, at + 1, end)
            if at < 0 or not _span(body, start, at, keys, sheet):
                return False
        elif tag == 0x0A:
            start, at = plain.length(body, at + 1, end)
            if at < 0 or not _scope(body, start, at, sheet):
                return False
        else:
            at = plain.unknown(body, at, end, _SCOPE_SPANS_FIELDS)
            if at < 0:
                return False
    _share(_SCOPE_NAME, SCOPE, first, sheet)
    _share(_SCOPE_VERSION, VERSION, first, sheet)
    return True


@kernel
def _resource(body: Vector, at: int, end: int, keys: Grid, sheet: Grid) -> bool:
    """Attributes of a resource, of which `plain.NOTED` are noted; they must be text. The last one of each counts."""
    while at < end:
        if body[at] != 0x0A:
            at = plain.unknown(body, at, end, _RESOURCE_FIELDS)
            if at < 0:
                return False
            continue
        start, at = plain.length(body, at + 1, end)
        if at < 0:
            return False
        key, after, value = plain.pair(body, start, at)
        if value < 0 or not plain.is_text(body, key, after) or not _is_small(body, value, at, sheet):
            return False
        for noted in range(plain.NOTED):
            if plain.is_key(body, key, after - key, keys, keys.shape[0] - plain.NOTED + noted):
                if value == at or body[value] != 0x0A:
                    return False
                sheet[_SERVICE_NAME + noted, 0], sheet[_SERVICE_NAME + noted, 1] = plain.length(body, value + 1, at)
    return True


@kernel
def _resource_spans(body: Vector, at: int, end: int, keys: Grid, sheet: Grid) -> bool:
    first = sheet[ROWS, 0]
    for note in range(_SERVICE_NAME, _SERVICE_NAME + plain.NOTED):
        sheet[note, 0] = sheet[note, 1] = -1
    while at < end:
        tag = body[at]
        if tag == 0x12:
            start, at = plain.length(body, at + 1, end)
            if at < 0 or not _scope_spans(body, start, at, keys, sheet):
                return False
        elif tag == 0x0A:
            start, at = plain.length(body, at + 1, end)
            if at < 0 or not _resource(body, start, at, keys, sheet):
                return False
        else:
            at = plain.unknown(body, at, end, _RESOURCE_SPANS_FIELDS)
            if at < 0:
                return False
    _share(_SERVICE_NAME, SERVICE, first, sheet)
    _share_first(_AGENT_NAME, _HOST_NAME, AGENT, first, sheet)
    _share_first(_HOST_NAME, _SCOPE_NAME, HOST, first, sheet)
    return True


@kernel
def _keep(body: Vector, first: int, sheet: Grid, arena: Vector) -> bool:
    """Copy the text of the cells from `first` on into the arena; False if all cells' text were too much for Arrow."""
    used, text, last, kept = sheet[ARENA, 0], sheet[TEXT, 0], -1, -1
    for cell in range(first, sheet[USED, 0]):
        if column_of(sheet[cell, 0]) < sheet[NUMBERS, 0]:
            value = sheet[cell, 1]
            size = size_of(value)
            text += size
            # What a resource or scope says stands in cells one after the other, and is copied once.
            if value != last:
                if used + size + SLACK_BYTES > arena.size:
                    return False
                plain.copy(body, value >> LENGTH_BITS, size, arena, used)
                if value & _NUMERAL:
                    arena[used] = body[value >> LENGTH_BITS] + NUMERAL_MARK
                    sheet[NUMERALS, 0] = 1
                last, kept = value, used << LENGTH_BITS | size
                used += size
            sheet[cell, 1] = kept
    if text > TEXT_BYTES_MAX:
        return False
    sheet[ARENA, 0], sheet[TEXT, 0] = used, text
    return True


def _entry(stamp: int) -> Callable[[Vector, Grid, Grid, Vector], bool]:
    def walk(body: Vector, keys: Grid, sheet: Grid, arena: Vector) -> bool:
        """Add a request's spans to the sheet; False, with the sheet as it was, if that is left to the reference."""
        _ = stamp
        rows, used = sheet[ROWS, 0], sheet[USED, 0]
        at, end = 0, body.size
        taken = end == 0 or 8 <= end <= TEXT_BYTES_MAX
        while taken and at < end:
            start, at = plain.length(body, at + 1, end) if body[at] == 0x0A else (-1, -1)
            taken = at >= 0 and _resource_spans(body, start, at, keys, sheet)
        if taken and sheet[USED, 0] <= sheet.shape[0] and _keep(body, used, sheet, arena):
            return True
        sheet[ROWS, 0], sheet[USED, 0] = rows, used
        for row in range(SEEN, sheet[FIRST, 0]):
            sheet[row, 0] = -1
        return False

    return plain.entry("boolean(Array(uint8, 1, 'C', True), int64[:, ::1], int64[:, ::1], uint8[::1])", walk)


walk = _entry(plain.stamp(plain))
