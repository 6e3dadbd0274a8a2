"""The open port → whoever answers now: the owner, or its stand-in while the state cannot be written."""

import socket
from collections.abc import Awaitable, Callable

from collector.http import App, HttpServer, Receive, Scope, Send, address


class Front:
    """The ASGI callable of the port. It opens with the first `show` and keeps its address until `close`."""

    def __init__(self, listener: socket.socket, announce: Callable[[str], None]) -> None:
        self._listener = listener
        self._announce = announce
        self._app: App | None = None
        self._stand_in: App | None = None
        self._server = HttpServer(self, listener)

    @property
    def is_open(self) -> bool:
        """Whether anybody has been answered yet."""
        return self._app is not None

    async def show(self, app: App, stand_in: App) -> None:
        """From now on `app` answers, and `stand_in` after `fall_back`; requests that run go on where they are."""
        opened, self._app, self._stand_in = self._app is None, app, stand_in
        if opened:
            await self._server.start()
            self._announce(f"http://{address(self._listener)}")

    def fall_back(self) -> None:
        """From now on the stand-in answers, if anybody was answered yet."""
        self._app = self._stand_in

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass one request on."""
        assert self._app is not None, "nobody listens before the first `show`"
        return self._app(scope, receive, send)

    async def close(self) -> None:
        """Take no new requests, and let those that run finish."""
        if self._app is not None:
            await self._server.stop()
