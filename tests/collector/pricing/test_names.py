"""However a model is reached, it has one name; a name nobody knows stays as it came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.pricing.book import PriceBook
from collector.pricing.names import Deployment, Names, Resolved
from collector.pricing.overlay import Asked

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
PROFILE = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3"
NAMES = Names(
    [
        Deployment(
            provider="azure",
            name="chat-prod",
            server="contoso.openai.azure.com",
            model="gpt-4o-2024-08-06",
            region="swedencentral",
        ),
        Deployment(provider="azure.ai.openai", name="chat-prod", model="gpt-4o-mini"),
        Deployment(provider="aws.bedrock", name=PROFILE, model=SONNET),
    ]
)
NOW = 1_795_479_106_000_000_000


@pytest.mark.parametrize(
    ("stated", "resolved"),
    [
        # Prefixes of gateways and SDKs.
        (("openai", "openai/gpt-4o"), ("openai", "gpt-4o", "")),
        (("", "openai/gpt-4o"), ("openai", "gpt-4o", "")),
        (("litellm", "azure/gpt-4o"), ("azure.ai.openai", "gpt-4o", "")),
        (("", "gemini/gemini-2.5-flash"), ("gcp.gemini", "gemini-2.5-flash", "")),
        (("gcp.gemini", "models/gemini-2.5-flash"), ("gcp.gemini", "gemini-2.5-flash", "")),
        (("openai", "anthropic/claude-sonnet-4-5"), ("anthropic", "claude-sonnet-4-5", "")),
        (("openai.responses", "gpt-5-mini"), ("openai", "gpt-5-mini", "")),
        (("google-vertex", "gemini-2.5-pro"), ("gcp.vertex_ai", "gemini-2.5-pro", "")),
        # A slash that belongs to the seller's own name.
        (("groq", "openai/gpt-oss-120b"), ("groq", "openai/gpt-oss-120b", "")),
        (("openrouter", "anthropic/claude-sonnet-4.5"), ("openrouter", "anthropic/claude-sonnet-4.5", "")),
        (("", "openrouter/anthropic/claude-sonnet-4.5"), ("openrouter", "anthropic/claude-sonnet-4.5", "")),
        (("openrouter", "anthropic/claude-sonnet-4-5"), ("openrouter", "claude-sonnet-4-5", "")),
        # What the provider answered stays dated.
        (("openai", "gpt-4o-mini-2024-07-18"), ("openai", "gpt-4o-mini-2024-07-18", "")),
        # Bedrock.
        (
            ("aws.bedrock", f"arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.{SONNET}"),
            ("aws.bedrock", SONNET, "eu-west-1"),
        ),
        (
            ("", f"arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/{SONNET}"),
            ("aws.bedrock", SONNET, "us-gov-west-1"),
        ),
        (("", f"us.{SONNET}"), ("aws.bedrock", SONNET, "us")),
        (("aws.bedrock", f"apac.{SONNET}"), ("aws.bedrock", SONNET, "apac")),
        (("anthropic", SONNET), ("aws.bedrock", SONNET, "")),
        (("", f"bedrock/us-east-1/{SONNET}"), ("aws.bedrock", SONNET, "us-east-1")),
        (("", f"bedrock/converse/us.{SONNET}"), ("aws.bedrock", SONNET, "us")),
        (("oci", "meta.llama-3.3-70b-instruct"), ("oci", "meta.llama-3.3-70b-instruct", "")),
        # Vertex.
        (("litellm", "vertex_ai/claude-sonnet-4-5@20250929"), ("gcp.vertex_ai", "claude-sonnet-4-5-20250929", "")),
        (("gcp.vertex_ai", "claude-sonnet-4-5@default"), ("gcp.vertex_ai", "claude-sonnet-4-5", "")),
        (
            ("", "projects/p/locations/europe-west4/publishers/google/models/gemini-2.5-pro"),
            ("gcp.vertex_ai", "gemini-2.5-pro", "europe-west4"),
        ),
        # The model's own name says whose it is.
        (("", "claude-sonnet-4-5"), ("anthropic", "claude-sonnet-4-5", "")),
        (("", "mistral-large-latest"), ("mistral_ai", "mistral-large-latest", "")),
        # Nobody knows.
        (("corp", "house-model"), ("corp", "house-model", "")),
        (("", "corp/house-model"), ("", "corp/house-model", "")),
        (("", ""), ("", "", "")),
    ],
)
def test_a_model_has_one_name_however_it_is_written(stated: tuple[str, str], resolved: Resolved) -> None:
    assert NAMES.resolve(*stated, "") == resolved


@pytest.mark.parametrize(
    ("server", "stated", "resolved"),
    [
        ("bedrock-runtime.eu-west-1.amazonaws.com", ("anthropic", SONNET), ("aws.bedrock", SONNET, "eu-west-1")),
        ("https://bedrock-runtime.eu-west-1.amazonaws.com/model", ("", SONNET), ("aws.bedrock", SONNET, "eu-west-1")),
        # A global profile runs anywhere, whatever region it was asked in.
        ("bedrock-runtime.eu-west-1.amazonaws.com", ("", f"global.{SONNET}"), ("aws.bedrock", SONNET, "global")),
        (
            "europe-west4-aiplatform.googleapis.com",
            ("gcp.vertex_ai", "publishers/google/models/gemini-2.5-flash"),
            ("gcp.vertex_ai", "gemini-2.5-flash", "europe-west4"),
        ),
        ("aiplatform.googleapis.com", ("", "gemini-2.5-flash"), ("gcp.vertex_ai", "gemini-2.5-flash", "global")),
        ("eu-aiplatform.googleapis.com", ("", "gemini-2.5-flash"), ("gcp.vertex_ai", "gemini-2.5-flash", "eu")),
        ("aiplatform.eu.rep.googleapis.com", ("", "gemini-2.5-flash"), ("gcp.vertex_ai", "gemini-2.5-flash", "eu")),
        ("eu.api.openai.com", ("openai", "gpt-4o"), ("openai", "gpt-4o", "eu")),
        ("api.openai.com", ("openai", "gpt-4o"), ("openai", "gpt-4o", "")),
        # Who bills behind the API's flavour.
        ("openrouter.ai", ("openai", "anthropic/claude-sonnet-4.5"), ("openrouter", "anthropic/claude-sonnet-4.5", "")),
        ("other.openai.azure.com", ("openai", "gpt-4o"), ("azure.ai.openai", "gpt-4o", "")),
        ("api.x.ainother.com", ("openai", "gpt-4o"), ("openai", "gpt-4o", "")),
        ("127.0.0.1", ("anthropic", "claude-sonnet-4-5"), ("anthropic", "claude-sonnet-4-5", "")),
    ],
)
def test_the_host_says_who_bills_and_where(server: str, stated: tuple[str, str], resolved: Resolved) -> None:
    assert NAMES.resolve(*stated, server) == resolved


@pytest.mark.parametrize(
    ("server", "stated", "resolved"),
    [
        (
            "contoso.openai.azure.com",
            ("openai", "Chat-Prod"),
            ("azure.ai.openai", "gpt-4o-2024-08-06", "swedencentral"),
        ),
        ("fabrikam.openai.azure.com", ("openai", "chat-prod"), ("azure.ai.openai", "gpt-4o-mini", "")),
        # The answer names the model itself; the inventory still knows where the host stands.
        ("contoso.openai.azure.com", ("openai", "gpt-4.1"), ("azure.ai.openai", "gpt-4.1", "swedencentral")),
        ("", ("anthropic", PROFILE), ("aws.bedrock", SONNET, "eu-west-1")),
        ("", ("openai", "chat-prod"), ("openai", "chat-prod", "")),
    ],
)
def test_a_declared_deployment_is_the_model_behind_it(server: str, stated: tuple[str, str], resolved: Resolved) -> None:
    assert NAMES.resolve(*stated, server) == resolved


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_no_name_from_outside_can_raise(provider: str, model: str, server: str) -> None:
    assert NAMES.resolve(provider, model, server).model.strip() in model


@pytest.mark.parametrize("model", ["openai/" * 5_000, "arn:aws:bedrock:" * 500, "@" * 10_000, "models/" * 90])
def test_a_name_made_to_hurt_comes_back(model: str) -> None:
    assert NAMES.resolve("", model, model).model in model


def test_names_from_outside_do_not_fill_the_memory() -> None:
    names = Names()
    names.max_cached = 100
    for number in range(250):
        names.resolve("", f"model-{number}", "")
    assert len(names._cache) <= 100


@given(st.sampled_from(sorted(PriceBook().models())))
def test_a_canonical_name_of_the_list_resolves_to_itself(listed: Asked) -> None:
    again = NAMES.resolve(listed.provider, listed.model, "")
    assert NAMES.resolve(again.provider, again.model, "") == again


def test_a_global_profile_costs_what_global_profiles_cost() -> None:
    book = PriceBook()
    name = book.names.resolve("", f"global.{SONNET}", "")
    worldwide = book.lookup(Asked(name.provider, name.model, region=name.region), NOW)
    regional = book.lookup(Asked(name.provider, name.model, region="eu-west-1"), NOW)
    assert worldwide is not None
    assert regional is not None
    assert worldwide.rates(0).input * 11 == regional.rates(0).input * 10
