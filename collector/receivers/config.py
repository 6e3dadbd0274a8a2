"""Settings of the OTLP doors: where they listen and what they refuse."""

from typing import Literal

import msgspec

from schemas.quantities import Duration, Size


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One listening address, `HOST:PORT`; port 0 picks a free one."""

    endpoint: str
    """`HOST:PORT` to listen on; port 0 takes a free one."""


class Protocols(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The two OTLP doors."""

    grpc: Endpoint = Endpoint(endpoint="127.0.0.1:4317")
    """OTLP/gRPC."""
    http: Endpoint = Endpoint(endpoint="127.0.0.1:4318")
    """OTLP/HTTP: `/v1/traces`, `/v1/logs`, `/v1/metrics`; protobuf and JSON, gzip and zstd."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one request or row may be; every refusal names the setting."""

    max_body: Size = Size("16MiB")
    """Size of a request body as sent. Larger: 413, INVALID_ARGUMENT."""
    max_inflated: Size = Size("64MiB")
    """Size of a request body once decompressed. Larger: 400, INVALID_ARGUMENT."""
    max_in_flight: Size = Size("256MiB")
    """Sum of the bodies waiting for their durable write. More: 429, RESOURCE_EXHAUSTED, retryable."""
    max_items: int = 100_000
    """Spans or log records in one request. More: 400, INVALID_ARGUMENT."""
    max_attributes: int = 4_096
    """Attributes of one span or log record. More: the row is kept, marked, and the sender is told."""
    max_attribute_value: Size = Size("64KiB")
    """Size of one attribute's value. Longer: cut, the row is kept, marked, and the sender is told."""
    max_clock_ahead: Duration = Duration("5m")
    """How far in the future a row may start. More: kept, marked, booked at the time of receipt."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`receivers.otlp`."""

    protocols: Protocols = Protocols()
    """Where the doors listen."""
    limits: Limits = Limits()
    """What they refuse."""
    decoder: Literal["auto", "compiled", "reference"] = "auto"
    """What reads the requests. `compiled` is ten times as fast and takes about 110 MiB; `reference` needs no compiler;
    `auto` begins with the reference and changes over once the other is compiled, which the first request starts."""
    group_items: int = 65_536
    """Most rows one durable write acknowledges together."""
