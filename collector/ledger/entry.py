"""A sealed segment in, the canonical JSON of its entry out, and back.

Invariant: an entry has exactly one spelling (members sorted by name, no white space, integers only,
ASCII), so its SHA-256 names its content. `parse` accepts nothing else.
"""

from hashlib import sha256
from typing import Annotated

import msgspec

from collector.ledger import layout
from schemas.errors import Permanent

FORMAT = "spanward.segment/1"
EVENTS = "events"

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class ObjectRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One object that belongs to a segment: what it is for, where it is, its exact bytes."""

    role: str
    key: str
    bytes: _Number
    sha256: str


class SegmentEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What segment `k` of one writer's log holds. Times are Unix ns, ranges include both ends."""

    v: str = FORMAT
    origin: str
    k: _Number
    seq: tuple[_Number, _Number]
    rows: _Number
    records_root: str
    schema: str
    received: tuple[int, int]
    event_time: tuple[int, int]
    objects: tuple[ObjectRef, ...]
    sealed_at: _Number
    retain_until: _Number
    cut: str
    prev: str

    def encode(self) -> bytes:
        """The canonical bytes that are stored and hashed."""
        return msgspec.json.encode(self, order="sorted")

    def overlaps(self, from_ns: int, to_ns: int) -> bool:
        """Whether a row may have happened or been received in `[from_ns, to_ns)`."""
        return any(start < to_ns and end >= from_ns for start, end in (self.event_time, self.received))


def digest(raw: bytes) -> str:
    """SHA-256 in hex: how an entry names its data objects and the entry before it."""
    return sha256(raw).hexdigest()


def parse(raw: bytes, *, writer: str, k: int) -> SegmentEntry:
    """Read entry `k` of `writer`; raises `Permanent` unless it is canonical and says it is that one."""
    try:
        entry = msgspec.json.decode(raw, type=SegmentEntry)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refused(writer, k, f"it is not a segment entry ({error})") from None
    if entry.encode() != raw:
        raise _refused(writer, k, "its JSON is not in canonical form")
    if entry.v != FORMAT or entry.k != k or entry.origin.rpartition("/")[2] != writer:
        raise _refused(writer, k, "it is of another format, log or place")
    first, last = entry.seq
    if entry.rows < 1 or entry.rows != last - first + 1:
        raise _refused(writer, k, f"{entry.rows} rows cannot be numbered {first} to {last}")
    data_key = layout.data_key(writer, k, sealed_at=entry.sealed_at)
    if [ref.key for ref in entry.objects if ref.role == EVENTS] != [data_key]:
        raise _refused(writer, k, f"its rows are not under {data_key}")
    return entry


def _refused(writer: str, k: int, why: str) -> Permanent:
    return Permanent(
        f"Entry {k} of writer {writer} cannot be used: {why}.",
        fix="Run `spanward verify`, and put back the intact object from a copy.",
    )
