"""Requests by method, path and body shape → model calls with bounds, and everything else untouched."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spanward_client.gate.recognise import ModelCall, recognise
from spanward_client.gate.tokens import (
    FILE_TOKENS,
    IMAGE_TOKENS,
    MEDIA_TOKENS_LEAST,
    STORED_CONTEXT_TOKENS,
    TOOLS_TOKENS,
    input_bound,
)

CHAT: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def seen(url: str, body: object, *, agent: str = "", method: str = "POST") -> ModelCall | None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return recognise(method=method, url=url, agent=agent, body=lambda: raw)


@pytest.mark.parametrize(
    ("url", "body", "provider", "model"),
    [
        ("https://api.openai.com/v1/chat/completions", CHAT, "openai", "m"),
        ("https://eu.api.openai.com/v1/responses", {"model": "m", "input": "hi"}, "openai", "m"),
        ("https://api.openai.com/v1/responses", {"prompt": {"id": "pmpt_1"}}, "openai", ""),
        ("https://api.openai.com/v1/embeddings", {"model": "m", "input": ["hi"]}, "openai", "m"),
        ("http://user:key@localhost:8000/v1/completions?x=1", {"model": "m", "prompt": "hi"}, "openai", "m"),
        (
            "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=1",
            CHAT,
            "azure.ai.openai",
            "d",
        ),
        ("https://r.openai.azure.com/openai/v1/responses", {"model": "d", "input": "hi"}, "azure.ai.openai", "d"),
        ("https://api.groq.com/openai/v1/chat/completions", CHAT, "groq", "m"),
        ("https://openrouter.ai/api/v1/chat/completions", CHAT, "openrouter", "m"),
        ("https://api.deepseek.com/chat/completions", CHAT, "deepseek", "m"),
        ("https://api.mistral.ai/v1/fim/completions", {"model": "m", "prompt": "hi"}, "mistral_ai", "m"),
        ("https://api.mistral.ai/v1/agents/completions#stream", {"agent_id": "a", "messages": []}, "mistral_ai", ""),
        ("https://api.anthropic.com/v1/messages?beta=true", {**CHAT, "max_tokens": 5}, "anthropic", "m"),
        (
            "https://generativelanguage.googleapis.com/v1beta/models/g:streamGenerateContent?alt=sse",
            {},
            "gcp.gemini",
            "g",
        ),
        (
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google/models/g:generateContent",
            {},
            "gcp.vertex_ai",
            "g",
        ),
        (
            "https://aiplatform.eu.rep.googleapis.com/v1/publishers/anthropic/models/claude@20250101:streamRawPredict",
            {},
            "gcp.vertex_ai",
            "claude",
        ),
        (
            "https://bedrock-runtime.eu-central-1.amazonaws.com/model/arn%3Aaws%3Abedrock%3Aeu%3A1%3Ap%2Fx/converse",
            {},
            "aws.bedrock",
            "arn:aws:bedrock:eu:1:p/x",
        ),
    ],
)
def test_a_model_call_is_known_by_its_shape_on_any_host(url: str, body: object, provider: str, model: str) -> None:
    """Routes that a gate does not know are how budgets are ignored (peers.md 2.A.14)."""
    call = seen(url, body)
    assert call is not None
    assert (call.provider, call.model) == (provider, model)


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("http://127.0.0.1:4318/v1/traces", b"\n\x01"),
        ("http://127.0.0.1:4320/v1/decisions", {"model": "m", "action": "llm.call"}),
        ("https://api.openai.com/v1/threads/t/messages", {"role": "user", "content": "hi"}),
        ("https://api.anthropic.com/v1/messages/count_tokens", {**CHAT, "max_tokens": 5}),
        ("https://api.anthropic.com/v1/messages/batches", {"requests": []}),
        ("https://example.org/responses", {"answer": 1}),
        ("https://example.org/completions", {"model": "m"}),
        ("https://example.org/chat/completions", b"not json"),
        ("https://example.org/chat/completions", [CHAT]),
        ("https://example.org/chat/completions", {**CHAT, "model": 3}),
        ("https://example.org/model/x", {}),
        ("not a url", {}),
        ("https://example.org/chat/completions", b'{"model": ' + b"[" * 100_000),
    ],
)
def test_what_is_no_model_call_passes(url: str, body: object) -> None:
    assert seen(url, body) is None


def test_a_get_is_no_call() -> None:
    assert seen("https://api.openai.com/v1/chat/completions", CHAT, method="GET") is None


def test_mistral_on_a_host_of_its_users_own_is_known_by_its_user_agent() -> None:
    call = seen("http://localhost/v1/chat/completions", CHAT, agent="mistral-client-python/3.7.0")
    assert call is not None
    assert call.provider == "mistral_ai"


@pytest.mark.parametrize(
    ("url", "asked", "tokens"),
    [
        ("/v1/chat/completions", {**CHAT, "max_completion_tokens": 10}, 10),
        ("/v1/chat/completions", {**CHAT, "max_tokens": 10, "n": 3}, 30),
        ("/v1/chat/completions", {**CHAT, "max_tokens": None}, None),
        ("/v1/chat/completions", {**CHAT, "max_tokens": -1}, None),
        ("/v1/completions", {"model": "m", "prompt": "hi", "max_tokens": 10, "best_of": 4, "n": 2}, 40),
        ("/v1/responses", {"model": "m", "input": "hi", "max_output_tokens": 10}, 10),
        ("/v1/messages", {**CHAT, "max_tokens": 10}, 10),
        ("/models/g:generateContent", {"generationConfig": {"maxOutputTokens": 10, "candidateCount": 2}}, 20),
        ("/model/m/converse", {"inferenceConfig": {"maxTokens": 10}}, 10),
        ("/model/m/invoke", {"max_gen_len": 10}, 10),
        ("/v1/embeddings", {"model": "m", "input": "hi"}, 0),
        ("/models/g:batchEmbedContents", {}, 0),
        ("/model/amazon.titan-embed-text-v2:0/invoke", {"inputText": "hi"}, 0),
    ],
)
def test_the_output_is_bounded_by_every_answer_that_is_wanted(url: str, asked: object, tokens: int | None) -> None:
    """A call without an estimate is a call without a hold (peers.md 2.A.11)."""
    call = seen(f"http://localhost{url}", asked)
    assert call is not None
    assert call.max_output_tokens == tokens


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_the_input_bound_covers_every_byte_of_text(text: str, tool: dict[str, str]) -> None:
    bound = input_bound({"messages": [{"role": "user", "content": text}], "tools": [tool]})
    written = text + "".join(tool) + "".join(tool.values())
    assert bound >= len(written.encode("utf-8", "surrogatepass"))


IMAGE = "data:image/png;base64," + "A" * 400_000
BASE64 = "A" * 400_000


@pytest.mark.parametrize(
    ("part", "least"),
    [
        ({"type": "image_url", "image_url": {"url": IMAGE}}, IMAGE_TOKENS),
        ({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, IMAGE_TOKENS),
        ({"type": "input_image", "image_url": IMAGE}, IMAGE_TOKENS),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BASE64}}, IMAGE_TOKENS),
        ({"inlineData": {"mimeType": "image/png", "data": BASE64}}, IMAGE_TOKENS),
        ({"image": {"format": "png", "source": {"bytes": BASE64}}}, IMAGE_TOKENS),
        ({"type": "document", "source": {"media_type": "application/pdf", "data": BASE64}}, 15_000),
        ({"type": "input_audio", "input_audio": {"data": "A" * 4_000, "format": "mp3"}}, MEDIA_TOKENS_LEAST),
        ({"type": "input_file", "file_id": "file-1"}, FILE_TOKENS),
        ({"fileData": {"mimeType": "video/mp4", "fileUri": "gs://x/y"}}, FILE_TOKENS),
    ],
)
def test_a_medium_has_its_documented_constant_and_not_its_bytes(part: object, least: int) -> None:
    """Worst cases far beyond the truth block budgets with nothing spent (peers.md 2.A.10)."""
    assert least <= input_bound({"input": [{"role": "user", "content": [part]}]}) < least + 200


@pytest.mark.parametrize(
    "text",
    ["data:image/png;base64," + "A" * 9_000, "A" * 9_000],
)
@pytest.mark.parametrize("name", ["content", "data", "url"])
def test_text_that_only_looks_like_a_medium_is_counted_by_its_bytes(name: str, text: str) -> None:
    """Else a prompt could make itself cheap."""
    assert input_bound({"messages": [{"role": "user", name: text}]}) >= 9_000


def test_what_the_body_does_not_show_is_added() -> None:
    bare = input_bound({"input": "hi"})
    assert input_bound({"input": "hi", "tools": [{}]}) >= bare + TOOLS_TOKENS
    assert input_bound({"input": "hi", "previous_response_id": "r"}) >= bare + STORED_CONTEXT_TOKENS
    assert input_bound({"input": [101] * 50}) <= 60


@pytest.mark.parametrize("depth", [10, 300, 600, 900])
def test_a_body_is_bounded_however_deep_it_is(depth: int) -> None:
    deep = b"[" * depth + b'"hi"' + b"]" * depth
    call = seen("http://localhost/v1/chat/completions", b'{"model": "m", "messages": ' + deep + b"}")
    assert call is not None
    assert call.input_tokens >= 2
