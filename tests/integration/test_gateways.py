"""Real Envoy and real nginx before a provider, asked by the real openai SDK: the statuses of docs/gateways.md.

Peers' complaints that are cases here: maximhq/bifrost#2873 (a route that passes through must not pass the budget by),
envoyproxy/ai-gateway#2460 (rules counted but never enforced) and BerriAI/litellm#40305 (a header that redirects spend).
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import anthropic
import httpx
import openai
import pytest
from google import genai
from openai import OpenAI
from openai._legacy_response import LegacyAPIResponse
from openai.types.chat import ChatCompletion

from tests.client.stub import Stub, serving
from tests.harness import Served
from tests.integration.gateways import envoy, nginx
from tests.integration.peers import free_port
from tests.otlp import CHAT, Value, span, traces

RICH, POOR, KILLED = "acme/support/rich", "acme/support/poor", "acme/support/killed"
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10},
}
GATEWAYS = ("envoy", "nginx")
OUTPUT_TOKENS = {"envoy": 1000, "nginx": 4096}
"""What is held for: nginx shows no body, so `default_max_output_tokens` stands for it."""
GATE_DOWN = {"envoy": 503, "nginx": 500}
"""What an agent sees when Spanward does not answer: nothing passes."""

# Why a call is refused: by agent, the error its SDK raises, and what the sentence must say. A key of "" is none at all.
REFUSALS: dict[str, tuple[str, type[openai.APIStatusError], int, tuple[str, ...]]] = {
    "over budget": (POOR, openai.RateLimitError, 429, (f"daily budget of {POOR}", "It resets at", "agents/poor.yaml")),
    "killed": (KILLED, openai.PermissionDeniedError, 403, (f"{KILLED}", "runs amok", "spanward kill release")),
    "without a key": ("", openai.AuthenticationError, 401, ("x-spanward-key",)),
    "with a key nobody knows": ("unknown", openai.AuthenticationError, 401, ("spanward keys create",)),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data = tmp_path_factory.mktemp("served") / "data"
    agents = data / "governance" / "acme" / "support" / "agents"
    agents.mkdir(parents=True)
    (agents.parent.parent / "org.yaml").write_text("display_name: Acme\n")
    (agents.parent / "tenant.yaml").write_text("display_name: Support\n")
    (agents / "rich.yaml").write_text("budgets:\n  daily: {usd: 10}\n")
    (agents / "killed.yaml").write_text("display_name: Killed\n")
    (agents / "poor.yaml").write_text('budgets:\n  daily: {usd: "0.001"}\n')
    served = Served(data)
    try:
        yield served.start()
    finally:
        served.close()


@pytest.fixture(scope="module")
def keys(server: Served) -> Mapping[str, str]:
    def create(path: str) -> str:
        return str(json.loads(server.run("keys", "create", "--agent", path, "--json"))["key"])

    made = {"": "", "unknown": "spw_agent_nobody"} | {path: create(path) for path in (RICH, POOR, KILLED)}
    server.run("kill", "--scope", "llm", "--target", KILLED, "--reason", "runs amok")
    return made


@pytest.fixture
def provider() -> Iterator[Stub]:
    with serving() as stub:
        yield stub.answer(ANSWER)


Open = Callable[..., str]


@pytest.fixture
def open_gateway(tool: Callable[[str], Path], tmp_path: Path, provider: Stub, server: Served) -> Iterator[Open]:
    """`open_gateway("nginx")` starts it between agents and the provider; its URL."""

    def start(name: str, *, gate_down: bool = False) -> str:
        gates = {"envoy": server.endpoints["control_grpc"], "nginx": server.endpoints["control"]}
        gate = free_port() if gate_down else _port(gates[name])
        running: AbstractContextManager[str]
        if name == "envoy":
            running = envoy(tmp_path, gate=gate, provider=_port(provider.url))
        else:
            running = nginx(tool("nginx"), tmp_path, gate=gate, provider=_port(provider.url))
        return stack.enter_context(running)

    with ExitStack() as stack:
        yield start


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def ask(url: str, key: str, **headers: str) -> LegacyAPIResponse[ChatCompletion]:
    """One chat completion through the gateway, with retries as the SDK makes them by default."""
    sent = {"x-spanward-model": "gpt-4o"} | ({"x-spanward-key": key} if key else {}) | headers
    with OpenAI(base_url=f"{url}/v1", api_key="the-providers", default_headers=sent) as client:
        return client.chat.completions.with_raw_response.create(
            model="gpt-4o", max_tokens=1000, messages=[{"role": "user", "content": "Hello?"}]
        )


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_an_allowed_call_reaches_the_provider_with_its_money_held(
    open_gateway: Open, gateway: str, server: Served, keys: Mapping[str, str], provider: Stub
) -> None:
    answer = ask(open_gateway(gateway), keys[RICH])
    completion = answer.parse()
    assert isinstance(completion, ChatCompletion)
    assert completion.choices[0].message.content == "Hello."
    decision = answer.headers["x-spanward-decision-id"]
    assert 9 < float(answer.headers["x-spanward-budget-remaining-usd"]) < 10
    assert answer.headers["x-spanward-budget-resets-at"].endswith("T00:00:00Z")
    (asked,) = provider.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == "Bearer the-providers"
    assert asked.headers["x-spanward-decision-id"] == decision
    assert "x-spanward-key" not in asked.headers
    hold = decision.replace("dec_", "hold_")
    state = httpx.get(
        server.url("control", f"/v1/holds/{hold}"), headers={"x-api-key": keys[RICH]}, trust_env=False
    ).json()
    # gpt-4o: the output at 10 USD a million, and no more input than the body has bytes, at 2.50 USD.
    output_nano = OUTPUT_TOKENS[gateway] * 10_000
    assert state["state"] == "held"
    assert output_nano < int(state["amount_usd"].replace(".", "")) < output_nano + 1_000_000


@pytest.mark.parametrize("why", REFUSALS)
@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_refused_call_never_reaches_the_provider_and_its_sdk_says_why(
    open_gateway: Open, gateway: str, why: str, keys: Mapping[str, str], provider: Stub
) -> None:
    agent, error, status, told = REFUSALS[why]
    with pytest.raises(error) as caught:
        ask(open_gateway(gateway), keys[agent])
    refused = caught.value
    assert refused.status_code == status
    assert all(part in str(refused) for part in told), str(refused)
    assert refused.response.headers["content-type"] == "application/json"
    assert refused.response.headers["x-should-retry"] == "false"
    assert provider.asked == []
    if status == 429:
        assert refused.code == "budget_exceeded"
        assert 0 < int(refused.response.headers["retry-after"]) <= 86400
        assert refused.response.headers["x-spanward-decision-id"].startswith("dec_")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_nothing_passes_while_the_gate_is_down(
    open_gateway: Open, gateway: str, keys: Mapping[str, str], provider: Stub
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(open_gateway(gateway, gate_down=True), keys[RICH])
    assert caught.value.status_code == GATE_DOWN[gateway]
    assert "Spanward did not answer" in str(caught.value)
    assert provider.asked == []


def test_envoys_body_decides_what_is_asked_about_and_not_a_header(
    open_gateway: Open, keys: Mapping[str, str], provider: Stub
) -> None:
    """BerriAI/litellm#40305: a caller's header must not redirect what a call is judged as."""
    url = open_gateway("envoy")
    with pytest.raises(openai.RateLimitError):
        ask(url, keys[POOR], **{"x-spanward-model": "gpt-4o-mini", "x-spanward-provider": "ollama"})
    assert provider.asked == []


