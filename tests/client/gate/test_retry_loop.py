"""A real retry loop: 16 threads of the openai SDK, gated, against a real Spanward, with no spans at all.

The 2 AM story, and the largest group of complaints about every peer: parallel calls pass a budget that is
checked and then counted (peers.md 2.A.1, 2.A.3, 2.A.5, 2.A.21).
"""

import json
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import openai
import pytest
import spanward_client
from spanward_client import BudgetExceeded, Client, Settings, refusal_of

from tests.client.provider import INPUT, OUTPUT, Provider
from tests.harness import Served

THREADS = 16
BUDGET_USD = Decimal("0.003")
CALL_USD = (INPUT * Decimal("0.25") + OUTPUT * 2) / 1_000_000
"""gpt-5-mini, as the answer's usage tells: 0.25 USD a million in, 2 USD out."""


def loop(url: str, refusals: list[BudgetExceeded]) -> None:
    """Ask for ever, as an agent that never has enough; ends when it is refused."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        while True:
            try:
                client.chat.completions.create(
                    model="gpt-5-mini", messages=[{"role": "user", "content": "Again."}], max_completion_tokens=OUTPUT
                )
            except openai.PermissionDeniedError as error:
                no = refusal_of(error)
                assert isinstance(no, BudgetExceeded)
                refusals.append(no)
                return


def test_sixteen_threads_in_a_loop_spend_their_budget_and_not_a_nano_usd_more(
    serve: Callable[..., Served], provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = tmp_path / "data" / "governance" / "acme" / "support" / "agents"
    agents.mkdir(parents=True)
    (agents.parent.parent / "org.yaml").touch()
    (agents.parent / "tenant.yaml").touch()
    (agents / "loop.yaml").write_text(f"budgets:\n  daily: {{usd: {BUDGET_USD}}}\n")
    server = serve()
    key = json.loads(server.run("keys", "create", "--agent", "acme/support/loop", "--json"))["key"]
    monkeypatch.setenv("SPANWARD_ENDPOINT", server.url("control"))
    monkeypatch.setenv("SPANWARD_API_KEY", key)
    monkeypatch.setenv("SPANWARD_TIMEOUT", "60")
    spanward_client.instrument()

    refusals: list[BudgetExceeded] = []
    threads = [threading.Thread(target=loop, args=(provider.url, refusals)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refusals) == THREADS
    billed = len(provider.asked) * CALL_USD
    assert billed <= BUDGET_USD
    assert spanward_client.flush(60)
    with Client(Settings.from_env()) as client:
        (budget,) = client.check(action="tool.call", tool="look").budgets
    assert (budget.settled, budget.held) == (billed, Decimal(0))
    for no in refusals:
        assert (no.scope, no.budget and no.budget.window) == ("acme/support/loop", "daily")
        assert no.resets_at is not None
    assert billed > BUDGET_USD / 2, "nobody is blocked while there is room"
