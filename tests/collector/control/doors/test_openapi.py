"""The published OpenAPI: current, complete, and of a shape other people's tools read."""

import json

import pytest
import schemathesis

from collector.control.doors.__main__ import FILE, document, published_routes
from collector.control.doors.request import Route
from tests.collector.control.owned import OwnerProcess
from tests.house.source import ROOT


async def test_the_published_file_is_what_is_served(owner: OwnerProcess) -> None:
    """Run `python -m collector.control.doors` when this fails."""
    published = (ROOT / FILE).read_text(encoding="utf-8")
    assert published == await document()
    assert owner.http.get("/openapi.json").json() == json.loads(published)


@pytest.fixture
async def routes(tmp_path_factory: pytest.TempPathFactory) -> list[Route]:
    return published_routes(tmp_path_factory.mktemp("routes"))


def test_every_route_is_documented(routes: list[Route]) -> None:
    assert [route.path for route in routes if route.operation is None or not route.operation.summary] == []


def test_every_secured_operation_says_how_to_authenticate_and_what_a_bad_key_gets(owner: OwnerProcess) -> None:
    described = owner.http.get("/openapi.json").json()
    for path, operations in described["paths"].items():
        for operation in operations.values():
            if operation["security"]:
                assert {"401", "403", "503"} <= operation["responses"].keys(), path
    assert described["paths"]["/v1/decisions"]["post"]["security"] == [{"bearer": []}, {"key": []}]


def test_the_document_is_one_a_strangers_tool_can_load(owner: OwnerProcess) -> None:
    schema = schemathesis.openapi.from_dict(owner.http.get("/openapi.json").json())
    schema.validate()
    assert sum(1 for _ in schema.get_all_operations()) >= 12


def test_who_sends_a_request_id_finds_it_in_the_answer(owner: OwnerProcess) -> None:
    for path in ("/v1/budgets", "/nowhere"):
        answer = owner.http.get(path, headers={"x-request-id": "r-7", "x-api-key": owner.key})
        assert answer.headers["x-request-id"] == "r-7"
    assert "x-request-id" not in owner.http.get("/healthz", headers={"x-request-id": "r" * 300}).headers


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"later": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", id="a nest too deep"),
        pytest.param(b'{"labels": {"caf\xe9 ": "x"}}', id="a key that is no UTF-8"),
    ],
)
def test_json_that_cannot_be_read_is_a_bad_request_and_harms_nobody(owner: OwnerProcess, content: bytes) -> None:
    """Both once ended the owner, as a bug does."""
    answer = owner.http.post("/v1/decisions", content=content, headers={"x-api-key": owner.key})
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert owner.ask()["verdict"] == "allow"
