"""Compressed and JSON bodies → protobuf bytes, within limits."""

import gzip
import json
import os
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.receivers.body import from_json, inflate
from schemas.errors import Permanent
from tests.captures_on_disk import requests

MIB = 2**20


@given(st.binary(max_size=4_000))
def test_each_encoding_gives_back_what_was_sent(body: bytes) -> None:
    assert inflate(body, "", MIB) == body
    assert inflate(gzip.compress(body), "gzip", MIB) == body
    assert inflate(zstandard.compress(body), "zstd", MIB) == body


@pytest.mark.parametrize(
    ("body", "encoding", "message"),
    [
        (gzip.compress(b"x" * 5_000)[:-9], "gzip", "truncated"),
        (gzip.compress(b"x" * 5_000)[:6], "gzip", "truncated"),
        (b"not gzip at all", "gzip", "not valid gzip"),
        (gzip.compress(b"one") + gzip.compress(b"two"), "gzip", "after the end"),
        (gzip.compress(b"x")[:-4] + b"\0\0\0\0", "gzip", "not valid gzip"),
        (b"not zstd at all", "zstd", "not valid zstd"),
        (zstandard.compress(os.urandom(5_000))[:-9], "zstd", "truncated"),
        (zstandard.compress(b"x")[:5], "zstd", "truncated"),
        (zstandard.compress(b"one") + zstandard.compress(b"two"), "zstd", "after the end"),
        (zlib.compress(b"x"), "deflate", "not supported"),
    ],
)
def test_a_broken_body_is_named(body: bytes, encoding: str, message: str) -> None:
    with pytest.raises(Permanent, match=message) as caught:
        inflate(body, encoding, MIB)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("bomb", "encoding"), [(gzip.compress(bytes(200 * MIB), 9), "gzip"), (zstandard.compress(bytes(200 * MIB)), "zstd")]
)
def test_a_bomb_is_refused_without_its_memory(bomb: bytes, encoding: str) -> None:
    """otelcol CVE-2024-36129: a receiver that trusts the claimed size holds the whole of it."""
    tracemalloc.start()
    try:
        with pytest.raises(Permanent, match=r"limits\.max_inflated"):
            inflate(bomb, encoding, MIB)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


def test_json_and_protobuf_of_one_request_are_the_same() -> None:
    recorded = next(r for r in requests("gemini-cli") if r.signal == "traces")
    parsed = ExportTraceServiceRequest.FromString(from_json(recorded.body, "traces"))
    span = parsed.resource_spans[0].scope_spans[0].spans[0]
    document = json.loads(recorded.body)
    assert span.trace_id.hex() == document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"{",
        b'{"resourceSpans": 5}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":12}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz000000000000000000000000000000"}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"-5"}]}]}]}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe",
    ],
)
def test_bad_json_is_named_and_never_crashes(body: bytes) -> None:
    with pytest.raises(Permanent, match=r"JSON|hex"):
        from_json(body, "traces")


def test_unknown_json_fields_are_ignored() -> None:
    """OTLP/JSON: a receiver must ignore message fields it does not know."""
    assert from_json(b'{"resourceSpans": [], "fromTheFuture": {"x": [1, 2]}}', "traces") == b""
