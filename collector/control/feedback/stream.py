"""Events of the hub → one client's queue, bounded, whatever carries it to the client.

Invariant: a client sees events in order and none twice; one that falls behind is told so in its last
event instead of missing something. HTTP reads a `Subscription` as server-sent events, gRPC as messages.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from collector.access.keys import Credential
from collector.control.feedback.acks import ClientId
from schemas.kills import EndEvent, EndReason

ENCODE = msgspec.json.Encoder().encode


class Event(NamedTuple):
    """`id` is what a client resumes after, `data` one line of JSON (`schemas.kills`)."""

    id: str
    name: str
    data: bytes


class Subscription:
    """One client's events. Owned by the loop; `take` from it, and `close` it when the client is gone."""

    def __init__(
        self, who: ClientId, credential: Credential, key: str, leave: Callable[["Subscription"], None]
    ) -> None:
        self.who = who
        self.credential = credential
        self.key = key
        """The text of its key, which is checked again while the stream lives."""
        self._leave = leave
        self._waiting: deque[Event] = deque()
        self._news = asyncio.Event()
        self._ended = False

    def push(self, event: Event, most: int) -> None:
        """Queue an event; beyond `most` the stream ends as a slow consumer's."""
        if self._ended:
            return
        if len(self._waiting) >= most:
            self._waiting.clear()
            self.end("slow_consumer", f"More than {most} events waited. Connect again for the whole state.", event.id)
            return
        self._waiting.append(event)
        self._news.set()

    def end(self, reason: EndReason, message: str, event_id: str) -> None:
        """Say why, after what waits already; nothing follows."""
        if not self._ended:
            self._waiting.append(Event(event_id, "end", ENCODE(EndEvent(reason, message))))
            self._ended = True
            self._news.set()
            self._leave(self)

    async def take(self) -> list[Event]:
        """Everything that waits, as soon as there is something; empty once the stream is over."""
        while not self._waiting and not self._ended:
            self._news.clear()
            await self._news.wait()
        events = list(self._waiting)
        self._waiting.clear()
        return events

    def close(self) -> None:
        """The client is gone."""
        self._ended = True
        self._waiting.clear()
        self._news.set()
        self._leave(self)
