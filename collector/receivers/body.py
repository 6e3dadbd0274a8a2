"""A request body as it came → plain OTLP/protobuf bytes, within limits.

Invariant: memory never holds more than the named limit, whatever the compressed size claims. Bodies
are inflated stepwise and one frame only: a second member would hide bytes from the limit.
"""

import base64
import binascii
import zlib
from typing import Literal

import msgspec
import zstandard
from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from schemas.errors import Permanent

Signal = Literal["traces", "logs", "metrics"]
MESSAGES: dict[str, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
ENCODINGS = ("", "identity", "gzip", "zstd")
# A run-length block is 4 bytes and yields at most 128 KiB (RFC 8878 section 3.1.1.2).
_ZSTD_MAX_RATIO = 32_768
_ID_KEYS = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})
_ID_LENGTHS = (0, 16, 32)


def inflate(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The body without its content encoding; raises `Permanent` when it is broken or larger than `max_bytes`."""
    if encoding in {"", "identity"}:
        plain = body
    elif encoding == "gzip":
        plain = _gunzip(body, max_bytes)
    elif encoding == "zstd":
        plain = _unzstd(body, max_bytes)
    else:
        raise Permanent(f"Content-Encoding {encoding!r} is not supported.", fix="Use gzip, zstd or none.")
    if len(plain) > max_bytes:
        raise Permanent(
            f"The body is larger than limits.max_inflated ({max_bytes} bytes) once it is decompressed.",
            fix="Send smaller batches, or raise receivers.otlp.limits.max_inflated.",
        )
    return plain


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise Permanent(
            f"The body is not valid gzip: {error}.", fix="Compress the whole body as one gzip member."
        ) from None
    if len(plain) <= max_bytes and not stream.eof:
        raise Permanent("The gzip body is truncated.", fix="Send the whole body; Content-Length must match it.")
    if stream.unused_data:
        raise Permanent(
            "There are bytes after the end of the gzip body.", fix="Compress the whole body as one gzip member."
        )
    return plain


def _unzstd(body: bytes, max_bytes: int) -> bytes:
    """zstd has no bounded decompress, so the input is fed in steps too small to overshoot the limit twice."""
    stream = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()
    parts: list[bytes] = []
    size = at = 0
    try:
        while at < len(body) and size <= max_bytes and not stream.eof:
            step = max(16, (max_bytes - size) // _ZSTD_MAX_RATIO)
            parts.append(stream.decompress(body[at : at + step]))
            size += len(parts[-1])
            at += step
    except zstandard.ZstdError as error:
        raise Permanent(
            f"The body is not valid zstd: {error}.", fix="Compress the whole body as one zstd frame."
        ) from None
    if size <= max_bytes and not stream.eof:
        raise Permanent("The zstd body is truncated.", fix="Send the whole body; Content-Length must match it.")
    if stream.eof and (stream.unused_data or at < len(body)):
        raise Permanent(
            "There are bytes after the end of the zstd body.", fix="Compress the whole body as one zstd frame."
        )
    return b"".join(parts)


def from_json(body: bytes, signal: Signal) -> bytes:
    """OTLP/JSON to OTLP/protobuf; raises `Permanent` naming what is wrong.

    OTLP/JSON writes trace and span ids in hex where protobuf's JSON mapping has base64, and unknown
    fields are ignored (OTLP specification, "JSON Protobuf encoding").
    """
    try:
        document = msgspec.json.decode(body, type=dict[str, object])
        _ids_to_base64(document)
        message = json_format.ParseDict(
            document, MESSAGES[signal](), ignore_unknown_fields=True, max_recursion_depth=64
        )
    except (msgspec.DecodeError, json_format.ParseError, RecursionError, UnicodeError) as error:
        raise Permanent(
            f"The body is not valid OTLP/JSON for {signal}: {str(error)[:300]}.",
            fix='Send an object such as {"resourceSpans": [...]} with field names in lowerCamelCase.',
        ) from None
    return message.SerializeToString()


def _ids_to_base64(document: object) -> None:
    """In place, without recursion: a document may be nested as deep as its sender likes."""
    waiting = [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(item for item in node if isinstance(item, dict | list))
        elif isinstance(node, dict):
            for key, value in node.items():
                if key in _ID_KEYS:
                    node[key] = _hex_to_base64(key, value)
                elif isinstance(value, dict | list):
                    waiting.append(value)


def _hex_to_base64(key: str, value: object) -> str:
    if not isinstance(value, str) or len(value) not in _ID_LENGTHS:
        raise Permanent(
            f"{key} must be a hex string of 16 or 32 digits, not {str(value)[:40]!r}.", fix="Write ids in hex."
        )
    try:
        return base64.b64encode(binascii.unhexlify(value)).decode()
    except binascii.Error:
        raise Permanent(f"{key} {value!r} is not hexadecimal.", fix="Write ids in hex.") from None
