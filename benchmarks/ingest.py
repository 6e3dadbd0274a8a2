"""512-span batches in, spans per second and CPU seconds per million out: Spanward beside the Collector.

Both run the whole time and take turns, so noise of the machine meets both. Not the same job: Spanward
fsyncs before it acknowledges, authenticates, prices, attributes, deduplicates, budgets and seals
Parquet; the Collector appends to a file without fsync. Its figures are the yardstick, not the floor.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.loader import Loader
from benchmarks.payload import SPANS_PER_BATCH, write_batches
from benchmarks.subjects import Collector, Spanward, Subject
from benchmarks.usage import Usage

TEMPLATES = 32
WARM_UP_BATCHES = 20


@dataclass(frozen=True)
class Round:
    """One subject's turn. Seconds count from the first request."""

    spans: int
    acknowledged_s: float
    stored_s: float
    cpu_s: float
    p99_ms: float

    @property
    def acknowledged_rate(self) -> float:
        """Spans a second, counted when the client has its answer."""
        return self.spans / self.acknowledged_s

    @property
    def stored_rate(self) -> float:
        """Spans a second, counted when the last one is stored."""
        return self.spans / self.stored_s

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds of all processes for a million spans, put-off work included."""
        return self.cpu_s * 1e6 / self.spans


@dataclass(frozen=True)
class Result:
    """All turns of one subject."""

    name: str
    rounds: list[Round]
    peak_rss_bytes: int

    def median(self, figure: str) -> float:
        """The median over the rounds of one of their figures."""
        return median(getattr(each, figure) for each in self.rounds)

    def spread(self, figure: str) -> tuple[float, float]:
        """Lowest and highest of a figure."""
        values = [getattr(each, figure) for each in self.rounds]
        return min(values), max(values)


def measure(folder: Path, *, collector: Path, loader: Loader, rounds: int, batches: int) -> list[Result]:
    """Spanward's result and the Collector's; raises `RuntimeError` if Spanward lost or repeated a span."""
    size = write_batches(folder / "batches", batches=TEMPLATES, now_ns=time.time_ns())
    spanward, peer = Spanward(folder), Collector(collector, folder / "otelcol")
    subjects: list[Subject] = [spanward, peer]
    usages = [Usage(subject.pid) for subject in subjects]
    try:
        for subject in subjects:
            _take_turn(subject, loader, folder, batches=WARM_UP_BATCHES, usage=usages[subjects.index(subject)])
        turns: list[list[Round]] = [[], []]
        for number in range(rounds):
            for subject, usage, taken in zip(subjects, usages, turns, strict=True):
                taken.append(_take_turn(subject, loader, folder, batches=batches, usage=usage))
                print(f"ingest round {number + 1}/{rounds}: {subject.name}: {taken[-1].cpu_per_million:.1f} CPU s/M")
        _check_complete(spanward.completeness(), (rounds * batches + WARM_UP_BATCHES) * SPANS_PER_BATCH)
    finally:
        for subject, usage in zip(subjects, usages, strict=True):
            usage.stop()
            subject.stop()
    print(f"payload: {size // TEMPLATES // SPANS_PER_BATCH} bytes a span")
    return [
        Result(subject.name, taken, usage.peak_rss_bytes)
        for subject, taken, usage in zip(subjects, turns, usages, strict=True)
    ]


def table(results: list[Result]) -> Iterator[str]:
    """The results as lines of Markdown, the last one Spanward's ratio to the Collector."""
    yield "| | acknowledged spans/s | stored spans/s | CPU s per 1M spans (min..max) | ack p99 ms | peak RSS MB |"
    yield "|---|---|---|---|---|---|"
    for result in results:
        low, high = result.spread("cpu_per_million")
        yield (
            f"| {result.name} | {result.median('acknowledged_rate'):,.0f} | {result.median('stored_rate'):,.0f} "
            f"| {result.median('cpu_per_million'):.2f} ({low:.2f}..{high:.2f}) | {result.median('p99_ms'):.1f} "
            f"| {result.peak_rss_bytes / 1e6:,.0f} |"
        )
    spanward, peer = results
    acknowledged, stored, cpu = (
        _ratio(spanward, peer, figure) for figure in ("acknowledged_rate", "stored_rate", "cpu_per_million")
    )
    memory = spanward.peak_rss_bytes / peer.peak_rss_bytes
    yield f"| ratio | {acknowledged:.2f} | {stored:.2f} | {cpu:.2f} | | {memory:.1f} |"
    yield ""
    yield f"Spans per CPU second, Spanward to {peer.name}: {1 / cpu:.2f}."


def _take_turn(subject: Subject, loader: Loader, folder: Path, *, batches: int, usage: Usage) -> Round:
    cpu_before, start = usage.cpu_seconds(), time.perf_counter()
    seen = loader.spans(subject.traces_url, key=subject.key, batches=folder / "batches", requests=batches)
    spans = batches * SPANS_PER_BATCH
    stored = subject.when_stored(spans) - start
    subject.finish()
    cpu = usage.cpu_seconds() - cpu_before
    return Round(spans, seen["seconds"], max(stored, seen["seconds"]), cpu, seen["p99_ms"])


def _check_complete(completeness: dict[str, int], sent: int) -> None:
    if (completeness["received"], completeness["stored"]) != (sent, sent):
        raise RuntimeError(f"{sent} spans were sent, but Spanward reports {completeness}")


def _ratio(spanward: Result, peer: Result, figure: str) -> float:
    """Of each round's pair, then the median: both halves of a pair met the same noise."""
    pairs = zip(spanward.rounds, peer.rounds, strict=True)
    return median(getattr(ours, figure) / getattr(theirs, figure) for ours, theirs in pairs)
