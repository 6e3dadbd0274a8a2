"""Bytes → rows: what is rejected, what is kept and marked, what a neighbour may not suffer."""

import time
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.dialects import DIALECTS
from collector.dialects.dialect import wanted_keys
from collector.receivers.decode import Outcome, RowLimits, TableBuilder
from collector.receivers.wire import item_count
from schemas.errors import Permanent
from tests.captures_on_disk import requests
from tests.otlp import CHAT, Value, key_value, logs, span, traces

WANTED = wanted_keys(DIALECTS)
LIMITS = RowLimits(max_attributes=4_096, max_value_bytes=65_536, max_future_ns=300 * 10**9)


def decode(*spans: Span, limits: RowLimits = LIMITS) -> tuple[pa.Table, Outcome]:
    builder = TableBuilder(WANTED, limits, time.time_ns())
    outcome = builder.add_traces(0, traces(*spans).SerializeToString())
    return builder.table(), outcome


def test_wanted_attributes_become_columns_and_others_do_not() -> None:
    table, outcome = decode(span({**CHAT, "app.customer": "x"}), span({}))
    assert outcome.received == 2
    assert table["gen_ai.usage.input_tokens"].to_pylist() == [1_000, None]
    assert table["gen_ai.request.model"].to_pylist() == ["gpt-4o", None]
    assert "app.customer" not in table.column_names
    assert table["service_name"].to_pylist() == ["test", "test"]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (7, 7),
        (7.0, 7),
        ("7", 7),
        (0, 0),
        (-1, None),
        (7.5, None),
        ("seven", None),
        ("", None),
        (True, None),
        ("٧", None),
    ],
)
def test_token_counts_are_read_from_every_encoding_emitters_use(value: Value, read: int | None) -> None:
    table, _ = decode(span({**CHAT, "gen_ai.usage.input_tokens": value}), span())
    assert table["gen_ai.usage.input_tokens"].to_pylist() == [read, 1_000]
    assert ("unreadable_attribute" in (table["findings"].to_pylist()[0] or "")) == (read is None)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("trace_id", b"", "invalid_trace_id"),
        ("trace_id", b"12345", "invalid_trace_id"),
        ("trace_id", bytes(16), "invalid_trace_id"),
        ("span_id", b"1234567", "invalid_span_id"),
        ("span_id", bytes(8), "invalid_span_id"),
    ],
)
def test_a_span_without_identity_is_rejected_and_its_neighbours_are_kept(field: str, value: bytes, reason: str) -> None:
    bad = span(name="bad one")
    setattr(bad, field, value)
    table, outcome = decode(span(), bad, span())
    assert len(table) == 2
    assert outcome.received == 3
    assert outcome.rejected == {reason: 1}
    assert "bad one" in outcome.warnings[0]


@pytest.mark.parametrize("ahead_ns", [301 * 10**9, 10**9 * 86_400 * 365, 2**64 - 1 - time.time_ns()])
def test_a_span_from_the_future_is_kept_and_marked(ahead_ns: int) -> None:
    now = time.time_ns()
    late = span(start_ns=now)
    late.start_time_unix_nano = min(now + ahead_ns, 2**64 - 1)
    late.end_time_unix_nano = late.start_time_unix_nano
    table, outcome = decode(late)
    assert table["findings"].to_pylist() == ["clock_ahead"]
    assert table["start_time"][0].as_py() == min(now + ahead_ns, 2**63 - 1)
    assert "limits.max_clock_ahead" in outcome.warnings[0]
    assert outcome.rejected == {}


def test_ten_thousand_attributes_are_marked_and_the_call_is_still_read() -> None:
    table, outcome = decode(span({**{f"k{i}": i for i in range(10_000)}, **CHAT}))
    assert table["gen_ai.usage.input_tokens"].to_pylist() == [1_000]
    assert "limits.max_attributes" in outcome.warnings[0]
    assert table["findings"].to_pylist() == ["attributes_over_limit"]


