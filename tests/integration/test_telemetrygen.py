"""Spans counted by their generator in, the same number stored out: over both doors, and across an outage."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.harness import Served
from tests.integration.peers import collector, generate, to_spanward

# 20 workers x 50 traces x (1 root + 3 children).
FOUR_THOUSAND = ("--rate", "0", "--workers", "20", "--traces", "50", "--child-spans", "3")
ARRIVAL_S = 120

# Thousands of requests, each made durable by itself, on a disk that others may be using.
pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize(("door", "protocol"), [("otlp_grpc", ()), ("otlp_http", ("--otlp-http",))])
def test_four_thousand_spans_arrive_as_exactly_four_thousand(
    served: Served, tool: Callable[[str], Path], door: str, protocol: tuple[str, ...]
) -> None:
    address = served.endpoints[door].rpartition("//")[2]
    generate(tool("telemetrygen"), endpoint=address, key=served.agent_key, arguments=(*FOUR_THOUSAND, *protocol))
    assert_stored_once_each(served, 4000)
    completeness = served.report("spend")["completeness"]
    assert (completeness["received"], completeness["duplicate"], completeness["rejected"]) == (4000, 0, 0)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_collector_that_meets_an_outage_loses_nothing_and_repeats_nothing(
    served: Served, tool: Callable[[str], Path], tmp_path: Path, protocol: str
) -> None:
    """Spanward loses its power while a Collector forwards to it, stays away for seconds, and comes back."""
    telemetrygen = tool("telemetrygen")
    with collector(tool("otelcol"), exporter=to_spanward(served, protocol), folder=tmp_path) as doors:
        half_a_thousand_a_second = ("--rate", "250", "--workers", "2", "--traces", "250", "--child-spans", "1")
        generator = threading.Thread(
            target=generate,
            args=(telemetrygen,),
            kwargs={"endpoint": doors["grpc"], "arguments": half_a_thousand_a_second},
        )
        generator.start()
        wait_for_stored(served, at_least=100)
        served.kill9()
        time.sleep(3)  # The outage: long enough for several failed retries.
        served.restart()
        generator.join()
        wait_for_stored(served, at_least=1000)
    assert_stored_once_each(served, 1000)
    completeness = served.report("spend")["completeness"]
    assert completeness["received"] == completeness["stored"] + completeness["duplicate"] + completeness["rejected"]
    assert completeness["rejected"] == 0


def wait_for_stored(served: Served, *, at_least: int) -> None:
    """Return once that many spans are stored; raises `AssertionError` when they never are."""
    deadline = time.monotonic() + ARRIVAL_S
    stored = 0
    while stored < at_least:
        assert time.monotonic() < deadline, f"{stored} of {at_least} spans are stored\n{served.log_tail()}"
        served.seal()
        stored = len(stored_spans(served))


def assert_stored_once_each(served: Served, count: int) -> None:
    """The ledger has exactly `count` rows of spans, no id twice."""
    served.seal()
    spans = stored_spans(served)
    assert (len(spans), len(set(spans))) == (count, count)


def stored_spans(served: Served) -> list[tuple[str, str]]:
    """Trace and span id of every row of the sealed evidence that came as a span."""
    segments = sorted((served.data / "store").rglob("*.parquet"))
    columns = ["trace_id", "span_id", "signal"]
    rows = [row for path in segments for row in pq.read_table(path, columns=columns).to_pylist()]
    return [(row["trace_id"], row["span_id"]) for row in rows if row["signal"] == "traces"]
