"""Where a format writes: the data, what is said beside it, and how wide the reader's terminal is."""

from typing import BinaryIO, TextIO

import msgspec


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """`data` takes the report and `notes` what is said beside it; `width` is a terminal's, None without one."""

    data: BinaryIO
    notes: TextIO
    width: int | None = None
