"""Whatever is sent, the status is exact, the body says what and how to mend it, and the next request works."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from schemas.errors import Fatal
from tests.collector.control.owned import CALL, OwnerThread

HEAD = b"POST /v1/decisions HTTP/1.1\r\nhost: x\r\n"
SETTINGS = {"max_body": "2KiB", "seal_timeout": "50ms"}


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnerThread]:
    owner = OwnerThread(
        tmp_path_factory.mktemp("errors") / "data", control={"max_body": "2KiB", "seal_timeout": "50ms"}
    )
    yield owner.start()
    owner.end()


def send(
    owner: OwnerThread, request: str, *, key: str = "agent", headers: dict[str, Any] | None = None,
    content: bytes | Iterator[bytes] | None = None,
) -> httpx.Response:  # fmt: skip
    keys = {"agent": owner.key, "admin": owner.admin, "operator": "operator"}
    credential = {"authorization": f"Bearer {keys.get(key, key)}"} if key else {}
    method, _, path = request.partition(" ")
    return owner.http.request(method, path, headers=credential | (headers or {}), content=content)


def body(**changes: object) -> bytes:
    return json.dumps(CALL | changes).encode()


UNREADABLE = {
    "an empty body": (b"", "truncated"),
    "half a body": (b"{", "truncated"),
    "bytes that are not UTF-8": (b"\xff\xfe{}", "malformed"),
    "a list": (b"[]", "Expected `object`, got `array`"),
    "null": (b"null", "Expected `object`, got `null`"),
    "a model that is a number": (body(model=7), "`$.model`"),
    "tokens that are text": (body(input_tokens="7"), "`$.input_tokens`"),
    "half a token": (body(input_tokens=1.5), "`$.input_tokens`"),
    "less than no tokens": (body(input_tokens=-1), "`$.input_tokens` is -1"),
    "more tokens than anyone believes": (body(input_tokens=10**12), "`$.input_tokens` is"),
    "more than 64 bits of tokens": (body(input_tokens=10**30), "`$.input_tokens`"),
    "less than no output": (body(max_output_tokens=-5), "`$.max_output_tokens` is -5"),
    "a label that is a number": (body(labels={"a": 1}), "`$.labels[...]`"),
    "no action": (body(action=""), "`$.action` is empty"),
    "an endless model": (body(model="m" * 300), "`$.model` is longer"),
    "an endless idempotency key": (body(idempotency_key="k" * 300), "`$.idempotency_key` is longer"),
    "half a surrogate pair": (b'{"model": "\\ud800"}', "cannot be read"),
    "a deep nest": (b'{"x":' * 300, "cannot be read"),
}


@pytest.mark.parametrize(("content", "complaint"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_body_that_cannot_be_used_is_400_and_says_where(owner: OwnerThread, content: bytes, complaint: str) -> None:
    response = send(owner, "POST /v1/decisions", content=content)
    assert (response.status_code, response.json()["error"]) == (400, "bad_request")
    assert complaint in response.json()["message"]
    assert response.json().keys() == {"error", "message", "fix"}
    assert response.headers["content-type"] == "application/json"
    assert owner.ask()["verdict"] == "allow"


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "a body over the limit": ({"content": b" " * 3000}, 413, "too_large"),
    "a body over the limit that hides its size": ({"content": iter([b" " * 1500] * 3)}, 413, "too_large"),
    "another media type": ({"headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
    "no key": ({"key": ""}, 401, "unauthenticated"),
    "a malformed key": ({"key": "spw_agent_nonsense"}, 401, "unauthenticated"),
    "a key that is not ASCII": ({"key": "", "headers": {"x-api-key": b"k\xc3\xbc"}}, 401, "unauthenticated"),
    "the operator token": ({"key": "operator"}, 401, "unauthenticated"),
    "an admin token": ({"key": "admin"}, 403, "forbidden"),
    "an admin token, whatever it says": ({"key": "admin", "content": b"{"}, 403, "forbidden"),
}


@pytest.mark.parametrize(("request_", "status", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_a_request_that_may_not_be_made_gets_its_exact_status(
    owner: OwnerThread, request_: dict[str, Any], status: int, error: str
) -> None:
    response = send(owner, "POST /v1/decisions", **{"content": body()} | request_)
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert response.json()["fix"]
    assert owner.ask()["verdict"] == "allow"


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/", 404, "not_found"),
        ("POST", "/v1/decision", 404, "not_found"),
        ("POST", "/v1/decisions/", 404, "not_found"),
        ("GET", "/v1/holds/", 404, "not_found"),
        ("POST", "/v1/holds/hold_1/steal", 404, "not_found"),
        ("POST", "/v1/holds/hold_1/settle/now", 404, "not_found"),
        ("GET", "/v1/holds/hold_1", 404, "not_found"),
        ("GET", "/v1/budgets?scop=acme", 400, "bad_request"),
        ("GET", "/v1/decisions", 405, "method_not_allowed"),
        ("POST", "/v1/budgets", 405, "method_not_allowed"),
        ("DELETE", "/v1/holds/hold_1", 405, "method_not_allowed"),
        ("GET", "/v1/holds/hold_1/void", 405, "method_not_allowed"),
        ("GET", "/v1/admin/seal", 405, "method_not_allowed"),
        ("GET", "/v1/feedback", 400, "bad_request"),
        ("GET", "/v1/feedback?client=", 400, "bad_request"),
        ("GET", "/v1/feedback?clinet=a", 400, "bad_request"),
        ("POST", "/v1/feedback", 405, "method_not_allowed"),
        ("POST", "/v1/feedback/state", 405, "method_not_allowed"),
        ("GET", "/v1/feedback/acks", 405, "method_not_allowed"),
        ("POST", "/v1/feedback/acks", 400, "bad_request"),
        ("GET", "/v1/admin/kills", 403, "forbidden"),
        ("DELETE", "/v1/admin/kills", 405, "method_not_allowed"),
        ("GET", "/v1/admin/kills/kill_1/release", 405, "method_not_allowed"),
        ("GET", "/v1/admin/drills", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
    ],
)
def test_a_wrong_place_or_method_gets_its_exact_status(
    owner: OwnerThread, method: str, path: str, status: int, error: str
) -> None:
    response = send(owner, f"{method} {path}")
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert ("allow" in response.headers) is (status == 405)


def test_a_missing_key_is_told_how_to_authenticate(owner: OwnerThread) -> None:
    assert send(owner, "GET /v1/budgets", key="").headers["www-authenticate"] == "Bearer"


def test_the_key_may_come_as_x_api_key(owner: OwnerThread) -> None:
    assert send(owner, "GET /v1/budgets", key="", headers={"x-api-key": owner.key}).status_code == 200


def test_health_needs_no_key(owner: OwnerThread) -> None:
    response = send(owner, "GET /healthz", key="")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_only_an_administrator_or_this_machine_may_seal(owner: OwnerThread) -> None:
    assert send(owner, "POST /v1/admin/seal").status_code == 403
    assert send(owner, "POST /v1/admin/seal", key="operato").status_code == 401
    assert send(owner, "POST /v1/admin/seal", key="").status_code == 401
    for key in ("admin", "operator"):
        response = send(owner, "POST /v1/admin/seal", key=key)
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert "seal_timeout" in response.json()["message"]


def test_an_unknown_field_and_a_missing_content_type_are_let_through(owner: OwnerThread) -> None:
    """Newer clients may say more than this version knows."""
    assert send(owner, "POST /v1/decisions", content=body(later="yes")).status_code == 200


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"nonsense\r\n\r\n", id="not HTTP"),
        pytest.param(
            b"POST /v1/decisions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{", id="hangs up in its body"
        ),
        pytest.param(b"POST /v1/decisions HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", id="negative length"),
    ],
)
def test_broken_connections_harm_nobody(owner: OwnerThread, raw: bytes) -> None:
    with socket.create_connection((owner.http.base_url.host, owner.http.base_url.port or 0)) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    assert owner.ask()["verdict"] == "allow"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(ZeroDivisionError("of ours"), "ZeroDivisionError", id="a bug may leave half a change"),
        pytest.param(Fatal("The disk is gone."), "The disk is gone.", id="the state is unknown"),
    ],
)
def test_an_error_nobody_can_answer_ends_the_owner(
    start: Callable[..., OwnerThread], monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("collector.control.owner.Owner._record", fail)
    owner = start()
    assert owner.post("/v1/decisions", CALL).status_code == 500
    code, failure = owner.wait()
    assert (code, told in failure) == (1, True)
