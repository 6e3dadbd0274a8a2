"""One HTTP request, read as far as a page needs it; and what a page is."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple, TypeVar
from urllib.parse import parse_qs

import msgspec

from collector.control.answers import Header
from collector.http import Receive, Scope, credential_text, read_body
from schemas.errors import Permanent
from schemas.quantities import Size

T = TypeVar("T")

ENCODE = msgspec.json.Encoder().encode


class TooLarge(Permanent):
    """The body is over the limit."""


class NotJson(Permanent):
    """The body is declared to be something else."""


class Page(NamedTuple):
    """A successful response."""

    body: bytes
    headers: list[Header] = []


class Request:
    """The parts of one request, read as they are needed."""

    __slots__ = ("_receive", "_scope", "headers")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self.headers: dict[bytes, bytes] = dict(scope["headers"])

    @property
    def path(self) -> str:
        """The path, percent-decoded."""
        path: str = self._scope["path"]
        return path

    @property
    def method(self) -> str:
        """The method, in capitals."""
        method: str = self._scope["method"]
        return method

    @property
    def credential_text(self) -> str:
        """The key the request carries; empty when there is none."""
        return credential_text(self.headers)

    def header(self, name: bytes) -> str:
        """A header's value, or "" where it is absent; `name` in lower case."""
        return self.headers.get(name, b"").decode("latin-1")

    async def json(self, decoder: msgspec.json.Decoder[T], largest: Size) -> T:
        """The body as `decoder`'s type; raises with the path of the field that is wrong."""
        kind = self.headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            raise NotJson(
                f"Content-Type {kind.decode('latin-1')!r} is not JSON.", fix="Send content-type: application/json."
            )
        declared = self.headers.get(b"content-length", b"0")
        body = await read_body(self._receive, largest.bytes) if fits(declared, largest.bytes) else None
        if body is None:
            raise TooLarge(
                f"The body is larger than the limit of its path in extensions.control ({largest.bytes} bytes).",
                fix="Send less, or raise the limit.",
            )
        try:
            return decoder.decode(body)
        except msgspec.DecodeError as error:
            raise Permanent(f"The body cannot be read: {error}.", fix="See the request's JSON Schema.") from None

    def parameter(self, name: str) -> str | None:
        """A query parameter, or `None`; raises for one nobody knows."""
        values = parse_qs(self._scope["query_string"].decode("latin-1"), keep_blank_values=True)
        for unknown in values.keys() - {name}:
            raise Permanent(f"The query parameter {unknown!r} is not known.", fix=f"The only one is {name!r}.")
        return values[name][-1] if name in values else None


class Stream(NamedTuple):
    """A successful response without an end of its own; `close` is called once nothing more of it is sent."""

    parts: AsyncIterator[bytes]
    headers: list[Header]
    close: Callable[[], None]
    send_timeout_s: float
    """How long one part may wait for a client that does not read, before its connection is cut."""


Handler = Callable[..., Awaitable[Page | Stream]]
"""`(request, *parameters of the path)` → the page."""


class Route(NamedTuple):
    """One thing that is served: `path` may hold parameters, such as `/v1/holds/{id}/settle`."""

    method: str
    path: str
    page: Handler


def fits(declared: bytes, limit: int) -> bool:
    """Say whether a Content-Length promises a body within a limit."""
    return not declared.isdigit() or int(declared) <= limit