def test_a_megabyte_attribute_is_cut_and_the_call_is_still_read() -> None:
    table, outcome = decode(span({**CHAT, "gen_ai.response.id": "x" * 2**20, "gen_ai.input.messages": "y" * 2**20}))
    assert len(table["gen_ai.response.id"][0].as_py()) == LIMITS.max_value_bytes
    assert "limits.max_attribute_value" in outcome.warnings[0]
    assert table["gen_ai.usage.input_tokens"].to_pylist() == [1_000]


def test_warnings_are_bounded_and_counts_are_not() -> None:
    bad = [span(name=f"bad {i}") for i in range(50)]
    for each in bad:
        each.trace_id = b"short"
    _, outcome = decode(*bad)
    assert outcome.rejected == {"invalid_trace_id": 50}
    assert len(outcome.warnings) == 8


def test_a_request_that_does_not_parse_adds_nothing() -> None:
    builder = TableBuilder(WANTED, LIMITS, time.time_ns())
    builder.add_traces(0, traces(span()).SerializeToString())
    body = traces(span(), span()).SerializeToString()
    with pytest.raises(Permanent, match="not a valid protobuf ExportTraceServiceRequest"):
        builder.add_traces(1, body[:-5])
    builder.add_traces(2, traces(span()).SerializeToString())
    assert builder.table()["request"].to_pylist() == [0, 2]


def test_log_records_are_rows_keyed_by_their_content() -> None:
    builder = TableBuilder(WANTED, LIMITS, time.time_ns())
    body = logs("one", "two").SerializeToString()
    builder.add_logs(0, body)
    builder.add_logs(1, body)
    keys = builder.table()["content_key"].to_pylist()
    assert keys[:2] == keys[2:]
    assert keys[0] != keys[1]


@given(st.integers(0, 30), st.integers(0, 30))
def test_items_are_counted_on_the_wire_without_reading_them(items: int, limit: int) -> None:
    body = traces(*(span({}) for _ in range(items))).SerializeToString()
    assert item_count(body, limit) == min(items, limit + 1)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.randoms(use_true_random=False))
def test_no_bytes_make_the_decoder_fail_in_any_other_way_than_saying_so(noise: bytes, random: Random) -> None:
    body = bytearray(traces(span({**CHAT, "x": ["a", "b"]})).SerializeToString())
    for _ in range(random.randrange(4)):
        body[random.randrange(len(body))] = random.randrange(256)
    for candidate in (noise, bytes(body), bytes(body[: random.randrange(len(body))])):
        builder = TableBuilder(WANTED, LIMITS, time.time_ns())
        item_count(candidate, 1_000)
        for add in (builder.add_traces, builder.add_logs):
            try:
                add(0, candidate)
            except Permanent:
                continue
        builder.table()


def test_one_attribute_given_twice_is_read_once() -> None:
    """OTLP wants keys unique; the last one wins and the counts are never added up."""
    twice = span()
    twice.attributes.append(key_value("gen_ai.usage.input_tokens", 5))
    table, _ = decode(twice)
    assert table["gen_ai.usage.input_tokens"].to_pylist() == [5]


def test_a_long_service_name_is_cut_because_it_stands_on_every_row() -> None:
    builder = TableBuilder(WANTED, RowLimits(4_096, 100, 300 * 10**9), time.time_ns())
    request = traces(span(), span(), service="s" * 10_000)
    request.resource_spans[0].scope_spans[0].scope.name = "n" * 10_000
    builder.add_traces(0, request.SerializeToString())
    assert builder.table()["service_name"].to_pylist() == ["s" * 100] * 2
    assert builder.table()["scope_name"].to_pylist() == ["n" * 100] * 2


