"""Spans started inside a hold carry its decision, through the real OpenTelemetry SDK."""

import asyncio
import threading

import pytest
import spanward_client
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer
from spanward_client.otel import DecisionSpanProcessor

from tests.client.answers import ALLOW
from tests.client.stub import Stub

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider()
    provider.add_span_processor(DecisionSpanProcessor())  # type: ignore[arg-type]
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test")


def decisions(exporter: InMemorySpanExporter) -> dict[str, object]:
    return {span.name: (span.attributes or {}).get("spanward.decision.id") for span in exporter.get_finished_spans()}


def test_only_spans_started_inside_carry_the_decision(
    stub: Stub, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    stub.answer(ALLOW)
    tracer.start_span("before").end()
    with spanward_client.hold(model="gpt-5"), tracer.start_as_current_span("chat gpt-5"):
        tracer.start_span("inner").end()
    tracer.start_span("after").end()
    assert decisions(exporter) == {"before": None, "inner": "dec-1", "chat gpt-5": "dec-1", "after": None}


def test_a_span_that_ends_after_the_hold_keeps_its_decision(
    stub: Stub, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    stub.answer(ALLOW)
    with spanward_client.hold(model="gpt-5"):
        span = tracer.start_span("streamed")
    span.end()
    assert decisions(exporter) == {"streamed": "dec-1"}


def test_threads_at_the_same_time_keep_their_decisions_apart(
    stub: Stub, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    for number in range(4):
        stub.answer({**ALLOW, "decision_id": f"dec-{number}"})
    all_hold = threading.Barrier(4)

    def work() -> None:
        with spanward_client.hold(model="gpt-5") as held:
            all_hold.wait()
            tracer.start_span(held.decision.decision_id).end()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decisions(exporter) == {f"dec-{number}": f"dec-{number}" for number in range(4)}


@pytest.mark.asyncio
async def test_tasks_at_the_same_time_keep_their_decisions_apart(
    stub: Stub, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    for number in range(4):
        stub.answer({**ALLOW, "decision_id": f"dec-{number}"})
    all_hold = asyncio.Event()
    holding = 0

    async def work() -> None:
        nonlocal holding
        async with spanward_client.hold(model="gpt-5") as held:
            holding += 1
            if holding == 4:
                all_hold.set()
            await all_hold.wait()
            tracer.start_span(held.decision.decision_id).end()

    await asyncio.gather(*(work() for _ in range(4)))
    await spanward_client.aclose()
    assert decisions(exporter) == {f"dec-{number}": f"dec-{number}" for number in range(4)}


def test_flush_and_shutdown_of_the_provider_go_through() -> None:
    provider = TracerProvider()
    provider.add_span_processor(DecisionSpanProcessor())  # type: ignore[arg-type]
    assert provider.force_flush()
    provider.shutdown()
