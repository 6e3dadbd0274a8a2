"""What the gate itself adds to a call, beside the question: printed, and never judged by a busy machine."""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
import spanward_client
from spanward_client.gate import httpx_gate
from spanward_client.gate.judge import Permit
from spanward_client.gate.recognise import ModelCall

from tests.client.provider import events

ROUNDS = 400
ANSWER = json.dumps({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7}}).encode()
STREAM = "".join(events("/chat/completions", {"model": "m", "stream_options": {"include_usage": True}})).encode()


def provider(request: httpx.Request) -> httpx.Response:
    """Answers at once, without a network."""
    if b'"stream"' in request.content:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Chunks())
    return httpx.Response(200, headers={"content-type": "application/json"}, content=ANSWER)


class Chunks(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield from STREAM.splitlines(keepends=True)


def body(size: int, *, stream: bool = False) -> bytes:
    message = {"role": "user", "content": "why is the sky blue? " * (size // 21)}
    return json.dumps({"model": "m", "messages": [message], **({"stream": True} if stream else {})}).encode()


CALLS = {
    "1 kB body": ("/v1/chat/completions", body(1_000)),
    "100 kB body": ("/v1/chat/completions", body(100_000)),
    "streamed": ("/v1/chat/completions", body(1_000, stream=True)),
    "no model call": ("/v1/traces", body(1_000)),
}


def times_ms(path: str, content: bytes) -> list[float]:
    """How long each of many calls took."""
    with httpx.Client(transport=httpx.MockTransport(provider), base_url="http://provider.test") as client:

        def call() -> None:
            with client.stream("POST", path, content=content) as response:
                response.read()

        return [_timed(call) for _ in range(ROUNDS)]


def _timed(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def test_the_gates_own_part_of_a_call_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The goal is a millisecond at most. Question and booking are left out: a permit is granted at once."""
    asked: list[ModelCall] = []

    def admit(call: ModelCall) -> Permit:
        asked.append(call)
        return Permit("")

    monkeypatch.setattr(httpx_gate, "admit", admit)
    bare = {name: times_ms(*call) for name, call in CALLS.items()}
    spanward_client.instrument()
    gated = {name: times_ms(*call) for name, call in CALLS.items()}
    with capsys.disabled():
        for name in CALLS:
            before, after = (statistics.quantiles(runs[name], n=100) for runs in (bare, gated))
            added = f"p50 {after[49] - before[49]:+.3f} ms, p99 {after[98] - before[98]:+.3f} ms"
            sys.stdout.write(f"\ngate, {name}: {added} (without it p50 {before[49]:.3f} ms)")
    assert len(asked) == 3 * ROUNDS
