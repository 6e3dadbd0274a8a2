"""What real SDKs sent, sent again to a running Spanward over the transport it was recorded on.

For the official OpenAI instrumentation the spend report must equal the provider's bill, call for call
and token for token, for every call whose usage reached the client; the others are unmetered. Every
other recorded emitter must be reported as `tests/collector/accounting/test_captures.py` books it.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import grpc
import httpx
import pytest
from genai_prices import Usage, calc_price

from tests.captures_on_disk import Recorded, emitters, requests, truth
from tests.collector.booking import decode_points
from tests.dialect_matrix import NO_CALLS, booked, effective, line
from tests.harness import Served

EXPORTS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that was sent every capture, each as an agent of its own."""
    served = Served(tmp_path_factory.mktemp("recorded") / "data").start()
    try:
        for emitter in emitters():
            made = served.run("keys", "create", "--agent", f"default/default/{emitter}", "--register", "--json")
            key = json.loads(made)["key"]
            for request in requests(emitter):
                send(served, key, request)
        served.seal()
        yield served
    finally:
        served.close()


def send(served: Served, key: str, request: Recorded) -> None:
    """One request over its own transport; raises if it is not acknowledged."""
    if request.transport == "grpc":
        with grpc.insecure_channel(served.endpoints["otlp_grpc"].rpartition("//")[2]) as channel:
            export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORTS[request.signal])
            export(request.body, metadata=(("x-api-key", key),), timeout=30, compression=grpc.Compression.Gzip)
        return
    kind = "application/json" if request.as_json else "application/x-protobuf"
    answer = httpx.post(
        served.url("otlp_http", f"/v1/{request.signal}"),
        content=request.body,
        headers={"content-type": kind, "authorization": f"Bearer {key}"},
    )
    answer.raise_for_status()


def billed(emitter: str) -> dict[str, dict[str, Any]]:
    """What the provider billed for calls whose usage reached the client, and how many others there were."""
    models: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    for call in truth(emitter)["calls"]:
        if not call["billed"]:
            continue
        model = models[call["response_model"]]
        model["calls"] += 1
        if not call["usage_sent"] or call.get("client_hung_up"):
            model["unmetered_calls"] += 1
            continue
        tokens = call["tokens"]
        for column, name in (("input_tokens", "input_total"), ("output_tokens", "output")):
            model[column] += tokens[name]
        for name in ("cache_read", "reasoning"):
            model[f"{name}_tokens"] += tokens[name]
        usage = Usage(
            input_tokens=tokens["input_total"], cache_read_tokens=tokens["cache_read"], output_tokens=tokens["output"]
        )
        tier = {"service_tier": call["service_tier"]} if call.get("service_tier") else None
        price = calc_price(usage, call["response_model"], provider_id="openai", price_context=tier)
        model["cost_usd"] += round(price.total_price * 10**9)
    return models


@pytest.mark.parametrize("emitter", ["openai-official", "openai-official-content"])
def test_the_spend_report_equals_the_providers_bill(replayed: Served, emitter: str) -> None:
    rows = replayed.report("spend", "--by", "model", "--agent", f"default/default/{emitter}")["rows"]
    found = {
        row["model"]: {
            name: int(Decimal(value) * 10**9) if name == "cost_usd" else value
            for name, value in row.items()
            if name in {"calls", "unmetered_calls", "cost_usd"} or (name.endswith("_tokens") and value)
        }
        for row in rows
    }
    wanted = {
        model: {name: value for name, value in numbers.items() if value or name == "calls"}
        for model, numbers in billed(emitter).items()
    }
    for numbers in wanted.values():
        numbers.setdefault("unmetered_calls", 0)
    assert found == wanted


@pytest.mark.parametrize("emitter", [emitter for emitter in emitters() if emitter != NO_CALLS])
def test_every_emitter_is_reported_as_its_capture_alone_is_booked(replayed: Served, emitter: str) -> None:
    """All captures repeat the provider's fake response ids, so each must also be kept from the others."""
    rows = replayed.report("spend", "--by", "model", "--agent", f"default/default/{emitter}")["rows"]
    found, wanted = line(emitter), effective(booked(emitter))
    assert sum(row["calls"] for row in rows) == found.booked + found.unmetered
    assert sum(row["unmetered_calls"] for row in rows) == found.unmetered
    assert sum(Decimal(row["cost_usd"] or 0) for row in rows) * 10**9 == found.cost
    for column in ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"):
        assert sum(row[column] or 0 for row in rows) == sum(row[column] or 0 for row in wanted)


def test_everything_recorded_was_accepted_and_is_accounted_for(replayed: Served) -> None:
    report = replayed.report("spend")
    completeness = report["completeness"]
    assert completeness["balanced"]
    assert completeness["rejected"] == 0
    points = completeness["metrics"]
    assert points["received"] == points["stored"] + points["not_stored"]
    assert points["found"] == points["stored"] == sum(len(decode_points(list(requests(each)))) for each in emitters())
    assert {row["agent"] for row in report["rows"]} >= {"openai-official", "anthropic-official", "litellm-otel"}


@pytest.mark.parametrize(
    ("emitter", "told"),
    [
        ("claude-code", (4_415, 189)),
        ("claude-code-grpc-cumulative", (4_415, 189)),
        ("codex-cli", (1_657, 159)),
        ("gemini-cli", (1_259, 88)),
        ("openai-official", (7_519, 982)),
    ],
)
def test_coverage_says_what_an_emitters_metrics_tell_beside_its_calls(
    replayed: Served, emitter: str, told: tuple[int, int]
) -> None:
    (row,) = replayed.report("coverage", "--by", "agent", "--agent", f"default/default/{emitter}")["rows"]
    assert (row["metric_input_tokens"], row["metric_output_tokens"]) == told
    assert "metrics tell" not in row["advice"]


def test_sending_all_of_one_emitter_again_changes_nothing(replayed: Served) -> None:
    key = json.loads(replayed.run("keys", "create", "--agent", "default/default/openai-official", "--json"))["key"]
    before = replayed.report("spend", "--by", "agent,model")["rows"]
    for request in requests("openai-official"):
        send(replayed, key, request)
    replayed.seal()
    assert replayed.report("spend", "--by", "agent,model")["rows"] == before
