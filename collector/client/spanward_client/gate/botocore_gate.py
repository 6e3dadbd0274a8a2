"""botocore's HTTP session → the same, behind the gate: Bedrock's Converse and InvokeModel, streams included.

Invariant: only `/model/…` paths of Bedrock are looked into; S3 and all other services pass. A stream's
frames are read in a copy, and what botocore gets is unchanged.
"""

import binascii
import importlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from types import ModuleType
from typing import Any

from spanward_client.errors import SpanwardError
from spanward_client.gate.judge import Permit, admit
from spanward_client.gate.patches import Patches
from spanward_client.gate.recognise import Family, ModelCall, recognise
from spanward_client.gate.refusals import STATUS, refused
from spanward_client.gate.usage import Usage, read_body, read_counts

# Sent with an InvokeModel answer, so that its body need not be understood.
_INPUT = "x-amzn-bedrock-input-token-count"
_OUTPUT = "x-amzn-bedrock-output-token-count"


def patch(library: ModuleType, patches: Patches) -> None:
    """Put the gate before `URLLib3Session.send`, which every attempt of every client goes through."""
    errors = importlib.import_module("botocore.exceptions")
    awsrequest = importlib.import_module("botocore.awsrequest")
    eventstream = importlib.import_module("botocore.eventstream")
    never_sent = (errors.EndpointConnectionError, errors.ConnectTimeoutError, errors.ProxyConnectionError)

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def send(session: Any, request: Any) -> Any:
            call = _model_call(request)
            if call is None:
                return original(session, request)
            try:
                permit = admit(call)
            except SpanwardError as no:
                return _response(awsrequest, request, no, call.family)
            try:
                response = original(session, request)
            except never_sent:
                permit.unsent()
                raise
            _watch(response, permit, eventstream.EventStreamBuffer)
            return response

        return send

    patches.replace(library.URLLib3Session, "send", wrap)


def _model_call(request: Any) -> ModelCall | None:
    if "/model/" not in request.url:
        return None
    body = request.body
    raw = body if isinstance(body, (bytes, bytearray)) else str(body or "").encode()
    return recognise(method=request.method, url=request.url, agent="", body=lambda: bytes(raw))


def _response(awsrequest: ModuleType, request: Any, no: SpanwardError, family: Family) -> Any:
    headers, body = refused(no, family)
    return awsrequest.AWSResponse(request.url, STATUS, headers, _Raw(body))


class _Raw(io.BytesIO):
    """The part of urllib3's response that botocore reads."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self.read()


def _watch(response: Any, permit: Permit, buffer: Callable[[], Any]) -> None:
    if response.status_code >= 300:
        permit.failed(response.status_code)
        return
    headers = response.headers
    if _INPUT in headers and _OUTPUT in headers:
        permit.answered(read_counts({"inputTokens": _count(headers[_INPUT]), "outputTokens": _count(headers[_OUTPUT])}))
    elif headers.get("content-type", "").startswith("application/vnd.amazon.eventstream"):
        response.raw.stream = _frames(response.raw.stream, permit, buffer())
    elif response.url.partition("?")[0].endswith("/converse"):
        permit.answered(read_body(response.content))


def _count(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _frames(original: Callable[..., Iterator[bytes]], permit: Permit, frames: Any) -> Callable[..., Iterator[bytes]]:
    """The stream as it is; `metadata` of ConverseStream or the metrics in the last chunk of InvokeModel settle."""

    def stream(*args: Any, **options: Any) -> Iterator[bytes]:
        settled = False
        for chunk in original(*args, **options):
            frames.add_data(chunk)
            for frame in frames:
                usage = None if settled else _usage(frame.payload)
                if usage is not None:
                    settled = True
                    permit.answered(usage)
            yield chunk

    return stream


def _usage(payload: bytes) -> Usage | None:
    if b"okens" in payload:
        return read_body(payload)
    if b'"bytes"' in payload:
        return _invocation(payload)
    return None


def _invocation(payload: bytes) -> Usage | None:
    """A chunk of InvokeModelWithResponseStream: the model's own event in base64, the last with Bedrock's metrics.

    https://docs.aws.amazon.com/bedrock/latest/userguide/inference-invoke.html
    """
    chunk = _object(payload)
    try:
        event = _object(binascii.a2b_base64(str(chunk.get("bytes", ""))))
    except binascii.Error:
        return None
    metrics = event.get("amazon-bedrock-invocationMetrics")
    if not isinstance(metrics, dict):
        return None
    return read_counts({"inputTokens": metrics.get("inputTokenCount"), "outputTokens": metrics.get("outputTokenCount")})


def _object(raw: bytes) -> Mapping[str, object]:
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
