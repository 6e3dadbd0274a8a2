"""Model calls by other ways than httpx and botocore: requests, aiohttp, and bodies that are made while sending."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import spanward_client
from spanward_client import BudgetExceeded, refusal_of

from tests.client.answers import AGENT
from tests.client.control import Control
from tests.client.provider import INPUT, OUTPUT, TEXT, Provider
from tests.house.source import ROOT

CHAT: Any = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Why?"}], "max_completion_tokens": 300}
STREAM: Any = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
SETTLED = ("hold-1", "settle", {"input_tokens": INPUT, "output_tokens": OUTPUT})


def test_requests_asks_answers_unchanged_and_settles(gate: Control, provider: Provider) -> None:
    answer = requests.post(f"{provider.url}/v1/chat/completions", json=CHAT, timeout=30)
    assert answer.content == provider.sent[0]
    assert spanward_client.flush()
    assert gate.finished == [SETTLED]


def test_requests_streams_through(gate: Control, provider: Provider) -> None:
    with requests.post(f"{provider.url}/v1/chat/completions", json=STREAM, stream=True, timeout=30) as answer:
        lines = list(answer.iter_lines())
    assert b"".join(lines) == b"".join(provider.sent).replace(b"\n", b"")
    assert spanward_client.flush()
    assert gate.finished == [SETTLED]


def test_requests_is_refused_in_the_providers_shape(gate: Control, provider: Provider) -> None:
    gate.deny()
    answer = requests.post(f"{provider.url}/v1/chat/completions", json=CHAT, timeout=30)
    assert f"The daily budget of {AGENT}" in answer.json()["error"]["message"]
    with pytest.raises(requests.HTTPError) as caught:
        answer.raise_for_status()
    assert isinstance(refusal_of(caught.value), BudgetExceeded)
    assert provider.asked == []


def test_requests_that_are_no_model_calls_pass(gate: Control, provider: Provider) -> None:
    requests.post(f"{provider.url}/v1/files", json=CHAT, timeout=30)
    requests.post(f"{provider.url}/v1/files", data=iter([b"{}"]), timeout=30, headers={"content-length": "2"})
    assert gate.questions == []


def test_aiohttp_is_gated_where_google_genai_uses_it(
    tool: Callable[[str], Path], control: Control, provider: Provider
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(tool("aiohttp"))}
    program = [sys.executable, "-m", "tests.client.gate.over_aiohttp", provider.url]

    def run() -> str:
        done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run().splitlines() == [TEXT, TEXT]
    usage = {"input_tokens": INPUT, "output_tokens": OUTPUT}
    assert control.finished == [("hold-1", "settle", usage), ("hold-2", "settle", usage)]
    control.deny()
    assert run().startswith(f"BudgetExceeded: The daily budget of {AGENT}")
    assert len(provider.asked) == 2
    assert len(control.questions) == 3


BODY = b'{"model": "gpt-5-mini", "messages": [], "max_tokens": 5}'


def parts() -> Iterator[bytes]:
    yield BODY[:9]
    yield BODY[9:]


async def aparts() -> AsyncIterator[bytes]:
    for part in parts():
        yield part


def test_a_body_made_while_sending_is_seen_too(gate: Control, provider: Provider) -> None:
    """What a gate does not look into is a way around it (peers.md 2.A.14)."""
    url, headers = f"{provider.url}/v1/chat/completions", {"content-length": str(len(BODY))}

    async def post() -> int:
        async with httpx.AsyncClient() as client:
            return (await client.post(url, content=aparts(), headers=headers)).status_code

    with httpx.Client() as client:
        assert client.post(url, content=parts(), headers=headers).status_code == 200
    assert asyncio.run(post()) == 200
    assert [question["model"] for question in gate.questions] == ["gpt-5-mini", "gpt-5-mini"]
    assert [body for _, body in provider.asked] == [{"model": "gpt-5-mini", "messages": [], "max_tokens": 5}] * 2


def test_compressed_answers_are_read_and_passed_on_as_the_sdk_expects_them(gate: Control, provider: Provider) -> None:
    provider.gzip = True
    with httpx.Client() as client:
        answer = client.post(f"{provider.url}/v1/chat/completions", json=CHAT)
        assert TEXT in answer.text
        with client.stream("POST", f"{provider.url}/v1/chat/completions", json=CHAT) as streamed:
            assert TEXT in "".join(streamed.iter_text())
    assert spanward_client.flush()
    assert [settled[1:] for settled in gate.finished] == [SETTLED[1:], SETTLED[1:]]
