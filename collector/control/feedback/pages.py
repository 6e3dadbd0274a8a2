"""The feedback stream as server-sent events, acknowledgements, and the same state for who polls.

The format: https://html.spec.whatwg.org/multipage/server-sent-events.html. What is told is left to `hub`.
"""

import asyncio
from collections.abc import AsyncIterator

import msgspec

from collector.control.doors.config import Config
from collector.control.doors.request import ENCODE, Operation, Page, Request, Route, Stream
from collector.control.feedback.hub import Hub
from collector.control.feedback.stream import Event, Subscription
from schemas.kills import Ack, Acked, Snapshot

_ACK = msgspec.json.Decoder(Ack)
# `no-transform` and `x-accel-buffering` keep proxies from holding events back.
_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]
_KEEPALIVE = b": keepalive\n\n"


_STREAM = Operation(
    "Kills, budgets, policy and the key's end as they happen: server-sent events, resumed by `last-event-id`.",
    media="text/event-stream",
    query={"client": "Who listens: a name no other client of the key uses."},
    headers={"last-event-id": "The id of the last event that was seen."},
)


class FeedbackPages:
    """The pages of clients that want to know at once."""

    def __init__(self, hub: Hub, config: Config) -> None:
        self._hub = hub
        self._config = config

    def routes(self) -> tuple[Route, ...]:
        """What is served."""
        return (
            Route("GET", "/v1/feedback", self._stream, _STREAM),
            Route("GET", "/v1/feedback/state", self._state, Operation("All that concerns this key, now.", Snapshot)),
            Route("POST", "/v1/feedback/acks", self._ack, Operation("This client acts by an epoch.", Acked, Ack)),
        )

    async def _stream(self, request: Request) -> Stream:
        client = request.parameter("client") or ""
        last_id = request.header(b"last-event-id")
        events = await self._hub.subscribe(request.credential_text, client, last_id)
        settings = self._config.feedback
        parts = _parts(events, settings.keepalive.seconds)
        return Stream(parts, _HEADERS, events.close, settings.send_timeout.seconds)

    async def _state(self, request: Request) -> Page:
        return Page(ENCODE(await self._hub.state(request.credential_text)))

    async def _ack(self, request: Request) -> Page:
        ack = await request.json(_ACK, self._config.max_body)
        return Page(ENCODE(Acked(self._hub.ack(request.credential_text, ack))))


async def _parts(events: Subscription, keepalive_s: float) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(keepalive_s):
                waiting = await events.take()
        except TimeoutError:
            yield _KEEPALIVE
            continue
        if not waiting:
            return
        yield b"".join(map(_frame, waiting))


def _frame(event: Event) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event.id.encode(), event.name.encode(), event.data)
