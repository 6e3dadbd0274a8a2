"""An endless response, part by part → a client that may stop reading or go away at any time.

Invariant: it ends with the client, with its last part, or when one part waits for the client longer
than it may; `Stream.close` is called in each case, so nothing is kept for a client that is gone.
"""

import asyncio

from collector.control.doors.request import Stream
from collector.http import ABORT, Receive, Scope, Send


async def send_stream(stream: Stream, scope: Scope, receive: Receive, send: Send) -> None:
    """Send all parts of a stream."""
    gone = asyncio.create_task(_close_when_gone(stream, receive))
    try:
        await send({"type": "http.response.start", "status": 200, "headers": stream.headers})
        async for part in stream.parts:
            async with asyncio.timeout(stream.send_timeout_s):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        async with asyncio.timeout(stream.send_timeout_s):
            await send({"type": "http.response.body", "body": b""})
    except TimeoutError:
        scope["extensions"][ABORT]()
        await gone
    finally:
        gone.cancel()
        stream.close()


async def _close_when_gone(stream: Stream, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.close()
