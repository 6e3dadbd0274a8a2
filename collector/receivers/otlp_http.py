"""OTLP/HTTP requests → `CommitGroup` → OTLP responses.

One path a signal, protobuf and JSON, as the OTLP specification's "OTLP/HTTP" section has them. A
request is answered in the encoding it came in, errors included (google.rpc.Status).
"""

from collections.abc import Callable

from collector.http import Receive, Scope, Send, credential_text, read_body, respond
from collector.receivers.body import ENCODINGS, Signal
from collector.receivers.commit_group import CommitGroup, Request, Sender
from collector.receivers.config import Limits
from collector.receivers.status import TooLarge, UnsupportedMedia, encode, rejection, response
from collector.telemetry import Door
from schemas.errors import SpanwardError

PATHS: dict[str, Signal] = {"/v1/traces": "traces", "/v1/logs": "logs", "/v1/metrics": "metrics"}
PROTOBUF, JSON = b"application/x-protobuf", b"application/json"


class OtlpHttp:
    """The ASGI callable behind port 4318."""

    def __init__(self, group: CommitGroup, authenticate: Callable[[str], Sender], limits: Limits, door: Door) -> None:
        self._door = door
        self._group = group
        self._authenticate = authenticate
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        signal = PATHS.get(scope["path"])
        if signal is None:
            await _plain(send, 404, "There is nothing here. OTLP/HTTP paths are /v1/traces, /v1/logs and /v1/metrics.")
            return
        if scope["method"] != "POST":
            await _plain(send, 405, "OTLP/HTTP requests are POST.", (b"allow", b"POST"))
            return
        headers = dict(scope["headers"])
        content_type = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        as_json = content_type == JSON
        try:
            request = await self._request(signal, headers, content_type, receive)
            reply = await self._group.submit(request)
        except SpanwardError as error:
            answer = rejection(error)
            self._door.refused(signal, str(answer.http))
            retry = [] if answer.retry_after_s is None else [(b"retry-after", str(answer.retry_after_s).encode())]
            kind = [(b"content-type", JSON if as_json else PROTOBUF)]
            await respond(send, answer.http, encode(answer.status(), as_json=as_json), kind + retry)
            return
        self._door.answered(signal, reply.accepted, reply.rejected)
        body = encode(response(signal, reply.rejected, reply.warnings), as_json=as_json)
        await respond(send, 200, body, [(b"content-type", content_type)])

    async def _request(
        self, signal: Signal, headers: dict[bytes, bytes], content_type: bytes, receive: Receive
    ) -> Request:
        sender = self._authenticate(credential_text(headers))
        if content_type not in {PROTOBUF, JSON}:
            raise UnsupportedMedia(
                f"Content-Type {content_type.decode('latin-1')!r} is not OTLP.",
                fix="Send application/x-protobuf or application/json.",
            )
        encoding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
        if encoding not in ENCODINGS:
            raise UnsupportedMedia(f"Content-Encoding {encoding!r} is not supported.", fix="Use gzip, zstd or none.")
        limit = self._limits.max_body.bytes
        length = headers.get(b"content-length", b"0")
        body = await read_body(receive, limit) if not length.isdigit() or int(length) <= limit else None
        if body is None:
            raise TooLarge(
                f"The body is larger than limits.max_body ({limit} bytes).",
                fix="Send smaller batches, or raise receivers.otlp.limits.max_body.",
            )
        return Request(sender, signal, body, encoding, content_type == JSON)


async def _plain(send: Send, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
    await respond(send, status, text.encode() + b"\n", [(b"content-type", b"text/plain; charset=utf-8"), *headers])
