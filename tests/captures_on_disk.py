"""Recorded OTLP requests, as tests read them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs, ScopeLogs
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

from collector.receivers.body import from_json

CAPTURES = Path(__file__).parent / "captures"


class Recorded(NamedTuple):
    """One request as a real exporter sent it."""

    signal: str
    transport: str
    body: bytes
    as_json: bool


def emitters() -> list[str]:
    """Every capture folder."""
    return sorted(folder.name for folder in CAPTURES.iterdir() if folder.is_dir())


def requests(emitter: str) -> Iterator[Recorded]:
    """The requests of one emitter in arrival order."""
    for path in sorted((CAPTURES / emitter).glob("[0-9]*")):
        _, signal, transport, kind, *compressed = path.name.split(".")
        if not compressed:
            yield Recorded(signal, transport, path.read_bytes(), kind == "json")


def truth(emitter: str) -> dict[str, Any]:
    """What the provider billed."""
    document: dict[str, Any] = json.loads((CAPTURES / emitter / "truth.json").read_bytes())
    return document


def pieces(request: Recorded) -> list[Recorded]:
    """A request of traces or logs as one request for each span or record."""
    body = from_json(request.body, request.signal) if request.as_json else request.body  # type: ignore[arg-type]
    if request.signal == "traces":
        spans = [
            ResourceSpans(resource=group.resource, scope_spans=[ScopeSpans(scope=in_scope.scope, spans=[span])])
            for group in ExportTraceServiceRequest.FromString(body).resource_spans
            for in_scope in group.scope_spans
            for span in in_scope.spans
        ]
        bodies = [ExportTraceServiceRequest(resource_spans=[each]).SerializeToString() for each in spans]
    else:
        logs = [
            ResourceLogs(resource=group.resource, scope_logs=[ScopeLogs(scope=in_scope.scope, log_records=[record])])
            for group in ExportLogsServiceRequest.FromString(body).resource_logs
            for in_scope in group.scope_logs
            for record in in_scope.log_records
        ]
        bodies = [ExportLogsServiceRequest(resource_logs=[each]).SerializeToString() for each in logs]
    return [Recorded(request.signal, "http", each, as_json=False) for each in bodies]
