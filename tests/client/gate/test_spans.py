"""The decision's id lands on the model call's own span, whatever instrumentation makes it.

The official one for GenAI, OpenLLMetry and OpenInference, each with the real openai SDK: the three
families of emitters whose captures the collector reads.
"""

import json
import subprocess
import sys

import httpx
import pytest
import spanward_client
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from spanward_client import governed
from spanward_client.otel import DECISION_ATTRIBUTE, DecisionSpanProcessor

from tests.client.control import Control
from tests.client.gate.openai_sdk import OPENAI_CALLS
from tests.client.provider import TEXT, Provider
from tests.house.source import ROOT


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(DecisionSpanProcessor())  # type: ignore[arg-type]
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def decision(span: ReadableSpan) -> object:
    return (span.attributes or {}).get(DECISION_ATTRIBUTE)


@pytest.mark.parametrize("instrumentation", ["official", "openllmetry", "openinference"])
def test_the_span_of_each_call_carries_its_decision_and_the_agents_span_does_not(
    instrumentation: str, control: Control, provider: Provider
) -> None:
    program = [sys.executable, "-m", "tests.client.gate.spans_of", instrumentation, provider.url]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    decisions = {call: [decision for _, decision in spans] for call, spans in seen.items()}
    assert decisions == {
        call: [f"dec-{2 * number + 1}", f"dec-{2 * number + 2}", None] for number, call in enumerate(OPENAI_CALLS)
    }, seen
    assert len(control.questions) == 2 * len(OPENAI_CALLS)


def test_inside_a_tool_the_call_has_its_own_decision_and_the_tool_its_own(
    gate: Control, provider: Provider, tracing: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    tracer = tracing.get_tracer("agent")

    @governed()
    def summarise() -> str:
        execute, chat = {"gen_ai.operation.name": "execute_tool"}, {"gen_ai.operation.name": "chat"}
        with (
            tracer.start_as_current_span("execute_tool", attributes=execute),
            tracer.start_as_current_span("chat", attributes=chat),
        ):
            return OPENAI_CALLS["openai_chat"](provider.url)

    assert summarise() == TEXT
    assert {span.name: decision(span) for span in exporter.get_finished_spans()} == {
        "chat": "dec-2",
        "execute_tool": "dec-1",
    }
    assert [question["action"] for question in gate.questions] == ["tool.call", "llm.call"]


def test_a_call_inside_a_hold_is_not_asked_for_twice_and_the_next_one_is(
    gate: Control, provider: Provider, tracing: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    """The hold answers for one call; a loop inside it would else spend without limit (peers.md 2.A.21)."""
    tracer = tracing.get_tracer("agent")
    with spanward_client.hold(model="gpt-5-mini", provider="openai", input_tokens=20, max_output_tokens=300):
        for name in ("first", "second"):
            with tracer.start_as_current_span(name):
                OPENAI_CALLS["openai_chat"](provider.url)
    assert {span.name: decision(span) for span in exporter.get_finished_spans()} == {
        "first": "dec-1",
        "second": "dec-2",
    }
    assert len(gate.questions) == 2
    assert spanward_client.flush()
    assert [hold for hold, _, _ in gate.finished] == ["hold-2"], "who holds for himself settles for himself"


def test_a_refused_call_leaves_no_decision_of_an_earlier_one_behind(
    gate: Control, provider: Provider, tracing: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    tracer = tracing.get_tracer("agent")
    OPENAI_CALLS["openai_chat"](provider.url)
    with tracer.start_as_current_span("something else"):
        pass
    assert [decision(span) for span in exporter.get_finished_spans()] == [None]
    assert gate.questions


def test_the_gates_own_requests_make_no_spans(
    gate: Control, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instrumentation of httpx asks this before it makes a span."""
    wanted: dict[str, bool] = {}
    sent = httpx.HTTPTransport.handle_request

    def watching(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        wanted[request.url.path] = is_http_instrumentation_enabled()
        return sent(transport, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", watching)
    with httpx.Client() as client:
        client.post(f"{provider.url}/v1/chat/completions", json={"model": "m", "messages": []})
    assert spanward_client.flush()
    assert wanted == {"/v1/decisions": False, "/v1/chat/completions": True, "/v1/holds": False}
    assert gate.finished
