"""Questions at a fixed rate in, latency out: Spanward's control endpoint beside a bare server.

The bare server (Go's net/http) answers a constant: what no decision can be faster than on this machine.
Server on one core, loader on another; each round asks both. `Spanward` judges every question against
three budgets and records the hold durably before it answers.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.loader import Loader
from benchmarks.subjects import Spanward
from benchmarks.usage import Usage, pinned

SERVER_CORE, LOADER_CORE = 0, 1
SECONDS = 3.0
WARM_UP_SECONDS = 1.0
QUANTILES = ("p50", "p99")

QUESTION = (
    '{"action": "llm.call", "provider": "openai", "model": "gpt-4o", "input_tokens": 1200,'
    ' "max_output_tokens": 400, "idempotency_key": "bench-%s-%%d"}'
)


@dataclass(frozen=True)
class Server:
    """Who is asked."""

    name: str
    url: str
    key: str
    usage: Usage


@dataclass(frozen=True)
class Result:
    """What the clients of one server saw at one rate, round by round."""

    name: str
    rate: int
    rounds: list[dict[str, Any]]

    def median(self, origin: str, quantile: str) -> float:
        """Median over the rounds, in milliseconds: `origin` is from_due or from_send."""
        return median(each[origin][f"{quantile}_ms"] for each in self.rounds)


def measure(folder: Path, *, loader: Loader, rates: list[int], rounds: int) -> list[Result]:
    """One result for each server and rate: the bare server's, then Spanward's."""
    with ExitStack() as stack:
        with pinned(SERVER_CORE):
            floor_url, floor_pid = stack.enter_context(loader.floor())
            spanward = Spanward(folder)
        stack.callback(spanward.stop)
        servers = [
            Server("bare server", floor_url, "", Usage(floor_pid)),
            Server(Spanward.name, spanward.decisions_url, spanward.key, Usage(spanward.pid)),
        ]
        for server in servers:
            stack.callback(server.usage.stop)
        _check_answer(spanward)
        results = []
        for rate in rates:
            for server in servers:
                _ask(loader, server, rate=rate, seconds=WARM_UP_SECONDS, label=f"warm-up-{rate}")
            taken: list[list[dict[str, Any]]] = [[] for _ in servers]
            for number in range(rounds):
                for server, outcomes in zip(servers, taken, strict=True):
                    outcomes.append(_ask(loader, server, rate=rate, seconds=SECONDS, label=f"{rate}-{number}"))
                    p99 = outcomes[-1]["from_send"]["p99_ms"]
                    print(f"decisions round {number + 1}/{rounds} at {rate}/s: {server.name}: p99 {p99:.2f} ms")
            results += [Result(server.name, rate, rows) for server, rows in zip(servers, taken, strict=True)]
        return results


def table(results: list[Result]) -> Iterator[str]:
    """The results as lines of Markdown."""
    yield "| rate | server | ms from send: p50 / p99 | ms from due: p50 / p99 | to bare server's | CPU µs each |"
    yield "|---|---|---|---|---|---|"
    floors = {result.rate: result for result in results if result.name != Spanward.name}
    for result in results:
        p50, p99 = (
            result.median("from_send", each) / floors[result.rate].median("from_send", each) for each in QUANTILES
        )
        cpu = median(each["cpu_s"] * 1e6 / each["acknowledged"] for each in result.rounds)
        yield (
            f"| {result.rate:,}/s | {result.name} "
            f"| {result.median('from_send', 'p50'):.2f} / {result.median('from_send', 'p99'):.2f} "
            f"| {result.median('from_due', 'p50'):.2f} / {result.median('from_due', 'p99'):.2f} "
            f"| {p50:.1f} / {p99:.1f} | {cpu:.0f} |"
        )


def _ask(loader: Loader, server: Server, *, rate: int, seconds: float, label: str) -> dict[str, Any]:
    before = server.usage.cpu_seconds()
    with pinned(LOADER_CORE):
        outcome = loader.ask(server.url, key=server.key, body=QUESTION % label, rate=rate, seconds=seconds)
    return {**outcome, "cpu_s": server.usage.cpu_seconds() - before}


def _check_answer(spanward: Spanward) -> None:
    """Refuse to measure a server that does not really decide."""
    headers = {"authorization": f"Bearer {spanward.key}", "content-type": "application/json"}
    answer = httpx.post(spanward.decisions_url, content=(QUESTION % "check") % 0, headers=headers).json()
    if answer["verdict"] != "allow" or answer["hold"] is None or not answer["budgets"]:
        raise RuntimeError(f"Spanward does not hold money for the question: {answer}")
