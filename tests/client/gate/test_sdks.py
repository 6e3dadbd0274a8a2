"""Every SDK, sync and async, whole and streamed, through the gate: allowed, refused, failed.

An agent's own code is not changed: each call is made as its provider's documentation shows it. Users of
other products asked for "a hard guard before the call, not a dashboard after" (peers.md 2.A.21).
"""

from collections.abc import Callable

import pytest
import spanward_client
from spanward_client import BudgetExceeded, Killed, Unavailable, refusal_of

from tests.client.answers import AGENT, denied
from tests.client.control import Control
from tests.client.gate.sdks import CALLS
from tests.client.provider import INPUT, OUTPUT, TEXT, Provider

PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "gemini": "gcp.gemini", "mistral": "mistral_ai"}
PROVIDERS["bedrock"] = "aws.bedrock"

every_call = pytest.mark.parametrize("name", list(CALLS))


@every_call
def test_an_allowed_call_is_asked_for_once_answers_unchanged_and_settles_with_its_usage(
    name: str, gate: Control, provider: Provider
) -> None:
    assert CALLS[name](provider.url) == TEXT
    assert len(provider.asked) == 1
    (question,) = gate.questions
    assert question["action"] == "llm.call"
    assert question["provider"] == PROVIDERS[name.partition("_")[0]]
    assert question["max_output_tokens"] == 300
    assert question["input_tokens"] >= INPUT
    assert question["model"]
    assert spanward_client.flush()
    assert gate.finished == [("hold-1", "settle", {"input_tokens": INPUT, "output_tokens": OUTPUT})]


@every_call
def test_a_refused_call_reaches_no_provider_asks_once_and_says_budget_window_and_reset(
    name: str, gate: Control, provider: Provider
) -> None:
    gate.deny()
    with pytest.raises(Exception, match="Spanward refused this call") as caught:
        CALLS[name](provider.url)
    said = str(caught.value)
    assert f"The daily budget of {AGENT} has 0.199999999 USD left" in said
    assert "resets at 2026-11-25T00:00:00Z" in said
    assert "decision dec-1" in said
    assert len(gate.questions) == 1, "the SDK tried again"
    assert provider.asked == []
    no = refusal_of(caught.value)
    assert isinstance(no, BudgetExceeded)
    assert no.decision_id == "dec-1"


@every_call
def test_a_call_the_provider_refused_gives_its_money_back(name: str, gate: Control, provider: Provider) -> None:
    provider.status = 400
    with pytest.raises(Exception, match="400"):
        CALLS[name](provider.url)
    assert spanward_client.flush()
    assert [verb for _, verb, _ in gate.finished] == ["void"] * len(gate.questions)
    assert len(gate.questions) == len(provider.asked) == 1


@every_call
def test_nobody_to_ask_means_no_call_and_no_second_question(name: str, gate: Control, provider: Provider) -> None:
    gate.open = False
    with pytest.raises(Exception, match="Spanward refused this call: Not now") as caught:
        CALLS[name](provider.url)
    assert isinstance(refusal_of(caught.value), Unavailable)
    assert provider.asked == []


RETRYING: dict[str, Callable[[str], str]] = {name: CALLS[name] for name in ("openai_chat", "anthropic_async_stream")}


@pytest.mark.parametrize("name", list(RETRYING))
def test_each_retry_of_the_sdk_is_a_call_that_asks_and_an_error_after_generation_keeps_its_money_held(
    name: str, gate: Control, provider: Provider
) -> None:
    """Retries without a hold each are how peers' budgets are passed (peers.md 2.A.1)."""
    provider.status = 500
    with pytest.raises(Exception, match=r"500|Internal"):
        RETRYING[name](provider.url)
    assert len(provider.asked) == len(gate.questions) == 3
    assert len({question["idempotency_key"] for question in gate.questions}) == 3
    assert spanward_client.flush()
    assert gate.finished == []


@pytest.mark.parametrize(
    "name", ["openai_stream", "anthropic_stream", "gemini_async_stream", "bedrock_converse_stream"]
)
def test_a_stream_that_breaks_off_stays_held(name: str, gate: Control, provider: Provider) -> None:
    """The provider may charge for what it wrote, and nobody here knows how much."""
    provider.cut = True
    with pytest.raises(Exception):  # noqa: B017, PT011 - each SDK has its own word for a broken connection.
        CALLS[name](provider.url)
    assert spanward_client.flush()
    assert gate.finished == []


def test_a_kill_is_its_own_exception(gate: Control, provider: Provider) -> None:
    gate.deny(denied("kill.llm.acme"))
    with pytest.raises(Exception, match="It may not") as caught:
        CALLS["openai_chat"](provider.url)
    assert isinstance(refusal_of(caught.value), Killed)


@pytest.mark.parametrize("name", ["openai_chat", "openai_async", "bedrock_converse"])
def test_a_provider_that_cannot_be_reached_costs_nothing(name: str, gate: Control) -> None:
    with pytest.raises(Exception, match=r"[Cc]onnect"):
        CALLS[name]("http://127.0.0.1:9")
    assert spanward_client.flush()
    assert gate.questions
    assert [verb for _, verb, _ in gate.finished] == ["void"] * len(gate.questions)


def test_when_it_fails_open_the_call_goes_ahead(
    gate: Control, provider: Provider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SPANWARD_FAIL_MODE", "open")
    spanward_client.close()
    gate.open = False
    assert CALLS["openai_chat"](provider.url) == TEXT
    assert "the action goes ahead unjudged" in caplog.text


def test_without_a_key_every_call_is_refused_with_the_way_to_get_one(
    control: Control, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPANWARD_API_KEY")
    spanward_client.instrument()
    with pytest.raises(Exception, match="spanward keys create"):
        CALLS["openai_chat"](provider.url)
    assert not provider.asked
    assert not control.questions


def test_uninstrument_takes_the_gate_away(gate: Control, provider: Provider) -> None:
    spanward_client.uninstrument()
    assert CALLS["openai_chat"](provider.url) == TEXT
    assert gate.questions == []
