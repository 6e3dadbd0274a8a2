"""Bytes → the same rows from the compiled decoder as from the reference; which of them read a request is told too."""

import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from benchmarks.payload import batch
from collector.receivers.content_id import SUFFIX
from collector.receivers.decode import BASE_FIELDS, HOST_KEYS, RowLimits, TableBuilder
from collector.receivers.decode_compiled import CompiledTableBuilder, warm_up
from schemas.errors import Permanent
from tests.captures_on_disk import emitters, requests
from tests.collector.receivers.agreement import LIMITS, agree
from tests.collector.receivers.odd_requests import COMPLETIONS, CONTENT, NOW_NS, WANTED
from tests.otlp import CHAT, Value, key_value, logs, traces
from tests.otlp import span as fresh_span


def span(attributes: Mapping[str, Value] = CHAT, *, name: str = "chat", start_ns: int = NOW_NS) -> Span:
    """A span that is not from the future however long the other tests take."""
    return fresh_span(attributes, name=name, start_ns=start_ns)


COLUMNS = {name for name, _ in BASE_FIELDS}
SERVICE = b"\x0a\x15\x0a\x0cservice.name\x12\x05\x0a\x03one"
SPANS = b"\x12" + bytes([len(span({}).SerializeToString())]) + span({}).SerializeToString()
ORDINARY = traces(span(), span({**CHAT, "list": ["a"], "half": 0.5, "yes": True})).SerializeToString()


def body_of(*spans: Span) -> bytes:
    return traces(*spans).SerializeToString()


def block(tag: int, payload: bytes) -> bytes:
    """A delimited field whose tag is one byte."""
    size, out = len(payload), bytearray([tag])
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(out) + bytes([size]) + payload


def with_fields(fields: bytes, *, base: Span | None = None) -> bytes:
    """A request whose only span has more fields than it should."""
    whole = (base or span()).SerializeToString() + fields
    return block(0x0A, block(0x12, block(0x12, whole)))


def with_value(key: str, value: bytes) -> bytes:
    """A request whose only span has one more attribute, of which the AnyValue's bytes are given."""
    return with_fields(block(0x4A, block(0x0A, key.encode()) + block(0x12, value)))


def with_resource(attributes: Mapping[str, Value]) -> bytes:
    """A request whose resource has these attributes too."""
    request = traces(span(), span())
    request.resource_spans[0].resource.attributes.extend(key_value(key, value) for key, value in attributes.items())
    return request.SerializeToString()


def nested(depth: int, *, maps: bool) -> bytes:
    """The bytes of an AnyValue that is a list of a list, or a map of a map, so many times."""
    value = block(0x0A, b"inside")
    for _ in range(depth):
        element = block(0x0A, b"k") + block(0x12, value) if maps else value
        value = block(0x32 if maps else 0x2A, block(0x0A, element))
    return value


@pytest.mark.parametrize("emitter", emitters())
def test_what_real_exporters_send_is_read_alike_and_by_the_kernels(emitter: str) -> None:
    bodies = [request.body for request in requests(emitter) if request.signal == "traces" and not request.as_json]
    compiled, table = agree(bodies)
    assert compiled == len(table)


@pytest.mark.parametrize("spans", [4, 512])
def test_batches_like_the_benchmarks_are_read_by_the_kernels(spans: int) -> None:
    bodies = [batch(Random(seed), now_ns=NOW_NS, spans=spans).SerializeToString() for seed in range(8)]
    compiled, table = agree(bodies)
    assert compiled == len(table) == 8 * spans


