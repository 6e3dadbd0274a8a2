"""A key that was revoked, or whose time is over, is refused by every door within five seconds.

A blocked key that goes on working behind a cache, or at one door of five, is what users of a peer found
(peers.md 38: litellm #9820, #2149, #35535). Also on connections that were opened while it was good: HTTP that is
kept alive, a gRPC channel. The table has a row a door; a door is asked again and again until it refuses, and says
why.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from schemas.protobuf import control_pb2, ext_authz_pb2
from tests.harness import Served
from tests.otlp import span, traces

REFUSED_WITHIN_S = 5.0
STEP = traces(span({"step": "plan"}, name="plan"))
QUESTION = {"model": "gpt-4o", "provider": "openai", "input_tokens": 1_000, "max_output_tokens": 100}

Ask = Callable[[], str | None]
"""Use the key once: `None` when it is taken, else the words of the refusal."""


def otlp_http(served: Served, key: str, stack: ExitStack) -> Ask:
    client = stack.enter_context(httpx.Client(base_url=served.url("otlp_http")))
    headers = {"content-type": "application/x-protobuf", "x-api-key": key}
    return lambda: refusal(client.post("/v1/traces", content=STEP.SerializeToString(), headers=headers))


def otlp_grpc(served: Served, key: str, stack: ExitStack) -> Ask:
    channel = stack.enter_context(grpc.insecure_channel(served.endpoints["otlp_grpc"].rpartition("//")[2]))
    stub = TraceServiceStub(channel)

    def ask() -> str | None:
        done = stub.Export.future(STEP, metadata=[("x-api-key", key)], timeout=30)
        if done.code() == grpc.StatusCode.OK:
            return None
        assert done.code() == grpc.StatusCode.UNAUTHENTICATED
        return str(done.details())

    return ask


def control_decisions(served: Served, key: str, stack: ExitStack) -> Ask:
    client = stack.enter_context(httpx.Client(base_url=served.url("control")))
    return lambda: refusal(client.post("/v1/decisions", json=QUESTION, headers={"x-api-key": key}))


def control_repeated(served: Served, key: str, stack: ExitStack) -> Ask:
    """The answer to a repeated question is kept, but not for a key that ended."""
    client = stack.enter_context(httpx.Client(base_url=served.url("control")))
    question = {**QUESTION, "idempotency_key": "again"}
    return lambda: refusal(client.post("/v1/decisions", json=question, headers={"authorization": f"Bearer {key}"}))


def control_budgets(served: Served, key: str, stack: ExitStack) -> Ask:
    client = stack.enter_context(httpx.Client(base_url=served.url("control")))
    return lambda: refusal(client.get("/v1/budgets", headers={"x-api-key": key}))


def feedback_state(served: Served, key: str, stack: ExitStack) -> Ask:
    client = stack.enter_context(httpx.Client(base_url=served.url("control")))
    return lambda: refusal(client.get("/v1/feedback/state", headers={"x-api-key": key}))


def feedback_stream(served: Served, key: str, stack: ExitStack) -> Ask:
    """A stream that was opened while the key was good says that it ended, and ends."""
    client = stack.enter_context(httpx.Client(base_url=served.url("control"), timeout=30))
    first = client.build_request("GET", "/v1/feedback", params={"client": "watcher"}, headers={"x-api-key": key})
    opened = client.send(first, stream=True)
    stack.callback(opened.close)
    if opened.status_code != 200:
        opened.read()
        words = refusal(opened)
        return lambda: words
    said: list[str] = []
    threading.Thread(target=lambda: said.extend([*opened.iter_lines(), "the end"]), daemon=True).start()

    def ask() -> str | None:
        return " ".join(said) if said and said[-1] == "the end" else None

    return ask


def control_grpc(served: Served, key: str, stack: ExitStack) -> Ask:
    channel = stack.enter_context(grpc.insecure_channel(served.endpoints["control_grpc"]))
    decide: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/spanward.control.v1.Control/Decide")
    question = control_pb2.DecisionRequest(action="tool.call", tool="search").SerializeToString()

    def ask() -> str | None:
        done = decide.future(question, metadata=(("authorization", f"Bearer {key}"),), timeout=30)
        if done.code() == grpc.StatusCode.OK:
            return None
        assert done.code() == grpc.StatusCode.UNAUTHENTICATED
        return str(done.details())

    return ask


def envoy(served: Served, key: str, stack: ExitStack) -> Ask:
    channel = stack.enter_context(grpc.insecure_channel(served.endpoints["control_grpc"]))
    check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/envoy.service.auth.v3.Authorization/Check"
    )
    request = ext_authz_pb2.CheckRequest()
    http = request.attributes.request.http
    http.method, http.host, http.path = "GET", "api.openai.com", "/v1/models"
    http.headers["x-spanward-key"] = key

    def ask() -> str | None:
        answer = ext_authz_pb2.CheckResponse.FromString(check(request.SerializeToString(), timeout=30))
        return str(answer.denied_response.body) if answer.HasField("denied_response") else None

    return ask


def forward_auth(served: Served, key: str, stack: ExitStack) -> Ask:
    client = stack.enter_context(httpx.Client(base_url=served.url("control")))
    headers = {"x-spanward-key": key, "x-original-uri": "/v1/models", "x-original-method": "GET"}
    return lambda: refusal(client.get("/v1/forward-auth/nginx", headers=headers))


def authzen(served: Served, key: str, stack: ExitStack) -> Ask:
    client = stack.enter_context(httpx.Client(base_url=served.url("control")))
    question = {
        "subject": {"type": "agent", "id": "default/default/default"},
        "action": {"name": "tool.call"},
        "resource": {"type": "tool", "id": "search"},
    }
    return lambda: refusal(client.post("/access/v1/evaluation", json=question, headers={"x-api-key": key}))


# A new door is a new row.
DOORS = {
    "OTLP/HTTP": otlp_http,
    "OTLP/gRPC": otlp_grpc,
    "control: decisions": control_decisions,
    "control: a repeated question": control_repeated,
    "control: budgets": control_budgets,
    "control: state of kills": feedback_state,
    "control: feedback stream": feedback_stream,
    "control: gRPC": control_grpc,
    "Envoy's ext_authz": envoy,
    "forward-auth of nginx": forward_auth,
    "AuthZEN": authzen,
}


def refusal(answer: httpx.Response) -> str | None:
    if answer.status_code == 200:
        return None
    assert answer.status_code == 401, answer.text
    return answer.text


@pytest.fixture
def doors(served: Served) -> Iterator[Callable[[str], dict[str, Ask]]]:
    """`doors(key)` opens a connection to each of them."""
    with ExitStack() as stack:
        yield lambda key: {name: door(served, key, stack) for name, door in DOORS.items()}


def seconds_until_refused(asks: dict[str, Ask], why: str) -> dict[str, float]:
    """By door, counted from now; the connections stay open."""
    began = time.monotonic()
    took: dict[str, float] = {}
    while len(took) < len(asks):
        for name, ask in asks.items():
            said = None if name in took else ask()
            if said is not None:
                assert why in said
                took[name] = time.monotonic() - began
        assert time.monotonic() - began < REFUSED_WITHIN_S, f"refused so far: {took}"
    return took


def show(ended: str, took: dict[str, float]) -> None:
    seconds = ", ".join(f"{name} {each:.3f} s" for name, each in took.items())
    sys.stdout.write(f"{ended} key refused by {seconds}\n")


def test_a_revoked_key_is_refused_by_every_door_on_open_connections_too(
    served: Served, doors: Callable[[str], dict[str, Ask]]
) -> None:
    made = json.loads(served.run("keys", "create", "--agent", "default/default/default", "--json"))
    asks = doors(made["key"])
    for _ in range(3):
        assert {name: ask() for name, ask in asks.items()} == dict.fromkeys(asks)
    served.run("keys", "revoke", made["key_id"], "--reason", "lost with a laptop")
    took = seconds_until_refused(asks, "revoked")
    show("revoked", took)
    assert all(door() for door in doors(made["key"]).values()), "and it stays so"


def test_an_expired_key_is_refused_by_every_door_on_open_connections_too(
    served: Served, doors: Callable[[str], dict[str, Ask]]
) -> None:
    made = json.loads(served.run("keys", "create", "--agent", "default/default/default", "--expires", "4s", "--json"))
    ends = time.monotonic() + 4
    asks = doors(made["key"])
    assert {name: ask() for name, ask in asks.items()} == dict.fromkeys(asks)
    time.sleep(max(0, ends - time.monotonic()))
    took = seconds_until_refused(asks, "expired")
    show("expired", took)
