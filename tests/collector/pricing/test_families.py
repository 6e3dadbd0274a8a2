"""Names of models in, one word for each model out, however it is dated, prefixed or sold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.pricing.families import Families
from collector.pricing.names import Deployment

FAMILIES = Families([Deployment(provider="azure.ai.openai", name="our-writer", model="gpt-4o")])


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
def test_two_names_of_one_model_are_one_family(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert FAMILIES.of(*one) == FAMILIES.of(*other)


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
def test_two_models_are_two_families(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert FAMILIES.of(*one) != FAMILIES.of(*other)


def test_no_model_is_no_family() -> None:
    assert FAMILIES.of("openai", "") == ""


@given(st.text(max_size=40), st.text(max_size=600))
def test_any_text_is_answered(provider: str, model: str) -> None:
    assert isinstance(FAMILIES.of(provider, model), str)
