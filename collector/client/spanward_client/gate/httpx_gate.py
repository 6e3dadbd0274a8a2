"""`send` of httpx and httpx2 → the same `send`, behind the gate.

All SDKs that speak through these libraries, sync and async, call `send` once for each attempt. It is
also outside the span an HTTP instrumentation makes, and inside the span of the model call. Invariant:
a request that is no model call goes through untouched, and an answer's bytes are never changed.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import wraps
from types import ModuleType
from typing import Any

from spanward_client.errors import SpanwardError
from spanward_client.gate.judge import Permit, aadmit, admit
from spanward_client.gate.patches import Patches
from spanward_client.gate.recognise import Family, ModelCall, recognise
from spanward_client.gate.refusals import STATUS, refused
from spanward_client.gate.usage import Watch, read_body

_gated: ContextVar[bool] = ContextVar("spanward.gated", default=False)


@contextmanager
def gated() -> Iterator[None]:
    """Inside, a request is a part of a call that was judged: a client within a client, another library below."""
    token = _gated.set(True)
    try:
        yield
    finally:
        _gated.reset(token)


def already_gated() -> bool:
    """True inside `gated`."""
    return _gated.get()


def patch(library: ModuleType, patches: Patches) -> None:
    """Put the gate before `Client.send` and `AsyncClient.send` of httpx or httpx2."""
    patches.replace(library.Client, "send", lambda original: _sync(original, library))
    patches.replace(library.AsyncClient, "send", lambda original: _async(original, library))


def _sync(original: Callable[..., Any], library: ModuleType) -> Callable[..., Any]:
    @wraps(original)
    def send(client: Any, request: Any, *args: Any, **options: Any) -> Any:
        call = _model_call(request, request.read)
        if call is None:
            return original(client, request, *args, **options)
        try:
            permit = admit(call)
        except SpanwardError as no:
            return _response(library, request, no, call.family)
        with gated():
            try:
                response = original(client, request, *args, **options)
            except library.TransportError as error:
                _failed(library, error, permit)
                raise
        _watch(response, permit)
        return response

    return send


def _async(original: Callable[..., Awaitable[Any]], library: ModuleType) -> Callable[..., Awaitable[Any]]:
    @wraps(original)
    async def send(client: Any, request: Any, *args: Any, **options: Any) -> Any:
        call = await _amodel_call(request)
        if call is None:
            return await original(client, request, *args, **options)
        try:
            permit = await aadmit(call)
        except SpanwardError as no:
            return _response(library, request, no, call.family)
        with gated():
            try:
                response = await original(client, request, *args, **options)
            except library.TransportError as error:
                _failed(library, error, permit)
                raise
        _watch(response, permit)
        return response

    return send


def _model_call(request: Any, body: Callable[[], bytes]) -> ModelCall | None:
    if request.method != "POST" or already_gated():
        return None
    agent = request.headers.get("user-agent", "")
    return recognise(method="POST", url=str(request.url), agent=agent, body=body)


async def _amodel_call(request: Any) -> ModelCall | None:
    """As `_model_call`; a body that comes from an async iterator is read only when the path is one of a model."""
    unread = False

    def body() -> bytes:
        nonlocal unread
        try:
            return bytes(request.content)
        except RuntimeError:  # `RequestNotRead` of both libraries.
            unread = True
            return b""

    call = _model_call(request, body)
    if not unread:
        return call
    await request.aread()
    return _model_call(request, lambda: bytes(request.content))


def _response(library: ModuleType, request: Any, no: SpanwardError, family: Family) -> Any:
    headers, body = refused(no, family)
    response = library.Response(STATUS, headers=headers, content=body, request=request)
    response.elapsed = timedelta(0)
    return response


def _failed(library: ModuleType, error: Exception, permit: Permit) -> None:
    """Errors before the first byte was sent; after it the provider may have worked already."""
    if isinstance(error, (library.ConnectError, library.ConnectTimeout, library.PoolTimeout)):
        permit.unsent()


def _watch(response: Any, permit: Permit) -> None:
    """Read the usage: at once when the body is here, else while the SDK takes it."""
    if response.status_code >= 400:
        permit.failed(response.status_code)
        return
    if _is_here(response):
        permit.answered(read_body(response.content))
        return
    watch = Watch(response.headers.get("content-type", ""), permit.answered)
    response.iter_bytes = _iter(response.iter_bytes, watch)
    response.aiter_bytes = _aiter(response.aiter_bytes, watch)


def _is_here(response: Any) -> bool:
    try:
        return response.content is not None
    except RuntimeError:  # `ResponseNotRead` of both libraries.
        return False


def _iter(original: Callable[..., Iterator[bytes]], watch: Watch) -> Callable[..., Iterator[bytes]]:
    def iter_bytes(*args: Any, **options: Any) -> Iterator[bytes]:
        for chunk in original(*args, **options):
            watch.feed(chunk)
            yield chunk
        watch.end()

    return iter_bytes


def _aiter(original: Callable[..., AsyncIterator[bytes]], watch: Watch) -> Callable[..., AsyncIterator[bytes]]:
    async def aiter_bytes(*args: Any, **options: Any) -> AsyncIterator[bytes]:
        async for chunk in original(*args, **options):
            watch.feed(chunk)
            yield chunk
        watch.end()

    return aiter_bytes
