"""One HTTP request, read as far as a page needs it; and what a page is."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar
from urllib.parse import parse_qs

import msgspec

from collector.control.answers import Header
from collector.http import Receive, Scope, credential_text, read_body
from schemas.errors import Permanent
from schemas.quantities import Size

T = TypeVar("T")

# A nest too deep to read and a key that is no UTF-8 are no bugs of ours, and must not end the process as one.
UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What reading JSON raises."""

ENCODE = msgspec.json.Encoder().encode


class TooLarge(Permanent):
    """The body is over the limit."""


class NotJson(Permanent):
    """The body is declared to be something else."""


class Page(NamedTuple):
    """A response that was meant; what went wrong is raised instead."""

    body: bytes
    headers: list[Header] = []
    status: int = 200


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
        try:
            return decoder.decode(await self.body(largest))
        except UNREADABLE as error:
            raise Permanent(f"The body cannot be read: {error}.", fix="See the request's JSON Schema.") from None

    async def body(self, largest: Size) -> bytes:
        """The body, whatever it is; raises `TooLarge`."""
        declared = self.headers.get(b"content-length", b"0")
        body = await read_body(self._receive, largest.bytes) if fits(declared, largest.bytes) else None
        if body is None:
            raise TooLarge(
                f"The body is larger than the limit of its path in extensions.control ({largest.bytes} bytes).",
                fix="Send less, or raise the limit.",
            )
        return body

    def texts(self) -> dict[str, str]:
        """The headers as text, names in lower case as they arrive."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers.items()}

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

ANY = "*"
"""The method of a route that any method reaches."""


class Operation(NamedTuple):
    """What the published OpenAPI says of a route, beside its method and path.

    `may_be` are statuses beside those that follow from the rest (401 and 403 with a key, 400, 413 and
    415 with a body, 404 with a parameter); `foreign` says that their bodies are not ours but a
    provider's. `query` and `headers` are optional parameters by name, `tells` the headers of a
    successful answer.
    """

    summary: str
    gives: type[msgspec.Struct] | None = None
    takes: type[msgspec.Struct] | None = None
    may_be: tuple[int, ...] = ()
    media: str = "application/json"
    secured: bool = True
    foreign: bool = False
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    tells: Mapping[str, str] = {}


class Route(NamedTuple):
    """One thing that is served: `path` may hold parameters, such as `/v1/holds/{id}/settle`.

    `method` is `ANY` where it is the asker's own affair.
    """

    method: str
    path: str
    page: Handler
    operation: Operation | None = None


def fits(declared: bytes, limit: int) -> bool:
    """Say whether a Content-Length promises a body within a limit."""
    return not declared.isdigit() or int(declared) <= limit
