"""A model call as a gateway sees it → the question it asks, and the API whose words an answer must have.

Read from the path, the body and, last, from `x-spanward-…` headers, because whoever writes the call also writes
those. APIs: OpenAI's and everything compatible (https://platform.openai.com/docs/api-reference), Azure's deployments,
Anthropic's Messages (https://docs.anthropic.com/en/api/messages), Gemini and Vertex AI
(https://ai.google.dev/api/generate-content), Bedrock (https://docs.aws.amazon.com/bedrock/latest/APIReference).

Input tokens are bounded by bytes: a byte-level BPE token stands for at least one byte of UTF-8, and the JSON around a
message is longer than the markers a chat template puts there. Images, sound and files are not text: each counts
`MEDIA_TOKENS`, which is an estimate. What a POST that nobody knows costs is not known, so it is a model call too
(maximhq/bifrost#2873: a route that passes through passes the budget by).
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple
from urllib.parse import parse_qs, unquote

import msgspec
from genai_prices.data_snapshot import get_snapshot

from collector.control.doors.agents import MAX_NAME_CHARS
from collector.control.doors.request import UNREADABLE
from collector.pricing.hosts import read_host
from collector.pricing.rate import MAX_TOKENS
from schemas.control import DecisionRequest

MEDIA_TOKENS = 4096
"""Input tokens of one image, sound or file."""

KEY_HEADER = "x-spanward-key"
"""Spanward's key: `authorization` belongs to the provider."""

Style = Literal["openai", "anthropic", "gemini"]
"""The API whose shape an error must have."""

_FREE_POSTS = re.compile(
    r".*(/files|/uploads(/[^/]+(/parts|/complete|/cancel)?)?|/moderations|/count_tokens|:countTokens)"
)
_EMBEDDINGS = re.compile(r".*(/embeddings|:embedContent|:batchEmbedContents)")
_GEMINI = re.compile(r".*/models/([^/:]+):(\w+)")
_BEDROCK = re.compile(r"/model/([^/]+)/(?:converse|converse-stream|invoke|invoke-with-response-stream)")
_AZURE = re.compile(r"/openai/deployments/([^/]+)/.*")
_ANTHROPIC = re.compile(r".*/v1/messages(/.*)?")
# Where each API says how long the answer may be, and how many answers it wants.
_OUTPUT_LIMITS = (
    ("max_completion_tokens",),
    ("max_output_tokens",),
    ("max_tokens",),
    ("generationConfig", "maxOutputTokens"),
    ("inferenceConfig", "maxTokens"),
)
_ANSWERS = (("n",), ("best_of",), ("generationConfig", "candidateCount"))
_MEDIA_TYPES = frozenset(
    {"image", "image_url", "input_image", "input_audio", "audio", "document", "file", "input_file", "video"}
)
_MEDIA_KEYS = frozenset({"inlineData", "inline_data", "fileData", "file_data"})
_MAX_DIGITS = len(str(MAX_TOKENS))
# Shorter texts beside a picture are its name or its caption.
_MEDIA_TEXT_CHARS = 256


class HttpCall(NamedTuple):
    """What the gateway tells of it. `path` may have a query; header names are in lower case; a body that
    the gateway does not forward is empty, and then `size` may say how long it is.
    """

    method: str
    path: str
    host: str
    headers: Mapping[str, str]
    body: bytes = b""
    size: int = 0


class ModelCall(NamedTuple):
    """The question, and in whose words an answer is given."""

    question: DecisionRequest
    style: Style


def read_call(call: HttpCall) -> ModelCall:
    """Read a call; never fails, because what cannot be read is judged as a call of an unknown model."""
    path, _, query = call.path.partition("?")
    style = _style(path, call.headers)
    agent = call.headers.get("x-spanward-agent", "")
    if _free(call, path):
        return ModelCall(DecisionRequest(action="http.request", agent=agent), style)
    body = _json(call)
    question = DecisionRequest(
        model=_model(path, query, body, call.headers),
        provider=_provider(path, call, style),
        input_tokens=min(_input_tokens(call, body), MAX_TOKENS),
        max_output_tokens=0 if _EMBEDDINGS.fullmatch(path) else _output_tokens(body, call.headers),
        agent=agent,
    )
    return ModelCall(question, style)


