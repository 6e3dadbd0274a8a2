"""`python -m benchmarks.naive FILE LIMIT_NANO_USD`: decisions by check-then-spend, the control that must overshoot.

The same endpoint, the same question, the same durable SQLite; but the budget is read in one
transaction and charged in another, and nothing is held in between, as gateways do that count what
came back. It prints its URL first.
"""

import asyncio
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from collector.http import HttpServer, Receive, Scope, Send, address, bind, read_body, respond
from schemas.control import DecisionRequest

_DECODE = msgspec.json.Decoder(DecisionRequest).decode
_MAX_BODY = 2**16
# gpt-4o: nano-USD of an input and of an output token.
_INPUT, _OUTPUT = 2_500, 10_000


class CheckThenSpend:
    """The ASGI callable over one counter."""

    def __init__(self, file: Path, limit_nano_usd: int) -> None:
        self._limit = limit_nano_usd
        self._database = ThreadPoolExecutor(1)
        self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "CREATE TABLE budget (spent INTEGER)",
            "INSERT INTO budget VALUES (0)",
        ):  # fmt: skip
            self._connection.execute(statement)

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one question."""
        request = _DECODE(await read_body(receive, _MAX_BODY) or b"{}")
        cost = request.input_tokens * _INPUT + (request.max_output_tokens or 0) * _OUTPUT
        loop = asyncio.get_running_loop()
        allowed = await loop.run_in_executor(self._database, self._spent) + cost <= self._limit
        if allowed:
            await loop.run_in_executor(self._database, self._spend, cost)
        await respond(send, 200, b'{"verdict":"allow"}' if allowed else b'{"verdict":"deny"}', [])

    def _spent(self) -> int:
        spent: int = self._connection.execute("SELECT spent FROM budget").fetchone()[0]
        return spent

    def _spend(self, cost: int) -> None:
        self._connection.execute("UPDATE budget SET spent = spent + ?", (cost,))


async def _serve(file: Path, limit_nano_usd: int) -> None:
    listener = bind("127.0.0.1:0", setting="the control of the benchmark")
    await HttpServer(CheckThenSpend(file, limit_nano_usd), listener).start()
    print(f"http://{address(listener)}/v1/decisions", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
