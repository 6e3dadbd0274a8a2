"""Agents that listen and ask over sockets of their own, hundreds in one process."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

RETRY_S = 0.1


class StreamClient:
    """One agent: a stream it resumes for ever, acknowledgements, and questions."""

    def __init__(self, address: str, key: str, name: str) -> None:
        self._host, _, port = address.rpartition("//")[2].rpartition(":")
        self._port = int(port)
        self._key, self._name = key, name
        self._last_id = ""
        self.epoch = -1
        self.kills: list[str] = []
        self.connections = 0
        self.reached: dict[int, float] = {}
        """Monotonic time of the first event of each epoch."""
        self.denied_at = 0.0
        self._news = asyncio.Event()
        self._asking: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self) -> None:
        """Listen, acknowledge and, where a kill is in force, ask and be refused; until cancelled."""
        try:
            while True:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    await self._listen()
                await asyncio.sleep(RETRY_S)
        finally:
            if self._asking is not None:
                self._asking[1].close()

    async def until(self, condition: Callable[["StreamClient"], bool]) -> None:
        """Wait for what the stream or a question tells."""
        while not condition(self):
            self._news.clear()
            await self._news.wait()

    async def ask(self) -> str:
        """The verdict of one question."""
        question = {"model": "gpt-4o", "provider": "openai", "input_tokens": 10, "max_output_tokens": 10}
        answer = await self._post("/v1/decisions", question)
        return str(answer["verdict"])

    async def _listen(self) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            resume = f"last-event-id: {self._last_id}\r\n" if self._last_id else ""
            writer.write(self._head("GET", f"/v1/feedback?client={self._name}", resume))
            status = await reader.readline()
            assert b" 200 " in status, status
            self.connections += 1
            if self._asking is not None:
                self._asking[1].close()
                self._asking = None
            fields: dict[str, str] = {}
            while line := await reader.readline():
                name, _, value = line.decode().rstrip("\r\n").partition(": ")
                if name in {"id", "event", "data"}:
                    fields[name] = value
                elif not name and "data" in fields:
                    await self._take(fields.pop("event"), json.loads(fields.pop("data")))
                    self._last_id = fields.pop("id")
        finally:
            writer.close()

    async def _take(self, name: str, data: Mapping[str, Any]) -> None:
        if "epoch" not in data:
            return
        self.epoch, self.kills = data["epoch"], [kill["target"] for kill in data["kills"]]
        self.reached.setdefault(self.epoch, time.monotonic())
        self._news.set()
        if name == "kills":
            await self._post("/v1/feedback/acks", {"client": self._name, "epoch": self.epoch})
        if self.kills and not self.denied_at and await self.ask() == "deny":
            self.denied_at = time.monotonic()
        self._news.set()

    async def _post(self, path: str, body: object) -> dict[str, Any]:
        """One request on the connection that is kept for them."""
        if self._asking is None:
            self._asking = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._asking
        try:
            content = json.dumps(body).encode()
            length = f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
            writer.write(self._head("POST", path, length) + content)
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            answer = await reader.readexactly(size)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            self._asking = None
            raise
        assert head.startswith(b"HTTP/1.1 200 "), head + answer
        decoded: dict[str, Any] = json.loads(answer)
        return decoded

    def _head(self, method: str, path: str, more: str) -> bytes:
        return f"{method} {path} HTTP/1.1\r\nhost: spanward\r\nx-api-key: {self._key}\r\n{more}\r\n".encode()