@pytest.mark.parametrize(
    ("attributes", "agent"),
    [
        ({}, None),
        ({"gen_ai.main_agent.name": "triage"}, "triage"),
        ({"gen_ai.main_agent.id": "a-1"}, "a-1"),
        ({"gen_ai.main_agent.id": "a-1", "gen_ai.main_agent.name": "triage"}, "triage"),
        ({"gen_ai.main_agent.id": "a-1", "gen_ai.main_agent.name": ""}, "a-1"),
        ({"gen_ai.main_agent.id": "", "gen_ai.main_agent.name": ""}, None),
        ({"gen_ai.main_agent.name": 7}, "7"),
        ({"gen_ai.main_agent.name": "n" * 70_000}, "n" * 65_536),
    ],
)
def test_the_processs_agent_is_read_from_the_resource(attributes: dict[str, Value], agent: str | None) -> None:
    builder = TableBuilder(WANTED, LIMITS, time.time_ns())
    spans, records = traces(span()), logs("one")
    for resource in (spans.resource_spans[0].resource, records.resource_logs[0].resource):
        resource.attributes.extend(key_value(key, value) for key, value in attributes.items())
    builder.add_traces(0, spans.SerializeToString())
    builder.add_logs(1, records.SerializeToString())
    assert builder.table()["resource_agent"].to_pylist() == [agent, agent]


@pytest.mark.parametrize(
    ("attributes", "host"),
    [
        ({"host.name": "node-7", "service.instance.id": "i-1"}, "node-7"),
        ({"host.name": "", "k8s.pod.uid": "p-1", "container.id": "c-1"}, "p-1"),
        ({"service.instance.id": "i-1"}, "i-1"),
        ({"host.name": "h" * 70_000}, "h" * 65_536),
        ({}, None),
    ],
)
def test_the_host_is_read_from_the_resource(attributes: dict[str, Value], host: str | None) -> None:
    builder = TableBuilder(WANTED, LIMITS, time.time_ns())
    request = traces(span())
    request.resource_spans[0].resource.attributes.extend(key_value(key, value) for key, value in attributes.items())
    builder.add_traces(0, request.SerializeToString())
    assert builder.table()["resource_host"].to_pylist() == [host]


def test_of_content_only_the_id_is_kept() -> None:
    secret = "what was said in confidence"
    builder = TableBuilder({**WANTED, "content#id": str}, LIMITS, time.time_ns())
    contents: list[Value] = [
        f'{{"id": "resp_1", "output": "{secret}"}}',
        secret,
        ["id", secret],
        f'{{"id": "resp_2", "output": "{secret * 3_000}"}}',
        7,
    ]
    made = [span({"content": content, "content#id": secret}) for content in contents]
    inside = made[4].attributes[0].value.kvlist_value.values
    inside.extend([key_value("id", "resp_3"), key_value("output", secret)])
    builder.add_traces(0, traces(*made).SerializeToString())
    table = builder.table()
    assert table["content#id"].to_pylist() == ["resp_1", None, None, "resp_2", "resp_3"]
    assert table["findings"].to_pylist() == [None, None, None, "value_over_limit", None]
    assert secret not in str(table.to_pylist())


def test_no_prompt_or_output_of_a_real_emitter_is_kept() -> None:
    """The recorded provider answers "Answer number 1." and so on."""
    builder, said = TableBuilder(WANTED, LIMITS, time.time_ns()), 0
    for emitter in ("openai-openinference", "platform-mlflow", "openai-official-content"):
        for number, request in enumerate(requests(emitter)):
            if request.signal != "metrics" and not request.as_json:
                said += request.body.count(b"Answer number")
                (builder.add_traces if request.signal == "traces" else builder.add_logs)(number, request.body)
    table = builder.table()
    assert "chatcmpl-fake0001" in table["output.value#id"].to_pylist()
    assert "chatcmpl-fake0001" in table["mlflow.spanOutputs#id"].to_pylist()
    assert said > 50
    assert "Answer" not in str(table.to_pylist())
