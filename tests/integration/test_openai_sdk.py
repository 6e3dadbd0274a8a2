"""Calls of a real SDK in, exactly what the provider billed out.

The agent is the openai package under the official OpenTelemetry instrumentation; the provider is the
demo's stand-in, which tells afterwards what it charged for each model. The spans go to Spanward
directly, or through a real OpenTelemetry Collector that batches and compresses them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from collector.demo.provider import serving
from tests.harness import Served
from tests.integration.peers import collector, run_agent, to_spanward

BILLED = ("calls", "input_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens")
REFUSED = "no-such-model"


@pytest.mark.parametrize(("protocol", "door"), [("grpc", "otlp_grpc"), ("http/protobuf", "otlp_http")])
def test_every_call_of_the_openai_sdk_is_booked_as_the_provider_billed_it(
    served: Served, protocol: str, door: str
) -> None:
    with serving() as provider:
        run_agent(
            protocol=protocol,
            endpoint=served.url(door),
            key=served.agent_key,
            openai_base_url=f"{provider}/v1",
        )
        billed = httpx.get(f"{provider}/billed").json()
    assert_booked_as_billed(served, billed)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_calls_forwarded_by_a_real_collector_are_booked_as_the_provider_billed_them(
    served: Served, tool: Callable[[str], Path], tmp_path: Path, protocol: str
) -> None:
    exporter = to_spanward(served, protocol)
    with serving() as provider:
        with collector(tool("otelcol"), exporter=exporter, folder=tmp_path) as doors:
            run_agent(
                protocol="grpc",
                endpoint=f"http://{doors['grpc']}",
                key="",
                openai_base_url=f"{provider}/v1",
            )
        billed = httpx.get(f"{provider}/billed").json()
    assert_booked_as_billed(served, billed)


def assert_booked_as_billed(served: Served, billed: dict[str, dict[str, int]]) -> None:
    """Each model's calls and tokens are the provider's; the call it refused is on record and costs nothing."""
    served.seal()
    spend = served.report("spend", "--by", "agent,model")
    booked = {row["model"]: row for row in spend["rows"]}
    assert {row["agent"] for row in spend["rows"]} == {"default"}
    assert {model: {name: row[name] for name in BILLED} for model, row in booked.items()} == {
        model: {name: bill[name] for name in BILLED} for model, bill in billed.items()
    }
    assert all(row["unmetered_calls"] == 0 and _usd(row) > 0 for row in booked.values())
    activity = served.report("activity")["rows"]
    refused = [row for row in activity if row["kind"] == "call" and row["subject"] == REFUSED]
    assert [(row["outcome"], row["cost_usd"]) for row in refused] == [("error", None)]
    sent = sum(bill["calls"] for bill in billed.values()) + 1
    completeness = spend["completeness"]
    assert (completeness["received"], completeness["stored"]) == (sent, sent)
    assert (completeness["duplicate"], completeness["rejected"]) == (0, 0)


def _usd(row: dict[str, Any]) -> float:
    return float(row["cost_usd"])
