"""The same telemetry in other pieces, another order and more often, over a restart: the same spend report.

Promise P4 at the doors of a real server: every span a request of its own, all of them shuffled and
sent twice, children and parents in any order, the process killed in between. Compared are the bytes
of the report.
"""

import random
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.captures_on_disk import Recorded, pieces, requests
from tests.harness import Served

# Doubly instrumented, with sums, with logs beside spans, with calls in other traces than their wrappers.
EMITTERS = ("double-mixed", "anthropic-openllmetry", "strands", "claude-code", "google-adk", "openai-official-content")
BY = "agent,claimed_agent,provider,model,day,hour,operation,service_tier"


def whole() -> list[Recorded]:
    return [request for emitter in EMITTERS for request in requests(emitter) if request.signal != "metrics"]


def sent(served: Served, recorded: Iterable[Recorded]) -> None:
    key = served.agent_key
    with httpx.Client(headers={"authorization": f"Bearer {key}", "content-type": "application/x-protobuf"}) as client:
        for request in recorded:
            client.post(served.url("otlp_http", f"/v1/{request.signal}"), content=request.body).raise_for_status()


def report(served: Served) -> str:
    served.seal()
    return served.run("report", "spend", "--by", BY, "--format", "csv")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of the telemetry as it was recorded."""
    served = Served(tmp_path_factory.mktemp("whole") / "data").start()
    try:
        sent(served, whole())
        return report(served)
    finally:
        served.close()


# A server an example: shrinking would take hours and make nothing clearer.
@settings(
    max_examples=4, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow], database=None
)
@given(seed=st.integers(0, 2**32))
def test_shuffled_split_repeated_and_restarted_telemetry_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, expected: str, seed: int
) -> None:
    order = random.Random(seed)
    scattered = [piece for request in whole() for piece in pieces(request)] * 2
    order.shuffle(scattered)
    cut = order.randrange(len(scattered))
    data: Path = tmp_path_factory.mktemp("scattered") / "data"
    served = Served(data).start()
    try:
        sent(served, scattered[:cut])
        if order.random() < 0.5:
            served.seal()
        served.kill9()
        served.start()
        sent(served, scattered[cut:])
        assert report(served) == expected
    finally:
        served.close()


def test_the_report_of_less_is_another(tmp_path_factory: pytest.TempPathFactory, expected: str) -> None:
    served = Served(tmp_path_factory.mktemp("less") / "data").start()
    try:
        sent(served, whole()[1:])
        assert report(served) != expected
    finally:
        served.close()
