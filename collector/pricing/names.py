"""A model as telemetry names it → one provider, one canonical model id, one region.

Pricing, reports and policy all use these names, so that a call is one model however it was reached.
Invariant: a name nobody knows is returned as it came; nothing outside can raise here, and a dated id
stays dated, because it is what the provider answered. What a model costs is left to `book`.

Sources: provider prefixes https://docs.litellm.ai/docs/providers and https://openrouter.ai/docs;
Bedrock ids, ARNs and profiles https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html
and https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html;
Vertex resources and `@version` https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude;
Gemini `models/…` https://ai.google.dev/api/models. Azure calls a model by a deployment name of the
customer's choice: only a declared inventory can say which model that is.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import ModelInfo, Provider

from collector.pricing.hosts import GLOBAL, Host, read_host
from collector.pricing.spellings import GATEWAYS, RESELLERS, canonical, known, price_list_id, semconv

BEDROCK = "aws.bedrock"
VERTEX = "gcp.vertex_ai"

_ARN = re.compile(r"arn:aws[a-z-]*:bedrock:([a-z0-9-]*):\d*:([a-z-]+)/(.+)")
# Resources whose ARN ends in a model id; the others end in an opaque id only AWS can read.
_NAMING_RESOURCES = ("foundation-model", "inference-profile")
_GEOGRAPHIES = ("us-gov", "us", "eu", "apac", "jp", "au", "ca", "in", GLOBAL)
_VENDORS = (
    "ai21|amazon|anthropic|cohere|deepseek|google|luma|meta|minimax|mistral|moonshot|moonshotai|nvidia|openai|qwen"
    "|stability|twelvelabs|writer|zai"
)
_BEDROCK_ID = re.compile(rf"(?:({'|'.join(_GEOGRAPHIES)})\.)?((?:{_VENDORS})\.[^/\s]+)")
_BEDROCK_VERSION = re.compile(r"-v\d+(?::\d+)?(?::\d+k)?$")
_AWS_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
_VERTEX_MODEL = re.compile(r"(?:projects/[^/]+/)?(?:locations/([^/]+)/)?publishers/([^/]+)/models/([^/]+)")
_VERTEX_VERSION = re.compile(r"(.+)@(default|latest|\d{8})")


class Resolved(NamedTuple):
    """Who sells the model, its canonical id, and where it runs; "" where that is not known.

    `region` is a cloud region (`eu-west-1`), a geography (`eu`) or `global`.
    """

    provider: str
    model: str
    region: str


class Deployment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model behind a name of the customer's own: an Azure deployment, a Bedrock application profile."""

    provider: str
    """Who runs it: `azure.ai.openai`, `aws.bedrock` …"""
    name: str
    """The name calls give: the deployment, or the ARN of the profile."""
    server: str = ""
    """Host it is reached at, where the same name means different models on different hosts."""
    model: str
    """The model's canonical id."""
    region: str = ""
    """Where it runs."""


