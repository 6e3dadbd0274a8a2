"""gRPC calls → methods, by service and name. Port 4321.

Messages arrive as raw bytes and are read by the method, because what gRPC says of a message it cannot read
names no fix. Invariant: whatever is sent, the status is exact; UNKNOWN and INTERNAL are bugs, and an unforeseen
error ends the process as it does over HTTP.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from collector.control.commit import unavailable
from collector.control.doors.config import Config
from collector.control.doors.grpc.statuses import status_of
from collector.control.doors.request import TooLarge
from collector.http import split_endpoint
from collector.state.store import StoreFailed
from schemas.errors import ConfigError, Forbidden, Permanent, Retryable, Unauthenticated

# What gRPC itself refuses above ours; its message cannot name our setting, so ours must speak first.
_LIBRARY_LIMIT_FACTOR = 2
_SETTING = "extensions.control.grpc_endpoint"
_STOP_GRACE_S = 5.0

Context = grpc.aio.ServicerContext[bytes, bytes]
M = TypeVar("M", bound=Message)


class Call(NamedTuple):
    """One unary call: its message, unread, and the key its metadata carries."""

    body: bytes
    key: str

    def read(self, kind: type[M]) -> M:
        """The message; raises `Permanent` when the bytes are none."""
        try:
            return kind.FromString(self.body)
        except DecodeError as error:
            raise Permanent(
                f"The bytes are no {kind.DESCRIPTOR.full_name}: {error}.", fix="See schemas/*.proto."
            ) from None


Method = Callable[[Call], Awaitable[Message]]
Stream = Callable[[AsyncIterator[Call]], AsyncIterator[Message]]
"""Messages of the client → messages to it. It is not bound by `grpc_deadline`."""


class Service(NamedTuple):
    """One service: its full name, and its methods by name."""

    name: str
    methods: Mapping[str, Method]
    streams: Mapping[str, Stream] = {}


class GrpcDoor:
    """The server. `on_fatal` is told of every unforeseen error: the state may then be half changed."""

    def __init__(self, services: list[Service], config: Config, *, on_fatal: Callable[[Exception], None]) -> None:
        self._config = config
        self.show(services, on_fatal)
        size = config.grpc_max_message.bytes * _LIBRARY_LIMIT_FACTOR
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", size),
                ("grpc.so_reuseport", 0),
                ("grpc.max_metadata_size", 16384),
            ]
        )
        self._server.add_generic_rpc_handlers([self._handlers(service) for service in services])

    def show(self, services: list[Service], on_fatal: Callable[[Exception], None]) -> None:
        """From now on these answer, services of the same names and methods; calls that run go on where they are."""
        self._services = {service.name: service for service in services}
        self._on_fatal = on_fatal

    async def start(self) -> str:
        """Listen, and return the address; raises `ConfigError` when it cannot be had."""
        endpoint = self._config.grpc_endpoint
        host, _ = split_endpoint(endpoint, setting=_SETTING)
        try:
            port = self._server.add_insecure_port(endpoint)
        except RuntimeError:
            raise ConfigError(
                f"{_SETTING}: cannot listen on {endpoint}.",
                fix="Stop what uses the port, or choose another with --set, port 0 for any free one.",
            ) from None
        await self._server.start()
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def stop(self) -> None:
        """Refuse new calls and let running ones finish."""
        await self._server.stop(grace=_STOP_GRACE_S)

    def _handlers(self, service: Service) -> grpc.GenericRpcHandler:
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {}
        for name in service.methods:
            handlers[name] = grpc.unary_unary_rpc_method_handler(self._unary(service.name, name))
        for name in service.streams:
            handlers[name] = grpc.stream_stream_rpc_method_handler(self._streaming(service.name, name))
        return grpc.method_handlers_generic_handler(service.name, handlers)

    def _unary(self, service: str, name: str) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def answer(body: bytes, context: Context) -> bytes:
            method = self._services[service].methods[name]
            async with _told(context, self._on_fatal):
                try:
                    async with asyncio.timeout(self._config.grpc_deadline.seconds):
                        return (await method(self._call(body, context))).SerializeToString()
                except TimeoutError:
                    await context.abort(
                        grpc.StatusCode.DEADLINE_EXCEEDED,
                        f"The call took longer than extensions.control.grpc_deadline ({self._config.grpc_deadline}). "
                        "What it asked for may have been recorded; ask again with the same idempotency_key.",
                    )

        return answer

    def _streaming(self, service: str, name: str) -> Callable[[AsyncIterator[bytes], Context], AsyncIterator[bytes]]:
        async def answer(bodies: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            stream = self._services[service].streams[name]
            calls = (self._call(body, context) async for body in bodies)
            async with _told(context, self._on_fatal):
                async for message in stream(calls):
                    yield message.SerializeToString()

        return answer

    def _call(self, body: bytes, context: Context) -> Call:
        limit = self._config.grpc_max_message.bytes
        if len(body) > limit:
            raise TooLarge(
                f"The message is larger than extensions.control.grpc_max_message ({limit} bytes).",
                fix="Send less, or raise the limit.",
            )
        return Call(body, _key(context))


@asynccontextmanager
async def _told(context: Context, on_fatal: Callable[[Exception], None]) -> AsyncIterator[None]:
    """Inside, errors become the call's status; `on_fatal` is told of those that may leave the state half changed."""
    try:
        yield
    except grpc.aio.AbortError:
        raise
    except (Unauthenticated, Forbidden, Permanent, Retryable) as error:
        await context.abort(*status_of(error))
    except StoreFailed as error:
        on_fatal(error)
        await context.abort(*status_of(unavailable()))
    except Exception as error:
        on_fatal(error)
        raise


def _key(context: Context) -> str:
    metadata = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
    scheme, _, value = metadata.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" and value.strip() else metadata.get("x-api-key", "").strip()
