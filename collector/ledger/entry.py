"""A sealed segment, or the heads of all logs, in; the canonical JSON of the entry out, and back.

Invariant: an entry has exactly one spelling (members sorted by name, no white space, integers only,
ASCII), so its SHA-256 names its content. `parse` accepts nothing else.
"""

from hashlib import sha256
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from collector.ledger import layout
from schemas.errors import Permanent

FORMAT = "spanward.segment/2"
FORMAT_WITHOUT_COMMIT_TIME = "spanward.segment/1"
ANCHOR_FORMAT = "spanward.anchor/1"
EVENTS = "events"
# Entries outlive their data, so that what was there, and that it expired, stays provable.
EXTRA_NS = 365 * 86_400 * 10**9

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
_Writer = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9-]{1,40}\Z")]


class ObjectRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One object that belongs to a segment: what it is for, where it is, its exact bytes."""

    role: str
    key: str
    bytes: _Number
    sha256: _Digest


class SegmentEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What segment `k` of one writer's log holds. Times are Unix ns, ranges include both ends."""

    v: str = FORMAT
    origin: str
    k: _Number
    seq: tuple[_Number, _Number]
    rows: _Number
    records_root: _Digest
    schema: _Digest
    received: tuple[int, int]
    event_time: tuple[int, int]
    objects: tuple[ObjectRef, ...]
    sealed_at: _Number
    committed_at: _Number | UnsetType = UNSET
    retain_until: _Number
    cut: str
    prev: str

    def encode(self) -> bytes:
        """The canonical bytes that are stored and hashed."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def writer(self) -> str:
        """The writer whose log this entry is of."""
        return self.origin.rpartition("/")[2]

    @property
    def committed_ns(self) -> int:
        """When the entry was put: what the anchors bound. Entries of version 1 say no time but the cut's."""
        return self.sealed_at if self.committed_at is UNSET else self.committed_at

    def overlaps(self, from_ns: int, to_ns: int) -> bool:
        """Whether a row may have happened or been received in `[from_ns, to_ns)`."""
        return any(start < to_ns and end >= from_ns for start, end in (self.event_time, self.received))


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many entries a writer's log had, and the SHA-256 of the newest, which names all before it."""

    writer: _Writer
    size: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    entry: _Digest


class AnchorEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Entry `n` of the anchor: all heads, by writer, and the newest trust document, at one time (Unix ns)."""

    v: str = ANCHOR_FORMAT
    origin: str
    n: _Number
    at: _Number
    heads: tuple[Head, ...]
    trust: tuple[_Number, _Digest]
    prev: str

    def encode(self) -> bytes:
        """The canonical bytes that are stored and hashed."""
        return msgspec.json.encode(self, order="sorted")


_Any = TypeVar("_Any", bound=msgspec.Struct)


def canonical(raw: bytes, kind: type[_Any]) -> _Any:
    """Read a struct whose one spelling is `raw`; raises `Permanent` for everything else."""
    try:
        value = msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Permanent(f"it is not what its name says ({error})") from None
    if msgspec.json.encode(value, order="sorted") != raw:
        raise Permanent("its JSON is not in canonical form")
    return value


def parse_anchor(raw: bytes, *, origin: str, n: int) -> AnchorEntry:
    """Read anchor entry `n`; raises `Permanent` unless it is canonical and says it is that one."""
    entry = canonical(raw, AnchorEntry)
    if (entry.v, entry.n, entry.origin) != (ANCHOR_FORMAT, n, origin):
        raise Permanent("it is of another format, log or place")
    writers = [head.writer for head in entry.heads]
    if writers != sorted(set(writers)):
        raise Permanent("its heads are not in the order of their writers")
    return entry


def kept_until(raw: bytes) -> int:
    """Until when (Unix ns) an entry and its checkpoint are kept; raises `Permanent` if it is no entry."""
    return canonical(raw, SegmentEntry).retain_until + EXTRA_NS


def digest(raw: bytes) -> str:
    """SHA-256 in hex: how an entry names its data objects and the entry before it."""
    return sha256(raw).hexdigest()


def parse(raw: bytes, *, writer: str, k: int) -> SegmentEntry:
    """Read entry `k` of `writer`; raises `Permanent` unless it is canonical and says it is that one."""
    try:
        entry = canonical(raw, SegmentEntry)
    except Permanent as error:
        raise _refused(writer, k, error.what) from None
    formats = (FORMAT_WITHOUT_COMMIT_TIME,) if entry.committed_at is UNSET else (FORMAT,)
    if entry.v not in formats or entry.k != k or entry.writer != writer:
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
