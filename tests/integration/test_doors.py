"""Questions of an operator's tools in, answers out: the doors that are not telemetry's."""

from collections.abc import Callable
from pathlib import Path

import httpx

from tests.harness import Served
from tests.integration.peers import generate


def test_health_check_answers_while_requests_are_accepted(served: Served) -> None:
    assert httpx.get(served.url("health", "/")).status_code == 200


def test_metrics_count_the_spans_that_came_in_by_the_collectors_names(
    served: Served, tool: Callable[[str], Path]
) -> None:
    address = served.endpoints["otlp_grpc"].rpartition("//")[2]
    generate(tool("telemetrygen"), endpoint=address, key=served.agent_key, arguments=("--traces", "5", "--rate", "0"))
    text = httpx.get(served.url("metrics", "/metrics")).raise_for_status().text
    assert 'otelcol_receiver_accepted_spans_total{receiver="otlp",transport="grpc"} 10.0' in text