def _free(call: HttpCall, path: str) -> bool:
    """Whether a call asks no model anything; a conversation over a WebSocket begins with a GET or a CONNECT."""
    method = call.method.upper()
    speaks = method == "CONNECT" or call.headers.get("upgrade", "").lower() == "websocket"
    return not speaks and (method != "POST" or _FREE_POSTS.fullmatch(path) is not None)


def _style(path: str, headers: Mapping[str, str]) -> Style:
    if _ANTHROPIC.fullmatch(path) or "anthropic-version" in headers:
        return "anthropic"
    return "gemini" if _GEMINI.fullmatch(path) else "openai"


def _json(call: HttpCall) -> dict[str, object]:
    try:
        body = msgspec.json.decode(call.body)
    except UNREADABLE:
        return {}
    return body if isinstance(body, dict) else {}


def _model(path: str, query: str, body: Mapping[str, object], headers: Mapping[str, str]) -> str:
    # What the provider acts on comes first: a deployment in the path decides, whatever the body says.
    for pattern in (_GEMINI, _BEDROCK, _AZURE):
        if match := pattern.fullmatch(path):
            return unquote(match.group(1))[:MAX_NAME_CHARS]
    named = body.get("model") or parse_qs(query).get("model", [""])[0]
    text = named if isinstance(named, str) and named else headers.get("x-spanward-model", "")
    return text.removeprefix("models/")[:MAX_NAME_CHARS]


def _provider(path: str, call: HttpCall, style: Style) -> str:
    if known := provider_of_host(call.host):
        return known
    if named := call.headers.get("x-spanward-provider", ""):
        return named[:MAX_NAME_CHARS]
    if _BEDROCK.fullmatch(path):
        return "aws.bedrock"
    if _AZURE.fullmatch(path):
        return "azure.ai.openai"
    return {"anthropic": "anthropic", "gemini": "gcp.gemini", "openai": ""}[style]


@lru_cache(maxsize=1024)
def provider_of_host(host: str) -> str:
    """Who bills calls to a host; empty when it is not known, such as the gateway's own name."""
    return read_host(host, get_snapshot().providers).provider


def _output_tokens(body: Mapping[str, object], headers: Mapping[str, str]) -> int | None:
    limits = [limit for path in _OUTPUT_LIMITS if (limit := _number(body, path)) is not None]
    if not limits:
        declared = headers.get("x-spanward-max-output-tokens", "")
        return min(int(declared), MAX_TOKENS) if declared.isdecimal() and len(declared) <= _MAX_DIGITS else None
    answers = max((_number(body, path) or 1 for path in _ANSWERS), default=1)
    return min(max(limits) * answers, MAX_TOKENS)


def _number(body: Mapping[str, object], path: tuple[str, ...]) -> int | None:
    found: object = body
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= MAX_TOKENS else None


def _input_tokens(call: HttpCall, body: Mapping[str, object]) -> int:
    if call.headers.get("content-type", "").startswith("multipart/"):
        return MEDIA_TOKENS
    if not body:
        # What is not forwarded may still say its length.
        return max(len(call.body), call.size)
    media = [_media_bytes(part) for part in _media(body)]
    return max(0, len(call.body) - sum(media)) + MEDIA_TOKENS * len(media)


def _media(body: object) -> Iterator[dict[str, object]]:
    """Every image, sound or file of a request, wherever its API puts them."""
    waiting = [body]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            kind = part.get("type")
            if (isinstance(kind, str) and kind in _MEDIA_TYPES) or not _MEDIA_KEYS.isdisjoint(part):
                yield part
            else:
                waiting += part.values()


def _media_bytes(part: dict[str, object]) -> int:
    """How many bytes of a part are the picture and not text."""
    size, waiting = 0, list(part.values())
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, str):
            encoded = len(inner) > _MEDIA_TEXT_CHARS and inner.isascii() and " " not in inner
            size += len(inner) if encoded else 0
        elif isinstance(inner, dict | list):
            waiting += inner.values() if isinstance(inner, dict) else inner
    return size
