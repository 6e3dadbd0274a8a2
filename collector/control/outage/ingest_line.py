"""Messages of ingest → the door that is open now; a message waits while none is.

Ingest has one request outstanding and no time-out, so it rides out a state that cannot be written:
telemetry goes on into the spool, and what was asked is answered once the state is back. Every message
is safe to send again (`IngestDoor`), so one whose door failed is given to the next.
"""

import asyncio
import socket
from collections.abc import Callable

from collector.control.ingest import IngestDoor
from collector.control.link import LENGTH, frame, length
from collector.state.store import StoreFailed
from schemas.errors import Retryable


class IngestLine:
    """Both connections of ingest. Owned by the loop."""

    def __init__(self) -> None:
        self._door: IngestDoor | None = None
        self._on_failure: Callable[[Exception], None] = lambda _: None
        self._opened = asyncio.Event()

    def open(self, door: IngestDoor, on_failure: Callable[[Exception], None]) -> None:
        """From now on `door` answers; `on_failure` is told when its state fails."""
        self._door, self._on_failure = door, on_failure
        self._opened.set()

    def shut(self) -> None:
        """Let messages wait for the next door."""
        self._opened.clear()
        self._door = None

    async def serve(self, connection: socket.socket) -> None:
        """Answer one connection until ingest hangs up."""
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            while True:
                message = await reader.readexactly(length(await reader.readexactly(LENGTH.size)))
                writer.write(frame(await self._answer(message)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, message: bytes) -> bytes:
        while True:
            await self._opened.wait()
            door = self._door
            assert door is not None, "it is open"
            try:
                return await door.answer(message)
            except Retryable:
                pass
            except StoreFailed as error:
                if self._door is door:
                    self._on_failure(error)
            if self._door is door:
                self.shut()
