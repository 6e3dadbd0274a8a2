"""What became of everything received: the numbers behind every report's completeness.

Encoded as JSON, `Counts` is the `detail` of a ledger entry of kind `conservation`, one a segment.
"""

import msgspec


class SignalCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the spans, log records or metric points of one period. `rejected` counts by reason."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: dict[str, int] = {}
    not_stored: int = 0

    def __add__(self, other: "SignalCounts") -> "SignalCounts":
        reasons = sorted(self.rejected.keys() | other.rejected.keys())
        return SignalCounts(
            received=self.received + other.received,
            stored=self.stored + other.stored,
            duplicate=self.duplicate + other.duplicate,
            rejected={why: self.rejected.get(why, 0) + other.rejected.get(why, 0) for why in reasons},
            not_stored=self.not_stored + other.not_stored,
        )

    @property
    def balanced(self) -> bool:
        """Whether everything received is accounted for."""
        return self.received == self.stored + self.duplicate + sum(self.rejected.values()) + self.not_stored


class Counts(msgspec.Struct, frozen=True, kw_only=True, rename={"from_ns": "from", "to_ns": "to"}):
    """What became of everything received between two times (Unix ns, both included), by signal.

    Metric points alone may be received and not stored: those that count no tokens. Without times nothing was received.
    """

    traces: SignalCounts = SignalCounts()
    logs: SignalCounts = SignalCounts()
    metrics: SignalCounts = SignalCounts()
    from_ns: int | None = None
    to_ns: int | None = None

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            traces=self.traces + other.traces,
            logs=self.logs + other.logs,
            metrics=self.metrics + other.metrics,
            from_ns=min((t for t in (self.from_ns, other.from_ns) if t is not None), default=None),
            to_ns=max((t for t in (self.to_ns, other.to_ns) if t is not None), default=None),
        )

    @property
    def balanced(self) -> bool:
        """Whether every signal is accounted for, and nothing but metric points was left out of the store."""
        complete = self.traces.balanced and self.logs.balanced and self.metrics.balanced
        return complete and self.traces.not_stored == self.logs.not_stored == 0
