"""A model provider on localhost that speaks the formats of OpenAI, Anthropic, Gemini, Mistral and Bedrock.

Every answer has 11 input tokens (3 of them from a cache where the format tells) and 7 output tokens.
"""

import base64
import binascii
import gzip
import itertools
import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

INPUT, OUTPUT = 11, 7
TEXT = "Rayleigh — déjà vu"


class Provider:
    """What it was asked, and how it answers: `status` for all, `cut` breaks a stream after its first event."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        self.cut = False
        self.gzip = False
        self.sent: list[bytes] = []
        self.url = ""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: Provider

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}")
        path = unquote(self.path.partition("?")[0])
        self.provider.asked.append((path, body))
        if self.provider.status != 200:
            self._whole(self.provider.status, {"error": {"message": "no", "code": 1, "status": "NO", "type": "x"}})
            return
        streamed = body.get("stream") or "stream" in path.rpartition("/")[2].lower()
        if path.startswith("/model/"):
            self._bedrock(path, streamed=bool(streamed))
        elif streamed:
            self._stream(events(path, body))
        else:
            self._whole(200, _answer(path))

    def _bedrock(self, path: str, *, streamed: bool) -> None:
        usage = {"inputTokens": 8, "cacheReadInputTokens": 3, "outputTokens": OUTPUT, "totalTokens": 18}
        if streamed:
            frames = _converse_frames(usage) if "converse" in path else _invoke_frames()
            self._chunks("application/vnd.amazon.eventstream", frames)
        elif path.endswith("/converse"):
            message = {"message": {"role": "assistant", "content": [{"text": TEXT}]}}
            self._whole(200, {"output": message, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}})
        else:
            counts = {"x-amzn-bedrock-input-token-count": "11", "x-amzn-bedrock-output-token-count": "7"}
            self._whole(200, {"content": [{"text": TEXT}]}, counts)

    def _stream(self, told: list[str]) -> None:
        self._chunks("text/event-stream", [event.encode() for event in told])

    def _chunks(self, content_type: str, chunks: list[bytes]) -> None:
        self.provider.sent = chunks
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        with suppress(OSError):
            for number, chunk in enumerate(chunks):
                # Cut in the middle of a line: a reader must not depend on how the network cuts.
                for part in (chunk[: len(chunk) // 2], chunk[len(chunk) // 2 :]):
                    self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                    self.wfile.flush()
                if self.provider.cut and number == 0:
                    self.close_connection = True
                    return
            self.wfile.write(b"0\r\n\r\n")

    def _whole(self, status: int, answer: object, headers: dict[str, str] | None = None) -> None:
        raw = json.dumps(answer, ensure_ascii=False).encode()
        self.provider.sent = [raw]
        if self.provider.gzip:
            raw, headers = gzip.compress(raw), {**(headers or {}), "content-encoding": "gzip"}
        with suppress(OSError):
            self.send_response(status)
            for name, value in {"content-type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name for it.
        """The test's output is not a server log."""


_OPENAI_USAGE = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": 18}
_OPENAI_USAGE_FULL = {**_OPENAI_USAGE, "prompt_tokens_details": {"cached_tokens": 3}}
_RESPONSES_USAGE = {"input_tokens": INPUT, "output_tokens": OUTPUT, "total_tokens": 18}
_RESPONSES_USAGE |= {"input_tokens_details": {"cached_tokens": 3}, "output_tokens_details": {"reasoning_tokens": 0}}  # type: ignore[dict-item]
_ANTHROPIC_USAGE = {"input_tokens": 8, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 0}
_GEMINI_USAGE = {"promptTokenCount": INPUT, "candidatesTokenCount": 5, "thoughtsTokenCount": 2, "totalTokenCount": 18}


def _answer(path: str) -> dict[str, Any]:
    if path.endswith("/chat/completions"):
        message = {"role": "assistant", "content": TEXT}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {**_CHAT, "object": "chat.completion", "choices": [choice], "usage": _OPENAI_USAGE_FULL}
    if path.endswith("/responses"):
        return _response()
    if path.endswith("/embeddings"):
        data = [{"object": "embedding", "index": 0, "embedding": base64.b64encode(struct.pack("<2f", 0, 1)).decode()}]
        return {"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": INPUT, "total_tokens": INPUT}}
    if path.endswith("/messages"):
        return _message([{"type": "text", "text": TEXT}], {**_ANTHROPIC_USAGE, "output_tokens": OUTPUT})
    return _gemini(TEXT, _GEMINI_USAGE)


