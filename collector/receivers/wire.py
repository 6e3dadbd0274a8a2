"""The slice of OTLP that is read, as a descriptor of our own.

The messages are wire-compatible with `opentelemetry.proto.{trace,logs}.v1`: the same field numbers,
fewer fields, and attributes declared as a protobuf map, whose wire form is that of the repeated
KeyValue they are (protobuf language guide, "Maps: backwards compatibility"). A map look-up costs no
Python loop over the attributes nobody wants. Metrics are read by `decode_metrics`, with the reference messages.
"""

from collections.abc import Iterator

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

_F = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _F.TYPE_STRING,
    "bytes": _F.TYPE_BYTES,
    "bool": _F.TYPE_BOOL,
    "int64": _F.TYPE_INT64,
    "double": _F.TYPE_DOUBLE,
    "fixed64": _F.TYPE_FIXED64,
    "int32": _F.TYPE_INT32,
    "uint32": _F.TYPE_UINT32,
}

# message → (field, number, type): a type of TYPE_NAMES or another message here; "*" repeats, "%" is a
# map from text to AnyValue.
_MESSAGES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "ArrayValue": (("values", 1, "*AnyValue"),),
    "KeyValueList": (("values", 1, "%"),),
    "AnyValue": (
        ("string_value", 1, "string"),
        ("bool_value", 2, "bool"),
        ("int_value", 3, "int64"),
        ("double_value", 4, "double"),
        ("array_value", 5, "ArrayValue"),
        ("kvlist_value", 6, "KeyValueList"),
        ("bytes_value", 7, "bytes"),
    ),
    "Resource": (("attributes", 1, "%"),),
    "Scope": (("name", 1, "string"), ("version", 2, "string")),
    "Status": (("message", 2, "string"), ("code", 3, "int32")),
    "Span": (
        ("trace_id", 1, "bytes"),
        ("span_id", 2, "bytes"),
        ("parent_span_id", 4, "bytes"),
        ("name", 5, "string"),
        ("kind", 6, "int32"),
        ("start_time_unix_nano", 7, "fixed64"),
        ("end_time_unix_nano", 8, "fixed64"),
        ("attributes", 9, "%"),
        ("status", 15, "Status"),
    ),
    "ScopeSpans": (("scope", 1, "Scope"), ("items", 2, "*Span")),
    "ResourceSpans": (("resource", 1, "Resource"), ("scopes", 2, "*ScopeSpans")),
    "TracesRequest": (("resources", 1, "*ResourceSpans"),),
    "LogRecord": (
        ("time_unix_nano", 1, "fixed64"),
        ("severity_number", 2, "int32"),
        ("body", 5, "AnyValue"),
        ("attributes", 6, "%"),
        ("trace_id", 9, "bytes"),
        ("span_id", 10, "bytes"),
        ("observed_time_unix_nano", 11, "fixed64"),
        ("event_name", 12, "string"),
    ),
    "ScopeLogs": (("scope", 1, "Scope"), ("items", 2, "*LogRecord")),
    "ResourceLogs": (("resource", 1, "Resource"), ("scopes", 2, "*ScopeLogs")),
    "LogsRequest": (("resources", 1, "*ResourceLogs"),),
}
_PACKAGE = "spanward.wire"
_ONEOF = "AnyValue"


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="spanward/wire.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if name == _ONEOF:
            message.oneof_decl.add(name="value")
        for field_name, number, kind in fields:
            _field(message, field_name, number, kind)
    return file


def _field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    repeated = kind[0] in "*%"
    field = message.field.add(name=name, number=number, label=_F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL)
    if kind == "%":
        entry_name = "".join(part.capitalize() for part in name.split("_")) + "Entry"
        entry = message.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=_F.LABEL_OPTIONAL, type=_F.TYPE_STRING)
        value = entry.field.add(name="value", number=2, label=_F.LABEL_OPTIONAL, type=_F.TYPE_MESSAGE)
        value.type_name = f".{_PACKAGE}.AnyValue"
        field.type, field.type_name = _F.TYPE_MESSAGE, f".{_PACKAGE}.{message.name}.{entry_name}"
    elif kind.lstrip("*") in _TYPES:
        field.type = _TYPES[kind.lstrip("*")]
    else:
        field.type, field.type_name = _F.TYPE_MESSAGE, f".{_PACKAGE}.{kind.lstrip('*')}"
    if message.name == _ONEOF:
        field.oneof_index = 0


def _classes() -> tuple[type[Message], type[Message]]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_file().SerializeToString())
    found = (pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in ("TracesRequest", "LogsRequest"))
    traces, logs = (message_factory.GetMessageClass(descriptor) for descriptor in found)
    return traces, logs


TracesRequest, LogsRequest = _classes()


def item_count(body: bytes, stop_above: int) -> int:
    """Spans or log records in a request, counted on the outer wire levels without reading them.

    Stops once `stop_above` is exceeded: two million empty spans fit in 4 MiB and take 85 times that
    as messages. A body that does not parse yields what was counted; the parser names the fault.
    """
    count = 0
    for resource_start, resource_end in _submessages(body, 0, len(body), 0x0A):
        for scope_start, scope_end in _submessages(body, resource_start, resource_end, 0x12):
            for _ in _submessages(body, scope_start, scope_end, 0x12):
                count += 1
                if count > stop_above:
                    return count
    return count


def _submessages(body: bytes, at: int, end: int, wanted_tag: int) -> Iterator[tuple[int, int]]:
    """Bounds of every length-delimited field with this one-byte tag."""
    while at < end:
        tag = body[at]
        at += 1
        if tag & 7 != 2:
            return
        length = shift = 0
        while at < end:
            byte = body[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if at + length > end:
            return
        if tag == wanted_tag:
            yield at, at + length
        at += length
