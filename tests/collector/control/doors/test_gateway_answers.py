"""nginx, Traefik and Envoy are answered with the statuses each knows, in the words of the provider's API."""

import json
from datetime import UTC, datetime

import httpx
import pytest

from schemas.protobuf import ext_authz_pb2 as az
from tests.collector.control.doors.calling import Caller
from tests.collector.control.owned import OwnerProcess

DEAR = {"model": "gpt-4o", "max_tokens": 100_000_000}
CHEAP = {"model": "gpt-4o", "max_tokens": 10}
PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/gpt-4o:generateContent",
}


def nginx(owner: OwnerProcess, *, key: str | None = None, **headers: str) -> httpx.Response:
    sent = {"x-original-method": "POST", "x-original-uri": PATHS["openai"], "x-spanward-model": "gpt-4o"}
    sent |= {"x-spanward-key": owner.key if key is None else key}
    return owner.http.get("/v1/forward-auth/nginx", headers=sent | headers)


def traefik(
    owner: OwnerProcess, body: object, *, key: str | None = None, path: str = PATHS["openai"]
) -> httpx.Response:
    sent = {"x-forwarded-method": "POST", "x-forwarded-uri": path, "x-spanward-provider": "openai"}
    sent |= {"x-spanward-key": owner.key if key is None else key}
    return owner.http.request("GET", "/v1/forward-auth/traefik", headers=sent, content=json.dumps(body).encode())


def envoy(call: Caller, body: object, *, key: str | None = None, path: str = PATHS["openai"]) -> az.CheckResponse:
    http = az.AttributeContext.HttpRequest(
        method="POST", path=path, headers={"x-spanward-key": call.key if key is None else key},
        raw_body=json.dumps(body).encode(),
    )  # fmt: skip
    attributes = az.AttributeContext(
        request=az.AttributeContext.Request(http=http), context_extensions={"provider": "openai"}
    )
    return call("envoy.service.auth.v3.Authorization/Check", az.CheckRequest(attributes=attributes), az.CheckResponse)


def told(response: az.CheckResponse) -> dict[str, str]:
    """The headers an answer of Envoy's carries to the caller."""
    options = response.denied_response.headers or response.ok_response.response_headers_to_add
    return {option.header.key: option.header.value for option in options}


def test_nginx_is_answered_with_what_it_knows_and_told_the_rest_in_headers(owner: OwnerProcess) -> None:
    allowed = nginx(owner)
    assert (allowed.status_code, allowed.headers["x-spanward-verdict"]) == (200, "allow")
    over = nginx(owner, **{"x-original-length": "100000000"})
    assert (over.status_code, over.headers["x-spanward-status"]) == (403, "429")
    assert over.headers["x-spanward-code"] == "budget_exceeded"
    assert "The daily budget of acme" in over.headers["x-spanward-reason"]
    assert json.loads(over.headers["x-spanward-body"]) == over.json()
    unknown = nginx(owner, key="spw_agent_x")
    assert (unknown.status_code, unknown.headers["x-spanward-status"]) == (401, "401")


def test_nginx_holds_for_the_longest_answer_it_is_told_of(owner: OwnerProcess) -> None:
    decision = nginx(owner, **{"x-spanward-max-output-tokens": "100", "x-original-length": "400"})
    hold = owner.get(f"/v1/holds/{decision.headers['x-spanward-decision-id'].replace('dec_', 'hold_')}").json()
    assert hold["amount_usd"] == "0.002000000"


def test_traefik_hands_the_answer_on(owner: OwnerProcess) -> None:
    assert traefik(owner, CHEAP).status_code == 200
    over = traefik(owner, DEAR)
    assert over.status_code == 429
    midnight = datetime.fromisoformat(over.headers["x-spanward-budget-resets-at"])
    wait = (midnight - datetime.now(UTC)).total_seconds()
    assert abs(int(over.headers["retry-after"]) - wait) < 60
    assert traefik(owner, CHEAP, key="").status_code == 401
    assert traefik(owner, {"model": "unheard-of"}).status_code == 403


def test_envoy_lets_pass_without_our_key_and_tells_what_is_left(grpc_call: Caller) -> None:
    answer = envoy(grpc_call, CHEAP)
    assert answer.status.code == 0
    assert list(answer.ok_response.headers_to_remove) == ["x-spanward-key"]
    (upstream,) = answer.ok_response.headers
    assert upstream.header.value == told(answer)["x-spanward-decision-id"]
    assert told(answer).keys() >= {"x-spanward-budget-remaining-usd", "x-spanward-budget-resets-at"}


ERRORS = {
    "openai": {"type": "insufficient_quota", "param": None, "code": "budget_exceeded"},
    "anthropic": {"type": "rate_limit_error"},
    "gemini": {"status": "RESOURCE_EXHAUSTED", "code": 429},
}


@pytest.mark.parametrize("style", PATHS)
def test_a_refusal_has_the_shape_of_the_providers_own_errors(grpc_call: Caller, style: str) -> None:
    body = DEAR | {"generationConfig": {"maxOutputTokens": DEAR["max_tokens"]}}
    answer = envoy(grpc_call, body, path=PATHS[style]).denied_response
    error = json.loads(answer.body)
    assert answer.status.code == 429
    assert error.get("type", "") == ("error" if style == "anthropic" else "")
    message = error["error"].pop("message")
    assert error["error"] == ERRORS[style]
    assert "The daily budget of acme" in message
    assert "Decision dec_" in message


def test_an_agent_that_is_not_the_keys_is_refused(grpc_call: Caller) -> None:
    http = az.AttributeContext.HttpRequest(
        method="POST", path="/v1/chat/completions",
        headers={"X-Spanward-Key": grpc_call.key, "x-spanward-agent": "somebody"},
    )  # fmt: skip
    check = az.CheckRequest(attributes=az.AttributeContext(request=az.AttributeContext.Request(http=http)))
    answer = grpc_call("envoy.service.auth.v3.Authorization/Check", check, az.CheckResponse)
    assert answer.denied_response.status.code == 403
    assert "may not speak for agent" in answer.denied_response.body


def test_an_empty_check_is_refused_and_harms_nobody(grpc_call: Caller) -> None:
    answer = grpc_call("envoy.service.auth.v3.Authorization/Check", b"", az.CheckResponse)
    assert answer.denied_response.status.code == 401


def test_a_body_larger_than_its_limit_is_413(owner: OwnerProcess) -> None:
    assert traefik(owner, {"x": "x" * 9_000_000}).status_code == 413