@pytest.mark.parametrize(
    "remarkable",
    {
        "digits": body_of(span({"gen_ai.usage.input_tokens": "12"})),
        "integral double": body_of(span({"gen_ai.usage.input_tokens": 7.0})),
        "negative count": body_of(span({"gen_ai.usage.input_tokens": -1})),
        "boolean count": body_of(span({"gen_ai.usage.input_tokens": True})),
        "list for text": body_of(span({"session.id": ["a", "b"]})),
        "map for text": with_value("session.id", nested(1, maps=True)),
        "bytes for text": with_value("session.id", b"\x3a\x01\xff"),
        "nothing for text": with_value("session.id", b""),
        "key given twice": with_value("gen_ai.request.model", b"\x0a\x05other"),
        "long value": body_of(span({"x": "y" * 70_000})),
        "long wanted value": body_of(span({"session.id": "y" * 70_000})),
        "long name": body_of(span(name="n" * 70_000)),
        "boolean for text": body_of(span({"session.id": True})),
        "map for content": with_value(CONTENT, nested(1, maps=True)),
        "long content": body_of(span({CONTENT: '{"id": "resp_1", "x": "' + "y" * 70_000})),
        "number for the resource's agent": with_resource({"gen_ai.main_agent.id": 7}),
        "many attributes": body_of(span({f"k{i}": i for i in range(5_000)})),
        "no trace id": body_of(Span(span_id=b"12345678", start_time_unix_nano=1)),
        "zero span id": body_of(Span(trace_id=b"1" * 16, span_id=bytes(8), start_time_unix_nano=1)),
        "no time": body_of(span(start_ns=0)),
        "future": body_of(span(start_ns=NOW_NS + 10**12)),
        "time of 2**64 - 1": body_of(Span(trace_id=b"1" * 16, span_id=b"2" * 8, start_time_unix_nano=2**64 - 1)),
        "truncated": ORDINARY[:-1],
        "not UTF-8": with_value("x", b"\x0a\x02\xff\xff"),
        "value of two fields": with_value("x", b"\x18\x01\x18\x02"),
        "not UTF-8 in a key within a map": with_value("x", b"\x32\x09\x0a\x07\x0a\x01\xff\x12\x02\x10\x01"),
        "number of more than 64 bits": with_value("x", b"\x18" + b"\xff" * 9 + b"\x02"),
        "number for a status's message": with_fields(b"\x7a\x02\x10\x01"),
        "group": with_fields(b"\x9b\x01\x9c\x01"),
        "number in a field of text": with_fields(b"\x28\x01"),
        "field zero": with_fields(b"\x02\x00"),
        "a few bytes": b"\x0a\x00\x0a",
    }.items(),
    ids=lambda case: case[0],
)
def test_what_is_remarkable_is_left_to_the_reference(remarkable: tuple[str, bytes]) -> None:
    compiled, _ = agree([remarkable[1]])
    assert compiled == 0
    compiled, _ = agree([ORDINARY, remarkable[1], ORDINARY])
    assert compiled == 4


@pytest.mark.parametrize(
    "plain",
    {
        "negative number nobody wants": body_of(span({"x": -1})),
        "numbers of every width": body_of(span({f"x{i}": 2**i for i in range(63)})),
        "key without a value": with_fields(b"\x4a\x03\x0a\x01x"),
        "fields nobody declared": with_fields(b"\x85\x01abcd\x1a\x01z\x50\x05\xa1\x06abcdefgh"),
        "a name twice": with_fields(b"\x2a\x06second", base=span(name="first")),
        "a status twice": with_fields(b"\x7a\x02\x18\x02\x7a\x03\x12\x01z"),
        "negative kind": with_fields(b"\x30" + b"\xff" * 9 + b"\x01"),
        "kind of 33 bits": with_fields(b"\x30\x85\x80\x80\x80\x10"),
        "end before start": with_fields(b"\x41" + struct.pack("<Q", 1)),
        "no end": with_fields(b"\x41" + bytes(8)),
        "end of 2**64 - 1": with_fields(b"\x41" + b"\xff" * 8),
        "parent of three bytes": with_fields(b"\x22\x03abc"),
        "trace id that begins with zeros": body_of(
            Span(trace_id=bytes(15) + b"1", span_id=bytes(7) + b"2", start_time_unix_nano=1)
        ),
        "long service": traces(span(), span(), service="s" * 1_000).SerializeToString(),
        "a service twice": block(0x0A, block(0x0A, SERVICE + SERVICE.replace(b"one", b"two")) + block(0x12, SPANS)),
        "agent of a resource": with_resource({"gen_ai.main_agent.name": "triage"}),
        "agent's id of a resource": with_resource({"gen_ai.main_agent.id": "a-1"}),
        "both": with_resource({"gen_ai.main_agent.id": "a-1", "gen_ai.main_agent.name": "triage"}),
        "agent without a name": with_resource({"gen_ai.main_agent.id": "a-1", "gen_ai.main_agent.name": ""}),
        "agent of nothing": with_resource({"gen_ai.main_agent.id": "", "gen_ai.main_agent.name": ""}),
        "host of a resource": with_resource({"host.name": "node-7"}),
        "a worker process": with_resource({"service.instance.id": "i-1"}),
        "every name of a host": with_resource(dict.fromkeys(reversed(HOST_KEYS), "same") | {"host.name": "node-7"}),
        "host without a name": with_resource({"host.name": "", "k8s.pod.uid": "p-1"}),
        "host of nothing": with_resource(dict.fromkeys(HOST_KEYS, "")),
        "agent of one resource only": with_resource({"gen_ai.main_agent.name": "triage"}) + ORDINARY,
        "numbers for text": body_of(
            *(span({"session.id": number}) for number in (5, 0, -1, 2**63 - 1, -(2**63), 0.5, 3.555e-05, 1e300, -0.0)),
            *(span({"session.id": number}) for number in (float("nan"), float("inf"), "5", "", "größe \U0010ffff")),
            span(),
        ),
        "number for content": body_of(span({CONTENT: 5})),
        "content": body_of(*(span({CONTENT: text}) for text in COMPLETIONS), span({CONTENT: ""}), span()),
        "content without an id": body_of(span({CONTENT: "said in confidence"})),
        "an attribute by the name of the id's column": body_of(span({CONTENT + SUFFIX: "said in confidence"})),
        "empty text": body_of(span({"session.id": ""}, name="")),
        "text of many alphabets": body_of(span({"session.id": "größe 日本語 🙂", "größe": "é"}, name="é" * 100)),
        "no name": body_of(Span(trace_id=b"1" * 16, span_id=b"2" * 8, start_time_unix_nano=1)),
        "lists in lists": with_value("x", nested(16, maps=False)),
        "maps in maps": with_value("x", nested(16, maps=True)),
        "two requests in one": ORDINARY + ORDINARY,
    }.items(),
    ids=lambda case: case[0],
)
def test_what_is_unusual_but_plain_is_read_by_the_kernels(plain: tuple[str, bytes]) -> None:
    compiled, table = agree([plain[1]])
    assert compiled == len(table) > 0


