"""Errors → gRPC statuses; the only such map of the control endpoint.

https://grpc.io/docs/guides/status-codes/. What may be retried carries `google.rpc.RetryInfo`, as OTLP's errors do.
"""

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from collector.control.doors.request import TooLarge
from collector.control.owner import NotFound
from collector.control.repeats import KeyReused
from collector.governance.budgets import HoldConflict
from schemas.errors import Forbidden, Permanent, Retryable, SpanwardError, Unauthenticated

STATUSES: tuple[tuple[type[SpanwardError], grpc.StatusCode], ...] = (
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (HoldConflict, grpc.StatusCode.FAILED_PRECONDITION),
    (KeyReused, grpc.StatusCode.ALREADY_EXISTS),
    (TooLarge, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (Forbidden, grpc.StatusCode.PERMISSION_DENIED),
    (Permanent, grpc.StatusCode.INVALID_ARGUMENT),
    (Retryable, grpc.StatusCode.UNAVAILABLE),
)
"""The first class an error belongs to decides."""

Metadata = tuple[tuple[str, str | bytes], ...]


def status_of(error: SpanwardError) -> tuple[grpc.StatusCode, str, Metadata]:
    """Code, message (what happened and how to mend it) and trailing metadata of an error."""
    code = next(code for kind, code in STATUSES if isinstance(error, kind))
    message = error.diagnostics()
    if not isinstance(error, Retryable):
        return code, message, ()
    number: tuple[int, str] = code.value
    status = Status(code=number[0], message=message)
    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=error.retry_after_s)))
    return code, message, (("grpc-status-details-bin", status.SerializeToString()),)
