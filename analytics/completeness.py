"""Conservation entries in, what a report may claim about its own completeness out.

Invariant: received = stored + duplicate + rejected over the counted periods, for metrics also + not
stored, or the account says that it does not balance (promise P9). The collector writes one
conservation entry for each period it closes; here they are only added up.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
import polars as pl

from analytics.lake import Snapshot, read
from analytics.measures import UNMETERED_CALLS, UNPRICED_CALLS
from analytics.query import Query
from analytics.report import matching
from schemas.conservation import Counts, SignalCounts
from schemas.errors import Permanent
from schemas.tables import EntryKind

# The `signal` of entries that arrived as metric points.
_POINTS = "metrics"


class Closed(msgspec.Struct, frozen=True):
    """A period with the conservation entry that closes it: the last of its segment, at the period's end."""

    writer: str
    seq: int
    at_ns: int
    period: Counts

    @property
    def began_ns(self) -> int:
        """When the first thing of it was received (Unix ns)."""
        return self.at_ns if self.period.from_ns is None else self.period.from_ns


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """What became of metric points. The ledger keeps those that count tokens; the others are not stored."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    not_stored: int = 0
    found: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every point is accounted for, and those stored are really there."""
        return self.received == self._accounted and self.stored == self.found

    @property
    def _accounted(self) -> int:
        return self.stored + self.duplicate + self.rejected + self.not_stored

    def sentence(self) -> str:
        """The same for a person; nothing where no point was received."""
        if not (self.received or self._accounted or self.found):
            return ""
        accounted = f"stored {self.stored:,} + duplicate {self.duplicate:,} + rejected {self.rejected:,}"
        sums = f"{accounted} + not stored {self.not_stored:,}"
        if self.balanced:
            return f"metric points received {self.received:,} = {sums}"
        return f"metric points received {self.received:,}, accounted for {sums}, {self.found:,} found"


class Completeness(msgspec.Struct, frozen=True, kw_only=True, rename={"from_time": "from", "to_time": "to"}):
    """How complete a report is. Counts are of spans and log records; times are RFC 3339 UTC.

    `from` and `to` are the range asked for (null: open). The counts are of all periods that overlap
    it; `found` are the entries really in their segments, so that `stored` need not be believed;
    `as_of` is when the newest of them was received. `balanced` says that received = stored +
    duplicate + rejected and stored = found, and the same of the metric points, which `metrics` counts
    apart. `segments` is the number of committed objects of the
    ledger. Unmetered and unpriced calls are those among the entries asked for.
    """

    from_time: str | None
    to_time: str | None
    as_of: str | None
    received: int
    stored: int
    duplicate: int
    rejected: int
    rejected_by_reason: dict[str, int]
    found: int
    balanced: bool
    unmetered_calls: int
    unpriced_calls: int
    metrics: Metrics
    segments: int

    def sentence(self) -> str:
        """The same for a person, in one line."""
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.rejected_by_reason.items())
        accounted = (
            f"stored {self.stored:,} + duplicate {self.duplicate:,} + rejected {self.rejected:,}"
            f"{f' ({reasons})' if reasons else ''}"
        )
        if self.balanced:
            parts = [f"complete: received {self.received:,} = {accounted}"]
        else:
            parts = [
                f"INCOMPLETE: received {self.received:,}, accounted for {accounted}",
                f"{self.found:,} stored entries found",
            ]
        if metrics := self.metrics.sentence():
            parts.append(metrics)
        if self.unmetered_calls:
            parts.append(f"{_calls(self.unmetered_calls)} unmetered (cost unknown)")
        if self.unpriced_calls:
            parts.append(f"{_calls(self.unpriced_calls)} unpriced (cost unknown)")
        return "; ".join(parts)


def account(snapshot: Snapshot, query: Query) -> Completeness:
    """Add up the periods that overlap the query's range; raises `Permanent` for an entry that cannot be read."""
    closed = [c for c in _closed(snapshot, query) if query.to_ns is None or c.began_ns < query.to_ns]
    signals = [signal for c in closed for signal in (c.period.traces, c.period.logs)]
    received, stored, duplicate = (_total(signals, name) for name in ("received", "stored", "duplicate"))
    reasons = _by_reason(signals)
    rejected = sum(reasons.values())
    found, found_points = _found(snapshot, closed)
    metrics = _metrics([c.period.metrics for c in closed], found_points)
    unmetered, unpriced = _unknown_costs(snapshot, query)
    return Completeness(
        from_time=_rfc3339(query.from_ns),
        to_time=_rfc3339(query.to_ns),
        as_of=_rfc3339(max((c.period.to_ns or c.at_ns for c in closed), default=None)),
        received=received,
        stored=stored,
        duplicate=duplicate,
        rejected=rejected,
        rejected_by_reason=reasons,
        found=found,
        balanced=received == stored + duplicate + rejected and stored == found and metrics.balanced,
        unmetered_calls=unmetered,
        unpriced_calls=unpriced,
        metrics=metrics,
        segments=len(snapshot.segments),
    )


def _metrics(counts: list[SignalCounts], found: int) -> Metrics:
    totals = {name: _total(counts, name) for name in ("received", "stored", "duplicate", "not_stored")}
    return Metrics(**totals, rejected=sum(_by_reason(counts).values()), found=found)


def _total(counts: list[SignalCounts], name: str) -> int:
    return sum(getattr(each, name) for each in counts)


def _closed(snapshot: Snapshot, query: Query) -> Iterable[Closed]:
    # An entry has the time of its period's end, so that no other that overlaps the range is before `from_ns`;
    # one that began in the range may have been closed after it.
    entries = snapshot.scan(from_ns=query.from_ns).filter(pl.col("kind") == EntryKind.CONSERVATION)
    found = entries.select("writer", "seq", "event_time", "detail").collect(engine="streaming")
    for writer, seq, at_ns, detail in found.iter_rows():
        try:
            yield Closed(writer, seq, at_ns, msgspec.json.decode(detail or "", type=Counts))
        except msgspec.DecodeError as error:
            raise Permanent(
                f"Conservation entry {seq} of writer {writer} cannot be read: {error}.",
                fix="Run `spanward verify` to see whether the ledger was changed.",
            ) from None


def _found(snapshot: Snapshot, closed: list[Closed]) -> tuple[int, int]:
    """Entries that arrived as spans or log records, and as metric points, in the segments that these periods end."""
    ends = {(c.writer, c.seq) for c in closed}
    entries = read(segment for segment in snapshot.segments if (segment.writer, segment.last_seq) in ends)
    is_point = pl.col("signal") == _POINTS
    counted = entries.select((~is_point).sum().alias("items"), is_point.sum().alias("points"))
    items, points = counted.collect(engine="streaming").row(0)
    return items, points


def _unknown_costs(snapshot: Snapshot, query: Query) -> tuple[int, int]:
    entries = matching(snapshot.scan(from_ns=query.from_ns, to_ns=query.to_ns), query)
    counted = entries.select(UNMETERED_CALLS.expression.alias("unmetered"), UNPRICED_CALLS.expression.alias("unpriced"))
    unmetered, unpriced = counted.collect(engine="streaming").row(0)
    return unmetered, unpriced


def _by_reason(counts: Iterable[SignalCounts]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for signal in counts:
        total.update(signal.rejected)
    return dict(sorted(total.items()))


def _calls(number: int) -> str:
    return f"{number:,} call{'' if number == 1 else 's'}"


def _rfc3339(ns: int | None) -> str | None:
    if ns is None:
        return None
    whole_s, fraction = divmod(ns, 10**9)
    return f"{datetime.fromtimestamp(whole_s, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
