"""`Session.send` of requests → the same, behind the gate.

google-genai uses it for Vertex AI under client certificates, and scripts call models with it by hand.
"""

import io
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from types import ModuleType
from typing import Any

from spanward_client.errors import SpanwardError
from spanward_client.gate.httpx_gate import already_gated, gated
from spanward_client.gate.judge import Permit, admit
from spanward_client.gate.patches import Patches
from spanward_client.gate.recognise import Family, ModelCall, recognise
from spanward_client.gate.refusals import STATUS, refused
from spanward_client.gate.usage import Watch, read_body


def patch(library: ModuleType, patches: Patches) -> None:
    """Put the gate before `requests.Session.send`."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def send(session: Any, request: Any, **options: Any) -> Any:
            call = _model_call(request)
            if call is None:
                return original(session, request, **options)
            try:
                permit = admit(call)
            except SpanwardError as no:
                return _response(library, request, no, call.family)
            with gated():
                try:
                    response = original(session, request, **options)
                except library.exceptions.ConnectTimeout:
                    permit.unsent()
                    raise
            _watch(response, permit, streamed=bool(options.get("stream")))
            return response

        return send

    patches.replace(library.Session, "send", wrap)


def _model_call(request: Any) -> ModelCall | None:
    if request.method != "POST" or already_gated():
        return None
    body = request.body
    if not isinstance(body, (bytes, str)):
        return None  # A file or a generator: no SDK sends a model call like that.
    raw = body.encode() if isinstance(body, str) else body
    agent = request.headers.get("user-agent", "")
    return recognise(method="POST", url=request.url, agent=str(agent), body=lambda: raw)


def _response(library: ModuleType, request: Any, no: SpanwardError, family: Family) -> Any:
    headers, body = refused(no, family)
    response = library.Response()
    response.status_code, response.reason = STATUS, "Forbidden"
    response.headers.update(headers)
    response.raw, response.encoding = io.BytesIO(body), "utf-8"
    response.url, response.request, response.elapsed = request.url, request, timedelta(0)
    return response


def _watch(response: Any, permit: Permit, *, streamed: bool) -> None:
    if response.status_code >= 400:
        permit.failed(response.status_code)
    elif not streamed:
        permit.answered(read_body(response.content))
    else:
        watch = Watch(response.headers.get("content-type", ""), permit.answered)
        original = response.iter_content

        def iter_content(*args: Any, **options: Any) -> Any:
            for chunk in original(*args, **options):
                watch.feed(chunk if isinstance(chunk, bytes) else chunk.encode())
                yield chunk
            watch.end()

        response.iter_content = iter_content
