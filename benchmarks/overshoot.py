"""More questions than a budget has room for in, what was allowed beyond it out: Spanward beside check-then-spend.

Both judge the same questions for a budget of the same size, 64 at once, at the same rate. The control
must overshoot, or the load shows nothing and there is no table.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.decisions import LOADER_CORE, QUESTION, SERVER_CORE
from benchmarks.loader import Loader
from benchmarks.subjects import Spanward
from benchmarks.usage import pinned
from schemas.money import format_usd

# What QUESTION costs at most: 1,200 tokens at 2.50 and 400 at 10.00 USD a million.
CALL_NANO_USD = 7_000_000
ROOM_CALLS = 500
SECONDS = 1.0
CONTROL = "check-then-spend"


@dataclass(frozen=True)
class Overshoot:
    """What one server allowed of the questions it was asked at one rate."""

    name: str
    rate: int
    asked: int
    allowed: int
    outcome: dict[str, Any]

    @property
    def beyond_nano_usd(self) -> int:
        """What was allowed beyond the budget."""
        return max(0, self.allowed - ROOM_CALLS) * CALL_NANO_USD


def measure(folder: Path, *, loader: Loader, rates: list[int]) -> list[Overshoot]:
    """For each rate the control's result, then Spanward's; raises `RuntimeError` when the control never overshoots."""
    results = []
    for rate in rates:
        place = folder / str(rate)
        place.mkdir(parents=True)
        with pinned(SERVER_CORE), _control(place / "control.db") as url:
            results.append(_ask(loader, CONTROL, rate, url=url, key=""))
        with pinned(SERVER_CORE):
            spanward = Spanward(place, daily_usd=format_usd(ROOM_CALLS * CALL_NANO_USD))
        try:
            results.append(_ask(loader, Spanward.name, rate, url=spanward.decisions_url, key=spanward.key))
        finally:
            spanward.stop()
        control, ours = results[-2:]
        print(f"overshoot at {rate}/s: control {control.allowed - ROOM_CALLS}, {ours.name} {ours.allowed - ROOM_CALLS}")
    # At a low rate on a quiet machine no two of its questions meet; at some rate they must.
    if not any(result.beyond_nano_usd for result in results if result.name == CONTROL):
        raise RuntimeError("check-then-spend kept its budget at every rate: this load shows nothing")
    return results


def table(results: list[Overshoot]) -> Iterator[str]:
    """The results as lines of Markdown."""
    yield "| rate | server | budget, USD | asked | room for | allowed | beyond it, USD | ms from send: p50 / p99 |"
    yield "|---|---|---|---|---|---|---|---|"
    for result in results:
        latency = result.outcome["from_send"]
        yield (
            f"| {result.rate:,}/s | {result.name} | {format_usd(ROOM_CALLS * CALL_NANO_USD)} | {result.asked:,} "
            f"| {ROOM_CALLS} | {result.allowed} | {format_usd(result.beyond_nano_usd)} "
            f"| {latency['p50_ms']:.2f} / {latency['p99_ms']:.2f} |"
        )


def _ask(loader: Loader, name: str, rate: int, *, url: str, key: str) -> Overshoot:
    with pinned(LOADER_CORE):
        outcome = loader.ask(url, key=key, body=QUESTION % f"overshoot-{rate}", rate=rate, seconds=SECONDS)
    return Overshoot(name, rate, outcome["acknowledged"], outcome["allowed"], outcome)


@contextmanager
def _control(file: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.naive", str(file), str(ROOM_CALLS * CALL_NANO_USD)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
