"""A provider's answer → the tokens it says were used, read while the bytes pass by.

Whole answers and streams of every family end up in one `Usage`: all input, cached included, and all
output, reasoning included. Invariant: the bytes are only looked at; an answer that cannot be read
has no usage, never a wrong one.

Sources: https://platform.openai.com/docs/api-reference (`usage`, `stream_options.include_usage`),
https://docs.anthropic.com/en/docs/build-with-claude/streaming (`message_start`, `message_delta`),
https://ai.google.dev/api/generate-content#UsageMetadata,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

JSON_BYTES_MAX = 16 * 1024 * 1024
"""An answer longer than this is not kept to be read; its span or its expiry settles it."""

LINE_BYTES_MAX = 4 * 1024 * 1024
"""The same for one line of a stream."""

# The last event of each family's stream: what was counted by then is the whole.
_ENDS = ("message_stop", "response.completed", "response.incomplete", "response.failed")
_TELLING = (b'"usage', b"message_stop", b"response.completed", b"response.incomplete", b"response.failed")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call."""

    input_tokens: int
    output_tokens: int


def read_body(body: bytes) -> Usage | None:
    """The usage of a whole JSON answer."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return read_counts(_counts(answer))


def read_counts(counts: Mapping[str, object]) -> Usage | None:
    """A provider's usage object in our two numbers; `None` when it tells none."""

    def number(*names: str) -> int | None:
        for name in names:
            value = counts.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                return value
        return None

    read = number("prompt_tokens", "input_tokens", "promptTokenCount", "inputTokens")
    if read is None:
        return None
    # Anthropic and Bedrock count cached input beside the rest, the others within it.
    for beside in (
        ("cache_read_input_tokens", "cacheReadInputTokens"),
        ("cache_creation_input_tokens", "cacheWriteInputTokens"),
        ("toolUsePromptTokenCount",),
    ):
        read += number(*beside) or 0
    written = number("completion_tokens", "output_tokens", "candidatesTokenCount", "outputTokens") or 0
    return Usage(read, written + (number("thoughtsTokenCount") or 0))


class StreamReader:
    """Chunks of a server-sent event stream in, usage out. `usage` is set once it is final."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self._rest = b""
        self._counts: dict[str, object] = {}

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes; they may end anywhere in a line."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            self._rest = b""
        for line in lines:
            self._read(line)

    def end(self) -> None:
        """Say that the stream was read to its end: what was counted last is final, marker or not."""
        self._read(self._rest)
        if self.usage is None:
            self.usage = read_counts(self._counts)

    def _read(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            return
        if line[5:].strip() == b"[DONE]":
            self.usage = read_counts(self._counts)
        elif any(word in line for word in _TELLING):
            self._event(line[5:])

    def _event(self, data: bytes) -> None:
        try:
            event = json.loads(data)
        except ValueError:
            return
        self._counts.update({key: value for key, value in _counts(event).items() if value is not None})
        if isinstance(event, dict) and event.get("type") in _ENDS:
            self.usage = read_counts(self._counts)


class Watch:
    """The bytes of one answer on their way to the SDK. `done` is called once, with the usage or nothing.

    An answer that breaks off gives nothing: the provider may charge for what it had written, and nobody here
    knows how much.
    """

    def __init__(self, content_type: str, done: Callable[[Usage | None], None]) -> None:
        self._done = done
        self._told = False
        self._stream = StreamReader() if content_type.startswith("text/event-stream") else None
        self._body: bytearray | None = bytearray() if content_type.startswith("application/json") else None

    def feed(self, chunk: bytes) -> None:
        """Bytes as the SDK gets them, decompressed."""
        if self._stream is not None:
            self._stream.feed(chunk)
            if self._stream.usage is not None:
                self._tell(self._stream.usage)
        elif self._body is not None:
            self._body += chunk
            if len(self._body) > JSON_BYTES_MAX:
                self._body = None

    def end(self) -> None:
        """The answer was read to its end."""
        if self._stream is not None:
            self._stream.end()
            self._tell(self._stream.usage)
        else:
            self._tell(read_body(bytes(self._body)) if self._body is not None else None)

    def _tell(self, usage: Usage | None) -> None:
        if not self._told:
            self._told = True
            self._done(usage)


def _counts(event: object) -> Mapping[str, object]:
    """The usage object of an answer or an event, wherever the family puts it."""
    if not isinstance(event, dict):
        return {}
    for holder in (event, event.get("response"), event.get("message"), event.get("metadata")):
        if isinstance(holder, dict):
            for name in ("usage", "usageMetadata"):
                counts = holder.get(name)
                if isinstance(counts, dict):
                    return counts
    return {}
