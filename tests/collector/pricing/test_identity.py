"""Names of models in, the ids of each model out, however it is dated, prefixed or sold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.pricing.book import PriceBook
from collector.pricing.config import Settings
from collector.pricing.identity import Models
from collector.pricing.names import Deployment

DEPLOYMENTS = (Deployment(provider="azure.ai.openai", name="our-writer", model="gpt-4o"),)
MODELS = Models(PriceBook(Settings(deployments=DEPLOYMENTS)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(("openai", "gpt-4o"), ("openai", "gpt-4o-2024-08-06"), id="a snapshot"),
        pytest.param(("openai", "gpt-4o"), ("openai", "gpt-4o-2024-05-13"), id="a snapshot with a price of its own"),
        pytest.param(("", "openai/gpt-4o"), ("openai", "gpt-4o"), id="a gateway's prefix"),
        pytest.param(("azure.ai.openai", "gpt-4o"), ("openai", "gpt-4o"), id="another seller"),
        pytest.param(("azure.ai.openai", "our-writer"), ("openai", "gpt-4o-2024-11-20"), id="a declared deployment"),
        pytest.param(("anthropic", "claude-sonnet-4-0"), ("anthropic", "claude-sonnet-4-20250514"), id="an alias"),
        pytest.param(("anthropic", "claude-3-5-sonnet-latest"), ("", "claude-3-5-sonnet-20241022"), id="latest"),
        pytest.param(
            ("aws.bedrock", "eu.anthropic.claude-sonnet-4-20250514-v1:0"),
            ("anthropic", "claude-sonnet-4-0"),
            id="an inference profile",
        ),
        pytest.param(("gcp.gemini", "gemini-2.5-flash-preview-09-2025"), ("", "gemini-2.5-flash"), id="a preview"),
        pytest.param(("acme", "house-model"), ("acme", "house-model-2026-01-31"), id="a model nobody lists"),
    ],
)
def test_two_names_of_one_model_share_an_id(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert MODELS.identities(*one) & MODELS.identities(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("openai", "gpt-4o"), ("openai", "gpt-4o-mini")),
        (("openai", "gpt-4"), ("openai", "gpt-4-turbo")),
        (("openai", "gpt-4o"), ("openai", "gpt-4.1")),
        (("openai", "o1"), ("openai", "o1-mini")),
        (("anthropic", "claude-sonnet-4-0"), ("anthropic", "claude-opus-4-0")),
        (("anthropic", "claude-sonnet-4-0"), ("anthropic", "claude-sonnet-4-5")),
        (("gcp.gemini", "gemini-2.5-flash"), ("gcp.gemini", "gemini-2.5-flash-lite")),
        (("acme", "house-model"), ("acme", "house-model-2")),
    ],
)
def test_two_models_share_none(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert not MODELS.identities(*one) & MODELS.identities(*other)


def test_no_model_has_no_id() -> None:
    assert MODELS.identities("openai", "") == frozenset()


@given(st.text(max_size=40), st.text(max_size=600))
def test_any_text_is_answered(provider: str, model: str) -> None:
    assert isinstance(MODELS.identities(provider, model), frozenset)
