"""The open ports → whoever answers now: the owner, or its stand-in while the state cannot be written."""

import socket
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from collector.control.doors.config import Config
from collector.control.doors.grpc.server import GrpcDoor, Service
from collector.http import App, HttpServer, Receive, Scope, Send, address


class Served(NamedTuple):
    """What answers at every port; `on_fatal` is told of every unforeseen error."""

    app: App
    services: list[Service]
    on_fatal: Callable[[Exception], None]


class Front:
    """The ports. They open with the first `show` and keep their addresses until `close`."""

    def __init__(self, listener: socket.socket, config: Config, announce: Callable[[dict[str, str]], None]) -> None:
        self._listener = listener
        self._config = config
        self._announce = announce
        self._now: Served | None = None
        self._stand_in: Served | None = None
        self._server = HttpServer(self, listener)
        self._grpc: GrpcDoor | None = None

    @property
    def is_open(self) -> bool:
        """Whether anybody has been answered yet."""
        return self._now is not None

    async def show(self, served: Served, stand_in: Served) -> None:
        """From now on `served` answers, and `stand_in` after `fall_back`; requests that run go on where they are."""
        opened, self._stand_in = self._now is None, stand_in
        self._turn_to(served)
        if opened:
            await self._open(served)

    def fall_back(self) -> None:
        """From now on the stand-in answers, if anybody was answered yet."""
        if self._stand_in is not None:
            self._turn_to(self._stand_in)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass one request on."""
        assert self._now is not None, "nobody listens before the first `show`"
        return self._now.app(scope, receive, send)

    async def close(self) -> None:
        """Take no new requests, and let those that run finish."""
        if self._grpc is not None:
            await self._grpc.stop()
        if self._now is not None:
            await self._server.stop()

    def _turn_to(self, served: Served) -> None:
        self._now = served
        if self._grpc is not None:
            self._grpc.show(served.services, served.on_fatal)

    async def _open(self, served: Served) -> None:
        await self._server.start()
        endpoints = {"control": f"http://{address(self._listener)}"}
        if self._config.grpc_endpoint:
            self._grpc = GrpcDoor(served.services, self._config, on_fatal=served.on_fatal)
            endpoints["control_grpc"] = await self._grpc.start()
        self._announce(endpoints)
