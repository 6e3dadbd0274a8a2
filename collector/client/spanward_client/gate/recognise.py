"""An HTTP request → the model call it is, or nothing.

A call is known by its method, the end of its path and the shape of its JSON body, so that any
OpenAI-compatible host is seen; the host only says who bills. Everything else costs one comparison
and one search in the path. Invariant: nothing here changes the request or raises.

Sources: https://platform.openai.com/docs/api-reference, https://docs.anthropic.com/en/api/messages,
https://ai.google.dev/api/generate-content, https://docs.mistral.ai/api,
https://docs.aws.amazon.com/bedrock/latest/APIReference (Converse, ConverseStream, InvokeModel).
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from spanward_client.gate.tokens import input_bound

Family = Literal["openai", "anthropic", "gemini", "bedrock"]

_PATH = re.compile(
    r"/(?P<openai>chat/completions|completions|responses|embeddings)/?$"
    r"|/(?P<anthropic>messages)/?$"
    r"|/models/(?P<gemini>[^/]+):(?:generateContent|streamGenerateContent|embedContent|batchEmbedContents)$"
    r"|/models/(?P<vertex>[^/]+):(?:rawPredict|streamRawPredict)$"
    r"|^/model/(?P<bedrock>.+)/(?:invoke|invoke-with-response-stream|converse|converse-stream)$"
)
_DEPLOYMENT = re.compile(r"/deployments/([^/]+)/")

# Fields at least one of which a body of that path has; they tell a model call from a neighbour's `/messages`.
_ASKS = {
    "chat/completions": ("messages",),
    "completions": ("prompt", "messages"),
    "responses": ("input", "prompt", "instructions", "previous_response_id", "conversation"),
    "embeddings": ("input", "inputs"),
}

# Providers in the words of the GenAI semantic conventions; a host that is not here speaks OpenAI's API for
# somebody else, and the model's name has to say for whom.
_HOSTS: tuple[tuple[str, str], ...] = (
    ("openai.azure.com", "azure.ai.openai"),
    ("cognitiveservices.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("models.ai.azure.com", "azure.ai.inference"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("rep.googleapis.com", "gcp.vertex_ai"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.groq.com", "groq"),
    ("api.deepseek.com", "deepseek"),
    ("api.perplexity.ai", "perplexity"),
    ("api.cohere.com", "cohere"),
    ("api.x.ai", "x_ai"),
    ("openrouter.ai", "openrouter"),
)
_OF_FAMILY: Mapping[Family, str] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "gcp.gemini",
    "bedrock": "aws.bedrock",
}
# SDKs that speak OpenAI's format to hosts of their users' own; they name themselves.
_AGENTS = (("mistral-client-python", "mistral_ai"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """What is about to be sent. `max_output_tokens` is `None` when the request sets no limit."""

    family: Family
    provider: str
    model: str
    input_tokens: int
    max_output_tokens: int | None


def recognise(*, method: str, url: str, agent: str, body: Callable[[], bytes]) -> ModelCall | None:
    """The model call in a request, or `None`; `url` is whole, `agent` is the User-Agent header.

    `body` is called only for a path of a model call.
    """
    if method != "POST":
        return None
    host, path = _split(url)
    found = _PATH.search(path)
    if found is None:
        return None
    raw = body()
    try:
        asked = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, dict):
        return None
    kind = str(found.lastgroup)
    named = found[kind]
    if kind == "openai":
        model = _openai_model(path, named, asked)
    elif kind == "anthropic":
        model = _text(asked, "model") if "messages" in asked and "max_tokens" in asked else None
    else:
        model = _named_in_path(kind, named)
    if model is None:
        return None
    family = _family(kind)
    return ModelCall(
        family=family,
        provider=_provider(host, agent, family),
        model=model,
        input_tokens=_input_bound(asked, raw),
        max_output_tokens=0 if _only_embeds(path, model) else _output_bound(asked),
    )


def _input_bound(asked: Mapping[str, object], raw: bytes) -> int:
    try:
        return input_bound(asked)
    except RecursionError:  # Nested deeper than we follow: all of it is text then.
        return len(raw)


def _split(url: str) -> tuple[str, str]:
    """Host and decoded path. `urlsplit` takes ten times as long, and every request of the process comes here."""
    rest = url.partition("://")[2]
    host, slash, path = rest.partition("/")
    path = path.partition("?")[0].partition("#")[0]  # mistralai marks its streams by a fragment.
    name = host.rpartition("@")[2].partition(":")[0].lower()
    return name, slash + (unquote(path) if "%" in path else path)


def _family(kind: str) -> Family:
    match kind:
        case "openai" | "gemini" | "bedrock":
            return kind
        case _:
            return "anthropic"


def _openai_model(path: str, end: str, asked: Mapping[str, object]) -> str | None:
    if not any(field in asked for field in _ASKS[end]):
        return None
    deployment = _DEPLOYMENT.search(path)
    if deployment:
        return deployment[1]
    model = _text(asked, "model")
    if model or "agent_id" in asked or (end == "responses" and "prompt" in asked):
        # A stored prompt or agent has its model at the provider: the server is asked about an unnamed one.
        return model
    return None


def _named_in_path(kind: str, named: str) -> str:
    # Vertex writes a model's version after an @; Bedrock's ids and ARNs stay whole.
    return named.partition("@")[0] if kind == "vertex" else named


def _provider(host: str, agent: str, family: Family) -> str:
    for name, provider in _HOSTS:
        if host == name or host.endswith((f".{name}", f"-{name}")):
            return provider
    return next((provider for start, provider in _AGENTS if agent.startswith(start)), _OF_FAMILY[family])


def _only_embeds(path: str, model: str) -> bool:
    return path.rstrip("/").endswith(("/embeddings", ":embedContent", ":batchEmbedContents")) or "embed" in model


_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens", "max_gen_len", "max_tokens_to_sample")


def _output_bound(asked: Mapping[str, object]) -> int | None:
    """The limit the request sets, times the answers it wants; `None` without one."""
    inner = [_mapping(asked, name) for name in ("generationConfig", "inferenceConfig", "textGenerationConfig")]
    limits = [asked.get(name) for name in _LIMITS]
    for config in inner:
        limits += [config.get(name) for name in ("maxOutputTokens", "maxTokens", "max_new_tokens", "maxTokenCount")]
    limit = next((value for value in limits if _is_count(value)), None)
    if not isinstance(limit, int):
        return None
    answers = [asked.get("n"), asked.get("best_of"), inner[0].get("candidateCount"), 1]
    return limit * max(value for value in answers if isinstance(value, int) and _is_count(value))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _mapping(asked: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = asked.get(name)
    return value if isinstance(value, dict) else {}


def _text(asked: Mapping[str, object], name: str) -> str:
    value = asked.get(name)
    return value if isinstance(value, str) else ""
