"""Bytes of one protobuf field → whether upb takes them, and where they end: kernels that Numba compiles.

Invariants: what is taken here upb takes too, and reads the same; every read is checked against the
end of its message, every message against the end of its parent. Only the *plain* form is taken, which
is what SDKs and collectors send: tags of one or two bytes, each entry of a map a key and then its
value, each AnyValue one field. The rest may be valid all the same: `decode` says so.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
from numba import njit

_EVERY_HIGH_BIT = -0x7F7F7F7F7F7F7F80

# protobuf's own limit is 100 messages: seven lie above an attribute's value, and a level of a map takes three.
NESTING_MAX = 16


class Vector(Protocol):
    """An array as a kernel sees it: its elements are machine integers."""

    @property
    def size(self) -> int: ...

    def __getitem__(self, at: int, /) -> int: ...

    def __setitem__(self, at: int | slice, value: int, /) -> None: ...


class Grid(Protocol):
    """The same with two dimensions."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, at: tuple[int, int], /) -> int: ...

    def __setitem__(self, at: tuple[int, int], value: int, /) -> None: ...


Kernel = TypeVar("Kernel", bound=Callable[..., object])


def kernel(function: Kernel) -> Kernel:
    """Compiled with the kernel that calls it."""
    return njit(nogil=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


@kernel
def word(data: Vector, at: int) -> int:
    """Eight bytes of at least eight, little-endian, with zeros after the last. LLVM makes the loop one load."""
    beyond = max(at + 8 - data.size, 0)
    value = np.int64(0)
    for i in range(8):
        value |= np.int64(data[np.uint64(at - beyond) + np.uint64(i)]) << (8 * i)
    return np.int64(np.uint64(value) >> np.uint64(8 * beyond)) if beyond < 8 else np.int64(0)


@kernel
def copy(source: Vector, start: int, size: int, target: Vector, at: int) -> None:
    """Copy bytes; up to seven more are written after them. LLVM makes the inner loop one store."""
    for i in range(0, size, 8):
        value = word(source, start + i)
        for j in range(8):
            target[np.uint64(at + i) + np.uint64(j)] = np.uint8(value >> (8 * j))


@kernel
def varint(body: Vector, at: int, end: int) -> tuple[int, int]:
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


@kernel
def length(body: Vector, at: int, end: int) -> tuple[int, int]:
    """First byte of a delimited field and the place after its last; -1 and -1 unless it fits its message."""
    if at < end and body[at] < 128:
        size, start = np.int64(body[at]), at + 1
    else:
        size, start = varint(body, at, end)
        if start < 0 or start - at > 5:
            return -1, -1
    if size < 0 or size > end - start:
        return -1, -1
    return start, start + size


@kernel
def unknown(body: Vector, at: int, end: int, known: int) -> int:
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
    """UTF-8 as the Unicode standard defines it (table 3-7), which proto3 demands of every string."""
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
    """An entry that is a key and perhaps a value: the key's bounds, the value's start (`end`: none); -1 if it is not."""
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
    tag = body[at]
    if tag == 0x0A:
        start, stop = length(body, at + 1, end)
        return stop == end and is_text(body, start, stop)
    if tag == 0x10 or tag == 0x18:
        _, stop = varint(body, at + 1, end)
        return stop == end
    if tag == 0x3A:
        _, stop = length(body, at + 1, end)
        return stop == end
    return tag == 0x21 and end - at == 9


@kernel
def nested(body: Vector, at: int, end: int, levels: Grid, first: int) -> bool:
    """An AnyValue that is a list or map of such values. The ends of the open ones are kept in `levels`, from `first`."""
    level, last, stop = first - 1, first + NESTING_MAX, end
    while True:
        if at < stop and (body[at] == 0x2A or body[at] == 0x32):
            level += 1
            if level == last:
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
        if body[at] != 0x0A:
            return False
        at, stop = length(body, at + 1, levels[level, 0])
        if stop < 0:
            return False
        if levels[level, 1] == 0x32:
            key, after, at = pair(body, at, stop)
            if at < 0 or not is_text(body, key, after):
                return False
