"""Everything a broken or hostile sender can do to the OTLP doors, and what it is told.

Each case gets an exact status and a sentence that names the fault; afterwards the server is healthy,
and the good request that arrived at the same time is in the ledger.
"""

import gzip
import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

import grpc
import httpx
import pyarrow.parquet as pq
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from collector.ledger.reader import Evidence
from tests.harness import Served
from tests.otlp import CHAT, span, traces

PROTOBUF = "application/x-protobuf"
GOOD = traces(span()).SerializeToString()
UNKNOWN_KEY = "spw_agent_aaaaaaaaaaaa_" + "A" * 43 + "_AAAAAA"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all cases: each must leave it healthy for the next."""
    server = Served(tmp_path_factory.mktemp("bad-input") / "data").start()
    yield server
    server.close()


def length_delimited(tag: int, body: bytes) -> bytes:
    size, length = len(body), bytearray([tag])
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([*length, size]) + body


# 4 MiB on the wire; as messages they would take 85 times that.
TWO_MILLION_SPANS = length_delimited(0x0A, length_delimited(0x12, length_delimited(0x12, b"") * 2**21))


class Case(NamedTuple):
    """One bad HTTP request and what it must be answered."""

    status: int
    says: str
    body: bytes = GOOD
    headers: dict[str, str] = {}
    path: str = "/v1/traces"
    method: str = "POST"
    key: str | None = ""


CASES = {
    "malformed protobuf": Case(400, "not a valid protobuf ExportTraceServiceRequest", body=b"\x0a\xff\xff\xff"),
    "truncated protobuf": Case(400, "not a valid protobuf", body=GOOD[:-7]),
    "text as protobuf": Case(400, "not a valid protobuf", body=b"hello, world"),
    "truncated gzip": Case(400, "gzip body is truncated", gzip.compress(GOOD)[:-9], {"content-encoding": "gzip"}),
    "not gzip": Case(400, "not valid gzip", GOOD, {"content-encoding": "gzip"}),
    "gzip bomb": Case(400, "limits.max_inflated", gzip.compress(bytes(300 * 2**20)), {"content-encoding": "gzip"}),
    "zstd that is not": Case(400, "not valid zstd", GOOD, {"content-encoding": "zstd"}),
    "unknown encoding": Case(415, "Content-Encoding 'br'", GOOD, {"content-encoding": "br"}),
    "wrong content type": Case(415, "Content-Type 'text/plain'", GOOD, {"content-type": "text/plain"}),
    "no content type": Case(415, "Content-Type ''", GOOD, {"content-type": ""}),
    "json that is not": Case(400, "not valid OTLP/JSON", b"{", {"content-type": "application/json"}),
    "json too deep": Case(400, "not valid OTLP/JSON", b"[" * 200_000, {"content-type": "application/json"}),
    "body too large": Case(413, "limits.max_body", bytes(17 * 2**20)),
    "two million spans": Case(400, "limits.max_items", TWO_MILLION_SPANS),
    "no credential": Case(401, "credential", key=None),
    "unknown key": Case(401, "key", key=UNKNOWN_KEY),
    "garbage as key": Case(401, "key", key="hunter2"),
    "admin token": Case(403, "admin token", key="admin"),
    "unknown path": Case(404, "/v1/traces", path="/v1/trace"),
    "wrong method": Case(405, "POST", method="PUT"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_http_request_is_answered_exactly_and_harms_nobody(served: Served, name: str) -> None:
    case = CASES[name]
    before = stored(served)
    headers = {"content-type": PROTOBUF, **case.headers}
    key = {"": served.agent_key, "admin": served.admin_token}.get(case.key or "", case.key)
    if case.key is not None and key:
        headers["x-api-key"] = key
    with httpx.Client(timeout=30) as client:
        answer = client.request(case.method, served.url("otlp_http", case.path), content=case.body, headers=headers)
    assert (answer.status_code, case.says in message_of(answer)) == (case.status, True), message_of(answer)
    send_good(served)
    assert httpx.get(served.url("health")).status_code == 200
    assert stored(served) == before + 1


@pytest.mark.parametrize(
    ("name", "attributes", "start_ns", "says"),
    [
        ("10,000 attributes", {**{f"key.{i}": i for i in range(10_000)}, **CHAT}, None, "limits.max_attributes"),
        ("a 1 MB attribute", {**CHAT, "gen_ai.input.messages": "x" * 2**20}, None, "limits.max_attribute_value"),
        ("a start in the year 2116", dict(CHAT), 2**62, "limits.max_clock_ahead"),
    ],
)
def test_an_oversized_or_early_span_is_kept_and_its_sender_is_told(
    served: Served, name: str, attributes: dict[str, str | int], start_ns: int | None, says: str
) -> None:
    """Partial success with nothing rejected is OTLP's way to warn: refusing the row would lose its cost."""
    before = stored(served)
    body = traces(span(), span(attributes, start_ns=start_ns), span()).SerializeToString()
    answer = post(served, body)
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert answer.status_code == 200, name
    assert partial.rejected_spans == 0
    assert says in partial.error_message
    assert stored(served) == before + 3