class Names:
    """Resolves names; remembers what it resolved, up to a bound, because names come from outside.

    Owned by one thread.
    """

    max_cached = 10_000
    longest = 512
    """A longer name is no model's, and each `/` in it would be looked at."""

    def __init__(self, deployments: Sequence[Deployment] = (), snapshot: DataSnapshot | None = None) -> None:
        self._providers = (snapshot or get_snapshot()).providers
        self._by_id = {provider.id: provider for provider in self._providers}
        self._listed = frozenset(self._by_id)
        self._deployments = tuple(
            (canonical(each.provider, self._listed), read_host(each.server, ()).name, each) for each in deployments
        )
        self._cache: dict[tuple[str, str, str], Resolved] = {}

    def resolve(self, provider: str, model: str, server_address: str = "") -> Resolved:
        """The canonical names of a call; each argument may be ""."""
        key = (provider, model, server_address)
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= self.max_cached:
                self._cache.clear()
            found = self._cache[key] = self._resolve(*key)
        return found

    def maker_id(self, model: str) -> str:
        """The id its maker's price list has for a bare name; "" when nobody claims it."""
        maker = self._vendor(model)
        found = self._find(maker, model) if maker else None
        return found.id if found else ""

    def known(self, model: str) -> bool:
        """Whether the inventory declares a model by this name, or any provider of the price list sells one."""
        lower = model.lower()
        return any(lower in (each.name.lower(), each.model.lower()) for _, _, each in self._deployments) or any(
            provider.find_model(lower, all_providers=self._providers) for provider in self._providers
        )

    def _resolve(self, provider: str, model: str, server_address: str) -> Resolved:
        if max(map(len, (provider, model, server_address))) > self.longest:
            return Resolved(provider, model, "")
        host = read_host(server_address, self._providers)
        seller = self._seller(canonical(provider, self._listed), host)
        if declared := self._declared(seller, model, host):
            return declared
        named = self._named(Resolved(seller, model.strip() or model, host.region))
        return named._replace(
            provider=(self._vendor(named.model) or named.provider) if named.provider in GATEWAYS else named.provider,
            region=named.region or self._region_of(host),
        )

    def _seller(self, stated: str, host: Host) -> str:
        """The host's word where it has one: what is stated is often the API's flavour, not who bills."""
        if not host.provider or price_list_id(stated) == price_list_id(host.provider):
            return stated or host.provider
        return host.provider

    def _declared(self, provider: str, model: str, host: Host) -> Resolved | None:
        rows = [
            (server, each)
            for seller, server, each in self._deployments
            if each.name.lower() == model.lower()
            and server in {"", host.name}
            and (provider in GATEWAYS or _ARN.match(model) or price_list_id(seller) == price_list_id(provider))
        ]
        # A row for this host says more than one for all.
        best = max(rows, key=lambda row: bool(row[0]), default=None)
        if best is None:
            return None
        declared = best[1]
        return Resolved(
            canonical(declared.provider, self._listed), declared.model, declared.region or _arn_region(model, host)
        )

    def _region_of(self, host: Host) -> str:
        """The region of a declared host, when all that is declared for it agrees."""
        regions = {each.region for _, server, each in self._deployments if server and server == host.name}
        return regions.pop() if len(regions) == 1 else ""

    def _named(self, name: Resolved) -> Resolved:
        """Read the model id's own forms, outermost first."""
        if match := _ARN.fullmatch(name.model):
            region, resource, rest = match.groups()
            here = name._replace(provider=BEDROCK, region=region or name.region)
            return _bedrock(here._replace(model=rest)) if resource in _NAMING_RESOURCES else here
        if match := _VERTEX_MODEL.fullmatch(name.model):
            location, _, model = match.groups()
            seller = name.provider if price_list_id(name.provider) == "google" else VERTEX
            return self._versioned(Resolved(seller, model, location or name.region))
        if name.model.startswith("models/"):
            return self._versioned(name._replace(model=name.model.removeprefix("models/")))
        if _speaks_bedrock(name):
            return _bedrock(name._replace(provider=BEDROCK))
        if "/" in name.model:
            return self._prefixed(name)
        return self._versioned(name)

    def _prefixed(self, name: Resolved) -> Resolved:
        """`PROVIDER/MODEL`: the prefix goes where it only repeats who sells, or says who does."""
        prefix, _, rest = name.model.partition("/")
        if not rest or not known(prefix, self._listed) or self._lists(name.provider, name.model):
            return self._placed(name, prefix, rest)
        seller = canonical(prefix, self._listed)
        same = price_list_id(seller) == price_list_id(name.provider)
        if same or name.provider in GATEWAYS:
            return self._named(name._replace(provider=name.provider if same else seller, model=rest))
        if self._find(name.provider, name.model) or not self._find(seller, rest):
            return name
        # The stated provider is the API's flavour: a gateway took the call and passed it to the prefix.
        return self._named(name._replace(provider=name.provider if name.provider in RESELLERS else seller, model=rest))

    def _placed(self, name: Resolved, prefix: str, rest: str) -> Resolved:
        """`REGION/MODEL` and `converse/MODEL`, as LiteLLM writes Bedrock models."""
        if name.provider == BEDROCK and (prefix in ("converse", "invoke") or _AWS_REGION.fullmatch(prefix)):
            return self._named(name._replace(model=rest, region=name.region if prefix[-1].isalpha() else prefix))
        return name

    def _versioned(self, name: Resolved) -> Resolved:
        """Vertex writes a version behind `@`; the vendor's own id has a dash there."""
        match = _VERTEX_VERSION.fullmatch(name.model)
        if match is None:
            return name
        model, version = match.groups()
        written = model if version in ("default", "latest") else f"{model}-{version}"
        seller = name.provider or VERTEX
        return Resolved(seller, written, name.region) if self._find(seller, written) else name

    def _lists(self, provider: str, model: str) -> bool:
        """Whether a slash belongs to the model's own id at this provider (`openai/gpt-oss-120b` at Groq)."""
        listing = self._by_id.get(price_list_id(provider))
        return listing is not None and any(info.id == model.lower() for info in listing.models)

    def _find(self, provider: str, model: str) -> ModelInfo | None:
        listing = self._by_id.get(price_list_id(provider))
        return listing.find_model(model, all_providers=self._providers) if listing else None

    def _vendor(self, model: str) -> str:
        """Whose model a bare name is, by the price list's rules."""
        lower = model.lower()

        def claims(provider: Provider) -> bool:
            return provider.model_match is not None and provider.model_match.is_match(lower)

        # The rules leave out what each maker names by no pattern: embeddings, say.
        makers = [provider for provider in self._providers if provider.model_match is not None]
        found = next((maker for maker in makers if claims(maker)), None) or next(
            (maker for maker in makers if maker.find_model(lower, all_providers=self._providers)), None
        )
        return semconv(found.id) if found and model else ""


def _speaks_bedrock(name: Resolved) -> bool:
    """Whether the id is Bedrock's; Oracle's cloud writes `meta.llama-3.3` too, so a bare one needs a witness."""
    match = _BEDROCK_ID.fullmatch(name.model)
    if match is None:
        return False
    return name.provider == BEDROCK or name.provider in GATEWAYS or bool(match[1] or _BEDROCK_VERSION.search(match[2]))


def _bedrock(name: Resolved) -> Resolved:
    """`eu.anthropic.…` → `anthropic.…` in eu, unless the region is known better.

    A global profile may run anywhere whatever region it was asked in, and has prices of its own.
    """
    match = _BEDROCK_ID.fullmatch(name.model)
    if match is None or not match[1]:
        return name
    return Resolved(name.provider, match[2], GLOBAL if match[1] == GLOBAL else name.region or match[1])


def _arn_region(model: str, host: Host) -> str:
    match = _ARN.fullmatch(model)
    return match[1] if match and match[1] else host.region
