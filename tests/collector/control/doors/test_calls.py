"""What a gateway sees of a model call → the question it asks."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.control.doors.gateways.calls import MEDIA_TOKENS, HttpCall, ModelCall, provider_of_host, read_call
from schemas.control import DecisionRequest

CHAT = {"model": "gpt-4o", "max_tokens": 7, "messages": [{"role": "user", "content": "Hello?"}]}


def read(
    path: str, body: object = None, *, method: str = "POST", host: str = "", headers: dict[str, str] | None = None
) -> ModelCall:
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_call(HttpCall(method, path, host, headers or {}, raw))


def asked(path: str, body: object = None, **about: object) -> tuple[str, str, str, int | None]:
    """Action, provider, model and output tokens."""
    question = read(path, body, **about).question  # type: ignore[arg-type]
    return question.action, question.provider, question.model, question.max_output_tokens


CALLS = {
    "chat completion": ("/v1/chat/completions", CHAT, ("", "gpt-4o", 7)),
    "with a query": ("/v1/chat/completions?x=1", CHAT, ("", "gpt-4o", 7)),
    "the newer name of the limit": ("/v1/chat/completions", CHAT | {"max_completion_tokens": 9}, ("", "gpt-4o", 9)),
    "several answers": ("/v1/chat/completions", CHAT | {"n": 3}, ("", "gpt-4o", 21)),
    "no limit": ("/v1/chat/completions", {"model": "gpt-4o"}, ("", "gpt-4o", None)),
    "a limit that is none": ("/v1/chat/completions", CHAT | {"max_tokens": "7"}, ("", "gpt-4o", None)),
    "responses": ("/v1/responses", {"model": "gpt-4.1", "max_output_tokens": 5}, ("", "gpt-4.1", 5)),
    "embeddings": ("/v1/embeddings", {"model": "text-embedding-3-small"}, ("", "text-embedding-3-small", 0)),
    "messages": (
        "/v1/messages",
        {"model": "claude-sonnet-4-5", "max_tokens": 3},
        ("anthropic", "claude-sonnet-4-5", 3),
    ),
    "Gemini": (
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
        {"generationConfig": {"maxOutputTokens": 4, "candidateCount": 2}},
        ("gcp.gemini", "gemini-2.5-pro", 8),
    ),
    "Vertex AI": (
        "/v1/projects/p/locations/eu/publishers/google/models/gemini-2.5-pro:generateContent",
        {},
        ("gcp.gemini", "gemini-2.5-pro", None),
    ),
    "Bedrock": (
        "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
        {"inferenceConfig": {"maxTokens": 6}},
        ("aws.bedrock", "anthropic.claude-3-haiku-20240307-v1:0", 6),
    ),
    "a deployment of Azure": (
        "/openai/deployments/prod-gpt4/chat/completions?api-version=1",
        CHAT,
        ("azure.ai.openai", "prod-gpt4", 7),
    ),
    "a path nobody knows": ("/v9/new", {"a": 1}, ("", "", None)),
    "half a body": ("/v1/chat/completions", b'{"model": "gp', ("", "", None)),
    "a body that is a list": ("/v1/chat/completions", b"[]", ("", "", None)),
    "a nest too deep to read": ("/v1/chat/completions", b"[" * 9999 + b"]" * 9999, ("", "", None)),
}


@pytest.mark.parametrize(("path", "body", "expected"), CALLS.values(), ids=CALLS.keys())
def test_a_post_is_a_model_call_read_from_path_and_body(
    path: str, body: object, expected: tuple[str, str, int | None]
) -> None:
    """maximhq/bifrost#2873: a path that nobody knows is judged too."""
    assert asked(path, body) == ("llm.call", *expected)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("DELETE", "/v1/files/f"),
        ("POST", "/v1/files"),
        ("POST", "/v1/moderations"),
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/v1beta/models/gemini-2.5-pro:countTokens"),
    ],
)
def test_what_costs_no_tokens_is_no_model_call(method: str, path: str) -> None:
    assert asked(path, CHAT, method=method) == ("http.request", "", "", None)


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_a_conversation_over_a_websocket_is_a_model_call(method: str) -> None:
    """maximhq/bifrost#2873: OpenAI's Realtime API begins with a GET."""
    headers = {"upgrade": "websocket"}
    assert asked("/v1/realtime?model=gpt-realtime", method=method, headers=headers) == (
        "llm.call", "", "gpt-realtime", None,
    )  # fmt: skip


def test_a_host_that_is_known_says_who_bills_and_a_header_only_where_none_is() -> None:
    named = {"x-spanward-provider": "groq"}
    assert asked("/v1/chat/completions", CHAT, host="api.openai.com", headers=named)[1] == "openai"
    assert asked("/v1/chat/completions", CHAT, host="gateway.internal:10000", headers=named)[1] == "groq"
    assert provider_of_host("127.0.0.1:10000") == ""


def test_a_header_names_the_model_only_where_nothing_else_does() -> None:
    """BerriAI/litellm#40305: a header must not redirect what a call is judged as."""
    headers = {"x-spanward-model": "cheap", "x-spanward-max-output-tokens": "12"}
    assert asked("/v1/chat/completions", CHAT, headers=headers) == ("llm.call", "", "gpt-4o", 7)
    assert asked("/v1/chat/completions", headers=headers) == ("llm.call", "", "cheap", 12)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1beta/models/m:generateContent"])
def test_the_style_is_that_of_the_api_that_was_called(path: str) -> None:
    styles = {"/v1/messages": "anthropic", "/v1/chat/completions": "openai"}
    assert read(path).style == styles.get(path, "gemini")


@given(st.lists(st.text(max_size=50), max_size=5), st.dictionaries(st.text(max_size=9), st.integers(), max_size=3))
def test_input_is_never_fewer_tokens_than_its_text_has_bytes(texts: list[str], other: dict[str, int]) -> None:
    """BerriAI/litellm#35524: no estimate, no hold. A byte-level token stands for at least one byte."""
    body = {"messages": [{"role": "user", "content": text} for text in texts], "tools": [other]}
    raw = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    bound = read("/v1/chat/completions", raw).question.input_tokens
    assert bound >= sum(len(text.encode("utf-8", "surrogatepass")) for text in (*texts, *other))


PICTURE = base64.b64encode(bytes(60_000)).decode()
PICTURES = {
    "OpenAI": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
    "a link": {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    "Anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}},
    "Gemini": {"inlineData": {"mimeType": "image/png", "data": PICTURE}},
    "sound": {"type": "input_audio", "input_audio": {"data": PICTURE, "format": "wav"}},
}


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES.keys())
def test_a_picture_counts_by_the_piece_and_not_by_its_bytes(picture: dict[str, object]) -> None:
    """BerriAI/litellm#38647: a hold that is far too large blocks who has not spent anything."""
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]}
    assert MEDIA_TOKENS < read("/v1/x", body).question.input_tokens < MEDIA_TOKENS + 400


def test_a_recording_in_a_form_counts_by_the_piece() -> None:
    call = read("/v1/audio/transcriptions", bytes(90_000), headers={"content-type": "multipart/form-data; boundary=x"})
    assert call.question.input_tokens == MEDIA_TOKENS


def test_a_body_that_is_not_shown_is_bounded_by_its_length() -> None:
    call = HttpCall("POST", "/v1/chat/completions", "", {"x-spanward-model": "gpt-4o"}, size=900)
    assert read_call(call).question == DecisionRequest(model="gpt-4o", input_tokens=900)