def events(path: str, body: dict[str, Any]) -> list[str]:
    """The events of one streamed answer."""
    if path.endswith("/chat/completions"):
        wants_usage = (body.get("stream_options") or {}).get("include_usage")
        tail = [_chunk([], _OPENAI_USAGE_FULL)] if wants_usage or "mistral" in body["model"] else []
        return [*(_chunk([_delta(word)], None) for word in TEXT.split()), *tail, "data: [DONE]\n\n"]
    if path.endswith("/responses"):
        done: dict[str, Any] = {
            "type": "response.completed",
            "sequence_number": 1,
            "response": _response(),
        }
        begun = {**done["response"], "status": "in_progress", "output": [], "usage": None}
        created = {"type": "response.created", "sequence_number": 0, "response": begun}
        return [_event("response.created", created), _event("response.completed", done)]
    if path.endswith("/messages"):
        start = _message([], {**_ANTHROPIC_USAGE, "output_tokens": 1})
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": OUTPUT}}
        return [
            _event("message_start", {"type": "message_start", "message": start}),
            _event("content_block_start", block),
            _event("content_block_delta", delta),
            _event("content_block_stop", {"type": "content_block_stop", "index": 0}),
            _event("message_delta", end),
            _event("message_stop", {"type": "message_stop"}),
        ]
    *words, last = TEXT.split()
    parts = [*(_gemini(word, {"promptTokenCount": INPUT}) for word in words), _gemini(last, _GEMINI_USAGE)]
    return [f"data: {json.dumps(part)}\r\n\r\n" for part in parts]


_numbers = itertools.count()  # A response that is seen twice is the same response to some instrumentations.
_CHAT = {"id": "chatcmpl-1", "created": 1, "model": "gpt-5-mini"}


def _delta(word: str) -> dict[str, Any]:
    return {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}


def _chunk(choices: list[Any], usage: object) -> str:
    body = {**_CHAT, "object": "chat.completion.chunk", "choices": choices, "usage": usage}
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def _event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def _response() -> dict[str, Any]:
    content = [{"type": "output_text", "text": TEXT, "annotations": []}]
    output = [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}]
    fixed = {"id": f"resp_{next(_numbers)}", "object": "response", "created_at": 1, "model": "gpt-5-mini", "tools": []}
    fixed |= {"parallel_tool_calls": True, "tool_choice": "auto"}
    return {**fixed, "status": "completed", "output": output, "usage": _RESPONSES_USAGE}


def _message(content: list[Any], usage: object) -> dict[str, Any]:
    fixed = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6"}
    return {**fixed, "content": content, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}


def _gemini(text: str, usage: object) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash"}


def _converse_frames(usage: object) -> list[bytes]:
    return [
        _frame("messageStart", {"role": "assistant"}),
        _frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": TEXT}}),
        _frame("messageStop", {"stopReason": "end_turn"}),
        _frame("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
    ]


def _invoke_frames() -> list[bytes]:
    metrics = {"inputTokenCount": INPUT, "outputTokenCount": OUTPUT, "invocationLatency": 1}
    last = {"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics}
    events = [{"type": "content_block_delta", "delta": {"text": TEXT}}, last]
    return [_frame("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode()}) for event in events]


def _frame(kind: str, payload: object) -> bytes:
    """One message of https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html."""
    raw = json.dumps(payload).encode()
    said = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in said.items()
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(raw), len(headers))
    prelude += struct.pack(">I", binascii.crc32(prelude))
    message = prelude + headers + raw
    return message + struct.pack(">I", binascii.crc32(message))


@contextmanager
def serving() -> Iterator[Provider]:
    """The provider on a free port of 127.0.0.1."""
    provider = Provider()
    handler = type("Handler", (_Handler,), {"provider": provider})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        provider.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()
