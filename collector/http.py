"""A raw ASGI callable → a listening HTTP server on a socket we bound ourselves.

Binding before serving is what lets port 0 be reported and an occupied port be a clear error. Shared
by every HTTP door of the house; what a door answers is its own business.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from schemas.errors import ConfigError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ABORT = "spanward.abort"
"""Name of the ASGI extension that closes a connection at once, sent or not."""


def split_endpoint(endpoint: str, *, setting: str) -> tuple[str, int]:
    """`HOST:PORT` apart; raises `ConfigError` naming the setting."""
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{setting}: {endpoint!r} is not HOST:PORT.", fix="Write for example 127.0.0.1:4318.")
    return host.strip("[]"), int(port)


def bind(endpoint: str, *, setting: str) -> socket.socket:
    """A listening TCP socket; raises `ConfigError` saying which setting's address cannot be had."""
    host, port = split_endpoint(endpoint, setting=setting)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        raise ConfigError(
            f"{setting}: cannot listen on {endpoint}: {error.strerror or error}.",
            fix="Stop what uses the port, or choose another with --set, port 0 for any free one.",
        ) from None
    return listener


def address(listener: socket.socket) -> str:
    """`HOST:PORT` a socket really listens on."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Abortable(HttpToolsProtocol):
    """uvicorn's connection, which also lets an application cut it: no ASGI message frees one whose peer never reads."""

    def on_message_begin(self) -> None:
        """Add `ABORT` to the extensions of the request's scope."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: self.transport.abort}  # type: ignore[dict-item]


class _QuietServer(uvicorn.Server):
    """uvicorn without its own signal handlers: the process has one owner of signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


class HttpServer:
    """One door. `start` returns when it accepts; `stop` lets running requests finish."""

    def __init__(self, app: App, listener: socket.socket) -> None:
        self._listener = listener
        config = uvicorn.Config(
            app,
            http=_Abortable,
            ws="none",
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=10,
        )
        self._server = _QuietServer(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to accept connections."""
        # The socket listens already, so nothing is lost before the server's first turn.
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """Stop accepting, finish what runs, close."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._listener.close()


async def read_body(receive: Receive, max_bytes: int) -> bytes | None:
    """The request's body, or `None` when it is larger than `max_bytes` or the client went away."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def respond(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """One complete response."""
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def credential_text(headers: dict[bytes, bytes]) -> str:
    """The key a request carries in `authorization: Bearer` or `x-api-key`; empty when it carries none."""
    scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer" and value.strip():
        return value.strip().decode("latin-1")
    return headers.get(b"x-api-key", b"").strip().decode("latin-1")
