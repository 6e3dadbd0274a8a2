"""The owner's disk fails: the doors for telemetry notice nothing, and every call is booked once."""

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from schemas.money import parse_usd
from tests.harness import Served
from tests.otlp import CHAT_NANO_USD, span, traces

BATCHES, SPANS = 12, 25


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "data")
    yield served.start()
    served.close()


def owner_of(served: Served) -> int:
    """The process that keeps the state of budgets."""
    children = psutil.Process(served.pid).children(recursive=True)
    return next(child.pid for child in children if "collector.control" in child.cmdline())


def send(served: Served, batches: int) -> list[int]:
    headers = {"authorization": f"Bearer {served.agent_key}", "content-type": "application/x-protobuf"}
    bodies = [traces(*(span() for _ in range(SPANS))).SerializeToString() for _ in range(batches)]
    url = served.url("otlp_http", "/v1/traces")
    return [httpx.post(url, content=body, headers=headers, timeout=30).status_code for body in bodies]


def decide(served: Served) -> int:
    headers = {"authorization": f"Bearer {served.agent_key}"}
    return httpx.post(served.url("control", "/v1/decisions"), json={"action": "tool.call"}, headers=headers).status_code


def test_telemetry_is_taken_in_while_the_state_cannot_be_written_and_booked_once_afterwards(served: Served) -> None:
    """LiteLLM #34238: what budgets cannot do must be said to agents, and never cost a span."""
    owner = owner_of(served)
    send(served, BATCHES)
    limits = resource.prlimit(owner, resource.RLIMIT_FSIZE)
    resource.prlimit(owner, resource.RLIMIT_FSIZE, (0, limits[1]))
    assert decide(served) == 503
    assert send(served, BATCHES) == [200] * BATCHES
    assert httpx.get(served.url("health", "/")).status_code == 200
    assert owner_of(served) == owner, "nothing was restarted"
    resource.prlimit(owner, resource.RLIMIT_FSIZE, limits)
    deadline = time.monotonic() + 60
    while decide(served) != 200:
        assert time.monotonic() < deadline, served.log_tail()
        time.sleep(0.1)
    send(served, 1)
    served.seal()
    spans = (2 * BATCHES + 1) * SPANS
    report = served.report("spend")
    assert report["completeness"]["stored"] >= spans
    assert report["completeness"]["duplicate"] == 0
    assert sum(row["calls"] for row in report["rows"]) == spans
    assert sum(parse_usd(row["cost_usd"]) for row in report["rows"]) == spans * CHAT_NANO_USD
    served.stop()
    assert "is written again" in served.log_tail()