@pytest.mark.parametrize("depth", [1, 2, 15, 16, 17, 30, 31, 32, 33, 45, 46, 47, 48, 60])
def test_nesting_is_accepted_as_deep_as_protobuf_accepts_it(depth: int) -> None:
    for maps in (False, True):
        agree([with_value("x", nested(depth, maps=maps)), with_value("session.id", nested(depth, maps=maps))])


def test_scope_and_resource_belong_to_spans_that_come_before_them() -> None:
    request = ExportTraceServiceRequest.FromString(ORDINARY)
    resource, scope = request.resource_spans[0].resource, request.resource_spans[0].scope_spans[0]
    spans = b"".join(block(0x12, each.SerializeToString()) for each in scope.spans)
    scopes = block(0x12, spans + block(0x0A, scope.scope.SerializeToString()))
    body = block(0x0A, scopes + block(0x0A, resource.SerializeToString()))
    compiled, table = agree([body])
    assert compiled == 2
    assert table["service_name"].to_pylist() == ["test"] * 2
    assert table["scope_name"].to_pylist() == ["tests"] * 2


def test_text_is_what_unicode_says_it_is() -> None:
    """Every first byte with the second, third and fourth at the edges of what may follow."""
    edges = (0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0)
    builder = CompiledTableBuilder(WANTED, LIMITS, NOW_NS)
    for lead, second, third, fourth in product(range(256), edges, (0x7F, 0x80, 0xBF), (0x41, 0x80)):
        text, read = bytes([lead, second, third, fourth]), builder.compiled_rows
        body = with_value("x", b"\x0a\x04" + text)
        try:
            text.decode()
        except UnicodeDecodeError:
            with pytest.raises(Permanent):
                builder.add_traces(0, body)
        else:
            builder.add_traces(0, body)
            read += 1
        assert builder.compiled_rows == read, text


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=40).filter(lambda key: key not in COLUMNS),
        st.sampled_from([str, int]),
        max_size=30,
    ),
    st.randoms(use_true_random=False),
)
def test_any_key_can_be_wanted(wanted: dict[str, type], random: Random) -> None:
    keys = [*wanted, *(key + "x" for key in wanted), *(key[1:] or "x" for key in wanted)]
    chosen = {key: 7 if wanted.get(key) is int else "text" for key in keys if random.random() < 0.5}
    compiled, table = agree([body_of(span(chosen), span({}))], wanted=wanted)
    assert compiled == 2
    assert set(table.column_names) >= {key for key in chosen if key in wanted}


