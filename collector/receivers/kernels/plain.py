"""Bytes of one protobuf field → whether upb takes them, and where they end: kernels that Numba compiles.

Invariants: what is taken here upb takes too, and reads the same; every read is checked against the
end of its message, every message against the end of its parent. Only the *plain* form is taken, which
is what SDKs and collectors send: tags of one or two bytes, each entry of a map a key and then its
value, each AnyValue one field. The rest may be valid all the same: `decode` says so.

Numbers are 64 bits wide and signed. A byte is masked before it is shifted, which makes it such a number.
"""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numba import njit

# A key's row in the table: its column (-1: the row is free), its length, its bytes as words.
KEY_COLUMN, KEY_SIZE, KEY_WORDS = range(3)
# The table's last rows are no part of the hash table: they hold the attributes of a resource that are noted.
NOTED = 8

# protobuf's own limit is 100 messages: seven lie above an attribute's value, and a level of a map takes three.
NESTING_MAX = 16

# An index that cannot be negative: NumPy counts negative ones from the end, and to ask costs a branch.
_index = cast("Callable[[int], int]", np.uint64)

_LIST, _MAP = 0x2A, 0x32
_EVERY_HIGH_BIT = -0x7F7F7F7F7F7F7F80


class Vector(Protocol):
    """An array as a kernel sees it: its elements are machine integers."""

    @property
    def size(self) -> int:
        """How many."""

    def __getitem__(self, at: int, /) -> int: ...

    def __setitem__(self, at: int, value: int, /) -> None: ...


class Grid(Protocol):
    """The same with two dimensions."""

    @property
    def shape(self) -> tuple[int, ...]:
        """How many rows, and how many in each."""

    def __getitem__(self, at: tuple[int, int], /) -> int: ...

    def __setitem__(self, at: tuple[int, int], value: int, /) -> None: ...


Kernel = TypeVar("Kernel", bound=Callable[..., object])

