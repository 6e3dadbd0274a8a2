"""Envoy's external authorization, v3: a check of a call → let it pass, or answer for the provider.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_authz_filter. The filter must forward
the body (`with_request_body`), or only path and headers are known. Invariant: every call that can be read is answered
with a status for its caller; Spanward's own key never reaches the provider.
"""

import time
from collections.abc import Callable, Iterable

import grpc

from collector.control.answers import Header
from collector.control.doors.asking import Asker
from collector.control.doors.gateways.calls import KEY_HEADER, HttpCall, read_call
from collector.control.doors.gateways.verdicts import GatewayAnswer, judge
from collector.control.doors.grpc.server import Call, Service
from schemas.protobuf import ext_authz_pb2 as pb

NAME = "envoy.service.auth.v3.Authorization"
_OVERWRITE = pb.HeaderValueOption.AppendAction.OVERWRITE_IF_EXISTS_OR_ADD
_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
_JSON: Header = (b"content-type", b"application/json")
# The provider is told nothing but the id, by which its own logs can be matched.
_TOLD_UPSTREAM = b"x-spanward-decision-id"


class ExtAuthz:
    """The service."""

    def __init__(self, asker: Asker, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._asker = asker
        self._clock = clock

    def service(self) -> Service:
        """What is served."""
        return Service(NAME, {"Check": self._check})

    async def _check(self, call: Call) -> pb.CheckResponse:
        attributes = call.read(pb.CheckRequest).attributes
        http = attributes.request.http
        # What the route's configuration says, in `context_extensions`, outranks what the caller's headers say.
        declared = {f"x-spanward-{name}": value for name, value in attributes.context_extensions.items()}
        headers = {name.lower(): value for name, value in http.headers.items()} | declared
        seen = HttpCall(
            method=http.method or "POST",
            path=http.path,
            host=http.host,
            headers=headers,
            body=http.raw_body or http.body.encode(),
            size=max(0, http.size),
        )
        answer = await judge(self._asker, read_call(seen), headers, self._clock())
        return _allowed(answer) if answer.status == 200 else _denied(answer)


def _allowed(answer: GatewayAnswer) -> pb.CheckResponse:
    upstream = [header for header in answer.tells if header[0] == _TOLD_UPSTREAM]
    return pb.CheckResponse(
        status=pb.CheckResponse.Status(code=0),
        ok_response=pb.OkHttpResponse(
            headers=_options(upstream),
            headers_to_remove=[KEY_HEADER],
            response_headers_to_add=_options(answer.tells),
        ),
    )


def _denied(answer: GatewayAnswer) -> pb.CheckResponse:
    number: tuple[int, str] = _CODES[answer.status].value
    return pb.CheckResponse(
        status=pb.CheckResponse.Status(code=number[0]),
        denied_response=pb.DeniedHttpResponse(
            status=pb.HttpStatus(code=answer.status),
            headers=_options([_JSON, *answer.tells]),
            body=answer.body.decode(),
        ),
    )


def _options(headers: Iterable[Header]) -> list[pb.HeaderValueOption]:
    return [
        pb.HeaderValueOption(
            header=pb.HeaderValue(key=name.decode(), value=value.decode("latin-1")), append_action=_OVERWRITE
        )
        for name, value in headers
    ]
