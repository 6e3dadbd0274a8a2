"""One key of a tenant at the real doors: its telemetry is taken, its agents may ask, and revoking ends both."""

import json
from collections.abc import Callable

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from tests.harness import Served
from tests.otlp import span, traces

QUESTION = {"model": "gpt-4o", "provider": "openai", "input_tokens": 1_000, "max_output_tokens": 100}
STEP = traces(span({"step": "plan"}, name="plan"))


def test_telemetry_and_questions_of_many_agents_come_under_one_key_until_it_is_revoked(served: Served) -> None:
    made = json.loads(served.run("keys", "create", "--tenant", "default/default", "--json"))
    assert send(served, made["key"]).status_code == 200
    with grpc.insecure_channel(served.endpoints["otlp_grpc"].rpartition("//")[2]) as channel:
        answer = TraceServiceStub(channel).Export(STEP, metadata=[("x-api-key", made["key"])], timeout=30)
    assert answer.partial_success.rejected_spans == 0
    for agent in ("planner", "writer"):
        assert ask(served, made["key"], agent=agent).json()["hold"]["amount_usd"] == "0.003500000"
    assert ask(served, made["key"]).status_code == 400
    assert ask(served, served.agent_key, agent="planner").status_code == 403
    served.run("keys", "revoke", made["key_id"], "--reason", "rotated")
    for refused in (send, ask):
        assert eventually_refused(refused, served, made["key"])


@pytest.mark.parametrize("way", ["admin_token", "nothing"])
def test_telemetry_under_what_is_neither_kind_of_key_is_refused(served: Served, way: str) -> None:
    response = send(served, served.admin_token if way == "admin_token" else "")
    assert response.status_code == (403 if way == "admin_token" else 401)


def send(served: Served, key: str) -> httpx.Response:
    headers = {"content-type": "application/x-protobuf", "x-api-key": key}
    return httpx.post(
        served.url("otlp_http", "/v1/traces"), content=STEP.SerializeToString(), headers=headers, timeout=30
    )


def ask(served: Served, key: str, **more: str) -> httpx.Response:
    url = served.url("control", "/v1/decisions")
    return httpx.post(url, json=QUESTION | more, headers={"x-api-key": key}, timeout=30)


def eventually_refused(door: Callable[[Served, str], httpx.Response], served: Served, key: str) -> bool:
    """A revocation is followed within a second."""
    return any(door(served, key).status_code == 401 for _ in range(1_000))