# Kernels are handed arrays and make none. To count the references all the same would take two thirds of the time.
_OPTIONS: Mapping[str, Any] = {"nogil": True, "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def kernel(function: Kernel) -> Kernel:
    """A function that other kernels call; compiled with the first that does."""
    return cast("Kernel", njit(**_OPTIONS)(function))


def entry(signature: str, function: Kernel) -> Kernel:
    """A kernel that Python calls; compiled now, or taken from Numba's cache if there is a folder for one."""
    try:
        return cast("Kernel", njit(signature, nogil=True, cache=True)(function))
    except RuntimeError:
        return cast("Kernel", njit(signature, nogil=True)(function))


def stamp(*modules: ModuleType) -> int:
    """Stands for the files of kernels that an entry closes over: Numba's cache looks at the entry's own file only."""
    files = b"".join(Path(str(module.__file__)).read_bytes() for module in modules)
    return int.from_bytes(blake2b(files, digest_size=7).digest())


@kernel
def word(data: Vector, at: int) -> int:
    """Eight bytes of at least eight, little-endian, with zeros for those after the last."""
    beyond = max(at + 8 - data.size, 0)
    if beyond >= 8:
        return 0
    value = 0
    for i in range(8):
        # LLVM makes the loop one load.
        value |= (data[_index(at - beyond + i)] & 255) << (8 * i)
    return value if beyond == 0 else value >> (8 * beyond) & ((1 << (64 - 8 * beyond)) - 1)


@kernel
def put(target: Vector, at: int, value: int, size: int) -> None:
    """The value's low bytes, little-endian. LLVM makes the loop one store where the size is known."""
    for i in range(size):
        target[_index(at + i)] = value >> (8 * i)


@kernel
def copy(source: Vector, start: int, size: int, target: Vector, at: int) -> None:
    """Copy bytes; up to seven more are written after them."""
    for i in range(0, size, 8):
        put(target, at + i, word(source, start + i), 8)


@kernel
def varint(body: Vector, at: int, end: int) -> tuple[int, int]:
    """A number and the place after it; a place of -1 if it does not end within ten bytes and its message."""
    value, shift = 0, 0
    while at < end and shift < 70:
        byte = body[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at if shift < 63 or byte == 1 else -1
        shift += 7
    return value, -1


@kernel
def length(body: Vector, at: int, end: int) -> tuple[int, int]:
    """First byte of a delimited field and the place after its last; -1 and -1 unless it fits its message."""
    if at < end and body[at] < 128:
        size, start = body[at] & 127, at + 1
    else:
        size, start = varint(body, at, end)
        if start < 0 or start - at > 5:
            return -1, -1
    return (start, start + size) if size <= end - start else (-1, -1)


@kernel
def unknown(body: Vector, at: int, end: int, known: int) -> int:
    """The place after a field `wire` does not declare; -1 for a declared one, a group, or a long tag."""
    kind, number = body[at] & 7, body[at] >> 3
    at += 1
    if number >= 16:
        if at == end or body[at] == 0 or body[at] >= 128:
            return -1
        at += 1
    elif number == 0 or known >> number & 1:
        return -1
    if kind == 0:
        _, at = varint(body, at, end)
    elif kind == 2:
        _, at = length(body, at, end)
    elif kind == 1:
        at += 8
    elif kind == 5:
        at += 4
    else:
        return -1
    return at if at <= end else -1


@kernel
def is_text(body: Vector, at: int, end: int) -> bool:
    """Whether bytes are UTF-8 as the Unicode standard defines it (table 3-7); proto3 demands it of every string."""
    while end - at >= 8 and not word(body, at) & _EVERY_HIGH_BIT:
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


@kernel
def pair(body: Vector, at: int, end: int) -> tuple[int, int, int]:
    """An entry of a map: its key's bounds, and where its value begins (`end`: it has none); or -1 three times."""
    if at == end or body[at] != 0x0A:
        return -1, -1, -1
    key, after = length(body, at + 1, end)
    if after < 0 or after == end:
        return key, after, after
    if body[after] != 0x12:
        return -1, -1, -1
    value, stop = length(body, after + 1, end)
    return (key, after, value) if stop == end else (-1, -1, -1)


@kernel
def scalar(body: Vector, at: int, end: int) -> bool:
    """An AnyValue that is empty or one text, number, boolean or byte string, and nothing else."""
    if at == end:
        return True
    tag, start, stop = body[at], -1, -1
    if tag in (0x0A, 0x3A):
        start, stop = length(body, at + 1, end)
    elif tag in (0x10, 0x18):
        _, stop = varint(body, at + 1, end)
    elif tag == 0x21:
        stop = at + 9
    return stop == end and (tag != 0x0A or is_text(body, start, stop))


@kernel
def nested(body: Vector, at: int, end: int, levels: Grid, first: int) -> bool:
    """An AnyValue that is a list or map of such values; the ends of open ones are kept in `levels`, from `first`."""
    level, stop = first - 1, end
    while True:
        if at < stop and (body[at] == _LIST or body[at] == _MAP):
            level += 1
            if level == first + NESTING_MAX:
                return False
            levels[level, 0], levels[level, 1] = stop, body[at]
            at, inner = length(body, at + 1, stop)
            if inner != stop:
                return False
        elif scalar(body, at, stop):
            at = stop
        else:
            return False
        while level >= first and at == levels[level, 0]:
            level -= 1
        if level < first:
            return True
        at, stop = _element(body, at, levels[level, 0], levels[level, 1])
        if at < 0:
            return False


@kernel
def _element(body: Vector, at: int, end: int, kind: int) -> tuple[int, int]:
    """The next AnyValue of a list or map; -1 and -1 if it is not plain."""
    if body[at] != 0x0A:
        return -1, -1
    start, stop = length(body, at + 1, end)
    if kind == _MAP and start >= 0:
        key, after, start = pair(body, start, stop)
        if start < 0 or not is_text(body, key, after):
            return -1, -1
    return start, stop


def key_hash(first: int, second: int, size: int) -> int:
    """Where the search for a key begins, before the table's mask; the same in Python and in a kernel."""
    return (first * 0x5851F42D4C957F2D + second * 0x2545F4914F6CDD1D + size * 0x14057B7EF767814F) >> 48


_key_hash = kernel(key_hash)


@kernel
def find(body: Vector, at: int, end: int, keys: Grid) -> int:
    """The key's row in the table, or the free one where it would be. Its last sixteen bytes lead there."""
    size = end - at
    if size >= 8:
        place = _key_hash(word(body, end - 8), word(body, end - 16 if size >= 16 else at), size)
    else:
        place = _key_hash(_tail(body, at, size), 0, size)
    mask = keys.shape[0] - NOTED - 1
    while keys[place & mask, KEY_COLUMN] >= 0 and not is_key(body, at, size, keys, place & mask):
        place += 1
    return place & mask


@kernel
def is_key(body: Vector, at: int, size: int, keys: Grid, place: int) -> bool:
    """Whether bytes are the key in this row of the table."""
    if keys[place, KEY_SIZE] != size:
        return False
    words, rest = size >> 3, size & 7
    for i in range(words):
        if word(body, at + 8 * i) != keys[place, KEY_WORDS + i]:
            return False
    return rest == 0 or _tail(body, at + 8 * words, rest) == keys[place, KEY_WORDS + words]


@kernel
def _tail(body: Vector, at: int, size: int) -> int:
    """Fewer than eight bytes."""
    return word(body, at) & ((1 << 8 * size) - 1)
