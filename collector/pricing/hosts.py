"""The host that was called → who bills the call, and where it is processed.

Only documented hosts are read:
Bedrock https://docs.aws.amazon.com/general/latest/gr/bedrock.html;
Vertex AI https://cloud.google.com/vertex-ai/docs/general/locations (`europe-west4-aiplatform`, and its
multi-regions as the SDK and the documentation write them, `eu-aiplatform` and `aiplatform.eu.rep`);
OpenAI's regional hosts https://platform.openai.com/docs/guides/your-data (`eu.api.openai.com`);
Azure's https://learn.microsoft.com/azure/ai-services/openai/reference and `REGION.api.cognitive.microsoft.com`.
A host that is not known says nothing: neither who bills nor where.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from genai_prices.types import Provider

from collector.pricing.spellings import semconv

_AWS_REGION = r"[a-z]{2}(?:-[a-z]+)+-\d"
_HOSTS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), provider)
    for pattern, provider in (
        (rf"(?:.*\.)?bedrock-[a-z-]+\.({_AWS_REGION})\..*", "aws.bedrock"),
        (r"([a-z]+-[a-z]+\d+|eu|us)-aiplatform\.googleapis\.com", "gcp.vertex_ai"),
        (r"aiplatform\.([a-z0-9-]+)\.rep\.googleapis\.com", "gcp.vertex_ai"),
        (r"(?P<everywhere>)aiplatform\.googleapis\.com", "gcp.vertex_ai"),
        (r"()generativelanguage\.googleapis\.com", "gcp.gemini"),
        (r"(?:([a-z]{2})\.)?api\.openai\.com", "openai"),
        (r"([a-z]+\d?)\.api\.cognitive\.microsoft\.com", "azure.ai.openai"),
        (r".*\.([a-z]+\d?)\.(?:models\.ai|inference\.ml)\.azure\.com", "azure.ai.inference"),
        (r"().*\.services\.ai\.azure\.com", "azure.ai.inference"),
    )
)
GLOBAL = "global"


class Host(NamedTuple):
    """What a host says; "" where it does not."""

    name: str
    provider: str
    region: str


def read_host(server_address: str, providers: Iterable[Provider]) -> Host:
    """The host in `server.address`, which some emitters fill with a whole URL."""
    name = _name(server_address)
    if not name:
        return Host("", "", "")
    for pattern, provider in _HOSTS:
        if match := pattern.fullmatch(name):
            everywhere = "everywhere" in match.groupdict()
            return Host(name, provider, GLOBAL if everywhere else match.group(1) or "")
    url = f"https://{name}/"
    billing = next((p for p in providers if p.api_pattern and re.match(_bounded(p.api_pattern), url)), None)
    return Host(name, semconv(billing.id) if billing else "", "")


def _bounded(pattern: str) -> str:
    """The list's pattern, held to whole host names where it ends in one: `api.x.ai` is not `api.x.ainother.com`."""
    return rf"(?:{pattern})(?=[/:?]|$)" if pattern[-1:].isalnum() else pattern


def _name(server_address: str) -> str:
    text = server_address.strip().lower()
    try:
        return urlsplit(text if "//" in text else f"//{text}").hostname or ""
    except ValueError:
        return ""
