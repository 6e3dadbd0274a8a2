"""Damaged requests at every protobuf door of a served Spanward: an honest status for each, and all of it counted.

`SPANWARD_DOOR_FUZZ_CASES` is how many are sent in all; 52,000 by default.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import grpc
import httpx
import pytest

from schemas.protobuf import control_pb2 as pb
from schemas.protobuf import ext_authz_pb2 as az
from tests.harness import Served
from tests.integration.mutants import Knock, captured, knock_grpc, knock_http, mutants

CASES = int(os.environ.get("SPANWARD_DOOR_FUZZ_CASES", "52000"))
HTTP_PATHS = {signal: f"/v1/{signal}" for signal in ("traces", "logs", "metrics")}
GRPC_METHODS = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
CONTROL = "spanward.control.v1.Control"
CHECK = "envoy.service.auth.v3.Authorization/Check"

# What a door may say of a request that is not as it should be; anything else is a bug of ours.
HTTP_STATUSES = {200, 400, 413}
GRPC_STATUSES = {"OK", "INVALID_ARGUMENT"}
CONTROL_STATUSES = GRPC_STATUSES | {
    "NOT_FOUND", "PERMISSION_DENIED", "ALREADY_EXISTS", "FAILED_PRECONDITION", "UNAUTHENTICATED",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("fuzzed") / "data")
    try:
        yield served.start()
    finally:
        served.close()


def address(server: Served, door: str) -> str:
    return server.endpoints[door].rpartition("//")[2]


def show(door: str, statuses: Counter[int] | Counter[str], started: float) -> None:
    """The figures of a run, for who reads the log."""
    told = ", ".join(f"{status} {count}" for status, count in statuses.most_common())
    sys.stdout.write(f"{door}: {statuses.total()} damaged requests in {time.monotonic() - started:.1f} s: {told}\n")


def controls(server: Served) -> list[Knock]:
    """One whole message for each method, with a hold that exists where one is named."""
    credential = (("x-api-key", server.agent_key),)
    question = pb.DecisionRequest(
        action="llm.call", model="gpt-4o", provider="openai", input_tokens=100, max_output_tokens=10,
        labels={"team": "search", "größe": "groß"}, idempotency_key="fuzz",
    )  # fmt: skip
    with grpc.insecure_channel(address(server, "control_grpc")) as channel:
        decide: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{CONTROL}/Decide")
        decision = pb.Decision.FromString(decide(question.SerializeToString(), metadata=credential))
    hold = decision.hold.id or "hold_1"
    messages = {
        "Decide": question,
        "Settle": pb.SettleRequest(hold_id=hold, input_tokens=100, output_tokens=3),
        "Void": pb.VoidRequest(hold_id=hold),
        "GetHold": pb.GetHoldRequest(hold_id=hold),
        "ListBudgets": pb.ListBudgetsRequest(scope="default"),
    }
    return [Knock(f"{CONTROL}/{method}", message.SerializeToString()) for method, message in messages.items()]


def checks(server: Served) -> list[Knock]:
    """What Envoy asks about calls of three APIs."""
    calls = {
        "/v1/chat/completions": b'{"model":"gpt-4o","max_tokens":5,"messages":[{"role":"user","content":"Hello?"}]}',
        "/v1/messages": b'{"model":"claude-sonnet-4-5","max_tokens":5,"messages":[]}',
        "/v1beta/models/gemini-2.5-pro:generateContent": b'{"generationConfig":{"maxOutputTokens":5},"contents":[]}',
    }
    return [Knock(CHECK, _check(path, body, server.agent_key).SerializeToString()) for path, body in calls.items()]


def _check(path: str, body: bytes, key: str) -> az.CheckRequest:
    http = az.AttributeContext.HttpRequest(
        id="17", method="POST", path=path, host="127.0.0.1:10000", scheme="http", size=len(body), raw_body=body,
        headers={"x-spanward-key": key, "content-type": "application/json", ":authority": "127.0.0.1:10000"},
    )  # fmt: skip
    return az.CheckRequest(
        attributes=az.AttributeContext(
            request=az.AttributeContext.Request(http=http), context_extensions={"provider": "openai"}
        )
    )


async def test_damaged_telemetry_over_http_is_taken_or_refused_but_never_an_error_of_ours(server: Served) -> None:
    started = time.monotonic()
    knocks = mutants(captured(HTTP_PATHS), seed=1, count=CASES * 30 // 52)
    statuses = await knock_http(address(server, "otlp_http"), server.agent_key, knocks)
    show("OTLP/HTTP", statuses, started)
    assert set(statuses) <= HTTP_STATUSES
    assert statuses[200] > 0 < statuses[400]


async def test_damaged_telemetry_over_grpc_is_taken_or_refused_but_never_an_error_of_ours(server: Served) -> None:
    started = time.monotonic()
    knocks = mutants(captured(GRPC_METHODS), seed=2, count=CASES * 12 // 52)
    credential = {"authorization": f"Bearer {server.agent_key}"}
    statuses = await knock_grpc(address(server, "otlp_grpc"), credential, knocks)
    show("OTLP/gRPC", statuses, started)
    assert set(statuses) <= GRPC_STATUSES
    assert statuses["OK"] > 0 < statuses["INVALID_ARGUMENT"]


@pytest.mark.parametrize(
    ("whole", "allowed"), [(controls, CONTROL_STATUSES), (checks, GRPC_STATUSES)], ids=["control", "ext_authz"]
)
async def test_damaged_questions_over_grpc_are_answered_or_refused_but_never_an_error_of_ours(
    server: Served, whole: Callable[[Served], list[Knock]], allowed: set[str]
) -> None:
    started = time.monotonic()
    knocks = mutants(whole(server), seed=3, count=CASES * 5 // 52)
    statuses = await knock_grpc(address(server, "control_grpc"), {"x-api-key": server.agent_key}, knocks)
    show(whole.__name__, statuses, started)
    assert set(statuses) <= allowed
    assert statuses["OK"] > 0


def test_after_all_that_everything_received_is_accounted_for_and_the_next_request_works(server: Served) -> None:
    where, body = next(knock for knock in captured(HTTP_PATHS) if knock.where == HTTP_PATHS["traces"])
    headers = {"authorization": f"Bearer {server.agent_key}", "content-type": "application/x-protobuf"}
    httpx.post(server.url("otlp_http", where), content=body, headers=headers, trust_env=False).raise_for_status()
    assert httpx.get(server.url("control", "/healthz"), trust_env=False).status_code == 200
    server.seal()
    server.stop()
    completeness = server.report("activity")["completeness"]
    assert completeness["received"] > 0
    assert completeness["balanced"] is True