def test_a_span_without_identity_is_rejected_alone(served: Served) -> None:
    bad = span(name="no identity")
    bad.trace_id = b"\0" * 16
    before = stored(served)
    answer = post(served, traces(span(), bad, span()).SerializeToString())
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_spans) == (200, 1)
    assert "no identity" in partial.error_message
    assert stored(served) == before + 2
    completeness = served.report("activity", "--limit", "1")["completeness"]
    assert completeness["rejected_by_reason"]["invalid_trace_id"] >= 1


def test_an_error_is_answered_in_the_encoding_of_its_request(served: Served) -> None:
    headers = {"content-type": "application/json", "x-api-key": served.agent_key}
    answer = httpx.post(served.url("otlp_http", "/v1/traces"), content=b"{", headers=headers)
    assert answer.headers["content-type"] == "application/json"
    assert "not valid OTLP/JSON" in json.loads(answer.content)["message"]


def test_bad_grpc_requests_are_answered_with_their_status_codes(served: Served) -> None:
    cases: list[tuple[bytes, str | None, grpc.StatusCode, str]] = [
        (b"\x0a\xff\xff", served.agent_key, grpc.StatusCode.INVALID_ARGUMENT, "not a valid protobuf"),
        (GOOD, None, grpc.StatusCode.UNAUTHENTICATED, "credential"),
        (GOOD, UNKNOWN_KEY, grpc.StatusCode.UNAUTHENTICATED, "key"),
        (GOOD, served.admin_token, grpc.StatusCode.PERMISSION_DENIED, "admin token"),
    ]
    before = stored(served)
    with grpc.insecure_channel(served.endpoints["otlp_grpc"].rpartition("//")[2]) as channel:
        export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
        )
        for body, key, code, says in cases:
            with pytest.raises(grpc.RpcError) as caught:
                export(body, metadata=(("x-api-key", key),) if key else (), timeout=20)
            told = str(caught.value.details())
            assert (caught.value.code(), says in told) == (code, True), told
        TraceServiceStub(channel).Export(traces(span()), metadata=[("authorization", f"Bearer {served.agent_key}")])
    assert stored(served) == before + 1


def test_a_full_spool_is_refused_retryably_on_both_doors(serve: Callable[..., Served]) -> None:
    served = serve(settings={"processors.spool.max_bytes": "10B"})
    answer = post(served, GOOD)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "processors.spool.max_bytes" in message_of(answer)
    with grpc.insecure_channel(served.endpoints["otlp_grpc"].rpartition("//")[2]) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            TraceServiceStub(channel).Export(traces(span()), metadata=[("x-api-key", served.agent_key)])
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        (details,) = [
            Status.FromString(item.value)
            for item in caught.value.trailing_metadata() or ()
            if item.key == "grpc-status-details-bin" and isinstance(item.value, bytes)
        ]
    retry = RetryInfo()
    assert details.details[0].Unpack(retry)
    assert retry.retry_delay.seconds >= 1


def post(served: Served, body: bytes) -> httpx.Response:
    headers = {"content-type": PROTOBUF, "x-api-key": served.agent_key}
    return httpx.post(served.url("otlp_http", "/v1/traces"), content=body, headers=headers, timeout=30)


def send_good(served: Served) -> None:
    post(served, traces(span()).SerializeToString()).raise_for_status()


def message_of(answer: httpx.Response) -> str:
    """The sentence inside an error answer, whatever its encoding."""
    kind = answer.headers["content-type"]
    if kind == PROTOBUF:
        return Status.FromString(answer.content).message
    return str(json.loads(answer.content)["message"]) if kind == "application/json" else answer.text


def stored(served: Served) -> int:
    """Rows of telemetry in the ledger once everything acknowledged so far is sealed."""
    headers = {"authorization": f"Bearer {(served.data / 'operator.token').read_text()}"}
    httpx.post(served.url("control", "/v1/admin/seal"), headers=headers, timeout=60).raise_for_status()
    objects = Evidence(served.data / "store").objects(0, 2**63 - 1)
    return sum(len(table) - table["signal"].null_count for table in (pq.read_table(path) for path in objects))