def test_content_is_gone_before_there_is_a_table() -> None:
    secret = "said in confidence"
    body = body_of(span({CONTENT: f'{{"id": "resp_1", "said": "{secret}"}}'}), span({CONTENT: secret}))
    compiled, table = agree([body])
    assert compiled == 2
    assert table[CONTENT + SUFFIX].to_pylist() == ["resp_1", None]
    buffers = [buffer for column in table.columns for buffer in column.chunk(0).buffers() if buffer]
    assert not any(secret.encode() in buffer.to_pybytes() for buffer in buffers)


def test_a_key_wanted_whole_and_for_its_id_is_left_to_the_reference() -> None:
    compiled, table = agree([body_of(span({"x": '{"id": "i"}'}))], wanted={"x": str, "x#id": str})
    assert compiled == 0
    assert (table["x"].to_pylist(), table["x#id"].to_pylist()) == (['{"id": "i"}'], ["i"])


@pytest.mark.parametrize("names", [("name", "kind"), ("request",), ("findings",)])
def test_a_wanted_key_that_bears_a_columns_name_is_left_to_the_reference(names: tuple[str, ...]) -> None:
    compiled, _ = agree([body_of(span(dict.fromkeys(names, "theirs")))], wanted=dict.fromkeys(names, str))
    assert compiled == 0


def test_rows_keep_the_order_of_their_requests_whoever_read_them() -> None:
    remarkable = body_of(span({**CHAT, "session.id": True}, name="remarkable"))
    tables = []
    for make in (TableBuilder, CompiledTableBuilder):
        builder = make(WANTED, LIMITS, NOW_NS)
        for number, body in enumerate((ORDINARY, remarkable, b"", ORDINARY[:-3], ORDINARY, remarkable)):
            if number == 3:
                with pytest.raises(Permanent):
                    builder.add_traces(number, body)
            else:
                builder.add_traces(number, body)
            builder.add_logs(number + 10, LOGS)
        tables.append(builder.table())
    assert tables[1].equals(tables[0])
    assert tables[1]["request"].to_pylist() == [0, 0, 10, 1, 11, 12, 13, 4, 4, 14, 5, 15]


LOGS = logs("said").SerializeToString()


def test_groups_grow_beyond_what_was_reserved() -> None:
    body = body_of(*(span({**CHAT, "session.id": "s" * 200}) for _ in range(50)))
    compiled, table = agree([body] * 40)
    assert compiled == len(table) == 2_000


def test_more_text_than_arrow_can_address_is_left_to_the_reference() -> None:
    body = traces(*(span({}) for _ in range(2_200)), service="s" * 2**20).SerializeToString()
    builder = CompiledTableBuilder(WANTED, RowLimits(4_096, 2**21, 10**9), NOW_NS)
    assert builder.add_traces(0, body).received == 2_200
    assert builder.compiled_rows == 0


def test_an_empty_group_is_an_empty_table() -> None:
    for bodies in ([], [b""], [traces().SerializeToString()]):
        _, table = agree(bodies)
        assert len(table) == 0


@pytest.mark.parametrize(
    ("limits", "attributes", "kernels"),
    [
        (RowLimits(2, 65_536, 10**9), {"a": 1, "b": 2}, True),
        (RowLimits(2, 65_536, 10**9), {"a": 1, "b": 2, "c": 3}, False),
        (RowLimits(9, 20, 10**9), {"session.id": "s" * 18, "a": "x" * 18}, True),
        (RowLimits(9, 20, 10**9), {"session.id": "s" * 19}, False),
        (RowLimits(9, 20, 10**9), {"a": "x" * 19}, False),
    ],
)
def test_what_is_just_within_a_limit_is_read_by_the_kernels(
    limits: RowLimits, attributes: Mapping[str, Value], *, kernels: bool
) -> None:
    compiled, _ = agree([body_of(span(attributes))], limits=limits)
    assert compiled == kernels


def test_builders_in_several_threads_do_not_disturb_each_other() -> None:
    bodies = [batch(Random(seed), now_ns=NOW_NS, spans=64).SerializeToString() for seed in range(8)]

    def decode(seed: int) -> pa.Table:
        builder = CompiledTableBuilder(WANTED, LIMITS, NOW_NS)
        for number in range(20):
            builder.add_traces(number, bodies[(seed + number) % 8])
        return builder.table()

    with ThreadPoolExecutor(4) as threads:
        tables = list(threads.map(decode, range(16)))
    for seed, table in enumerate(tables):
        assert table.equals(decode(seed))


def test_the_decoder_passes_its_own_trial() -> None:
    assert warm_up()
