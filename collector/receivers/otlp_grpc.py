"""OTLP/gRPC exports → `CommitGroup` → OTLP responses.

Requests are taken as raw bytes and decoded with their group, so gRPC's own parsing is not paid for.
gRPC has already undone its compression when a request arrives here.
"""

from collections.abc import Awaitable, Callable

import grpc
import grpc.aio

from collector.receivers.body import Signal
from collector.receivers.commit_group import CommitGroup, Request, Sender
from collector.receivers.config import Limits
from collector.receivers.status import TooLarge, rejection, response
from collector.telemetry import Door
from schemas.errors import SpanwardError

_SERVICES: dict[str, Signal] = {
    "opentelemetry.proto.collector.trace.v1.TraceService": "traces",
    "opentelemetry.proto.collector.logs.v1.LogsService": "logs",
    "opentelemetry.proto.collector.metrics.v1.MetricsService": "metrics",
}
# What gRPC itself refuses above ours; its message cannot name our setting, so ours must speak first.
_LIBRARY_LIMIT_FACTOR = 2

Context = grpc.aio.ServicerContext[bytes, bytes]


class OtlpGrpc:
    """The server behind port 4317."""

    def __init__(self, group: CommitGroup, authenticate: Callable[[str], Sender], limits: Limits, door: Door) -> None:
        self._door = door
        self._group = group
        self._authenticate = authenticate
        self._limits = limits
        size = limits.max_inflated.bytes * _LIBRARY_LIMIT_FACTOR
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", size),
                ("grpc.so_reuseport", 0),
                ("grpc.max_metadata_size", 16384),
            ]
        )
        handlers = [
            grpc.method_handlers_generic_handler(
                service, {"Export": grpc.unary_unary_rpc_method_handler(self._exporter(signal))}
            )
            for service, signal in _SERVICES.items()
        ]
        self._server.add_generic_rpc_handlers(handlers)

    async def start(self, endpoint: str) -> int:
        """Listen on `HOST:PORT` and return the port; raises `RuntimeError` when it cannot be had."""
        port = self._server.add_insecure_port(endpoint)
        await self._server.start()
        return port

    async def stop(self) -> None:
        """Refuse new exports and let running ones finish."""
        await self._server.stop(grace=10)

    def _exporter(self, signal: Signal) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def export(body: bytes, context: Context) -> bytes:
            try:
                reply = await self._group.submit(self._request(signal, body, context))
            except SpanwardError as error:
                answer = rejection(error)
                self._door.refused(signal, answer.grpc.name)
                details = (("grpc-status-details-bin", answer.status().SerializeToString()),)
                await context.abort(answer.grpc, answer.message, trailing_metadata=details)
                raise
            self._door.answered(signal, reply.accepted, reply.rejected)
            return response(signal, reply.rejected, reply.warnings).SerializeToString()

        return export

    def _request(self, signal: Signal, body: bytes, context: Context) -> Request:
        sender = self._authenticate(_credential(context))
        limit = self._limits.max_inflated.bytes
        if len(body) > limit:
            raise TooLarge(
                f"The message is larger than limits.max_inflated ({limit} bytes).",
                fix="Send smaller batches, or raise receivers.otlp.limits.max_inflated.",
            )
        return Request(sender, signal, body)


def _credential(context: Context) -> str:
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    scheme, _, value = metadata.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" and value.strip() else metadata.get("x-api-key", "").strip()
