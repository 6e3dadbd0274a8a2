"""Metrics requests → rows of the points that count tokens; of all others the number alone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags, Metric

from collector.receivers.body import from_json
from collector.receivers.decode import Outcome
from collector.receivers.decode_metrics import MetricsBuilder
from schemas.errors import Permanent
from tests.captures_on_disk import emitters, requests
from tests.otlp import counter, key_value, metrics, metrics_of, token_usage


def read(
    *bodies: ExportMetricsServiceRequest, max_items: int = 1_000, max_value_bytes: int = 1_000
) -> tuple[list[dict[str, Any]], list[Outcome]]:
    builder = MetricsBuilder(max_items=max_items, max_value_bytes=max_value_bytes)
    outcomes = [builder.add(number, body.SerializeToString()) for number, body in enumerate(bodies)]
    return builder.table().to_pylist(), outcomes


def row(metric: Metric) -> dict[str, Any] | None:
    rows, (outcome,) = read(metrics_of(metric))
    assert (outcome.received, outcome.not_stored) == (1, 1 - len(rows))
    return rows[0] if rows else None


def tokens(metric: Metric) -> dict[str, int]:
    found = row(metric) or {}
    return {
        name.removeprefix("metric."): value
        for name, value in found.items()
        if name.endswith("_tokens") and value is not None
    }


def test_a_point_that_counts_tokens_is_a_row_with_what_it_says() -> None:
    found = row(token_usage(1_190, time_ns=30))
    assert found is not None
    assert len(found.pop("content_key")) == 16
    assert len(found.pop("series_id")) == 32
    assert {name: value for name, value in found.items() if value is not None} == {
        "request": 0,
        "signal": "metrics",
        "name": "gen_ai.client.token.usage",
        "kind": 0,
        "status": 0,
        "start_time": 10,
        "end_time": 30,
        "series_start": 10,
        "service_name": "test",
        "scope_name": "tests",
        "temporality": "cumulative",
        "metric.provider": "openai",
        "metric.response_model": "gpt-4o-2024-08-06",
        "metric.input_tokens": 1_190,
    }


@pytest.mark.parametrize(
    ("metric", "counted"),
    [
        (token_usage(7, kind="output"), {"output_tokens": 7}),
        (token_usage(7, kind="completion"), {"output_tokens": 7}),
        (token_usage(7, kind="reasoning"), {}),
        (counter("gen_ai.client.inference.usage.input_tokens", 7), {"input_tokens": 7}),
        (counter("gen_ai.client.inference.usage.output_tokens", 7), {"output_tokens": 7}),
        (counter("gen_ai.client.inference.usage.cache_read.input_tokens", 7), {}),
        (counter("claude_code.token.usage", 7.0, type="input"), {"input_tokens": 7}),
        (counter("claude_code.token.usage", 7.0, type="cacheRead"), {"input_tokens": 7, "cache_read_tokens": 7}),
        (counter("claude_code.token.usage", 7.0, type="cacheCreation"), {"input_tokens": 7, "cache_write_tokens": 7}),
        (counter("codex.turn.token_usage", 7, token_type="output"), {"output_tokens": 7}),
        (counter("codex.turn.token_usage", 7, token_type="total"), {}),
        (counter("codex.turn.token_usage", 7, token_type="cached_input"), {}),
        (counter("gemini_cli.token.usage", 7, type="thought"), {"output_tokens": 7, "reasoning_tokens": 7}),
        (counter("gemini_cli.token.usage", 7, type="cache"), {}),
        (counter("claude_code.cost.usage", 7, type="input"), {}),
    ],
)
def test_input_and_output_are_counted_whole_and_nothing_twice(metric: Metric, counted: dict[str, int]) -> None:
    assert tokens(metric) == counted


@pytest.mark.parametrize("value", [-1, 0.5, -1.0, float("nan"), float("inf"), 10**15 + 1, 1e300])
def test_a_value_that_is_no_count_of_tokens_is_not_stored(value: float) -> None:
    assert row(counter("gen_ai.client.inference.usage.input_tokens", value)) is None


def test_a_point_that_cannot_be_added_up_is_not_stored() -> None:
    name = "gen_ai.client.inference.usage.input_tokens"
    assert row(counter(name, 7, temporality=0)) is None
    going_both_ways, gauge, empty, gap = counter(name, 7), Metric(name=name), counter(name, 7), token_usage()
    going_both_ways.sum.is_monotonic = False
    gauge.gauge.data_points.add(as_int=7)
    empty.sum.data_points[0].ClearField("as_int")
    gap.histogram.data_points[0].flags = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
    assert [row(metric) for metric in (going_both_ways, gauge, empty, gap)] == [None] * 4


def test_exponential_histograms_count_by_their_sum() -> None:
    metric, usual = Metric(name="gen_ai.client.token.usage"), token_usage()
    metric.exponential_histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    point = metric.exponential_histogram.data_points.add(sum=41, time_unix_nano=20)
    point.attributes.extend(usual.histogram.data_points[0].attributes)
    assert tokens(metric) == {"input_tokens": 41}


@pytest.mark.parametrize("start_ns", [0, 21, 2**64 - 1])
def test_a_series_whose_start_cannot_be_has_none(start_ns: int) -> None:
    found = row(token_usage(time_ns=20, start_ns=start_ns))
    assert found is not None
    assert (found["series_start"], found["start_time"], found["end_time"]) == (None, 20, 20)


def test_a_repeated_point_has_the_same_key_and_any_other_another() -> None:
    first = metrics_of(token_usage())
    others = [
        metrics_of(token_usage(101)),
        metrics_of(token_usage(time_ns=21)),
        metrics_of(token_usage(start_ns=11)),
        metrics_of(token_usage(kind="output")),
        metrics_of(token_usage(), service="other"),
        metrics_of(token_usage(), scope="other"),
    ]
    rows, _ = read(first, first, *others)
    assert rows[0]["content_key"] == rows[1]["content_key"]
    assert len({each["content_key"] for each in rows}) == 1 + len(others)


def test_a_series_is_known_by_what_its_points_share_in_any_order() -> None:
    turned = token_usage(250, time_ns=90)
    turned.histogram.data_points[0].attributes.reverse()
    same, (_, _) = read(metrics_of(token_usage()), metrics_of(turned))
    assert len({each["series_id"] for each in same}) == 1
    delta = token_usage()
    delta.histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    other_key = token_usage()
    other_key.histogram.data_points[0].attributes.append(key_value("session.id", "2"))
    rows, _ = read(
        *map(metrics_of, (token_usage(), delta, other_key, token_usage(kind="output"))),
        metrics_of(token_usage(), scope="other"),
    )
    assert len({each["series_id"] for each in rows}) == 5


def test_long_names_are_cut() -> None:
    rows, _ = read(metrics_of(token_usage(), service="s" * 100), max_value_bytes=10)
    assert rows[0]["service_name"] == "s" * 10
    assert rows[0]["metric.response_model"] == "gpt-4o-202"


def test_more_points_than_the_limit_are_refused_and_none_is_kept() -> None:
    builder = MetricsBuilder(max_items=2, max_value_bytes=100)
    points = [token_usage(number) for number in range(3)]
    assert builder.add(0, metrics_of(*points[:2]).SerializeToString()).received == 2
    with pytest.raises(Permanent, match=r"limits\.max_items"):
        builder.add(1, metrics_of(*points).SerializeToString())
    assert builder.table()["request"].to_pylist() == [0, 0]
    assert builder.add(2, metrics(50).SerializeToString()).not_stored == 50


@pytest.mark.parametrize("emitter", emitters())
def test_every_recorded_point_is_a_row_or_counted_as_not_stored(emitter: str) -> None:
    builder, received, not_stored = MetricsBuilder(max_items=1_000, max_value_bytes=1_000), 0, 0
    for number, request in enumerate(requests(emitter)):
        if request.signal == "metrics":
            body = from_json(request.body, "metrics") if request.as_json else request.body
            outcome = builder.add(number, body)
            received += outcome.received
            not_stored += outcome.not_stored
    assert received == len(builder.table()) + not_stored


@given(st.binary(max_size=60))
def test_no_bytes_make_it_fail_in_any_way_but_saying_so(noise: bytes) -> None:
    whole = metrics_of(token_usage()).SerializeToString()
    for body in (noise, whole + noise, whole[: len(noise)] + noise):
        builder = MetricsBuilder(max_items=10, max_value_bytes=100)
        try:
            outcome = builder.add(0, body)
        except Permanent as error:
            assert "ExportMetricsServiceRequest" in error.what  # noqa: PT017 - whether it fails is up to the bytes
            assert len(builder.table()) == 0
        else:
            assert outcome.received == len(builder.table()) + outcome.not_stored
