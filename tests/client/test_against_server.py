"""The client and a real `spanward serve` understand each other: no answer here is made up."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pytest
from spanward_client import BudgetExceeded, Client, Killed, Rejected, Settings, Unauthenticated
from spanward_client.feedback.follower import Follower

from tests.harness import Served

AGENT = "acme/support/triage"
CALL_USD = Decimal("0.208")
"""100,000 tokens in at 2 USD and 1,000 out at 8 USD a million: gpt-4.1."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data = tmp_path_factory.mktemp("served") / "data"
    agents = data / "governance" / "acme" / "support" / "agents"
    agents.mkdir(parents=True)
    (agents.parent.parent / "org.yaml").write_text("display_name: Acme\n")
    (agents.parent / "tenant.yaml").write_text("display_name: Support\n")
    (agents / "triage.yaml").write_text("budgets:\n  daily: {usd: 1}\n")
    served = Served(data)
    try:
        yield served.start()
    finally:
        served.close()


@pytest.fixture(scope="module")
def client(server: Served) -> Iterator[Client]:
    key = json.loads(server.run("keys", "create", "--agent", AGENT, "--json"))["key"]
    with Client(Settings(endpoint=server.url("control"), api_key=key, timeout_s=60)) as asking:
        yield asking


def ask(client: Client, *, input_tokens: int = 100_000, idempotency_key: str | None = None) -> Decimal:
    """Ask for a call; returns what was held. The hold is given back."""
    with client.hold(
        model="gpt-4.1",
        provider="openai",
        input_tokens=input_tokens,
        max_output_tokens=1000,
        idempotency_key=idempotency_key,
    ) as held:
        assert held.decision.hold is not None
        held.void()
        return held.decision.hold.amount_usd


def test_a_call_that_fits_is_held_at_its_worst_case_and_given_back(client: Client) -> None:
    assert ask(client) == CALL_USD
    assert ask(client) == CALL_USD


def test_a_settled_hold_is_spent_to_the_nano_usd(client: Client) -> None:
    with client.hold(model="gpt-4.1", provider="openai", input_tokens=100_000, max_output_tokens=1000) as held:
        state = held.settle(cost_usd=Decimal("0.000000001"))
    assert state is not None
    assert (state.state, state.amount_usd, state.settled_usd) == ("settled", CALL_USD, Decimal("0.000000001"))
    (budget,) = client.check(action="tool.call").budgets
    assert budget.settled == Decimal("0.000000001")
    assert budget.held == 0


def test_a_hold_settled_by_tokens_is_priced_by_the_server(client: Client) -> None:
    with client.hold(model="gpt-4.1", provider="openai", input_tokens=100_000, max_output_tokens=1000) as held:
        state = held.settle(input_tokens=1000, output_tokens=10)
    assert state is not None
    assert state.settled_usd == Decimal("0.00208")


def test_a_call_that_does_not_fit_is_a_typed_no_with_the_reset_time(client: Client) -> None:
    with pytest.raises(BudgetExceeded) as caught:
        ask(client, input_tokens=1_000_000)
    no = caught.value
    assert (no.scope, no.rule) == (AGENT, f"budget.daily.{AGENT}")
    assert no.decision_id.startswith("dec_")
    assert no.remaining_usd is not None
    assert 0 < no.remaining_usd <= 1
    assert no.resets_at is not None
    assert no.resets_at > datetime.now(UTC)
    assert f"{no.resets_at:%Y-%m-%dT%H:%M:%SZ}" in str(no)
    assert no.fix in str(no)


def test_the_same_idempotency_key_gets_the_same_decision(client: Client) -> None:
    first, second = (client.check(action="tool.call", idempotency_key="once").decision_id for _ in range(2))
    assert first == second


def test_a_key_nobody_knows_is_unauthenticated(server: Served) -> None:
    settings = Settings(endpoint=server.url("control"), api_key="spw_agent_nobody_knows")
    with Client(settings) as stranger, pytest.raises(Unauthenticated):
        stranger.check(model="gpt-4.1", provider="openai")


def test_a_question_that_makes_no_sense_is_rejected_with_the_field(client: Client) -> None:
    with pytest.raises(Rejected, match="input_tokens") as caught:
        client.check(model="gpt-4.1", provider="openai", input_tokens=-1)
    assert caught.value.status == 400


def test_a_hold_of_nobody_is_rejected(client: Client) -> None:
    with pytest.raises(Rejected) as caught:
        client.void("hold_of_nobody")
    assert caught.value.status == 404


def test_a_voided_hold_cannot_be_settled(client: Client) -> None:
    with client.hold(model="gpt-4.1", provider="openai", input_tokens=10, max_output_tokens=10) as held:
        held.void()
        with pytest.raises(Rejected) as caught:
            held.settle(cost_usd="0.1")
    assert caught.value.status == 409


def test_a_kill_of_the_server_reaches_the_client_by_stream_and_its_release_too(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = json.loads(server.run("keys", "create", "--agent", AGENT, "--json"))["key"]
    monkeypatch.setenv("SPANWARD_ENDPOINT", server.url("control"))
    monkeypatch.setenv("SPANWARD_API_KEY", key)
    monkeypatch.setenv("SPANWARD_FEEDBACK", "on")
    follower = Follower(Settings.from_env())
    follower.start()
    state = follower.state
    assert state.wait_until(0, 30)
    words = ("--scope", "llm", "--target", AGENT, "--reason", "runaway")
    kill = json.loads(server.run("kill", *words, "--json"))["kill"]
    assert state.wait_until(kill["epoch"], 30)
    with pytest.raises(Killed, match=f"stopped {AGENT} .llm. at .*: runaway."):
        state.refuse({"model": "gpt-4.1"})
    state.refuse({"action": "tool.call", "tool": "search"})
    acks = httpx.get(
        server.url("control", "/v1/admin/kills"), headers={"authorization": f"Bearer {server.admin_token}"}
    )
    assert follower.client_id in acks.text
    server.run("kill", "release", kill["id"], "--reason", "mended")
    assert state.wait_until(kill["epoch"] + 1, 30)
    state.refuse({"model": "gpt-4.1"})
    follower.stop()


def test_with_a_tenants_key_the_agent_that_asks_is_named(server: Served) -> None:
    key = json.loads(server.run("keys", "create", "--tenant", "acme/support", "--json"))["key"]
    with Client(Settings(endpoint=server.url("control"), api_key=key, timeout_s=60)) as asking:
        decision = asking.check(model="gpt-4.1", provider="openai", input_tokens=10, agent="triage")
        assert decision.budgets
        assert {budget.scope for budget in decision.budgets} == {AGENT}
        with pytest.raises(Rejected):
            asking.check(model="gpt-4.1", provider="openai", input_tokens=10)
