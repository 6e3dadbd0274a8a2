"""Our errors → OTLP statuses, for gRPC and HTTP. The only such map.

Per the OTLP specification ("Failures", "OTLP/HTTP response"): a client may retry UNAVAILABLE and
503, and RESOURCE_EXHAUSTED and 429 only when told how long to wait, so both always carry it; what
can never succeed is INVALID_ARGUMENT or a 4xx.
"""

from typing import NamedTuple

import grpc
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsPartialSuccess, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from collector.receivers.body import Signal
from schemas.errors import Forbidden, Permanent, Retryable, SpanwardError, Unauthenticated


class Rejection(NamedTuple):
    """One refused request in both protocols' words."""

    http: int
    grpc: grpc.StatusCode
    message: str
    retry_after_s: int | None

    def status(self) -> Status:
        """The google.rpc.Status both protocols carry; RetryInfo inside when the client may retry."""
        code: tuple[int, str] = self.grpc.value
        status = Status(code=code[0], message=self.message)
        if self.retry_after_s is not None:
            status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=self.retry_after_s)))
        return status


class TooLarge(Permanent):
    """The body is over a size limit (413)."""


class UnsupportedMedia(Permanent):
    """The content type or encoding is not one OTLP defines (415)."""


def rejection(error: SpanwardError) -> Rejection:
    """How to answer a request that failed with `error`."""
    message = error.diagnostics()
    match error:
        case Retryable(overloaded=True):
            return Rejection(429, grpc.StatusCode.RESOURCE_EXHAUSTED, message, error.retry_after_s)
        case Retryable():
            return Rejection(503, grpc.StatusCode.UNAVAILABLE, message, error.retry_after_s)
        case Unauthenticated():
            return Rejection(401, grpc.StatusCode.UNAUTHENTICATED, message, None)
        case Forbidden():
            return Rejection(403, grpc.StatusCode.PERMISSION_DENIED, message, None)
        case TooLarge():
            return Rejection(413, grpc.StatusCode.INVALID_ARGUMENT, message, None)
        case UnsupportedMedia():
            return Rejection(415, grpc.StatusCode.INVALID_ARGUMENT, message, None)
        case Permanent():
            return Rejection(400, grpc.StatusCode.INVALID_ARGUMENT, message, None)
        case _:
            return Rejection(503, grpc.StatusCode.UNAVAILABLE, message, 5)


def response(signal: Signal, rejected: int, warnings: list[str]) -> Message:
    """The success message; partial success says how many rows were refused, or warns with zero refused."""
    message = " ".join(warnings)
    if signal == "traces":
        partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message=message) if message else None
        return ExportTraceServiceResponse(partial_success=partial)
    if signal == "logs":
        partial_logs = (
            ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message) if message else None
        )
        return ExportLogsServiceResponse(partial_success=partial_logs)
    return ExportMetricsServiceResponse()


def encode(message: Message, *, as_json: bool) -> bytes:
    """A response body in the encoding of its request."""
    return json_format.MessageToJson(message, indent=None).encode() if as_json else message.SerializeToString()
