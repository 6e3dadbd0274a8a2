"""HTTP requests → pages. Port 4320.

A raw ASGI callable: on one core a decision's HTTP costs about as much as the decision. Invariants: a
verdict is always 200, every error is an `ErrorBody` with its exact status, and nothing of one tenant
is told to another. What the pages do is left to the tables of routes it is given.
"""

import re
from collections.abc import Callable, Iterable
from functools import cached_property

import msgspec

from collector.control.answers import Header
from collector.control.commit import unavailable
from collector.control.doors.openapi import openapi
from collector.control.doors.request import ANY, ENCODE, Handler, Operation, Page, Request, Route, Stream
from collector.control.doors.statuses import JSON, NoPath, WrongMethod, error_response
from collector.control.doors.streams import send_stream
from collector.http import Receive, Scope, Send, respond
from collector.state.store import StoreFailed
from schemas.errors import Forbidden, Permanent, Retryable, SpanwardError, Unauthenticated

_PARAMETER = re.compile(r"\{\w+\}")
_REQUEST_ID = b"x-request-id"
_MAX_REQUEST_ID_CHARS = 256


class Api:
    """The ASGI callable. `on_fatal` is told of every unforeseen error: the state may then be half changed."""

    def __init__(self, routes: Iterable[Route], *, on_fatal: Callable[[Exception], None]) -> None:
        routes = (*_OWN, Route("GET", "/openapi.json", self._describe, _OPENAPI), *routes)
        self._routes = routes
        self._paths = [route.path for route in routes]
        self._on_fatal = on_fatal
        self._exact: dict[str, dict[str, Handler]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, Handler]]] = []
        for path in dict.fromkeys(self._paths):
            methods = {route.method: route.page for route in routes if route.path == path}
            if "{" in path:
                self._patterns.append((re.compile(_PARAMETER.sub("([^/]+)", path)), methods))
            else:
                self._exact[path] = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        request = Request(scope, receive)
        try:
            handler, parameters = self._handler(request.method, request.path)
            page = await handler(request, *parameters)
        except (Unauthenticated, Forbidden, Permanent, Retryable) as error:
            await _refuse(send, request, error)
        except StoreFailed as error:
            self._on_fatal(error)
            await _refuse(send, request, unavailable())
        except Exception as error:
            self._on_fatal(error)
            raise
        else:
            if isinstance(page, Stream):
                await send_stream(page, scope, receive, send)
            else:
                await respond(send, page.status, page.body, JSON + page.headers + _echo(request))

    @cached_property
    def description(self) -> dict[str, object]:
        """The published OpenAPI document."""
        return openapi(self._routes)

    def _handler(self, method: str, path: str) -> tuple[Handler, tuple[str, ...]]:
        methods, parameters = self._methods(path)
        handler = methods.get(method) or methods.get(ANY)
        if handler is None:
            raise WrongMethod(method, path, ", ".join(methods))
        return handler, parameters

    def _methods(self, path: str) -> tuple[dict[str, Handler], tuple[str, ...]]:
        methods = self._exact.get(path)
        if methods is not None:
            return methods, ()
        for pattern, methods in self._patterns:
            found = pattern.fullmatch(path)
            if found is not None:
                return methods, found.groups()
        raise NoPath(f"There is nothing at {path!r}.", fix=f"Paths are {', '.join(dict.fromkeys(self._paths))}.")

    async def _describe(self, _request: Request) -> Page:
        return Page(ENCODE(self.description))


class Health(msgspec.Struct, frozen=True):
    """Answer of `GET /healthz`."""

    status: str


async def _health(_request: Request) -> Page:
    return Page(_OK)


_OK = ENCODE(Health("ok"))
_OWN = (Route("GET", "/healthz", _health, Operation("Say that questions are answered.", Health, secured=False)),)
_OPENAPI = Operation("This description, as OpenAPI 3.1.", secured=False)


async def _refuse(send: Send, request: Request, error: SpanwardError) -> None:
    status, body, headers = error_response(error)
    await respond(send, status, body, headers + _echo(request))


def _echo(request: Request) -> list[Header]:
    """Who sends an id of his own finds it in the answer (AuthZEN Authorization API 1.0, "Request Identification")."""
    sent = request.headers.get(_REQUEST_ID)
    return [] if sent is None or len(sent) > _MAX_REQUEST_ID_CHARS else [(_REQUEST_ID, sent)]