def test_a_path_nobody_knows_is_judged_as_a_model_call(
    open_gateway: Open, keys: Mapping[str, str], provider: Stub
) -> None:
    """maximhq/bifrost#2873: what passes through passes the budget by."""
    url = open_gateway("envoy")
    refused = httpx.post(
        f"{url}/v1/something/new", json={"a": 1}, headers={"x-spanward-key": keys[POOR]}, trust_env=False
    )
    assert refused.status_code == 403
    assert "No price is known for a call that names no model" in refused.json()["error"]["message"]
    assert provider.asked == []


def test_envoy_shows_a_long_prompt_whole_and_refuses_one_that_is_too_long(
    open_gateway: Open, keys: Mapping[str, str], provider: Stub
) -> None:
    url, headers = open_gateway("envoy"), {"x-spanward-key": keys[RICH]}
    statuses = []
    for size in (2_000_000, 9_000_000):
        prompt = {"model": "gpt-4o", "max_tokens": 10, "messages": [{"role": "user", "content": "a" * size}]}
        answer = httpx.post(f"{url}/v1/chat/completions", json=prompt, headers=headers, trust_env=False, timeout=60)
        statuses.append(answer.status_code)
    assert statuses == [200, 413]
    assert len(provider.asked) == 1


def test_the_hold_of_a_gateways_call_is_settled_by_the_calls_span(
    open_gateway: Open, keys: Mapping[str, str], server: Served
) -> None:
    decision = ask(open_gateway("envoy"), keys[RICH]).headers["x-spanward-decision-id"]
    usage: dict[str, Value] = {
        "gen_ai.usage.input_tokens": 8,
        "gen_ai.usage.output_tokens": 2,
        "spanward.decision.id": decision,
    }
    call = span(CHAT | usage, start_ns=time.time_ns())
    httpx.post(
        server.url("otlp_http", "/v1/traces"),
        content=traces(call).SerializeToString(),
        headers={"x-api-key": keys[RICH], "content-type": "application/x-protobuf"},
        trust_env=False,
    ).raise_for_status()
    server.seal()
    hold = httpx.get(
        server.url("control", f"/v1/holds/{decision.replace('dec_', 'hold_')}"),
        headers={"x-api-key": keys[RICH]},
        trust_env=False,
    ).json()
    assert (hold["state"], hold["settled_usd"]) == ("settled", "0.000040000")


def test_the_users_of_other_sdks_see_the_sentence_too(
    open_gateway: Open, keys: Mapping[str, str], provider: Stub
) -> None:
    url, headers = open_gateway("envoy"), {"x-spanward-key": keys[POOR]}
    claude = anthropic.Anthropic(base_url=url, api_key="the-providers", default_headers=headers)
    with claude, pytest.raises(anthropic.RateLimitError, match=f"daily budget of {POOR}"):
        claude.messages.create(
            model="claude-sonnet-5-5", max_tokens=1000, messages=[{"role": "user", "content": "Hello?"}]
        )
    gemini = genai.Client(api_key="the-providers", http_options={"base_url": url, "headers": headers})
    with gemini, pytest.raises(genai.errors.ClientError, match=f"daily budget of {POOR}") as caught:
        gemini.models.generate_content(model="gemini-2.5-pro", contents="Hello?")
    assert caught.value.code == 429
    assert provider.asked == []
